/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_runs.h - idle runs of grant references: the bookkeeping
 *
 * A run is a number of consecutive grant references, named by its first one. A
 * buffer needs a run as long as it has pages, for as long as it is mapped, and
 * buffers come in few lengths, over and over. So idle runs are kept on a list for
 * each length. A list needs no memory of its own: the links are an array with an
 * entry for each reference, and an idle run uses that of its first one.
 *
 * How much is kept follows what was needed: of each length as many runs as, within
 * the last two periods, were out at the same time, less those that are out. A queue
 * that drains and fills again finds all that it used before, though with buffers
 * of many lengths no two fillings are alike; a device that falls idle gives all
 * back within two periods.
 *
 * Nothing here needs a kernel, so that tests/unit/test_module.c can include it.
 * Who includes it has u32 and bool, and does the locking.
 */
#ifndef VIRTIO_GRANT_RUNS_H
#define VIRTIO_GRANT_RUNS_H

/* Pages that a buffer of the longest kind touches: 32, and one when it is askew. */
#define VG_RUN_MAX 33

/* References whose links are in one chunk: a page of links. */
#define VG_LINKS_CHUNK 1024u

/* References that move at once between a processor's runs and the shared ones. */
#define VG_BATCH_REFS 32u

/**
 * struct vg_links - which run comes after which
 * @chunk: arrays of VG_LINKS_CHUNK links; NULL where none was needed
 * @chunks: how many there can be
 */
struct vg_links {
	u32 **chunk;
	u32 chunks;
};

/* Reference 0 is Xen's own and in no run: it ends a list. */
static inline u32 *vg_link(const struct vg_links *links, u32 first)
{
	return &links->chunk[first / VG_LINKS_CHUNK][first % VG_LINKS_CHUNK];
}

static inline bool vg_link_ready(const struct vg_links *links, u32 first)
{
	return first / VG_LINKS_CHUNK < links->chunks &&
	       links->chunk[first / VG_LINKS_CHUNK];
}

/**
 * struct vg_runs - idle runs
 * @head: first run of the list of each length; [0] has those of one reference
 * @n: runs on each list
 * @refs: references in all of them
 */
struct vg_runs {
	u32 head[VG_RUN_MAX];
	u32 n[VG_RUN_MAX];
	u32 refs;
};

/* Adds a run of @len references, 1 to VG_RUN_MAX; its link is there. */
static inline void vg_runs_push(struct vg_runs *r, const struct vg_links *links,
				u32 len, u32 first)
{
	*vg_link(links, first) = r->head[len - 1];
	r->head[len - 1] = first;
	r->n[len - 1]++;
	r->refs += len;
}

/* Takes a run of @len references; 0: there is none. */
static inline u32 vg_runs_pop(struct vg_runs *r, const struct vg_links *links,
			      u32 len)
{
	u32 first = r->head[len - 1];

	if (!first)
		return 0;
	r->head[len - 1] = *vg_link(links, first);
	r->n[len - 1]--;
	r->refs -= len;
	return first;
}

/* How many runs of a length move at once. */
static inline u32 vg_runs_batch(u32 len)
{
	return len < VG_BATCH_REFS ? VG_BATCH_REFS / len : 1;
}

/**
 * struct vg_share - how many runs a device may hold, for each length
 * @out: in use, or with a processor
 * @peak: most that were out in this period
 * @last: most that were out in the last one
 * @limit: no more references than that are kept idle, whatever was needed
 */
struct vg_share {
	u32 out[VG_RUN_MAX];
	u32 peak[VG_RUN_MAX];
	u32 last[VG_RUN_MAX];
	u32 limit;
};

/* A run leaves the shared ones, or the kernel's table. */
static inline void vg_share_out(struct vg_share *s, u32 len)
{
	if (++s->out[len - 1] > s->peak[len - 1])
		s->peak[len - 1] = s->out[len - 1];
}

/* It comes back there. */
static inline void vg_share_in(struct vg_share *s, u32 len)
{
	s->out[len - 1]--;
}

/* How many idle runs of a length are worth keeping. */
static inline u32 vg_share_worth(const struct vg_share *s, u32 len)
{
	u32 peak = s->peak[len - 1], last = s->last[len - 1];
	u32 most = peak > last ? peak : last;

	return most > s->out[len - 1] ? most - s->out[len - 1] : 0;
}

/* A period is over. */
static inline void vg_share_tick(struct vg_share *s)
{
	u32 i;

	for (i = 0; i < VG_RUN_MAX; i++) {
		s->last[i] = s->peak[i];
		s->peak[i] = s->out[i];
	}
}

#endif /* VIRTIO_GRANT_RUNS_H */
