// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * child.c - see child.h
 *
 *	start --> SETUP, OPENED or FAILED, ... --> QUIESCE or death --> reaped
 *
 * The process is this very program. Its end of the socket pair is descriptor 3,
 * and what it serves reaches it through SETUP or as descriptor 4: no argument
 * holds what a `ps` of anybody should not show.
 *
 * What a worker says is not believed, only shown: numbers of its record, texts
 * that are cut to size.
 */
#include "backend/daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/daemon/beside.h"
#include "backend/daemon/budget.h"
#include "backend/daemon/child_log.h"
#include "backend/toolstack/xlfind.h"
#include "backend/toolstack/xlhost.h"
#include "backend/virtio/device.h"

enum {
	FIRST_DELAY_MS = 100,
	STEADY_S = 60, /* a worker that lived this long starts the delays anew */
	FREE_FD = 10,  /* above the numbers that a worker's descriptors get */
	TURN = 64,     /* messages of one worker in one turn of the loop */
	LAST_TURNS = 16,
	NO_GUEST = 32752,      /* Xen's first number that no domain has (DOMID_FIRST_RESERVED) */
	START_PATIENCE_S = 10, /* for a device that nobody has yet */
	RETRY_MIN_MS = 100,
	RETRY_MAX_MS = 3000,
	PATIENCE_S = 5,
	STOP_PATIENCE_S = 10, /* when all of them finish what is in flight at once */
};

/* One process; it may outlive the device that it was started for. */
struct vg_process {
	struct vg_process *next; /* of all->processes */
	struct vg_children *all;
	struct vg_child *child; /* NULL: its device is gone, and it is to end */
	pid_t pid;
	uint32_t domid;		  /* of its guest; 0: it has none */
	uint32_t user;		  /* added to all->uid_base: no other guest's worker has that */
	struct vg_budget budget;  /* what it may hold, until it has ended */
	struct vg_timer patience; /* killed when it expires */
	struct vg_child_log log;
	struct vg_tidy *tidy; /* for when it has ended; NULL: nothing */
	char who[160];
};

/* Of -1000 to 1000 (proc(5)): more than any service of the host has by itself. */
#define OOM_SCORE_ADJ "200"

extern char **environ;

void vg_child_say(const struct vg_child *c, enum vg_log_level level, const char *text)
{
	vg_log(level, "%s: %s", c->who, text);
}

void vg_child_event_unlogged(struct vg_child *c, enum vg_control_happening what, const char *text)
{
	struct vg_control_device d = { .guest = NULL };
	struct timespec now;

	if (!c->pprev || c->all->stopping || !c->all->events.n)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	c->ops->place(c, &d);
	vg_events_tell(&c->all->events,
		       &(struct vg_control_event){ .what = what,
						   .ns = now.tv_sec * NS_PER_S + now.tv_nsec,
						   .guest = d.guest,
						   .domid = d.domid,
						   .kind = d.kind,
						   .id = d.id,
						   .type = c->device,
						   .text = text });
}

void vg_child_event(struct vg_child *c, enum vg_control_happening what, enum vg_log_level level,
		    const char *text)
{
	vg_child_say(c, level, text);
	vg_child_event_unlogged(c, what, text);
}

void vg_child_connected(struct vg_child *c, bool resumed)
{
	vg_child_event_unlogged(c, resumed ? VG_EVENT_RESUMED : VG_EVENT_CONNECTED, NULL);
	c->died = false;
}

/* ---- the socket --------------------------------------------------------- */

static void closed(struct vg_child *c)
{
	vg_loop_unwatch(&c->watch);
	vg_loop_undefer(c->all->loop, &c->more);
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
}

void vg_child_tell(struct vg_child *c, const struct vg_ipc *m, int fd)
{
	int ret = c->sock >= 0 ? vg_ipc_send(c->sock, m, fd) : -ENOTCONN;

	/* A worker that does not even read is stuck; it is killed, and another resumes. */
	if (ret == -EAGAIN && c->pid) {
		vg_child_say(c, VG_LOG_ERR, "its worker does not listen and is restarted");
		kill(c->pid, SIGKILL);
	}
}

void vg_child_tell_type(struct vg_child *c, uint32_t type)
{
	struct vg_ipc m = { .type = type };

	vg_child_tell(c, &m, -1);
}

/* A setting that the worker took belongs to the device: its next worker is opened with it. */
static void keep_setting(struct vg_child *c)
{
	const struct vg_device_ops *ops = vg_device_find(c->device);
	const struct vg_param_def *d = ops ? ops->params : NULL;
	char spec[VG_PARAMS_LEN];

	while (d && d->key && strcmp(d->key, c->set_key) != 0)
		d++;
	if (!d || !d->key)
		return; /* not a part of the configuration */
	if (vg_params_replace(c->spec, c->set_key, c->set_value, spec, sizeof(spec)) < 0) {
		vg_child_say(
			c, VG_LOG_WARN,
			"the change cannot be kept (too long, or blanks around it): a new worker "
			"begins without it");
		return;
	}
	memcpy(c->spec, spec, sizeof(c->spec));
	if (c->ops->setting_kept)
		c->ops->setting_kept(c);
}

static void set_answered(struct vg_child *c, int error, const char *text)
{
	void (*done)(void *ctx, int ret, struct vg_err *err) = c->set_done;
	char what[sizeof(c->set_key) + sizeof(c->set_value)];
	struct vg_err err = { "" };

	c->set_done = NULL;
	if (!done)
		return;
	if (error == 0) {
		keep_setting(c);
		snprintf(what, sizeof(what), "%s=%s", c->set_key, c->set_value);
		vg_child_event_unlogged(c, VG_EVENT_CHANGED, what);
	} else {
		vg_fail(&err, error, "%s", text);
	}
	done(c->set_ctx, error, &err);
}

static void described(struct vg_child *c)
{
	c->described = true;
	if (c->all->described)
		c->all->described(c->all);
}

/* The configuration with what follows from whose device it is. */
static void complete(struct vg_child *c, char spec[VG_PARAMS_LEN])
{
	const struct vg_device_ops *ops;
	struct vg_control_device d = { .guest = NULL };
	struct vg_params params;
	struct vg_place place;
	char bridge[64], *guest = NULL;

	memcpy(spec, c->spec, VG_PARAMS_LEN);
	if (vg_params_parse(spec, &params, NULL) < 0)
		return;
	ops = vg_device_of(&params);
	if (!ops || !ops->complete)
		return;
	c->ops->place(c, &d);
	vg_xl_default_bridge(NULL, bridge, sizeof(bridge));
	/* What follows from the name is what it was on the host that the guest migrates from. */
	if (d.guest && *d.guest)
		guest = strndup(d.guest, vg_xlfind_name_len(d.guest));
	place = (struct vg_place){ guest, d.domid, d.id, bridge, c->all->settings->runtime_dir };
	if (ops->complete(&params, &place, spec, VG_PARAMS_LEN) < 0)
		vg_child_say(c, VG_LOG_WARN, "its configuration is too long for what is left out");
	free(guest);
}

/* What is opened for a worker that was taken over adds up, whether or not it takes it. */
static void asked(struct vg_child *c, const struct vg_ipc *m)
{
	char spec[VG_PARAMS_LEN];

	if (c->asked++ >= VG_LIMIT_ASKED) {
		vg_child_say(c, VG_LOG_WARN,
			     "its worker has asked for many descriptors and is replaced");
		vg_child_end(c);
		return;
	}
	complete(c, spec);
	vg_ipc_answer(c->sock, c->pid, spec, m);
}

static void news_heard(struct vg_follower *f)
{
	vg_child_tell_type(container_of(f, struct vg_child, news), VG_IPC_NEWS);
}

/* What a device looks at of this machine: it is woken when the kernel tells that this is another. The
 * first word is that there will be such words. */
static void follow(struct vg_child *c)
{
	const struct vg_device_ops *ops;
	struct vg_news *all = &c->all->news;
	struct vg_params params;
	struct vg_err ignored;
	const char *path = NULL;
	bool follows;

	c->news.heard = news_heard;
	if (c->parent || vg_params_parse(c->spec, &params, &ignored) < 0)
		return;
	ops = vg_device_of(&params);
	if (!ops || !ops->tick)
		return;
	if (ops->looks_at)
		path = ops->looks_at(&params);
	follows = path ? vg_news_file(all, &c->news, path)
		       : ops->looks_at_links && vg_news_links(all, &c->news);
	if (follows)
		vg_child_tell_type(c, VG_IPC_NEWS);
}

/* A worker that was taken over might say so for ever: twice a second is enough. */
static void resized(struct vg_child *c, const char *text)
{
	int64_t now = vg_now_ns();

	if (c->resized_ns && now - c->resized_ns < NS_PER_S / 2)
		return;
	c->resized_ns = now;
	vg_child_event_unlogged(c, VG_EVENT_RESIZED, text);
}

static void handle(struct vg_child *c, const struct vg_ipc *m)
{
	switch (m->type) {
	case VG_IPC_RESIZED:
		resized(c, m->text);
		break;
	case VG_IPC_DESCRIPTION:
		snprintf(c->detail, sizeof(c->detail), "%s", m->text);
		described(c);
		break;
	case VG_IPC_TROUBLE:
		snprintf(c->trouble, sizeof(c->trouble), "%.511s", m->text);
		break;
	case VG_IPC_ASK:
		asked(c, m);
		break;
	case VG_IPC_SET_DONE:
		set_answered(c, m->error, m->text);
		break;
	case VG_IPC_OPENED:
		c->virtio_id = m->opened.virtio_id & UINT16_MAX;
		follow(c);
		c->ops->message(c, m);
		break;
	default:
		c->ops->message(c, m);
		break;
	}
}

/*
 * What the worker has said so far, at most TURN messages of it: one that never stops must not keep
 * the others from being heard. When its end is closed, ours is, too: it has ended or is about to,
 * and its owner goes on from there in ops->reaped.
 * Return: whether all was heard.
 */
static bool hear(struct vg_child *c)
{
	struct vg_ipc m;

	for (unsigned i = 0; c->sock >= 0; i++) {
		int ret;

		if (i == TURN)
			return false;
		ret = vg_ipc_recv(c->sock, &m, NULL);
		if (ret == -EAGAIN)
			return true;
		if (ret <= 0)
			closed(c);
		else
			handle(c, &m);
	}
	return true;
}

static void hear_turn(struct vg_child *c)
{
	if (!hear(c))
		vg_loop_defer(c->all->loop, &c->more);
	/* Also of one that has said its last word. */
	if (c->ops->heard)
		c->ops->heard(c);
}

/* At the end of the turn, once: of one that talks all the time each message completes the watch. */
static void ready(struct vg_watch *w, unsigned events)
{
	struct vg_child *c = container_of(w, struct vg_child, watch);

	(void)events;
	vg_loop_defer(c->all->loop, &c->more);
}

static void hear_more(struct vg_deferred *d)
{
	hear_turn(container_of(d, struct vg_child, more));
}

/* ---- the process -------------------------------------------------------- */

/* Return: a copy of @fd that no dup2() to a worker's numbers overwrites; -1: none. */
static int out_of_the_way(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD);
}

static void patience_over(struct vg_timer *t)
{
	struct vg_process *p = container_of(t, struct vg_process, patience);

	vg_error("%s: its worker does not let go in time (does the disk hang?) and is killed",
		 p->who);
	kill(p->pid, SIGKILL);
}

static void hurry(struct vg_process *p)
{
	int64_t s = p->all->stopping ? STOP_PATIENCE_S : PATIENCE_S;

	vg_loop_timer(p->all->loop, &p->patience, s * NS_PER_S);
}

void vg_child_hurry(struct vg_child *c)
{
	if (c->process)
		hurry(c->process);
}

void vg_child_calm(struct vg_child *c)
{
	if (c->process)
		vg_loop_timer_stop(&c->process->patience);
}

/* Start @program, or this very one, with @role; @log: its stderr, or -1: ours. Return: 0, negative
 * errno. */
static int spawn(struct vg_process *p, const char *program, const char *role, int sock, int extra,
		 int log)
{
	const char *name = program ? program : "vgrantd";
	char *argv[] = { (char *)(uintptr_t)name, (char *)(uintptr_t)role, NULL };
	char path[PATH_MAX] = "/proc/self/exe";
	posix_spawn_file_actions_t actions;
	int fds[] = { out_of_the_way(sock), out_of_the_way(extra), out_of_the_way(log) };
	posix_spawnattr_t attr;
	sigset_t none;
	int ret = program ? -vg_beside(program, path, sizeof(path)) : 0;

	if (ret) {
		/* It is not there. */
	} else if (fds[0] < 0 || (extra >= 0 && fds[1] < 0) || (log >= 0 && fds[2] < 0)) {
		ret = errno;
	} else {
		sigemptyset(&none);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&actions, fds[0], VG_CHILD_SOCK);
		if (extra >= 0)
			posix_spawn_file_actions_adddup2(&actions, fds[1], VG_CHILD_EXTRA);
		if (log >= 0)
			posix_spawn_file_actions_adddup2(&actions, fds[2], STDERR_FILENO);
		posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
		posix_spawnattr_init(&attr);
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
		ret = posix_spawn(&p->pid, path, &actions, &attr, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
		posix_spawnattr_destroy(&attr);
	}
	for (unsigned i = 0; i < COUNT(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return -ret;
}

/* The part of its guest's budget that @p gets; without a guest, what one device may have. */
static void budget(struct vg_process *p)
{
	const struct vg_settings *settings = p->all->settings;
	const struct vg_guest_budget all = {
		.mapped_pages = settings->guest_mapped_pages,
		.bounce_bytes = settings->guest_bounce_mib << 20,
		.long_pages = settings->guest_picture_pages,
		.host_bytes = settings->guest_picture_mib << 20,
		.devices = settings->devices_per_guest,
	};
	struct vg_budget used = { 0 };
	const struct vg_device_ops *ops = vg_device_find(p->child->device);
	unsigned present = 0;

	p->budget = (struct vg_budget)VG_BUDGET_ALL;
	if (!p->domid)
		return;
	for (const struct vg_process *q = p->all->processes; q; q = q->next) {
		if (q != p && q->domid == p->domid) {
			vg_budget_add(&used, &q->budget);
			present++;
		}
	}
	p->budget = vg_budget_deal(&all, &used, present, ops && ops->keeps);
}

/* Workers of one guest share a user. One that serves no guest that we know, but a socket, has the first
 * that is free. */
static uint32_t user_of(const struct vg_process *p)
{
	const struct vg_process *q = p->all->processes;
	uint32_t user = NO_GUEST;

	if (p->domid)
		return p->domid;
	while (q) {
		if (q != p && q->user == user) {
			user++;
			q = p->all->processes;
		} else {
			q = q->next;
		}
	}
	return user;
}

/* Its memory counts as its guest's, and it goes before the host's own processes when that is short:
 * a worker that is killed is replaced. We ourselves may be spared more (OOMScoreAdjust=). */
static void confine(const struct vg_process *p)
{
	char path[48];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)p->pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, OOM_SCORE_ADJ, strlen(OOM_SCORE_ADJ)) < 0)
		vg_debug("%s: its OOM score stays as it is: %s", p->who, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (!p->domid)
		return;
	ret = vg_cgroup_add(&p->all->cgroup, p->domid, p->pid,
			    p->all->settings->guest_memory_mib << 20);
	if (ret < 0)
		vg_warn("%s: its worker cannot be put into its guest's control group: %s", p->who,
			strerror(-ret));
}

static void send_setup(struct vg_child *c)
{
	const struct vg_settings *settings = c->all->settings;
	const struct vg_process *p = c->process;
	struct vg_ipc m = { .type = VG_IPC_SETUP };

	m.setup.domid = p->domid;
	m.setup.log_target = settings->log_target;
	m.setup.log_level = settings->log_level;
	m.setup.sandbox = c->all->sandbox;
	if (c->all->uid_base)
		m.setup.sandbox.uid = c->all->uid_base + p->user;
	m.setup.budget = p->budget;
	snprintf(m.setup.who, sizeof(m.setup.who), "%s", c->who);
	complete(c, m.setup.spec);
	vg_child_tell(c, &m, -1);
}

static int start(struct vg_child *c, const char *role, uint32_t domid, int extra,
		 struct vg_tidy *tidy)
{
	struct vg_process *p = calloc(1, sizeof(*p));
	struct vg_log_pipe log;
	int pair[2], log_end;
	int ret;

	if (!p)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		ret = -errno;
		free(p);
		return ret;
	}
	/* Who may change flags: on a socket, ports/vhost_user/ring.c; a display, displays/needs.c. */
	ret = vg_log_pipe_make(extra >= 0 || c->program, &log, &log_end);
	if (ret == 0)
		ret = spawn(p, c->program, role, pair[1], extra, log_end);
	close(pair[1]);
	if (log_end >= 0)
		close(log_end);
	if (ret < 0) {
		if (log.fd >= 0)
			close(log.fd);
		close(pair[0]);
		free(p);
		return ret;
	}
	vg_child_log_begin(&p->log, c->all->loop, &log);
	p->all = c->all;
	p->child = c;
	p->domid = domid;
	p->tidy = tidy;
	p->patience.expired = patience_over;
	snprintf(p->who, sizeof(p->who), "%s", c->who);
	p->next = c->all->processes;
	c->all->processes = p;
	c->process = p;
	c->pid = p->pid;
	c->sock = pair[0];
	vg_loop_watch(c->all->loop, &c->watch, c->sock);
	c->asked = 0;
	c->worker_since_ns = vg_now_ns();
	p->user = user_of(p);
	budget(p);
	confine(p);
	send_setup(c);
	if (vg_terminals_give(&c->terminals, c->sock) < 0)
		vg_child_say(c, VG_LOG_ERR, "its worker does not take its terminals");
	vg_tracers_connect(&c->tracers, c->sock);
	return 0;
}

int vg_child_start(struct vg_child *c, const char *role, uint32_t domid, int extra,
		   struct vg_err *err)
{
	const struct vg_device_ops *ops = vg_device_find(c->device);
	struct vg_tidy *tidy = NULL;
	char spec[VG_PARAMS_LEN];
	struct vg_params params;
	int ret;

	/* What else is wrong with it the worker says, in whose table it stands. */
	if (ops && vg_params_parse(c->spec, &params, NULL) == 0 &&
	    vg_params_check_paths(&params, ops->params, err) < 0)
		return -EINVAL;
	if (!c->parent) {
		complete(c, spec);
		ret = vg_terminals_make(&c->terminals, spec, err);
		if (ret < 0)
			return ret;
		ret = vg_tidy_new(&c->all->tidies, spec, &tidy, err);
		if (ret < 0)
			return ret;
	}
	ret = start(c, role, domid, extra, tidy);
	if (ret < 0 && tidy)
		vg_tidy_drop(tidy);
	if (ret == -ENOENT && c->program)
		return vg_fail(err, ret, "%s is not installed beside vgrantd", c->program);
	return ret < 0 ? vg_fail(err, ret, "its worker cannot be started: %s", strerror(-ret)) : 0;
}

void vg_child_end(struct vg_child *c)
{
	if (c->sock < 0)
		return;
	vg_child_tell_type(c, VG_IPC_QUIESCE);
	closed(c);
	vg_child_hurry(c);
}

/* c->process is gone, also for what its last words bring about: no timer of it may be started any more. */
static void reaped(struct vg_child *c, int status)
{
	c->process = NULL;
	/* Its last words: it may have said why it ends. They are no more than its socket holds. */
	for (unsigned i = 0; i < LAST_TURNS && !hear(c); i++)
		;
	c->pid = 0;
	closed(c);
	c->tracers.sock = -1;
	described(c);
	set_answered(c, -EPIPE, "its worker died");
	c->ops->reaped(c, status);
}

/* The process of that number, taken out of the list, or NULL. */
static struct vg_process *take(struct vg_children *all, pid_t pid)
{
	for (struct vg_process **p = &all->processes; *p; p = &(*p)->next) {
		struct vg_process *found = *p;

		if (found->pid == pid) {
			*p = found->next;
			vg_loop_timer_stop(&found->patience);
			vg_child_log_end(&found->log);
			return found;
		}
	}
	return NULL;
}

void vg_children_reap(struct vg_children *all)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct vg_process *p = take(all, pid);

		if (!p)
			vg_tidies_reaped(&all->tidies, pid, status);
		if (p && p->tidy)
			vg_tidy_run(p->tidy);
		if (p && p->domid)
			vg_cgroup_remove(&all->cgroup, p->domid);
		if (p && p->child)
			reaped(p->child, status);
		free(p);
	}
}

bool vg_children_gone(const struct vg_children *all)
{
	return !all->processes && !vg_tidies_busy(&all->tidies);
}

void vg_children_stop(struct vg_children *all)
{
	all->stopping = true;
	vg_tidies_stop(&all->tidies);
	for (struct vg_process *p = all->processes; p; p = p->next) {
		if (p->child)
			vg_child_end(p->child);
		hurry(p);
	}
}

void vg_child_explain(struct vg_child *c, int status, char *text, size_t len)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(text, len,
			 "its worker made a system call that the sandbox forbids and was killed; "
			 "please report this, and set sandbox = no in vgrantd.conf meanwhile");
	else if (WIFSIGNALED(status))
		snprintf(text, len, "its worker was killed by signal %d (%s); another resumes",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (!WEXITSTATUS(status))
		snprintf(text, len, "its worker ended, for another to open the device anew");
	else
		snprintf(text, len, "its worker ended with status %d; another resumes",
			 WEXITSTATUS(status));
	c->died = true;
	vg_child_event(c, VG_EVENT_DIED, VG_LOG_ERR, text);
}

unsigned vg_child_backoff(struct vg_child *c)
{
	c->restarts++;
	if (vg_now_ns() - c->worker_since_ns > STEADY_S * NS_PER_S || !c->delay_ms)
		c->delay_ms = FIRST_DELAY_MS;
	else if (c->delay_ms < VG_LIMIT_RESTART_DELAY_S * 1000)
		c->delay_ms *= 2;
	return c->delay_ms;
}

static bool is_passing(int error)
{
	return error == -EBUSY || error == -EAGAIN || error == -ENOMEM || error == -ENOSPC ||
	       error == -EMFILE || error == -ENFILE;
}

unsigned vg_child_retry(struct vg_child *c, int error, bool live)
{
	int64_t now = vg_now_ns();

	if (!c->trouble_since_ns) {
		c->trouble_since_ns = now;
		c->retry_ms = RETRY_MIN_MS / 2;
	}
	if (!live &&
	    (!is_passing(error) || now - c->trouble_since_ns > START_PATIENCE_S * NS_PER_S)) {
		c->trouble_since_ns = 0;
		return 0;
	}
	c->retry_ms = c->retry_ms * 2 < RETRY_MAX_MS ? c->retry_ms * 2 : RETRY_MAX_MS;
	return c->retry_ms;
}

bool vg_child_opened(struct vg_child *c)
{
	bool was = c->trouble_since_ns != 0;

	c->trouble_since_ns = 0;
	return was;
}

/* ---- control ------------------------------------------------------------ */

void vg_child_describe(struct vg_child *c)
{
	const struct vg_ipc m = { .type = VG_IPC_DESCRIBE };

	c->described = c->sock < 0 || vg_ipc_send(c->sock, &m, -1) < 0;
}

static void add_words(char *to, size_t size, const char *words)
{
	size_t at = strlen(to);

	if (words[0])
		snprintf(to + at, size - at, "%s%s", at ? " " : "", words);
}

void vg_child_list(struct vg_child *c, struct vg_control_req *req)
{
	struct vg_control_queue queues[VG_MAX_QUEUES];
	struct vg_record_view view;
	const struct vg_device_ops *ops = vg_device_find(c->device);
	struct vg_control_device d = {
		.type = c->device,
		.virtio_id = c->virtio_id || !ops ? c->virtio_id : ops->virtio_id,
		.error = c->error.text[0] ? c->error.text : NULL,
		.config = c->spec,
		.queues = queues,
		.worker = c->pid,
		.restarts = c->restarts,
		.uptime_ns = vg_now_ns() - c->since_ns,
	};
	char terminals[VG_TERMINALS * (VG_TERMINAL_NAME + 40)];
	char detail[sizeof(c->detail) + sizeof(c->beside) + sizeof(terminals) + 4];

	vg_terminals_text(&c->terminals, terminals, sizeof(terminals));
	detail[0] = '\0';
	add_words(detail, sizeof(detail), c->detail);
	for (unsigned i = 0; i < VG_WORDS; i++)
		add_words(detail, sizeof(detail), c->beside[i]);
	add_words(detail, sizeof(detail), terminals);
	d.detail = detail[0] ? detail : NULL;
	c->ops->place(c, &d);
	if (c->record_fd >= 0 && vg_record_peek(c->record_fd, &view) == 0) {
		d.stats = view.stats;
		d.hyper = view.hyper;
		d.offered = view.offered;
		d.negotiated = view.features;
		if (!d.error && d.state == VG_CONTROL_CONNECTED &&
		    (view.status & VG_STATUS_NEEDS_RESET))
			d.error = "the guest broke the rules: its device stops until its driver "
				  "resets it; vgrantd's log has the reason";
		if (!d.error && c->trouble[0] && d.state == VG_CONTROL_CONNECTED)
			d.error = c->trouble;
		for (unsigned q = 0; q < view.n_queues; q++) {
			const struct vg_record_live *live = &view.live[q];

			if (!live->size)
				continue;
			queues[d.n_queues++] = (struct vg_control_queue){
				.index = q,
				.size = live->size,
				.running = live->running,
				.packed = live->packed,
				.chains = live->stats.chains,
				.inflight = live->inflight,
				.kicks = live->kicks,
				.interrupts = live->stats.notifications,
			};
		}
	}
	vg_control_list_add(req, &d);
}

void vg_child_set(struct vg_child *c, const char *key, const char *value,
		  void (*done)(void *ctx, int ret, struct vg_err *err), void *ctx)
{
	struct vg_ipc m = { .type = VG_IPC_SET };
	struct vg_err err;
	int ret = 0;

	if (strlen(key) >= sizeof(m.set.key) || strlen(value) >= sizeof(m.set.value))
		ret = vg_fail(&err, -E2BIG, "%s=... is too long", key);
	else if (c->set_done)
		ret = vg_fail(&err, -EBUSY, "another change is under way: try again");
	else if (c->sock < 0)
		ret = vg_fail(&err, -EAGAIN, "the device has no worker now: vgrant list says why");
	if (ret == 0) {
		snprintf(m.set.key, sizeof(m.set.key), "%s", key);
		snprintf(m.set.value, sizeof(m.set.value), "%s", value);
		ret = vg_ipc_send(c->sock, &m, -1);
		if (ret < 0)
			vg_fail(&err, ret, "the worker does not answer: %s", strerror(-ret));
	}
	if (ret < 0) {
		done(ctx, ret, &err);
		return;
	}
	c->set_done = done;
	c->set_ctx = ctx;
	snprintf(c->set_key, sizeof(c->set_key), "%s", key);
	snprintf(c->set_value, sizeof(c->set_value), "%s", value);
}

/* ---- life --------------------------------------------------------------- */

void vg_child_set_spec(struct vg_child *c, const char *spec)
{
	size_t name = strcspn(spec, ",");

	snprintf(c->spec, sizeof(c->spec), "%s", spec);
	snprintf(c->device, sizeof(c->device), "%.*s",
		 (int)(name < sizeof(c->device) ? name : sizeof(c->device) - 1), spec);
}

static void init(struct vg_child *c, const struct vg_child_ops *ops, struct vg_children *all,
		 const char *spec)
{
	memset(c, 0, sizeof(*c));
	c->ops = ops;
	c->all = all;
	c->sock = -1;
	c->record_fd = -1;
	c->watch.ready = ready;
	c->more.run = hear_more;
	c->since_ns = vg_now_ns();
	vg_tracers_init(&c->tracers, all->loop);
	vg_terminals_init(&c->terminals);
	vg_child_set_spec(c, spec);
}

void vg_child_init(struct vg_child *c, const struct vg_child_ops *ops, struct vg_children *all,
		   const char *spec)
{
	struct vg_child **last = &all->first;

	init(c, ops, all, spec);
	while (*last)
		last = &(*last)->next;
	c->pprev = last;
	*last = c;
	all->n++;
}

void vg_child_init_alone(struct vg_child *c, const struct vg_child_ops *ops,
			 struct vg_children *all, const char *spec)
{
	init(c, ops, all, spec);
}

void vg_child_init_helper(struct vg_child *c, const struct vg_child_ops *ops,
			  struct vg_child *parent, enum vg_seat seat, const char *name)
{
	init(c, ops, parent->all, parent->spec);
	c->parent = parent;
	parent->helper[seat] = c;
	snprintf(c->who, sizeof(c->who), "%.120s, its %s", parent->who, name);
}

void vg_child_fini(struct vg_child *c)
{
	if (c->pprev) {
		*c->pprev = c->next;
		if (c->next)
			c->next->pprev = c->pprev;
		c->all->n--;
	}
	for (unsigned i = 0; c->parent && i < VG_SEATS; i++) {
		if (c->parent->helper[i] == c)
			c->parent->helper[i] = NULL;
	}
	vg_news_unfollow(&c->news);
	set_answered(c, -ENODEV, "the device is gone");
	vg_tracers_end(&c->tracers);
	vg_terminals_free(&c->terminals);
	vg_child_end(c);
	if (c->process) {
		/* Also when it was told to end before: from now on nobody else kills it. */
		if (!c->process->patience.tether)
			hurry(c->process);
		c->process->child = NULL;
	}
	if (c->record_fd >= 0)
		close(c->record_fd);
	c->record_fd = -1;
}
