/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_rig.h - a network device between a driver of our own and a link of our own
 *
 *	driver (nr_send, nr_post, nr_take, nr_control) - device - link (nr_wire_*)
 *
 * The link is a table beside the TAP's, whose descriptors are those of socket pairs:
 * no root, no TAP. A packet of such a pair is a frame with its header, as with a TAP.
 */
#ifndef NET_RIG_H
#define NET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/net/link.h"
#include "backend/devices/net/wire.h"
#include "tests/driver/testport.h"

#define NR_MAC "00:16:3e:01:02:03"

/* ---- the link ----------------------------------------------------------- */

struct nr_link {
	struct net_link link;
	int peer[NET_PAIRS_MAX];
	unsigned offloads, active;
	bool carrier;
	unsigned unplugged; /* times */
	int error;	    /* of the next request; 0: none */
	enum net_link_state state;
};

static struct nr_link *nr_made; /* by the last open() */
static unsigned nr_uso = true;	/* of the next */
static uint32_t nr_mtu = 1500;
static bool nr_macvtap; /* the next has neither a carrier of its own nor another address */
static struct net_link_config nr_asked; /* by the last; strings are copied */
static char nr_bridge[16];

static inline struct nr_link *nr_of(struct net_link *link)
{
	return container_of(link, struct nr_link, link);
}

static inline int nr_offloads(struct net_link *link, unsigned flags)
{
	if (nr_of(link)->error)
		return nr_of(link)->error;
	nr_of(link)->offloads = flags;
	return 0;
}

static inline int nr_active(struct net_link *link, unsigned pairs)
{
	if (nr_of(link)->error)
		return nr_of(link)->error;
	nr_of(link)->active = pairs;
	return 0;
}

static inline void nr_carrier(struct net_link *link, bool on)
{
	nr_of(link)->unplugged += nr_of(link)->carrier && !on;
	nr_of(link)->carrier = on;
}

static inline enum net_link_state nr_look(struct net_link *link)
{
	return nr_of(link)->state;
}

static inline void nr_close_link(struct net_link *link)
{
	for (unsigned i = 0; i < link->pairs; i++) {
		close(link->fd[i]);
		if (nr_of(link)->peer[i] >= 0)
			close(nr_of(link)->peer[i]);
	}
	free(nr_of(link));
	nr_made = NULL;
}

static inline int nr_open_link(const struct net_link_config *c, struct net_link **out,
			       struct vg_err *err);

static const struct net_link_ops nr_link_ops = {
	.open = nr_open_link,
	.close = nr_close_link,
	.offloads = nr_offloads,
	.active = nr_active,
	.carrier = nr_carrier,
	.look = nr_look,
};

static const struct net_link_ops nr_macvtap_ops = {
	.open = nr_open_link,
	.close = nr_close_link,
	.offloads = nr_offloads,
	.active = nr_active,
	.look = nr_look,
};

static inline int nr_open_link(const struct net_link_config *c, struct net_link **out,
			       struct vg_err *err)
{
	struct nr_link *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	nr_asked = *c;
	snprintf(nr_bridge, sizeof(nr_bridge), "%s", c->bridge ? c->bridge : "");
	if (strcmp(nr_bridge, "nobridge") == 0) {
		free(l);
		return vg_fail(err, -ENODEV, "there is no bridge nobridge");
	}
	l->link.ops = nr_macvtap ? &nr_macvtap_ops : &nr_link_ops;
	l->link.fixed_mac = nr_macvtap;
	l->link.pairs = c->pairs;
	l->link.uso = nr_uso;
	l->link.mtu = c->mtu ? c->mtu : nr_mtu;
	snprintf(l->link.name, sizeof(l->link.name), "fake0");
	for (unsigned i = 0; i < c->pairs; i++) {
		int pair[2], size = 4 << 20;

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
					    0, pair),
				 0);
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		l->link.fd[i] = pair[0];
		l->peer[i] = pair[1];
	}
	nr_made = l;
	*out = &l->link;
	return 0;
}

static const struct net_link_ops *nr_ops = &nr_link_ops; /* what nr_open() opens */

/* ---- frames ------------------------------------------------------------- */

struct nr_frame {
	struct virtio_net_hdr_v1 h;
	uint8_t data[NET_FRAME_MAX + 64];
};

static inline void nr_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/** nr_ethernet - a frame of @len bytes from the guest's address, of no protocol that anybody knows */
static inline void nr_ethernet(struct nr_frame *f, size_t len)
{
	static const uint8_t to[6] = { 0x00, 0x16, 0x3e, 0x01, 0x02, 0x03 };

	memset(f, 0, NET_HDR);
	for (size_t i = 0; i < len; i++)
		f->data[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(f->data, to, 6);
	memcpy(f->data + 6, "\x02\0\0\0\0\1", 6);
	nr_put16(f->data + 12, 0x88b5);
}

static inline void nr_ip_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	nr_put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
}

/* A TCP or UDP packet with @payload bytes; its header says checksum and, for @gso > 0, segments.
 * Return: bytes of the frame. */
static inline size_t nr_packet(struct nr_frame *f, bool v6, uint8_t l4, unsigned vlans,
			       size_t payload, uint16_t gso)
{
	size_t net = NET_ETH + vlans * 4u, l4_at = net + (v6 ? 40 : 20);
	size_t data = l4_at + (l4 == IPPROTO_TCP ? 20 : 8), len = data + payload;
	uint8_t *d = f->data;

	nr_ethernet(f, len);
	memset(d + 12, 0, data - 12);
	for (unsigned i = 0; i < vlans; i++) {
		nr_put16(d + 12 + i * 4, i + 1 < vlans ? ETH_P_8021AD : ETH_P_8021Q);
		nr_put16(d + 14 + i * 4, 5);
	}
	nr_put16(d + net - 2, v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (v6) {
		d[net] = 0x60;
		nr_put16(d + net + 4, (unsigned)(len - l4_at));
		d[net + 6] = l4;
		d[net + 7] = 64;
	} else {
		d[net] = 0x45;
		nr_put16(d + net + 2, (unsigned)(len - net));
		d[net + 8] = 64;
		d[net + 9] = l4;
		nr_ip_checksum(d + net);
	}
	if (l4 == IPPROTO_TCP)
		d[l4_at + 12] = 5 << 4;
	f->h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->h.csum_start = htole16((uint16_t)l4_at);
	f->h.csum_offset = htole16(l4 == IPPROTO_TCP ? 16 : 6);
	if (gso) {
		f->h.gso_type = l4 == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
				: v6		  ? VIRTIO_NET_HDR_GSO_TCPV6
						  : VIRTIO_NET_HDR_GSO_TCPV4;
		f->h.gso_size = htole16(gso);
	}
	return len;
}

/* ---- the device --------------------------------------------------------- */

enum { NR_BUFS = 512 };

struct nr {
	struct tp tp;
	struct nr_link *link;
	struct drv_buf tx;	    /* one frame at a time */
	struct drv_buf ctl;	    /* one command at a time */
	struct drv_buf rx[NR_BUFS]; /* receive buffers, each posted to one queue */
	unsigned n_rx;
	struct nr_frame frame; /* scratch */
};

static inline void nr_open(struct nr *nr, enum tp_manner manner, const char *spec)
{
	memset(nr, 0, sizeof(*nr));
	net_link_ops = nr_ops;
	nr_made = NULL;
	tp_open(&nr->tp, manner, spec);
	nr->link = nr_made;
	assert_int_equal(drv_alloc(&nr->tp.flat.mem, sizeof(struct nr_frame), 4096, false, &nr->tx),
			 0);
	assert_int_equal(drv_alloc(&nr->tp.flat.mem, 8192, 4096, true, &nr->ctl), 0);
}

static inline void nr_up(struct nr *nr, enum tp_manner manner, const char *spec, uint64_t want)
{
	nr_open(nr, manner, spec);
	tp_start(&nr->tp, want, 64);
	tp_settle(&nr->tp);
}

static inline void nr_close(struct nr *nr)
{
	tp_reset(&nr->tp);
	while (nr->n_rx)
		drv_free(&nr->tp.flat.mem, &nr->rx[--nr->n_rx]);
	drv_free(&nr->tp.flat.mem, &nr->tx);
	drv_free(&nr->tp.flat.mem, &nr->ctl);
	tp_close(&nr->tp);
}

/** nr_says - fail unless describe() has @word */
static inline void nr_says(struct nr *nr, const char *word)
{
	char text[512];

	nr->tp.dev.ops->describe(&nr->tp.dev, text, sizeof(text));
	if (!strstr(text, word))
		fail_msg("'%s' does not say '%s'", text, word);
}

static inline bool nr_broken(const struct nr *nr)
{
	return nr->tp.dev.status & VG_STATUS_NEEDS_RESET;
}

/* ---- the driver sends --------------------------------------------------- */

/** nr_add - a chain of @f, header and @len bytes, cut at @cuts (of header and frame together) */
static inline void nr_add(struct nr *nr, unsigned q, const struct nr_frame *f, size_t len,
			  const uint32_t *cuts, unsigned n_cuts)
{
	struct drv_seg segs[64];
	uint32_t at = 0, total = (uint32_t)(NET_HDR + len);
	unsigned n = 0;

	memcpy(nr->tx.virt, f, total);
	for (unsigned i = 0; i <= n_cuts; i++) {
		uint32_t end = i < n_cuts ? cuts[i] : total;

		if (end > at && end <= total)
			segs[n++] = (struct drv_seg){ nr->tx.addr + at, end - at };
		at = end > at && end <= total ? end : at;
	}
	assert_true(drv_vring_add(&nr->tp.vr[q], segs, n, NULL, 0, nr, 0) >= 0);
}

/** nr_settle - a short frame goes back before the link has it: let the link take it */
static inline void nr_settle(struct nr *nr)
{
	for (unsigned i = 0; i < 3; i++)
		vg_loop_turn(nr->tp.loop, false);
}

/** nr_send - the same, and wait until the device has it */
static inline void nr_send_cut(struct nr *nr, unsigned q, const struct nr_frame *f, size_t len,
			       const uint32_t *cuts, unsigned n_cuts)
{
	struct drv_used used;

	nr_add(nr, q, f, len, cuts, n_cuts);
	tp_kick(&nr->tp, q);
	tp_wait(&nr->tp, q, &used);
	assert_int_equal(used.len, 0);
	nr_settle(nr);
}

static inline void nr_send(struct nr *nr, const struct nr_frame *f, size_t len)
{
	static const uint32_t cut = NET_HDR;

	nr_send_cut(nr, 1, f, len, &cut, 1);
}

/** nr_wire_get - what came out of the link. Return: bytes of the frame; -1: nothing did */
static inline ssize_t nr_wire_get(struct nr *nr, unsigned pair, struct nr_frame *f)
{
	ssize_t n = recv(nr->link->peer[pair], f, sizeof(*f), MSG_DONTWAIT);

	return n < 0 ? -1 : n - NET_HDR;
}

/* ---- the driver receives ------------------------------------------------ */

/** nr_post - @n buffers of @size bytes for queue @q */
static inline void nr_post(struct nr *nr, unsigned q, uint32_t size, unsigned n)
{
	while (n--) {
		struct drv_buf *b = &nr->rx[nr->n_rx++];
		struct drv_seg seg = { 0, size };

		assert_true(nr->n_rx <= NR_BUFS);
		assert_int_equal(drv_alloc(&nr->tp.flat.mem, size, 16, true, b), 0);
		memset(b->virt, 0xa5, size);
		seg.addr = b->addr;
		assert_true(drv_vring_add(&nr->tp.vr[q], NULL, 0, &seg, 1, b, 0) >= 0);
	}
	tp_kick(&nr->tp, q);
}

/** nr_wire_put - a frame of @len bytes arrives */
static inline void nr_wire_put(struct nr *nr, unsigned pair, const struct nr_frame *f, size_t len)
{
	assert_int_equal(send(nr->link->peer[pair], f, NET_HDR + len, 0), NET_HDR + len);
}

/* One buffer to the end of what @f has, @total bytes so far. Return: bytes of it. */
static inline size_t nr_take_buffer(struct nr *nr, unsigned q, struct nr_frame *f, size_t total)
{
	const struct drv_buf *b;
	struct drv_used used;
	uint32_t len;

	tp_wait(&nr->tp, q, &used);
	b = used.cookie;
	/* IN_ORDER: one that has no element of its own was filled (2.7.9). */
	len = used.skipped ? (uint32_t)b->len : used.len;
	assert_true(len <= b->len && total + len <= sizeof(*f));
	memcpy((uint8_t *)f + total, b->virt, len);
	return len;
}

/** nr_take - one frame that the guest has received. Return: bytes of it. */
static inline size_t nr_take(struct nr *nr, unsigned q, struct nr_frame *f)
{
	size_t total;

	memset(f, 0, sizeof(*f));
	total = nr_take_buffer(nr, q, f, 0);
	assert_true(total >= NET_HDR && le16toh(f->h.num_buffers) >= 1);
	for (unsigned n = le16toh(f->h.num_buffers); n > 1; n--)
		total += nr_take_buffer(nr, q, f, total);
	return total - NET_HDR;
}

/** nr_silent - nothing comes to queue @q */
static inline void nr_silent(struct nr *nr, unsigned q)
{
	struct drv_used used;

	tp_settle(&nr->tp);
	assert_int_equal(drv_vring_get(&nr->tp.vr[q], &used), 0);
}

/* ---- the driver commands ------------------------------------------------ */

/** nr_control - a command on queue @q. Return: its answer */
static inline int nr_control(struct nr *nr, unsigned q, uint8_t class, uint8_t cmd,
			     const void *data, uint32_t len)
{
	uint8_t *p = nr->ctl.virt;
	const struct drv_seg out[] = { { nr->ctl.addr, 2 }, { nr->ctl.addr + 2, len } };
	const struct drv_seg in = { nr->ctl.addr + 8000, 1 };
	struct drv_used used;

	p[0] = class;
	p[1] = cmd;
	if (len)
		memcpy(p + 2, data, len);
	p[8000] = 0xff;
	assert_true(drv_vring_add(&nr->tp.vr[q], out, len ? 2 : 1, &in, 1, nr, 0) >= 0);
	tp_kick(&nr->tp, q);
	tp_wait(&nr->tp, q, &used);
	assert_int_equal(used.len, 1);
	return p[8000];
}

#endif /* NET_RIG_H */
