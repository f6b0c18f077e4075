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
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/daemon/supervisor.h"

enum {
	FIRST_DELAY_MS = 100,
	STEADY_S = 60, /* a worker that lived this long starts the delays anew */
	FREE_FD = 10,  /* above the numbers that a worker's descriptors get */
};

extern char **environ;

void vg_child_say(const struct vg_child *c, enum vg_log_level level, const char *text)
{
	vg_log(level, "%s: %s", c->who, text);
}

/* ---- the socket --------------------------------------------------------- */

static void closed(struct vg_child *c)
{
	vg_loop_unwatch(&c->watch);
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
	struct vg_control_req *req = c->set_req;
	struct vg_err err;

	c->set_req = NULL;
	if (!req)
		return;
	if (error == 0) {
		keep_setting(c);
		vg_control_ok(req);
		return;
	}
	vg_control_fail(req, vg_fail(&err, error, "%s", text), &err);
}

static void handle(struct vg_child *c, const struct vg_ipc *m)
{
	switch (m->type) {
	case VG_IPC_DESCRIPTION:
		snprintf(c->detail, sizeof(c->detail), "%s", m->text);
		c->described = true;
		vg_super_described(c->super);
		break;
	case VG_IPC_OPEN_FILE:
		vg_ipc_answer_open_file(c->sock, c->spec, m);
		break;
	case VG_IPC_SET_DONE:
		set_answered(c, m->error, m->text);
		break;
	default:
		c->ops->message(c, m);
		break;
	}
}

/* Everything that the worker has said so far. When its end is closed, ours is, too: it has ended or
 * is about to, and its owner goes on from there in ops->reaped. */
static void hear(struct vg_child *c)
{
	struct vg_ipc m;
	int ret;

	while (c->sock >= 0 && (ret = vg_ipc_recv(c->sock, &m, NULL)) != -EAGAIN) {
		if (ret <= 0)
			closed(c);
		else
			handle(c, &m);
	}
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct vg_child *c = container_of(w, struct vg_child, watch);

	(void)events;
	hear(c);
	if (c->sock >= 0 && c->ops->heard)
		c->ops->heard(c);
}

/* ---- the process -------------------------------------------------------- */

/* Return: a copy of @fd that no dup2() to a worker's numbers overwrites; -1: none. */
static int out_of_the_way(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD);
}

/* Start this very program with @role. Return: 0, negative errno. */
static int spawn(struct vg_child *c, const char *role, int sock, int extra)
{
	char *argv[] = { (char *)(uintptr_t) "vgrantd", (char *)(uintptr_t)role, NULL };
	posix_spawn_file_actions_t actions;
	int fds[] = { out_of_the_way(sock), out_of_the_way(extra) };
	posix_spawnattr_t attr;
	sigset_t none;
	int ret;

	if (fds[0] < 0 || (extra >= 0 && fds[1] < 0)) {
		ret = errno;
	} else {
		sigemptyset(&none);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, fds[0], VG_CHILD_SOCK);
		if (extra >= 0)
			posix_spawn_file_actions_adddup2(&actions, fds[1], VG_CHILD_EXTRA);
		posix_spawnattr_init(&attr);
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
		ret = posix_spawn(&c->pid, "/proc/self/exe", &actions, &attr, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
		posix_spawnattr_destroy(&attr);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	if (ret != 0)
		c->pid = 0;
	return -ret;
}

static void send_setup(struct vg_child *c, uint32_t domid)
{
	const struct vg_settings *settings = c->super->settings;
	struct vg_ipc m = { .type = VG_IPC_SETUP };

	m.setup.domid = domid;
	m.setup.log_target = settings->log_target;
	m.setup.log_level = settings->log_level;
	m.setup.sandbox = c->super->sandbox;
	snprintf(m.setup.who, sizeof(m.setup.who), "%s", c->who);
	memcpy(m.setup.spec, c->spec, sizeof(m.setup.spec));
	vg_child_tell(c, &m, -1);
}

int vg_child_start(struct vg_child *c, const char *role, uint32_t domid, int extra)
{
	int pair[2];
	int ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ret = spawn(c, role, pair[1], extra);
	close(pair[1]);
	if (ret < 0) {
		close(pair[0]);
		return ret;
	}
	c->sock = pair[0];
	vg_loop_watch(c->super->loop, &c->watch, c->sock);
	c->worker_since_ns = vg_now_ns();
	send_setup(c, domid);
	vg_tracers_connect(c);
	return 0;
}

void vg_child_end(struct vg_child *c)
{
	if (c->sock < 0)
		return;
	vg_child_tell_type(c, VG_IPC_QUIESCE);
	closed(c);
}

void vg_child_reaped(struct vg_child *c, int status)
{
	hear(c); /* its last words: it may have said why it ends */
	c->pid = 0;
	closed(c);
	c->described = true;
	vg_super_described(c->super);
	set_answered(c, -EPIPE, "its worker died");
	c->ops->reaped(c, status);
}

void vg_child_explain(const struct vg_child *c, int status, char *text, size_t len)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(text, len,
			 "its worker made a system call that the sandbox forbids and was killed; "
			 "please report this, and set sandbox = no in vgrantd.conf meanwhile");
	else if (WIFSIGNALED(status))
		snprintf(text, len, "its worker was killed by signal %d (%s); another resumes",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, len, "its worker ended with status %d; another resumes",
			 WEXITSTATUS(status));
	vg_child_say(c, VG_LOG_ERR, text);
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

/* ---- control ------------------------------------------------------------ */

void vg_child_describe(struct vg_child *c)
{
	const struct vg_ipc m = { .type = VG_IPC_DESCRIBE };

	c->described = c->sock < 0 || vg_ipc_send(c->sock, &m, -1) < 0;
}

void vg_child_list(struct vg_child *c, struct vg_control_req *req)
{
	struct vg_control_queue queues[VG_MAX_QUEUES];
	struct vg_record_view view;
	const struct vg_device_ops *ops = vg_device_find(c->device);
	struct vg_control_device d = {
		.type = c->device,
		.virtio_id = ops ? ops->virtio_id : 0,
		.error = c->error.text[0] ? c->error.text : NULL,
		.config = c->spec,
		.queues = queues,
		.worker = c->pid,
		.restarts = c->restarts,
		.uptime_ns = vg_now_ns() - c->since_ns,
		.detail = c->detail[0] ? c->detail : NULL,
	};

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

void vg_child_set(struct vg_child *c, struct vg_control_req *req, const char *key,
		  const char *value)
{
	struct vg_ipc m = { .type = VG_IPC_SET };
	struct vg_err err;
	int ret = 0;

	if (strlen(key) >= sizeof(m.set.key) || strlen(value) >= sizeof(m.set.value))
		ret = vg_fail(&err, -E2BIG, "%s=... is too long", key);
	else if (c->set_req)
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
		vg_control_fail(req, ret, &err);
		return;
	}
	c->set_req = req;
	snprintf(c->set_key, sizeof(c->set_key), "%s", key);
	snprintf(c->set_value, sizeof(c->set_value), "%s", value);
}

/* ---- life --------------------------------------------------------------- */

void vg_child_set_spec(struct vg_child *c, const char *spec)
{
	size_t name = strcspn(spec, ",");

	snprintf(c->spec, sizeof(c->spec), "%s", spec);
	snprintf(c->device, sizeof(c->device), "%.*s", (int)(name < 31 ? name : 31), spec);
}

void vg_child_init(struct vg_child *c, const struct vg_child_ops *ops, struct vg_super *super,
		   const char *spec)
{
	struct vg_child **last = &super->children;

	while (*last)
		last = &(*last)->next;
	memset(c, 0, sizeof(*c));
	c->ops = ops;
	c->super = super;
	c->sock = -1;
	c->record_fd = -1;
	c->watch.ready = ready;
	c->since_ns = vg_now_ns();
	vg_child_set_spec(c, spec);
	c->pprev = last;
	*last = c;
	super->n_children++;
}

void vg_child_fini(struct vg_child *c)
{
	*c->pprev = c->next;
	if (c->next)
		c->next->pprev = c->pprev;
	c->super->n_children--;
	set_answered(c, -ENODEV, "the device is gone");
	vg_tracers_end(c);
	/* The process, if there is one still, ends by itself: its socket closes. */
	vg_child_end(c);
	if (c->record_fd >= 0)
		close(c->record_fd);
	c->record_fd = -1;
}
