// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * node.c - see node.h
 *
 * Level, not edge: vg_node_sync() looks at what is (the frontend's state, the
 * node's `online`, the worker's phase) and takes the one step that leads on. It
 * is called whenever anything may have changed, as often as you like. Xenstore
 * may show states in any order, repeat or skip them; no history is assumed.
 *
 *	        spawn          OPENED           Initialised        CONNECTED
 *	IDLE --------> OPENING -------> READY -------------> CONNECTING ---> CONNECTED
 *	  ^                    (InitWait)  ^                                (Connected)
 *	  | worker died                    |    DISCONNECTED      Closing, Closed, offline
 *	  +--------------- any             +--------------- DISCONNECTING <--+
 *
 * Backend state in brackets. A worker that dies leaves the state as it is; the
 * next one resumes when both ends are Connected.
 *
 * While they are, no trouble of ours (an image that is in use, a process that
 * cannot be started, a full disk) takes the device from its guest: we say what is
 * wrong, and try until it works. Only what the guest, the toolstack or the user
 * does ends it. A device that no driver uses yet is given up after a while, so
 * that a guest that starts is not kept waiting for it.
 *
 * What xenstore should say of us (the state, an error, what goes with a state) is
 * written after each step, all in one transaction; what could not be written is
 * written again until it is there. What could not be read is no answer: nothing
 * is concluded from it.
 */
#include "backend/daemon/node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/toolstack/spec.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"
#include "xenstore/watch.h"

enum {
	SEE_CLOSED_S = 5,   /* for a guest that lives to see Closed, before its nodes go */
	AGAIN_S = 1,	    /* before xenstored is asked again */
	REMINDER_MS = 1000, /* after the offer; each next one takes twice as long */
	REMINDERS = 6,
};

/* What there is to decide on. */
struct seen {
	bool online;
	bool guest_gone;
	enum vg_xenbus_state fstate;
};

static struct vg_node *of_child(const struct vg_child *c)
{
	return container_of(c, struct vg_node, c);
}

static void say(const struct vg_node *n, enum vg_log_level level, const char *text)
{
	vg_child_say(&n->c, level, text);
}

/* Both ends have said Connected: it is the guest's device, and no trouble of ours ends that. */
static bool is_live(const struct vg_node *n)
{
	return n->bstate == VG_XENBUS_CONNECTED;
}

static void timer_in_ms(struct vg_node *n, unsigned ms)
{
	vg_loop_timer(n->c.all->loop, &n->timer, ms * (NS_PER_S / 1000));
}

/* May it be offered once more now? At most VG_LIMIT_CONNECTS_PER_MINUTE times; then the guest waits. */
static bool may_offer(struct vg_node *n)
{
	struct vg_node_window *w = &n->offers;
	int64_t now = vg_now_ns();

	if (now - w->since_ns > 60 * NS_PER_S)
		*w = (struct vg_node_window){ .since_ns = now };
	if (w->count++ < VG_LIMIT_CONNECTS_PER_MINUTE)
		return true;
	n->slowed = true;
	timer_in_ms(n, 1000);
	return false;
}

/* ---- what we write ------------------------------------------------------ */

/* Xenstored did not do, or say, what it was asked. */
static void ask_again(struct vg_node *n)
{
	vg_loop_timer(n->c.all->loop, &n->again, AGAIN_S * NS_PER_S);
}

/* Make xenstore say what we are. */
static void tell(struct vg_node *n)
{
	const char *error = n->c.error.text;
	struct vg_xs_entry entries[5];
	char state[4], text[300];
	unsigned k = 0;
	int ret;

	if (!n->untold)
		return;
	snprintf(state, sizeof(state), "%d", (int)n->bstate);
	entries[k++] = (struct vg_xs_entry){ VIRTIO_GRANT_KEY_ERROR, error[0] ? error : NULL };
	if (n->bstate == VG_XENBUS_INIT_WAIT) {
		entries[k++] = (struct vg_xs_entry){ VIRTIO_GRANT_KEY_FEATURE_POOL, "2" };
		entries[k++] = (struct vg_xs_entry){ VIRTIO_GRANT_KEY_VERSION, "1" };
	}
	/* While it is Connected, another vgrantd serves it as it was connected. */
	entries[k++] = (struct vg_xs_entry){ VG_KEY_RUNNING, is_live(n) ? n->c.spec : NULL };
	entries[k++] = (struct vg_xs_entry){ "state", state };
	ret = vg_xs_update(n->all->xs, n->pair.b, entries, k);
	/* A node that is gone needs no state: vg_node_sync() finds out. */
	n->untold = ret < 0 && ret != -ENOENT;
	if (n->untold) {
		if (!n->told_off) {
			snprintf(
				text, sizeof(text),
				"xenstored does not take its state (%s); it is written again until "
				"it does",
				strerror(-ret));
			say(n, VG_LOG_ERR, text);
		}
		ask_again(n);
	}
	n->told_off = n->untold;
}

static void put_state(struct vg_node *n, enum vg_xenbus_state s)
{
	if (n->bstate == s)
		return;
	n->bstate = s;
	n->untold = true;
}

static bool is_shown(const struct vg_node *n, const char *text)
{
	return strncmp(n->c.error.text, text, sizeof(n->c.error.text) - 1) == 0;
}

/* One sentence for the user: in `vgrant list`, and where the guest can read it. */
static void show_error(struct vg_node *n, const char *text)
{
	if (is_shown(n, text))
		return;
	snprintf(n->c.error.text, sizeof(n->c.error.text), "%.255s", text);
	n->untold = true;
}

/* The same, and in the log; that of the guest's own making is limited there. */
static void set_error(struct vg_node *n, const char *text)
{
	show_error(n, text);
	vg_child_event(&n->c, VG_EVENT_FAILED, VG_LOG_ERR, text);
}

static void blame_guest(struct vg_node *n, const char *text)
{
	show_error(n, text);
	vg_log_limited(&n->limit, VG_LOG_ERR, "%s: %s", n->c.who, text);
	vg_child_event_unlogged(&n->c, VG_EVENT_FAILED, text);
}

/*
 * A guest's xenbus lists its devices first and watches for new ones later (Linux,
 * drivers/xen/xenbus/xenbus_probe_frontend.c): one that is made in between, while the guest boots, it
 * does not know until something is written in the device's node. So nodes of our making, whose
 * guest may run already, are written once more while no driver has taken them.
 */
static void remind_later(struct vg_node *n)
{
	if (n->made && n->reminded < REMINDERS)
		vg_loop_timer(n->c.all->loop, &n->reminder,
			      (REMINDER_MS << n->reminded) * (NS_PER_S / 1000));
}

static void remind(struct vg_timer *t)
{
	struct vg_node *n = container_of(t, struct vg_node, reminder);
	enum vg_xenbus_state fstate;

	if (n->c.all->stopping || n->phase != VG_NODE_READY ||
	    vg_xs_state(n->all->xs, n->pair.f, &fstate) < 0 || fstate != VG_XENBUS_INITIALISING)
		return;
	vg_xs_update_one(n->all->xs, n->pair.f, "backend", n->pair.b);
	n->reminded++;
	remind_later(n);
}

/* Offer the device to its guest. Whoever is refused, or goes, connects again after another offer only: one
 * limit is enough for both. */
static void announce(struct vg_node *n)
{
	if (n->bstate == VG_XENBUS_INIT_WAIT || !may_offer(n))
		return;
	show_error(n, "");
	put_state(n, VG_XENBUS_INIT_WAIT);
	n->reminded = 0;
	remind_later(n);
}

/* ---- its other process -------------------------------------------------- */

static struct vg_node *of_group(const struct vg_group *g)
{
	return container_of(g, struct vg_node_group, g)->node;
}

static bool is_grouped(const struct vg_node_group *ng)
{
	return ng->g.policy;
}

/* What has the first seat is a display. */
static bool has_screen(const struct vg_node *n)
{
	const struct vg_node_group *ng = &n->group[VG_SEAT_DISPLAY];

	return is_grouped(ng) && strcmp(ng->g.policy->name, "display") == 0;
}

/* Its display is there. */
static bool has_display(const struct vg_node *n)
{
	return has_screen(n) && n->group[VG_SEAT_DISPLAY].g.helper_open;
}

static bool listens(const struct vg_node *n)
{
	const struct vg_device_ops *ops = vg_device_find(n->c.device);

	return ops && ops->listens && n->phase >= VG_NODE_READY && n->phase < VG_NODE_FAILED;
}

/* A keyboard or pointer, and a display of its guest's that is looked at: a socket between them. */
static void join_input(struct vg_node *input, struct vg_node *shown)
{
	const struct vg_ipc to_display = { .type = VG_IPC_INPUT },
			    to_input = { .type = VG_IPC_PEER };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		say(input, VG_LOG_ERR,
		    "no socket for it: keys and pointers do not reach the guest");
		return;
	}
	vg_child_tell(&shown->group[VG_SEAT_DISPLAY].g.helper, &to_display, pair[0]);
	vg_child_tell(&input->c, &to_input, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

/* @n is open now, or its display is: to the others of the guest. */
static void join_inputs(struct vg_node *n)
{
	for (struct vg_node *m = n->all->first; m; m = m->next) {
		if (m->pair.guest != n->pair.guest)
			continue;
		if (listens(n) && has_display(m))
			join_input(n, m);
		else if (has_display(n) && listens(m))
			join_input(m, n);
	}
}

static void group_changed(struct vg_group *g)
{
	struct vg_node *n = of_group(g);

	if (g->policy->seat == VG_SEAT_DISPLAY && has_display(n))
		join_inputs(n);
	if (n->screens && g->policy->seat == VG_SEAT_DISPLAY)
		vg_screens_display(n->screens, g->helper_open);

	/* Not from within it: what follows may free @n. */
	if (n->phase == VG_NODE_IDLE && !n->c.pid && !n->timer.tether)
		timer_in_ms(n, 1);
}

static void end_worker(struct vg_group *g)
{
	vg_child_end(g->worker);
}

/* Where xl looks for it (`xl vncviewer`), as for a guest's vfb. */
static void shown(struct vg_group *g, const struct vg_ipc *m)
{
	struct vg_node *n = of_group(g);
	char dir[VG_XS_PATH], port[8], host[sizeof(m->shown.where)];
	struct vg_xs_entry entries[] = { { "vnc-listen", NULL }, { "vnc-port", NULL } };
	char *colon;

	if (!m->shown.port)
		return;
	snprintf(dir, sizeof(dir), "/local/domain/%u/console", n->pair.guest);
	snprintf(port, sizeof(port), "%u", m->shown.port & 0xffff);
	snprintf(host, sizeof(host), "%s", m->shown.where);
	colon = strrchr(host, ':');
	if (colon)
		*colon = '\0';
	entries[0].value = host;
	entries[1].value = port;
	if (vg_xs_update(n->all->xs, dir, entries, COUNT(entries)) < 0)
		say(n, VG_LOG_INFO,
		    "xenstored does not take the port of its display: `xl vncviewer` does not find "
		    "it");
}

static const struct vg_group_ops group_ops = {
	.changed = group_changed,
	.end_worker = end_worker,
	.shown = shown,
};

static void ungroup(struct vg_node *n)
{
	vg_screens_free(n->screens);
	n->screens = NULL;
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_fini(&n->group[i].g);
}

/* Where `xl console -t pv -n` looks for it, with the device's number, as for a second console of libxl's. */
static void show_terminal(struct vg_node *n, bool is)
{
	char dir[VG_XS_PATH];
	int ret = 0;

	if (!n->c.terminals.n || n->all->domid != 0)
		return;
	snprintf(dir, sizeof(dir), "/local/domain/%u/device/console/%u", n->pair.guest, n->pair.id);
	/* Nothing is made below the folder of a guest that is gone. */
	if (!is)
		ret = vg_xs_update_one(n->all->xs, dir, "tty", NULL);
	else if (vg_xs_exists(n->all->xs, n->pair.f) > 0)
		ret = vg_xs_put(n->all->xs, dir, "tty", n->c.terminals.t[0].path);
	if (ret < 0 && ret != -ENOENT)
		say(n, VG_LOG_INFO,
		    "xenstored does not take its terminal: `xl console` does not find it");
}

/* The processes that its device needs beside its worker. Return: whether the worker may start now. */
static bool with_helpers(struct vg_node *n)
{
	const struct vg_group_policy *policy[VG_SEATS];
	bool may = true;

	vg_group_wanted(n->c.spec, policy);
	for (unsigned i = 0; i < VG_SEATS; i++) {
		n->group[i].node = n;
		may &= vg_group_with(&n->group[i].g, &group_ops, policy[i], &n->c, n->pair.guest);
	}
	if (!n->screens && has_screen(n))
		n->screens =
			vg_screens_new(&n->all->cards, &n->c, &n->group[VG_SEAT_DISPLAY].g.helper);
	return may;
}

/* ---- the worker --------------------------------------------------------- */

/* There is no worker, by our own fault. */
static void fail(struct vg_node *n, int error, const char *text)
{
	unsigned ms = vg_child_retry(&n->c, error, is_live(n));

	if (!ms) {
		set_error(n, text);
		n->phase = VG_NODE_FAILED;
		put_state(n, VG_XENBUS_CLOSED);
		return;
	}
	/* Nobody has it yet, and it may pass. */
	if (!is_shown(n, text) && !is_live(n))
		say(n, VG_LOG_INFO, text);
	else if (!is_shown(n, text))
		vg_child_event(&n->c, VG_EVENT_FAILED, VG_LOG_ERR, text);
	show_error(n, text);
	n->phase = VG_NODE_IDLE;
	timer_in_ms(n, ms);
}

void vg_node_record_name(const struct vg_xs_pair *pair, char *name, size_t len)
{
	snprintf(name, len, "%u-%s-%u.record", pair->guest, pair->kind, pair->id);
}

static void remove_record(struct vg_node *n)
{
	char name[64];

	vg_node_record_name(&n->pair, name, sizeof(name));
	unlinkat(n->all->runtime_fd, name, 0);
}

/* Are there more devices before this one than the settings allow? */
static bool is_too_many(const struct vg_node *n)
{
	const struct vg_settings *settings = n->c.all->settings;
	unsigned before = 0, of_guest = 0;

	for (const struct vg_child *c = n->c.all->first; c != &n->c; c = c->next)
		before++;
	for (const struct vg_node *m = n->next; m; m = m->next) /* the older ones */
		of_guest += m->pair.guest == n->pair.guest;
	return before >= settings->devices || of_guest >= settings->devices_per_guest;
}

/* For the log: a long name is cut where it says so, and not the device's number behind it. */
static void name_it(struct vg_node *n)
{
	const char *name = n->guest ? n->guest : "without a name";

	snprintf(n->c.who, sizeof(n->c.who), "guest %.80s%s (%u) %s %s/%u", name,
		 strlen(name) > 80 ? "..." : "", n->pair.guest, n->c.device, n->pair.kind,
		 n->pair.id);
}

static void read_guest_name(struct vg_node *n)
{
	char dir[VG_XS_PATH], *name;
	int ret;

	snprintf(dir, sizeof(dir), "/local/domain/%u", n->pair.guest);
	ret = vg_xs_text_dup(n->all->xs, dir, "name", &name);
	if (ret < 0 && ret != -ENOENT && ret != -EINVAL) {
		ask_again(n);
		return;
	}
	n->renamed = false;
	/* A driver domain may not know it. */
	if (!name && asprintf(&name, "domain %u", n->pair.guest) < 0)
		name = NULL;
	free(n->guest);
	n->guest = name;
	name_it(n);
}

/* A toolstack may have changed the configuration; a driver that is connected keeps what it has. */
static bool take_new_spec(struct vg_node *n)
{
	char spec[VG_PARAMS_LEN];

	if (is_live(n) || vg_spec_read(n->all->xs, &n->pair, false, spec) < 0 ||
	    strcmp(spec, n->c.spec) == 0)
		return false;
	vg_child_set_spec(&n->c, spec);
	name_it(n);
	vg_child_event_unlogged(&n->c, VG_EVENT_CHANGED, spec);
	vg_screens_free(n->screens);
	n->screens = NULL;
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_again(&n->group[i].g);
	return true;
}

/* A helper that it is of no use without cannot be started. */
static void lacks(struct vg_node *n)
{
	for (unsigned i = 0; i < VG_SEATS; i++) {
		const struct vg_node_group *ng = &n->group[i];
		const char *why = is_grouped(ng) ? vg_group_lacks(&ng->g) : NULL;

		if (why) {
			fail(n, -EAGAIN, why);
			return;
		}
	}
}

static void start_worker(struct vg_node *n)
{
	struct vg_err err;
	int ret;

	take_new_spec(n);
	if (is_too_many(n)) {
		fail(n, -EDQUOT,
		     "too many devices: raise [limits] in vgrantd.conf, or remove some");
		return;
	}
	if (!with_helpers(n)) {
		lacks(n);
		return;
	}
	ret = vg_child_start(&n->c, "--worker", n->pair.guest, -1, &err);
	if (ret == -EINPROGRESS) {
		if (!n->c.error.text[0])
			show_error(n, err.text);
		timer_in_ms(n, VG_CHILD_WAIT_MS);
		return;
	}
	if (ret < 0) {
		fail(n, ret, err.text);
		return;
	}
	n->phase = VG_NODE_OPENING;
}

/* How often its driver has refused to be suspended. Return: was that read, or is there none? */
static bool read_refused(struct vg_node *n, uint32_t *count)
{
	int ret = vg_xs_u32(n->all->xs, n->pair.f, VIRTIO_GRANT_KEY_REFUSED, UINT32_MAX, count);

	if (ret < 0)
		*count = 0;
	return ret == 0 || ret == -ENOENT;
}

/* Whoever saves a guest, or moves it, hears nothing of that from xl but that its time was up. */
static void hear_of_refusals(struct vg_node *n)
{
	static const char text[] = "its driver refuses to be suspended, so the guest is neither "
				   "saved nor moved, and runs on; the guest's kernel log says why";
	uint32_t count;

	if (!read_refused(n, &count))
		return;
	if (count && count != n->refused) {
		vg_log_limited(&n->limit, VG_LOG_WARN, "%s: %s", n->c.who, text);
		vg_child_event_unlogged(&n->c, VG_EVENT_REFUSED, text);
	}
	n->refused = count;
}

/* The driver's keys. Return: 0; -EINVAL: they are no use; other negative errno: ask again. */
static int read_keys(struct vg_node *n, struct vg_ipc *m)
{
	struct vg_xs *x = n->all->xs;
	uint32_t version = 0;
	int ret = vg_xs_u32(x, n->pair.f, VIRTIO_GRANT_KEY_VERSION, UINT32_MAX, &version);

	if (ret == 0)
		ret = vg_xs_u32(x, n->pair.f, VIRTIO_GRANT_KEY_CONTROL_REF, UINT32_MAX,
				&m->connect.control_ref);
	if (ret == 0)
		ret = vg_xs_u32(x, n->pair.f, VIRTIO_GRANT_KEY_EVENT_CHANNEL, UINT32_MAX,
				&m->connect.channel);
	if (ret == -ENOENT || ret == -ERANGE || (ret == 0 && version != VIRTIO_GRANT_VERSION))
		return -EINVAL;
	return ret;
}

static void connect_worker(struct vg_node *n, bool resume)
{
	struct vg_ipc m = { .type = VG_IPC_CONNECT };
	int ret;

	if (n->timer.tether)
		return; /* not yet again */
	ret = read_keys(n, &m);
	if (ret < 0 && ret != -EINVAL) {
		ask_again(n);
		return;
	}
	if (ret < 0) {
		blame_guest(n, "the guest's driver published no usable " VIRTIO_GRANT_KEY_VERSION
			       ", " VIRTIO_GRANT_KEY_CONTROL_REF
			       " and " VIRTIO_GRANT_KEY_EVENT_CHANNEL);
		put_state(n, VG_XENBUS_CLOSED);
		return;
	}
	(void)read_refused(n, &n->refused);
	m.connect.resume = resume;
	n->phase = VG_NODE_CONNECTING;
	vg_child_tell(&n->c, &m, -1);
}

static void disconnect_worker(struct vg_node *n)
{
	n->phase = VG_NODE_DISCONNECTING;
	vg_loop_timer_stop(&n->timer);
	vg_child_hurry(&n->c);
	vg_child_tell_type(&n->c, VG_IPC_DISCONNECT);
}

/* ---- what a worker says ------------------------------------------------- */

/* A setting that the worker took: the next vgrantd finds it in xenstore. */
static void setting_kept(struct vg_child *c)
{
	struct vg_node *n = of_child(c);
	int ret = vg_spec_keep(n->all->xs, &n->pair, c->device, c->set_key, c->set_value);

	if (ret == -E2BIG || ret == -EINVAL)
		say(n, VG_LOG_WARN,
		    "the change cannot be kept (too long, or blanks around it): the next vgrantd "
		    "begins without it");
	else if (ret < 0)
		say(n, VG_LOG_WARN,
		    "xenstored did not take the change: the next vgrantd begins without it");
}

/* The device is open: its record is made, as it needs it, or found. */
static void opened(struct vg_node *n, const struct vg_ipc *m)
{
	const struct vg_ipc record = { .type = VG_IPC_RECORD };
	struct vg_err err;
	char name[64];
	int fd = -1, ret;

	if (n->phase != VG_NODE_OPENING)
		return;
	vg_node_record_name(&n->pair, name, sizeof(name));
	ret = vg_record_make(n->all->runtime_fd, name, &m->opened.shape, n->c.spec, &fd, &err);
	if (ret < 0) {
		vg_child_end(&n->c);
		fail(n, ret, err.text);
		return;
	}
	if (n->c.record_fd >= 0)
		close(n->c.record_fd);
	n->c.record_fd = fd;
	n->phase = VG_NODE_READY;
	if (vg_child_opened(&n->c))
		show_error(n, "");
	vg_child_tell(&n->c, &record, fd);
	show_terminal(n, true);
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_worker_opened(&n->group[i].g);
	if (listens(n))
		join_inputs(n);
}

/* The worker could not connect to the driver. */
static void refused(struct vg_node *n, const struct vg_ipc *m)
{
	if (n->phase != VG_NODE_CONNECTING)
		return;
	n->phase = VG_NODE_READY;
	blame_guest(n, m->text);
	if (is_live(n)) {
		/* Its successor before it holds the ports, or Xen is short of something. */
		timer_in_ms(n, vg_child_backoff(&n->c));
		return;
	}
	put_state(n, VG_XENBUS_CLOSED);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct vg_node *n = of_child(c);

	switch (m->type) {
	case VG_IPC_OPENED:
		opened(n, m);
		break;
	case VG_IPC_FAILED:
		if (n->phase == VG_NODE_OPENING)
			fail(n, m->error, m->text);
		break;
	case VG_IPC_CONNECTED:
		if (n->phase == VG_NODE_CONNECTING) {
			n->phase = VG_NODE_CONNECTED;
			show_error(n, "");
			vg_child_connected(c, is_live(n));
			put_state(n, VG_XENBUS_CONNECTED);
			n->untold = true; /* with what: a vgrantd of before may not have said so */
			say(n, VG_LOG_INFO, "connected");
		} else {
			/* The guest may have been told that nobody is: it is in nobody's hands then. */
			say(n, VG_LOG_ERR, "its worker contradicts itself, and is killed");
			kill(c->pid, SIGKILL);
		}
		break;
	case VG_IPC_REFUSED:
		refused(n, m);
		break;
	case VG_IPC_DISCONNECTED:
		if (n->phase == VG_NODE_DISCONNECTING) {
			n->phase = VG_NODE_READY;
			vg_child_calm(c);
			put_state(n, VG_XENBUS_CLOSED);
			vg_child_event(c, VG_EVENT_DISCONNECTED, VG_LOG_INFO, "disconnected");
			if (take_new_spec(n)) {
				n->phase = VG_NODE_IDLE;
				vg_child_end(c);
			}
		}
		break;
	case VG_IPC_BROKEN:
		if (n->phase == VG_NODE_CONNECTED) {
			blame_guest(n, m->text);
			put_state(n, VG_XENBUS_CLOSING);
			disconnect_worker(n);
		}
		break;
	}
}

static void heard(struct vg_child *c)
{
	vg_node_sync(of_child(c));
}

static void reaped(struct vg_child *c, int status)
{
	struct vg_node *n = of_child(c);
	enum vg_node_phase was = n->phase;
	char text[200];

	if (c->all->stopping)
		return;
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_worker_gone(&n->group[i].g);
	if (was == VG_NODE_FAILED && n->retrying) {
		vg_node_retry(n);
		return;
	}
	if (was == VG_NODE_FAILED || was == VG_NODE_CLOSED || was == VG_NODE_IDLE) {
		/* As it should. What it said last may not have been told yet. */
		vg_node_sync(n);
		return;
	}
	/* Dead is disconnected: Xen has unmapped and unbound everything. */
	n->phase = VG_NODE_IDLE;
	if (was == VG_NODE_DISCONNECTING) {
		put_state(n, VG_XENBUS_CLOSED);
		c->delay_ms = 0;
	} else {
		vg_child_explain(c, status, text, sizeof(text));
		timer_in_ms(n, vg_child_backoff(c));
	}
	vg_node_sync(n);
}

/* ---- states ------------------------------------------------------------- */

static void timer_expired(struct vg_timer *t)
{
	struct vg_node *n = container_of(t, struct vg_node, timer);

	n->slowed = false;
	vg_node_sync(n);
}

static void again_expired(struct vg_timer *t)
{
	vg_node_sync(container_of(t, struct vg_node, again));
}

/* The device goes: the toolstack, the user or the guest's end wants it. Return: false: @n is freed. */
static bool take_down(struct vg_node *n, const struct seen *seen)
{
	/* Of nodes that are not of our making xl says the same when their guest ends. */
	n->unplugged |= !seen->guest_gone && (n->made || n->detaching);
	if (n->phase == VG_NODE_CONNECTED) {
		put_state(n, VG_XENBUS_CLOSING);
		disconnect_worker(n);
	}
	if (n->phase == VG_NODE_CONNECTING || n->phase == VG_NODE_DISCONNECTING)
		return true; /* its answer brings us back here */
	if (n->phase != VG_NODE_CLOSED) {
		n->phase = VG_NODE_CLOSED;
		vg_loop_timer_stop(&n->timer);
		ungroup(n);
		show_terminal(n, false);
		vg_child_end(&n->c);
	}
	/* Closed means: no process, so no grant mapped, no port bound, no image open. */
	if (n->c.pid)
		return true;
	if (n->bstate != VG_XENBUS_CLOSED) {
		put_state(n, VG_XENBUS_CLOSED);
		say(n, VG_LOG_INFO, "closed");
		/* A guest that lives gets time to see it, when it is we who remove the nodes. */
		if (n->made && !seen->guest_gone)
			timer_in_ms(n, SEE_CLOSED_S * 1000);
	}
	if (n->made && (seen->guest_gone || seen->fstate == VG_XENBUS_CLOSED || !n->timer.tether)) {
		if (vg_xs_remove_pair(n->all->xs, &n->pair) < 0) {
			ask_again(n);
			return true;
		}
		vg_node_free(n);
		return false;
	}
	return true;
}

/* No worker holds anything of the guest's: a frontend that goes, or is gone, need not wait for one. */
static void let_go(struct vg_node *n, enum vg_xenbus_state fstate)
{
	if (is_live(n) && (fstate == VG_XENBUS_CLOSING || fstate == VG_XENBUS_CLOSED))
		put_state(n, VG_XENBUS_CLOSED);
}

static void ready_step(struct vg_node *n, enum vg_xenbus_state fstate)
{
	switch (fstate) {
	case VG_XENBUS_INITIALISED:
		if (n->bstate == VG_XENBUS_CONNECTED)
			connect_worker(n, true);
		else if (n->bstate <= VG_XENBUS_INIT_WAIT)
			connect_worker(n, false);
		break;
	case VG_XENBUS_CONNECTED:
		/* Only together with a backend that was connected: a restarted worker, or vgrantd. */
		if (n->bstate == VG_XENBUS_CONNECTED)
			connect_worker(n, true);
		break;
	case VG_XENBUS_CLOSING:
		put_state(n, VG_XENBUS_CLOSED);
		break;
	case VG_XENBUS_CLOSED:
		/* A frontend that gave us up stays away until it is back in Initialising; only a device
		 * that failed, and is tried again, is offered to it anew. */
		if (n->offer)
			announce(n);
		else if (n->bstate != VG_XENBUS_INIT_WAIT)
			put_state(n, VG_XENBUS_CLOSED);
		n->offer = false;
		break;
	default:
		announce(n);
		break;
	}
}

static void connected_step(struct vg_node *n, enum vg_xenbus_state fstate)
{
	if (fstate == VG_XENBUS_INITIALISED || fstate == VG_XENBUS_CONNECTED) {
		hear_of_refusals(n);
		return;
	}
	put_state(n, VG_XENBUS_CLOSING);
	disconnect_worker(n);
}

/* Read what there is. Return: 1; 0: the node is gone; negative errno: xenstored did not say. */
static int look(struct vg_node *n, struct seen *seen)
{
	struct vg_xs *x = n->all->xs;
	uint32_t online = 1;
	int ret = vg_xs_exists(x, n->pair.b);

	*seen = (struct seen){ .online = true };
	if (ret <= 0)
		return ret;
	ret = vg_xs_u32(x, n->pair.b, "online", 1, &online);
	if (ret < 0 && ret != -ENOENT && ret != -EINVAL && ret != -ERANGE)
		return ret;
	seen->online = online;
	ret = vg_xs_state(x, n->pair.f, &seen->fstate);
	if (ret < 0 || seen->fstate != VG_XENBUS_UNKNOWN)
		return ret < 0 ? ret : 1;
	ret = vg_xs_exists(x, n->pair.f);
	if (ret > 0)
		ret = vg_xs_introduced(x, n->pair.guest);
	seen->guest_gone = ret == 0;
	return ret < 0 ? ret : 1;
}

static void watch(struct vg_node *n)
{
	if (n->watching)
		return;
	if (vg_xs_watch(n->all->xs, n->pair.f, "f") == 0)
		n->watching = vg_xs_watch_name(n->all->xs, n->pair.guest, true) == 0;
	if (!n->watching)
		ask_again(n);
}

/* Return: false: @n is freed. */
static bool step(struct vg_node *n, const struct seen *seen)
{
	if (!seen->online || seen->guest_gone || n->detaching)
		return take_down(n, seen);
	switch (n->phase) {
	case VG_NODE_IDLE:
		let_go(n, seen->fstate);
		if (!n->c.pid && !n->timer.tether)
			start_worker(n);
		break;
	case VG_NODE_OPENING:
		let_go(n, seen->fstate);
		break;
	case VG_NODE_READY:
		ready_step(n, seen->fstate);
		break;
	case VG_NODE_CONNECTED:
		connected_step(n, seen->fstate);
		break;
	default:
		break; /* an answer is on its way, or nothing is to be done */
	}
	return true;
}

/*
 * The vgrantd before was killed, and its worker has not ended: it maps the guest's memory and may
 * still write into it. Nothing that we say of the device would be true.
 */
static bool is_held(struct vg_node *n)
{
	char name[64];

	if (!n->inherited)
		return false;
	vg_node_record_name(&n->pair, name, sizeof(name));
	n->inherited = vg_record_held(n->all->runtime_fd, name);
	return n->inherited;
}

void vg_node_sync(struct vg_node *n)
{
	struct seen seen;
	int ret;

	n->dirty = false;
	if (n->c.all->stopping || n->slowed)
		return;
	ret = look(n, &seen);
	if (ret == 0) {
		vg_node_free(n);
		return;
	}
	if (ret < 0) {
		ask_again(n);
		return;
	}
	watch(n);
	if (n->renamed)
		read_guest_name(n);
	if (is_held(n)) {
		timer_in_ms(n, VG_CHILD_WAIT_MS);
		return;
	}
	if (step(n, &seen))
		tell(n);
}

/* ---- control ------------------------------------------------------------ */

static enum vg_control_state state_of(const struct vg_node *n)
{
	switch (n->phase) {
	case VG_NODE_IDLE:
		return n->c.restarts || is_live(n) ? VG_CONTROL_RESTARTING : VG_CONTROL_OPENING;
	case VG_NODE_OPENING:
		return VG_CONTROL_OPENING;
	case VG_NODE_READY:
		if (is_live(n))
			return VG_CONTROL_RESTARTING;
		/* A guest's driver that broke the rules and was closed. */
		return n->c.error.text[0] ? VG_CONTROL_FAILED : VG_CONTROL_WAITING;
	case VG_NODE_CONNECTING:
	case VG_NODE_CONNECTED:
		return VG_CONTROL_CONNECTED;
	case VG_NODE_FAILED:
		return VG_CONTROL_FAILED;
	default:
		return VG_CONTROL_CLOSING;
	}
}

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	const struct vg_node *n = of_child(c);

	d->guest = n->guest ? n->guest : "";
	d->domid = n->pair.guest;
	d->kind = n->pair.kind;
	d->id = n->pair.id;
	d->state = state_of(n);
	d->origin = n->origin;
	d->file = n->file;
	if (vg_xs_stuck_ns(n->all->xs) > 0)
		d->error = "xenstored does not answer: states are as they were, and nothing can be "
			   "attached or detached until it does";
}

static int detach(struct vg_child *c, struct vg_err *err)
{
	struct vg_node *n = of_child(c);
	int ret = vg_xs_update_one(n->all->xs, n->pair.b, "online", "0");

	if (ret < 0 && ret != -ENOENT)
		return vg_fail(err, ret, "xenstored did not take it: %s", strerror(-ret));
	n->detaching = true;
	n->slowed = false;
	vg_node_sync(n);
	return 0;
}

static const struct vg_child_ops child_ops = {
	.place = place,
	.message = message,
	.heard = heard,
	.reaped = reaped,
	.setting_kept = setting_kept,
	.detach = detach,
};

/* ---- life --------------------------------------------------------------- */

int vg_node_new(struct vg_nodes *all, const struct vg_xs_pair *pair, const char *spec,
		const struct vg_node_traits *traits)
{
	struct vg_node *n = calloc(1, sizeof(*n));

	if (n && traits->file)
		n->file = strdup(traits->file);
	if (!n || (traits->file && !n->file)) {
		vg_error("out of memory for device %s/%u of domain %u", pair->kind, pair->id,
			 pair->guest);
		free(n);
		return -ENOMEM;
	}
	vg_child_init(&n->c, &child_ops, all->children, spec);
	n->all = all;
	n->pair = *pair;
	n->timer.expired = timer_expired;
	n->again.expired = again_expired;
	n->reminder.expired = remind;
	n->inherited = true;
	n->limit = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	n->origin = traits->origin;
	n->made = traits->made;
	n->bstate = traits->state;
	n->renamed = true; /* its name is not known yet */
	name_it(n);
	read_guest_name(n);
	n->next = all->first;
	all->first = n;
	vg_child_event_unlogged(
		&n->c, traits->plugged && !is_live(n) ? VG_EVENT_PLUGGED : VG_EVENT_MADE, spec);
	vg_node_sync(n);
	return 0;
}

void vg_node_retry(struct vg_node *n)
{
	if (n->phase != VG_NODE_FAILED)
		return;
	n->retrying = n->c.pid != 0;
	if (n->retrying)
		return;
	show_error(n, "");
	n->offer = true;
	n->phase = VG_NODE_IDLE;
	vg_node_sync(n);
}

void vg_node_free(struct vg_node *n)
{
	struct vg_nodes *all = n->all;
	struct vg_node **p = &all->first;

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	if (n->watching) {
		vg_xs_unwatch(all->xs, n->pair.f, "f");
		/* One watch stands for all of a guest's devices: xenstored has it once. */
		for (p = &all->first; *p && (*p)->pair.guest != n->pair.guest; p = &(*p)->next)
			;
		if (!*p)
			vg_xs_watch_name(all->xs, n->pair.guest, false);
	}
	vg_child_event_unlogged(&n->c, n->unplugged ? VG_EVENT_UNPLUGGED : VG_EVENT_REMOVED, NULL);
	ungroup(n);
	vg_child_fini(&n->c);
	vg_loop_timer_stop(&n->timer);
	vg_loop_timer_stop(&n->again);
	vg_loop_timer_stop(&n->reminder);
	if (!all->children->stopping)
		remove_record(n);
	free(n->file);
	free(n->guest);
	free(n);
}
