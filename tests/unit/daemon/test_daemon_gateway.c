// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gateways under vgrantd: a daemon that is there late, is killed under load, and comes back; and what
 * `vgrant list` says meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/base/container.h"
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/rigs/daemon_rig.h"
#include "tests/rigs/foreign_daemon.h"

#define BIT(n) (1ull << (n))

enum { N = 16, SECTORS = 2048 };

/* A disk of SECTORS, in memory; @keeps: it takes requests and gives none back. */
struct disk {
	struct foreign d;
	uint8_t data[SECTORS * DRV_SECTOR];
	atomic_bool keeps;
	atomic_uint writes;
};

static bool disk_request(struct foreign *d, const struct fd_request *r, uint32_t *len)
{
	struct disk *disk = d->ctx;
	const struct virtio_blk_outhdr *h = (const void *)r->out;
	size_t data, at;

	if (atomic_load(&disk->keeps))
		return false;
	if (!r->out || r->out_len < sizeof(*h) || !r->in)
		return true;
	at = h->sector * DRV_SECTOR;
	if (h->type == VIRTIO_BLK_T_OUT) {
		data = r->out_len - sizeof(*h);
		assert_true(at + data <= sizeof(disk->data));
		memcpy(disk->data + at, h + 1, data);
		atomic_fetch_add(&disk->writes, 1);
	} else if (h->type == VIRTIO_BLK_T_IN) {
		data = r->in_len - 1;
		assert_true(at + data <= sizeof(disk->data));
		memcpy(r->in, disk->data + at, data);
	}
	r->in[r->in_len - 1] = VIRTIO_BLK_S_OK;
	*len = r->in_len;
	return true;
}

static void disk_init(struct disk *disk)
{
	const uint64_t sectors = SECTORS;

	fd_init(&disk->d, "disk");
	disk->d.features |= BIT(VIRTIO_BLK_F_FLUSH);
	disk->d.config_size = 60;
	memcpy(disk->d.config, &sectors, sizeof(sectors));
	disk->d.request = disk_request;
	disk->d.ctx = disk;
	atomic_store(&disk->keeps, false);
}

static struct rig_guest *guest(struct rig *r, const char *type, const struct foreign *d)
{
	struct rig_guest *g = rig_domain(r, 0);
	char spec[300];

	snprintf(spec, sizeof(spec), "gateway,type=%s,socket=%s", type, d->path);
	rig_nodes(r, 0, spec);
	g->dev->timeout_ms = 30000;
	return g;
}

static void listed(struct rig *r, const char *text)
{
	const char *answer = "";

	for (int i = 0; i < 1000; i++) {
		answer = rig_ask(r, "{\"cmd\":\"list\"}");
		if (strstr(answer, text))
			return;
		usleep(20000);
	}
	fail_msg("the list has no %s: %s", text, answer);
}

static void submit(struct rig_guest *g, struct drv_blk_req *req, struct drv_buf *buf, bool write)
{
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, !write, &buf[i]), 0);
		memset(buf[i].virt, (int)(0x40 + i), 4096);
		req[i] = (struct drv_blk_req){ .type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					       .sector = i * 8,
					       .segs = 1,
					       .seg[0] = { buf[i].addr, 4096 },
					       .dev_writes = !write };
		assert_int_equal(drv_blk_submit(&g->blk, &req[i]), 0);
	}
	g->blk.kick(g->blk.ctx);
}

static void taken(struct disk *disk, unsigned n)
{
	for (int i = 0; i < 5000 && atomic_load(&disk->d.requests) < n; i++)
		usleep(2000);
	assert_true(atomic_load(&disk->d.requests) >= n);
}

/* A daemon dies with requests of the guest's, and before it had any of some; the guest waits, and the next
 * one gets them all, each once. */
static void daemon_killed_in(struct rig *r, uint64_t features)
{
	static struct disk disk;
	struct rig_guest *g;

	disk_init(&disk);
	assert_int_equal(fd_begin(&disk.d), 0);
	g = guest(r, "blk", &disk.d);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, features, 64);
	for (unsigned round = 0; round < 2; round++) {
		struct drv_blk_req req[N];
		struct drv_buf buf[N];

		atomic_store(&disk.keeps, true);
		atomic_store(&disk.d.requests, 0);
		submit(g, req, buf, true);
		taken(&disk, N);
		fd_end(&disk.d);
		/* It is waited for. */
		listed(r, "no daemon can be reached");
		assert_int_equal(drv_dev_backend_state(g->dev), 4);
		disk_init(&disk);
		atomic_store(&disk.writes, 0);
		assert_int_equal(fd_begin(&disk.d), 0);
		for (unsigned i = 0; i < N; i++) {
			struct drv_used used;

			assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
			assert_int_equal(drv_blk_finish(&g->blk, &used)->result, 0);
			assert_int_equal(drv_free(&g->dev->gmem.mem, &buf[i]), 0);
		}
		assert_int_equal(atomic_load(&disk.writes), N);
		for (unsigned i = 0; i < N; i++)
			assert_int_equal(disk.data[i * 4096], 0x40 + i);
		assert_int_equal(drv_msg_ping(g->dev, round), 0);
		listed(r, "type=blk daemon=");
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	fd_end(&disk.d);
}

static void daemon_killed(void **state)
{
	daemon_killed_in(*state, ~BIT(VIRTIO_F_RING_PACKED));
}

static void daemon_killed_packed(void **state)
{
	daemon_killed_in(*state, ~0ull);
}

/* What may have been carried out is not carried out again: the driver is told, in its own words, that it
 * has failed; and what follows is carried out. */
static void not_again(void **state)
{
	/* As fuse_in_header and fuse_out_header begin. */
	const struct {
		uint32_t len, opcode;
		uint64_t unique;
	} in = { 40, 9, 0x1122334455667788ull };
	struct {
		uint32_t len;
		int32_t error;
		uint64_t unique;
	} out;
	struct rig *r = *state;
	static struct disk disk;
	struct drv_used used;
	struct rig_guest *g;
	struct drv_seg seg[2];
	struct drv_buf a, b;
	struct drv_queue *q;
	int token;

	disk_init(&disk);
	disk.d.queues = 2;
	disk.d.config_size = 40;
	memcpy(disk.d.config, "share", 6);
	memset(disk.d.config + 6, 0, 30);
	memcpy(disk.d.config + 36, &(uint32_t){ 1 }, 4);
	atomic_store(&disk.keeps, true);
	assert_int_equal(fd_begin(&disk.d), 0);
	g = guest(r, "fs", &disk.d);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_dev_start(g->dev, ~0ull, 2, 64), 0);
	q = &g->dev->queues[1];
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, false, &a), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, true, &b), 0);
	memcpy(a.virt, &in, sizeof(in));
	seg[0] = (struct drv_seg){ a.addr, 40 };
	seg[1] = (struct drv_seg){ b.addr, 128 };
	assert_true(drv_vring_add(&q->vr, &seg[0], 1, &seg[1], 1, &token, 0) >= 0);
	drv_queue_kick(q);
	taken(&disk, 1);
	fd_end(&disk.d);
	assert_int_equal(fd_begin(&disk.d), 0);
	assert_int_equal(drv_queue_wait(q, &used), 0);
	assert_int_equal(used.len, 16);
	memcpy(&out, b.virt, sizeof(out));
	assert_int_equal(out.len, 16);
	assert_int_equal(out.error, -EIO);
	assert_int_equal(out.unique, in.unique);
	assert_int_equal(atomic_load(&disk.d.requests), 1);
	assert_true(drv_vring_add(&q->vr, &seg[0], 1, &seg[1], 1, &token, 0) >= 0);
	drv_queue_kick(q);
	taken(&disk, 2);
	drv_free(&g->dev->gmem.mem, &a);
	drv_free(&g->dev->gmem.mem, &b);
	rig_guest_gone(g);
	fd_end(&disk.d);
}

/* The next daemon cannot do what the driver was told: the driver has to begin anew, and can. */
static void another_daemon(void **state)
{
	struct rig *r = *state;
	static struct disk disk;
	uint8_t sector[DRV_SECTOR];
	struct rig_guest *g;

	disk_init(&disk);
	assert_int_equal(fd_begin(&disk.d), 0);
	g = guest(r, "blk", &disk.d);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	fd_end(&disk.d);
	disk_init(&disk);
	disk.d.features &= ~BIT(VIRTIO_BLK_F_FLUSH);
	assert_int_equal(fd_begin(&disk.d), 0);
	listed(r, "its device stops until its driver resets it");
	assert_int_equal(drv_dev_reset(g->dev), 0);
	rig_up(g, ~BIT(VIRTIO_BLK_F_FLUSH), 64);
	assert_int_equal(drv_blk_read(&g->blk, 1, sector, sizeof(sector)), 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	fd_end(&disk.d);
}

/* A guest begins before its daemon does: it waits for some seconds. */
static void daemon_comes_late(void **state)
{
	struct rig *r = *state;
	static struct disk disk;
	struct rig_guest *g;
	uint8_t sector[DRV_SECTOR];

	disk_init(&disk);
	g = guest(r, "blk", &disk.d);
	listed(r, "no daemon can be reached");
	assert_int_equal(fd_begin(&disk.d), 0);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	assert_int_equal(drv_blk_read(&g->blk, 1, sector, sizeof(sector)), 0);
	listed(r, "\"virtio_id\":2");
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	fd_end(&disk.d);
}

/* The worker is killed: the daemon stays, and serves the next. */
static void worker_killed(void **state)
{
	struct rig *r = *state;
	static struct disk disk;
	struct rig_guest *g;
	uint8_t sector[DRV_SECTOR];
	pid_t pid = 0;

	disk_init(&disk);
	assert_int_equal(fd_begin(&disk.d), 0);
	g = guest(r, "blk", &disk.d);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	for (unsigned round = 0; round < 2; round++) {
		struct drv_blk_req req[N];
		struct drv_buf buf[N];

		submit(g, req, buf, true);
		assert_int_equal(rig_workers(r, &pid, 1), 1);
		kill(pid, SIGKILL);
		for (unsigned i = 0; i < N; i++) {
			struct drv_used used;

			assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
			assert_int_equal(drv_blk_finish(&g->blk, &used)->result, 0);
			assert_int_equal(drv_free(&g->dev->gmem.mem, &buf[i]), 0);
		}
		assert_int_equal(drv_blk_read(&g->blk, 8, sector, sizeof(sector)), 0);
		assert_int_equal(sector[0], 0x41);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	fd_end(&disk.d);
}

/* ---- daemons that are a part of the device ------------------------------------------- */

/* The only child of @pid; 0: it has none. */
static pid_t child_of(pid_t pid)
{
	char path[64], buf[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, buf, sizeof(buf) - 1) < 0)
		buf[0] = '\0';
	if (fd >= 0)
		close(fd);
	return (pid_t)strtol(buf, NULL, 10);
}

/* Of the device: a child of its keeper's. */
static pid_t storage_daemon(struct rig *r)
{
	pid_t pids[8];

	for (int i = 0; i < 1000; i++) {
		unsigned n = rig_workers(r, pids, COUNT(pids));

		for (unsigned k = 0; k < n; k++) {
			if (child_of(pids[k]))
				return child_of(pids[k]);
		}
		usleep(10000);
	}
	return 0;
}

static void command(const char *cmd)
{
	assert_int_equal(system(cmd), 0);
}

/* One that its user names, and that listens where it is told: this program, with other words. */
static int named_main(int argc, char **argv)
{
	static const char option[] = "--socket-path=";
	static struct disk disk;
	char beside[128];

	if (argc != 4 || strcmp(argv[2], "a,disk") != 0 ||
	    strncmp(argv[3], option, strlen(option)) != 0)
		return EXIT_FAILURE;
	disk_init(&disk);
	snprintf(disk.d.path, sizeof(disk.d.path), "%s", argv[3] + strlen(option));
	/* As passt, which leaves another socket there. */
	snprintf(beside, sizeof(beside), "%s.repair", disk.d.path);
	if (fd_begin(&disk.d) < 0 || mknod(beside, S_IFSOCK | 0600, 0) < 0)
		return EXIT_FAILURE;
	pthread_join(disk.d.thread, NULL);
	return EXIT_SUCCESS;
}

static void a_named_one(void **state)
{
	struct rig *r = *state;
	uint8_t out[4096], in[4096];
	struct rig_guest *g = rig_domain(r, 0);
	char self[256] = "", spec[400], cmd[300];
	pid_t pid;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(spec, sizeof(spec), "gateway,type=blk,run=%s named  a\\,disk", self);
	rig_nodes(r, 0, spec);
	g->dev->timeout_ms = 60000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	for (unsigned round = 1; round < 3; round++) {
		memset(out, (int)round, sizeof(out));
		assert_int_equal(drv_blk_write(&g->blk, round * 8, out, sizeof(out)), 0);
		assert_int_equal(drv_blk_read(&g->blk, round * 8, in, sizeof(in)), 0);
		assert_memory_equal(in, out, sizeof(in));
		pid = storage_daemon(r);
		assert_true(pid > 0);
		kill(pid, SIGKILL);
	}
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	snprintf(cmd, sizeof(cmd), "! ls %s/run | grep -q daemon", r->dir);
	command(cmd);
	rig_daemon_start(r);
	rig_daemon_ready(r);
}

static void a_named_one_is_missing(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);

	rig_nodes(r, 0, "gateway,type=rng,run=teapotd --short --stout");
	listed(r, "run=teapotd: there is no such program that can be run");
	rig_guest_gone(g);
}

/* A disk in another format, killed under load, and ended: the image is whole, and has what was written. */
static void a_qcow2(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char spec[300], image[200], cmd[900];
	uint8_t out[4096], in[4096];
	pid_t pid;
	int fd;

	if (access("/usr/bin/qemu-storage-daemon", X_OK) != 0)
		skip();
	snprintf(image, sizeof(image), "%s/a,b.qcow2", r->dir);
	snprintf(cmd, sizeof(cmd), "qemu-img create -q -f qcow2 %s 8M", image);
	command(cmd);
	g = rig_domain(r, 0);
	snprintf(spec, sizeof(spec), "blk,target=%s/a\\,b.qcow2", r->dir);
	rig_nodes(r, 0, spec);
	g->dev->timeout_ms = 60000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	for (unsigned round = 1; round < 4; round++) {
		memset(out, (int)round, sizeof(out));
		assert_int_equal(drv_blk_write(&g->blk, round * 8, out, sizeof(out)), 0);
		/* Not flushed: what it was told is written is not lost with the daemon. */
		pid = storage_daemon(r);
		assert_true(pid > 0);
		kill(pid, SIGKILL);
		assert_int_equal(drv_blk_read(&g->blk, round * 8, in, sizeof(in)), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
	/* vgrantd itself is killed: its daemons end, and those of the next one go on. */
	rig_daemon_stop(r, SIGKILL);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_int_equal(drv_blk_read(&g->blk, 24, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(drv_dev_backend_state(g->dev), 4);
	/* Not flushed by the guest: an end in order does. */
	memset(out, 0x77, sizeof(out));
	assert_int_equal(drv_blk_write(&g->blk, 800, out, sizeof(out)), 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	snprintf(cmd, sizeof(cmd),
		 "qemu-img check -q %s && ! ls %s/run | grep -q daemon && "
		 "qemu-img convert -f qcow2 -O raw %s %s/raw",
		 image, r->dir, image, r->dir);
	command(cmd);
	snprintf(cmd, sizeof(cmd), "%s/raw", r->dir);
	fd = open(cmd, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, in, sizeof(in), 800 * DRV_SECTOR), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	close(fd);
}

/* serve() - run @argv, which ends with us; Return: its pid */
static pid_t serve(char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

/* serve_nbd() - image @path as "disk" at port or socket @at, by a server of NBD; Return: its pid */
static pid_t serve_nbd(const char *path, char *at)
{
	char node[300], export[] = "nbd,id=e,node-name=f,name=disk,writable=on";

	snprintf(node, sizeof(node), "driver=file,node-name=f,filename=%s", path);
	return serve((char *[]){ "qemu-storage-daemon", "--blockdev", node, "--nbd-server", at,
				 "--export", export, NULL });
}

static void not_any_more(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Two disks of servers elsewhere, which go and come back: their guests wait meanwhile. */
static void of_another_machine(void **state)
{
	struct rig *r = *state;
	uint8_t out[4096], in[4096];
	char spec[300], at[300], image[2][200];
	pid_t server[2];

	if (access("/usr/bin/qemu-storage-daemon", X_OK) != 0)
		skip();
	for (unsigned i = 0; i < 2; i++) {
		struct rig_guest *g = rig_domain(r, i);
		unsigned port = 20000 + (unsigned)getpid() % 20000;

		snprintf(image[i], sizeof(image[i]), "%s/far%u.img", r->dir, i);
		rig_image(image[i], 64, 5 + i);
		if (i) {
			snprintf(at, sizeof(at), "addr.type=unix,addr.path=%s/n.sock", r->dir);
			snprintf(spec, sizeof(spec), "blk,target=nbd+unix:///disk?socket=%s/n.sock",
				 r->dir);
		} else {
			snprintf(at, sizeof(at), "addr.type=inet,addr.host=127.0.0.1,addr.port=%u",
				 port);
			snprintf(spec, sizeof(spec), "blk,target=nbd://127.0.0.1:%u/disk", port);
		}
		/* The device waits for its server. */
		rig_nodes(r, i, spec);
		if (i == 0)
			listed(r, "Connection refused");
		server[i] = serve_nbd(image[i], at);
		g->dev->timeout_ms = 60000;
		assert_int_equal(drv_dev_connect(g->dev), 0);
		rig_up(g, ~0ull, 64);
		assert_int_equal(drv_blk_read(&g->blk, 3, in, 512), 0);
		assert_int_equal(in[0], (uint8_t)(3 + 5 + i));
		memset(out, 0x30 + (int)i, sizeof(out));
		assert_int_equal(drv_blk_write(&g->blk, 8, out, sizeof(out)), 0);
		not_any_more(server[i]);
		if (i)
			unlink(strstr(at, "path=") + 5);
		server[i] = serve_nbd(image[i], at);
		assert_int_equal(drv_blk_read(&g->blk, 8, in, sizeof(in)), 0);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(drv_dev_close(g->dev), 0);
		rig_guest_gone(g);
		not_any_more(server[i]);
	}
}

/* The same of a target of iSCSI: Debian's tgt. */
static void of_iscsi(void **state)
{
	struct rig *r = *state;
	char spec[300], cmd[900], at[64], control[16];
	struct rig_guest *g;
	uint8_t in[512];
	pid_t target;

	if (access("/usr/sbin/tgtd", X_OK) != 0 || geteuid() != 0)
		skip(); /* no target, or no right to be one */
	g = rig_domain(r, 0);
	rig_image(g->image, 2048, 9);
	snprintf(at, sizeof(at), "portal=127.0.0.1:%u", 40000 + (unsigned)getpid() % 20000);
	snprintf(control, sizeof(control), "%u", 1 + (unsigned)getpid() % 30000);
	target = serve((char *[]){ "tgtd", "-f", "--iscsi", at, "--control-port", control, NULL });
	snprintf(cmd, sizeof(cmd),
		 "adm() { tgtadm -C %s --lld iscsi --op \"$@\"; }; "
		 "for i in $(seq 100); do adm show --mode target >/dev/null 2>&1 && break; sleep "
		 "0.1; "
		 "done; adm new --mode target --tid 1 -T iqn.2026-11.x:t && "
		 "adm new --mode logicalunit --tid 1 --lun 1 -b %s && "
		 "adm bind --mode target --tid 1 -I ALL",
		 control, g->image);
	command(cmd);
	snprintf(spec, sizeof(spec), "blk,target=iscsi://%s/iqn.2026-11.x:t/1",
		 strchr(at, '=') + 1);
	rig_nodes(r, 0, spec);
	g->dev->timeout_ms = 60000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	assert_int_equal(drv_blk_read(&g->blk, 3, in, sizeof(in)), 0);
	assert_int_equal(in[0], 3 + 9);
	memset(in, 0x44, sizeof(in));
	assert_int_equal(drv_blk_write(&g->blk, 4, in, sizeof(in)), 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
	rig_guest_gone(g);
	not_any_more(target);
}

/* What cannot be started: a sentence says why, and the guest is not kept waiting for ever. */
static void no_daemon(void **state)
{
	struct rig *r = *state;
	char spec[300];

	rig_domain(r, 0);
	snprintf(spec, sizeof(spec), "blk,target=%s/nothing.vhdx", r->dir);
	rig_nodes(r, 0, spec);
	listed(r, "nothing.vhdx cannot be found");
	listed(r, "\"state\":\"failed\"");
	rig_guest_gone(&r->guest[0]);
	/* What it says itself. */
	rig_image(rig_domain(r, 2)->image, 16, 0);
	snprintf(spec, sizeof(spec), "blk,format=qcow2,target=%s", r->guest[2].image);
	rig_nodes(r, 2, spec);
	if (access("/usr/bin/qemu-storage-daemon", X_OK) == 0)
		listed(r, "Image is not in qcow2 format");
	if (access("/usr/libexec/virtiofsd", X_OK) == 0 ||
	    access("/usr/lib/qemu/virtiofsd", X_OK) == 0)
		return;
	rig_domain(r, 1);
	snprintf(spec, sizeof(spec), "fs,dir=%s,tag=x", r->dir);
	rig_nodes(r, 1, spec);
	listed(r, "virtiofsd is not installed: Debian's package virtiofsd has it");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(daemon_killed),  T(daemon_killed_packed),   T(not_again),
		T(another_daemon), T(daemon_comes_late),      T(worker_killed),
		T(a_named_one),	   T(a_named_one_is_missing), T(a_qcow2),
		T(no_daemon),	   T(of_another_machine),     T(of_iscsi),
	};

	if (argc > 1 && strcmp(argv[1], "named") == 0)
		return named_main(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
