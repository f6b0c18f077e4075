/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_blk.c - libFuzzer target: a hostile driver, and a failing disk, against the blk device
 *
 * The input is a little program. A header chooses the disk (read-only, its size),
 * how memory is reached (in place or copied) and the features; then each step is
 * a request: header, data and status byte in segments cut anyhow, some of them
 * where no memory is, revoked or shared with others; a discard or write-zeroes
 * with any ranges; or something that is no request. Or it is the disk: operations
 * that complete in any order, whole, in part, or with an error; or time that is
 * over. Or a write to the configuration, a reset of the queue, of the device. Rings keep the rules:
 * breaking those is fuzz_ring's matter.
 *
 * What must hold: no crash, no sanitizer report; nothing outside the image is
 * touched, and nothing of a read-only one written; with write-through every write,
 * of zeroes too, is RWF_DSYNC; each request comes back once, with a status that the standard
 * knows, and no longer than what the driver can hold.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "backend/base/container.h"
#include "backend/memory/data.h"
#include "backend/memory/regions.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/vring.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum {
	SECTOR = 512,
	IMAGE = 64 * 1024,
	RING = 32,
	REQS = 64,
	SLOT = 8192,		   /* of a request: header, status byte, data */
	DATA = 2048,		   /* where in it data begin; the status byte lies before */
	ARENA = (REQS + 1) * SLOT, /* the last one is shared */
	SEGS = 12,
};

/* ---- the disk ------------------------------------------------------------------ */

static int imagefd;
static bool read_only, mode_changed;
static struct vg_dev dev;

static bool write_through(void)
{
	char text[128];

	dev.ops->describe(&dev, text, sizeof(text));
	return strstr(text, "write-through");
}

/** submitted - what must hold of every operation on the disk, when it is begun */
static void submitted(const struct fl_op *op)
{
	MUST(op->fd >= 0);
	if (op->kind != FL_SYNC)
		MUST(op->len > 0 && op->offset < IMAGE && op->len <= IMAGE - op->offset);
	if (op->kind == FL_WRITE || op->kind == FL_FALLOCATE)
		MUST(!read_only);
	/* What counts is the mode when the request began. */
	if (op->kind == FL_WRITE && !mode_changed)
		MUST(!!(op->flags & RWF_DSYNC) == write_through());
	MUST(op->kind != FL_DISCARD);
	/* The sandbox has no other modes (blk.c). */
	if (op->kind == FL_FALLOCATE)
		MUST(op->flags == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
		     op->flags == FALLOC_FL_ZERO_RANGE);
}

/** one - do the @i-th operation: @how 0 all of it, else a part, or an error */
static void one(unsigned i, uint8_t how)
{
	static const int errors[] = { -EIO, -ENOSPC, -EINTR, -EAGAIN, -EOPNOTSUPP, -ENODEV };
	struct fl_op op = fl_op[i];
	size_t part = 0;
	int res = 0;

	if (how >= 0xc0) {
		fl_complete(i, errors[how % (COUNT(errors))]);
		return;
	}
	if (op.kind == FL_READ && how == 0xbf) { /* the end of an image that shrank */
		fl_complete(i, 0);
		return;
	}
	if (op.kind == FL_READ || op.kind == FL_WRITE) {
		part = op.iov[0].iov_len;
		if (how >= 0x80 && part > 1)
			part = 1 + how % (part - 1);
		if (how >= 0x80) {
			const struct iovec v = { op.iov[0].iov_base, part };

			res = (int)(op.kind == FL_READ ? preadv(op.fd, &v, 1, (off_t)op.offset)
						       : pwritev(op.fd, &v, 1, (off_t)op.offset));
		} else {
			res = (int)(op.kind == FL_READ
					    ? preadv(op.fd, op.iov, (int)op.niov, (off_t)op.offset)
					    : pwritev(op.fd, op.iov, (int)op.niov,
						      (off_t)op.offset));
		}
		MUST(res > 0);
	}
	fl_complete(i, res);
}

static void fl_turn(void)
{
	if (fl_ops)
		one(fl_ops - 1, 0);
	fl_deferred();
}

/* ---- the driver ----------------------------------------------------------------- */

struct req {
	bool out;
	uint8_t *status; /* NULL: it has none that we would know */
	uint32_t room;	 /* device-writable bytes */
};

static struct req reqs[REQS];
static struct drv_vring vr;
static struct vg_port port;
static unsigned out_n;

static void no_notify(struct vg_port *p, unsigned q)
{
	(void)p;
	MUST(q == 0);
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

static void take(void)
{
	struct drv_used used;
	int rc = 0;

	while (vr.mem && (rc = drv_vring_get(&vr, &used)) > 0) {
		struct req *r = used.cookie;

		MUST(r->out && out_n > 0 && used.len <= r->room);
		MUST(!r->status || *r->status <= VIRTIO_BLK_S_UNSUPP);
		r->out = false;
		out_n--;
	}
	MUST(rc == 0);
}

static void kick(void)
{
	if (vr.mem && drv_vring_publish(&vr))
		vg_dev_kick(&dev, 0);
}

static void forget_ring(void)
{
	if (vr.mem)
		drv_vring_fini(&vr);
	memset(&vr, 0, sizeof(vr));
	memset(reqs, 0, sizeof(reqs));
	out_n = 0;
}

static void ring(void)
{
	const struct drv_vring_config cfg = {
		.size = RING,
		.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
		.in_order = vg_dev_has(&dev, VG_F_IN_ORDER),
		.indirect = vg_dev_has(&dev, VG_F_INDIRECT_DESC),
	};

	MUST(drv_vring_init(&vr, &cfg, &fm_flat.mem) == 0);
	MUST(vg_dev_set_queue(&dev, 0, RING, vr.desc_mem.addr, vr.driver_mem.addr,
			      vr.device_mem.addr, NULL, NULL) == 0);
}

static void start(uint64_t want)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	dh_status(&dev, 0);
	mode_changed = false;
	forget_ring();
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & want) | VG_FEATURE(VG_F_VERSION_1));
	status |= VG_STATUS_FEATURES_OK;
	MUST(dh_status(&dev, status) == status);
	ring();
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

static void request(void)
{
	uint8_t how = u8(), type = u8();
	struct virtio_blk_outhdr h = { .type = htole32(type % 16), .sector = htole64(u8()) };
	struct virtio_blk_discard_write_zeroes range = { .sector = htole64(u8()),
							 .num_sectors = htole32(u8()),
							 .flags = htole32(how >> 6) };
	uint32_t len = u8() % 49 * SECTOR / 4;
	struct drv_seg out[SEGS], in[SEGS];
	unsigned n_out, n_in = 0, i;
	uint64_t at;
	bool writes;

	for (i = 0; i < REQS && reqs[i].out; i++)
		;
	if (i == REQS || !vr.mem)
		return;
	at = fm_arena.addr + (how & 1 ? REQS : i) * SLOT;
	if (type & 0x80)
		h.sector = htole64(u64());
	if (type & 0x40)
		range = (struct virtio_blk_discard_write_zeroes){ u64(), u32(), u32() };
	if (type & 0x20)
		h.type = htole32(u32());
	writes = le32toh(h.type) != VIRTIO_BLK_T_IN && le32toh(h.type) != VIRTIO_BLK_T_GET_ID;
	if (le32toh(h.type) == VIRTIO_BLK_T_DISCARD || le32toh(h.type) == VIRTIO_BLK_T_WRITE_ZEROES)
		len = how & 2 ? len : sizeof(range);
	memcpy(fm_memory + (at - FM_BASE), &h, sizeof(h));
	memcpy(fm_memory + (at - FM_BASE) + 16, &range, sizeof(range));
	/* Header (mostly whole); data; the status byte, mostly. */
	n_out = cut(out, SEGS / 2, at, (how & 0x3c) == 0x3c ? u8() % 40 : 16);
	if (writes && (how & 2) && len >= sizeof(range))
		n_out += cut(out + n_out, SEGS / 2, at + DATA, len);
	else if (writes)
		n_out += cut(out + n_out, SEGS / 2, at + 16, len);
	else
		n_in = cut(in, SEGS - 1, at + DATA, len);
	if ((how & 0x3c) != 0x38)
		in[n_in++] = (struct drv_seg){ at + DATA - 1, 1 };
	/* Somewhere else: beyond the end, over the end, another's. */
	if ((how & 0x3c) == 0x34) {
		struct drv_seg *s = n_in > 1 && chance(2) ? &in[0] : n_out ? &out[0] : &in[0];

		s->addr = chance(2) ? FM_BASE + FM_BYTES - u8() : u64();
	}
	reqs[i] = (struct req){ .out = true };
	for (unsigned k = 0; k < n_in; k++)
		reqs[i].room += in[k].len;
	if (n_in && !(how & 1) && in[n_in - 1].addr == at + DATA - 1)
		reqs[i].status = fm_memory + (at + DATA - 1 - FM_BASE);
	if (reqs[i].status)
		*reqs[i].status = 0; /* the device may fail to write it: then it stops */
	if ((!n_out && !n_in) ||
	    drv_vring_add(&vr, out, n_out, in, n_in, &reqs[i],
			  how & 4 && vr.cfg.indirect ? DRV_ADD_INDIRECT : 0) < 0)
		reqs[i].out = false;
	else
		out_n++;
	if (how & 8)
		kick();
}

static void step(void)
{
	uint8_t op = u8(), value = u8();

	switch (op % 12) {
	case 0:
	case 1:
	case 2:
		request();
		break;
	case 3:
		kick();
		break;
	case 4:
	case 5:
		if (fl_ops)
			one(value % fl_ops, u8());
		break;
	case 6:
		fl_deferred();
		take();
		break;
	case 7:
		if (value & 1)
			fl_timers();
		take();
		break;
	case 8:
		mode_changed = true;
		(void)vg_dev_config_write(&dev, op & 0x80 ? value : 32, &value, 1);
		break;
	case 9:
		fm_revoked = value & 1 ? fm_arena.addr + (value >> 1) * 4096ull : 0;
		break;
	case 10:
		if (value & 1) {
			start((uint64_t)u16() << 24 | (u16() & 0xffff));
		} else if (vg_dev_has(&dev, VG_F_RING_RESET) && vr.mem) {
			dh_reset_queue(&dev, 0, NULL);
			forget_ring();
			ring();
		}
		break;
	case 11: {
		uint8_t buf[256];

		(void)vg_dev_config_read(&dev, value, buf, u8());
		memset(fm_memory + (fm_arena.addr - FM_BASE) + (value % REQS) * SLOT, value, 64);
		break;
	}
	}
}

/* However it went: what is well comes to its end, all of it. */
static void settle(void)
{
	kick();
	for (unsigned i = 0; i < 8 * REQS && !fl_idle(); i++) {
		if (!fl_ops && !fl_list)
			fl_timers();
		fl_turn();
	}
	take();
	MUST(fl_idle()); /* a queue that has nothing to do waits for nothing */
	MUST((dev.status & VG_STATUS_NEEDS_RESET) || out_n == 0);
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	imagefd = memfd_create("image", 0);
	MUST(imagefd >= 0 && ftruncate(imagefd, IMAGE) == 0);
	fm_open(ARENA);
	port.ops = &port_ops;
	fl_on_op = submitted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct vg_params params;
	struct vg_err err;
	char spec[128];
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	how = u8();
	read_only = how & 1;
	snprintf(spec, sizeof(spec), "blk,target=/proc/self/fd/%d%s", imagefd,
		 read_only ? ",readonly" : "");
	MUST(vg_params_parse(spec, &params, &err) == 0);
	MUST(dh_open(&dev, vg_device_find("blk"), NULL, &params, &err) == 0);
	dev.port = &port;
	/* Little bounce memory, so that requests have to wait for it. */
	dev.mem = dev.ctx[0].mem = fm_begin(how & 4, how & 2 ? 16 << 10 : 4 << 20);
	start(how & 8 ? ~0ull : (uint64_t)u16() << 24 | (u16() & 0xffff));
	while (fuzz_more())
		step();
	settle();
	dh_status(&dev, 0);
	forget_ring();
	dh_close(&dev);
	fm_end();
	MUST(fl_idle());
	return 0;
}
