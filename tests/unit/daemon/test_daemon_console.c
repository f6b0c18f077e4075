// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_console.c - a console through the whole of vgrantd: worker, terminals, clients, who come
 * and go
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/virtio_console.h>
#include <pty.h>
#include <sys/ioctl.h>

#include "tests/rigs/daemon_rig.h"

enum { PATIENCE = 1000 /* times 10 ms */ };

static struct drv_buf said, heard;

/* A driver that knows no ports but the one. */
static void bring_up(struct rig_guest *g)
{
	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(
		drv_dev_start(g->dev,
			      ~(1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_CONSOLE_F_MULTIPORT),
			      2, 64),
		0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, false, &said), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, true, &heard), 0);
}

static void let_go(struct rig_guest *g)
{
	assert_int_equal(drv_dev_close(g->dev), 0);
	drv_free(&g->dev->gmem.mem, &said);
	drv_free(&g->dev->gmem.mem, &heard);
}

static struct rig_guest *guest_with_console(struct rig *r, const char *spec)
{
	struct rig_guest *g = rig_domain(r, 0);

	rig_nodes(r, 0, spec);
	bring_up(g);
	return g;
}

static void say(struct rig_guest *g, const char *text)
{
	const struct drv_seg seg = { said.addr, (uint32_t)strlen(text) };
	struct drv_queue *q = &g->dev->queues[1];
	struct drv_used used;

	memcpy(said.virt, text, seg.len);
	assert_true(drv_vring_add(&q->vr, &seg, 1, NULL, 0, g, 0) >= 0);
	drv_queue_kick(q);
	assert_int_equal(drv_queue_wait(q, &used), 0);
}

static void expect_typed(struct rig_guest *g, const char *text)
{
	const struct drv_seg seg = { heard.addr, 256 };
	struct drv_queue *q = &g->dev->queues[0];
	struct drv_used used;

	assert_true(drv_vring_add(&q->vr, NULL, 0, &seg, 1, g, 0) >= 0);
	drv_queue_kick(q);
	assert_int_equal(drv_queue_wait(q, &used), 0);
	assert_int_equal(used.len, strlen(text));
	assert_memory_equal(heard.virt, text, strlen(text));
}

/* Where `xl console -t pv -n` looks. Return: whether it is there. */
static bool path_of(struct rig *r, struct rig_guest *g, char *path, size_t size)
{
	char key[80];
	char *value;

	snprintf(key, sizeof(key), "/local/domain/%u/device/console/%u/tty", g->id, RIG_ID);
	value = fx_xs_read(fx_xs(r->w), key);
	if (value)
		snprintf(path, size, "%s", value);
	free(value);
	return value != NULL;
}

static int client(struct rig *r, struct rig_guest *g)
{
	char path[64] = "";
	int fd;

	for (int i = 0; i < PATIENCE && !path_of(r, g, path, sizeof(path)); i++)
		usleep(10000);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

static void expect_read(int fd, const char *text)
{
	char got[256];
	size_t n = 0;

	for (int i = 0; i < PATIENCE && n < strlen(text); i++) {
		ssize_t ret = read(fd, got + n, sizeof(got) - n);

		if (ret > 0)
			n += (size_t)ret;
		else
			usleep(10000);
	}
	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, n);
}

/* ---- tests -------------------------------------------------------------------------- */

/* What was said before somebody came, what is said then, and what is typed. */
static void a_console(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_console(r, "console,ports=agent");
	char path[64], request[100];
	const char *list;
	int fd;

	say(g, "booting\r\n");
	fd = client(r, g);
	expect_read(fd, "booting\r\n");
	assert_int_equal(write(fd, "ls\r", 3), 3);
	expect_typed(g, "ls\r");
	say(g, "a b\r\n");
	expect_read(fd, "a b\r\n");
	list = rig_ask(r, "{\"cmd\":\"list\"}");
	assert_non_null(strstr(list, " console=/dev/pts/")
				? list
				: strstr(list, " console=\\/dev\\/pts\\/"));
	assert_non_null(strstr(list, " agent="));
	close(fd);
	let_go(g);
	/* The device goes, and what told of its terminal with it. */
	snprintf(request, sizeof(request), "{\"cmd\":\"detach\",\"guest\":\"%u\",\"id\":\"%u\"}",
		 g->id, RIG_ID);
	rig_ask(r, request);
	for (int i = 0; i < PATIENCE && path_of(r, g, path, sizeof(path)); i++)
		usleep(10000);
	assert_false(path_of(r, g, path, sizeof(path)));
}

/* The worker has noted what it has written: one that dies before is succeeded by one that writes that
 * again. It describes itself between turns of its loop. */
static void settled(struct rig *r)
{
	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "waiting=0"));
}

/* The worker is killed: clients stay, and what nobody has read is there. */
static void worker_dies(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_console(r, "console");
	pid_t pids[16];
	int fd;

	say(g, "last words ");
	assert_int_equal(rig_workers(r, pids, 16), 1);
	kill(pids[0], SIGKILL);
	say(g, "and more");
	fd = client(r, g);
	expect_read(fd, "last words and more");
	settled(r);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(rig_workers(r, pids, 16) >= 1);
		kill(pids[0], SIGKILL);
		assert_int_equal(write(fd, "x", 1), 1);
		expect_typed(g, "x");
		say(g, "still here");
		expect_read(fd, "still here");
		settled(r);
	}
	close(fd);
	let_go(g);
}

/* ---- vgrant console --------------------------------------------------------------------- */

/* `vgrant console @args` on a terminal of its own. Return: its process; *@fd: that terminal's. */
static pid_t run(struct rig *r, const char *guest, const char *port, int *fd)
{
	const char *build = getenv("VGRANT_BUILD");
	const struct winsize w = { .ws_col = 111, .ws_row = 22 };
	char program[300], sock[300];
	pid_t pid = forkpty(fd, NULL, NULL, &w);

	assert_true(pid >= 0);
	if (pid == 0) {
		snprintf(program, sizeof(program), "%s/vgrant", build ? build : "build/asan");
		snprintf(sock, sizeof(sock), "%s/run/control", r->dir);
		execl(program, "vgrant", "--socket", sock, "console", guest, port, NULL);
		_exit(127);
	}
	fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
	return pid;
}

/* Until @text has come, whatever comes before. */
static void await(int fd, const char *text)
{
	char got[4096] = "";
	size_t n = 0;

	for (int i = 0; i < PATIENCE && !strstr(got, text); i++) {
		ssize_t ret = read(fd, got + n, sizeof(got) - 1 - n);

		if (ret > 0)
			n += (size_t)ret;
		else
			usleep(10000);
		got[n] = '\0';
	}
	if (!strstr(got, text))
		fail_msg("no '%s' in '%s'", text, got);
}

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_tool(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_console(r, "console,ports=agent");
	struct virtio_console_config config = { 0 };
	char guest[16], path[64];
	int fd, other, tty;
	pid_t pid, second;

	snprintf(guest, sizeof(guest), "%u", g->id);
	say(g, "login: ");
	pid = run(r, guest, NULL, &fd);
	await(fd, "login: ");
	assert_int_equal(write(fd, "root\r", 5), 5);
	expect_typed(g, "root\r");
	/* The guest is told how large the window is. */
	for (int i = 0; i < PATIENCE && config.cols != 111; i++) {
		assert_int_equal(drv_dev_config_read(g->dev, 0, &config, 4, NULL), 0);
		usleep(10000);
	}
	assert_int_equal(config.cols, 111);
	assert_int_equal(config.rows, 22);
	/* One at a time; and no port that there is not. */
	second = run(r, guest, NULL, &other);
	await(other, "another vgrant console has");
	assert_int_equal(ended(second), 1);
	close(other);
	second = run(r, guest, "nothing", &other);
	await(other, "has no port 'nothing'");
	assert_int_equal(ended(second), 1);
	close(other);
	assert_int_equal(write(fd, "\x1d", 1), 1);
	await(fd, "\n");
	assert_int_equal(ended(pid), 0);
	close(fd);
	/* The daemon is gone, and the terminals with it. */
	pid = run(r, guest, "agent", &fd);
	await(fd, "agent of");
	assert_true(path_of(r, g, path, sizeof(path)));
	tty = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(tty >= 0);
	rig_daemon_stop(r, SIGKILL);
	await(fd, "is gone");
	assert_int_equal(ended(pid), 1);
	assert_true(read(tty, path, 1) <= 0);
	close(tty);
	close(fd);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	say(g, "again");
	let_go(g);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(a_console),
		T(worker_dies),
		T(the_tool),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
