// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_socket_worker.c - vgrantd's worker for a vhost-user socket, and its supervisor's messages
 *
 * The worker is a process of its own, as vgrantd starts it, without the sandbox.
 * The device is a toy that can be set, traced and described: vg_devices[] is this
 * file's, in place of the one in devices/table.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/limits.h"
#include "backend/daemon/standalone.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"
#include "backend/ports/record.h"
#include "backend/worker/socket_worker.h"

/* ---- the toy ---------------------------------------------------------------- */

static char toy_value[32] = "none";

static int toy_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	if (vg_params_bool(params, dev->ops->params, "broken"))
		return vg_fail(err, -EIO, "the toy is broken: mend it");
	dev->n_queues = 2;
	dev->queue_size_max = 64;
	return 0;
}

static void toy_nothing(struct vg_dev *dev)
{
	(void)dev;
}

static void toy_queue(struct vg_dev *dev, unsigned q)
{
	(void)dev;
	(void)q;
}

static int toy_set(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err)
{
	if (strcmp(key, "value") != 0)
		return vg_fail(err, -EINVAL, "the toy has no %s", key);
	snprintf(toy_value, sizeof(toy_value), "%s", value);
	if (vg_trace_on(&dev->trace))
		vg_trace_line(&dev->trace, value, strlen(value));
	return 0;
}

static void toy_describe(struct vg_dev *dev, char *buf, size_t len)
{
	(void)dev;
	snprintf(buf, len, "value=%s", toy_value);
}

/* In the supervisor: the configuration's FIFO, whatever is asked for. */
static int toy_lend(const struct vg_params *params, const char *what, struct vg_err *err)
{
	int fd = open(params->n ? params->p[0].value : "", O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	return strcmp(what, "fifo") == 0 && fd >= 0 ? fd : vg_fail(err, -EPERM, "no %s", what);
}

/* In whoever started the worker: a byte to FIFO.after, at the second attempt. */
static int toy_afterwards(const struct vg_params *params, bool ended, struct vg_command *out,
			  struct vg_err *err)
{
	static bool asked_before;

	if (!params->n || strcmp(params->p[0].key, "fifo") != 0)
		return 0;
	if (ended && !asked_before) {
		asked_before = true;
		return vg_fail(err, -EBUSY, "not yet");
	}
	asked_before = false;
	vg_command_init(out, "toy", "/bin/sh");
	vg_command_arg(out, "-c");
	vg_command_arg(out, "printf x >>$FIFO.after");
	vg_command_env(out, "FIFO", params->p[0].value);
	return 1;
}

static void toy_tick(struct vg_dev *dev)
{
	vg_dev_ask(dev, "fifo", false);
}

/* Says who it is, and asks for more. */
static void toy_given(struct vg_dev *dev, const char *what, int fd, const char *why)
{
	const pid_t self = getpid();

	(void)why;
	if (fd < 0)
		return;
	if (write(fd, &self, sizeof(self)) == sizeof(self))
		vg_dev_ask(dev, what, false);
	close(fd);
}

static const struct vg_param_def toy_params[] = {
	{ "fifo", VG_PARAM_STRING, false, 0, 0, "", "what it is lent" },
	{ "broken", VG_PARAM_BOOL, false, 0, 1, "0", "cannot be opened" },
	{ 0 },
};

static const struct vg_device_ops toy_ops = {
	.name = "toy",
	.help = "of a test",
	.virtio_id = 63,
	.params = toy_params,
	.open = toy_open,
	.close = toy_nothing,
	.queue_ready = toy_queue,
	.stop_queue = toy_queue,
	.reset = toy_nothing,
	.set = toy_set,
	.describe = toy_describe,
	.lend = toy_lend,
	.afterwards = toy_afterwards,
	.given = toy_given,
	.tick = toy_tick,
	.traces = true,
};

const struct vg_device_ops *const vg_devices[] = { &toy_ops, NULL };

/* ---- the supervisor's side ---------------------------------------------------- */

struct rig {
	pid_t pid;
	int sock, record;
	char path[108];
};

static int begin(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int pair[2], fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(r->path, sizeof(r->path), "%.80s/w.%d.sock", getenv("TMPDIR") ?: "/tmp", getpid());
	unlink(r->path);
	memcpy(un.sun_path, r->path, sizeof(un.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->record = -1;
	r->pid = fork();
	if (r->pid == 0) {
		close(pair[0]);
		_exit(vg_socket_worker_main(pair[1], fd));
	}
	close(pair[1]);
	close(fd);
	r->sock = pair[0];
	*state = r;
	return 0;
}

static int ends(struct rig *r)
{
	int status = -1;

	for (unsigned i = 0; i < 1000 && waitpid(r->pid, &status, WNOHANG) == 0; i++)
		usleep(5000);
	r->pid = 0;
	return status;
}

static int finish(void **state)
{
	struct rig *r = *state;

	close(r->sock);
	if (r->record >= 0)
		close(r->record);
	unlink(r->path);
	if (r->pid)
		assert_int_equal(ends(r), 0); /* the supervisor hung up */
	free(r);
	return 0;
}

static void tell(struct rig *r, struct vg_ipc *m, int fd)
{
	assert_int_equal(vg_ipc_send(r->sock, m, fd), 0);
}

/** hears - the next message is of @type; Return: it */
static const struct vg_ipc *hears(struct rig *r, uint32_t type)
{
	static struct vg_ipc m;
	struct pollfd p = { .fd = r->sock, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(vg_ipc_recv(r->sock, &m, NULL), 1);
	assert_int_equal(m.type, type);
	return &m;
}

static void setup(struct rig *r, const char *spec)
{
	struct vg_ipc m = { .type = VG_IPC_SETUP };

	m.setup.log_level = VG_LOG_ERR;
	snprintf(m.setup.who, sizeof(m.setup.who), "test");
	snprintf(m.setup.spec, sizeof(m.setup.spec), "%s", spec);
	tell(r, &m, -1);
}

/** recorded - it has opened, and gets its record: from then on it listens */
static void recorded(struct rig *r)
{
	struct vg_ipc m = { .type = VG_IPC_RECORD };
	struct vg_err err;

	m.opened = hears(r, VG_IPC_OPENED)->opened;
	assert_int_equal(m.opened.virtio_id, 63);
	assert_int_equal(vg_record_make_memfd(&m.opened.shape, "toy", &r->record, &err), 0);
	tell(r, &m, r->record);
}

static const struct vg_ipc *set(struct rig *r, const char *key, const char *value)
{
	struct vg_ipc m = { .type = VG_IPC_SET };

	snprintf(m.set.key, sizeof(m.set.key), "%s", key);
	snprintf(m.set.value, sizeof(m.set.value), "%s", value);
	tell(r, &m, -1);
	return hears(r, VG_IPC_SET_DONE);
}

/* ---- tests ------------------------------------------------------------------ */

static void opens_and_ends(void **state)
{
	struct rig *r = *state;
	struct vg_ipc m = { .type = VG_IPC_QUIESCE };

	setup(r, "toy");
	hears(r, VG_IPC_OPENED);
	tell(r, &m, -1);
	assert_int_equal(ends(r), 0);
}

static void cannot_open(void **state)
{
	struct rig *r = *state;
	const struct vg_ipc *m;

	setup(r, "toy,broken");
	m = hears(r, VG_IPC_FAILED);
	assert_int_equal(m->error, -EIO);
	assert_string_equal(m->text, "the toy is broken: mend it");
	assert_true(WIFEXITED(ends(r)));
}

static void set_and_described(void **state)
{
	struct rig *r = *state;
	struct vg_ipc m = { .type = VG_IPC_DESCRIBE };
	struct vg_record_view view;

	setup(r, "toy");
	recorded(r);
	tell(r, &m, -1);
	assert_string_equal(hears(r, VG_IPC_DESCRIPTION)->text, "value=none");
	assert_int_equal(set(r, "value", "7")->error, 0);
	assert_int_equal(set(r, "colour", "blue")->error, -EINVAL);
	tell(r, &m, -1);
	assert_string_equal(hears(r, VG_IPC_DESCRIPTION)->text, "value=7");
	assert_int_equal(vg_record_peek(r->record, &view), 0);
	assert_true(view.offered & VG_FEATURE(VG_F_VERSION_1));
}

static void traced(void **state)
{
	struct rig *r = *state;
	struct vg_ipc m = { .type = VG_IPC_TRACE };
	struct pollfd p = { .events = POLLIN };
	char text[64] = "";
	int pair[2];

	setup(r, "toy");
	hears(r, VG_IPC_OPENED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	tell(r, &m, pair[1]);
	close(pair[1]);
	assert_int_equal(set(r, "value", "a line")->error, 0);
	p.fd = pair[0];
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(recv(pair[0], text, sizeof(text) - 1, 0), 7);
	assert_string_equal(text, "a line\n");
	close(pair[0]);
}

static void front_ends_come_and_go(void **state)
{
	struct rig *r = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, r->path, sizeof(un.sun_path));
	setup(r, "toy");
	recorded(r);
	for (unsigned i = 0; i < 3; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		hears(r, VG_IPC_CONNECTED);
		close(fd);
		hears(r, VG_IPC_DISCONNECTED);
	}
}

/* A supervisor that dies before it has said anything. */
static void never_set_up(void **state)
{
	struct rig *r = *state;

	shutdown(r->sock, SHUT_RDWR);
	assert_true(WIFEXITED(ends(r)));
}

/* ---- vgrant-vhost-user --------------------------------------------------------- */

enum { LEFT_OPEN = 100 };

/* Its worker's descriptors: not what whoever started it left open. */
static void assert_not_left(pid_t worker)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/0", worker);
	if (access(path, F_OK) == 0) { /* not of one that is not dumpable, as its own user */
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", worker, LEFT_OPEN);
		assert_int_equal(access(path, F_OK), -1);
	}
}

/* A worker in its sandbox asks and is given what the configuration names, as often as the limit says; then
 * another takes its place. */
static void standalone_gives(void **state)
{
	char fifo[108], socket_path[128], spec[160], after[128];
	char *argv[] = { (char *)(uintptr_t) "vgrant-vhost-user",
			 (char *)(uintptr_t) "--socket-path", socket_path, spec, NULL };
	struct stat st;
	pid_t pid, worker, next, first = 0;
	unsigned n = 0;
	int fd, status;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	snprintf(fifo, sizeof(fifo), "%.80s/fifo.%d", getenv("TMPDIR") ?: "/tmp", getpid());
	snprintf(socket_path, sizeof(socket_path), "%s.sock", fifo);
	snprintf(spec, sizeof(spec), "toy,fifo=%s", fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0) {
		if (dup2(STDERR_FILENO, LEFT_OPEN) < 0)
			_exit(100);
		optind = 1;
		_exit(vg_vhost_user_main(4, argv));
	}
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_int_equal(read(fd, &next, sizeof(next)), sizeof(next));
		if (!first) {
			first = worker = next;
			assert_true(worker != pid);
			assert_not_left(worker);
		}
		if (next != first)
			break;
		n++;
	}
	assert_int_equal(n, VG_LIMIT_ASKED);
	/* What is to be run after a worker was, after the first one. */
	snprintf(after, sizeof(after), "%s.after", fifo);
	assert_int_equal(stat(after, &st), 0);
	assert_int_equal(st.st_size, 1);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(stat(after, &st), 0);
	assert_int_equal(st.st_size, 2);
	close(fd);
	unlink(fifo);
	unlink(after);
}

/* Where a descriptor of @worker leads to. */
static const char *leads_to(pid_t worker, int fd)
{
	static char to[128];
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", worker, fd);
	n = readlink(path, to, sizeof(to) - 1);
	to[n < 0 ? 0 : n] = '\0';
	return to;
}

/* vgrant-vhost-user with @tty as its stdin, stdout and stderr. */
static pid_t on_terminal(int tty, const char *socket_path, const char *spec)
{
	char *argv[] = { (char *)(uintptr_t) "vgrant-vhost-user",
			 (char *)(uintptr_t) "--socket-path", (char *)(uintptr_t)socket_path,
			 (char *)(uintptr_t)spec, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		for (int fd = 0; fd < 3; fd++) {
			if (dup2(tty, fd) < 0)
				_exit(100);
		}
		optind = 1;
		_exit(vg_vhost_user_main(4, argv));
	}
	return pid;
}

/* The terminal, or the log, of whoever started it is not its worker's; what that says comes there. */
static void standalone_keeps_its_terminal(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), tty, fd, status;
	char fifo[108], socket_path[128], spec[160], text[512] = "";
	struct pollfd p = { .fd = master, .events = POLLIN };
	pid_t pid, worker;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	tty = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	snprintf(fifo, sizeof(fifo), "%.80s/tty.%d", getenv("TMPDIR") ?: "/tmp", getpid());
	snprintf(socket_path, sizeof(socket_path), "%s.sock", fifo);
	snprintf(spec, sizeof(spec), "toy,fifo=%s", fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDWR | O_CLOEXEC);
	pid = on_terminal(tty, socket_path, spec);
	assert_int_equal(read(fd, &worker, sizeof(worker)), sizeof(worker));
	if (geteuid() == 0) { /* one that is not dumpable is root's to look at */
		assert_string_equal(leads_to(pid, 2), ttyname(tty));
		assert_string_equal(leads_to(worker, 0), "/dev/null");
		assert_memory_equal(leads_to(worker, 1), "pipe:", 5);
		assert_memory_equal(leads_to(worker, 2), "pipe:", 5);
	}
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	pid = on_terminal(tty, socket_path, "toy,broken");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status));
	for (size_t n = 0; !strstr(text, "the toy is broken: mend it") && n < sizeof(text) - 1;) {
		ssize_t more =
			poll(&p, 1, 5000) == 1 ? read(master, text + n, sizeof(text) - 1 - n) : -1;

		assert_true(more > 0);
		n += (size_t)more;
	}
	close(tty);
	close(master);
	close(fd);
	unlink(fifo);
}

/* The VMM has been served; then, for a while, its socket cannot even be looked for. */
static void standalone_connects_again(void **state)
{
	char dir[108], away[128], socket_path[128];
	char *argv[] = { (char *)(uintptr_t) "vgrant-vhost-user",
			 (char *)(uintptr_t) "--socket-path",
			 socket_path,
			 (char *)(uintptr_t) "--connect",
			 (char *)(uintptr_t) "toy",
			 NULL };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct pollfd p = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
			    .events = POLLIN };
	int conn, status;
	pid_t pid;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	snprintf(dir, sizeof(dir), "%.80s/vmm.%d", getenv("TMPDIR") ?: "/tmp", getpid());
	snprintf(away, sizeof(away), "%s.away", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/s", dir);
	memcpy(un.sun_path, socket_path, sizeof(un.sun_path));
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(bind(p.fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(p.fd, 4), 0);
	pid = fork();
	if (pid == 0) {
		optind = 1;
		_exit(vg_vhost_user_main(5, argv));
	}
	assert_int_equal(poll(&p, 1, 20000), 1);
	conn = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(rename(dir, away), 0);
	close(open(dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* ENOTDIR */
	close(conn);
	for (unsigned i = 0; i < 15; i++) {
		usleep(100000);
		assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	}
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(rename(away, dir), 0);
	assert_int_equal(poll(&p, 1, 20000), 1);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(p.fd);
	unlink(socket_path);
	rmdir(dir);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)
	const struct CMUnitTest tests[] = {
		T(opens_and_ends),
		T(cannot_open),
		T(set_and_described),
		T(traced),
		T(front_ends_come_and_go),
		T(never_set_up),
		cmocka_unit_test(standalone_gives),
		cmocka_unit_test(standalone_keeps_its_terminal),
		cmocka_unit_test(standalone_connects_again),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
