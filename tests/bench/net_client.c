// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net_client.c - a bare vhost-user-net client that measures its back-end
 *
 *	net_client SOCKET PID tx|rx INTERFACE BYTES BURST SECONDS
 *
 * tx keeps BURST frames of BYTES bytes out, as a driver whose stack has no more to send until some
 * come back. rx sends BURST frames into INTERFACE, the TAP's host side, and waits until the guest has
 * them. Frames are of no protocol, so that what the host's stack does is little; longer than 1514
 * bytes they are TCP segments to be made. Sleeps in poll(2) on the call eventfd. PID is the
 * back-end's worker, whose CPU time is taken from /proc.
 *
 * Prints: frames, frames per second, CPU microseconds per frame.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/driver/vu_front.h"

enum { HDR = 12, MAX = 64, ROOM = 68 << 10, SIZE = 256 };

#define FEATURES                                                           \
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM |     \
	 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_HOST_TSO4 | \
	 1ull << VIRTIO_NET_F_GUEST_TSO4)

static struct vuf f;
static struct drv_buf buf[MAX];
static uint8_t frame[ROOM]; /* with its header */

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* One that a stack might send: an unknown protocol, or TCP in segments of 1448 bytes. */
static void make_frame(size_t len)
{
	struct virtio_net_hdr_v1 h = { .num_buffers = 0 };
	uint8_t *d = frame + HDR;

	memset(d, 0x5a, len);
	memcpy(d, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
	put16(d + 12, 0x88b5);
	if (len > 1514) {
		put16(d + 12, ETH_P_IP);
		memcpy(d + 14, "\x45\0\0\0\0\0\x40\0\x40\6\0\0\x0a\1\0\1\x0a\1\0\2", 20);
		put16(d + 16, len - 14);
		d[46] = 0x50;
		h = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						.hdr_len = 54,
						.gso_size = 1448,
						.csum_start = 34,
						.csum_offset = 16 };
	}
	memcpy(frame, &h, HDR);
}

static void start(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		die(path, errno);
	if (vuf_init(&f, fd, 16u << 20, 1 << 20, 0x7f0000000000) < 0)
		die("memory", errno);
	f.features |= VUF_F_EVENT | FEATURES;
	ret = vuf_negotiate(&f);
	if (ret == 0)
		ret = vuf_share(&f);
	for (unsigned q = 0; q < 2 && ret == 0; q++) {
		ret = vuf_queue_init(&f, q, SIZE);
		if (ret == 0)
			ret = vuf_queue_tell(&f, q, 0);
	}
	if (ret < 0)
		die("no session", ret);
}

static void add(struct vuf_queue *q, bool tx, struct drv_buf *b, size_t len)
{
	struct drv_seg seg = { b->addr, (uint32_t)(tx ? HDR + len : ROOM) };
	int ret = drv_vring_add(&q->vr, &seg, tx, &seg, !tx, b, 0);

	if (ret < 0)
		die("ring", ret);
}

/* Take what came back, offer it anew. Return: how many. */
static unsigned turn(struct vuf_queue *q, bool tx, size_t len)
{
	struct drv_used used;
	unsigned n = 0;
	int ret;

	while ((ret = drv_vring_get(&q->vr, &used)) == 1) {
		add(q, tx, used.cookie, len);
		n++;
	}
	if (ret < 0)
		die("ring", ret);
	if (n)
		q->blk.kick(q->blk.ctx);
	return n;
}

static unsigned wait_turn(struct vuf_queue *q, bool tx, size_t len)
{
	struct pollfd p = { .fd = q->call, .events = POLLIN };
	unsigned n = turn(q, tx, len);
	uint64_t calls;

	if (n || !drv_vring_enable_cb(&q->vr))
		return n;
	if (poll(&p, 1, 2000) <= 0)
		die("no answer", ETIMEDOUT);
	if (read(q->call, &calls, sizeof(calls)) < 0)
		die("call", errno);
	return turn(q, tx, len);
}

static int wire(const char *name)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(name, errno);
	return fd;
}

int main(int argc, char **argv)
{
	double began, cpu, end;
	uint64_t done = 0;
	struct vuf_queue *q;
	unsigned burst;
	size_t len;
	int fd = -1;
	bool tx;

	if (argc != 8) {
		fprintf(stderr,
			"usage: net_client SOCKET PID tx|rx INTERFACE BYTES BURST SECONDS\n");
		return 2;
	}
	tx = strcmp(argv[3], "tx") == 0;
	len = (size_t)atoi(argv[5]);
	burst = (unsigned)atoi(argv[6]);
	if (len < 60 || len > ROOM - HDR || burst == 0 || burst > MAX)
		die("length or burst", EINVAL);
	make_frame(len);
	start(argv[1]);
	q = &f.queue[tx];
	for (unsigned i = 0; i < (tx ? burst : MAX); i++) {
		if (drv_alloc(&f.flat.mem, ROOM, 64, !tx, &buf[i]) < 0)
			die("memory", ENOMEM);
		memcpy(buf[i].virt, frame, HDR + len);
		add(q, tx, &buf[i], len);
	}
	if (!tx)
		fd = wire(argv[4]);
	q->blk.kick(q->blk.ctx);
	usleep(300000); /* the interface is up by now */
	began = now();
	cpu = cpu_of(argv[2]);
	for (end = began + atof(argv[7]); now() < end;) {
		unsigned want = tx ? 1 : burst;

		for (unsigned i = 0; !tx && i < burst; i++) {
			struct iovec v[2] = { { frame, 10 }, { frame + HDR, len } };

			if (writev(fd, v, 2) < 0)
				die("the interface", errno);
		}
		for (unsigned n; want; want -= n < want ? n : want) {
			n = wait_turn(q, tx, len);
			done += n;
		}
	}
	end = now();
	cpu = cpu_of(argv[2]) - cpu;
	printf("%llu %.0f %.2f\n", (unsigned long long)done, (double)done / (end - began),
	       1e6 * cpu / (double)done);
	fflush(stdout);
	_exit(0);
}
