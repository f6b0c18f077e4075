// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * node.c - one device of one guest, as the supervisor sees it
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
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/daemon/supervisor.h"
#include "virtio_grant.h"

enum {
	/* xl gives a backend 10 s to close (libxl: LIBXL_DESTROY_TIMEOUT): a worker whose disk
	 * hangs is killed before that. */
	PATIENCE_S = 5,
	/* A guest that reboots: its new device may open before the old one's worker has ended. */
	BUSY_TRIES = 10,
	BUSY_DELAY_MS = 300,
};

static struct vg_node *of_child(const struct vg_child *c)
{
	return container_of(c, struct vg_node, c);
}

static struct vg_node *of_timer(struct vg_timer *t)
{
	return container_of(t, struct vg_node, timer);
}

static void say(const struct vg_node *n, enum vg_log_level level, const char *text)
{
	vg_child_say(&n->c, level, text);
}

/* ---- what we write ------------------------------------------------------ */

static void put_state(struct vg_node *n, enum vg_xenbus_state s)
{
	if (n->bstate == s)
		return;
	n->bstate = s;
	vg_xs_put_state(n->c.super->xs, n->pair.b, s);
}

/* One sentence for the user: in the log, in `vgrant list`, and where the guest can read it. */
static void set_error(struct vg_node *n, const char *text)
{
	snprintf(n->c.error.text, sizeof(n->c.error.text), "%s", text);
	say(n, VG_LOG_ERR, text);
	vg_xs_update(n->c.super->xs, n->pair.b, VIRTIO_GRANT_KEY_ERROR, n->c.error.text);
}

static void clear_error(struct vg_node *n)
{
	if (!n->c.error.text[0])
		return;
	n->c.error.text[0] = '\0';
	vg_xs_update(n->c.super->xs, n->pair.b, VIRTIO_GRANT_KEY_ERROR, NULL);
}

static void announce(struct vg_node *n)
{
	if (n->bstate == VG_XENBUS_INIT_WAIT)
		return;
	clear_error(n);
	vg_xs_update(n->c.super->xs, n->pair.b, VIRTIO_GRANT_KEY_FEATURE_POOL, "1");
	vg_xs_update(n->c.super->xs, n->pair.b, VIRTIO_GRANT_KEY_VERSION, "1");
	put_state(n, VG_XENBUS_INIT_WAIT);
}

/* ---- the worker --------------------------------------------------------- */

static void fail(struct vg_node *n, const char *text)
{
	set_error(n, text);
	n->phase = VG_NODE_FAILED;
	put_state(n, VG_XENBUS_CLOSED);
}

static int open_record(struct vg_node *n)
{
	char name[64];
	int ret;

	if (n->c.record_fd >= 0)
		return 0;
	snprintf(name, sizeof(name), "%u-%s-%u.record", n->pair.guest, n->pair.kind, n->pair.id);
	n->c.record_fd = openat(n->c.super->runtime_fd, name,
				O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (n->c.record_fd < 0)
		return -errno;
	ret = vg_record_open(n->c.record_fd, 0, &n->c.rec);
	if (ret < 0) {
		close(n->c.record_fd);
		n->c.record_fd = -1;
	}
	return ret;
}

static void remove_record(struct vg_node *n)
{
	char name[64];

	snprintf(name, sizeof(name), "%u-%s-%u.record", n->pair.guest, n->pair.kind, n->pair.id);
	unlinkat(n->c.super->runtime_fd, name, 0);
}

static void start_worker(struct vg_node *n)
{
	char text[200];
	int ret;

	ret = open_record(n);
	if (ret < 0) {
		snprintf(text, sizeof(text), "its record cannot be made in %s: %s",
			 n->c.super->settings->runtime_dir, strerror(-ret));
		fail(n, text);
		return;
	}
	ret = vg_child_start(&n->c, "--worker", n->pair.guest, -1);
	if (ret < 0) {
		snprintf(text, sizeof(text), "its worker cannot be started: %s", strerror(-ret));
		fail(n, text);
		return;
	}
	n->phase = VG_NODE_OPENING;
}

static void connect_worker(struct vg_node *n, bool resume)
{
	struct vg_ipc m = { .type = VG_IPC_CONNECT };
	struct xs_handle *xs = n->c.super->xs;
	uint32_t version;
	int64_t now = vg_now_ns();

	if (vg_xs_u32(xs, n->pair.f, VIRTIO_GRANT_KEY_VERSION, UINT32_MAX, &version) < 0 ||
	    version != VIRTIO_GRANT_VERSION ||
	    vg_xs_u32(xs, n->pair.f, VIRTIO_GRANT_KEY_CONTROL_REF, UINT32_MAX,
		      &m.connect.control_ref) < 0 ||
	    vg_xs_u32(xs, n->pair.f, VIRTIO_GRANT_KEY_EVENT_CHANNEL, UINT32_MAX,
		      &m.connect.channel) < 0) {
		set_error(n,
			  "the guest's driver published no usable " VIRTIO_GRANT_KEY_VERSION
			  ", " VIRTIO_GRANT_KEY_CONTROL_REF " and " VIRTIO_GRANT_KEY_EVENT_CHANNEL);
		put_state(n, VG_XENBUS_CLOSING);
		put_state(n, VG_XENBUS_CLOSED);
		return;
	}
	if (now - n->connects_since_ns > 60 * NS_PER_S) {
		n->connects_since_ns = now;
		n->connects = 0;
	}
	if (n->connects >= VG_LIMIT_CONNECTS_PER_MINUTE) {
		vg_loop_timer(n->c.super->loop, &n->timer, NS_PER_S);
		return;
	}
	n->connects++;
	m.connect.resume = resume;
	n->phase = VG_NODE_CONNECTING;
	vg_child_tell(&n->c, &m, -1);
}

static void disconnect_worker(struct vg_node *n)
{
	n->phase = VG_NODE_DISCONNECTING;
	vg_loop_timer(n->c.super->loop, &n->timer, PATIENCE_S * NS_PER_S);
	vg_child_tell_type(&n->c, VG_IPC_DISCONNECT);
}

/* ---- what a worker says ------------------------------------------------- */

/* A setting that the worker took: the next vgrantd finds it in xenstore. */
static void setting_kept(struct vg_child *c)
{
	struct vg_node *n = of_child(c);
	char spec[VG_PARAMS_LEN], changes[VG_PARAMS_LEN];

	if (vg_xs_text(c->super->xs, n->pair.b, VG_KEY_SET, spec, sizeof(spec)) < 0)
		snprintf(spec, sizeof(spec), "%s", c->device);
	if (vg_params_replace(spec, c->set_key, c->set_value, changes, sizeof(changes)) < 0)
		say(n, VG_LOG_WARN,
		    "the change cannot be kept (too long, or blanks around it): the next vgrantd "
		    "begins without it");
	else
		vg_xs_update(c->super->xs, n->pair.b, VG_KEY_SET, changes);
}

/* What an earlier vgrantd was told to change. */
static void apply_settings(struct vg_super *s, const struct vg_xs_pair *pair, char *spec)
{
	char changes[VG_PARAMS_LEN], next[VG_PARAMS_LEN];
	struct vg_params p;

	if (vg_xs_text(s->xs, pair->b, VG_KEY_SET, changes, sizeof(changes)) < 0 ||
	    vg_params_parse(changes, &p, NULL) < 0)
		return;
	for (unsigned i = 0; i < p.n; i++) {
		if (vg_params_replace(spec, p.p[i].key, p.p[i].value, next, sizeof(next)) == 0)
			memcpy(spec, next, VG_PARAMS_LEN);
	}
}

static void open_failed(struct vg_node *n, const struct vg_ipc *m)
{
	if (m->error == -EBUSY && n->busy_tries++ < BUSY_TRIES) {
		snprintf(n->c.error.text, sizeof(n->c.error.text), "%s", m->text);
		n->phase = VG_NODE_IDLE;
		vg_loop_timer(n->c.super->loop, &n->timer, BUSY_DELAY_MS * 1000000LL);
		return;
	}
	fail(n, m->text);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct vg_node *n = of_child(c);

	switch (m->type) {
	case VG_IPC_OPENED:
		if (n->phase == VG_NODE_OPENING)
			n->phase = VG_NODE_READY;
		n->busy_tries = 0;
		break;
	case VG_IPC_FAILED:
		if (n->phase == VG_NODE_OPENING)
			open_failed(n, m);
		break;
	case VG_IPC_CONNECTED:
		if (n->phase == VG_NODE_CONNECTING) {
			n->phase = VG_NODE_CONNECTED;
			put_state(n, VG_XENBUS_CONNECTED);
			say(n, VG_LOG_INFO, "connected");
		} else {
			/* The guest may have been told that nobody is: it is in nobody's hands then. */
			say(n, VG_LOG_ERR, "its worker contradicts itself, and is killed");
			kill(c->pid, SIGKILL);
		}
		break;
	case VG_IPC_REFUSED:
		if (n->phase == VG_NODE_CONNECTING) {
			n->phase = VG_NODE_READY;
			set_error(n, m->text);
			put_state(n, VG_XENBUS_CLOSING);
			put_state(n, VG_XENBUS_CLOSED);
		}
		break;
	case VG_IPC_DISCONNECTED:
		if (n->phase == VG_NODE_DISCONNECTING) {
			n->phase = VG_NODE_READY;
			vg_loop_timer_stop(&n->timer);
			put_state(n, VG_XENBUS_CLOSED);
			say(n, VG_LOG_INFO, "disconnected");
		}
		break;
	case VG_IPC_BROKEN:
		if (n->phase == VG_NODE_CONNECTED) {
			set_error(n, m->text);
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

	if (n->c.super->stopping || was == VG_NODE_FAILED)
		return;
	if (was != VG_NODE_IDLE)
		vg_loop_timer_stop(&n->timer);
	if (was == VG_NODE_CLOSED || was == VG_NODE_IDLE) {
		/* As it should. */
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
		vg_loop_timer(c->super->loop, &n->timer, vg_child_backoff(c) * 1000000LL);
	}
	n->dirty = true;
	vg_node_sync(n);
}

/* ---- states ------------------------------------------------------------- */

static void timer_expired(struct vg_timer *t)
{
	struct vg_node *n = of_timer(t);

	if ((n->phase == VG_NODE_DISCONNECTING || n->phase == VG_NODE_CLOSED) && n->c.pid) {
		say(n, VG_LOG_ERR,
		    "its worker does not let go in time (does the disk hang?) and is killed");
		kill(n->c.pid, SIGKILL);
		return;
	}
	vg_node_sync(n);
}

/* The device goes: the toolstack, the user or the guest's end wants it. */
static void take_down(struct vg_node *n, enum vg_xenbus_state fstate, bool guest_gone)
{
	if (n->phase == VG_NODE_CONNECTED) {
		put_state(n, VG_XENBUS_CLOSING);
		disconnect_worker(n);
	}
	if (n->phase == VG_NODE_CONNECTING || n->phase == VG_NODE_DISCONNECTING)
		return; /* its answer brings us back here */
	if (n->phase != VG_NODE_CLOSED) {
		n->phase = VG_NODE_CLOSED;
		vg_child_end(&n->c);
		vg_loop_timer(n->c.super->loop, &n->timer, PATIENCE_S * NS_PER_S);
	}
	/* Closed means: no process, so no grant mapped, no port bound, no image open. */
	if (n->c.pid)
		return;
	if (n->bstate != VG_XENBUS_CLOSED) {
		put_state(n, VG_XENBUS_CLOSED);
		say(n, VG_LOG_INFO, "closed");
		/* A guest that lives gets time to see it, when it is we who remove the nodes. */
		if (n->made && !guest_gone)
			vg_loop_timer(n->c.super->loop, &n->timer, PATIENCE_S * NS_PER_S);
	}
	if (n->made && (guest_gone || fstate == VG_XENBUS_CLOSED || !n->timer.tether)) {
		vg_xs_remove_pair(n->c.super->xs, &n->pair);
		vg_node_free(n);
	}
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
	if (fstate == VG_XENBUS_INITIALISED || fstate == VG_XENBUS_CONNECTED)
		return;
	put_state(n, VG_XENBUS_CLOSING);
	disconnect_worker(n);
}

void vg_node_sync(struct vg_node *n)
{
	struct xs_handle *xs = n->c.super->xs;
	enum vg_xenbus_state fstate;
	bool guest_gone;
	uint32_t online;

	n->dirty = false;
	if (n->c.super->stopping)
		return;
	if (!vg_xs_exists(xs, n->pair.b)) {
		vg_node_free(n);
		return;
	}
	if (vg_xs_u32(xs, n->pair.b, "online", 1, &online) < 0)
		online = 1;
	fstate = vg_xs_state(xs, n->pair.f);
	guest_gone = fstate == VG_XENBUS_UNKNOWN &&
		     (!vg_xs_exists(xs, n->pair.f) || !xs_is_domain_introduced(xs, n->pair.guest));
	if (!online || guest_gone || n->detaching) {
		take_down(n, fstate, guest_gone);
		return;
	}
	switch (n->phase) {
	case VG_NODE_IDLE:
		if (!n->c.pid && !n->timer.tether)
			start_worker(n);
		break;
	case VG_NODE_READY:
		ready_step(n, fstate);
		break;
	case VG_NODE_CONNECTED:
		connected_step(n, fstate);
		break;
	default:
		break; /* an answer is on its way, or nothing is to be done */
	}
}

/* ---- life --------------------------------------------------------------- */

struct vg_node *vg_node_find(struct vg_super *s, const char *kind, uint32_t guest, uint32_t id)
{
	for (struct vg_node *n = s->nodes; n; n = n->next) {
		if (n->pair.guest == guest && n->pair.id == id && strcmp(n->pair.kind, kind) == 0)
			return n;
	}
	return NULL;
}

/* A value of @key that may stand in a configuration: commas and backslashes escaped. */
static int escaped(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in; in++) {
		if (n + 3 > size)
			return -E2BIG;
		if (*in == ',' || *in == '\\')
			out[n++] = '\\';
		out[n++] = *in;
	}
	out[n] = '\0';
	return 0;
}

/* xl's disk = [ '...,specification=virtio,...' ]: what our configuration would be. */
static int spec_of_disk(struct xs_handle *xs, const struct vg_xs_pair *p, char *spec, size_t size)
{
	char params[1024], target[1024], mode[8] = "r", discard[8] = "1";
	int ret = vg_xs_text(xs, p->b, "params", params, sizeof(params));

	if (ret == 0)
		ret = escaped(target, sizeof(target), params);
	if (ret < 0)
		return ret;
	vg_xs_text(xs, p->b, "mode", mode, sizeof(mode));
	/* xl-disk-configuration(5), no-discard: the image stays allocated. */
	vg_xs_text(xs, p->b, "discard-enable", discard, sizeof(discard));
	snprintf(spec, size, "blk,target=%s%s%s", target, mode[0] == 'w' ? "" : ",readonly",
		 strcmp(discard, "0") == 0 ? ",discard=0" : "");
	return 0;
}

static enum vg_control_origin origin_of(const char *word)
{
	for (unsigned o = 0; o < VG_CONTROL_ORIGINS; o++) {
		if (strcmp(vg_control_origin_words[o], word) == 0)
			return (enum vg_control_origin)o;
	}
	return VG_CONTROL_FROM_VIRTIO;
}

static void read_guest_name(struct vg_node *n)
{
	char dir[VG_XS_PATH];

	snprintf(dir, sizeof(dir), "/local/domain/%u", n->pair.guest);
	if (vg_xs_text(n->c.super->xs, dir, "name", n->guest, sizeof(n->guest)) < 0)
		snprintf(n->guest, sizeof(n->guest), "domain %u", n->pair.guest);
}

static unsigned nodes_of_guest(const struct vg_super *s, uint32_t guest)
{
	unsigned count = 0;

	for (const struct vg_node *n = s->nodes; n; n = n->next)
		count += n->pair.guest == guest;
	return count;
}

static enum vg_control_state state_of(const struct vg_node *n)
{
	switch (n->phase) {
	case VG_NODE_IDLE:
		return n->c.restarts ? VG_CONTROL_RESTARTING : VG_CONTROL_OPENING;
	case VG_NODE_OPENING:
		return VG_CONTROL_OPENING;
	case VG_NODE_READY:
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

	d->guest = n->guest;
	d->domid = n->pair.guest;
	d->kind = n->pair.kind;
	d->id = n->pair.id;
	d->state = state_of(n);
	d->origin = n->origin;
	d->file = n->file[0] ? n->file : NULL;
}

static int detach(struct vg_child *c, struct vg_err *err)
{
	struct vg_node *n = of_child(c);

	(void)err;
	n->detaching = true;
	vg_xs_update(c->super->xs, n->pair.b, "online", "0");
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

static void node_new(struct vg_super *s, const struct vg_xs_pair *pair, const char *spec)
{
	struct vg_node *n = calloc(1, sizeof(*n));
	char word[32] = "";
	uint32_t made = 0;

	if (!n) {
		vg_error("out of memory for device %s/%u of domain %u", pair->kind, pair->id,
			 pair->guest);
		return;
	}
	vg_child_init(&n->c, &child_ops, s, spec);
	n->pair = *pair;
	n->timer.expired = timer_expired;
	if (strcmp(pair->kind, VIRTIO_GRANT_XENBUS_TYPE_DISK) == 0)
		n->origin = VG_CONTROL_FROM_DISK;
	else if (vg_xs_text(s->xs, pair->b, VG_KEY_ORIGIN, word, sizeof(word)) == 0)
		n->origin = origin_of(word);
	vg_xs_text(s->xs, pair->b, VG_KEY_FILE, n->file, sizeof(n->file));
	vg_xs_u32(s->xs, pair->b, VG_KEY_MADE, 1, &made);
	n->made = made;
	n->bstate = vg_xs_state(s->xs, pair->b);
	read_guest_name(n);
	snprintf(n->c.who, sizeof(n->c.who), "guest %s (%u) %s %s/%u", n->guest, n->pair.guest,
		 n->c.device, n->pair.kind, n->pair.id);
	n->next = s->nodes;
	s->nodes = n;
	if (s->n_children > s->settings->devices ||
	    nodes_of_guest(s, pair->guest) > s->settings->devices_per_guest) {
		fail(n, "too many devices: raise [limits] in vgrantd.conf, or remove some");
		return;
	}
	n->watching = xs_watch(s->xs, pair->f, "f");
	vg_node_sync(n);
}

bool vg_node_consider(struct vg_super *s, const char *kind, uint32_t guest, uint32_t id)
{
	struct vg_xs_pair pair;
	char spec[VG_PARAMS_LEN];
	int ret;

	if (vg_node_find(s, kind, guest, id))
		return true;
	vg_xs_pair_init(&pair, kind, guest, s->domid, id);
	if (!vg_xs_exists(s->xs, pair.b))
		return false;
	ret = vg_xs_text(s->xs, pair.b, VG_KEY_CONFIG, spec, sizeof(spec));
	if (ret == -ENOENT && strcmp(kind, VIRTIO_GRANT_XENBUS_TYPE_DISK) == 0)
		ret = spec_of_disk(s->xs, &pair, spec, sizeof(spec));
	if (ret < 0)
		return false;
	apply_settings(s, &pair, spec);
	node_new(s, &pair, spec);
	return true;
}

void vg_node_retry(struct vg_node *n)
{
	if (n->phase != VG_NODE_FAILED || n->c.pid)
		return;
	clear_error(n);
	n->offer = true;
	n->busy_tries = 0;
	n->phase = VG_NODE_IDLE;
	vg_node_sync(n);
}

void vg_node_free(struct vg_node *n)
{
	struct vg_super *s = n->c.super;
	struct vg_node **p = &s->nodes;

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	if (n->watching)
		xs_unwatch(s->xs, n->pair.f, "f");
	vg_child_fini(&n->c);
	vg_loop_timer_stop(&n->timer);
	if (!s->stopping)
		remove_record(n);
	free(n);
}
