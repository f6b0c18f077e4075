/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon_rig.h - the real vgrantd, on a fake Xen host, with guests in the test process
 *
 * Each test gets a world, a folder for the daemon's runtime files, images and
 * log, and vgrantd-fake (the daemon's own sources, linked with tests/fakes/xen)
 * as a child. Its settings are <dir>/vgrantd.conf where a test has written that
 * before it started the daemon, or none. VGRANT_BUILD names the build folder, as tests/run-unit sets it.
 *
 * rig_end() ends the daemon and asserts what must hold after every test: it
 * went with status 0, no worker had to be killed for that, and nothing of any guest is mapped or
 * bound any more.
 */
#ifndef DAEMON_RIG_H
#define DAEMON_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/driver/vblk.h"
#include "tests/driver/vgrant_driver.h"
#include "tests/fakes/xen/fake_xen.h"

/* The sanitizers' run-time makes system calls that the sandbox forbids. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RIG_SANDBOX "sandbox=no"
#else
#define RIG_SANDBOX "sandbox=on"
#endif

#define RIG_SECTORS 2048u
#define RIG_GUESTS  4u
#define RIG_ID	    64u /* of every guest's device */

struct rig_guest {
	unsigned int id;
	struct fx_domain *dom;
	struct drv_dev *dev;
	struct drv_blk blk;
	char image[256];
};

struct rig {
	struct fx_world *w;
	char dir[80];
	char log[160];
	pid_t daemon;
	struct rig_guest guest[RIG_GUESTS];
	bool hangs; /* the test makes a worker that does not end by itself */
};

/* ---- the daemon ------------------------------------------------------------ */

static const char *rig_libvirt = "off"; /* libvirt's address, for the next daemon */

static inline void rig_exec(struct rig *r)
{
	const char *build = getenv("VGRANT_BUILD");
	const char *asan = getenv("ASAN_OPTIONS");
	char prog[256], run[160], conf[160], options[256], file[160], libvirt[160];
	int fd;

	snprintf(prog, sizeof(prog), "%s/vgrantd-fake", build ? build : "build/asan");
	snprintf(run, sizeof(run), "runtime-dir=%s/run", r->dir);
	snprintf(conf, sizeof(conf), "config-dirs=%s/xen", r->dir);
	/* A worker ends without freeing what it holds: that is the kernel's work. */
	snprintf(options, sizeof(options), "%s%sdetect_leaks=0", asan ? asan : "", asan ? ":" : "");
	setenv("ASAN_OPTIONS", options, 1);
	fd = open(r->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd >= 0)
		dup2(fd, 2);
	snprintf(file, sizeof(file), "%s/vgrantd.conf", r->dir);
	snprintf(libvirt, sizeof(libvirt), "libvirt=%s", rig_libvirt);
	execl(prog, prog, "-v", "-c", access(file, F_OK) ? "/dev/null" : file, "-o", run, "-o",
	      conf, "-o", libvirt, "-o", RIG_SANDBOX, (char *)NULL);
	fprintf(stderr, "cannot run %s: %s\n", prog, strerror(errno));
	_exit(127);
}

static inline void rig_daemon_start(struct rig *r)
{
	r->daemon = fork();
	if (!r->daemon)
		rig_exec(r);
}

/** rig_control() - a connection to its control socket; Return: a descriptor, or -1: nobody listens */
static inline int rig_control(struct rig *r)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/run/control", r->dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	close(fd);
	return -1;
}

/** rig_daemon_ready() - wait until it answers on its control socket */
static inline void rig_daemon_ready(struct rig *r)
{
	int fd = -1;

	for (int i = 0; i < 1000 && (fd = rig_control(r)) < 0; i++)
		usleep(5000);
	assert_true(fd >= 0);
	close(fd);
}

/**
 * rig_try_ask() - one request on the control socket; asserts nothing, for processes beside the test
 * @request: a line, without its newline
 *
 * Return: the answer, in a static buffer, up to its newline or what has come of it when nothing more
 * came for 20 s; NULL: the request cannot be sent.
 */
static inline const char *rig_try_ask(struct rig *r, const char *request)
{
	static char answer[1 << 20];
	struct timeval patience = { .tv_sec = 20 };
	int fd = rig_control(r);
	size_t n = 0;
	ssize_t got;
	bool sent;

	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	sent = write(fd, request, strlen(request)) == (ssize_t)strlen(request) &&
	       write(fd, "\n", 1) == 1;
	while (sent && (got = read(fd, answer + n, sizeof(answer) - 1 - n)) > 0) {
		n += (size_t)got;
		if (answer[n - 1] == '\n')
			break;
	}
	close(fd);
	answer[n] = '\0';
	return sent ? answer : NULL;
}

/** rig_ask() - the same, of a request that can be sent */
static inline const char *rig_ask(struct rig *r, const char *request)
{
	const char *answer = rig_try_ask(r, request);

	assert_non_null(answer);
	return answer;
}

/** rig_listens() - a client that hears of events; @guest: 0: of all */
static inline int rig_listens(struct rig *r, unsigned int guest)
{
	struct timeval patience = { .tv_sec = 30 };
	char request[80] = "{\"cmd\":\"events\"}\n";
	int fd = rig_control(r);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (guest)
		snprintf(request, sizeof(request), "{\"cmd\":\"events\",\"guest\":\"%u\"}\n",
			 guest);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	/* What is asked later, on another connection, is answered later. */
	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"version\"}"), "\"ok\":true"));
	return fd;
}

/** rig_line() - the next line that such a client hears; "": there is no more */
static inline const char *rig_line(int fd)
{
	static char text[4096];
	size_t n = 0;

	while (n < sizeof(text) - 1 && read(fd, text + n, 1) == 1 && text[n] != '\n')
		n++;
	text[n] = '\0';
	return text;
}

/** rig_daemon_stop() - end it with @sig; Return: the status of waitpid() */
static inline int rig_daemon_stop(struct rig *r, int sig)
{
	int status = -1, i;

	if (!r->daemon)
		return 0;
	kill(r->daemon, sig);
	for (i = 0; i < 1000 && waitpid(r->daemon, &status, WNOHANG) == 0; i++)
		usleep(10000);
	if (i == 1000) {
		kill(r->daemon, SIGKILL);
		waitpid(r->daemon, &status, 0);
	}
	r->daemon = 0;
	return status;
}

/** rig_logged() - whether the daemon has logged @text */
static inline bool rig_logged(struct rig *r, const char *text)
{
	char *buf = calloc(1, 1 << 20);
	int fd = open(r->log, O_RDONLY);
	bool yes = false;

	if (fd >= 0 && read(fd, buf, (1 << 20) - 1) > 0)
		yes = strstr(buf, text);
	if (fd >= 0)
		close(fd);
	free(buf);
	return yes;
}

/** rig_logs() - the same, in time: what a worker says reaches the log by a pipe and the daemon */
static inline bool rig_logs(struct rig *r, const char *text)
{
	for (int i = 0; i < 1000 && !rig_logged(r, text); i++)
		usleep(10000);
	return rig_logged(r, text);
}

/** rig_workers() - the daemon's children; Return: how many, at most @max */
static inline unsigned int rig_workers(struct rig *r, pid_t *pids, unsigned int max)
{
	char path[64], buf[512] = "", *p, *end;
	unsigned int n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", r->daemon, r->daemon);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, buf, sizeof(buf) - 1) < 0)
		buf[0] = '\0';
	close(fd);
	for (p = buf; n < max; p = end) {
		pids[n] = (pid_t)strtol(p, &end, 10);
		if (end == p)
			break;
		n++;
	}
	return n;
}

/** rig_process() - the daemon's child whose command line has @word; 0: there is none */
static inline pid_t rig_process(struct rig *r, const char *word)
{
	pid_t pids[16];
	unsigned int n = rig_workers(r, pids, 16);

	for (unsigned int i = 0; i < n; i++) {
		char path[64], line[256] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", pids[i]);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, line, sizeof(line) - 1) > 0) {
			for (char *c = line; c < line + sizeof(line) - 1; c++)
				*c = *c ? *c : ' ';
		}
		close(fd);
		if (strstr(line, word))
			return pids[i];
	}
	return 0;
}

/* ---- guests ---------------------------------------------------------------- */

/** rig_image() - an image of @sectors; sector n is filled with bytes n + @seed */
static inline void rig_image(const char *path, unsigned int sectors, unsigned int seed)
{
	uint8_t buf[512];
	unsigned int i;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (i = 0; i < sectors; i++) {
		memset(buf, (int)(i + seed), sizeof(buf));
		assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	}
	close(fd);
}

/** rig_nodes() - the nodes of guest @n's device, with @spec as its configuration */
static inline void rig_nodes(struct rig *r, unsigned int n, const char *spec)
{
	const char *const keys[] = { "vgrant-config", spec, NULL };
	struct rig_guest *g = &r->guest[n];
	struct drv_dev_config cfg;

	assert_int_equal(fx_add_device(r->w, g->id, "virtio", RIG_ID, 0, keys), 0);
	cfg = (struct drv_dev_config){ .xen = drv_xen_of(g->dom),
				       .id = RIG_ID,
				       .timeout_ms = 10000 };
	assert_int_equal(drv_dev_open(&cfg, &g->dev), 0);
}

/** rig_domain() - guest @n, without a device */
static inline struct rig_guest *rig_domain(struct rig *r, unsigned int n)
{
	struct rig_guest *g = &r->guest[n];

	assert_int_equal(fx_domain_create(r->w, NULL, &g->id), 0);
	assert_int_equal(fx_domain_open(r->w, g->id, &g->dom), 0);
	snprintf(g->image, sizeof(g->image), "%s/%u.img", r->dir, g->id);
	return g;
}

/** rig_guest() - guest @n with a disk; not connected */
static inline struct rig_guest *rig_guest(struct rig *r, unsigned int n)
{
	struct rig_guest *g = rig_domain(r, n);
	char spec[300];

	rig_image(g->image, RIG_SECTORS, g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s", g->image);
	rig_nodes(r, n, spec);
	return g;
}

/** rig_up() - negotiate and start queue 0 of a connected guest */
static inline void rig_up(struct rig_guest *g, uint64_t features, unsigned int size)
{
	assert_int_equal(drv_dev_start(g->dev, features, 1, size), 0);
	drv_blk_queue(&g->blk, &g->dev->queues[0], &g->dev->gmem.mem);
}

/** rig_connected() - a guest with a disk, up and running with all features but packed */
static inline struct rig_guest *rig_connected(struct rig *r, unsigned int n)
{
	struct rig_guest *g = rig_guest(r, n);

	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~(1ull << VIRTIO_F_RING_PACKED), 64);
	return g;
}

/** rig_reads() - sector @s reads as rig_image() wrote it */
static inline void rig_reads(struct rig_guest *g, unsigned int s)
{
	uint8_t want[512], got[512];

	memset(want, (int)(s + g->id), sizeof(want));
	assert_int_equal(drv_blk_read(&g->blk, s, got, sizeof(got)), 0);
	assert_memory_equal(want, got, sizeof(want));
}

/** rig_guest_gone() - the test's side of a guest; the domain stays */
static inline void rig_guest_gone(struct rig_guest *g)
{
	if (g->dev)
		drv_dev_free(g->dev);
	fx_domain_close(g->dom);
	memset(g, 0, sizeof(*g));
}

/* ---- the rig --------------------------------------------------------------- */

static inline int rig_begin(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct rig *r = calloc(1, sizeof(*r));
	char path[160];

	assert_int_equal(fx_world_start(NULL, &r->w), 0);
	snprintf(r->dir, sizeof(r->dir), "%s/rig.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	snprintf(path, sizeof(path), "%s/run", r->dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/xen", r->dir);
	mkdir(path, 0700);
	snprintf(r->log, sizeof(r->log), "%s/log", r->dir);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	*state = r;
	return 0;
}

/**
 * rig_nothing_left() - wait until domain 0 has nothing mapped or bound
 * @handles: how many handles may be open
 *
 * A process that has ended may hold its files a moment longer: its io_uring is taken apart by
 * the kernel, in its own time.
 *
 * Return: whether so.
 */
static inline bool rig_nothing_left(struct rig *r, unsigned int handles)
{
	struct fx_stats st;
	int i;

	for (i = 0; i < 500; i++) {
		fx_stats(r->w, 0, &st);
		if (!st.mapped && !st.ports && st.handles <= handles)
			return true;
		usleep(10000);
	}
	return false;
}

static inline int rig_end(void **state)
{
	struct rig *r = *state;
	struct fx_stats st;
	unsigned int i;
	char cmd[400];
	int status;
	bool left;

	for (i = 0; i < RIG_GUESTS; i++)
		if (r->guest[i].dom)
			rig_guest_gone(&r->guest[i]);
	status = rig_daemon_stop(r, SIGTERM);
	left = !rig_nothing_left(r, 0);
	fx_stats(r->w, 0, &st);
	if (status || left || rig_logged(r, "Sanitizer") || rig_logged(r, "runtime error") ||
	    (!r->hangs && rig_logged(r, "does not let go in time"))) {
		printf("daemon status %#x, left: %u mapped, %u ports, %u handles; its log:\n",
		       status, st.mapped, st.ports, st.handles);
		fflush(stdout);
		snprintf(cmd, sizeof(cmd), "tail -n 80 %s", r->log);
		if (system(cmd))
			printf("none\n");
		return -1;
	}
	fx_world_stop(r->w);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", r->dir);
	status = system(cmd);
	free(r);
	return status ? -1 : 0;
}

#endif /* DAEMON_RIG_H */
