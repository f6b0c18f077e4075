/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.h - copies of the packets that pass through a device, for `vgrant capture`
 *
 * Whoever listens has made a SOCK_SEQPACKET socket pair, and the device's worker has
 * the other end of it (VG_IPC_CAPTURE). One message is a struct vg_capture_head, in
 * this machine's byte order, and as much of the packet as is kept of it. A listener
 * that is too slow loses packets, and the next message that goes through says how
 * many; the device never waits. A listener that hangs up is forgotten.
 *
 * A device with several contexts has a struct vg_capture for each of them: a message
 * is whole, so that they may all write to one listener.
 */
#ifndef VG_CAPTURE_H
#define VG_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VG_CAPTURE_MAX	 4 /* listeners of one device; a descriptor for each, and context */
#define VG_CAPTURE_BYTES (256 << 10) /* of a packet; as much as tcpdump(8) keeps */

/* Kinds of packets: LINKTYPE_* of pcap-linktype(7). */
enum { VG_CAPTURE_ETHERNET = 1 };

struct vg_capture_head {
	uint64_t ns;   /* since 1970 */
	uint64_t lost; /* packets, since the last message that went through */
	uint32_t link; /* VG_CAPTURE_* */
	uint32_t len;  /* of the packet; perhaps more than follows */
};

struct vg_capture {
	unsigned n; /* listeners */
	struct {
		int fd;
		uint64_t lost;
	} to[VG_CAPTURE_MAX];
	uint8_t *message; /* room for one; NULL: nobody has listened yet */
};

/** vg_capture_on - does anybody listen? Ask before vg_capture_packet(). */
static inline bool vg_capture_on(const struct vg_capture *c)
{
	return c->n > 0;
}

/**
 * vg_capture_add - one more listener
 * @fd: @c's from now on, in any case
 *
 * Return: 0; -EBUSY: there are VG_CAPTURE_MAX; -ENOMEM.
 */
int vg_capture_add(struct vg_capture *c, int fd);

/**
 * vg_capture_packet - one packet, for all listeners
 * @link: VG_CAPTURE_*
 * @iov, @n: where it lies, after @skip bytes of something else; 1 at least
 */
void vg_capture_packet(struct vg_capture *c, uint32_t link, const struct iovec *iov, unsigned n,
		       size_t skip);

/** vg_capture_close - let all listeners go; idempotent */
void vg_capture_close(struct vg_capture *c);

#endif /* VG_CAPTURE_H */
