// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_client.c - a bare vhost-user-blk client that measures its back-end
 *
 *	vhost_client SOCKET PID OP BYTES DEPTH SECONDS [QUEUES]
 *	vhost_client bare FILE OP BYTES SECONDS
 *
 * Keeps DEPTH requests of BYTES bytes in flight on each of QUEUES split rings (1
 * by default; EVENT_IDX and indirect descriptors where the back-end has them), at
 * random places of the disk. OP: read, write. Sleeps in poll(2) on the call eventfd, as a guest's
 * vCPU would. PID is the back-end's process, whose CPU time (all threads, user
 * and system) is taken from /proc before and after.
 *
 * `bare` has no back-end: pread(2) or pwrite(2) of FILE at random places, one after
 * the other. That is what the kernel takes for the data alone, and no back-end
 * that asks this kernel for it can take less.
 *
 * Prints: IOPS, CPU microseconds per request, IOPS per CPU second.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "tests/bench/client.h"
#include "tests/driver/vu_front.h"

#define MEM (64u << 20)

static struct vuf f;
static struct drv_blk_req reqs[VUF_QUEUES][128];
static unsigned queues = 1;

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		die(path, errno);
	return fd;
}

static void start(unsigned depth)
{
	unsigned size = depth < 64 ? 128 : 256;
	int ret;

	f.features |= VUF_F_EVENT | 1ull << VIRTIO_BLK_F_FLUSH; /* without: write-through */
	if (queues > 1)
		f.features |= 1ull << VIRTIO_BLK_F_MQ;
	ret = vuf_negotiate(&f);
	if (ret == 0)
		ret = vuf_share(&f);
	for (unsigned q = 0; q < queues && ret == 0; q++) {
		ret = vuf_queue_init(&f, q, size);
		if (ret == 0)
			ret = vuf_queue_tell(&f, q, 0);
	}
	if (ret < 0)
		die("no session", ret);
}

static void prepare(struct drv_blk_req *r, bool write, uint32_t bytes)
{
	struct drv_buf buf;

	if (drv_alloc(&f.flat.mem, bytes, 4096, true, &buf) < 0)
		die("memory", ENOMEM);
	memset(buf.virt, 0x5a, buf.len);
	r->type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	r->dev_writes = !write;
	r->segs = 1;
	r->seg[0] = (struct drv_seg){ buf.addr, bytes };
	r->add_flags = f.features & VUF_F_INDIRECT ? DRV_ADD_INDIRECT : 0;
}

static void submit(struct vuf_queue *q, struct drv_blk_req *r, uint64_t places, uint32_t sectors)
{
	int ret;

	r->sector = (uint64_t)random() % places * sectors;
	ret = drv_blk_submit(&q->blk, r);
	if (ret < 0)
		die("submit", ret);
}

/* Take what is done, and begin as many anew. Return: how many. */
static unsigned turn(struct vuf_queue *q, uint64_t places, uint32_t sectors)
{
	struct drv_used used;
	unsigned n = 0;
	int ret;

	while ((ret = drv_vring_get(&q->vr, &used)) == 1) {
		struct drv_blk_req *r = drv_blk_finish(&q->blk, &used);

		if (r->result)
			die("request", r->result);
		submit(q, r, places, sectors);
		n++;
	}
	if (ret < 0)
		die("ring", ret);
	if (n)
		q->blk.kick(q->blk.ctx);
	return n;
}

static double own_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int bare(char **argv)
{
	bool write = strcmp(argv[1], "write") == 0;
	size_t bytes = (size_t)atoi(argv[2]);
	double seconds = atof(argv[3]), began = now(), cpu = own_cpu();
	int fd = open(argv[0], O_RDWR | O_CLOEXEC);
	uint8_t *buf = aligned_alloc(4096, bytes);
	uint64_t done = 0;
	struct stat st;

	if (fd < 0 || !buf || fstat(fd, &st) < 0)
		die(argv[0], errno);
	memset(buf, 0x5a, bytes);
	while (now() < began + seconds) {
		for (unsigned i = 0; i < 16; i++, done++) {
			off_t at = (off_t)((uint64_t)random() % ((uint64_t)st.st_size / bytes) *
					   bytes);
			ssize_t n = write ? pwrite(fd, buf, bytes, at) : pread(fd, buf, bytes, at);

			if (n != (ssize_t)bytes)
				die(argv[0], errno);
		}
	}
	cpu = own_cpu() - cpu;
	printf("%.0f %.3f %.0f\n", (double)done / (now() - began), 1e6 * cpu / (double)done,
	       (double)done / cpu);
	return 0;
}

/* Until one of the rings is called. */
static void await(struct pollfd *p)
{
	uint64_t calls;

	if (poll(p, queues, 5000) < 0)
		die("poll", errno);
	for (unsigned q = 0; q < queues; q++) {
		if (p[q].revents && read(p[q].fd, &calls, sizeof(calls)) != sizeof(calls))
			die("call", errno);
	}
}

int main(int argc, char **argv)
{
	struct pollfd p[VUF_QUEUES];
	double seconds, began, cpu, end;
	uint64_t capacity = 0, places, done = 0;
	uint32_t bytes;
	unsigned depth;

	if (argc == 6 && strcmp(argv[1], "bare") == 0)
		return bare(argv + 2);
	if (argc != 7 && argc != 8) {
		fprintf(stderr, "usage: vhost_client SOCKET PID read|write BYTES DEPTH SECONDS "
				"[QUEUES]\n");
		return 2;
	}
	bytes = (uint32_t)atoi(argv[4]);
	depth = (unsigned)atoi(argv[5]);
	seconds = atof(argv[6]);
	if (argc == 8)
		queues = (unsigned)atoi(argv[7]);
	if (depth == 0 || depth > COUNT(reqs[0]) || bytes % 512 || queues == 0 ||
	    queues > VUF_QUEUES)
		die("depth, size or queues", EINVAL);
	if (vuf_init(&f, connect_to(argv[1]), MEM, 1 << 20, 0x7f0000000000) < 0)
		die("memory", errno);
	start(depth);
	if (vuf_config(&f, 0, 8, &capacity) != 8)
		die("no configuration", EPROTO);
	places = capacity * 512 / bytes;
	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < depth; i++) {
			prepare(&reqs[q][i], strcmp(argv[3], "write") == 0, bytes);
			submit(&f.queue[q], &reqs[q][i], places, bytes / 512);
		}
		f.queue[q].blk.kick(f.queue[q].blk.ctx);
		p[q] = (struct pollfd){ .fd = f.queue[q].call, .events = POLLIN };
	}
	began = now();
	cpu = cpu_of(argv[2]);
	end = began + seconds;
	for (double at = began; at < end;) {
		bool quiet = true;
		unsigned n = 0;

		for (unsigned q = 0; q < queues; q++)
			n += turn(&f.queue[q], places, bytes / 512);
		done += n;
		for (unsigned q = 0; q < queues && n == 0; q++)
			quiet = drv_vring_enable_cb(&f.queue[q].vr) && quiet;
		if (n == 0 && quiet)
			await(p);
		at = now();
	}
	cpu = cpu_of(argv[2]) - cpu;
	seconds = now() - began;
	printf("%.0f %.3f %.0f\n", (double)done / seconds, 1e6 * cpu / (double)done,
	       cpu > 0 ? (double)done / cpu : 0);
	fflush(stdout);
	_exit(0); /* requests are in flight; the back-end must cope */
}
