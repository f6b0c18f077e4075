// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gateway, driven as a guest would: on our own back-end of vhost-user, which is a process of its
 * own, on Debian's qemu-storage-daemon, and on one that says what the test wants.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "backend/devices/gateway/int.h"
#include "backend/worker/socket_worker.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/testport.h"
#include "tests/rigs/foreign_daemon.h"

#define SPLIT (TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED))
#define DISK  (8u << 20)

extern char **environ;

/* ---- daemons ------------------------------------------------------------- */

static const char *in_dir(char *to, size_t size, const char *name)
{
	snprintf(to, size, "%.80s/%s", getenv("TMPDIR") ?: "/tmp", name);
	return to;
}

static void make_image(const char *path, off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, size), errno);
	close(fd);
}

/* Our own, on @path, with the device @spec. */
static pid_t ours(const char *path, const char *spec)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct vg_socket_worker_config c = { .spec = spec, .conn = -1, .life = -1, .ipc = -1 };
	struct vg_err err = { "" };
	pid_t pid;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	unlink(path);
	c.listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c.listen >= 0);
	assert_return_code(bind(c.listen, (struct sockaddr *)&a, sizeof(a)), errno);
	assert_return_code(listen(c.listen, 4), errno);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
		if (vg_socket_worker_run(&c, &err) < 0)
			fprintf(stderr, "%s\n", err.text);
		_exit(0);
	}
	close(c.listen);
	return pid;
}

static void end_of(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

struct disk {
	char image[128], socket[108], spec[512];
	pid_t pid;
	struct tp tp;
	struct drv_blk blk;
};

/* A gateway to our own back-end's disk. */
static void disk_daemon(struct disk *d)
{
	char spec[256];

	in_dir(d->image, sizeof(d->image), "gw.img");
	in_dir(d->socket, sizeof(d->socket), "gw.sock");
	make_image(d->image, DISK);
	snprintf(spec, sizeof(spec), "blk,target=%s,serial=behind,queues=2", d->image);
	d->pid = ours(d->socket, spec);
	snprintf(d->spec, sizeof(d->spec), "gateway,type=blk,socket=%s", d->socket);
}

static void disk_open(struct disk *d, enum tp_manner manner, uint64_t features)
{
	disk_daemon(d);
	tp_open(&d->tp, manner, d->spec);
	tp_start(&d->tp, features, 64);
	tp_blk(&d->tp, 0, &d->blk);
}

static void disk_close(struct disk *d)
{
	tp_close(&d->tp);
	end_of(d->pid);
	unlink(d->image);
	unlink(d->socket);
}

static void works(struct drv_blk *blk)
{
	static uint8_t out[256 << 10], in[256 << 10];
	static uint8_t seed;

	for (size_t len = DRV_SECTOR; len <= sizeof(out); len *= 4) {
		for (size_t i = 0; i < len; i++)
			out[i] = (uint8_t)(i * 7 + seed);
		seed++;
		memset(in, 0, len);
		assert_int_equal(drv_blk_write(blk, seed * 8ull, out, len), 0);
		assert_int_equal(drv_blk_flush(blk), 0);
		assert_int_equal(drv_blk_read(blk, seed * 8ull, in, len), 0);
		assert_memory_equal(in, out, len);
	}
}

/* ---- a disk ---------------------------------------------------------------- */

static void disk_in(enum tp_manner manner, uint64_t features)
{
	uint8_t past[DRV_SECTOR];
	char id[21];
	struct disk d;

	disk_open(&d, manner, features);
	assert_int_equal(d.tp.dev.virtio_id, 2);
	assert_int_equal(d.tp.dev.n_queues, 2);
	works(&d.blk);
	assert_int_equal(drv_blk_get_id(&d.blk, id), 0);
	assert_string_equal(id, "behind");
	for (unsigned i = 0; i < 1000; i++) /* around both rings */
		assert_int_equal(drv_blk_flush(&d.blk), 0);
	/* Behind the end: the daemon's answer is the guest's. */
	assert_int_equal(drv_blk_read(&d.blk, DISK / DRV_SECTOR, past, sizeof(past)), -EIO);
	disk_close(&d);
}

static void test_disk(void **state)
{
	(void)state;
	disk_in(TP_DIRECT, SPLIT);
	disk_in(TP_DIRECT, TP_ALL);
	disk_in(TP_COPY, SPLIT);
	disk_in(TP_COPY, TP_ALL);
	disk_in(TP_COPY, VG_FEATURE(VG_F_INDIRECT_DESC));
}

/* The same behind a device that lends the guest's memory to its daemon. */
static void lent_open(struct disk *d, uint64_t features)
{
	disk_daemon(d);
	snprintf(d->spec, sizeof(d->spec), "blk,target=%s.qcow2,socket=%s", d->image, d->socket);
	tp_open(&d->tp, TP_LENT, d->spec);
	tp_start(&d->tp, features, 256);
	tp_blk(&d->tp, 0, &d->blk);
}

/* What is lent to the daemon is not copied: each request does what it did, and nothing is held after a reset. */
static void test_lent(void **state)
{
	static const uint64_t features[] = { SPLIT, TP_ALL, VG_FEATURE(VG_F_INDIRECT_DESC) };
	char text[300];

	(void)state;
	for (unsigned i = 0; i < COUNT(features); i++) {
		struct disk d;

		lent_open(&d, features[i]);
		for (unsigned n = 0; n < 3; n++) {
			works(&d.blk);
			tp_settle(&d.tp);
			assert_int_equal(d.tp.lent, 1);
			works(&d.blk);
			d.tp.dev.ops->describe(&d.tp.dev, text, sizeof(text));
			assert_non_null(strstr(text, " uncopied="));
			tp_reset(&d.tp);
			assert_int_equal(d.tp.lent, 0);
			tp_start(&d.tp, features[i], 64);
			tp_blk(&d.tp, 0, &d.blk);
		}
		disk_close(&d);
	}
}

/* Requests whose data is in many pieces, of which some are too short to be lent. */
static void test_lent_pieces(void **state)
{
	static const unsigned pieces[] = { 1, 2, 7, 16, 30, 62, 63, DRV_BLK_MAX_SEG };
	enum { BYTES = 16 * DRV_SECTOR };
	uint8_t back[BYTES];
	struct drv_buf buf;
	struct disk d;

	(void)state;
	lent_open(&d, TP_ALL);
	works(&d.blk);
	tp_settle(&d.tp);
	assert_int_equal(drv_alloc(&d.tp.flat.mem, BYTES, 4096, true, &buf), 0);
	for (unsigned k = 0; k < 2 * COUNT(pieces); k++) {
		const struct gateway *gw = d.tp.dev.priv;
		struct drv_blk_req req = { .segs = pieces[k / 2], .sector = 64 };
		uint64_t before = gw->uncopied;
		uint32_t at = 0;

		/* Of a table that has more than there are bits for nothing is lent. */
		req.dev_writes = k % 2;
		req.type = k % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		for (unsigned i = 0; i < req.segs; i++) {
			uint32_t left = BYTES - at, len = i % 2 ? 7 : 2 * BYTES / req.segs - 7;

			req.seg[i] =
				(struct drv_seg){ buf.addr + at,
						  i + 1 == req.segs || len > left ? left : len };
			at += req.seg[i].len;
		}
		for (unsigned i = 0; i < BYTES; i++)
			((uint8_t *)buf.virt)[i] = k % 2 ? 0xee : (uint8_t)(i * 3 + k);
		assert_int_equal(drv_blk_do(&d.blk, &req), 0);
		if (req.segs + 2 > GW_DIRECT)
			assert_true(gw->uncopied == before);
		else if (2 * BYTES / req.segs - 7 >= GW_DIRECT_LEAST)
			assert_true(gw->uncopied > before && gw->uncopied - before <= BYTES);
		if (k % 2 == 0)
			assert_int_equal(drv_blk_read(&d.blk, 64, back, BYTES), 0);
		else
			memcpy(back, buf.virt, BYTES);
		for (unsigned i = 0; i < BYTES; i++)
			assert_int_equal(back[i], (uint8_t)(i * 3 + k / 2 * 2));
	}
	drv_free(&d.tp.flat.mem, &buf);
	disk_close(&d);
}

static void test_configuration(void **state)
{
	struct disk d;
	uint64_t sectors;
	uint16_t queues;
	char text[300];

	(void)state;
	disk_open(&d, TP_COPY, TP_ALL);
	assert_int_equal(vg_dev_config_read(&d.tp.dev, 0, &sectors, sizeof(sectors)), 0);
	assert_int_equal(sectors, DISK / DRV_SECTOR);
	assert_int_equal(vg_dev_config_read(&d.tp.dev, 34, &queues, sizeof(queues)), 0);
	assert_int_equal(queues, 2);
	assert_int_equal(vg_dev_config_read(&d.tp.dev, 56, text, 8), -EINVAL);
	assert_int_equal(vg_dev_config_write(&d.tp.dev, 0, &sectors, sizeof(sectors)), -EPERM);
	d.tp.dev.ops->describe(&d.tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "type=blk daemon="));
	tp_close(&d.tp);

	/* Fewer queues than the daemon has: the guest is told of as many. */
	strcat(d.spec, ",queues=1");
	tp_open(&d.tp, TP_COPY, d.spec);
	assert_int_equal(d.tp.dev.n_queues, 1);
	assert_int_equal(vg_dev_config_read(&d.tp.dev, 34, &queues, sizeof(queues)), 0);
	assert_int_equal(queues, 1);
	disk_close(&d);
}

/* The daemon's configuration changes: the driver hears of it, once. */
static void test_resize(void **state)
{
	uint64_t sectors = 0;
	struct disk d;

	(void)state;
	disk_open(&d, TP_COPY, TP_ALL);
	assert_return_code(truncate(d.image, 2 * DISK), errno);
	for (unsigned i = 0; i < 100 && !d.tp.config_changes; i++) {
		usleep(100000);
		tp_settle(&d.tp);
	}
	assert_int_equal(d.tp.config_changes, 1);
	assert_int_equal(vg_dev_config_read(&d.tp.dev, 0, &sectors, sizeof(sectors)), 0);
	assert_int_equal(sectors, 2 * DISK / DRV_SECTOR);
	works(&d.blk);
	disk_close(&d);
}

/* Drivers come and go, with requests in flight, and queues alone. */
static void test_reset(void **state)
{
	struct disk d;

	(void)state;
	disk_open(&d, TP_COPY, TP_ALL);
	for (unsigned i = 0; i < 20; i++) {
		struct drv_blk_req req[8];
		struct drv_buf b;

		assert_int_equal(drv_alloc(&d.tp.flat.mem, 4096, 4096, true, &b), 0);
		for (unsigned k = 0; k < COUNT(req); k++) {
			req[k] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
						       .sector = k,
						       .segs = 1,
						       .seg[0] = { b.addr, 512 },
						       .dev_writes = true };
			assert_int_equal(drv_blk_submit(&d.blk, &req[k]), 0);
		}
		tp_kick(&d.tp, 0);
		if (i % 2) {
			tp_stop_queue(&d.tp, 0);
			tp_start_queue(&d.tp, 0, 64);
		} else {
			tp_reset(&d.tp);
			tp_start(&d.tp, i % 4 ? TP_ALL : SPLIT, 64);
		}
		tp_blk(&d.tp, 0, &d.blk);
		for (unsigned k = 0; k < COUNT(req); k++)
			drv_free(&d.tp.flat.mem, &req[k].hdr);
		drv_free(&d.tp.flat.mem, &b);
		works(&d.blk);
	}
	disk_close(&d);
}

/* More is asked for than there is memory, in one queue: all of it comes back. */
static void test_memory_is_short(void **state)
{
	enum { N = 20, LEN = 512 << 10 };
	struct drv_blk_req req[N];
	struct drv_buf b;
	struct disk d;
	uint32_t pages;

	(void)state;
	disk_open(&d, TP_COPY, SPLIT);
	assert_int_equal(drv_alloc(&d.tp.flat.mem, LEN, 4096, true, &b), 0);
	pages = ((struct gateway *)d.tp.dev.priv)->queue[0].ring.n_pages;
	((struct gateway *)d.tp.dev.priv)->queue[0].ring.n_pages = 300;
	for (unsigned i = 0; i < N; i++) {
		req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
					       .sector = i,
					       .segs = 1,
					       .seg[0] = { b.addr, LEN },
					       .dev_writes = true };
		assert_int_equal(drv_blk_submit(&d.blk, &req[i]), 0);
	}
	tp_kick(&d.tp, 0);
	for (unsigned i = 0; i < N; i++) {
		struct drv_used used;

		tp_wait(&d.tp, 0, &used);
		assert_int_equal(drv_blk_finish(&d.blk, &used)->result, 0);
	}
	/* And more than there ever is: the driver is told, in a disk's words. */
	((struct gateway *)d.tp.dev.priv)->queue[0].ring.n_pages = 100;
	req[0] = (struct drv_blk_req){
		.type = VIRTIO_BLK_T_IN, .segs = 1, .seg[0] = { b.addr, LEN }, .dev_writes = true
	};
	assert_int_equal(drv_blk_do(&d.blk, &req[0]), -EIO);
	((struct gateway *)d.tp.dev.priv)->queue[0].ring.n_pages = pages;
	drv_free(&d.tp.flat.mem, &b);
	works(&d.blk);
	disk_close(&d);
}

/* The daemon is killed: the device says so, asks for a new worker, and lets its driver go. */
static void test_daemon_killed(void **state)
{
	char text[512];
	struct disk d;

	(void)state;
	disk_open(&d, TP_COPY, TP_ALL);
	works(&d.blk);
	end_of(d.pid);
	for (unsigned i = 0; i < 1000 && !d.tp.dev.outdated; i++) {
		usleep(1000);
		tp_settle(&d.tp);
	}
	assert_true(d.tp.dev.outdated);
	d.tp.dev.ops->trouble(&d.tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "it has hung up"));
	/* Nobody replaces it here. */
	for (unsigned i = 0; i < 3; i++)
		d.tp.dev.ops->tick(&d.tp.dev);
	assert_true(d.tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_close(&d.tp);
	/* The next one finds the next daemon. */
	disk_open(&d, TP_COPY, TP_ALL);
	works(&d.blk);
	disk_close(&d);
}

/* ---- Debian's daemon --------------------------------------------------------- */

static pid_t run(char *const argv[])
{
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ), 0);
	return pid;
}

static void run_and_wait(char *const argv[])
{
	int status;

	assert_true(waitpid(run(argv), &status, 0) > 0);
	if (status)
		fail_msg("%s %s: status %d", argv[0], argv[1], status);
}

/* A qcow2 with a backing file, by qemu-storage-daemon: what the guest writes is there, and nothing of
 * the file below has changed. */
static void test_qemu_storage_daemon(void **state)
{
	char base[128], top[128], sock[108], spec[256], node[300], fmt[256], export[300];
	static const uint8_t mark[DRV_SECTOR] = { 0xa5, 1, 2, 3 };
	uint8_t in[DRV_SECTOR];
	struct drv_blk blk;
	struct vg_err err;
	struct tp tp;
	pid_t pid;
	int fd;

	(void)state;
	if (access("/usr/bin/qemu-storage-daemon", X_OK) != 0 ||
	    access("/usr/bin/qemu-img", X_OK) != 0)
		skip();
	in_dir(base, sizeof(base), "base.img");
	in_dir(top, sizeof(top), "top.qcow2");
	in_dir(sock, sizeof(sock), "qsd.sock");
	make_image(base, DISK);
	fd = open(base, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, mark, sizeof(mark), 512), sizeof(mark));
	close(fd);
	run_and_wait((char *[]){ "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base,
				 top, NULL });
	snprintf(node, sizeof(node), "driver=file,node-name=f,filename=%s", top);
	snprintf(fmt, sizeof(fmt), "driver=qcow2,node-name=d,file=f,discard=unmap");
	snprintf(export, sizeof(export),
		 "type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=%s",
		 sock);
	pid = run((char *[]){ "qemu-storage-daemon", "--blockdev", node, "--blockdev", fmt,
			      "--export", export, NULL });
	snprintf(spec, sizeof(spec), "gateway,type=blk,socket=%s", sock);
	for (unsigned i = 0; access(sock, F_OK) != 0 && i < 1000; i++)
		usleep(10000);
	if (tp_try_open(&tp, TP_COPY, spec, &err) < 0)
		fail_msg("%s", err.text);
	tp_start(&tp, TP_ALL, 128);
	tp_blk(&tp, 0, &blk);
	assert_int_equal(drv_blk_read(&blk, 1, in, sizeof(in)), 0);
	assert_memory_equal(in, mark, sizeof(mark)); /* from the file below */
	works(&blk);
	tp_reset(&tp);
	tp_start(&tp, SPLIT, 128);
	works(&blk);
	tp_close(&tp);
	kill(pid, SIGTERM);
	assert_true(waitpid(pid, &fd, 0) > 0);
	run_and_wait((char *[]){ "qemu-img", "check", "-q", top, NULL });
	run_and_wait(
		(char *[]){ "qemu-img", "rebase", "-q", "-u", "-F", "raw", "-b", base, top, NULL });
}

/* ---- other devices ------------------------------------------------------------ */

static bool fills(struct foreign *d, const struct fd_request *r, uint32_t *len)
{
	(void)d;
	memset(r->in, 0x5a, r->in_len);
	*len = r->in_len;
	return true;
}

static struct drv_used ask(struct tp *tp, unsigned q, uint64_t addr, uint32_t len)
{
	struct drv_seg seg = { .addr = addr, .len = len };
	struct drv_used used;
	int token;

	assert_true(drv_vring_add(&tp->vr[q], NULL, 0, &seg, 1, &token, 0) >= 0);
	tp_kick(tp, q);
	tp_wait(tp, q, &used);
	return used;
}

static void test_by_number(void **state)
{
	struct foreign d;
	struct drv_buf b;
	struct tp tp;
	char spec[200];

	(void)state;
	fd_init(&d, "num");
	d.features |= 0xff; /* which nobody here can know */
	d.protocol = 0;	    /* no REPLY_ACK, no MQ */
	d.features &= ~(1ull << VG_VU_F_PROTOCOL_FEATURES);
	d.request = fills;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=4,socket=%s", d.path);
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp.dev.virtio_id, 4);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	assert_int_equal(ask(&tp, 0, b.addr, 64).len, 64);
	assert_int_equal(((uint8_t *)b.virt)[63], 0x5a);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
	fd_end(&d);

	/* One that no table has: its queues are the daemon's. */
	fd_init(&d, "num");
	d.features |= 0xff;
	d.queues = 3;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=60000,socket=%s", d.path);
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp.dev.virtio_id, 60000);
	assert_int_equal(tp.dev.n_queues, 3);
	assert_int_equal(tp.dev.device_features, 0);
	tp.dev.ops->describe(&tp.dev, spec, sizeof(spec));
	assert_non_null(strstr(spec, "not-carried=0xff"));
	tp_close(&tp);
	fd_end(&d);
}

/* A file system whose daemon leaves its name to us. */
static void test_fs_tag(void **state)
{
	struct vg_err err;
	struct foreign d;
	uint32_t queues;
	struct tp tp;
	char spec[200], tag[36];

	(void)state;
	fd_init(&d, "fs");
	d.protocol &= ~(1ull << VG_VU_PF_CONFIG);
	d.queues = 2;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=fs,socket=%s", d.path);
	assert_int_equal(tp_try_open(&tp, TP_COPY, spec, &err), -EINVAL);
	assert_non_null(strstr(err.text, "tag= is missing"));
	strcat(spec, ",tag=share");
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp.dev.n_queues, 2);
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, tag, sizeof(tag)), 0);
	assert_string_equal(tag, "share");
	assert_int_equal(vg_dev_config_read(&tp.dev, 36, &queues, 4), 0);
	assert_int_equal(queues, 1);
	tp_close(&tp);
	fd_end(&d);
}

static bool says_nothing_of_it(struct foreign *d, const struct fd_request *r, uint32_t *len)
{
	(void)d;
	memset(r->in, 0x5a, 12);
	*len = 0;
	return true;
}

/* Linux' vhost-scsi gives back all with a length of 0: what is in it, and zeroes behind, are the guest's. */
static void test_scsi_length(void **state)
{
	const uint32_t queues = 14;
	struct drv_used used;
	struct drv_buf b;
	struct foreign d;
	struct tp tp;
	char spec[200];
	uint32_t n;

	(void)state;
	fd_init(&d, "scsi");
	d.queues = 16;
	d.config_size = 36;
	memcpy(d.config, &queues, sizeof(queues));
	d.request = says_nothing_of_it;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=scsi,socket=%s,queues=3", d.path);
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp.dev.n_queues, 3);
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &n, 4), 0);
	assert_int_equal(n, 1);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	memset(b.virt, 0x33, 64);
	used = ask(&tp, 2, b.addr, 64);
	assert_int_equal(used.len, 64);
	assert_int_equal(((uint8_t *)b.virt)[11], 0x5a);
	assert_int_equal(((uint8_t *)b.virt)[12], 0);
	assert_int_equal(((uint8_t *)b.virt)[63], 0);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
	fd_end(&d);
}

/* A network's control queue, and what depends on it, is no daemon's. */
static void test_net_features(void **state)
{
	struct foreign d;
	struct tp tp;
	char spec[200], text[300];

	(void)state;
	fd_init(&d, "net");
	d.features |= 1ull << 0 | 1ull << 5 | 1ull << 15 | 1ull << 17 | 1ull << 22;
	d.protocol &= ~(1ull << VG_VU_PF_CONFIG);
	d.queues = 8;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=net,socket=%s", d.path);
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp.dev.n_queues, 2);
	assert_int_equal(tp.dev.config_size, 0);
	assert_int_equal(tp.dev.device_features, 1u << 0 | 1u << 15);
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "not-carried=0x420020"));
	tp_start(&tp, TP_ALL, 16);
	tp_settle(&tp);
	tp_close(&tp);
	/* The guest's choice, and what the standard wants, and nothing else. */
	assert_int_equal(d.negotiated & ~(1ull << 32 | 1ull << VG_VU_F_PROTOCOL_FEATURES),
			 1u << 0 | 1u << 15);
	fd_end(&d);
}

/* What a driver writes into the configuration is the daemon's, until a reset. */
static void test_config_written(void **state)
{
	const uint8_t off = 0, on = 1;
	uint8_t now = 9;
	struct foreign d;
	struct tp tp;
	char spec[200];

	(void)state;
	fd_init(&d, "wce");
	d.features |= 1ull << 11; /* CONFIG_WCE */
	d.config_size = 60;
	d.config[32] = 1;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=blk,cache=writeback,socket=%s", d.path);
	tp_open(&tp, TP_COPY, spec);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(vg_dev_config_write(&tp.dev, 32, &off, 1), 0);
	assert_int_equal(vg_dev_config_write(&tp.dev, 33, &off, 1), -EPERM);
	assert_int_equal(vg_dev_config_read(&tp.dev, 32, &now, 1), 0);
	assert_int_equal(now, 0);
	assert_int_equal(tp.dev.saved[0], 1);
	assert_int_equal(tp.dev.saved[1], 0);
	for (unsigned i = 0; i < 5000 && atomic_load(&d.messages[VG_VU_SET_CONFIG]) < 1; i++)
		usleep(1000);
	tp_settle(&tp);
	assert_int_equal(d.config[32], 0);
	/* Written again, the same: nobody is told. */
	assert_int_equal(vg_dev_config_write(&tp.dev, 32, &off, 1), 0);
	tp_reset(&tp);
	assert_int_equal(vg_dev_config_read(&tp.dev, 32, &now, 1), 0);
	assert_int_equal(now, on);
	assert_int_equal(tp.dev.saved[0], 0);
	for (unsigned i = 0; i < 5000 && atomic_load(&d.messages[VG_VU_SET_CONFIG]) < 2; i++)
		usleep(1000);
	tp_close(&tp);
	fd_end(&d);
	assert_int_equal(atomic_load(&d.messages[VG_VU_SET_CONFIG]), 2);
	assert_int_equal(d.config[32], 1);
}

/* A disk's daemon is told to keep nothing to itself, before it has a ring; after each reset, too. */
static void test_writes_through(void **state)
{
	struct foreign d;
	uint8_t now = 9;
	struct tp tp;
	char spec[200];

	(void)state;
	fd_init(&d, "through");
	d.features |= 1ull << 11; /* CONFIG_WCE */
	d.config_size = 60;
	d.config[32] = 1;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "gateway,type=blk,socket=%s", d.path);
	tp_open(&tp, TP_COPY, spec);
	for (unsigned i = 1; i < 3; i++) {
		tp_start(&tp, TP_ALL, 16);
		for (unsigned k = 0; k < 5000 && atomic_load(&d.messages[VG_VU_SET_VRING_KICK]) < i;
		     k++) {
			usleep(1000);
			tp_settle(&tp);
		}
		assert_int_equal(atomic_load(&d.messages[VG_VU_SET_CONFIG]), i);
		assert_int_equal(d.config[32], 0);
		assert_int_equal(vg_dev_config_read(&tp.dev, 32, &now, 1), 0);
		assert_int_equal(now, 0);
		tp_reset(&tp);
	}
	tp_close(&tp);
	fd_end(&d);
}

/* ---- what cannot be opened ------------------------------------------------------ */

static void test_refused(void **state)
{
	static const struct {
		const char *spec, *why;
		int error;
	} cases[] = {
		{ "gateway,socket=/x", "type", -EINVAL },
		{ "gateway,type=blk", "socket= is missing", -EINVAL },
		{ "gateway,type=net,run=x,vdpa=/dev/x", "two daemons", -EINVAL },
		{ "gateway,type=net,socket=/x,network", "for a daemon that run= starts", -EINVAL },
		{ "gateway,type=net,vdpa=/dev/vhost-vdpa-9", "for a Xen guest's device alone",
		  -EOPNOTSUPP },
		{ "gateway,type=net,run=passt -f", "for a Xen guest's device alone", -EOPNOTSUPP },
		{ "gateway,type=teapot,socket=/x", "type=teapot: it is one of net, blk", -EINVAL },
		{ "gateway,type=0,socket=/x", "type=0", -EINVAL },
		{ "gateway,type=70000,socket=/x", "type=70000", -EINVAL },
		{ "gateway,type=gpu,socket=/x", "type=gpu: no gateway can carry it", -EINVAL },
		{ "gateway,type=5,socket=/x", "type=balloon: no gateway can carry it", -EINVAL },
		{ "gateway,type=fs,socket=/x,tag=1234567890123456789012345678901234567", "36 bytes",
		  -EINVAL },
		{ "gateway,type=blk,socket=/nowhere/at/all", "no daemon can be reached at",
		  -EAGAIN },
		{ "gateway,type=blk,socket=/etc/hostname", "no daemon can be reached at", -EAGAIN },
		{ "gateway,type=blk,queues=17,socket=/x", "queues", -EINVAL },
		{ "blk,target=/x.qcow2,iops=10", "iops= is for raw images of this domain: a qcow2",
		  -EINVAL },
		{ "blk,target=/x,format=vhdx,cache=unsafe", "cache=unsafe: of a vhdx", -EINVAL },
		{ "gateway,type=blk,socket=/x,cache=none", "cache=none: it is writethrough",
		  -EINVAL },
		{ "blk,target=/x.vmdk,queues=17", "queues= is at most 16 for a vmdk", -EINVAL },
		{ "blk,target=/x.vhd", "is started for a Xen guest's device alone", -EOPNOTSUPP },
		{ "blk,target=/x.qcow2,format=raw", "/x.qcow2", -ENOENT },
		{ "blk,target=/x,format=qcow3", "format=qcow3", -EINVAL },
		{ "blk,target=vdpa:/dev/x,readonly", "readonly= is not for a vDPA device",
		  -EINVAL },
		{ "blk,target=vdpa:/dev/x", "is started for a Xen guest's device alone",
		  -EOPNOTSUPP },
		{ "blk,target=nbd://h/d,iops=10", "a raw of another machine is served by",
		  -EINVAL },
		{ "blk,target=ftp://h/d", "disks are at nbd://", -EINVAL },
		{ "vsock,cid=2", "cid must be from 3 to", -EINVAL },
		{ "vsock,cid=7", "is started for a Xen guest's device alone", -EOPNOTSUPP },
		{ "scsi,target=sda", "begins with naa., fc. or iqn.", -EINVAL },
		{ "scsi,target=naa.1/../x", "begins with naa., fc. or iqn.", -EINVAL },
		{ "scsi,target=naa.1,queues=15", "queues must be from 1 to 14", -EINVAL },
		{ "scsi,target=naa.1", "is started for a Xen guest's device alone", -EOPNOTSUPP },
		{ "fs,dir=/srv", "tag", -EINVAL },
		{ "fs,dir=/srv,tag=x", "is started for a Xen guest's device alone", -EOPNOTSUPP },
	};
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		int ret = tp_try_open(&tp, TP_COPY, cases[i].spec, &err);

		if (ret != cases[i].error || !strstr(err.text, cases[i].why))
			fail_msg("%s: %d, %s", cases[i].spec, ret, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_memory_is_short),
		cmocka_unit_test(test_daemon_killed),
		cmocka_unit_test(test_lent),
		cmocka_unit_test(test_lent_pieces),
		cmocka_unit_test(test_qemu_storage_daemon),
		cmocka_unit_test(test_by_number),
		cmocka_unit_test(test_fs_tag),
		cmocka_unit_test(test_scsi_length),
		cmocka_unit_test(test_net_features),
		cmocka_unit_test(test_config_written),
		cmocka_unit_test(test_writes_through),
		cmocka_unit_test(test_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
