// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_size.c - how large a device's pool is (PROTOCOL.md section 6.1)
 *
 * A pool begins with few pages. A buffer that finds no room is granted by itself,
 * and asks for more room once (vg_size_full()): @grow then adds as many pages as
 * there are, up to a limit, which is a module's parameter, and to the share that
 * pools have in the guest's grant table (virtio_grant_pool.c). After each growth
 * @idle looks, every few seconds, how much of the pool was in use at most since it
 * looked last, and gives back arenas without buffers as long as twice as much is
 * left. It stops when the pool is as small as in the beginning, and when nothing
 * was put there meanwhile: an idle guest is not woken.
 *
 * Whoever makes, announces or takes away arenas holds @pool_lock, for as long as a
 * backend may take to answer, so that nobody who ends a dead device waits for it:
 * a dead device's requests fail at once.
 *
 * A backend of an earlier version (feature-pool is 1) hears of arenas only before
 * the device is used. Its devices keep what they begin with.
 */
#include <linux/module.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_grant_bus.h"

#define VG_POOL_IDLE (5 * HZ)

/*
 * What 32 requests of 64 KiB have in flight. On Xen in emulation a disk with such
 * a pool made, of what xen-blkback's made, 1.54 at reads of 4 KiB and 32 out (1.26
 * with copies), 1.39 at writes (0.81), 0.74 at reads of 64 KiB and 8 out (0.36),
 * 0.57 at writes (0.35).
 */
static unsigned int pool_pages = 512;
module_param(pool_pages, uint, 0644);
MODULE_PARM_DESC(pool_pages,
		 "Most pages of a pool, up to 4096; 0: none; default 512");

/*
 * A network card sends and receives all the time, in small buffers that its driver
 * keeps, and a frame that waits for copies holds up the whole connection: it
 * begins with all. tests/bench/xen-net.
 */
static unsigned int net_pool_pages = 512;
module_param(net_pool_pages, uint, 0644);
MODULE_PARM_DESC(net_pool_pages,
		 "Pages of a network card's pool, all from the start; default 512");

/*
 * The pool saves the backend one hypercall for 16 pages, and each request those
 * for its header, status and table; it costs us a copy of each byte when the
 * buffer goes in, and another when it comes back. Reads of 256 KiB, in pieces of
 * this size, were still 1.1 times as many as with copies, writes 1.2 times. So
 * what limits it is room: what finds none is granted by itself, as without a pool.
 */
static unsigned int pool_threshold = VG_DMA_MAX_SIZE;
module_param(pool_threshold, uint, 0644);
MODULE_PARM_DESC(pool_threshold,
		 "Largest buffer for the pool, bytes; default 131072");

/* Slots for two queues of 256 messages, each of 512 bytes at most; and for a disk's
 * 32 requests of 4 KiB.
 */
#define VG_POOL_SMALL 64u

static struct vg_device *vg_of_idle(struct work_struct *work)
{
	return container_of(to_delayed_work(work), struct vg_device, idle);
}

/* How many pages a device's pool may have. */
static unsigned int vg_size_most(u32 id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return net_pool_pages;
	case VIRTIO_ID_CAN:
	case VIRTIO_ID_CONSOLE:
	case VIRTIO_ID_INPUT:
	case VIRTIO_ID_RNG:
		/* What is wanted for disks is more than they have in flight. */
		return min(pool_pages, VG_POOL_SMALL);
	default:
		return pool_pages;
	}
}

/* With how many it begins. An eighth: VG_ARENAS_MAX arenas reach any limit. */
static unsigned int vg_size_least(u32 id, unsigned int most)
{
	if (id == VIRTIO_ID_NET)
		return most;
	return min(most, clamp(most / 8, VG_POOL_SMALL, VG_ARENA_PAGES));
}

/**
 * vg_size_begin() - a fresh pool, if one is wanted
 * @vg: the device; no virtqueue and no buffer is mapped
 * @id: VIRTIO_ID_*
 */
void vg_size_begin(struct vg_device *vg, u32 id)
{
	unsigned int version, got;

	version = xenbus_read_unsigned(vg->xdev->otherend,
				       VIRTIO_GRANT_KEY_FEATURE_POOL, 0);
	mutex_lock(&vg->pool_lock);
	vg->pool_open = false;
	vg->pool_held = false;
	vg->pool_resize = version >= VIRTIO_GRANT_POOL_RESIZE;
	vg->pool_most = version ? vg_size_most(id) : 0;
	vg->pool_least = vg_size_least(id, vg->pool_most);
	got = vg_dma_make_pool(&vg->dma, vg->pool_least, pool_threshold);
	if (got < vg->pool_least)
		dev_info(vg->dev, "pool of %u pages, not of %u\n", got,
			 vg->pool_least);
	mutex_unlock(&vg->pool_lock);
}

/**
 * vg_size_call() - a message about an arena
 * @vg: the device
 * @id: VIRTIO_GRANT_BUS_ADD_POOL or _DROP_POOL
 * @a: the arena
 *
 * Return: 0; the backend's error, positive; or a negative errno: nobody answers.
 */
static int vg_size_call(struct vg_device *vg, u8 id, const struct vg_arena *a)
{
	struct virtio_grant_pool msg = {};
	int ret;

	BUILD_BUG_ON(sizeof(msg) != sizeof(struct virtio_grant_pool_resp));
	msg.first_ref = (__force unsigned int)cpu_to_le32(a->first);
	msg.pages = (__force unsigned int)cpu_to_le32(a->pages);
	ret = vg_bus_call(vg, id, &msg, sizeof(msg));
	if (ret)
		return ret;
	return min(le32_to_cpu((__force __le32)msg.pages), MAX_ERRNO + 0u);
}

/* Tells the backend of the arenas that it does not know; others are freed. */
static void vg_size_tell(struct vg_device *vg)
{
	struct vg_pool *pool = &vg->dma.pool;
	struct vg_arena *a;
	unsigned int i;
	int ret;

	for (i = 0; i < pool->n; i++) {
		a = vg_pool_arena(pool, i);
		if (!a || a->announced)
			continue;
		ret = vg_size_call(vg, VIRTIO_GRANT_BUS_ADD_POOL, a);
		/* Later it means that this is as large as it gets. */
		if (ret > 0 && !vg->pool_open)
			dev_info(vg->dev,
				 "backend takes no pool of %u pages: %d\n",
				 a->pages, ret);
		WRITE_ONCE(a->announced, !ret);
	}
	vg_pool_trim(pool);
}

/**
 * vg_size_announce() - tell the backend of the pool
 * @vg: the device; a reset has made the backend forget it
 */
void vg_size_announce(struct vg_device *vg)
{
	struct vg_pool *pool = &vg->dma.pool;
	struct vg_arena *a;
	unsigned int i;

	mutex_lock(&vg->pool_lock);
	for (i = 0; i < pool->n; i++) {
		a = vg_pool_arena(pool, i);
		if (a)
			WRITE_ONCE(a->announced, false);
	}
	vg_size_tell(vg);
	vg->pool_open = vg->pool_resize;
	WRITE_ONCE(vg->dma.asked, !vg->pool_open);
	mutex_unlock(&vg->pool_lock);
}

/**
 * vg_size_hold() - a suspend is under way, or did not come to pass
 * @vg: the device
 * @held: let no arenas come and go
 */
void vg_size_hold(struct vg_device *vg, bool held)
{
	mutex_lock(&vg->pool_lock);
	vg->pool_held = held;
	WRITE_ONCE(vg->dma.asked, held || !vg->pool_open);
	mutex_unlock(&vg->pool_lock);
}

/**
 * vg_size_end() - take the pools back
 * @vg: the device; the backend has let go, or never will
 */
void vg_size_end(struct vg_device *vg)
{
	mutex_lock(&vg->pool_lock);
	vg->pool_open = false;
	WRITE_ONCE(vg->dma.asked, true);
	vg_dma_disconnect(&vg->dma);
	mutex_unlock(&vg->pool_lock);
}

/* A buffer found no room. In any context. */
void vg_size_full(struct vg_dma *dma)
{
	struct vg_device *vg = container_of(dma, struct vg_device, dma);

	queue_work(vg_workqueue, &vg->grow);
}

static void vg_grow_work(struct work_struct *work)
{
	struct vg_device *vg = container_of(work, struct vg_device, grow);
	struct vg_pool *pool = &vg->dma.pool;
	unsigned int had;

	mutex_lock(&vg->pool_lock);
	had = pool->pages;
	if (!vg->pool_open || vg->pool_held)
		goto out;
	if (had < vg->pool_most) {
		vg_pool_make(pool, min(vg->pool_most - had,
				       clamp(had, VG_ARENA_PAGES_MIN,
					     VG_ARENA_PAGES)));
		vg_size_tell(vg);
	}
	/* Where there is no more, @idle lets it be asked for again. */
	if (pool->pages > had)
		WRITE_ONCE(vg->dma.asked, false);
	queue_delayed_work(vg_workqueue, &vg->idle, VG_POOL_IDLE);
out:
	mutex_unlock(&vg->pool_lock);
}

/**
 * vg_size_give_back() - give an arena back, if the backend lets go of it
 * @vg: the device
 * @a: from vg_pool_spare()
 *
 * A worker of an earlier version, which took over from one that wrote
 * feature-pool, would leave DROP_POOL unanswered, and the device would be given
 * up for that. It refuses to hear of an arena while the device runs, while any
 * other says once more that it has this one.
 *
 * Return: whether that was done.
 */
static bool vg_size_give_back(struct vg_device *vg, struct vg_arena *a)
{
	int ret = vg_size_call(vg, VIRTIO_GRANT_BUS_ADD_POOL, a);

	if (!ret)
		ret = vg_size_call(vg, VIRTIO_GRANT_BUS_DROP_POOL, a);
	if (!ret)
		vg_pool_drop(&vg->dma.pool, a);
	else if (ret > 0)
		WRITE_ONCE(a->announced, true); /* it is in use as before */
	return !ret;
}

static void vg_idle_work(struct work_struct *work)
{
	struct vg_device *vg = vg_of_idle(work);
	struct vg_pool *pool = &vg->dma.pool;
	struct vg_arena *a;
	unsigned int need, keep;
	u64 seen;

	mutex_lock(&vg->pool_lock);
	if (!vg->pool_open || vg->pool_held)
		goto out;
	WRITE_ONCE(vg->dma.asked, false);
	seen = vg_sum(&vg->dma.counts->pooled);
	need = vg_pool_need(pool);
	/* Buffers have left, at most: what counts is what is there. */
	if (seen == vg->pool_seen)
		need = vg_pool_need(pool);
	keep = max(vg->pool_least, 2 * need);
	do
		a = vg_pool_spare(pool, keep);
	while (a && vg_size_give_back(vg, a));
	if (pool->pages > vg->pool_least && seen != vg->pool_seen)
		queue_delayed_work(vg_workqueue, &vg->idle, VG_POOL_IDLE);
	vg->pool_seen = seen;
out:
	mutex_unlock(&vg->pool_lock);
}

/** vg_size_init() - prepare what is here of a device */
void vg_size_init(struct vg_device *vg)
{
	mutex_init(&vg->pool_lock);
	INIT_WORK(&vg->grow, vg_grow_work);
	INIT_DELAYED_WORK(&vg->idle, vg_idle_work);
}

/** vg_size_exit() - no work of it runs any more; after vg_size_end() */
void vg_size_exit(struct vg_device *vg)
{
	cancel_work_sync(&vg->grow);
	cancel_delayed_work_sync(&vg->idle);
}
