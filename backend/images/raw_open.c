// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * raw_open.c - opening a raw image: what a user can get wrong, locks, what the file
 * or the device below can do
 *
 * Locks. flock(2) on the inode: exclusive for a writer, shared for readers. It is
 * the open file's, so that it lasts over the end of the process until the last I/O
 * of it, which pins the file, has ended: an old write never lands after a new one.
 * A block device is locked by its own node in /dev, whatever node or link the user
 * named, as systemd's BLOCK_DEVICE_LOCKING wants it; udev holds a shared lock while
 * it looks at a device that somebody opened for writing, and is waited for. A writer
 * of a block device also claims it (O_EXCL): the kernel then refuses to mount it, and
 * refuses us one that is mounted. A reader does not claim, since there may be several;
 * it tries whether it could. Nor do writers who share it.
 *
 * Alignment. With O_DIRECT, what the disk can write at once is the file system's and
 * the disk's to say: statx(2), STATX_DIOALIGN, since Linux 6.1. Where it says nothing,
 * reads are tried. A block device's guest is told its logical block size. A file's
 * guest goes on to see 512, since its partition table counts in it and the file may
 * be copied to another disk tomorrow; raw.c reads, changes and writes for it.
 *
 * Limits. A file punches holes or does not: asked behind its end, where a hole
 * changes nothing. A block device says in /sys what it can discard.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/base/loop.h"
#include "backend/images/raw.h"

enum {
	SECTOR = 512,
	/* Largest alignment that is looked for: XFS on 64 KiB blocks; and bounce memory's. */
	ALIGN_MAX = 65536,
	/* udev, and what it runs, is done with a device in less; a try each 50 ms. The supervisor
	 * tries again after that. */
	LOCK_TRIES = 60,
	/* A reader may be trying whether it could claim the device. */
	CLAIM_TRIES = 4,
};

#define TRY_AGAIN_NS 50000000L

/* Of readers; the next is that of writers who share. */
#define KIND_BYTE (1LL << 62)

static int open_failed(const char *path, bool read_only, int e, struct vg_err *err)
{
	switch (e) {
	case ENOENT:
		return vg_fail(err, -e, "%s does not exist: create it, or correct target=", path);
	case EACCES:
	case EPERM:
		return vg_fail(err, -e, "%s may not be opened for %s: check its permissions%s",
			       path, read_only ? "reading" : "writing",
			       read_only ? "" : ", or add readonly");
	case EROFS:
		return vg_fail(err, -e, "%s lies on a read-only file system: add readonly", path);
	case EISDIR:
		return vg_fail(err, -e,
			       "%s is a directory: target= wants an image or a block device", path);
	case EINVAL:
		return vg_fail(err, -e, "%s does not support direct I/O: leave out direct", path);
	default:
		return vg_fail(err, -e, "%s cannot be opened: %s", path, strerror(e));
	}
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = TRY_AGAIN_NS }, NULL);
}

/* ---- locks -------------------------------------------------------------- */

static int held(const char *path, bool read_only, const struct vg_holder *h, struct vg_err *err)
{
	return vg_fail(err, -EBUSY,
		       h->found ? "%s is in use on this machine: it %s; two that write one file "
				  "system destroy it. Unmount it first%s"
				: "%s is in use on this machine, by another guest or program that "
				  "has claimed it%s%s",
		       path, h->found ? h->what : "",
		       read_only || !h->found ? ""
					      : "; a read-only mount may share it with readonly");
}

/* The node that everybody locks: /dev/NAME of the kernel's own name. Else @path will do. */
static void device_node(const char *path, dev_t dev, char *node, size_t size)
{
	char name[64], line[128];
	struct stat st;
	FILE *f;

	snprintf(node, size, "%s", path);
	snprintf(name, sizeof(name), "/sys/dev/block/%u:%u/uevent", major(dev), minor(dev));
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "DEVNAME=", 8) != 0)
			continue;
		snprintf(name, sizeof(name), "/dev/%.50s", line + 8);
		if (stat(name, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev)
			snprintf(node, size, "%s", name);
	}
	if (f)
		fclose(f);
}

/* Whether a reader may join those who have the device: none of them writes. A writer who shares joins
 * nobody but his like, who have not claimed it. */
static int claimable(const char *path, const char *node, dev_t dev, bool read_only,
		     struct vg_err *err)
{
	struct vg_holder h;

	for (int i = 0; i < CLAIM_TRIES; i++) {
		int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (errno != EBUSY)
			return 0; /* the open that counts says why */
		vg_holder_of(dev, &h);
		if (h.found)
			return h.writes || !read_only ? held(path, read_only, &h, err) : 0;
		nap();
	}
	return held(path, read_only, &h, err);
}

/* @probe is open without O_EXCL. Return: the descriptor that counts, or negative errno. */
static int open_device(const char *path, int probe, dev_t dev, int flags,
		       const struct vg_image_config *cfg, struct vg_err *err)
{
	bool claims = !cfg->read_only && !cfg->shareable;
	char node[256];
	struct vg_holder h = { 0 };
	int fd, ret;

	close(probe);
	device_node(path, dev, node, sizeof(node));
	if (!claims) {
		ret = claimable(path, node, dev, cfg->read_only, err);
		if (ret < 0)
			return ret;
	}
	for (int i = 0; i < CLAIM_TRIES; i++) {
		fd = open(node, flags | (claims ? O_EXCL : 0));
		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			return open_failed(path, cfg->read_only, errno, err);
		vg_holder_of(dev, &h);
		if (h.found)
			break;
		nap();
	}
	return held(path, cfg->read_only, &h, err);
}

/*
 * Readers and sharing writers both hold the shared lock. Of these kinds only one may be there: each
 * holds a byte of its own behind any image (F_OFD_SETLK), and looks whether anybody has the other's.
 * Whoever comes second sees the first, or both see each other. Return: whether there is another kind.
 */
static bool other_kind(int fd, bool shareable)
{
	struct flock mine = { .l_type = F_RDLCK, .l_start = KIND_BYTE + shareable, .l_len = 1 };
	struct flock other = { .l_type = F_WRLCK, .l_start = KIND_BYTE + !shareable, .l_len = 1 };

	/* A file system that has no such locks has had its say with flock(2). */
	return fcntl(fd, F_OFD_SETLK, &mine) == 0 && fcntl(fd, F_OFD_GETLK, &other) == 0 &&
	       other.l_type != F_UNLCK;
}

static int lock(const char *path, int fd, const struct vg_image_config *cfg, bool block_device,
		struct vg_err *err)
{
	bool shared = cfg->read_only || cfg->shareable;

	/* udev opens only devices; a file's other user is there to stay. */
	for (int i = block_device ? LOCK_TRIES : 1; i > 0; i--) {
		if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
			if (!shared || !other_kind(fd, cfg->shareable))
				return 0;
			return vg_fail(
				err, -EBUSY,
				"%s is in use by another device, which %s: whoever shares an "
				"image that is written says shareable, all of them",
				path, cfg->shareable ? "only reads it" : "shares and writes it");
		}
		if (errno != EWOULDBLOCK)
			return vg_fail(err, -errno, "%s cannot be locked: %s", path,
				       strerror(errno));
		if (i > 1)
			nap();
	}
	return vg_fail(err, -EBUSY,
		       "%s is in use by another device%s: one writer at a time; give each guest "
		       "its own image, or use readonly in all of them",
		       path, block_device ? ", or locked by a program of this machine" : "");
}

/* ---- what it can do ----------------------------------------------------- */

/* Whether a read of @align bytes at @align is taken. @buf: aligned to it. */
static bool read_works(int fd, void *buf, uint32_t align)
{
	return pread(fd, buf, align, align) >= 0 || errno != EINVAL;
}

static bool try_alignment(struct vg_raw *raw)
{
	void *buf = aligned_alloc(ALIGN_MAX, ALIGN_MAX);
	uint32_t align = SECTOR;

	while (buf && align < ALIGN_MAX && !read_works(raw->fd, buf, align))
		align *= 2;
	free(buf);
	raw->offset_align = raw->mem_align = align;
	return buf && align < ALIGN_MAX;
}

/* Return: whether direct I/O works at all. */
static bool measure_alignment(struct vg_raw *raw)
{
	struct statx stx = { 0 };

#ifdef STATX_DIOALIGN
	if (statx(raw->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		raw->offset_align = stx.stx_dio_offset_align;
		raw->mem_align = stx.stx_dio_mem_align;
		return raw->offset_align && raw->offset_align <= ALIGN_MAX && raw->mem_align &&
		       raw->mem_align <= ALIGN_MAX;
	}
#else
	(void)stx;
#endif
	return try_alignment(raw);
}

static void warn_of_pages(const struct vg_raw *raw, const char *path)
{
	uint64_t size = raw->image.size;

	if (raw->offset_align > 1 && size % raw->offset_align)
		vg_warn("%s is served by way of the page cache in spite of cache=none: it is %llu "
			"bytes long, no multiple of the %u that its disk writes at once; "
			"truncate -s %%%u %s mends that",
			path, (unsigned long long)size, raw->offset_align, raw->offset_align, path);
	else
		vg_warn("%s is served by way of the page cache in spite of cache=none: its file "
			"system has no direct I/O for it",
			path);
}

/* Direct I/O that the file cannot do is not done; who asked for it is told. */
static void settle_direct(struct vg_raw *raw, const char *path)
{
	if (!raw->direct) {
		raw->offset_align = raw->mem_align = 1;
		return;
	}
	if (measure_alignment(raw) && raw->image.size % raw->offset_align == 0) {
		raw->serialise = raw->offset_align > raw->image.limits.block_size;
		return;
	}
	if (raw->direct_asked)
		warn_of_pages(raw, path);
	raw->direct = false;
	raw->offset_align = raw->mem_align = 1;
	fcntl(raw->fd, F_SETFL, fcntl(raw->fd, F_GETFL) & ~O_DIRECT);
}

static void measure_file(struct vg_raw *raw, const struct stat *st, const char *path, bool discard)
{
	struct vg_image_limits *l = &raw->image.limits;
	bool punch = !raw->image.read_only && discard &&
		     fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st->st_size,
			       SECTOR) == 0;

	raw->image.size = (uint64_t)st->st_size;
	l->block_size = SECTOR;
	settle_direct(raw, path);
	l->physical_block_size = raw->offset_align > SECTOR ? raw->offset_align : SECTOR;
	l->discard_granularity = l->physical_block_size;
	l->max_discard = punch ? (uint64_t)VG_LIMIT_DISCARD_SECTORS * SECTOR : 0;
	l->zeroes_unmap = punch;
	raw->no_punch = !punch;
}

/* What only some devices can, and what only a device asks for. */
static void measure_special(struct vg_raw *raw, dev_t dev)
{
	struct vg_image_limits *l = &raw->image.limits;

	raw->life_fd[0] = vg_raw_sysfs_open(dev, "device/life_time");
	raw->life_fd[1] = vg_raw_sysfs_open(dev, "device/pre_eol_info");
	l->lifetime = raw->life_fd[0] >= 0 && raw->life_fd[1] >= 0;
	vg_zones_measure(dev, &l->zones);
	if (!raw->image.read_only && vg_raw_can_erase(raw->fd))
		l->max_secure_erase = (uint64_t)VG_LIMIT_DISCARD_SECTORS * SECTOR;
}

static int measure_device(struct vg_raw *raw, dev_t dev, const char *path, bool discard)
{
	struct vg_image_limits *l = &raw->image.limits;
	uint64_t size, most = (uint64_t)VG_LIMIT_DISCARD_SECTORS * SECTOR;
	int logical = 0;
	unsigned physical = 0;

	if (ioctl(raw->fd, BLKGETSIZE64, &size) < 0 || ioctl(raw->fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(raw->fd, BLKPBSZGET, &physical) < 0)
		return -errno;
	raw->image.size = size;
	l->block_size = (uint32_t)logical;
	l->physical_block_size = physical;
	measure_special(raw, dev);
	/* The page cache writes in any order. */
	if (l->zones.size && !raw->direct)
		raw->direct = fcntl(raw->fd, F_SETFL, fcntl(raw->fd, F_GETFL) | O_DIRECT) == 0;
	settle_direct(raw, path);
	l->minimum_io = (uint32_t)vg_raw_sysfs_number(dev, "queue/minimum_io_size");
	l->alignment_offset = (uint32_t)vg_raw_sysfs_number(dev, "alignment_offset");
	l->optimal_io = (uint32_t)vg_raw_sysfs_number(dev, "queue/optimal_io_size");
	l->discard_granularity = (uint32_t)vg_raw_sysfs_number(dev, "queue/discard_granularity");
	if (l->discard_granularity < l->block_size || l->discard_granularity % SECTOR)
		l->discard_granularity = l->block_size;
	raw->discard_step = vg_raw_sysfs_number(dev, "queue/discard_max_bytes");
	raw->serialise |= l->zones.size != 0;
	/* What is written in order is not discarded anywhere, nor zeroed (5.2.6, 5.2.3). */
	if (discard && !raw->image.read_only && !l->zones.size) {
		l->max_discard = raw->discard_step < most ? raw->discard_step : most;
		raw->discards = l->max_discard > 0;
		if (raw->discards)
			vg_loops_discard(raw->fd);
		l->zeroes_unmap =
			l->max_discard && vg_raw_sysfs_number(dev, "queue/write_zeroes_max_bytes");
	}
	raw->no_punch = !l->zeroes_unmap;
	return 0;
}

/* ---- opening ------------------------------------------------------------ */

static int check(struct vg_raw *raw, const char *path, struct vg_err *err)
{
	uint64_t size = raw->image.size;
	uint32_t block = raw->image.limits.block_size;

	if (size == 0)
		return vg_fail(err, -EINVAL, "%s is empty: give it a size with truncate -s", path);
	if (size % block)
		return vg_fail(err, -EINVAL,
			       "%s is %llu bytes long, no multiple of %u: is it a raw image? If "
			       "so, truncate -s %%%u %s rounds it up",
			       path, (unsigned long long)size, block, block, path);
	return 0;
}

/* A block device's own caches do for it what the host's would, and the guest has one, too. */
static void choose_cache(struct vg_raw *raw, enum vg_image_cache cache)
{
	raw->direct = cache == VG_CACHE_NONE;
	if (cache == VG_CACHE_FITTING && raw->block_device)
		raw->direct = fcntl(raw->fd, F_SETFL, fcntl(raw->fd, F_GETFL) | O_DIRECT) == 0;
}

static int open_locked(struct vg_raw *raw, const struct vg_image_config *cfg, struct vg_err *err)
{
	/* O_NONBLOCK: a FIFO must not hang us before fstat() unmasks it. */
	int flags = (cfg->read_only ? O_RDONLY : O_RDWR) |
		    (cfg->cache == VG_CACHE_NONE ? O_DIRECT : 0) | O_CLOEXEC | O_NONBLOCK |
		    O_NOCTTY;
	const char *path = cfg->path;
	struct vg_holder h;
	struct stat st;
	int ret;

	raw->fd = open(path, flags);
	if (raw->fd < 0)
		return open_failed(path, cfg->read_only, errno, err);
	if (fstat(raw->fd, &st) < 0)
		return open_failed(path, cfg->read_only, errno, err);
	if (S_ISDIR(st.st_mode)) /* opens when read-only */
		return open_failed(path, cfg->read_only, EISDIR, err);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return vg_fail(err, -EINVAL, "%s is neither a file nor a block device", path);
	raw->block_device = S_ISBLK(st.st_mode);
	if (raw->block_device) {
		raw->fd = open_device(path, raw->fd, st.st_rdev, flags, cfg, err);
		if (raw->fd < 0)
			return raw->fd;
	} else {
		vg_holder_of_file(st.st_dev, st.st_ino, &h);
		if (h.found && (h.writes || !cfg->read_only))
			return held(path, cfg->read_only, &h, err);
	}
	ret = lock(path, raw->fd, cfg, raw->block_device, err);
	if (ret < 0)
		return ret;
	choose_cache(raw, cfg->cache);
	if (raw->block_device)
		ret = measure_device(raw, st.st_rdev, path, !cfg->no_discard);
	else
		measure_file(raw, &st, path, !cfg->no_discard);
	if (ret < 0)
		return vg_fail(err, ret, "the size of %s cannot be read: %s", path, strerror(-ret));
	return check(raw, path, err);
}

int vg_raw_open(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err)
{
	struct vg_raw *raw = calloc(1, sizeof(*raw));
	int ret;

	if (!raw)
		return vg_fail(err, -ENOMEM, "out of memory");
	raw->fd = raw->life_fd[0] = raw->life_fd[1] = -1;
	raw->image.read_only = cfg->read_only;
	raw->direct_asked = cfg->cache == VG_CACHE_NONE;
	raw->format_given = cfg->format != NULL;
	vg_ranges_init(&raw->ranges);
	ret = open_locked(raw, cfg, err);
	if (ret < 0) {
		vg_raw_close(&raw->image);
		return ret;
	}
	if (!cfg->read_only && !raw->image.limits.zones.size)
		raw->image.limits.max_zeroes = (uint64_t)VG_LIMIT_DISCARD_SECTORS * SECTOR;
	raw->image.pins = raw->direct;
	*out = &raw->image;
	return 0;
}

/* One end of the file. Where it is, and how long, suits direct I/O. Return: bytes read, or 0. */
static size_t read_end(int fd, off_t at, void *buf, size_t len)
{
	ssize_t n = lseek(fd, at, SEEK_SET) < 0 ? -1 : read(fd, buf, len);

	return n > 0 ? (size_t)n : 0;
}

/* The marks of other formats. Plain read(2): there is no other thread yet, and a disk that gives
 * errors at its ends is still a disk. */
int vg_raw_probe(struct vg_image *img, struct vg_err *err)
{
	struct vg_raw *raw = container_of(img, struct vg_raw, image);
	size_t len = raw->offset_align > VG_IMAGE_HEAD ? raw->offset_align : VG_IMAGE_HEAD;
	uint64_t size = img->size;
	uint8_t *head = aligned_alloc(ALIGN_MAX, 2 * ALIGN_MAX), *tail;
	size_t n, m = 0;

	if (!head)
		return vg_fail(err, -ENOMEM, "out of memory");
	tail = head + ALIGN_MAX;
	if (!raw->format_given) {
		n = read_end(raw->fd, 0, head, len);
		if (size > len)
			m = read_end(raw->fd, (off_t)((size - 1) / len * len), tail, len);
		img->looks_like = vg_image_guess(head, n, tail, m);
	}
	free(head);
	return 0;
}

void vg_raw_close(struct vg_image *img)
{
	struct vg_raw *raw = container_of(img, struct vg_raw, image);

	if (raw->discards)
		vg_loops_discard(-1);
	if (raw->fd >= 0)
		close(raw->fd);
	for (unsigned i = 0; i < COUNT(raw->life_fd); i++) {
		if (raw->life_fd[i] >= 0)
			close(raw->life_fd[i]);
	}
	pthread_mutex_destroy(&raw->ranges.lock);
	free(raw);
}

bool vg_raw_grown(struct vg_image *img)
{
	struct vg_raw *raw = container_of(img, struct vg_raw, image);
	off_t end = lseek(raw->fd, 0, SEEK_END); /* of a block device, too */
	uint32_t block = img->limits.block_size;
	uint64_t size;

	if (raw->offset_align > block)
		block = raw->offset_align;
	size = end < 0 ? 0 : (uint64_t)end / block * block;
	if (size <= img->size)
		return false;
	img->size = size;
	return true;
}

/* Numbers as "0x01 0x02\n". lseek(2): what sysfs says is made anew for whoever reads from the start. */
int vg_raw_lifetime(struct vg_image *img, uint16_t out[3])
{
	const struct vg_raw *raw = container_of(img, struct vg_raw, image);
	unsigned value[3] = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		char text[32];
		ssize_t n = lseek(raw->life_fd[i], 0, SEEK_SET) < 0
				    ? -1
				    : read(raw->life_fd[i], text, sizeof(text) - 1);

		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		text[n] = '\0';
		if (i == 0 ? sscanf(text, "%x %x", &value[1], &value[2]) != 2
			   : sscanf(text, "%x", &value[0]) != 1)
			return -EPROTO;
	}
	for (unsigned i = 0; i < 3; i++)
		out[i] = (uint16_t)value[i];
	return 0;
}

int vg_raw_report(struct vg_image *img, uint64_t offset, struct vg_image_zone *out, unsigned n)
{
	const struct vg_raw *raw = container_of(img, struct vg_raw, image);

	return vg_zones_report(raw->fd, offset, out, n);
}
