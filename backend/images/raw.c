// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * raw.c - reading and writing a raw image, see image.h
 *
 * Each request is a little machine that gives the loop one operation after the
 * other; go_on() looks at what is left and chooses the next:
 *
 *	plain	 the caller's buffers, as they are. All there is where the file is not
 *		 opened with O_DIRECT, and nearly all where it is.
 *	bounced	 in slices, by way of a buffer of ours: what O_DIRECT does not take (an
 *		 odd address, a part of a block), and zeroes that must be written. A part
 *		 of a block is read, changed and written, and while that goes on nobody
 *		 else writes the block (ranges.c).
 *	zeroes	 PUNCH_HOLE if space may be given back, or ZERO_RANGE, or written: the
 *		 first that the file can. Fallocate knows no FUA: fdatasync follows. *	zones	 of a host-managed device. What goes to one zone goes there one after the
 *		 other (ranges.c), so that an append is a write to where the device says
 *		 that its write pointer is.
 *	discard	 PUNCH_HOLE in a file. On a block device that would be write-zeroes, which
 *		 thin volumes lack: URING_CMD (Linux 6.12), or BLKDISCARD in steps of one
 *		 request of the device, between which the loop turns.
 *
 * Reads of a read-only image with O_DIRECT are bounced, too, where the buffer is the
 * guest's own memory. Readers share their lock, so that nothing keeps a successor
 * from starting while the disk still writes to where a dead worker told it to; that
 * must be memory which nobody else has. A writer's lock keeps the successor out.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/images/raw.h"

/* Which fallocate(2) wants for a hole. Zeroes are written inside the image, where it makes no
 * difference; without it RLIMIT_FSIZE has a say (worker/sandbox.c). */
enum { PUNCH_MODE = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

/* Bytes that are erased in one go: flash erases some hundred MiB a second. */
#define ERASE_STEP (32ull << 20)

enum step {
	PLAIN,
	BOUNCE_READ, /* of a read, or of what surrounds a write */
	BOUNCE_WRITE,
	SYNC,
	PUNCH,
	ZERO_RANGE,
	RING_DISCARD,
	FILE_DISCARD,
	ZONE_COMPARE,
};

/* What a request has of ours, in priv. */
struct raw_req {
	struct vg_io io;
	struct vg_image_req *r;
	struct raw_req *next; /* waits for a bounce buffer */
	enum step step;
	bool bounced;  /* plain was tried, or must not be */
	bool written;  /* zeroes: by writing */
	bool placed;   /* an append that has its offset */
	bool compares; /* a write to a zone that may have been done already, by a worker that died */
	bool waits;    /* for a bounce buffer, or its range: the kernel has nothing of it */
	bool cancelled;
	uint64_t done; /* bytes of the request that are through */
	/* the slice: bytes that go to or from the buffer, and where these lie in it */
	void *buf;
	struct iovec iov;
	uint64_t from, span; /* of the image: what is read or written */
	uint64_t skip, len;
	uint64_t got; /* of span */
	struct vg_range range;
	bool in_range;
	struct vg_deferred again; /* BLKDISCARD's next step */
};

_Static_assert(sizeof(struct raw_req) <= sizeof(((struct vg_image_req *)0)->priv), "fits");

/* A channel's bounce buffers. */
struct raw_channel {
	void *free[VG_LIMIT_IMAGE_BOUNCES];
	unsigned n_free, n_out;
	struct raw_req *waiting, **waiting_tail;
};

static void go_on(struct raw_req *q);

static struct vg_raw *raw_of(const struct raw_req *q)
{
	return container_of(q->r->ch->img, struct vg_raw, image);
}

static struct vg_loop *loop_of(const struct raw_req *q)
{
	return q->r->ch->loop;
}

/* ---- bounce buffers ----------------------------------------------------- */

/* Return: true with q->buf; false: go_on() is called when there is one, or *error says why not. */
static bool get_buffer(struct raw_req *q, int *error)
{
	struct raw_channel *rc = q->r->ch->priv;

	*error = 0;
	if (q->buf)
		return true;
	if (rc->n_free) {
		q->buf = rc->free[--rc->n_free];
	} else if (rc->n_out < VG_LIMIT_IMAGE_BOUNCES) {
		q->buf = aligned_alloc(65536, VG_LIMIT_IMAGE_BOUNCE_BYTES);
		if (!q->buf && !rc->n_out) {
			*error = -ENOMEM;
			return false;
		}
	}
	if (q->buf) {
		rc->n_out++;
		return true;
	}
	q->waits = true;
	q->next = NULL;
	*rc->waiting_tail = q;
	rc->waiting_tail = &q->next;
	return false;
}

static void put_buffer(struct raw_req *q)
{
	struct raw_channel *rc = q->r->ch->priv;
	struct raw_req *w = rc->waiting;

	if (!q->buf)
		return;
	if (w) {
		rc->waiting = w->next;
		if (!rc->waiting)
			rc->waiting_tail = &rc->waiting;
		w->buf = q->buf;
		w->waits = false;
		q->buf = NULL;
		go_on(w);
		return;
	}
	rc->free[rc->n_free++] = q->buf;
	rc->n_out--;
	q->buf = NULL;
}

static int channel_open(struct vg_image_channel *ch)
{
	struct raw_channel *rc = calloc(1, sizeof(*rc));

	if (!rc)
		return -ENOMEM;
	rc->waiting_tail = &rc->waiting;
	ch->priv = rc;
	return 0;
}

static void channel_close(struct vg_image_channel *ch)
{
	struct raw_channel *rc = ch->priv;

	while (rc->n_free)
		free(rc->free[--rc->n_free]);
	free(rc);
}

/* ---- one operation after the other -------------------------------------- */

/* The kernel says EIO to a write that is not at the write pointer: is it that? */
static int zone_error(const struct raw_req *q, int error)
{
	const struct vg_raw *raw = raw_of(q);
	struct vg_image_zone z;

	if (error == -EIO && raw->image.limits.zones.size && q->r->op == VG_IMAGE_WRITE &&
	    vg_zones_report(raw->fd, q->r->offset, &z, 1) == 1 && z.type != VG_ZONE_CONVENTIONAL &&
	    z.wp != q->r->offset + q->done)
		return -ESPIPE;
	return error;
}

static void finish(struct raw_req *q, int error)
{
	struct vg_raw *raw = raw_of(q);

	if (error)
		error = zone_error(q, error);

	if (q->in_range)
		vg_range_leave(&raw->ranges, &q->range);
	q->in_range = false;
	put_buffer(q);
	vg_image_done(q->r, error);
}

static int fua(const struct raw_req *q)
{
	return q->r->flags & VG_IMAGE_FUA ? RWF_DSYNC : 0;
}

/* The first @n bytes of the caller's buffers are through. */
static void advance(struct vg_image_req *r, size_t n)
{
	while (n) {
		size_t step = n < r->iov->iov_len ? n : r->iov->iov_len;

		r->iov->iov_base = (char *)r->iov->iov_base + step;
		r->iov->iov_len -= step;
		n -= step;
		if (r->iov->iov_len == 0) {
			r->iov++;
			r->niov--;
		}
	}
}

/* @len bytes between the caller's buffers and @buf; they are used up. */
static void copy(struct vg_image_req *r, char *buf, size_t len, bool to_caller)
{
	while (len) {
		size_t n = len < r->iov->iov_len ? len : r->iov->iov_len;

		if (to_caller)
			memcpy(r->iov->iov_base, buf, n);
		else
			memcpy(buf, r->iov->iov_base, n);
		buf += n;
		len -= n;
		advance(r, n);
	}
}

/* Whether the disk takes what is left as it is. */
static bool plain(const struct raw_req *q)
{
	const struct vg_image_req *r = q->r;
	const struct vg_raw *raw = raw_of(q);
	uint64_t offset = r->offset + q->done;

	if (!raw->direct)
		return true;
	if (q->bounced || (offset | r->len) & (raw->offset_align - 1))
		return false;
	for (unsigned i = 0; i < r->niov; i++) {
		if ((uintptr_t)r->iov[i].iov_base & (raw->mem_align - 1) ||
		    r->iov[i].iov_len & (raw->offset_align - 1))
			return false;
	}
	return true;
}

static void go_plain(struct raw_req *q)
{
	struct vg_image_req *r = q->r;
	int fd = raw_of(q)->fd;

	q->step = PLAIN;
	if (r->op == VG_IMAGE_READ)
		vg_loop_readv(loop_of(q), &q->io, fd, r->iov, r->niov, r->offset + q->done);
	else
		vg_loop_writev(loop_of(q), &q->io, fd, r->iov, r->niov, r->offset + q->done,
			       fua(q));
}

/* What is left of the span is read, or written. */
static void go_span(struct raw_req *q, enum step step)
{
	int fd = raw_of(q)->fd;

	q->step = step;
	q->iov = (struct iovec){ (char *)q->buf + q->got, q->span - q->got };
	if (step == BOUNCE_READ)
		vg_loop_readv(loop_of(q), &q->io, fd, &q->iov, 1, q->from + q->got);
	else
		vg_loop_writev(loop_of(q), &q->io, fd, &q->iov, 1, q->from + q->got, fua(q));
}

static void go_write_span(struct raw_req *q)
{
	if (q->r->op == VG_IMAGE_ZEROES)
		memset((char *)q->buf + q->skip, 0, q->len);
	else
		copy(q->r, (char *)q->buf + q->skip, q->len, false);
	q->got = 0;
	go_span(q, BOUNCE_WRITE);
}

static void go_bounced(struct raw_req *q)
{
	uint64_t align = raw_of(q)->offset_align;
	uint64_t at = q->r->offset + q->done, end = q->r->offset + q->r->len;
	int error;

	if (!get_buffer(q, &error)) {
		if (error)
			finish(q, error);
		return;
	}
	q->from = at / align * align;
	q->span = (end + align - 1) / align * align - q->from;
	if (q->span > VG_LIMIT_IMAGE_BOUNCE_BYTES)
		q->span = VG_LIMIT_IMAGE_BOUNCE_BYTES;
	q->skip = at - q->from;
	q->len = q->span - q->skip < end - at ? q->span - q->skip : end - at;
	q->got = 0;
	if (q->r->op == VG_IMAGE_READ || q->len != q->span)
		go_span(q, BOUNCE_READ);
	else
		go_write_span(q);
}

static void go_fallocate(struct raw_req *q, enum step step, int mode)
{
	q->step = step;
	vg_loop_fallocate(loop_of(q), &q->io, raw_of(q)->fd, mode, q->r->offset, q->r->len);
}

static void go_zeroes(struct raw_req *q)
{
	struct vg_raw *raw = raw_of(q);

	if (q->written)
		go_bounced(q);
	else if (q->step != ZERO_RANGE && q->step != PUNCH && q->r->flags & VG_IMAGE_UNMAP &&
		 !raw->no_punch)
		go_fallocate(q, PUNCH, PUNCH_MODE);
	else if (q->step != ZERO_RANGE && !raw->no_zero_range)
		go_fallocate(q, ZERO_RANGE, FALLOC_FL_ZERO_RANGE);
	else {
		q->written = true;
		go_bounced(q);
	}
}

/* There is no way that does not block, and for BLKDISCARD none before Linux 6.12: for one request of the
 * device. */
static void discard_step(struct vg_deferred *d)
{
	struct raw_req *q = container_of(d, struct raw_req, again);
	struct vg_raw *raw = raw_of(q);
	bool erase = q->r->op == VG_IMAGE_SECURE_ERASE;
	uint64_t left = q->r->len - q->done;
	uint64_t most = erase ? ERASE_STEP : raw->discard_step;
	uint64_t range[2] = { q->r->offset + q->done, left < most ? left : most };
	int ret;

	if (q->cancelled) {
		finish(q, -ECANCELED);
		return;
	}
	if (erase)
		ret = vg_raw_erase(raw->fd, range[0], range[1]);
	else
		ret = ioctl(raw->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	if (ret < 0) {
		finish(q, ret);
		return;
	}
	q->done += range[1];
	if (q->done == q->r->len)
		finish(q, 0);
	else
		vg_loop_defer(loop_of(q), &q->again);
}

static void go_discard(struct raw_req *q)
{
	struct vg_raw *raw = raw_of(q);

	if (!raw->image.limits.max_discard) {
		vg_loop_defer(loop_of(q),
			      &q->again); /* refused there: done() is never from submit */
	} else if (!raw->block_device) {
		go_fallocate(q, FILE_DISCARD, PUNCH_MODE);
	} else if (!raw->no_ring_discard) {
		q->step = RING_DISCARD;
		vg_loop_discard(loop_of(q), &q->io, raw->fd, q->r->offset, q->r->len);
	} else {
		vg_loop_defer(loop_of(q), &q->again);
	}
}

static void go_sync(struct raw_req *q)
{
	q->step = SYNC;
	vg_loop_fdatasync(loop_of(q), &q->io, raw_of(q)->fd);
}

/* ---- zones -------------------------------------------------------------- */

static void zone_step(struct vg_deferred *d)
{
	struct raw_req *q = container_of(d, struct raw_req, again);
	const struct vg_image_req *r = q->r;

	finish(q, vg_zones_manage(raw_of(q)->fd, r->op, r->offset, r->len));
}

/* Nothing else goes to this zone meanwhile. */
static void append_step(struct vg_deferred *d)
{
	struct raw_req *q = container_of(d, struct raw_req, again);
	struct vg_image_req *r = q->r;
	struct vg_image_zone z;
	int ret = vg_zones_report(raw_of(q)->fd, r->offset, &z, 1);

	if (ret < 1)
		finish(q, ret < 0 ? ret : -EINVAL);
	else if (z.type == VG_ZONE_CONVENTIONAL || z.state >= VG_ZONE_READ_ONLY ||
		 r->len > z.start + z.capacity - z.wp)
		finish(q, -EINVAL);
	else {
		r->offset = z.wp;
		q->placed = true;
		go_on(q);
	}
}

/*
 * A write that is not at the write pointer, but before it, may be one that a worker had begun and did
 * not live to answer: then what it writes is there. What is there is gone through, slice by slice; what
 * is not is written, at the write pointer.
 */
static void go_compare(struct raw_req *q)
{
	uint64_t at = q->r->offset + q->done, end = q->r->offset + q->r->len;
	struct vg_image_zone z;
	int error;

	if (!get_buffer(q, &error)) {
		if (error)
			finish(q, error);
		return;
	}
	if (vg_zones_report(raw_of(q)->fd, q->r->offset, &z, 1) != 1 ||
	    z.type == VG_ZONE_CONVENTIONAL || z.wp <= at) {
		q->compares = false;
		finish(q, -EIO);
		return;
	}
	q->step = ZONE_COMPARE;
	q->span = (z.wp < end ? z.wp : end) - at;
	if (q->span > VG_LIMIT_IMAGE_BOUNCE_BYTES)
		q->span = VG_LIMIT_IMAGE_BOUNCE_BYTES;
	q->iov = (struct iovec){ q->buf, q->span };
	vg_loop_readv(loop_of(q), &q->io, raw_of(q)->fd, &q->iov, 1, at);
}

/* Whether the caller's next @len bytes are those at @buf. */
static bool same(const struct vg_image_req *r, const char *buf, size_t len)
{
	for (unsigned i = 0; len; i++) {
		size_t n = len < r->iov[i].iov_len ? len : r->iov[i].iov_len;

		if (memcmp(r->iov[i].iov_base, buf, n) != 0)
			return false;
		buf += n;
		len -= n;
	}
	return true;
}

static void compared(struct raw_req *q, int res)
{
	struct vg_image_zone z;

	if (res != (int)q->span || !same(q->r, q->buf, q->span)) {
		finish(q, -EIO);
		return;
	}
	advance(q->r, q->span);
	q->done += q->span;
	q->compares = q->done < q->r->len &&
		      vg_zones_report(raw_of(q)->fd, q->r->offset, &z, 1) == 1 &&
		      z.wp > q->r->offset + q->done;
	if (q->done < q->r->len)
		go_on(q);
	else if (q->r->flags & VG_IMAGE_FUA)
		go_sync(q);
	else
		finish(q, 0);
}

static bool may_be_done(const struct raw_req *q, int res)
{
	return res == -EIO && raw_of(q)->image.limits.zones.size && q->r->op == VG_IMAGE_WRITE;
}

static void go_later(struct raw_req *q, void (*step)(struct vg_deferred *d))
{
	q->again.run = step;
	vg_loop_defer(loop_of(q), &q->again);
}

static void go_on(struct raw_req *q)
{
	switch (q->r->op) {
	case VG_IMAGE_APPEND:
		if (!q->placed) {
			go_later(q, append_step);
			break;
		}
	/* fallthrough */ case VG_IMAGE_READ:
	case VG_IMAGE_WRITE:
		if (q->compares)
			go_compare(q);
		else if (plain(q))
			go_plain(q);
		else
			go_bounced(q);
		break;
	case VG_IMAGE_ZEROES:
		go_zeroes(q);
		break;
	case VG_IMAGE_DISCARD:
		go_discard(q);
		break;
	case VG_IMAGE_FLUSH:
		go_sync(q);
		break;
	case VG_IMAGE_SECURE_ERASE:
		vg_loop_defer(loop_of(q), &q->again);
		break;
	case VG_IMAGE_ZONE_OPEN:
	case VG_IMAGE_ZONE_CLOSE:
	case VG_IMAGE_ZONE_FINISH:
	case VG_IMAGE_ZONE_RESET:
		go_later(q, zone_step);
		break;
	}
}

/* ---- what came of it ---------------------------------------------------- */

/* @n bytes of the request are through. */
static void progress(struct raw_req *q, uint64_t n)
{
	q->done += n;
	if (q->done < q->r->len)
		go_on(q);
	else
		finish(q, 0);
}

static void plain_done(struct raw_req *q, int res)
{
	if (res == -EINVAL && raw_of(q)->direct) {
		q->bounced = true; /* the disk is choosier than it said */
		go_on(q);
	} else if (may_be_done(q, res)) {
		q->compares = true;
		go_on(q);
	} else if (res <= 0) {
		finish(q, res ? res : -ENODATA);
	} else {
		uint64_t left = q->r->len - q->done;
		uint64_t n = (uint64_t)res < left ? (uint64_t)res : left;

		advance(q->r, n);
		progress(q, n);
	}
}

static void span_done(struct raw_req *q, int res)
{
	bool reading = q->step == BOUNCE_READ;
	bool is_read = q->r->op == VG_IMAGE_READ;

	if (res <= 0) {
		finish(q, res ? res : -ENODATA);
		return;
	}
	q->got += (uint64_t)res;
	if (q->got < q->span && !(is_read && q->got >= q->skip + q->len)) {
		go_span(q, q->step);
	} else if (reading && !is_read) {
		go_write_span(q);
	} else {
		if (is_read)
			copy(q->r, (char *)q->buf + q->skip, q->len, true);
		progress(q, q->len);
	}
}

static bool cannot(int res)
{
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -ENOTTY;
}

/* A way of zeroing that failed for want of an alignment is no good for this request; one that is not
 * there, for none. */
static void fallocate_done(struct raw_req *q, int res)
{
	struct vg_raw *raw = raw_of(q);

	if (res == 0 && q->r->flags & VG_IMAGE_FUA) {
		go_sync(q);
	} else if (cannot(res) || res == -EINVAL) {
		if (res != -EINVAL)
			*(q->step == PUNCH ? &raw->no_punch : &raw->no_zero_range) = true;
		go_zeroes(q);
	} else {
		finish(q, res);
	}
}

static void raw_io_done(struct vg_io *io, int res)
{
	struct raw_req *q = container_of(io, struct raw_req, io);

	if (q->cancelled && (res == -EINTR || res == -ECANCELED)) {
		finish(q, -ECANCELED);
		return;
	}
	if (res == -EINTR || res == -EAGAIN) {
		if (q->step == BOUNCE_READ || q->step == BOUNCE_WRITE)
			go_span(q, q->step);
		else if (q->step == SYNC)
			go_sync(q);
		else if (q->step == PUNCH || q->step == ZERO_RANGE)
			go_fallocate(q, q->step,
				     q->step == PUNCH ? PUNCH_MODE : FALLOC_FL_ZERO_RANGE);
		else
			go_on(q);
		return;
	}
	switch (q->step) {
	case PLAIN:
		plain_done(q, res);
		break;
	case BOUNCE_READ:
	case BOUNCE_WRITE:
		span_done(q, res);
		break;
	case PUNCH:
	case ZERO_RANGE:
		fallocate_done(q, res);
		break;
	case RING_DISCARD:
		/* Not known to this kernel, or not to the loop's list of operations. */
		if (cannot(res) || res == -EACCES) {
			raw_of(q)->no_ring_discard = true;
			go_discard(q);
			break;
		}
		finish(q, res);
		break;
	case ZONE_COMPARE:
		compared(q, res);
		break;
	case SYNC:
	case FILE_DISCARD:
		finish(q, res);
		break;
	}
}

/* ---- struct vg_image_ops ------------------------------------------------ */

/* Nobody writes what this request reads and writes back. */
static void range_entered(struct vg_post *p)
{
	struct raw_req *q = container_of(p, struct raw_req, range.post);

	q->waits = false;
	go_on(q);
}

static bool enter_range(struct raw_req *q)
{
	struct vg_raw *raw = raw_of(q);
	bool alone = q->r->op >= VG_IMAGE_APPEND; /* for zones */
	uint64_t zone = raw->image.limits.zones.size;
	uint64_t align = zone ? zone : raw->offset_align;
	uint64_t start = q->r->offset, end = start + q->r->len;

	if (!raw->serialise || q->r->op == VG_IMAGE_READ || q->r->op == VG_IMAGE_FLUSH)
		return true;
	q->range = (struct vg_range){
		.start = start / align * align,
		.end = (end + align - 1) / align * align,
		.exclusive = zone ? alone : (start | end) % align != 0,
		.loop = loop_of(q),
		.post.run = range_entered,
	};
	q->in_range = true;
	q->waits = !vg_range_enter(&raw->ranges, &q->range);
	return !q->waits;
}

static void refuse(struct vg_deferred *d)
{
	finish(container_of(d, struct raw_req, again), -EOPNOTSUPP);
}

static void raw_submit(struct vg_image_req *r)
{
	struct raw_req *q = (struct raw_req *)r->priv;
	struct vg_raw *raw;

	memset(q, 0, sizeof(*q));
	q->r = r;
	q->io.done = raw_io_done;
	raw = raw_of(q);
	q->bounced = raw->direct && raw->image.read_only && !(r->flags & VG_IMAGE_OWN);
	q->again.run = discard_step;
	if ((r->op == VG_IMAGE_DISCARD && !raw->image.limits.max_discard) ||
	    (r->op == VG_IMAGE_SECURE_ERASE && !raw->image.limits.max_secure_erase))
		q->again.run = refuse;
	if (enter_range(q))
		go_on(q);
}

static void raw_cancel(struct vg_image_req *r)
{
	struct raw_req *q = (struct raw_req *)r->priv;

	q->cancelled = true;
	if (!q->waits)
		vg_loop_cancel(r->ch->loop, &q->io);
}

const struct vg_image_ops vg_image_raw = {
	.name = "raw",
	.help = "a file or a block device that holds the disk's blocks as they are",
	.open = vg_raw_open,
	.probe = vg_raw_probe,
	.close = vg_raw_close,
	.channel_open = channel_open,
	.channel_close = channel_close,
	.submit = raw_submit,
	.cancel = raw_cancel,
	.grown = vg_raw_grown,
	.lifetime = vg_raw_lifetime,
	.report = vg_raw_report,
};
