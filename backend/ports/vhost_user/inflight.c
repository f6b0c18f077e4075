// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inflight.c - the in-flight record, which the front-end keeps for us
 *
 * Spec, "Inflight I/O tracking". GET_INFLIGHT_FD makes a fresh record in memory
 * of ours; the front-end maps it, gives it back with SET_INFLIGHT_FD, and does so
 * again after we died and were started anew. What is in it is the engine's
 * (resume.c); here is where it lies:
 *
 *	queue 0 | queue 1 | ... | trailer
 *
 * The trailer is ours: it tells a region that we laid out from one of another
 * back-end's making, and holds dev->saved, what the driver has set in the
 * device. A successor would otherwise begin with a write-back cache under a
 * driver that had switched to write-through.
 *
 * Every queue gets room for a record of either ring, so that a front-end may ask
 * before it has set its features. In a region without trailer the queues lie as
 * the specification suggests, each rounded up to 64 bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/ports/vhost_user/int.h"

#define TRAILER_MAGIC 0x31764c4941525456ULL /* "VTRAILv1" */

enum {
	VERSION_AT = 8,
	/* offset of the version in both records */ ALIGN = 64,
	SAVED_LEAST = 64,
	SAVED_MOST = 65536
};

struct trailer {
	uint64_t magic;
	uint32_t queues;
	uint32_t queue_size;
	uint8_t saved[SAVED_LEAST]; /* or more: see trailer_size() */
};

static size_t trailer_size(const struct vg_vu *vu)
{
	size_t more = vu->dev->saved_size > SAVED_LEAST ? vu->dev->saved_size - SAVED_LEAST : 0;

	return sizeof(struct trailer) + ((more + 7) & ~(size_t)7);
}

static size_t stride_of(uint32_t queue_size)
{
	return vg_vq_inflight_size(queue_size, true);
}

static size_t total_of(const struct vg_vu *vu, unsigned queues, uint32_t queue_size)
{
	return queues * stride_of(queue_size) + trailer_size(vu);
}

int vg_vu_inflight_new(struct vg_vu *vu)
{
	/* What the device has is not known yet. Memory is what is used of it. */
	vu->inflight_max = VG_MAX_QUEUES * stride_of(VG_VQ_SIZE_MAX) + SAVED_MOST;
	vu->inflight_fd = memfd_create("vgrant-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vu->inflight_fd < 0)
		return -errno;
	if (ftruncate(vu->inflight_fd, (off_t)vu->inflight_max) < 0 ||
	    fcntl(vu->inflight_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

void vg_vu_inflight_drop(struct vg_vu *vu)
{
	struct vg_vu_inflight_map *im = &vu->inflight;

	if (!im->base)
		return;
	vg_sigbus_unguard(&im->guard);
	munmap(im->base, im->len);
	memset(im, 0, sizeof(*im));
}

void vg_vu_inflight_free(struct vg_vu *vu)
{
	vg_vu_inflight_drop(vu);
	if (vu->inflight_fd >= 0)
		close(vu->inflight_fd);
	vu->inflight_fd = -1;
}

static uint32_t largest(const struct vg_dev *dev)
{
	uint32_t max = 0;

	for (unsigned q = 0; q < dev->n_queues; q++) {
		if (vg_dev_queue_max(dev, q) > max)
			max = vg_dev_queue_max(dev, q);
	}
	return max;
}

int vg_vu_inflight_get(struct vg_vu *vu, struct vg_vu_inflight *d, struct vg_err *err)
{
	struct trailer t = { .magic = TRAILER_MAGIC };
	size_t len;
	uint8_t *p;

	if (d->num_queues == 0 || d->num_queues > vu->dev->n_queues || d->queue_size == 0 ||
	    d->queue_size > largest(vu->dev))
		return vg_fail(err, -EINVAL,
			       "an in-flight record for %u queues of %u: we have %u of at most %u",
			       d->num_queues, d->queue_size, vu->dev->n_queues, largest(vu->dev));
	len = total_of(vu, d->num_queues, d->queue_size);
	/* Zeros it. A region of an earlier time is forgotten by front-ends that ask for another. */
	if (fallocate(vu->inflight_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)vu->inflight_max) < 0)
		return vg_fail(err, -errno, "the in-flight record cannot be cleared: %s",
			       strerror(errno));
	t.queues = d->num_queues;
	t.queue_size = d->queue_size;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, vu->inflight_fd, 0);
	if (p == MAP_FAILED)
		return vg_fail(err, -errno, "the in-flight record cannot be written: %s",
			       strerror(errno));
	memcpy(p + len - trailer_size(vu), &t, sizeof(t));
	memcpy(p + len - trailer_size(vu) + offsetof(struct trailer, saved), vu->dev->saved,
	       vu->dev->saved_size);
	munmap(p, len);
	d->mmap_size = len;
	d->mmap_offset = 0;
	return 0;
}

/* Find our trailer at the end. Its numbers come from memory that others share. */
static void find_trailer(const struct vg_vu *vu, struct vg_vu_inflight_map *im, uint64_t size)
{
	struct trailer t;
	size_t at = size - trailer_size(vu);

	if (size < trailer_size(vu) || (uintptr_t)(im->first + at) % _Alignof(struct trailer))
		return;
	memcpy(&t, im->first + at, sizeof(t));
	if (t.magic != TRAILER_MAGIC || t.queue_size == 0 || t.queue_size > VG_VQ_SIZE_MAX ||
	    t.queues == 0 || t.queues > VG_MAX_QUEUES ||
	    total_of(vu, t.queues, t.queue_size) != size)
		return;
	im->trailer = im->first + at;
	im->queues = t.queues;
	im->queue_size = t.queue_size;
	im->stride = stride_of(t.queue_size);
}

int vg_vu_inflight_set(struct vg_vu *vu, const struct vg_vu_inflight *d, int fd, struct vg_err *err)
{
	struct vg_vu_inflight_map im = { .queues = d->num_queues, .queue_size = d->queue_size };
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t skip = d->mmap_offset & (page - 1);
	bool packed = vu->features & VG_FEATURE(VG_F_RING_PACKED);
	struct stat st;
	void *p;

	if (d->num_queues == 0 || d->queue_size == 0 || d->mmap_size == 0 ||
	    d->mmap_offset + d->mmap_size < d->mmap_offset || d->mmap_size > (1ull << 32))
		return vg_fail(err, -EINVAL, "in-flight record: %llu bytes for %u queues of %u",
			       (unsigned long long)d->mmap_size, d->num_queues, d->queue_size);
	if (fstat(fd, &st) < 0 ||
	    (S_ISREG(st.st_mode) && d->mmap_offset + d->mmap_size > (uint64_t)st.st_size))
		return vg_fail(err, -EINVAL,
			       "in-flight record: its file is shorter than it claims");
	im.len = (size_t)((d->mmap_size + skip + page - 1) & ~(page - 1));
	p = mmap(NULL, im.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 (off_t)(d->mmap_offset - skip));
	if (p == MAP_FAILED)
		return vg_fail(err, -errno, "the in-flight record cannot be mapped: %s",
			       strerror(errno));
	im.base = p;
	im.first = im.base + skip;
	im.stride = (vg_vq_inflight_size(im.queue_size, packed) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	find_trailer(vu, &im, d->mmap_size);
	if (im.queues * im.stride > d->mmap_size || skip % 8) {
		munmap(p, im.len);
		return vg_fail(err, -EINVAL,
			       "in-flight record: %llu bytes do not hold %u queues of %u",
			       (unsigned long long)d->mmap_size, im.queues, im.queue_size);
	}
	vg_vu_inflight_drop(vu);
	vu->inflight = im;
	vg_sigbus_guard(&vu->inflight.guard, im.base, im.len);
	return 0;
}

void *vg_vu_inflight_of(struct vg_vu *vu, unsigned q, uint32_t num)
{
	struct vg_vu_inflight_map *im = &vu->inflight;

	if (!im->base || q >= im->queues || num > im->queue_size)
		return NULL;
	return im->first + q * im->stride;
}

bool vg_vu_inflight_fresh(const void *record)
{
	return *(const volatile uint16_t *)((const uint8_t *)record + VERSION_AT) == 0;
}

/* The version first: killed half-way, the record is a fresh one with rubbish that nobody reads. */
void vg_vu_inflight_wipe(struct vg_vu *vu, unsigned q)
{
	uint8_t *rec = vg_vu_inflight_of(vu, q, 0);

	if (!rec)
		return;
	*(volatile uint16_t *)(rec + VERSION_AT) = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	memset(rec, 0, vu->inflight.stride);
}

/* Not before the device has started: what a predecessor saved is still to be taken up then. */
void vg_vu_inflight_save(struct vg_vu *vu)
{
	if (vu->inflight.trailer && vu->dev->started)
		memcpy(vu->inflight.trailer + offsetof(struct trailer, saved), vu->dev->saved,
		       vu->dev->saved_size);
}

bool vg_vu_inflight_saved(struct vg_vu *vu, uint8_t *saved)
{
	if (!vu->inflight.trailer)
		return false;
	memcpy(saved, vu->inflight.trailer + offsetof(struct trailer, saved), vu->dev->saved_size);
	return true;
}
