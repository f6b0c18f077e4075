// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_refs.c - grant references for buffers
 *
 * The kernel's allocator of grant references has one lock for the guest, and for
 * consecutive references it may walk the whole table under that lock. So each
 * device keeps idle runs (virtio_grant_runs.h): a few at each processor, which
 * takes no lock that another one wants, and the others together. Only the growth
 * of a queue's use goes to the kernel's allocator.
 *
 * References are the guest's, not a device's: netfront needs them too. After each
 * VG_PERIOD a device gives back what it had no use for, and when the kernel has
 * none left, all devices give back all that is idle; that is expensive, and is not
 * done again for a while (VG_RECLAIM_PAUSE): meanwhile mappings fail, which drivers
 * survive by trying again.
 */
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "virtio_grant.h"
#include "virtio_grant_refs.h"

#define VG_PERIOD	 (15 * HZ)
#define VG_RECLAIM_PAUSE (HZ / 4)

static struct vg_links vg_links;

/* All devices'; the mutex is for those who come and go. */
static DEFINE_MUTEX(vg_refs_mutex);
static DEFINE_SPINLOCK(vg_refs_lock);
static LIST_HEAD(vg_refs_all);
static unsigned long vg_reclaimed;
static u32 vg_table_size;

static void vg_refs_tick(struct work_struct *work);
static DECLARE_DELAYED_WORK(vg_refs_work, vg_refs_tick);

/* Makes the link of a run; false without memory, or beyond the table. */
static bool vg_link_make(grant_ref_t first)
{
	u32 **chunk, *page;

	if (vg_link_ready(&vg_links, first))
		return true;
	if (first / VG_LINKS_CHUNK >= vg_links.chunks)
		return false;
	page = kcalloc(VG_LINKS_CHUNK, sizeof(*page),
		       GFP_ATOMIC | __GFP_NOWARN);
	if (!page)
		return false;
	chunk = &vg_links.chunk[first / VG_LINKS_CHUNK];
	if (cmpxchg(chunk, NULL, page))
		kfree(page);
	return true;
}

/* Gives idle runs of one length back to the kernel until @keep are left. */
static void vg_refs_shrink(struct vg_refs *refs, u32 len, u32 keep)
{
	grant_ref_t first;

	lockdep_assert_held(&refs->lock);
	while (refs->runs.n[len - 1] > keep ||
	       refs->runs.refs > refs->share.limit) {
		first = vg_runs_pop(&refs->runs, &vg_links, len);
		if (!first)
			break;
		gnttab_free_grant_reference_seq(first, len);
	}
}

/* Moves runs of one length from a processor to the shared ones. */
static void vg_front_drain(struct vg_refs *refs, struct vg_front *f, u32 len,
			   u32 runs)
{
	grant_ref_t first;

	lockdep_assert_held(&refs->lock);
	while (runs--) {
		first = vg_runs_pop(&f->runs, &vg_links, len);
		if (!first)
			break;
		vg_share_in(&refs->share, len);
		vg_runs_push(&refs->runs, &vg_links, len, first);
	}
}

/**
 * vg_refs_collect() - take back what lies idle at the processors
 * @refs: a device's references
 *
 * Afterwards only what is in use is out.
 */
static void vg_refs_collect(struct vg_refs *refs)
{
	unsigned int cpu;
	unsigned long flags;
	u32 len;

	for_each_possible_cpu(cpu) {
		struct vg_front *f = per_cpu_ptr(refs->front, cpu);

		spin_lock_irqsave(&f->lock, flags);
		if (f->runs.refs) {
			spin_lock(&refs->lock);
			for (len = 1; len <= VG_RUN_MAX; len++)
				vg_front_drain(refs, f, len,
					       f->runs.n[len - 1]);
			spin_unlock(&refs->lock);
		}
		spin_unlock_irqrestore(&f->lock, flags);
	}
}

static void vg_refs_give_back(struct vg_refs *refs, bool all)
{
	unsigned long flags;
	u32 len;

	vg_refs_collect(refs);
	spin_lock_irqsave(&refs->lock, flags);
	for (len = 1; len <= VG_RUN_MAX; len++)
		vg_refs_shrink(refs, len,
			       all ? 0 : vg_share_worth(&refs->share, len));
	if (!all)
		vg_share_tick(&refs->share);
	spin_unlock_irqrestore(&refs->lock, flags);
}

static void vg_refs_tick(struct work_struct *work)
{
	struct vg_refs *refs;

	mutex_lock(&vg_refs_mutex);
	list_for_each_entry(refs, &vg_refs_all, list)
		vg_refs_give_back(refs, false);
	if (!list_empty(&vg_refs_all))
		schedule_delayed_work(&vg_refs_work, VG_PERIOD);
	mutex_unlock(&vg_refs_mutex);
}

/* The guest has no such run left: in any context. False: not again so soon. */
static bool vg_refs_reclaim(void)
{
	unsigned long flags, last = READ_ONCE(vg_reclaimed);
	struct vg_refs *refs;

	if (last && time_before(jiffies, last + VG_RECLAIM_PAUSE))
		return false;
	spin_lock_irqsave(&vg_refs_lock, flags);
	list_for_each_entry(refs, &vg_refs_all, list)
		vg_refs_give_back(refs, true);
	WRITE_ONCE(vg_reclaimed, jiffies ?: 1);
	spin_unlock_irqrestore(&vg_refs_lock, flags);
	return true;
}

/* An idle run of the device's own; 0: there is none. */
static grant_ref_t vg_refs_idle(struct vg_refs *refs, u32 n)
{
	u32 batch = vg_runs_batch(n);
	struct vg_front *f;
	unsigned long flags;
	grant_ref_t first, more;

	f = raw_cpu_ptr(refs->front);
	spin_lock_irqsave(&f->lock, flags);
	first = vg_runs_pop(&f->runs, &vg_links, n);
	if (!first) {
		spin_lock(&refs->lock);
		first = vg_runs_pop(&refs->runs, &vg_links, n);
		if (first)
			vg_share_out(&refs->share, n);
		while (first && --batch) {
			more = vg_runs_pop(&refs->runs, &vg_links, n);
			if (!more)
				break;
			vg_share_out(&refs->share, n);
			vg_runs_push(&f->runs, &vg_links, n, more);
		}
		spin_unlock(&refs->lock);
	}
	spin_unlock_irqrestore(&f->lock, flags);
	return first;
}

/**
 * vg_refs_get() - get consecutive grant references
 * @refs: the device's
 * @n: how many, at least 1; those longer than VG_RUN_MAX are never kept
 * @first: receives the first one
 *
 * In any context.
 *
 * Return: 0, or a negative errno when the guest has no such run left.
 */
int vg_refs_get(struct vg_refs *refs, unsigned int n, grant_ref_t *first)
{
	unsigned long flags;
	int ret;

	if (n <= VG_RUN_MAX) {
		*first = vg_refs_idle(refs, n);
		if (*first)
			return 0;
	}
	atomic64_inc(&refs->missed);
	ret = gnttab_alloc_grant_reference_seq(n, first);
	/* Perhaps what is idle, here or with another device, makes room. */
	if (ret && vg_refs_reclaim())
		ret = gnttab_alloc_grant_reference_seq(n, first);
	if (ret || n > VG_RUN_MAX)
		return ret;

	spin_lock_irqsave(&refs->lock, flags);
	vg_share_out(&refs->share, n);
	spin_unlock_irqrestore(&refs->lock, flags);
	return 0;
}

/**
 * vg_refs_lost() - a run of the device's is not its own any more
 * @refs: the device's references
 * @n: how many the run had
 */
void vg_refs_lost(struct vg_refs *refs, unsigned int n)
{
	unsigned long flags;

	if (n > VG_RUN_MAX)
		return;
	spin_lock_irqsave(&refs->lock, flags);
	vg_share_in(&refs->share, n);
	spin_unlock_irqrestore(&refs->lock, flags);
}

/**
 * vg_refs_put() - give references back
 * @refs: the device's
 * @n: how many
 * @first: the first one; access has ended for all of them
 *
 * In any context.
 */
void vg_refs_put(struct vg_refs *refs, unsigned int n, grant_ref_t first)
{
	u32 batch = vg_runs_batch(n);
	struct vg_front *f;
	unsigned long flags;

	if (n > VG_RUN_MAX || !vg_link_make(first)) {
		vg_refs_lost(refs, n);
		gnttab_free_grant_reference_seq(first, n);
		return;
	}

	f = raw_cpu_ptr(refs->front);
	spin_lock_irqsave(&f->lock, flags);
	vg_runs_push(&f->runs, &vg_links, n, first);
	if (f->runs.n[n - 1] > 2 * batch) {
		spin_lock(&refs->lock);
		vg_front_drain(refs, f, n, batch);
		vg_refs_shrink(refs, n, vg_share_worth(&refs->share, n));
		spin_unlock(&refs->lock);
	}
	spin_unlock_irqrestore(&f->lock, flags);
}

/* The table's size is known once a device is there. */
static int vg_links_init(void)
{
	/* Entries of version 1 are the smaller ones. */
	u32 size = gnttab_max_grant_frames() * (VIRTIO_GRANT_PAGE_SIZE / 8);

	lockdep_assert_held(&vg_refs_mutex);
	if (vg_links.chunk)
		return 0;
	vg_table_size = size;
	vg_links.chunk = kvcalloc(DIV_ROUND_UP(size, VG_LINKS_CHUNK),
				  sizeof(*vg_links.chunk), GFP_KERNEL);
	if (!vg_links.chunk)
		return -ENOMEM;
	vg_links.chunks = DIV_ROUND_UP(size, VG_LINKS_CHUNK);
	return 0;
}

/**
 * vg_refs_init() - prepare a device's references
 * @refs: zeroed
 *
 * Return: 0 or -ENOMEM; then nothing is to be undone.
 */
int vg_refs_init(struct vg_refs *refs)
{
	unsigned int cpu;
	int ret;

	spin_lock_init(&refs->lock);
	mutex_lock(&vg_refs_mutex);
	ret = vg_links_init();
	refs->front = ret ? NULL : alloc_percpu(struct vg_front);
	if (refs->front) {
		for_each_possible_cpu(cpu)
			spin_lock_init(&per_cpu_ptr(refs->front, cpu)->lock);
		/* A share of the table, for all that a driver may need at once. */
		refs->share.limit = vg_table_size / 2;
		spin_lock_irq(&vg_refs_lock);
		list_add(&refs->list, &vg_refs_all);
		spin_unlock_irq(&vg_refs_lock);
		schedule_delayed_work(&vg_refs_work, VG_PERIOD);
	}
	mutex_unlock(&vg_refs_mutex);
	return refs->front ? 0 : -ENOMEM;
}

/**
 * vg_refs_exit() - undo vg_refs_init()
 * @refs: none is in use any more
 */
void vg_refs_exit(struct vg_refs *refs)
{
	if (!refs->front)
		return;
	mutex_lock(&vg_refs_mutex);
	spin_lock_irq(&vg_refs_lock);
	list_del(&refs->list);
	spin_unlock_irq(&vg_refs_lock);
	mutex_unlock(&vg_refs_mutex);
	vg_refs_give_back(refs, true);
	free_percpu(refs->front);
	refs->front = NULL;
}

/* The module goes; no device is left. */
void vg_refs_fini(void)
{
	u32 i;

	cancel_delayed_work_sync(&vg_refs_work);
	for (i = 0; i < vg_links.chunks; i++)
		kfree(vg_links.chunk[i]);
	kvfree(vg_links.chunk);
}
