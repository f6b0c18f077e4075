// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_service.c - vgrantd and who started it as a service: what that is told (sd_notify(3)), and a
 * SIGHUP that comes before anything is ready. With systemd itself: tests/xen/t/90-packages.t.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>

#include "tests/rigs/daemon_rig.h"

enum { PATIENCE_MS = 20000 };

static int manager = -1; /* its socket */

/* Bound where @name says, with its first character as $NOTIFY_SOCKET has it. */
static void listen_at(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	if (manager >= 0)
		close(manager);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(a.sun_path, name, len);
	if (*name == '@')
		a.sun_path[0] = '\0';
	assert_int_equal(bind(manager, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
}

static void told(const char *what)
{
	struct pollfd p = { .fd = manager, .events = POLLIN };
	char text[200];
	ssize_t n;

	if (poll(&p, 1, PATIENCE_MS) != 1)
		fail_msg("nobody was told %s", what);
	n = recv(manager, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	if (strncmp(text, what, strlen(what)) != 0)
		fail_msg("\"%s\", not \"%s\"", text, what);
}

static int begin(void **state)
{
	char name[60];

	snprintf(name, sizeof(name), "@vgrant-test-%d", (int)getpid());
	listen_at(name);
	return rig_begin(state);
}

static int end(void **state)
{
	close(manager);
	manager = -1;
	unsetenv("NOTIFY_SOCKET");
	return rig_end(state);
}

static void a_life(void **state)
{
	struct rig *r = *state;
	int fd;

	told("READY=1");
	fd = rig_control(r);
	assert_true(fd >= 0);
	close(fd);
	kill(r->daemon, SIGHUP);
	told("RELOADING=1\nMONOTONIC_USEC=");
	told("READY=1");
	kill(r->daemon, SIGTERM);
	told("STOPPING=1");
}

static void a_socket_in_a_folder(void **state)
{
	struct rig *r = *state;
	char name[100];

	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	snprintf(name, sizeof(name), "%s/notify", r->dir);
	listen_at(name);
	rig_daemon_start(r);
	told("READY=1");
}

/* It would be believed what it says. */
static void a_worker_does_not_know_the_manager(void **state)
{
	struct rig *r = *state;
	char path[64], environment[8192];
	struct rig_guest *g;
	pid_t pid = 0;
	ssize_t n;
	int fd;

	g = rig_connected(r, 0);
	assert_int_equal(rig_workers(r, &pid, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, environment, sizeof(environment));
	close(fd);
	assert_true(n > 0);
	assert_null(memmem(environment, (size_t)n, "NOTIFY_SOCKET", strlen("NOTIFY_SOCKET")));
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* While it reads its settings, which it does first. */
static void a_hangup_that_comes_at_once(void **state)
{
	struct rig *r = *state;
	char fifo[100], file[100];
	int fd;

	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	snprintf(fifo, sizeof(fifo), "%s/vgrantd.conf", r->dir);
	snprintf(file, sizeof(file), "%s/next.conf", r->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	rig_daemon_start(r);
	fd = open(fifo, O_WRONLY | O_CLOEXEC); /* once it reads */
	assert_true(fd >= 0);
	kill(r->daemon, SIGHUP);
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(rename(file, fifo), 0);
	close(fd);
	rig_daemon_ready(r);
	assert_true(rig_logs(r, "SIGHUP: failed devices are tried again"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_life, begin, end),
		cmocka_unit_test_setup_teardown(a_socket_in_a_folder, begin, end),
		cmocka_unit_test_setup_teardown(a_worker_does_not_know_the_manager, begin, end),
		cmocka_unit_test_setup_teardown(a_hangup_that_comes_at_once, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
