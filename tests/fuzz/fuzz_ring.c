/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_ring.c - libFuzzer target: a hostile driver against the ring engine
 *
 * The input is a little program, so that most inputs mean something: a header
 * chooses the ring (format, size, features, how memory is reached, in-flight
 * record), then each operation is a byte and its operands. Operations of the
 * driver write a descriptor, a table entry, ring entries, indices and event
 * fields, from values that are mostly sensible, or any byte of its memory;
 * operations of the device are the engine's verbs and accesses to chains' data;
 * "restart" drops the queue and makes a successor, "record" flips bits of the
 * in-flight record before that.
 *
 * What must hold: no crash, no sanitizer report, no call that does not return;
 * chains that are what they say they are; nothing more after a fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "backend/memory/data.h"
#include "backend/memory/regions.h"
#include "backend/virtio/virtqueue.h"
#include "tests/fuzz/fuzz.h"

#define BASE   0x1000000ull
#define MEM    0x8000u /* one page each of descriptors, driver area, device area; then data */
#define MIDDLE 0x5000u /* where one region ends and the next begins */
#define SIZE   64u

static uint8_t mem[MEM] __attribute__((aligned(4096)));
static uint8_t rom[4096] __attribute__((aligned(4096)));
static uint64_t record[SIZE * 4 + 8];
static struct vg_regions regions;
static struct vg_batch batch;
static struct vg_vq *vq;
static struct vg_vq_config cfg;
static struct vg_chain *held[SIZE];
static unsigned n_held;
static unsigned drv_at, drv_out, drv_desc; /* good_chain(): where it writes, what is not back */
static bool drv_wrap;
static unsigned last_pop; /* held[] from here on came with the last pop, and all are still there */

/** address - mostly somewhere in memory, else about its ends, or anywhere */
static uint64_t address(void)
{
	unsigned how = u8();

	switch (how & 7) {
	case 0:
		return BASE + MEM - (how >> 3);
	case 1:
		return BASE - (how >> 3);
	case 2:
		return UINT64_MAX - (how >> 3);
	case 3:
		return BASE + MIDDLE - (how >> 3);
	case 4:
		return 0x9000000 + u8();
	default:
		return BASE + 0x3000 + (how >> 3) * 16u * (u8() % 64u);
	}
}

/** length - mostly small */
static uint32_t length(void)
{
	unsigned how = u8();

	switch (how & 7) {
	case 0:
		return UINT32_MAX - (how >> 3);
	case 1:
		return u16() << 4;
	case 2:
		return (how >> 3) * 16u;
	default:
		return how >> 3;
	}
}

/* ---- guest memory that is never direct --------------------------------------- */

static int copy_only(struct vg_mem *m, struct vg_copy *ops, unsigned n)
{
	(void)m;
	return regions.mem.ops->copy(&regions.mem, ops, n);
}

static int map_through(struct vg_mem *m, uint64_t addr, size_t n, struct vg_map *out)
{
	(void)m;
	return regions.mem.ops->map(&regions.mem, addr, n, out);
}

static void unmap_through(struct vg_mem *m, struct vg_map *map)
{
	(void)m;
	(void)map;
}

static const struct vg_mem_ops copied_ops = { .copy = copy_only,
					      .map = map_through,
					      .unmap = unmap_through };

static struct vg_mem copied = { .ops = &copied_ops };
static struct vg_mem *the_mem;

/* ---- the device -------------------------------------------------------------- */

/** check - a chain is what it says it is */
static void check(const struct vg_chain *c)
{
	uint64_t out = 0, inn = 0;
	unsigned max = cfg.chain_max ? cfg.chain_max : cfg.size;

	MUST(c->n_out + c->n_in > 0 && c->n_out + c->n_in <= (int)max);
	MUST(c->ndesc > 0 && c->ndesc <= cfg.size);
	for (unsigned i = 0; i < (unsigned)c->n_out + c->n_in; i++) {
		MUST(c->segs[i].len > 0);
		MUST(c->segs[i].addr + (c->segs[i].len - 1) >= c->segs[i].addr);
		*(i < c->n_out ? &out : &inn) += c->segs[i].len;
	}
	MUST(out == c->out_len && inn == c->in_len);
	MUST(!c->error);
}

/** pop - take chains; nothing comes after a fault */
static void pop(unsigned max)
{
	bool faulty = vg_vq_fault(vq);
	int n;

	max = 1 + max % (SIZE - 1);
	if (max > SIZE - n_held)
		return;
	n = vg_vq_pop(vq, held + n_held, max);
	last_pop = n_held;
	MUST(n <= (int)max);
	MUST(!faulty || n < 0);
	if (n < 0) {
		MUST(vg_vq_fault(vq) && vg_vq_fault(vq)[0]);
		return;
	}
	for (int i = 0; i < n; i++)
		check(held[n_held++]);
	MUST(vg_vq_inflight(vq) <= cfg.size);
}

/** push - give one back */
static void push(unsigned which, uint32_t written)
{
	if (!n_held)
		return;
	which %= n_held;
	vg_vq_push(vq, held[which], written);
	last_pop = SIZE; /* what is left may have gaps */
	memmove(&held[which], &held[which + 1], (--n_held - which) * sizeof(held[0]));
}

/** unpop - take all that is out back into order, newest first, as far as that was the last pop */
static void unpop(void)
{
	while (n_held > last_pop) {
		vg_vq_unpop(vq, held[--n_held]);
		if (u8() & 1)
			break;
	}
}

/** touch - read, write, or map data of a chain */
static void touch(unsigned which)
{
	unsigned how = u8();
	size_t off = u16(), n = u8();
	struct vg_chain *c;
	struct vg_data d;
	char buf[256];
	enum vg_dir dir = how & 1 ? VG_TO_GUEST : VG_FROM_GUEST;

	if (!n_held)
		return;
	c = held[which % n_held];
	memset(buf, 0x5a, sizeof(buf));
	vg_batch_init(&batch, the_mem);
	switch (how >> 1 & 3) {
	case 0:
		(void)vg_chain_read(&batch, c, off, buf, n);
		break;
	case 1:
		(void)vg_chain_write(&batch, c, off, buf, n);
		break;
	default:
		n = how & 8 ? c->in_len : n;
		if (vg_data_begin(&d, &batch, c, dir, off, n) == 0) {
			size_t total = 0;

			(void)vg_batch_run(&batch);
			for (unsigned i = 0; i < d.niov; i++) {
				total += d.iov[i].iov_len;
				if (dir == VG_TO_GUEST)
					memset(d.iov[i].iov_base, 1, d.iov[i].iov_len);
			}
			MUST(total == n);
			vg_data_finish(&d, &batch, n / 2);
			(void)vg_batch_run(&batch);
			vg_data_end(&d);
		}
	}
	(void)vg_batch_run(&batch);
	c->error = 0;
}

/** restart - drop the queue, make a successor. Return: false when it is refused. */
static bool restart(void)
{
	struct vg_err err = { "" };

	if (vq)
		cfg.state = vg_vq_stop(vq);
	cfg.used_from_ring = u8() & 1;
	vg_vq_free(vq);
	vq = NULL;
	n_held = 0;
	if (vg_vq_new(the_mem, &cfg, &vq, &err)) {
		MUST(err.text[0]);
		return false;
	}
	return true;
}

/* ---- the driver -------------------------------------------------------------- */

/** reset - as after a device reset: rings and record zeroed, both sides at the start */
static bool reset(void)
{
	memset(mem, 0, 0x3000);
	memset(record, 0, sizeof(record));
	vg_vq_free(vq);
	vq = NULL;
	drv_at = drv_out = 0;
	drv_wrap = cfg.features >> VIRTIO_F_RING_PACKED & 1;
	cfg.state = (struct vg_vq_state){ .avail_wrap = drv_wrap, .used_wrap = drv_wrap };
	cfg.used_from_ring = false;
	return restart();
}

/**
 * good_chain - what a driver that keeps the rules does, if there is room
 * @n: descriptors, or with @table the length of the indirect table
 */
static void good_chain(unsigned n, bool table)
{
	unsigned take = table ? 1 : n, first = drv_at, in_from = u8() % (n + 1), spot = u8() % 8;
	struct vring_packed_desc *pt = (void *)(mem + 0x3000 + spot * 0x400);
	struct vring_avail *avail = (void *)(mem + 0x1000);
	struct vring_packed_desc *p = (void *)mem;
	struct vring_desc *st = (void *)pt;
	struct vring_desc *d = (void *)mem;
	bool packed = cfg.features >> VIRTIO_F_RING_PACKED & 1;

	if (!vg_vq_inflight(vq) && vg_vq_stop(vq).avail_idx == drv_at % (packed ? cfg.size : 65536))
		drv_out = 0;
	if (drv_out + take > cfg.size)
		return;
	drv_out += take;
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
					    (i >= in_from ? VRING_DESC_F_WRITE : 0));
		uint64_t addr = BASE + 0x3000 + i * 64;

		if (table && packed)
			pt[i] = (struct vring_packed_desc){ addr, 32, 0, flags };
		else if (table)
			st[i] = (struct vring_desc){ addr, 32, flags, (uint16_t)(i + 1) };
		if (i >= take)
			continue;
		if (table) {
			flags = VRING_DESC_F_INDIRECT;
			addr = BASE + 0x3000 + spot * 0x400;
		}
		if (packed) {
			flags |= drv_wrap ? 1u << 7 : 1u << 15;
			p[drv_at] = (struct vring_packed_desc){ addr, table ? n * 16 : 32,
								(uint16_t)first, flags };
			if (++drv_at == cfg.size) {
				drv_at = 0;
				drv_wrap = !drv_wrap;
			}
		} else {
			d[(drv_desc + i) % cfg.size] =
				(struct vring_desc){ addr, table ? n * 16 : 32, flags,
						     (uint16_t)((drv_desc + i + 1) % cfg.size) };
		}
	}
	if (table && !packed && spot & 1 && n > 3) { /* 0, 2, 1, 3 ... */
		struct vring_desc x = st[1];

		st[1] = st[2];
		st[2] = x;
		st[0].next = 2;
		st[2].next = 1;
		st[1].next = 3;
	}
	if (!packed) {
		avail->ring[drv_at % cfg.size] = (uint16_t)(drv_desc % cfg.size);
		drv_desc += take;
		drv_at = (uint16_t)(drv_at + 1);
		avail->idx = (uint16_t)drv_at;
	}
}

/** driver - one of the driver's operations */
static void driver(unsigned op)
{
	bool packed = cfg.features >> VIRTIO_F_RING_PACKED & 1;
	struct vring_desc *d = (void *)mem;
	struct vring_packed_desc *p = (void *)mem;
	struct vring_avail *avail = (void *)(mem + 0x1000);
	uint16_t *words = (void *)mem;
	unsigned i;

	switch (op) {
	case 0: /* a descriptor of the ring */
	case 1: /* ... of a table */
		i = u8() % SIZE;
		if (op == 1) {
			d = (void *)(mem + 0x3000);
			p = (void *)(mem + 0x3000);
		}
		if (packed)
			p[i] = (struct vring_packed_desc){ address(), length(), (uint16_t)u8(),
							   (uint16_t)(u8() << 8 | u8()) };
		else
			d[i] = (struct vring_desc){ address(), length(), (uint16_t)(u8() & 7),
						    (uint16_t)(u8() % (SIZE + 2)) };
		break;
	case 2: /* make some head available; packed: an available descriptor */
		i = u8();
		if (!packed) {
			avail->ring[avail->idx % cfg.size] = (uint16_t)(i % (cfg.size + 1));
			avail->idx++;
		} else {
			uint16_t lap = vg_vq_stop(vq).avail_wrap ? 1u << 7 : 1u << 15;

			p[i % SIZE].flags = (uint16_t)((p[i % SIZE].flags & 7) | lap);
		}
		break;
	case 3: /* an index, an event field */
		words[(0x1000 + u8() % 80u * 2) / 2] = (uint16_t)u16();
		break;
	case 4: /* what is the device's */
		words[(0x2000 + u16() % 600u) / 2] = (uint16_t)u16();
		break;
	default: /* any byte */
		mem[u16() % MEM] = (uint8_t)u8();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned how, shape;

	fuzz_begin(data, len);
	memset(mem, 0, sizeof(mem));
	memset(record, 0, sizeof(record));
	n_held = 0;
	vg_regions_init(&regions);
	MUST(!vg_regions_add(&regions, &(struct vg_region){ BASE, MIDDLE, mem, false }));
	MUST(!vg_regions_add(&regions, &(struct vg_region){ BASE + MIDDLE, MEM - MIDDLE,
							    mem + MIDDLE, false }));
	MUST(!vg_regions_add(&regions, &(struct vg_region){ 0x9000000, 4096, rom, true }));
	how = u8();
	shape = u8();
	cfg = (struct vg_vq_config){
		.size = how & 1 ? 1 + shape % SIZE : 1u << shape % 7,
		.desc = BASE,
		.driver = BASE + 0x1000,
		.device = BASE + 0x2000,
		.features = (uint64_t)(how & 1) << VIRTIO_F_RING_PACKED |
			    (uint64_t)(how >> 1 & 1) << VIRTIO_RING_F_EVENT_IDX |
			    (uint64_t)(how >> 2 & 1) << VIRTIO_RING_F_INDIRECT_DESC |
			    (uint64_t)(how >> 3 & 1) << 35,
		.chain_max = how & 16 ? 1 + u8() : 0,
		.inflight = how & 32 ? record : NULL,
	};
	the_mem = how & 64 ? &copied : &regions.mem;
	the_mem->bounce = how & 128 ? vg_bounce_new(65536) : NULL;
	drv_desc = 0;
	if (reset()) {
		while (fuzz_more()) {
			unsigned op = u8();

			if (vg_vq_fault(vq) && op & 128 && !reset())
				goto out;

			switch (op & 15) {
			case 0:
			case 1:
			case 2:
			case 3:
			case 4:
			case 5:
				driver(op & 15);
				break;
			case 6:
			case 7:
				good_chain(1 + (op >> 4 & 7), op & 128);
				break;
			case 8:
				pop(op >> 4);
				break;
			case 9:
				push(op >> 4, length());
				break;
			case 10:
				(void)vg_vq_flush(vq);
				break;
			case 11:
				touch(op >> 4);
				break;
			case 12:
				(void)vg_vq_rearm(vq);
				break;
			case 13:
				if (op & 16)
					unpop();
				else
					vg_vq_quiet(vq);
				break;
			case 14:
				((uint8_t *)
					 record)[(op & 16 ? u8() % 48 : u16()) % sizeof(record)] ^=
					(uint8_t)u8();
				break;
			default:
				if (!restart())
					goto out;
			}
		}
	}
out:
	vg_vq_free(vq);
	vq = NULL;
	vg_bounce_free(the_mem->bounce);
	the_mem->bounce = NULL;
	return 0;
}
