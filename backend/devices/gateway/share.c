// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * share.c - memory of the guest's that the daemon has, too: what lies there is not copied
 *
 *	guest's ring --pop--> descriptors of ours, of the guest's pages --add--> daemon
 *
 * A guest keeps buffers in memory that it has announced (the pool of PROTOCOL.md, section 6.1), and that is
 * mapped for as long as its device is used. A daemon that can be told of memory at any time
 * (CONFIGURE_MEM_SLOTS), and that reads tables of descriptors, is lent such memory when the first buffer is
 * found there: it maps the same pages, by a descriptor of the port's (vg_mem_ops.share). From its answer on
 * each segment that lies there is named to it by its guest address, and neither read nor written by us.
 * Whatever else there is, of the same request or another, is copied as before: nothing has to be agreed upon
 * with the guest, and a buffer that is granted by itself does no harm.
 *
 * The rings stay ours, and so do the tables: the daemon sees no descriptor that a guest wrote, nor an address
 * that was not found to be in memory that it has. Segments shorter than GW_DIRECT_LEAST are copied all the
 * same: headers, which a guest would change while the daemon makes up its mind, and statuses.
 *
 * Who was lent grants holds them until he unmaps them. So before the last queue has stopped, after which the
 * guest may take its memory back, he is told to (REM_MEM_REG), and his answer is waited for; a worker that
 * dies leaves that to his library, which unmaps all when his front-end has hung up and nothing is in flight.
 * A daemon that is lost and has not died holds them until it does: until then Xen lets nobody use these
 * pages for something else, and the guest's kernel, which sees that they are in use, does not either.
 *
 * Memory that is lent is held: DROP_POOL of it is answered with EBUSY (PROTOCOL.md, section 6.1).
 *
 * What a daemon may do with the descriptor follows from how it was started (worker/sandbox.h,
 * vg_sandbox_no_grants()), so that only those that vgrantd starts are lent anything. One that refuses is lent
 * nothing more; one that hangs up when it is told of such memory would do so again and again: that it was told,
 * and has not answered, is known to the next worker (dev->saved), which lends nothing.
 */
#include <string.h>

#include "backend/devices/gateway/int.h"

void gw_share_greeted(struct gateway *gw, uint64_t slots)
{
	const struct gw_link *l = &gw->link;

	gw->n_shares = 0;
	if (l->protocol & VG_FEATURE(VG_VU_PF_REPLY_ACK) &&
	    l->features & VG_FEATURE(VG_F_INDIRECT_DESC) && slots > 1)
		gw->n_shares = slots - 1 < GW_SHARES ? (unsigned)slots - 1 : GW_SHARES;
	gw->lends = gw->n_shares > 0;
}

/* The share that a range lies in, in any state; NULL: there is none. */
static const struct gw_share *find(const struct gateway *gw, uint64_t addr, uint32_t len)
{
	for (unsigned i = 0; i < gw->n_shares; i++) {
		const struct gw_share *s = &gw->share[i];

		if (s->state != GW_SHARE_NONE && addr >= s->what.addr &&
		    addr - s->what.addr < s->what.size &&
		    len <= s->what.size - (addr - s->what.addr))
			return s;
	}
	return NULL;
}

/* That the daemon is being told, or not any more, for who comes next. */
static void remember(struct gateway *gw, bool told)
{
	uint8_t before = gw->dev->saved[0];

	gw->dev->saved[0] = told ? before | GW_SAVED_TOLD : before & (uint8_t)~GW_SAVED_TOLD;
	if (gw->dev->saved[0] != before)
		vg_dev_save(gw->dev);
}

/* Memory that the daemon has not. */
static void lend(struct gateway *gw, struct vg_mem *mem, const struct vg_seg *seg, enum vg_dir dir)
{
	unsigned i = 0;

	while (i < gw->n_shares && gw->share[i].state != GW_SHARE_NONE)
		i++;
	if (i == gw->n_shares || gw_is_lost(&gw->link) ||
	    !vg_mem_direct(mem, seg->addr, seg->len, dir))
		return;
	if (!mem->ops->share || mem->ops->share(mem, &gw->share[i].what) < 0) {
		gw->lends = false; /* nor the next time */
		return;
	}
	gw->share[i].state = GW_SHARE_ASKED;
	remember(gw, true);
	gw_say_share(gw, i, false);
}

uint64_t gw_share_segments(struct gateway *gw, struct vg_mem *mem, const struct vg_chain *c,
			   uint64_t *bytes)
{
	unsigned n = (unsigned)c->n_out + c->n_in;
	uint64_t bits = 0;

	*bytes = 0;
	if (!gw->lends || n > GW_DIRECT)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		const struct vg_seg *seg = &c->segs[i];
		const struct gw_share *s;

		if (seg->len < GW_DIRECT_LEAST)
			continue;
		s = find(gw, seg->addr, seg->len);
		if (!s) {
			lend(gw, mem, seg, i < c->n_out ? VG_FROM_GUEST : VG_TO_GUEST);
		} else if (s->state == GW_SHARE_THERE) {
			bits |= 1ULL << i;
			*bytes += seg->len;
		}
	}
	return bits;
}

static void forget(struct gateway *gw, unsigned i)
{
	struct vg_mem *mem = gw->dev->mem;

	mem->ops->unshare(mem, &gw->share[i].what);
	gw->share[i].state = GW_SHARE_NONE;
}

static unsigned in_state(const struct gateway *gw, enum gw_share_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < gw->n_shares; i++)
		n += gw->share[i].state == state;
	return n;
}

void gw_share_added(struct gateway *gw, unsigned i, bool refused)
{
	struct gw_share *s = &gw->share[i];

	if (refused) {
		gw->lends = false;
		if (s->state == GW_SHARE_ASKED)
			forget(gw, i);
	} else if (s->state == GW_SHARE_ASKED) {
		s->state = GW_SHARE_THERE;
	}
	if (in_state(gw, GW_SHARE_ASKED) == 0)
		remember(gw, false);
}

void gw_share_removed(struct gateway *gw, unsigned i)
{
	forget(gw, i);
	for (unsigned q = 0; q < gw->dev->n_queues && in_state(gw, GW_SHARE_LEAVES) == 0; q++)
		gw_queue_part(&gw->queue[q]);
}

bool gw_share_end(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->n_shares && !gw_is_lost(&gw->link); i++) {
		struct gw_share *s = &gw->share[i];

		if (s->state != GW_SHARE_ASKED && s->state != GW_SHARE_THERE)
			continue;
		/* Answers come in order: what it was told of is there by then, or never was. */
		s->state = GW_SHARE_LEAVES;
		gw_say_share(gw, i, true);
	}
	return in_state(gw, GW_SHARE_LEAVES) > 0;
}

void gw_share_lost(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->n_shares; i++) {
		if (gw->share[i].state != GW_SHARE_NONE)
			forget(gw, i);
	}
	for (unsigned q = 0; q < gw->dev->n_queues; q++)
		gw_queue_part(&gw->queue[q]);
}
