/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_daemon_trouble.c - vgrantd while its host is in trouble: a guest that has a device keeps it
 *
 * The image is in use, no process can be started, the runtime folder or xenstored refuses, Xen is
 * short of something: the backend's state stays Connected, `vgrant list` says what is wrong, and
 * when the trouble is over the guest's requests are answered. And what a guest may not do to us
 * meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "backend/base/container.h"
#include "tests/rigs/daemon_rig.h"
#include "xenstore/keys.h"

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static long backend_state(struct rig *r, const struct rig_guest *g, unsigned int id)
{
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u/state", g->id, id);
	return fx_xs_read_int(fx_xs(r->w), path, -1);
}

/* stays() - the backend of guest @g is in @state for @ms from now on */
static void stays(struct rig *r, const struct rig_guest *g, long state, int ms)
{
	for (int64_t end = now_ms() + ms; now_ms() < end; usleep(20000))
		assert_int_equal(backend_state(r, g, RIG_ID), state);
}

static void becomes(struct rig *r, const struct rig_guest *g, long state, int ms)
{
	for (int64_t end = now_ms() + ms; now_ms() < end; usleep(20000))
		if (backend_state(r, g, RIG_ID) == state)
			return;
	assert_int_equal(backend_state(r, g, RIG_ID), state);
}

static void assert_listed(struct rig *r, const char *what)
{
	const char *list = "";

	for (int i = 0; i < 50; i++, usleep(100000)) {
		list = rig_ask(r, "{\"cmd\":\"list\"}");
		if (strstr(list, what))
			return;
	}
	fail_msg("no '%s' in %s", what, list);
}

static pid_t worker_of(struct rig *r)
{
	pid_t pid = 0;

	for (int i = 0; i < 500 && !rig_workers(r, &pid, 1); i++)
		usleep(10000);
	assert_true(pid > 0);
	return pid;
}

/* ---- what keeps a device from its guest -------------------------------------- */

/* take_lock() - hold @g's image as a dying worker's last write would, once it lets go */
static int take_lock(const struct rig_guest *g)
{
	int fd = open(g->image, O_RDWR | O_CLOEXEC), i;

	for (i = 0; i < 20000 && flock(fd, LOCK_EX | LOCK_NB); i++)
		usleep(100);
	assert_true(i < 20000);
	return fd;
}

/* The worker dies, and the disk is slow: its last requests hold the image for a while. */
static void slow_disk(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	int fd;

	g->dev->timeout_ms = 30000;
	kill(worker_of(r), SIGKILL);
	fd = take_lock(g);
	stays(r, g, 4, 6000);
	assert_listed(r, "in use");
	assert_listed(r, "\"restarting\"");
	close(fd);
	rig_reads(g, 7);
	assert_int_equal(drv_dev_backend_state(g->dev), 4);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* A frontend that goes while no worker can be had is answered all the same. */
static void goes_in_trouble(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/state", g->id, RIG_ID);
	kill(worker_of(r), SIGKILL);
	fd = take_lock(g);
	assert_int_equal(drv_xs_write(drv_xen_xs(drv_xen_of(g->dom)), path, 5), 0);
	becomes(r, g, 6, 5000);
	close(fd);
}

/* vgrantd is killed, and its worker, which maps the guest's memory, does not end yet: nobody tells the
 * guest that it may have its memory back. */
static void worker_of_before(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	pid_t worker = worker_of(r);
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/state", g->id, RIG_ID);
	kill(worker, SIGSTOP);
	rig_daemon_stop(r, SIGKILL);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_int_equal(drv_xs_write(drv_xen_xs(drv_xen_of(g->dom)), path, 5), 0);
	stays(r, g, 4, 1500);
	assert_listed(r, "\"restarting\"");
	kill(worker, SIGCONT);
	becomes(r, g, 6, 20000);
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
}

/* A guest's xenbus lists its devices, and watches for new ones later: it does not know one that came in
 * between until something is written in the device's node. */
static void missed_at_boot(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	char request[128], path[128], *was, *is = NULL;

	snprintf(request, sizeof(request),
		 "{\"cmd\":\"attach\",\"guest\":%u,\"device\":\"rng,id=%u\"}", g->id, RIG_ID);
	rig_ask(r, request);
	becomes(r, g, 2, 20000);
	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/backend", g->id, RIG_ID);
	was = fx_xs_read(fx_xs(r->w), path);
	assert_non_null(was);
	for (unsigned times = 0; times < 3; times++) {
		/* Not what was there: so it is seen when it is written. */
		assert_int_equal(fx_xs_write(fx_xs(r->w), path, "?"), 0);
		for (unsigned i = 0; i < 2000; i++, usleep(10000)) {
			free(is);
			is = fx_xs_read(fx_xs(r->w), path);
			if (is && strcmp(is, was) == 0)
				break;
		}
		assert_string_equal(is, was);
	}
	free(was);
	free(is);
}

/* udev looks at a disk for some seconds while a guest starts. */
static void locked_at_start(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	char spec[300];
	int fd;

	rig_image(g->image, RIG_SECTORS, g->id);
	fd = take_lock(g);
	snprintf(spec, sizeof(spec), "blk,target=%s", g->image);
	rig_nodes(r, 0, spec);
	stays(r, g, 1, 5000);
	close(fd);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 3);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* One that nobody has yet does not keep its guest waiting for ever. */
static void locked_for_good(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	char spec[300];
	int fd;

	rig_image(g->image, RIG_SECTORS, g->id);
	fd = take_lock(g);
	snprintf(spec, sizeof(spec), "blk,target=%s", g->image);
	rig_nodes(r, 0, spec);
	becomes(r, g, 6, 20000);
	assert_listed(r, "\"failed\"");
	close(fd);
	kill(r->daemon, SIGHUP);
	becomes(r, g, 2, 5000);
}

/* A worker dies with news that it owed: its successor has the driver look, at a fault as well. */
static void owed_news(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_vring *vr = &g->dev->queues[0].vr;

	g->dev->timeout_ms = 30000;
	for (unsigned int faulty = 0; faulty < 2; faulty++) {
		if (faulty) {
			vr->avail->ring[vr->published % vr->cfg.size] = 60000;
			vr->avail->idx = (uint16_t)(vr->published + 1);
			drv_queue_notify(&g->dev->queues[0]);
			assert_int_equal(drv_dev_wait_event(g->dev), 0);
		}
		g->dev->last_event.hdr.status = 0;
		kill(worker_of(r), SIGKILL);
		assert_int_equal(drv_dev_wait_event(g->dev), 0);
		assert_int_equal(!!(g->dev->last_event.hdr.status & VIRTIO_CONFIG_S_NEEDS_RESET),
				 faulty);
		if (!faulty)
			rig_reads(g, 5);
	}
	assert_int_equal(drv_dev_reset(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 6);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* what_is() - a word of /proc/PID/stat or cmdline: has @pid become a worker, has it ended? */
static bool what_is(pid_t pid, const char *file, const char *word)
{
	char path[64], text[512] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	return strstr(text, word);
}

/* A worker says why it fails and ends before the supervisor looks: the guest is told all the same. */
static void last_words(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	pid_t pid = 0;

	rig_nodes(r, 0, "blk,target=/none/such.img");
	while (!rig_workers(r, &pid, 1) || !what_is(pid, "cmdline", "--worker"))
		;
	kill(pid, SIGSTOP);
	usleep(200000); /* it gets its SETUP */
	kill(r->daemon, SIGSTOP);
	kill(pid, SIGCONT);
	for (int i = 0; i < 500 && !what_is(pid, "stat", ") Z"); i++)
		usleep(10000);
	assert_true(what_is(pid, "stat", ") Z"));
	kill(r->daemon, SIGCONT);
	becomes(r, g, 6, 5000);
	assert_listed(r, "/none/such.img does not exist");
}

/* No descriptors are left, so that no process can be started. */
static void no_process(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct rlimit was, none = { 3, 3 };

	g->dev->timeout_ms = 30000;
	assert_int_equal(prlimit(r->daemon, RLIMIT_NOFILE, NULL, &was), 0);
	none.rlim_max = was.rlim_max;
	assert_int_equal(prlimit(r->daemon, RLIMIT_NOFILE, &none, NULL), 0);
	kill(worker_of(r), SIGKILL);
	stays(r, g, 4, 2000);
	assert_int_equal(prlimit(r->daemon, RLIMIT_NOFILE, &was, NULL), 0);
	rig_reads(g, 8);
	assert_true(rig_logs(r, "its worker cannot be started"));
	assert_int_equal(drv_dev_backend_state(g->dev), 4);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* A new vgrantd cannot make the record where it was: the folder is full, or worse. */
static void no_record(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char record[200], aside[200];

	g->dev->timeout_ms = 30000;
	rig_daemon_stop(r, SIGKILL);
	snprintf(record, sizeof(record), "%s/run/%u-virtio-%u.record", r->dir, g->id, RIG_ID);
	snprintf(aside, sizeof(aside), "%s/aside", r->dir);
	assert_int_equal(rename(record, aside), 0);
	assert_int_equal(mkdir(record, 0700), 0);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_listed(r, "Is a directory");
	stays(r, g, 4, 1000);
	assert_int_equal(rmdir(record), 0);
	assert_int_equal(rename(aside, record), 0);
	rig_reads(g, 2);
	assert_int_equal(drv_dev_backend_state(g->dev), 4);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* Xen refuses the successor a port for some time. */
static void no_ports(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct fx_fault fault = { .count = UINT32_MAX }, none = { 0 };

	g->dev->timeout_ms = 30000;
	fx_inject(r->w, 0, FX_OP_BIND, &fault);
	kill(worker_of(r), SIGKILL);
	stays(r, g, 4, 3000);
	fx_inject(r->w, 0, FX_OP_BIND, &none);
	rig_reads(g, 5);
	assert_int_equal(drv_dev_backend_state(g->dev), 4);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void touch(const struct rig *r, const char *name)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/run/%s", r->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

static bool is_there(const struct rig *r, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/run/%s", r->dir, name);
	return access(path, F_OK) == 0;
}

/* Guests were destroyed, nodes and all, while no vgrantd ran: nothing of them stays; all else does. */
static void records_of_the_gone(void **state)
{
	static const char *const gone[] = { "4000-virtio-64.record",
					    "4000-virtio_disk-51712.record" };
	static const char *const others[] = { "4000-virtio-64.record.old", "4000-virtual-64.record",
					      "04000-virtio-64.record", "disk.record" };
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char own[64];

	g->dev->timeout_ms = 30000;
	rig_daemon_stop(r, SIGTERM);
	for (unsigned i = 0; i < COUNT(gone); i++)
		touch(r, gone[i]);
	for (unsigned i = 0; i < COUNT(others); i++)
		touch(r, others[i]);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	rig_reads(g, 1);
	for (unsigned i = 0; i < COUNT(gone); i++)
		assert_false(is_there(r, gone[i]));
	for (unsigned i = 0; i < COUNT(others); i++)
		assert_true(is_there(r, others[i]));
	snprintf(own, sizeof(own), "%u-virtio-%u.record", g->id, RIG_ID);
	assert_true(is_there(r, own));
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* The limits were lowered below what is there: what a guest has stays. */
static void fewer_devices(void **state)
{
	struct rig *r = *state;
	struct rig_guest *a = rig_connected(r, 0), *b = rig_connected(r, 1);
	char path[200];
	FILE *f;

	a->dev->timeout_ms = b->dev->timeout_ms = 30000;
	rig_daemon_stop(r, SIGTERM);
	snprintf(path, sizeof(path), "%s/vgrantd.conf", r->dir);
	f = fopen(path, "w");
	fprintf(f, "[limits]\ndevices = 1\n");
	fclose(f);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_listed(r, "too many devices");
	stays(r, a, 4, 300);
	stays(r, b, 4, 300);
	rig_daemon_stop(r, SIGTERM);
	unlink(path);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	rig_reads(a, 1);
	rig_reads(b, 1);
	assert_int_equal(drv_dev_close(a->dev), 0);
	assert_int_equal(drv_dev_close(b->dev), 0);
}

/* What a guest may hold is dealt out to its devices, and its first one gets no more than a share of it:
 * of pages that stay mapped, and of memory for copies, which is enough for any request on each of its
 * threads. */
static void a_share_of_the_budget(void **state)
{
	enum { LARGE = 4 << 20 };
	static uint8_t data[LARGE];
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	struct drv_mem *pool;
	char text[300];
	FILE *f;

	rig_daemon_stop(r, SIGTERM);
	snprintf(text, sizeof(text), "%s/vgrantd.conf", r->dir);
	f = fopen(text, "w");
	fprintf(f, "[limits]\nguest-mapped-pages = 8192\nguest-bounce = 256\n");
	fclose(f);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	rig_image(g->image, LARGE / 512, 3);
	snprintf(text, sizeof(text), "blk,target=%s,queues=4,threads=4", g->image);
	rig_nodes(r, 0, text);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_dev_pool(g->dev, 1400, &pool), -ENOSPC);
	assert_int_equal(drv_dev_pool(g->dev, 1000, &pool), 0);
	rig_up(g, ~0ull, 0);
	assert_int_equal(drv_blk_read(&g->blk, 0, data, LARGE), 0);
	assert_int_equal(data[512 * 7], 7 + 3);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- xenstored --------------------------------------------------------------- */

/* Transactions conflict for some seconds: what was to be written is written in the end. */
static void lost_state(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	char spec[300];

	rig_image(g->image, RIG_SECTORS, g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s", g->image);
	fx_xs_conflict(r->w, 160);
	rig_nodes(r, 0, spec);
	becomes(r, g, 2, 10000);
	fx_xs_conflict(r->w, 0);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 1);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* Every request fails for a while: a node that cannot be read is not one that is gone. */
static void xenstored_refuses(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct fx_fault fault = { .count = UINT32_MAX, .status = ENOMEM }, none = { 0 };
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/state", g->id, RIG_ID);
	fx_inject(r->w, 0, FX_OP_XS, &fault);
	assert_int_equal(drv_xs_write(drv_xen_xs(drv_xen_of(g->dom)), path, 4), 0);
	usleep(500000);
	fx_inject(r->w, 0, FX_OP_XS, &none);
	rig_reads(g, 4);
	assert_int_equal(backend_state(r, g, RIG_ID), 4);
	assert_listed(r, "\"connected\"");
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* It answers after ever so long. Workers are replaced, lists are answered, and say so. */
static void xenstored_hangs(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	int64_t before;
	pid_t pid = worker_of(r), next = pid;

	g->dev->timeout_ms = 30000;
	fx_xs_delay(r->w, 10000000);
	kill(pid, SIGKILL);
	usleep(200000); /* the supervisor has asked something by now */
	before = now_ms();
	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "xenstored does not answer"));
	if (now_ms() - before > 6000)
		fail_msg("the list took %d ms", (int)(now_ms() - before));
	/* It was reaped meanwhile. */
	assert_int_equal(kill(pid, 0), -1);
	fx_xs_delay(r->w, 0);
	rig_reads(g, 6);
	assert_true(rig_workers(r, &next, 1) == 1 && next != pid);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- what must not stay ------------------------------------------------------- */

/* The node goes without a word while the worker hangs: it is killed, and holds nothing. */
static void orphan(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char path[128];
	pid_t pid = worker_of(r), left[4];

	r->hangs = true;
	kill(pid, SIGSTOP);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u", g->id, RIG_ID);
	assert_true(xs_rm(fx_xs(r->w), XBT_NULL, path));
	for (int i = 0; i < 1000 && rig_workers(r, left, 4); i++)
		usleep(10000);
	assert_int_equal(rig_workers(r, left, 4), 0);
	assert_true(rig_nothing_left(r, 0));
	assert_true(rig_logs(r, "does not let go in time"));
}

/* A frontend connects with keys that are no use, again and again. */
static void malformed_connects(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct xs_handle *xs = drv_xen_xs(drv_xen_of(g->dom));
	char path[128], log[1 << 16] = "";
	unsigned int rounds = 0, lines = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/state", g->id, RIG_ID);
	for (int64_t end = now_ms() + 6000; now_ms() < end; rounds++) {
		drv_xs_write(xs, path, 1);
		while (backend_state(r, g, RIG_ID) != 2 && now_ms() < end)
			usleep(200);
		drv_xs_write(xs, path, 3);
		while (backend_state(r, g, RIG_ID) != 6 && now_ms() < end)
			usleep(200);
	}
	fd = open(r->log, O_RDONLY);
	n = read(fd, log, sizeof(log) - 1);
	close(fd);
	assert_true(n > 0);
	for (const char *p = log; (p = strstr(p, "published no usable")); p++)
		lines++;
	print_message("# malformed connects: %u rounds in 6 s, %u lines in the log\n", rounds,
		      lines);
	assert_true(rounds <= 62);
	assert_true(lines >= 1 && lines <= 6);
}

/* ---- who is who -------------------------------------------------------------- */

/* config() - an xl configuration, with xl's own node for the device, so that it is adopted */
static void config(struct rig *r, const char *name, const char *device)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/xen/guest.cfg", r->dir);
	f = fopen(path, "w");
	fprintf(f,
		"name = \"%s\"\nvgrant = [ '%s' ]\n"
		"virtio = [ 'type=virtio,device2,transport=mmio,grant_usage=1' ]\n",
		name, device);
	fclose(f);
}

/* named() - guest 0, by name, with an image, served from its configuration as virtio/0 */
static struct rig_guest *named(struct rig *r, const char *name, const char *more)
{
	struct fx_virtio_spec spec = { .id = 0, .type = "virtio,device2", .grant_usage = true };
	struct fx_domain_config cfg = { .name = name };
	struct rig_guest *g = &r->guest[0];
	struct drv_dev_config dev = { .type = "virtio", .timeout_ms = 20000 };
	char text[400], path[128];

	snprintf(g->image, sizeof(g->image), "%s/named.img", r->dir);
	rig_image(g->image, RIG_SECTORS, 1);
	snprintf(text, sizeof(text), "blk,target=%s%s", g->image, more);
	config(r, name, text);
	assert_int_equal(fx_domain_create(r->w, &cfg, &g->id), 0);
	assert_int_equal(fx_domain_open(r->w, g->id, &g->dom), 0);
	assert_int_equal(fx_add_virtio(r->w, g->id, &spec), 0);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/0/state", g->id);
	assert_int_equal(fx_xs_wait(r->w, 0, path, 1u << 2, 10000), 2);
	dev.xen = drv_xen_of(g->dom);
	assert_int_equal(drv_dev_open(&dev, &g->dev), 0);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 11);
	return g;
}

/* The user edits the file of a guest that runs, and vgrantd is started anew. */
static void edited_configuration(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = named(r, "web", ",queue-size=128");
	char text[400], other[300];

	snprintf(other, sizeof(other), "%s/other.img", r->dir);
	rig_image(other, RIG_SECTORS, 77);
	snprintf(text, sizeof(text), "blk,target=%s,queue-size=256", other);
	rig_daemon_stop(r, SIGTERM);
	config(r, "web", text);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	rig_reads(g, 12);
	assert_listed(r, "queue-size=128");
	/* And the worker that comes after this one. */
	kill(worker_of(r), SIGKILL);
	rig_reads(g, 13);
	/* What connects anew gets what is configured now. */
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_listed(r, "queue-size=256");
	assert_int_equal(drv_dev_reconnect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	g->id = 77;
	rig_reads(g, 1);
	g->id = 1;
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* The key that says with what it runs is written by hand, so that its ring is too large now: the
 * driver is told, and does not wait for ever. */
static void smaller_than_it_was(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char path[128], spec[400];

	g->dev->timeout_ms = 30000;
	rig_daemon_stop(r, SIGTERM);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u/" VG_KEY_RUNNING, g->id,
		 RIG_ID);
	snprintf(spec, sizeof(spec), "blk,target=%s,queue-size=16", g->image);
	assert_int_equal(fx_xs_write(fx_xs(r->w), path, "%s", spec), 0);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	g->dev->last_event.hdr.status = 0;
	assert_int_equal(drv_dev_wait_event(g->dev), 0);
	assert_true(g->dev->last_event.hdr.status & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_true(rig_logs(r, "cannot be taken up"));
	assert_int_equal(drv_dev_reset(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 4);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* A name as long as a host's may be. */
static void long_name(void **state)
{
	struct rig *r = *state;
	char name[201];
	struct rig_guest *g;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	memcpy(name, "web.", 4);
	g = named(r, name, "");
	assert_listed(r, name);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* The name of the domain changes, as at the end of a migration. */
static void renamed(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char path[64], request[128];

	g = named(r, "web", "");
	snprintf(path, sizeof(path), "/local/domain/%u/name", g->id);
	assert_int_equal(fx_xs_write(fx_xs(r->w), path, "shop"), 0);
	assert_listed(r, "\"guest\":\"shop\"");
	assert_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "\"guest\":\"web\""));
	snprintf(request, sizeof(request), "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"0\"}");
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":false"));
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* What is all digits is a domain's number to xl, whatever domains are called. */
static void named_by_a_number(void **state)
{
	struct fx_domain_config cfg = { .name = "9" };
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int nine;
	char request[400];

	/* Another domain is called as that guest is numbered. */
	assert_int_equal(g->id, 1);
	cfg.name = "1";
	assert_int_equal(fx_domain_create(r->w, &cfg, &nine), 0);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"attach\",\"guest\":\"1\",\"device\":\"rng\"}");
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
	assert_listed(r, "\"virtio/65\"");
	cfg.name = "77";
	assert_int_equal(fx_domain_create(r->w, &cfg, &nine), 0);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"attach\",\"guest\":\"77\",\"device\":\"rng\"}");
	assert_non_null(strstr(rig_ask(r, request), "there is no guest '77'"));
	assert_int_equal(drv_dev_close(g->dev), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(slow_disk),
		T(goes_in_trouble),
		T(worker_of_before),
		T(missed_at_boot),
		T(locked_at_start),
		T(locked_for_good),
		T(last_words),
		T(owed_news),
		T(no_process),
		T(no_record),
		T(no_ports),
		T(fewer_devices),
		T(a_share_of_the_budget),
		T(lost_state),
		T(xenstored_refuses),
		T(xenstored_hangs),
		T(orphan),
		T(malformed_connects),
		T(edited_configuration),
		T(records_of_the_gone),
		T(smaller_than_it_was),
		T(long_name),
		T(renamed),
		T(named_by_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
