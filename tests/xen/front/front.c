// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * front - a vhost-user front-end whose memory is that of a Xen guest (XEN_MMAP), for tests in dom0
 *
 *	front SOCKET DOMID OTHER COMMAND
 *
 * The guest is one that was made and never ran: its memory is there, and nobody else uses it. The ring and
 * the buffers lie in it, as a driver's would: this program has it mapped, and tells the back-end where it
 * is. A disk is written and read; memory of the domain OTHER is then offered on the same connection, which
 * must be refused. At last COMMAND is run, while the back-end has its front-end still. Lines that begin
 * with "@ok" or "@no" are checks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenforeignmemory.h>

#include "tests/driver/vu_front.h"

#ifdef __aarch64__
#define RAM 0x40000 /* frame: Xen, public/arch-arm.h, GUEST_RAM0_BASE */
#else
#define RAM 0
#endif

enum {
	FIRST = RAM +
		0xc000, /* frame: 192 MiB, behind a small guest's kernel, before what the toolstack puts at its end */
	PAGES = 256,
	FOREIGN = 1, /* of vhost-user's flags of a region of Xen's */
};

/* As on the wire, with XEN_MMAP. */
struct table {
	uint32_t n, padding;
	struct {
		uint64_t guest, size, user, offset;
		uint32_t flags, domid;
	} region;
};

static int check(int ret, const char *what)
{
	printf("@%s %s\n", ret == 0 ? "ok" : "no", what);
	if (ret)
		printf("@# %s\n", strerror(ret < 0 ? -ret : ret));
	return ret;
}

static void *map_guest(uint32_t domid)
{
	xenforeignmemory_handle *h = xenforeignmemory_open(NULL, 0);
	xen_pfn_t frame[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		frame[i] = FIRST + i;
	return h ? xenforeignmemory_map(h, domid, PROT_READ | PROT_WRITE, PAGES, frame, NULL)
		 : NULL;
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : sock;
}

static int share(struct vuf *f, uint32_t domid)
{
	const struct table t = { .n = 1,
				 .region = { .guest = f->guest,
					     .size = f->len,
					     .user = f->user,
					     .flags = FOREIGN,
					     .domid = domid } };

	return vuf_do(f, VUF_SET_MEM_TABLE, &t, sizeof(t), f->memfd);
}

/* Sectors that are written are what is read. */
static int use(struct drv_blk *blk)
{
	uint8_t out[4096], in[4096];

	for (unsigned i = 0; i < 50; i++) {
		int ret;

		memset(out, (int)i + 1, sizeof(out));
		memset(in, 0, sizeof(in));
		ret = drv_blk_write(blk, i * 8, out, sizeof(out));
		if (ret == 0)
			ret = drv_blk_read(blk, i * 8, in, sizeof(in));
		if (ret)
			return ret;
		if (memcmp(in, out, sizeof(in)) != 0)
			return -EILSEQ;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct vuf f;
	uint32_t domid, other;
	void *mem;
	int sock;

	if (argc != 5) {
		fprintf(stderr, "usage: front SOCKET DOMID OTHER COMMAND\n");
		return 2;
	}
	domid = (uint32_t)atoi(argv[2]);
	other = (uint32_t)atoi(argv[3]);
	mem = map_guest(domid);
	sock = connect_to(argv[1]);
	if (check(mem ? 0 : errno, "the guest's memory is mapped") ||
	    check(sock < 0 ? sock : 0, "a back-end listens") ||
	    check(vuf_init(&f, sock, PAGES * 4096ull, (uint64_t)FIRST << 12, 0x7f0000000000ull),
		  "front-end"))
		return 1;
	drv_mem_flat_fini(&f.flat);
	f.protocol |= VUF_P_XEN | VUF_P_SLOTS;
	if (drv_mem_flat_init(&f.flat, mem, f.guest, f.len) ||
	    check(vuf_negotiate(&f), "features are negotiated") ||
	    check(f.protocol & VUF_P_XEN ? 0 : ENOTSUP, "XEN_MMAP is among them") ||
	    check(share(&f, domid), "the guest's memory is taken") ||
	    check(vuf_queue_init(&f, 0, 16), "a ring is made in it") ||
	    check(vuf_queue_tell(&f, 0, 0), "the ring is started") ||
	    check(use(&f.queue[0].blk), "what was written through the guest's memory is read back"))
		return 1;
	check(share(&f, other) ? 0 : EPERM, "another guest's memory is refused");
	fflush(stdout);
	return system(argv[4]) == 0 ? 0 : 1;
}
