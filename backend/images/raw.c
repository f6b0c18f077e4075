// SPDX-License-Identifier: GPL-2.0-or-later
/* raw.c - see raw.h */
#include "backend/images/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

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

static int measure_file(struct vg_raw *img, const struct stat *st)
{
	img->size = (uint64_t)st->st_size;
	img->block_size = SECTOR;
	img->physical_block_size = SECTOR;
	/* Behind the end a hole changes nothing: this only asks whether the file system can. */
	img->can_punch =
		!img->read_only && fallocate(img->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					     st->st_size, SECTOR) == 0;
	return 0;
}

static int measure_block_device(struct vg_raw *img)
{
	int logical = 0;
	unsigned physical = 0;

	if (ioctl(img->fd, BLKGETSIZE64, &img->size) < 0 ||
	    ioctl(img->fd, BLKSSZGET, &logical) < 0 || ioctl(img->fd, BLKPBSZGET, &physical) < 0)
		return -errno;
	img->block_device = true;
	img->block_size = (uint32_t)logical;
	img->physical_block_size = physical;
	img->can_punch = !img->read_only;
	return 0;
}

int vg_raw_open(const char *path, bool read_only, bool direct, struct vg_raw *img,
		struct vg_err *err)
{
	struct stat st;
	int ret;

	memset(img, 0, sizeof(*img));
	img->read_only = read_only;
	/* O_NONBLOCK: a FIFO must not hang us before fstat() unmasks it. */
	img->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0) | O_CLOEXEC |
				     O_NONBLOCK | O_NOCTTY);
	if (img->fd < 0)
		return open_failed(path, read_only, errno, err);
	if (fstat(img->fd, &st) < 0) {
		ret = open_failed(path, read_only, errno, err);
		goto fail;
	}
	if (S_ISDIR(st.st_mode)) { /* opens when read-only */
		ret = open_failed(path, read_only, EISDIR, err);
		goto fail;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		ret = vg_fail(err, -EINVAL, "%s is neither a file nor a block device", path);
		goto fail;
	}
	if (flock(img->fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		ret = errno == EWOULDBLOCK
			      ? vg_fail(err, -EBUSY,
					"%s is in use by another device: one writer at a time; "
					"give each "
					"guest its own image, or use readonly in all of them",
					path)
			      : vg_fail(err, -errno, "%s cannot be locked: %s", path,
					strerror(errno));
		goto fail;
	}
	ret = S_ISBLK(st.st_mode) ? measure_block_device(img) : measure_file(img, &st);
	if (ret < 0) {
		vg_fail(err, ret, "the size of %s cannot be read: %s", path, strerror(-ret));
		goto fail;
	}
	if (img->size == 0) {
		ret = vg_fail(err, -EINVAL, "%s is empty: give it a size with truncate -s", path);
		goto fail;
	}
	if (img->size % img->block_size) {
		ret = vg_fail(err, -EINVAL,
			      "%s is %llu bytes long, no multiple of %u: is it a raw image? If so, "
			      "truncate -s %%%u %s rounds it up",
			      path, (unsigned long long)img->size, img->block_size, img->block_size,
			      path);
		goto fail;
	}
	return 0;
fail:
	close(img->fd);
	img->fd = -1;
	return ret;
}

void vg_raw_close(struct vg_raw *img)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = -1;
}

bool vg_raw_grown(struct vg_raw *img)
{
	off_t end = lseek(img->fd, 0, SEEK_END); /* of a block device, too */
	uint64_t size = end < 0 ? 0 : (uint64_t)end / img->block_size * img->block_size;

	if (size <= img->size)
		return false;
	img->size = size;
	return true;
}
