// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_net.c - network cards through the whole of vgrantd on a fake Xen host:
 * the interface in this domain, when workers and vgrantd come and go
 *
 * In a network namespace of this test; skipped without /dev/net/tun, or the right
 * to make one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>

#include "backend/devices/net/place.h"
#include "backend/devices/net/wire.h"
#include "tests/rigs/daemon_rig.h"
#include "tests/rigs/macvtap_host.h"

static const char *why_not; /* NULL: there is all that is needed */

static int enter(void **state)
{
	int fd = open("/dev/net/tun", O_RDWR);

	(void)state;
	if (fd < 0)
		why_not = "there is no /dev/net/tun";
	else if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		why_not = "no network namespace can be made";
	else if (system("mount --make-rprivate / && mount -t sysfs none /sys && ip link set lo up "
			"&& "
			"ip link add xenbr0 type bridge && ip link set xenbr0 up") != 0)
		why_not = "no bridge can be made";
	if (fd >= 0)
		close(fd);
	return 0;
}

static void need(void)
{
	if (why_not) {
		print_message("%s\n", why_not);
		skip();
	}
}

/* How often what must come is looked for, each time after 10 ms: more than a busy machine takes. */
enum { PATIENCE = 6000 };

/* Whether /sys/class/net/NAME/KEY comes to begin with @text. */
static bool becomes(const char *name, const char *key, const char *text)
{
	char path[96], got[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, key);
	for (int i = 0; i < PATIENCE; i++, usleep(10000)) {
		FILE *f = fopen(path, "r");
		bool yes = f && fgets(got, sizeof(got), f) && !strncmp(got, text, strlen(text));

		if (f)
			fclose(f);
		if (yes)
			return true;
	}
	return false;
}

static bool goes(const char *name)
{
	for (int i = 0; i < PATIENCE && if_nametoindex(name); i++)
		usleep(10000);
	return !if_nametoindex(name);
}

/* Guest @n with a card, started; @vif: name of the interface. */
static struct rig_guest *net_guest(struct rig *r, unsigned n, const char *spec, char vif[IFNAMSIZ])
{
	struct rig_guest *g = rig_domain(r, n);

	rig_nodes(r, n, spec);
	g->dev->timeout_ms = 30000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_dev_start(g->dev, ~0ull, 3, 64), 0);
	snprintf(vif, IFNAMSIZ, "vif%u.%u", g->id, RIG_ID);
	return g;
}

/* A broadcast frame, which the interface counts. */
static void frame(struct rig_guest *g)
{
	struct drv_used used;
	struct drv_buf buf;
	struct drv_seg seg;

	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 128, 16, false, &buf), 0);
	memset(buf.virt, 0, NET_HDR);
	memset((uint8_t *)buf.virt + NET_HDR, 0xff, 6);
	memcpy((uint8_t *)buf.virt + NET_HDR + 6, "\x02\0\0\0\0\1\x88\xb5", 8);
	seg = (struct drv_seg){ buf.addr, NET_HDR + 60 };
	assert_true(drv_vring_add(&g->dev->queues[1].vr, &seg, 1, NULL, 0, &buf, 0) >= 0);
	drv_queue_kick(&g->dev->queues[1]);
	assert_int_equal(drv_queue_wait(&g->dev->queues[1], &used), 0);
	assert_int_equal(drv_free(&g->dev->gmem.mem, &buf), 0);
}

static void config(struct rig_guest *g, struct net_config *c)
{
	uint32_t generation;

	assert_int_equal(drv_dev_config_read(g->dev, 0, c, sizeof(*c), &generation), 0);
}

static void defaults(void **state)
{
	struct net_config c, again;
	struct rig_guest *g;
	char vif[IFNAMSIZ];

	need();
	g = net_guest(*state, 0, "net", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_true(becomes(vif, "master/uevent", "DEVTYPE=bridge"));
	config(g, &c);
	assert_memory_equal(c.mac, "\x00\x16\x3e", 3);
	frame(g);
	assert_true(becomes(vif, "statistics/rx_packets", "1"));
	/* The same address for its next driver. */
	assert_int_equal(drv_dev_reset(g->dev), 0);
	assert_true(becomes(vif, "carrier", "0"));
	config(g, &again);
	assert_memory_equal(c.mac, again.mac, 6);
}

/* What xl calls a guest that migrates to here until it runs; its card is the one that it had. */
static void incoming(void **state)
{
	static const char *const names[] = { "web", "web--incoming" };
	struct net_config c[2];
	struct rig *r = *state;
	struct rig_guest *g;
	char path[64];

	need();
	for (unsigned i = 0; i < 2; i++) {
		g = rig_domain(r, i);
		snprintf(path, sizeof(path), "/local/domain/%u/name", g->id);
		assert_int_equal(fx_xs_write(fx_xs(r->w), path, "%s", names[i]), 0);
		rig_nodes(r, i, "net");
		g->dev->timeout_ms = 30000;
		assert_int_equal(drv_dev_connect(g->dev), 0);
		config(g, &c[i]);
	}
	assert_memory_equal(c[0].mac, c[1].mac, 6);
}

static void worker_killed(void **state)
{
	struct net_config c, again;
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ];
	unsigned index;
	pid_t old = 0;

	need();
	g = net_guest(r, 0, "net", vif);
	assert_true(becomes(vif, "carrier", "1"));
	config(g, &c);
	index = if_nametoindex(vif);
	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	for (int i = 0; i < PATIENCE && (!if_nametoindex(vif) || if_nametoindex(vif) == index); i++)
		usleep(10000);
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	config(g, &again);
	assert_memory_equal(c.mac, again.mac, 6);
	/* Its driver is to announce itself: the interface is a new one. */
	assert_true(le16toh(again.status) & VIRTIO_NET_S_ANNOUNCE);
}

/* Another worker makes the interface with another MTU; the driver is told of that by a reset. */
static void mtu_set(void **state)
{
	struct net_config c;
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ], request[160];

	need();
	g = net_guest(r, 0, "net", vif);
	assert_true(becomes(vif, "mtu", "1500"));
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":\"%u\",\"id\":\"%u\",\"key\":\"mtu\",\"value\":"
		 "\"9000\"}\n",
		 g->id, RIG_ID);
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
	assert_true(becomes(vif, "mtu", "9000"));
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	config(g, &c);
	assert_int_equal(le16toh(c.mtu), 1500);
	assert_int_equal(drv_dev_reset(g->dev), 0);
	config(g, &c);
	assert_int_equal(le16toh(c.mtu), 9000);
}

/* Somebody removes the interface: the next worker makes another, and the guest goes on. */
static void interface_removed(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ], command[64];
	unsigned index;

	need();
	g = net_guest(r, 0, "net", vif);
	assert_true(becomes(vif, "carrier", "1"));
	index = if_nametoindex(vif);
	snprintf(command, sizeof(command), "ip link del %s", vif);
	assert_int_equal(system(command), 0);
	for (int i = 0; i < PATIENCE && (!if_nametoindex(vif) || if_nametoindex(vif) == index); i++)
		usleep(10000);
	assert_true(becomes(vif, "carrier", "1"));
	assert_true(becomes(vif, "master/uevent", "DEVTYPE=bridge"));
	assert_true(rig_logs(r, "was removed by somebody"));
	frame(g);
	assert_true(becomes(vif, "statistics/rx_packets", "1"));
}

/* The bridge goes, and comes back. */
static void bridge_removed(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ];

	need();
	assert_int_equal(system("ip link add passing type bridge && ip link set passing up"), 0);
	g = net_guest(r, 0, "net,bridge=passing", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_equal(system("ip link del passing"), 0);
	for (int i = 0; i < PATIENCE && !rig_logged(r, "goes nowhere until it is back"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "goes nowhere until it is back"));
	assert_int_equal(system("ip link add passing type bridge && ip link set passing up"), 0);
	assert_true(becomes(vif, "master/uevent", "DEVTYPE=bridge"));
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	assert_int_equal(system("ip link del passing"), 0);
}

/* A TAP that is somebody's: it is waited for. */
static void tap_removed(void **state)
{
	static const char *const make = "ip tuntap add mine mode tap vnet_hdr && ip link set mine "
					"master xenbr0 up";
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ];

	need();
	assert_int_equal(system(make), 0);
	g = net_guest(r, 0, "net,tap=mine", vif);
	assert_true(becomes("mine", "carrier", "1"));
	assert_int_equal(system("ip link del mine"), 0);
	for (int i = 0; i < PATIENCE && !rig_logged(r, "there is no interface mine"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "there is no interface mine"));
	assert_int_equal(system(make), 0);
	assert_true(becomes("mine", "carrier", "1"));
	frame(g);
	assert_true(becomes("mine", "statistics/rx_packets", "1"));
	assert_int_equal(system("ip link del mine"), 0);
}

/* `vgrant capture FILE` of guest @g's card, in a process of its own. */
static pid_t capture(const struct rig *r, const struct rig_guest *g, const char *file)
{
	const char *build = getenv("VGRANT_BUILD");
	char prog[256], sock[128], guest[16], id[16];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	snprintf(prog, sizeof(prog), "%s/vgrant", build ? build : "build/asan");
	snprintf(sock, sizeof(sock), "%s/run/control", r->dir);
	snprintf(guest, sizeof(guest), "%u", g->id);
	snprintf(id, sizeof(id), "%u", RIG_ID);
	execl(prog, "vgrant", "-s", sock, "capture", guest, id, file, NULL);
	_exit(127);
}

static off_t size_of(const char *file)
{
	struct stat st;

	return stat(file, &st) < 0 ? 0 : st.st_size;
}

/* Send frames until one is captured: the worker is told behind our back. */
static bool captured(struct rig_guest *g, const char *file)
{
	off_t had = size_of(file);

	for (int i = 0; i < PATIENCE / 10 && size_of(file) == had; i++) {
		frame(g);
		usleep(100000);
	}
	return size_of(file) > had;
}

/* Packets reach the file, also those of the next worker, until it is told to stop. */
static void captures(void **state)
{
	enum { FILE_HEAD = 24, RECORD = 16 + 60 };
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ], file[128], request[96];
	pid_t pid, old = 0;
	unsigned index, id;
	int status;

	need();
	g = net_guest(r, 0, "net", vif);
	assert_true(becomes(vif, "carrier", "1"));
	snprintf(file, sizeof(file), "%s/pcap", r->dir);
	pid = capture(r, g, file);
	assert_true(captured(g, file));
	snprintf(request, sizeof(request), "{\"cmd\":\"capture\",\"guest\":%u,\"id\":%u}", g->id,
		 RIG_ID);
	assert_non_null(strstr(rig_ask(r, request), "needs a packet socket"));
	index = if_nametoindex(vif);
	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	for (int i = 0; i < PATIENCE && (!if_nametoindex(vif) || if_nametoindex(vif) == index); i++)
		usleep(10000);
	assert_true(captured(g, file));
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal((size_of(file) - FILE_HEAD) % RECORD, 0);
	assert_true(size_of(file) > FILE_HEAD + RECORD);
	/* The device goes on without, and ends one by going. */
	frame(g);
	assert_int_equal(unlink(file), 0);
	pid = capture(r, g, file);
	assert_true(captured(g, file));
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Nothing is left: of a guest that goes, of a daemon that is killed with its worker. */
static void nothing_left(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ];
	struct rig_guest *g;
	unsigned id;

	need();
	g = net_guest(r, 0, "net,bridge=,queues=2", vif);
	assert_true(becomes(vif, "carrier", "1"));
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
	assert_true(goes(vif));

	net_guest(r, 1, "net", vif);
	assert_true(becomes(vif, "carrier", "1"));
	rig_daemon_stop(r, SIGKILL);
	assert_true(goes(vif));
	rig_daemon_start(r);
	rig_daemon_ready(r);
	/* The next one's worker goes on. */
	assert_true(becomes(vif, "carrier", "1"));
	frame(&r->guest[1]);
}

/* ---- everything at once -------------------------------------------------- */

enum { PAIRS = 2, QUEUES = 2 * PAIRS, DEPTH = 8 };

struct traffic {
	struct rig_guest *g;
	struct drv_buf buf[QUEUES][DEPTH];
	bool out[QUEUES]; /* the device has them */
};

/* Frames of the guest's on an odd queue, room for what it receives on an even one. */
static void put(struct traffic *t, unsigned q)
{
	struct drv_mem *mem = &t->g->dev->gmem.mem;
	struct drv_queue *queue = &t->g->dev->queues[q];
	bool room = q % 2 == 0;

	if (t->out[q])
		return;
	for (unsigned i = 0; i < DEPTH; i++) {
		struct drv_buf *b = &t->buf[q][i];
		struct drv_seg seg;

		assert_int_equal(drv_alloc(mem, 2048, 16, room, b), 0);
		memset(b->virt, 0, NET_HDR);
		memset((uint8_t *)b->virt + NET_HDR, 0xff, 6);
		memcpy((uint8_t *)b->virt + NET_HDR + 6, "\x02\0\0\0\0\1\x88\xb5", 8);
		seg = (struct drv_seg){ b->addr, room ? 2048 : NET_HDR + 60 };
		assert_true(drv_vring_add(&queue->vr, room ? NULL : &seg, room ? 0 : 1,
					  room ? &seg : NULL, room ? 1 : 0, b, 0) >= 0);
	}
	drv_queue_kick(queue);
	t->out[q] = true;
}

/* Whatever the device had of queue @q is the guest's again: used, or taken back by a reset. */
static void forget(struct traffic *t, unsigned q)
{
	for (unsigned i = 0; t->out[q] && i < DEPTH; i++)
		assert_int_equal(drv_free(&t->g->dev->gmem.mem, &t->buf[q][i]), 0);
	t->out[q] = false;
}

static void get(struct traffic *t, unsigned q)
{
	struct drv_used used;

	for (unsigned i = 0; t->out[q] && i < DEPTH; i++)
		assert_int_equal(drv_queue_wait(&t->g->dev->queues[q], &used), 0);
	forget(t, q);
}

static void reset_all(struct traffic *t)
{
	/* The answer promises: nothing mapped, no channel bound. */
	assert_int_equal(drv_dev_reset(t->g->dev), 0);
	for (unsigned q = 0; q < QUEUES; q++)
		forget(t, q);
}

/* One request to vgrantd; Return: whether its answer is whole, and contains @text. */
static bool asks(struct rig *r, const char *request, const char *text)
{
	const char *answer = rig_try_ask(r, request);

	return answer && strchr(answer, '\n') && strstr(answer, text);
}

/* A process that sets and lists until its end of @stop is alone; Return: its status, 0 when each
 * request was answered, and some were obeyed. */
static int settings_without_end(struct rig *r, unsigned id, int stop)
{
	static const char *const sets[] = { "rate\",\"value\":\"10Gb/s",
					    "link\",\"value\":\"down",
					    "antispoof\",\"value\":\"0",
					    "link\",\"value\":\"up",
					    "rate\",\"value\":\"0",
					    "offloads\",\"value\":\"7" /* refused */ };
	unsigned obeyed = 0;
	char request[160], byte;

	for (unsigned i = 0;; i++) {
		snprintf(request, sizeof(request),
			 "{\"cmd\":\"set\",\"guest\":\"%u\",\"id\":%u,\"key\":\"%s\"}", id, RIG_ID,
			 sets[i % 6]);
		if (!asks(r, request, "\"ok\":"))
			return 1;
		obeyed += asks(r, request, "\"ok\":true");
		if (!asks(r, "{\"cmd\":\"list\"}", "net"))
			return 2;
		if (recv(stop, &byte, 1, MSG_DONTWAIT) == 0)
			return obeyed ? 0 : 3;
	}
}

/* Kicks, resets of queues and of the device, a worker that dies, settings that change, on both kinds
 * of ring, with a thread for each pair of queues. Under TSan this is the test of the whole. */
static void all_at_once(void **state)
{
	struct rig *r = *state;
	struct traffic t = { 0 };
	char vif[IFNAMSIZ], request[160];
	int stop[2], status;
	pid_t setter, worker;

	need();
	t.g = net_guest(r, 0, "net,queues=2,threads=2", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_equal(drv_dev_reset(t.g->dev), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stop), 0);
	setter = fork();
	if (setter == 0) {
		close(stop[1]);
		_exit(settings_without_end(r, t.g->id, stop[0]));
	}
	close(stop[0]);
	for (unsigned round = 0; round < 16; round++) {
		unsigned bad = round / 4 % QUEUES;

		if (round % 4 == 0) {
			assert_int_equal(drv_dev_start(t.g->dev,
						       round & 4 ? ~0ull
								 : ~(1ull << VIRTIO_F_RING_PACKED),
						       QUEUES + 1, 64),
					 0);
		}
		for (unsigned q = 0; q < QUEUES; q++)
			put(&t, q);
		if (round % 4 == 1 && rig_workers(r, &worker, 1) == 1)
			kill(worker, SIGKILL);
		if (round % 4 == 2) {
			assert_int_equal(drv_dev_queue_reset(t.g->dev, bad), 0);
			forget(&t, bad);
			assert_int_equal(drv_dev_queue(t.g->dev, bad, 32), 0);
			put(&t, bad);
		}
		if (round % 4 == 3) {
			reset_all(&t);
			continue;
		}
		for (unsigned q = 1; q < QUEUES; q += 2)
			get(&t, q);
	}
	assert_int_equal(t.g->dev->gmem.mem.still_mapped, 0);
	close(stop[1]);
	assert_int_equal(waitpid(setter, &status, 0), setter);
	assert_int_equal(status, 0);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":\"%u\",\"id\":%u,\"key\":\"link\",\"value\":\"up\"}",
		 t.g->id, RIG_ID);
	assert_true(asks(r, request, "\"ok\":true"));
	assert_int_equal(drv_dev_start(t.g->dev, ~0ull, QUEUES + 1, 64), 0);
	assert_true(becomes(vif, "carrier", "1"));
	frame(t.g);
	assert_int_equal(drv_dev_close(t.g->dev), 0);
}

/* ---- scripts ------------------------------------------------------------- */

/* A script that notes what it is called for, and then does @add, or @remove. */
static void script(const struct rig *r, const char *add, const char *remove)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/script.new", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"#!/bin/sh\necho $1 $INTERFACE $XENBUS_PATH >>%s/calls\n"
		"case $1 in\nadd) %s ;;\nremove) %s ;;\nesac\n",
		r->dir, add, remove);
	assert_int_equal(fchmod(fileno(f), 0755), 0);
	assert_int_equal(fclose(f), 0);
	snprintf(path, sizeof(path), "mv %s/script.new %s/script", r->dir, r->dir);
	assert_int_equal(system(path), 0);
}

/* "net,script=DIR/script,REST" */
static const char *with_script(const struct rig *r, const char *rest)
{
	static char spec[256];

	snprintf(spec, sizeof(spec), "net,script=%s/script%s", r->dir, rest);
	return spec;
}

/* What it was called for: "+" and "-", in order. */
static const char *calls(const struct rig *r)
{
	static char text[64];
	char path[128], line[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/calls", r->dir);
	f = fopen(path, "r");
	while (f && n < sizeof(text) - 1 && fgets(line, sizeof(line), f))
		text[n++] = strncmp(line, "add ", 4) == 0 ? '+' : '-';
	if (f)
		fclose(f);
	text[n] = '\0';
	return text;
}

static void called(const struct rig *r, const char *want)
{
	for (int i = 0; i < PATIENCE && strcmp(calls(r), want) != 0; i++)
		usleep(10000);
	assert_string_equal(calls(r), want);
}

/* The same where it fails, and is tried again for as long as it does: each "+" has its "-". */
static void called_in_pairs(const struct rig *r)
{
	const char *text = calls(r);

	for (int i = 0; i < PATIENCE && (!*text || strlen(text) % 2); i++, text = calls(r))
		usleep(10000);
	assert_int_not_equal(*text, '\0');
	for (; *text; text += 2)
		assert_memory_equal(text, "+-", 2);
}

/* Whether it was ever called for interface @vif. */
static bool called_for(const struct rig *r, const char *vif)
{
	char command[200];

	snprintf(command, sizeof(command), "grep -qw '%s' %s/calls", vif, r->dir);
	return system(command) == 0;
}

/* Whether there is a file FOLDER/run/NAME.tidy. */
static bool noted(const struct rig *r, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/run/%s.tidy", r->dir, name);
	return access(path, F_OK) == 0;
}

static void not_noted(const struct rig *r, const char *name)
{
	for (int i = 0; i < PATIENCE && noted(r, name); i++)
		usleep(10000);
	assert_false(noted(r, name));
}

static bool lists(struct rig *r, const char *text)
{
	for (int i = 0; i < PATIENCE; i++, usleep(10000)) {
		if (strstr(rig_ask(r, "{\"cmd\":\"list\"}"), text))
			return true;
	}
	return false;
}

/* For each add there is a remove: when the worker dies, and when the device goes. */
static void script_called(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ], path[128], want[128], line[128];
	struct rig_guest *g;
	unsigned id;
	pid_t old = 0;
	FILE *f;

	need();
	script(r, "ip link set dev $INTERFACE up", ":");
	g = net_guest(r, 0, with_script(r, ""), vif);
	assert_true(becomes(vif, "carrier", "1"));
	called(r, "+");
	assert_true(noted(r, vif));
	snprintf(path, sizeof(path), "%s/calls", r->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	snprintf(want, sizeof(want), "add %s backend/virtio/%u/%u\n", vif, g->id, RIG_ID);
	assert_string_equal(line, want);
	frame(g);
	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	called(r, "+-+");
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
	called(r, "+-+-");
	not_noted(r, vif);
	assert_int_equal(if_nametoindex(vif), 0);
}

/* A vgrantd that stops, or is killed, leaves nothing that the next one would not tidy up. */
static void script_and_vgrantd(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ];
	struct rig_guest *g;
	unsigned id;

	need();
	script(r, "ip link set dev $INTERFACE up", ":");
	g = net_guest(r, 0, with_script(r, ""), vif);
	called(r, "+");
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	called(r, "+-");
	assert_false(noted(r, vif));
	rig_daemon_start(r);
	called(r, "+-+");
	assert_true(becomes(vif, "carrier", "1"));
	rig_daemon_stop(r, SIGKILL);
	assert_true(noted(r, vif));
	rig_daemon_start(r);
	called(r, "+-+-+");
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	/* The guest goes while nobody looks. */
	rig_daemon_stop(r, SIGKILL);
	assert_true(goes(vif));
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 0), 0);
	assert_string_equal(calls(r), "+-+-+");
	rig_daemon_start(r);
	rig_daemon_ready(r);
	called(r, "+-+-+-");
	not_noted(r, vif);
}

/* What fails leaves no interface, is undone, and is said. */
static void script_fails(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ], path[128];
	struct rig_guest *g;

	need();
	script(r, "ip link set dev $INTERFACE up; echo no port is free >&2; exit 3", ":");
	g = rig_domain(r, 0);
	rig_nodes(r, 0, with_script(r, ""));
	snprintf(vif, sizeof(vif), "vif%u.%u", g->id, RIG_ID);
	assert_true(lists(r, "script add failed with status 3: no port is free"));
	assert_true(goes(vif));
	called_in_pairs(r);
	not_noted(r, vif);
	/* Not even begun with: somebody else could have written it. */
	script(r, ":", ":");
	snprintf(path, sizeof(path), "%s/script", r->dir);
	assert_int_equal(chmod(path, 0777), 0);
	g = rig_domain(r, 1);
	rig_nodes(r, 1, with_script(r, ""));
	assert_true(called_for(r, vif));
	snprintf(vif, sizeof(vif), "vif%u.%u", g->id, RIG_ID);
	assert_true(lists(r, "can be written by others than root"));
	assert_false(called_for(r, vif));
}

/* An interface of somebody else's is not ours to take away. */
static void script_not_for_others(void **state)
{
	struct rig *r = *state;

	need();
	assert_int_equal(system("ip link add others type bridge"), 0);
	script(r, ":", "ip link del dev $INTERFACE");
	rig_domain(r, 0);
	rig_nodes(r, 0, with_script(r, ",vifname=others"));
	assert_true(lists(r, "there is an interface others already"));
	assert_string_equal(calls(r), "");
	assert_false(noted(r, "others"));
	assert_int_not_equal(if_nametoindex("others"), 0);
	assert_int_equal(system("ip link del others"), 0);
}

/* One that hangs keeps neither vgrantd nor another guest. */
static void script_hangs(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ], other[IFNAMSIZ];
	struct rig_guest *g;
	pid_t old = 0;

	need();
	script(r, "ip link set dev $INTERFACE up", "echo cannot go >&2; sleep 300");
	net_guest(r, 0, with_script(r, ""), vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	called(r, "+-");
	/* Its successor waits; an other device does not. */
	g = net_guest(r, 1, "net", other);
	assert_true(becomes(other, "carrier", "1"));
	frame(g);
	assert_string_equal(calls(r), "+-");
	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "\"restarting\""));
	/* Who stops vgrantd need not wait as long as who runs it. */
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	assert_true(rig_logs(r, "remove did not end within 5 s and was killed: cannot go"));
	assert_false(noted(r, vif));
}

/* ---- macvtap ------------------------------------------------------------ */

/* low0 = low1, and macvtaps on the first. */
static void need_macvtap(void)
{
	static const char *not_here;
	static bool asked;

	need();
	if (!asked) {
		assert_int_equal(system("ip link add low0 type veth peer name low1 && ip link set "
					"low0 up && ip link set low1 up"),
				 0);
		not_here = mh_enter("low0");
		asked = true;
	}
	if (not_here) {
		print_message("%s\n", not_here);
		skip();
	}
}

static bool is_macvtap(const char *name)
{
	char command[96];

	snprintf(command, sizeof(command), "ip -d link show %s 2>&1 | grep -q macvtap", name);
	return system(command) == 0;
}

/* It goes when the guest does, and a worker that is killed is followed by one with another. */
static void macvtap_lives(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ];
	struct rig_guest *g;
	unsigned index, id;
	pid_t old = 0;

	need_macvtap();
	g = net_guest(r, 0, "net,macvtap=low0", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_true(becomes(vif, "address", "00:16:3e:"));
	assert_true(is_macvtap(vif));
	assert_true(noted(r, vif));
	frame(g);
	assert_true(becomes(vif, "statistics/tx_packets", "1"));
	index = if_nametoindex(vif);
	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	for (int i = 0; i < PATIENCE && (!if_nametoindex(vif) || if_nametoindex(vif) == index); i++)
		usleep(10000);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_not_equal(if_nametoindex(vif), index);
	frame(g);
	assert_true(becomes(vif, "statistics/tx_packets", "1"));
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
	assert_true(goes(vif));
	not_noted(r, vif);
}

/* Nor does a vgrantd that stops leave one, or is killed: the next one removes it. */
static void macvtap_and_vgrantd(void **state)
{
	struct rig *r = *state;
	char vif[IFNAMSIZ];
	struct rig_guest *g;
	unsigned index, id;

	need_macvtap();
	g = net_guest(r, 0, "net,macvtap=low0", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	assert_int_equal(if_nametoindex(vif), 0);
	assert_false(noted(r, vif));
	rig_daemon_start(r);
	assert_true(becomes(vif, "carrier", "1"));
	index = if_nametoindex(vif);
	rig_daemon_stop(r, SIGKILL);
	assert_int_equal(if_nametoindex(vif), index);
	rig_daemon_start(r);
	for (int i = 0; i < PATIENCE && (!if_nametoindex(vif) || if_nametoindex(vif) == index); i++)
		usleep(10000);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_not_equal(if_nametoindex(vif), index);
	frame(g);
	/* The guest goes while nobody looks. */
	rig_daemon_stop(r, SIGKILL);
	id = g->id;
	rig_guest_gone(g);
	assert_int_equal(fx_domain_destroy(r->w, id, 0), 0);
	assert_int_not_equal(if_nametoindex(vif), 0);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_true(goes(vif));
	not_noted(r, vif);
}

/* With the host's interface it goes, too, and comes back. */
static void macvtap_lower_removed(void **state)
{
	static const char *const make = "ip link add low2 type veth peer name low3 && ip link set "
					"low2 up && ip link set low3 up";
	struct rig *r = *state;
	struct rig_guest *g;
	char vif[IFNAMSIZ];

	need_macvtap();
	assert_int_equal(system(make), 0);
	g = net_guest(r, 0, "net,macvtap=low2", vif);
	assert_true(becomes(vif, "carrier", "1"));
	assert_int_equal(system("ip link del low2"), 0);
	assert_true(lists(r, "there is no interface low2 to make a macvtap on"));
	assert_true(rig_logs(r, "was removed by somebody"));
	assert_int_equal(system(make), 0);
	assert_true(becomes(vif, "carrier", "1"));
	frame(g);
	assert_true(becomes(vif, "statistics/tx_packets", "1"));
	assert_int_equal(system("ip link del low2"), 0);
}

/* What cannot be made is said; what somebody else has made stays, also one of the same kind. */
static void macvtap_not_others(void **state)
{
	struct rig *r = *state;

	need_macvtap();
	rig_domain(r, 0);
	rig_nodes(r, 0, "net,macvtap=nosuch");
	assert_true(lists(r, "there is no interface nosuch to make a macvtap on"));
	assert_int_equal(system("ip link add link low0 name others type macvtap"), 0);
	rig_domain(r, 1);
	rig_nodes(r, 1, "net,macvtap=low0,vifname=others");
	assert_true(lists(r, "there is an interface others already"));
	assert_false(noted(r, "others"));
	assert_int_not_equal(if_nametoindex("others"), 0);
	assert_int_equal(system("ip link del others"), 0);
}

static void bad_bridge(void **state)
{
	struct rig *r = *state;

	need();
	rig_domain(r, 0);
	rig_nodes(r, 0, "net,bridge=nosuch");
	for (int i = 0; i < PATIENCE && !rig_logged(r, "there is no bridge nosuch"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "there is no bridge nosuch"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(incoming, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(worker_killed, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(nothing_left, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(all_at_once, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(mtu_set, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(interface_removed, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(bridge_removed, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(captures, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(tap_removed, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(bad_bridge, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(script_called, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(script_and_vgrantd, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(script_fails, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(script_not_for_others, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(script_hangs, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(macvtap_lives, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(macvtap_and_vgrantd, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(macvtap_not_others, rig_begin, rig_end),
		cmocka_unit_test_setup_teardown(macvtap_lower_removed, rig_begin, rig_end),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
