// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets between supervisor and worker: versions, descriptors, and files that a worker in its
 * sandbox asks for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/loop.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"

/* A device whose configuration names the one file that it may have, for reading. */
static int layered_may_open(const struct vg_params *params, const char *name, bool write,
			    struct vg_err *err)
{
	for (unsigned i = 0; i < params->n; i++) {
		if (!write && strcmp(params->p[i].key, "base") == 0 &&
		    strcmp(params->p[i].value, name) == 0)
			return 0;
	}
	return vg_fail(err, -EPERM, "the configuration does not name %s: add base=", name);
}

/* And one thing that is no file, what the configuration says. */
static int layered_lend(const struct vg_params *params, const char *what, struct vg_err *err)
{
	if (strcmp(what, "image") == 0)
		return open(vg_params_str(params, NULL, "base"), O_PATH | O_CLOEXEC);
	if (strcmp(what, "thing") != 0 || params->n == 0)
		return vg_fail(err, -EPERM, "there is no %s", what);
	return open(params->p[0].value, O_RDONLY | O_CLOEXEC);
}

static const struct vg_device_ops layered = { .name = "layered",
					      .may_open = layered_may_open,
					      .lend = layered_lend };
static const struct vg_device_ops bare = { .name = "bare" };
const struct vg_device_ops *const vg_devices[] = { &layered, &bare, NULL };

static int pair[2];
static char path[200];

static int begin(void **state)
{
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%.150s/ipc.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || write(fd, "base", 4) != 4)
		return -1;
	close(fd);
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int end(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	unlink(path);
	return 0;
}

static void versions(void **state)
{
	struct vg_ipc m = { .version = VG_IPC_VERSION + 1, .type = VG_IPC_QUIESCE }, in;
	int fd;

	(void)state;
	assert_int_equal(send(pair[0], &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(vg_ipc_recv(pair[1], &in, &fd), -EPROTO);
	assert_int_equal(send(pair[0], &m, sizeof(m) - 1, 0), sizeof(m) - 1);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &fd), -EPROTO);
	assert_int_equal(vg_ipc_send(pair[0], &m, -1), 0);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &fd), 1);
	assert_int_equal(in.type, VG_IPC_QUIESCE);
	assert_int_equal(fd, -1);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &fd), -EAGAIN);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void descriptors(void **state)
{
	struct vg_ipc m = { .type = VG_IPC_QUIESCE }, in;
	int out[VG_IPC_FDS + 1] = { 0, 1, 2, 0, 1 }, fds[VG_IPC_FDS], fd;
	unsigned before = open_descriptors();

	(void)state;
	assert_int_equal(vg_ipc_send_fds(pair[0], &m, out, VG_IPC_FDS + 1), -EINVAL);
	for (unsigned n = 0; n <= VG_IPC_FDS; n++) {
		assert_int_equal(vg_ipc_send_fds(pair[0], &m, out, n), 0);
		assert_int_equal(vg_ipc_recv_fds(pair[1], &in, fds), 1);
		for (unsigned i = 0; i < VG_IPC_FDS; i++) {
			assert_int_equal(fds[i] >= 0, i < n);
			if (i < n) {
				assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
				close(fds[i]);
			}
		}
	}
	/* Who expects one, or none, keeps no others. */
	assert_int_equal(vg_ipc_send_fds(pair[0], &m, out, 3), 0);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &fd), 1);
	close(fd);
	assert_int_equal(vg_ipc_send_fds(pair[0], &m, out, 3), 0);
	assert_int_equal(vg_ipc_recv(pair[1], &in, NULL), 1);
	assert_int_equal(open_descriptors(), before);
}

static void texts_end(void **state)
{
	struct vg_ipc m, in;

	(void)state;
	memset(&m, 'x', sizeof(m));
	m.version = VG_IPC_VERSION;
	m.type = VG_IPC_ASK;
	assert_int_equal(send(pair[0], &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(vg_ipc_recv(pair[1], &in, NULL), 1);
	assert_int_equal(strlen(in.asked.what), sizeof(in.asked.what) - 1);
	m.type = VG_IPC_FAILED;
	assert_int_equal(send(pair[0], &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(vg_ipc_recv(pair[1], &in, NULL), 1);
	assert_int_equal(strlen(in.text), sizeof(in.text) - 1);
}

/* ---- files --------------------------------------------------------------------- */

static unsigned others;

static void heard(void *owner, const struct vg_ipc *m, int fd)
{
	(void)owner;
	others += m->type == VG_IPC_DESCRIBE && fd < 0;
}

/* A worker, in its sandbox: asks, and ends with 0 if it got what it should. */
static void worker(const char *name, bool write_it, int want)
{
	static const struct vg_sandbox_needs *const needs[] = { NULL };
#ifdef __SANITIZE_THREAD__
	const struct vg_sandbox sb = { .seccomp = false }; /* TSan's thread calls what it likes */
#else
	const struct vg_sandbox sb = { .seccomp = true };
#endif
	struct vg_err err = { "" };
	struct vg_loop *loop;
	char got[5] = "";
	int fd;

	close(pair[0]);
	if (vg_loop_new_disabled(8, &loop) < 0 || vg_sandbox_enter(&sb, needs, &err) < 0)
		_exit(10);
	fd = vg_ipc_open_file(pair[1], name, write_it, heard, NULL, &err);
	if (want < 0)
		_exit(fd == want && err.text[0] ? 0 : 11);
	if (fd < 0 || read(fd, got, 4) != 4 || strcmp(got, "base") != 0)
		_exit(12);
	if (write(fd, "x", 1) != -1)
		_exit(13); /* for reading, it was said */
	_exit(others == 1 ? 0 : 14);
}

static void asks(const char *spec, const char *name, bool write_it, int want)
{
	struct vg_ipc m, other = { .type = VG_IPC_DESCRIBE };
	struct pollfd p = { .fd = pair[0], .events = POLLIN };
	pid_t pid = fork();
	int status;

	if (pid == 0)
		worker(name, write_it, want);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(vg_ipc_recv(pair[0], &m, NULL), 1);
	assert_int_equal(m.type, VG_IPC_ASK);
	assert_int_equal(vg_ipc_send(pair[0], &other, -1), 0);
	assert_int_equal(vg_ipc_answer(pair[0], pid, spec, &m), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void files_by_configuration(void **state)
{
	char spec[300];

	(void)state;
	snprintf(spec, sizeof(spec), "layered,base=%s", path);
	asks(spec, path, false, 0);
	asks(spec, path, true, -EPERM);
	asks(spec, "/etc/passwd", false, -EPERM);
	asks("layered", path, false, -EPERM);
	asks("bare", path, false, -EPERM);
	asks("layered,base=/no/such/file", "/no/such/file", false, -ENOENT);
	asks("layered,base=/dev/null", "/dev/null", false, -EINVAL);
	asks("layered,base=/tmp", "/tmp", false, -EINVAL);
	asks(spec, "thing", false, 0);
	asks(spec, "things", false, -EPERM);
	asks("bare", "thing", false, -EPERM);
	asks(spec, "", false, -EPERM);
}

/* A worker may write its image up to the end that the supervisor sees, whatever the worker says. */
static void a_longer_file_may_be_written(void **state)
{
	struct vg_ipc m = { .type = VG_IPC_ASK, .asked = { .what = "image" } }, in;
	char spec[300], name[] = "/tmp/vgrant-longer-XXXXXX", c = 'x';
	int fd = mkostemp(name, O_CLOEXEC), got, status;
	struct rlimit rl;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	snprintf(spec, sizeof(spec), "layered,base=%s", name);
	pid = fork();
	if (pid == 0) {
		const struct vg_sandbox sb = { .seccomp = true, .file_bytes = 4096 };
		static const struct vg_sandbox_needs *const needs[] = { NULL };
		struct pollfd p = { .fd = pair[1], .events = POLLIN };
		struct vg_err err = { "" };

		alarm(20);
		if (vg_sandbox_isolate(&sb, needs, &err) < 0 || pwrite(fd, &c, 1, 4095) != 1)
			_exit(1);
		if (pwrite(fd, &c, 1, 4096) != -1 || errno != EFBIG)
			_exit(2);
		if (write(pair[1], &c, 1) != 1 || poll(&p, 1, 10000) != 1 ||
		    vg_ipc_recv(pair[1], &in, &got) != 1 || in.type != VG_IPC_GIVEN || in.error ||
		    write(got, &c, 1) != -1)
			_exit(3);
		if (pwrite(fd, &c, 1, 8191) != 1)
			_exit(4);
		_exit(pwrite(fd, &c, 1, 8192) == -1 && errno == EFBIG ? 0 : 5);
	}
	assert_int_equal(read(pair[0], &c, 1), 1);
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(vg_ipc_answer(pair[0], pid, spec, &m), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* Nothing else is lent, and a limit that is higher stays. */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rl), 0);
	assert_int_equal(vg_ipc_answer(pair[0], getpid(), spec, &m), 0);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &got), 1);
	assert_int_equal(in.error, 0);
	close(got);
	snprintf(m.asked.what, sizeof(m.asked.what), "images");
	assert_int_equal(vg_ipc_answer(pair[0], getpid(), spec, &m), 0);
	assert_int_equal(vg_ipc_recv(pair[1], &in, &got), 1);
	assert_int_equal(in.error, -EPERM);
	unlink(name);
	close(fd);
}

static void the_supervisor_is_gone(void **state)
{
	struct vg_err err;

	(void)state;
	close(pair[0]);
	assert_true(vg_ipc_open_file(pair[1], path, false, heard, NULL, &err) < 0);
	pair[0] = dup(pair[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(versions),
		T(descriptors),
		T(texts_end),
		T(files_by_configuration),
		T(a_longer_file_may_be_written),
		T(the_supervisor_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
