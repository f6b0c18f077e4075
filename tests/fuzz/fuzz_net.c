/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_net.c - libFuzzer target: a hostile driver, and a link with a will of its own,
 * against the network device
 *
 * The input is a little program. A header chooses how memory is reached and the
 * features; then each step is a frame of the driver's: a packet of some kind, of
 * which single bytes are changed, or any bytes, with any header, in segments cut
 * anyhow; receive buffers of any size; control commands, right, nearly right, or any
 * bytes, those of hashes and their table among them; reads of the link that find a frame, nothing, or an error, and writes that
 * succeed or do not, in any order; time; resets. Rings keep the rules: breaking those is fuzz_ring's
 * matter.
 *
 * What must hold: no crash, no sanitizer report; what is written to the link is what a
 * cable could have brought (told, below, by other rules than the device's own); no
 * more is read than there is room for; once the device is stopped everything has
 * come back; control commands are answered before the next turn.
 */
#include <endian.h>
#include <sys/uio.h>

#include "backend/base/container.h"
#include "backend/devices/net/int.h"
#include "backend/memory/data.h"
#include "backend/memory/regions.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/vring.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum {
	RING = 32,
	QUEUES = 5, /* two pairs and control */
	SLOTS = 24,
	SLOT = 16384,
	LINK_FD = 1000,
};

/* ---- the link ------------------------------------------------------------------ */

static struct vg_dev dev;
static struct net_link link_;
static unsigned link_offloads;

static int fuzz_offloads(struct net_link *link, unsigned flags)
{
	(void)link;
	MUST(!flags || (flags & TUN_F_CSUM));
	link_offloads = flags;
	return 0;
}

static int fuzz_active(struct net_link *link, unsigned pairs)
{
	MUST(pairs >= 1 && pairs <= link->pairs);
	return 0;
}

static void fuzz_carrier(struct net_link *link, bool on)
{
	(void)link;
	(void)on;
}

static void fuzz_close(struct net_link *link)
{
	(void)link;
}

static int fuzz_open(const struct net_link_config *c, struct net_link **out, struct vg_err *err);

static const struct net_link_ops fuzz_link = {
	.open = fuzz_open,
	.close = fuzz_close,
	.offloads = fuzz_offloads,
	.active = fuzz_active,
	.carrier = fuzz_carrier,
};
const struct net_link_ops *net_link_ops = &fuzz_link;

static int fuzz_open(const struct net_link_config *c, struct net_link **out, struct vg_err *err)
{
	(void)err;
	link_ = (struct net_link){
		.ops = &fuzz_link, .name = "fuzz", .pairs = c->pairs, .mtu = 1500, .uso = true
	};
	for (unsigned i = 0; i < c->pairs; i++)
		link_.fd[i] = LINK_FD + (int)i;
	*out = &link_;
	return 0;
}

/* What may reach the host's stack. Headers are found from the other end than the device does it: from
 * where the checksum is said to begin. */
static void check_frame(const struct virtio_net_hdr_v1 *h, const uint8_t *f, size_t len)
{
	size_t start = le16toh(h->csum_start), csum = start + le16toh(h->csum_offset);
	size_t hdr = le16toh(h->hdr_len), size = le16toh(h->gso_size);
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool tcp = type != VIRTIO_NET_HDR_GSO_UDP_L4;

	MUST(len >= 14 && len <= NET_FRAME_MAX);
	MUST(!(h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) && h->num_buffers == 0);
	MUST(hdr <= len);
	if (h->flags) {
		MUST(vg_dev_has(&dev, VIRTIO_NET_F_CSUM));
		MUST(start >= 34 && csum + 2 <= len);
	} else {
		MUST(start == 0 && csum == 0 && h->gso_type == 0);
	}
	if (h->gso_type == 0) {
		MUST(hdr == 0 && size == 0 && len <= 1500 + 22);
		return;
	}
	MUST(h->flags && size >= 8 && hdr > start && hdr < len && hdr <= NET_HEAD);
	MUST(vg_dev_has(&dev, type == VIRTIO_NET_HDR_GSO_TCPV4	 ? VIRTIO_NET_F_HOST_TSO4
			      : type == VIRTIO_NET_HDR_GSO_TCPV6 ? VIRTIO_NET_F_HOST_TSO6
								 : VIRTIO_NET_F_HOST_USO));
	MUST(type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6 || !tcp);
	MUST(!(h->gso_type & VIRTIO_NET_HDR_GSO_ECN) ||
	     (tcp && vg_dev_has(&dev, VIRTIO_NET_F_HOST_ECN)));
	MUST(len - hdr > size);
	MUST(hdr + size <= 1500 + 22);
	if (tcp) {
		MUST(csum == start + 16 && hdr == start + (size_t)(f[start + 12] >> 4) * 4 &&
		     hdr >= start + 20);
	} else {
		MUST(csum == start + 6 && hdr == start + 8);
	}
	/* An IP header of that version ends where the other begins, or extension headers are between. */
	if (type == VIRTIO_NET_HDR_GSO_TCPV4) {
		size_t ip = 0;

		for (unsigned tags = 0; tags <= 2 && !ip; tags++) {
			size_t at = 14 + 4u * tags;

			if (f[at - 2] == 8 && f[at - 1] == 0 && f[at] >> 4 == 4 &&
			    at + (f[at] & 15) * 4u == start)
				ip = at;
		}
		MUST(ip && f[ip + 9] == 6 && !(f[ip + 6] & 0x3f) && !f[ip + 7]);
	}
}

static uint8_t flatframe[NET_HDR + NET_FRAME_MAX];

static void submitted(const struct fl_op *op)
{
	size_t len = 0;

	MUST(op->fd == LINK_FD || op->fd == LINK_FD + 1);
	MUST(op->kind == FL_READ || op->kind == FL_WRITE);
	for (unsigned i = 0; i < op->niov; i++) {
		MUST(op->iov[i].iov_len > 0);
		if (op->kind == FL_WRITE) {
			MUST(len + op->iov[i].iov_len <= sizeof(flatframe));
			memcpy(flatframe + len, op->iov[i].iov_base, op->iov[i].iov_len);
		}
		len += op->iov[i].iov_len;
	}
	if (op->kind == FL_READ) {
		MUST(len >= NET_HDR + NET_FRAME_MAX);
		/* A header of ours, and what lies in the guest. */
		MUST(op->niov == 1 ||
		     (op->iov[0].iov_len == NET_HDR && op->iov[1].iov_len >= NET_ETH + NET_VLAN));
		for (unsigned i = 1; i < op->niov; i++)
			MUST((const uint8_t *)op->iov[i].iov_base >= fm_memory);
	} else {
		struct virtio_net_hdr_v1 h;

		MUST(len >= NET_HDR);
		memcpy(&h, flatframe, NET_HDR);
		check_frame(&h, flatframe + NET_HDR, len - NET_HDR);
	}
}

/* A frame of @len bytes, of @how, with the link's header, is read to where @op has it. */
static void scatter(const struct fl_op *op, uint8_t how, size_t len)
{
	for (unsigned i = 0; i < op->niov && len; i++) {
		size_t part = op->iov[i].iov_len < len ? op->iov[i].iov_len : len;

		memset(op->iov[i].iov_base, how, part);
		len -= part;
	}
}

/* The @i-th operation ends: @how says how. */
static void one(unsigned i, uint8_t how)
{
	static const int errors[] = { -EINVAL, -EIO, -EBADFD, -ENOMEM, -EINTR, -EAGAIN };
	struct fl_op op = fl_op[i];

	if (op.kind == FL_WRITE) {
		int len = 0;

		for (unsigned k = 0; k < op.niov; k++)
			len += (int)op.iov[k].iov_len;
		fl_complete(i, how & 0x80 ? errors[how % COUNT(errors)] : len);
	} else if (how & 0x80) {
		fl_complete(i, how == 0xff   ? -EOPNOTSUPP
			       : how == 0xfe ? 0
					     : errors[how % COUNT(errors)]);
	} else if (op.niov > 1) {
		static const uint16_t lens[] = { 14, 64, 1514, 16372, 20000, 60000, 65535 };
		uint32_t len = NET_HDR + lens[how % COUNT(lens)];

		scatter(&op, how & 8 ? 0xff : how, len);
		fl_complete(i, (int)len);
	} else {
		static const uint16_t lens[] = { 14, 60, 64, 100, 1514, 1515, 3000, 60000 };
		uint8_t *p = op.iov[0].iov_base;
		uint32_t len = lens[how % COUNT(lens)] + (how >> 5);

		/* What a TAP leaves unwritten is as it was; the rest is the fuzzer's. */
		for (unsigned k = 0; k < 10; k++)
			p[k] = u8();
		memset(p + NET_HDR, how, len);
		for (unsigned k = 0; k < 18; k++)
			p[NET_HDR + k] = k < 6 && how & 8 ? 0xff : u8();
		fl_complete(i, (int)(NET_HDR + len));
	}
}

static bool reads_only(void)
{
	for (unsigned i = 0; i < fl_ops; i++) {
		if (fl_op[i].kind != FL_READ)
			return false;
	}
	return true;
}

/* What is cancelled ends, and what is written is. */
static void fl_turn(void)
{
	if (fl_ops)
		fl_complete(0, fl_op[0].kind == FL_READ ? -ECANCELED : 64);
	fl_deferred();
}

/* ---- the driver ----------------------------------------------------------------- */

static struct drv_vring vr[QUEUES];
static struct {
	bool out;
	uint32_t room;
} slots[QUEUES][SLOTS];
static unsigned out_n[QUEUES];
static struct vg_port port;

static void no_notify(struct vg_port *p, unsigned q)
{
	(void)p;
	MUST(q < QUEUES);
}

static void no_change(struct vg_port *p)
{
	(void)p;
}

static const struct vg_port_ops port_ops = {
	.name = "fuzz",
	.features = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED) |
		    VG_FEATURE(VG_F_EVENT_IDX) | VG_FEATURE(VG_F_IN_ORDER) |
		    VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_RING_RESET),
	.required = VG_FEATURE(VG_F_VERSION_1),
	.notify = no_notify,
	.config_changed = no_change,
};

static unsigned control_queue(void)
{
	return vg_dev_has(&dev, VIRTIO_NET_F_MQ) || vg_dev_has(&dev, VIRTIO_NET_F_RSS) ? 4 : 2;
}

/* Bytes of the driver's header. */
static unsigned header(void)
{
	return vg_dev_has(&dev, VIRTIO_NET_F_HASH_REPORT) ? NET_HDR_HASH : NET_HDR;
}

static bool has_data(unsigned q)
{
	return q != control_queue() && q < 4;
}

static void take(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		struct drv_used used;
		int rc = 0;

		while (vr[q].mem && (rc = drv_vring_get(&vr[q], &used)) > 0) {
			unsigned i = (unsigned)(uintptr_t)used.cookie - 1;

			MUST(i < SLOTS && slots[q][i].out && out_n[q] > 0);
			MUST(used.len <= slots[q][i].room);
			MUST(!has_data(q) || !(q & 1) || used.len == 0);
			slots[q][i].out = false;
			out_n[q]--;
		}
		MUST(rc == 0);
	}
}

static void kick(unsigned q)
{
	if (vr[q].mem && drv_vring_publish(&vr[q]))
		vg_dev_kick(&dev, q);
}

static void forget_rings(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		if (vr[q].mem)
			drv_vring_fini(&vr[q]);
		memset(&vr[q], 0, sizeof(vr[q]));
		out_n[q] = 0;
	}
	memset(slots, 0, sizeof(slots));
}

static void ring(unsigned q)
{
	const struct drv_vring_config cfg = {
		.size = RING,
		.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
		.in_order = vg_dev_has(&dev, VG_F_IN_ORDER),
		.indirect = vg_dev_has(&dev, VG_F_INDIRECT_DESC),
	};

	MUST(drv_vring_init(&vr[q], &cfg, &fm_flat.mem) == 0);
	MUST(vg_dev_set_queue(&dev, q, RING, vr[q].desc_mem.addr, vr[q].driver_mem.addr,
			      vr[q].device_mem.addr, NULL, NULL) == 0);
}

static void start(uint64_t want)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	dh_status(&dev, 0);
	forget_rings();
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & want) | VG_FEATURE(VG_F_VERSION_1));
	status |= VG_STATUS_FEATURES_OK;
	if (dh_status(&dev, status) != status) {
		/* Features that need others. All have what they need. */
		vg_dev_set_features(&dev, vg_dev_offered(&dev));
		MUST(dh_status(&dev, status) == status);
	}
	for (unsigned q = 0; q < QUEUES; q++)
		ring(q);
	dh_status(&dev, status | VG_STATUS_DRIVER_OK);
}

/** cut - @len bytes at @at in one segment or in several. Return: how many. */
static unsigned cut(struct drv_seg *segs, unsigned max, uint64_t at, uint32_t len)
{
	unsigned n = 0;

	while (len && n + 1 < max && chance(3)) {
		uint32_t part = 1 + u8() % len;

		if (part == len)
			break;
		segs[n++] = (struct drv_seg){ at, part };
		at += part;
		len -= part;
	}
	if (len)
		segs[n++] = (struct drv_seg){ at, len };
	return n;
}

static uint8_t *slot_of(unsigned q, unsigned *i, uint64_t *at)
{
	for (*i = 0; *i < SLOTS && slots[q][*i].out; (*i)++)
		;
	if (*i == SLOTS || !vr[q].mem)
		return NULL;
	*at = fm_arena.addr + (*i % (fm_arena.len / SLOT)) * SLOT;
	return fm_memory + (*at - FM_BASE);
}

static void add(unsigned q, unsigned i, const struct drv_seg *out, unsigned n_out,
		const struct drv_seg *in, unsigned n_in, bool indirect)
{
	slots[q][i].out = true;
	slots[q][i].room = 0;
	for (unsigned k = 0; k < n_in; k++)
		slots[q][i].room += in[k].len;
	if ((!n_out && !n_in) ||
	    drv_vring_add(&vr[q], out, n_out, in, n_in, (void *)(uintptr_t)(i + 1),
			  indirect && vr[q].cfg.indirect ? DRV_ADD_INDIRECT : 0) < 0)
		slots[q][i].out = false;
	else
		out_n[q]++;
}

/* A packet that would pass. Return: bytes of it. */
static uint32_t packet(uint8_t *p, uint8_t how)
{
	struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	bool v6 = how & 1, udp = how & 2;
	unsigned tags = (how >> 2) % 3, net = 14 + 4 * tags, l4 = net + (v6 ? 40 : 20);
	uint32_t data = l4 + (udp ? 8 : 20), len = data + (how & 0x20 ? 9000 : 200);
	uint8_t *f = p + header();

	memset(p, 0, NET_HDR_HASH + 100);
	for (unsigned i = 0; i < tags; i++)
		f[12 + 4 * i] = 0x81;
	f[net - 2] = v6 ? 0x86 : 8;
	f[net - 1] = v6 ? 0xdd : 0;
	f[net] = v6 ? 0x60 : 0x45;
	f[net + (v6 ? 6 : 9)] = udp ? 17 : 6;
	if (!udp)
		f[l4 + 12] = 0x50;
	h.csum_start = htole16((uint16_t)l4);
	h.csum_offset = htole16(udp ? 6 : 16);
	if (how & 0x20) {
		h.gso_type = udp  ? VIRTIO_NET_HDR_GSO_UDP_L4
			     : v6 ? VIRTIO_NET_HDR_GSO_TCPV6
				  : VIRTIO_NET_HDR_GSO_TCPV4;
		h.gso_size = htole16(1000);
	}
	memcpy(p, &h, NET_HDR);
	return header() + len;
}

static void transmit(unsigned q)
{
	uint8_t how = u8(), changes = u8();
	struct drv_seg segs[12];
	unsigned i, n;
	uint64_t at;
	uint8_t *p = slot_of(q, &i, &at);
	uint32_t len;

	if (!p)
		return;
	len = packet(p, how);
	if (how & 0x40) { /* any bytes */
		len = u16() % SLOT;
		fuzz_bytes(p, len < 100 ? len : 100);
	}
	for (unsigned k = 0; k < changes % 4; k++) {
		unsigned where = u8() % 100;

		p[where] = u8();
	}
	if (changes & 0x80) /* shorter */
		len = len * u8() / 256;
	n = cut(segs, COUNT(segs), at, len);
	if ((changes & 0x7c) == 0x7c && n) /* where no memory is */
		segs[n - 1].addr = u64();
	add(q, i, segs, n, NULL, 0, how & 0x80);
	if (changes & 0x10)
		kick(q);
}

static void receive(unsigned q)
{
	uint8_t how = u8();
	static const uint16_t sizes[] = { 1, 11, 12, 13, 100, 1526, 4096, 16000 };
	struct drv_seg segs[12];
	unsigned i, n;
	uint64_t at;

	for (unsigned k = 0; k <= (how >> 5); k++) {
		if (!slot_of(q, &i, &at))
			return;
		n = cut(segs, COUNT(segs), at, how & 16 ? sizes[how % COUNT(sizes)] : 1526);
		add(q, i, NULL, 0, segs, n, how & 8);
	}
	kick(q);
}

/* A command for hashes that is right, but for a few bytes of it. Return: bytes. */
static uint32_t rss(uint8_t *p, bool table)
{
	uint32_t n = table ? 1u << u8() % 9 : 1, at = 8 + 2 * n, changes = u8() % 4;
	uint8_t key = u8() & 1 ? NET_HASH_KEY : u8() % (NET_HASH_KEY + 2);

	memset(p, 0, at + 3);
	p[0] = u8();
	p[1] = u8() & 1;
	p[4] = (uint8_t)(n - 1);
	p[5] = (uint8_t)((n - 1) >> 8);
	p[6] = u8() & 1;
	for (uint32_t i = 0; i < n && i < 32; i++)
		p[8 + 2 * i] = u8() & 1;
	p[at] = 1 + (u8() & 1);
	p[at + 2] = key;
	fuzz_bytes(p + at + 3, key);
	for (uint32_t i = 0; i < changes; i++) {
		uint32_t where = u16() % (at + 3);

		p[where] = u8();
	}
	return at + 3 + key;
}

static void control(void)
{
	static const uint8_t sizes[] = { 1, 8, 2, 0, 2, 8, 8 };
	unsigned q = control_queue(), i, n;
	uint8_t class = u8(), how = u8();
	uint32_t len = class < COUNT(sizes) ? sizes[class] : u8();
	struct drv_seg out[8], in;
	uint64_t at;
	uint8_t *p = slot_of(q, &i, &at);

	if (!p)
		return;
	p[0] = class;
	p[1] = how & 7;
	if (class == 1 && (how & 7) == 1)
		len = 6;
	if (class == 6 && (how & 2))
		len = how & 1 ? 4 : 12;
	if (how & 0x80)
		len = u8();
	if (class == 4 && how & 3) {
		len = rss(p + 2, how & 1);
		if (how & 0x80)
			len = len * u8() / 256;
	} else {
		fuzz_bytes(p + 2, len < 64 ? len : 64);
	}
	n = cut(out, COUNT(out), at, 2 + len);
	in = (struct drv_seg){ at + 8192, class == 6 ? 9 : 1 };
	p[8192] = 0xff;
	add(q, i, out, n, &in, (how & 0x70) != 0x70, how & 8);
	kick(q);
	take();
	/* Answered at once, unless the device is broken, or the turn was full. */
	MUST((dev.status & VG_STATUS_NEEDS_RESET) || !slots[q][i].out || fl_list);
}

static void step(void)
{
	uint8_t op = u8(), value = u8();

	switch (op % 12) {
	case 0:
	case 1:
	case 2:
		transmit(control_queue() == 4 && value & 1 ? 3 : 1);
		break;
	case 3:
		receive(control_queue() == 4 && value & 1 ? 2 : 0);
		break;
	case 4:
		control();
		break;
	case 5:
	case 6:
	case 7:
		if (fl_ops)
			one(value % fl_ops, u8());
		break;
	case 8:
		fl_deferred();
		take();
		break;
	case 9:
		if (value & 1)
			fl_timers();
		else
			kick(value % QUEUES);
		dev.ops->tick(&dev);
		break;
	case 10:
		fm_revoked = value & 1 ? fm_arena.addr + (value >> 1) * 4096ull : 0;
		break;
	case 11:
		if (value & 1) {
			start(u64());
		} else if (vg_dev_has(&dev, VG_F_RING_RESET)) {
			unsigned q = value / 2 % QUEUES;

			if (!vr[q].mem)
				break;
			dh_reset_queue(&dev, q, NULL);
			drv_vring_fini(&vr[q]);
			memset(slots[q], 0, sizeof(slots[q]));
			out_n[q] = 0;
			ring(q);
		}
		break;
	}
}

/* However it went: all frames that are well are sent, all commands answered. */
static void settle(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		kick(q);
	for (unsigned i = 0; i < 1000 && (fl_list || !reads_only()); i++) {
		for (unsigned k = 0; k < fl_ops; k++) {
			if (fl_op[k].kind == FL_WRITE) {
				one(k, 0);
				break;
			}
		}
		fl_deferred();
	}
	take();
	MUST(reads_only());
	MUST((dev.status & VG_STATUS_NEEDS_RESET) ||
	     (out_n[1] == 0 && out_n[control_queue()] == 0));
	MUST((dev.status & VG_STATUS_NEEDS_RESET) || control_queue() == 2 || out_n[3] == 0);
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	fm_open((size_t)SLOTS * SLOT);
	port.ops = &port_ops;
	fl_on_op = submitted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct vg_params params;
	struct vg_err err;
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	how = u8();
	MUST(vg_params_parse("net,mac=00:16:3e:00:00:01,queues=2,threads=1,rss,hash", &params,
			     &err) == 0);
	MUST(dh_open(&dev, vg_device_find("net"), NULL, &params, &err) == 0);
	dev.port = &port;
	/* Little bounce memory, so that frames have to wait for it. */
	dev.mem = dev.ctx[0].mem = fm_begin(how & 4, how & 2 ? 16 << 10 : 4 << 20);
	start(how & 8 ? ~0ull : u64());
	while (fuzz_more())
		step();
	settle();
	dh_status(&dev, 0);
	forget_rings();
	dh_close(&dev);
	fm_end();
	MUST(fl_idle());
	return 0;
}
