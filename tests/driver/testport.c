// SPDX-License-Identifier: GPL-2.0-or-later
/* testport.c - see testport.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/driver/testport.h"

#include "backend/base/container.h"
#include "backend/memory/backing.h"
#include "backend/memory/data.h"
#include "tests/driver/devhelp.h"

static struct tp_view *of_mem(struct vg_mem *mem)
{
	return container_of(mem, struct tp_view, mem);
}

static bool is_revoked(const struct tp *tp, uint64_t addr, size_t len, enum vg_dir dir)
{
	for (unsigned i = 0; i < tp->n_revoked; i++) {
		if (addr < tp->revoked[i].addr + tp->revoked[i].len &&
		    tp->revoked[i].addr < addr + len &&
		    (dir == VG_TO_GUEST || !tp->revoked[i].writes_only))
			return true;
	}
	return false;
}

static int copy_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct tp *tp = of_mem(mem)->tp;
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *guest = tp->memory + (ops[i].addr - TP_BASE);

		if (ops[i].addr < TP_BASE || ops[i].addr - TP_BASE > TP_MEMORY ||
		    ops[i].len > TP_MEMORY - (ops[i].addr - TP_BASE) ||
		    is_revoked(tp, ops[i].addr, ops[i].len, ops[i].dir)) {
			if (ops[i].error)
				*ops[i].error = -EFAULT;
			first = first ? first : -EFAULT;
		} else if (ops[i].dir == VG_FROM_GUEST) {
			memcpy(ops[i].host, guest, ops[i].len);
			if (tp->fickle)
				memset(guest, 0xff, ops[i].len);
		} else {
			memcpy(guest, ops[i].host, ops[i].len);
		}
	}
	return first;
}

static int copy_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	return vg_mem_map(&of_mem(mem)->regions.mem, addr, len, out);
}

static void copy_unmap(struct vg_mem *mem, struct vg_map *map)
{
	vg_mem_unmap(&of_mem(mem)->regions.mem, map);
}

/* As over grants: one mapping of all, which is to be undone. */
static int copy_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n, enum vg_dir dir,
			 struct vg_map *out, struct vg_backing *b)
{
	struct tp_view *v = of_mem(mem);
	int ret;

	for (unsigned i = 0; i < n; i++) {
		if (is_revoked(v->tp, segs[i].addr, segs[i].len, dir))
			return -EFAULT;
	}
	ret = v->regions.mem.ops->map_long(&v->regions.mem, segs, n, dir, out, b);
	if (ret == 0) {
		*out = (struct vg_map){ .ptr = v, .is_long = true };
		v->tp->long_maps++;
	}
	return ret;
}

static void copy_unmap_one(struct vg_mem *mem, struct vg_map *map)
{
	if (map->is_long)
		of_mem(mem)->tp->long_maps--;
	else
		copy_unmap(mem, map);
}

static const struct vg_mem_ops copy_ops = {
	.copy = copy_copy,
	.map = copy_map,
	.unmap = copy_unmap_one,
	.map_long = copy_map_long,
};

static void *lent_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	return vg_mem_direct(&of_mem(mem)->regions.mem, addr, len, dir);
}

static int lent_share(struct vg_mem *mem, struct vg_shared *out)
{
	struct tp *tp = of_mem(mem)->tp;

	*out = (struct vg_shared){ .fd = tp->memfd, .addr = TP_BASE, .size = TP_MEMORY };
	tp->lent++;
	return 0;
}

static void lent_unshare(struct vg_mem *mem, struct vg_shared *s)
{
	(void)s;
	of_mem(mem)->tp->lent--;
}

static const struct vg_mem_ops lent_ops = {
	.direct = lent_direct,
	.share = lent_share,
	.unshare = lent_unshare,
	.copy = copy_copy,
	.map = copy_map,
	.unmap = copy_unmap_one,
	.map_long = copy_map_long,
};

static void notify(struct vg_port *port, unsigned q)
{
	((struct tp *)port)->notified[q]++;
}

static void config_changed(struct vg_port *port)
{
	((struct tp *)port)->config_changes++;
}

static const struct vg_port_ops port_ops = {
	.name = "test",
	.features = VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_EVENT_IDX) |
		    VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_ACCESS_PLATFORM) |
		    VG_FEATURE(VG_F_RING_PACKED) | VG_FEATURE(VG_F_IN_ORDER) |
		    VG_FEATURE(VG_F_RING_RESET),
	.required = VG_FEATURE(VG_F_VERSION_1),
	.notify = notify,
	.config_changed = config_changed,
};

static void free_memory(struct tp *tp)
{
	drv_mem_flat_fini(&tp->flat);
	for (unsigned i = 0; tp->view && tp->view[i].tp; i++)
		vg_bounce_free(tp->view[i].mem.bounce);
	free(tp->view);
	munmap(tp->memory, TP_MEMORY);
	if (tp->memfd >= 0)
		close(tp->memfd);
	vg_loop_free(tp->loop);
}

static void make_views(struct tp *tp)
{
	tp->view = calloc(tp->dev.n_ctx + 1, sizeof(*tp->view));
	assert_non_null(tp->view);
	for (unsigned i = 0; i < tp->dev.n_ctx; i++) {
		struct tp_view *v = &tp->view[i];

		v->tp = tp;
		v->mem.ops = tp->manner == TP_LENT ? &lent_ops : &copy_ops;
		v->mem.bounce = vg_bounce_new(8u << 20);
		assert_non_null(v->mem.bounce);
		vg_regions_view_init(&v->regions, &tp->regions);
		tp->dev.ctx[i].mem = tp->manner == TP_DIRECT ? &v->regions.mem : &v->mem;
	}
	tp->dev.mem = tp->dev.ctx[0].mem;
}

int tp_try_open(struct tp *tp, enum tp_manner manner, const char *spec, struct vg_err *err)
{
	const struct vg_device_ops *ops;
	struct vg_params params;
	int ret;

	memset(tp, 0, sizeof(*tp));
	tp->manner = manner;
	assert_int_equal(vg_loop_new(64, &tp->loop), 0);
	tp->memfd = manner == TP_LENT ? memfd_create("guest", MFD_CLOEXEC) : -1;
	if (tp->memfd >= 0)
		assert_return_code(ftruncate(tp->memfd, TP_MEMORY), errno);
	tp->memory = mmap(NULL, TP_MEMORY, PROT_READ | PROT_WRITE,
			  tp->memfd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, tp->memfd, 0);
	assert_true(tp->memory != MAP_FAILED);
	assert_int_equal(drv_mem_flat_init(&tp->flat, tp->memory, TP_BASE, TP_MEMORY), 0);
	vg_regions_init(&tp->regions);
	assert_int_equal(vg_regions_add(&tp->regions, &(struct vg_region){ .guest_addr = TP_BASE,
									   .size = TP_MEMORY,
									   .host = tp->memory }),
			 0);
	ret = vg_params_parse(spec, &params, err);
	if (ret == 0) {
		ops = vg_device_of(&params);
		assert_non_null(ops);
		ret = dh_open(&tp->dev, ops, tp->loop, &params, err);
	}
	if (ret < 0) {
		free_memory(tp);
		return ret;
	}
	tp->port.ops = &port_ops;
	tp->dev.port = &tp->port;
	make_views(tp);
	return 0;
}

void tp_open(struct tp *tp, enum tp_manner manner, const char *spec)
{
	struct vg_err err = { "" };

	if (tp_try_open(tp, manner, spec, &err) < 0)
		fail_msg("%s: %s", spec, err.text);
}

void tp_start_queue(struct tp *tp, unsigned q, unsigned size)
{
	struct vg_dev *dev = &tp->dev;
	struct drv_vring_config cfg = {
		.packed = vg_dev_has(dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(dev, VG_F_EVENT_IDX),
		.indirect = vg_dev_has(dev, VG_F_INDIRECT_DESC),
		.in_order = vg_dev_has(dev, VG_F_IN_ORDER),
	};
	uint32_t limit = vg_dev_queue_max(dev, q);

	cfg.size = size < limit ? size : limit;
	assert_int_equal(drv_vring_init(&tp->vr[q], &cfg, &tp->flat.mem), 0);
	assert_int_equal(vg_dev_set_queue(dev, q, cfg.size, tp->vr[q].desc_mem.addr,
					  tp->vr[q].driver_mem.addr, tp->vr[q].device_mem.addr,
					  NULL, NULL),
			 0);
}

void tp_start(struct tp *tp, uint64_t want, unsigned size)
{
	struct vg_dev *dev = &tp->dev;
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	assert_int_equal(dh_status(dev, status), status);
	tp->features = vg_dev_offered(dev) & (want | VG_FEATURE(VG_F_VERSION_1));
	vg_dev_set_features(dev, tp->features);
	status |= VG_STATUS_FEATURES_OK;
	assert_int_equal(dh_status(dev, status), status);
	for (unsigned q = 0; q < dev->n_queues && q < TP_QUEUES; q++)
		tp_start_queue(tp, q, size);
	status |= VG_STATUS_DRIVER_OK;
	assert_int_equal(dh_status(dev, status), status);
}

void tp_stop_queue(struct tp *tp, unsigned q)
{
	dh_reset_queue(&tp->dev, q, NULL);
	drv_vring_fini(&tp->vr[q]);
	memset(&tp->vr[q], 0, sizeof(tp->vr[q]));
}

void tp_reset(struct tp *tp)
{
	assert_int_equal(dh_status(&tp->dev, 0), 0);
	for (unsigned q = 0; q < TP_QUEUES; q++) {
		if (tp->vr[q].mem)
			drv_vring_fini(&tp->vr[q]);
		memset(&tp->vr[q], 0, sizeof(tp->vr[q]));
	}
	tp->n_revoked = 0;
}

void tp_close(struct tp *tp)
{
	tp_reset(tp);
	vg_dev_close(&tp->dev);
	free_memory(tp);
}

struct kick {
	struct vg_call call;
	struct vg_dev *dev;
	unsigned q;
};

static void kicked(struct vg_call *call)
{
	struct kick *k = container_of(call, struct kick, call);

	vg_dev_kick(k->dev, k->q);
	free(k);
}

void tp_kick(struct tp *tp, unsigned q)
{
	if (drv_vring_publish(&tp->vr[q]))
		tp_kick_anyway(tp, q);
}

/* As a port does it: in the queue's context. */
void tp_kick_anyway(struct tp *tp, unsigned q)
{
	struct kick *k = malloc(sizeof(*k));

	assert_non_null(k);
	*k = (struct kick){ .call.fn = kicked, .dev = &tp->dev, .q = q };
	vg_ctx_call(tp->dev.queue[q].ctx, &k->call);
}

void tp_wait(struct tp *tp, unsigned q, struct drv_used *used)
{
	int64_t end = vg_now_ns() + 5000000000LL;
	int ret;

	while ((ret = drv_vring_get(&tp->vr[q], used)) == 0) {
		assert_true(vg_loop_turn(tp->loop, false) >= 0);
		if (vg_now_ns() > end)
			fail_msg("queue %u gave nothing back within 5 s", q);
	}
	assert_int_equal(ret, 1);
}

void tp_settle(struct tp *tp)
{
	for (int quiet = 0; quiet < 5; quiet++) {
		if (vg_loop_turn(tp->loop, false) > 0)
			quiet = 0;
	}
}

void tp_revoke(struct tp *tp, uint64_t addr, size_t len, bool writes_only)
{
	assert_true(tp->n_revoked < TP_REVOKED);
	tp->revoked[tp->n_revoked].addr = addr;
	tp->revoked[tp->n_revoked].len = len;
	tp->revoked[tp->n_revoked++].writes_only = writes_only;
}

struct blk_ctx {
	struct tp *tp;
	unsigned q;
};

static void blk_kick(void *ctx)
{
	struct blk_ctx *c = ctx;

	tp_kick(c->tp, c->q);
}

static int blk_wait(void *ctx, struct drv_used *used)
{
	struct blk_ctx *c = ctx;

	tp_wait(c->tp, c->q, used);
	return 0;
}

void tp_blk(struct tp *tp, unsigned q, struct drv_blk *blk)
{
	static struct blk_ctx ctx[TP_QUEUES];

	ctx[q] = (struct blk_ctx){ .tp = tp, .q = q };
	*blk = (struct drv_blk){
		.vr = &tp->vr[q],
		.mem = &tp->flat.mem,
		.kick = blk_kick,
		.wait = blk_wait,
		.ctx = &ctx[q],
	};
}
