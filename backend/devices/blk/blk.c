// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blk.c - block device, VIRTIO 1.3 section 5.2
 *
 * One turn of a queue, in batches, so that a turn costs a fixed number of
 * hypercalls however many requests it serves:
 *
 *	pop ----> headers ----> data of writes ----> io_uring
 *	          one copy      one copy                |
 *	                                                v  (later turns)
 *	used <--- publish <---- data of reads, status <- done list
 *	          one notify    one copy
 *
 * Where the port gives direct memory (vhost-user) the copies vanish and io_uring
 * works on guest memory itself; vg_data hides the difference.
 *
 * Pace. A busy queue is not looked at for each request: see pace.h. Nor is the
 * driver told of each that is done: while HOLD_FROM or more are under way, what
 * is done waits until it is half of all. Both for as long as pace.h says and at
 * most `wait` microseconds (limit_of()), which a timer ends. And the ring is looked at whenever
 * something completes.
 *
 * Durability (5.2.6.2). The cache is write-back when the driver negotiated
 * FLUSH (or set `writeback` to 1 with CONFIG_WCE): a write is complete when the
 * kernel has it, and a FLUSH is answered after fdatasync, which covers every
 * write that had completed when the flush was taken. Otherwise each write is
 * RWF_DSYNC: durable before it completes. With cache=writethrough FLUSH is not offered;
 * with cache=unsafe a FLUSH is answered and nothing done.
 *
 * A request that cannot be done completes with VIRTIO_BLK_S_IOERR or _UNSUPP
 * and harms nothing; a chain that is no request (no header, no status byte) is
 * a fault of the driver.
 *
 * queue.c is a turn of a queue, request.c is one request.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blkzoned.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/devices/blk/int.h"
#include "backend/devices/devices.h"

enum {
	SEG_MAX = 126, /* data segments of a request: with header and status, 128 */
	DEFAULT_QUEUE_SIZE = 256,
	DEFAULT_WAIT_NS = 250000,
	/* 5.2.6: at most one segment of a discard or write-zeroes request. More are allowed by the
	 * standard; drivers send one when told so. */
	DISCARD_SEGS = 1,
	SAVED_WRITE_THROUGH = 0, /* index into dev->saved */
	SAVED_CAPACITY = 8,	 /* likewise: 8 bytes, as the driver was told; 0: not yet */
	SAVED_SIZE = 16,
};

/* What is asked of the supervisor: how long the image is now; and memory of a group's limits. */
#define IMAGE  "image"
#define LIMITS "limits"

const struct vg_param_def vg_blk_params[] = {
	{ "target", VG_PARAM_PLACE, true, 0, 0, NULL,
	  "path of an image or a block device, or a disk's address: nbd://, nbd+unix://, nfs://, "
	  "iscsi://, rbd:, vdpa:" },
	{ "readonly", VG_PARAM_BOOL, false, 0, 1, "0",
	  "refuse writes; several guests may share it" },
	{ "shareable", VG_PARAM_BOOL, false, 0, 1, "0",
	  "other disks that say so, too, may write the image at the same time" },
	{ "format", VG_PARAM_STRING, false, 0, 0, NULL,
	  "format of the image: raw, qcow2, vhdx, vmdk, vhd or vdi; by default what the file's "
	  "name "
	  "ends with, else raw" },
	{ "discard", VG_PARAM_BOOL, false, 0, 1, "1",
	  "let the guest give space of the image back; 0: an image stays allocated as it is" },
	{ "cache", VG_PARAM_STRING, false, 0, 0, NULL,
	  "none, writeback, writethrough or unsafe: by way of the host's page cache or not, and "
	  "whether what the guest flushes is flushed; default: none for a block device, writeback "
	  "for a file" },
	{ "direct", VG_PARAM_BOOL, false, 0, 1, NULL,
	  "another spelling: 1 is cache=none, 0 is cache=writeback" },
	/* Never, by default. Mapping and unmapping are four hypercalls in a PV domain, as many as the
	 * copy of 64 pages; and each page is a page-table entry more, and its share of a TLB flush.
	 * tests/bench/xen-blk, sweep: at 256 KiB a read took 5.25 hypercalls mapped and 5.36 copied,
	 * and mapping was slower from 4 KiB (0.83 of the copy's reads a second) to there (0.50), even
	 * in emulation, where a flush costs little. */
	{ "map-from", VG_PARAM_SIZE, false, 0, VG_LIMIT_REQUEST_BYTES, "0",
	  "map the data of requests of at least this many bytes instead of copying it; 0: never" },
	{ "wait", VG_PARAM_UINT, false, 0, 1000000, NULL,
	  "longest time in microseconds that a busy queue waits for more requests; 0: never; "
	  "default: 250, or 0 over vhost-user" },
	{ "poll", VG_PARAM_STRING, false, 0, 0, "auto",
	  "off, auto or always: look at the ring of a guest that sends one request after the "
	  "other instead of being told of each; auto: while it is quick" },
	{ "threads", VG_PARAM_UINT, false, 1, VG_MAX_CONTEXTS, "1",
	  "threads that share the request queues; at most one for each queue" },
	{ "queues", VG_PARAM_UINT, false, 1, VG_MAX_QUEUES - 1, "1", "number of request queues" },
	{ "queue-size", VG_PARAM_UINT, false, 2, VG_LIMIT_QUEUE_SIZE, NULL,
	  "largest queue size, a power of two; default: 256, or 1024 over vhost-user" },
	{ "serial", VG_PARAM_STRING, false, 0, 0, "",
	  "what the guest sees as the disk's serial, at most 20 characters" },
	BLK_LIMIT_PARAMS,
	{ "socket", VG_PARAM_PATH, false, 0, 0, NULL,
	  "vgrantd's own: between qemu-storage-daemon and us" },
	{ 0 },
};

/* xl's words, and QEMU's; the first is what nobody says. */
enum { FITTING, NONE, WRITEBACK, WRITETHROUGH, UNSAFE };
static const struct {
	const char *name;
	enum vg_image_cache image;
} caches[] = {
	[FITTING] = { NULL, VG_CACHE_FITTING },
	[NONE] = { "none", VG_CACHE_NONE },
	[WRITEBACK] = { "writeback", VG_CACHE_PAGES },
	[WRITETHROUGH] = { "writethrough", VG_CACHE_PAGES },
	[UNSAFE] = { "unsafe", VG_CACHE_PAGES },
};

/* ---- opening ------------------------------------------------------------ */

static uint32_t sectors_of(uint64_t bytes)
{
	return htole32((uint32_t)(bytes / SECTOR));
}

/* What a disk of so many sectors has had since heads were last counted: 16 of them, 63 sectors a track,
 * and what is over 16383 cylinders cannot be said. */
static void make_geometry(struct blk *blk)
{
	uint64_t cylinders = blk->img->size / SECTOR / (16 * 63);

	blk->config.geometry.cylinders = htole16((uint16_t)(cylinders > 16383 ? 16383 : cylinders));
	blk->config.geometry.heads = 16;
	blk->config.geometry.sectors = 63;
}

static void make_config(struct blk *blk, unsigned queues, uint32_t queue_size)
{
	const struct vg_image_limits *l = &blk->img->limits;
	struct blk_config *c = &blk->config;
	uint32_t seg_max = queue_size > SEG_MAX + 2 ? SEG_MAX : queue_size - 2;
	unsigned exp = 0;

	while ((l->block_size << exp) < l->physical_block_size)
		exp++;
	c->capacity = htole64(blk->img->size / SECTOR);
	c->size_max = htole32(VG_LIMIT_BOUNCE_LEAST);
	c->seg_max = htole32(seg_max ? seg_max : 1);
	make_geometry(blk);
	c->blk_size = htole32(l->block_size);
	c->topology.physical_block_exp = (uint8_t)exp;
	c->topology.alignment_offset = (uint8_t)(l->alignment_offset / l->block_size);
	c->topology.min_io_size = htole16((uint16_t)(l->minimum_io / l->block_size));
	c->topology.opt_io_size = htole32(l->optimal_io / l->block_size);
	c->num_queues = htole16((uint16_t)queues);
	c->max_discard_sectors = sectors_of(l->max_discard);
	c->max_discard_seg = htole32(DISCARD_SEGS);
	c->discard_sector_alignment = sectors_of(l->discard_granularity);
	c->max_write_zeroes_sectors = sectors_of(l->max_zeroes);
	c->max_write_zeroes_seg = htole32(DISCARD_SEGS);
	c->write_zeroes_may_unmap = l->zeroes_unmap;
	c->max_secure_erase_sectors = sectors_of(l->max_secure_erase);
	c->max_secure_erase_seg = htole32(DISCARD_SEGS);
	c->secure_erase_sector_alignment = sectors_of(l->discard_granularity);
	blk_zones_config(blk);
}

static uint32_t chain_max(uint32_t queue_size)
{
	if (queue_size > VG_CHAIN_MAX)
		return VG_CHAIN_MAX;
	return queue_size > SEG_MAX + 2 ? queue_size : SEG_MAX + 2;
}

/* The answer is there before the supervisor, who hears that the device is open after this, connects a
 * guest of Xen's. A front-end of vhost-user may be quicker: the disk's own limits hold until then. */
static void ask_for_group(struct vg_dev *dev, const struct vg_params *params)
{
	struct blk *blk = dev->priv;

	blk->has_limits = blk_limits_take_up(&blk->own, params);
	if (blk_limits_group(params) && vg_dev_ask(dev, LIMITS, false) < 0)
		vg_warn("limit-group=%s: this disk is alone in it, for nobody serves the others "
			"beside it",
			blk_limits_group(params));
}

/* What is in the image is looked at here for the first time. */
static int blk_probe(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	unsigned queues = (unsigned)vg_params_uint(params, vg_blk_params, "queues");
	uint32_t said = (uint32_t)vg_params_uint(params, vg_blk_params, "queue-size");
	uint32_t size = said ? said : dev->queue_size;
	struct blk *blk = dev->priv;
	int ret = vg_image_probe(blk->img, err);

	if (ret < 0)
		return ret;
	if (blk->img->looks_like)
		vg_warn("%s looks like %s, and is served as a raw disk, headers and all: the "
			"guest's first write may destroy it. Say what it is (format=qcow2, vhdx, "
			"vmdk, vhd, vdi); or format=raw if the guest made it so",
			vg_params_str(params, vg_blk_params, "target"), blk->img->looks_like);
	ask_for_group(dev, params);
	make_config(blk, queues, size);
	dev->n_queues = queues;
	dev->saved_size = SAVED_SIZE;
	dev->queue_size_max = size;
	/* 2.7.5.3.1 bounds a chain by the ring; drivers go by seg_max, through indirect tables, also on a
	 * ring that came out smaller. */
	for (unsigned q = 0; q < queues; q++)
		dev->queue[q].chain_max = chain_max(size);
	dev->config_size = sizeof(blk->config);
	dev->device_features =
		VG_FEATURE(VIRTIO_BLK_F_SIZE_MAX) | VG_FEATURE(VIRTIO_BLK_F_SEG_MAX) |
		VG_FEATURE(VIRTIO_BLK_F_GEOMETRY) | VG_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
		VG_FEATURE(VIRTIO_BLK_F_TOPOLOGY);
	/* 5.2.5.2: whose driver cannot flush, its writes are durable each. */
	if (!blk->cache_is_through)
		dev->device_features |=
			VG_FEATURE(VIRTIO_BLK_F_FLUSH) | VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	if (queues > 1)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_MQ);
	if (blk->img->read_only)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_RO);
	if (blk->img->limits.max_discard)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_DISCARD);
	if (blk->img->limits.max_zeroes)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	if (blk->img->limits.max_secure_erase)
		dev->device_features |= VG_FEATURE(BLK_F_SECURE_ERASE);
	if (blk->img->limits.lifetime)
		dev->device_features |= VG_FEATURE(BLK_F_LIFETIME);
	if (blk->img->limits.zones.size)
		dev->device_features |= VG_FEATURE(BLK_F_ZONED);
	return 0;
}

static void blk_close(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	vg_image_close(blk->img);
	if (blk->limits != &blk->own)
		blk_limits_unmap(blk->limits);
	free(blk->target);
	free(blk);
	dev->priv = NULL;
}

/* cache= and direct= in one. Return: an index into caches[], or -EINVAL with a sentence. */
static int cache_of(const struct vg_params *params, struct vg_err *err)
{
	const char *word = vg_params_str(params, vg_blk_params, "cache");
	const char *direct = vg_params_str(params, vg_blk_params, "direct");
	bool mapped = vg_params_uint(params, vg_blk_params, "map-from") != 0;
	int i = FITTING;

	if (word && direct)
		return vg_fail(err, -EINVAL, "cache and direct say the same: give one of them");
	if (word) {
		for (i = NONE; i < (int)COUNT(caches) && strcmp(word, caches[i].name) != 0;)
			i++;
		if (i == (int)COUNT(caches))
			return vg_fail(
				err, -EINVAL,
				"cache=%s is none of none, writeback, writethrough and unsafe",
				word);
	} else if (direct) {
		i = vg_params_bool(params, vg_blk_params, "direct") ? NONE : WRITEBACK;
	} else if (mapped) {
		i = WRITEBACK;
	}
	if (i == NONE && mapped)
		return vg_fail(err, -EINVAL,
			       "cache=none and map-from exclude each other: with O_DIRECT a page "
			       "that was mapped cannot be given back in time");
	return i;
}

static int blk_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	int cache = cache_of(params, err);
	const struct vg_image_config image = {
		.path = vg_params_str(params, vg_blk_params, "target"),
		.format = vg_params_str(params, vg_blk_params, "format"),
		.read_only = vg_params_bool(params, vg_blk_params, "readonly"),
		.cache = caches[cache < 0 ? FITTING : cache].image,
		.shareable = vg_params_bool(params, vg_blk_params, "shareable"),
		.no_discard = !vg_params_bool(params, vg_blk_params, "discard"),
	};
	const char *serial = vg_params_str(params, vg_blk_params, "serial");
	uint32_t size = (uint32_t)vg_params_uint(params, vg_blk_params, "queue-size");
	unsigned queues = (unsigned)vg_params_uint(params, vg_blk_params, "queues");
	unsigned threads = (unsigned)vg_params_uint(params, vg_blk_params, "threads");
	struct blk *blk;
	int ret;

	if (cache < 0)
		return cache;
	if (vg_spin_parse(vg_params_str(params, vg_blk_params, "poll"), &dev->spin) < 0)
		return vg_fail(err, -EINVAL, "poll=%s is none of off, auto and always",
			       vg_params_str(params, vg_blk_params, "poll"));
	if (size & (size - 1))
		return vg_fail(err, -EINVAL, "queue-size=%u is not a power of two", size);
	if (strlen(serial) > VIRTIO_BLK_ID_BYTES)
		return vg_fail(err, -EINVAL, "serial=%s is longer than %d characters", serial,
			       VIRTIO_BLK_ID_BYTES);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return vg_fail(err, -ENOMEM, "out of memory");
	blk->map_from = vg_params_uint(params, vg_blk_params, "map-from");
	blk->wait_is_set = vg_params_str(params, vg_blk_params, "wait") != NULL;
	blk->wait_ns = (int64_t)vg_params_uint(params, vg_blk_params, "wait") * 1000;
	for (unsigned q = 0; q < VG_MAX_QUEUES; q++)
		blk->io_errors[q] = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	blk->cache_is_through = cache == WRITETHROUGH;
	blk->flush_is_nothing = cache == UNSAFE;
	memcpy(blk->serial, serial, strlen(serial));
	blk->limits = &blk->own;
	dev->priv = blk;
	dev->n_groups = threads < queues ? threads : queues;
	blk->target = strdup(image.path);
	ret = blk->target ? vg_image_open(&image, &blk->img, err)
			  : vg_fail(err, -ENOMEM, "out of memory");
	if (ret < 0)
		blk_close(dev);
	else if (!image.read_only)
		dev->file_bytes = blk->img->size;
	dev->pins = ret == 0 && blk->img->pins;
	return ret;
}

static uint32_t blk_grants(const struct vg_params *params)
{
	uint32_t size = (uint32_t)vg_params_uint(params, vg_blk_params, "queue-size");

	return (uint32_t)vg_params_uint(params, vg_blk_params, "queues") *
	       vg_ring_grants(size ? size : VG_QUEUE_SIZE);
}

/* Neighbours go to different threads: a guest with fewer processors than queues uses the first ones. */
static unsigned blk_queue_group(const struct vg_dev *dev, unsigned q)
{
	return q % dev->n_groups;
}

/* 5.2.5.2: without FLUSH the driver cannot ask for durability, so each write has it, and `writeback`
 * is 0. Before the driver has chosen, it is what it will be with FLUSH. */
static bool write_back(const struct vg_dev *dev)
{
	if (dev->status & VG_STATUS_FEATURES_OK && !vg_dev_has(dev, VIRTIO_BLK_F_FLUSH))
		return false;
	return !dev->saved[SAVED_WRITE_THROUGH];
}

/* Who does not know of zones would write where it cannot be written. */
static int blk_features_ok(struct vg_dev *dev, uint64_t features)
{
	const struct blk *blk = dev->priv;

	return blk->img->limits.zones.size && !(features & VG_FEATURE(BLK_F_ZONED)) ? -EINVAL : 0;
}

static void blk_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct blk *blk = dev->priv;

	blk->config.writeback = write_back(dev);
	memcpy(buf, (const uint8_t *)&blk->config + off, len);
}

static void apply_cache_mode(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	blk->write_through = !vg_dev_has(dev, VIRTIO_BLK_F_FLUSH) || !write_back(dev);
}

/* Only `writeback` is writable (5.2.4, CONFIG_WCE). */
static int blk_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	if (off != offsetof(struct blk_config, writeback) || len != 1 ||
	    !vg_dev_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return -EPERM;
	dev->saved[SAVED_WRITE_THROUGH] = *(const uint8_t *)buf ? 0 : 1;
	apply_cache_mode(dev);
	return 0;
}
/* ---- starting, stopping ------------------------------------------------- */

/* From here on the driver knows the capacity: a successor that finds another one tells it. */
static void save_capacity(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	memcpy(&dev->saved[SAVED_CAPACITY], &blk->config.capacity, sizeof(blk->config.capacity));
	vg_dev_save(dev);
}

/* The image may have grown while there was no worker. */
static void check_capacity(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;
	uint64_t told;

	memcpy(&told, &dev->saved[SAVED_CAPACITY], sizeof(told));
	save_capacity(dev);
	if (told && told != blk->config.capacity)
		vg_dev_config_changed(dev);
}

static int blk_start(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	apply_cache_mode(dev);
	check_capacity(dev);
	vg_dev_map_from(dev, blk->map_from);
	/* A timer costs more than the eventfd that it may save. */
	if (!blk->wait_is_set)
		blk->wait_ns = vg_dev_cheap_notify(dev) ? 0 : DEFAULT_WAIT_NS;
	return 0;
}
static void blk_reset(struct vg_dev *dev)
{
	memset(dev->saved, 0, dev->saved_size);
	apply_cache_mode(dev);
}

static void blk_describe(struct vg_dev *dev, char *buf, size_t len)
{
	struct blk *blk = dev->priv;
	unsigned long limited = 0;
	int n;

	for (unsigned q = 0; q < dev->n_queues; q++)
		limited += blk->limited[q];
	n = snprintf(buf, len, "%llu MiB%s%s%s%s", (unsigned long long)(blk->img->size >> 20),
		     blk->img->read_only ? ", read-only" : "",
		     blk->write_through ? ", write-through" : "",
		     blk->img->looks_like ? ", served raw, but looks like " : "",
		     blk->img->looks_like ? blk->img->looks_like : "");
	if (limited && n > 0 && (size_t)n < len)
		snprintf(buf + n, len - (size_t)n, ", has waited %lu times at its limit", limited);
}

/* For so long after the last error: of a disk that works again nothing is wrong. */
#define TROUBLE_S 60

static void blk_trouble(struct vg_dev *dev, char *buf, size_t len)
{
	struct blk *blk = dev->priv;
	int64_t now = vg_now_ns(), last = 0;
	int error = 0;

	for (unsigned q = 0; q < dev->n_queues; q++) {
		int e = atomic_load(&blk->last_error[q].error);

		if (e && blk->last_error[q].when > last) {
			error = e;
			last = blk->last_error[q].when;
		}
	}
	if (error && now - last < TROUBLE_S * NS_PER_S)
		snprintf(buf, len, "%s fails: %s; the guest saw an I/O error %lld s ago",
			 blk->target,
			 error == ENODATA ? "it is shorter than it was" : strerror(error),
			 (long long)((now - last) / NS_PER_S));
}

static void tell_capacity(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;
	char text[32];

	blk->untold = false;
	blk->config.capacity = htole64(blk->img->size / SECTOR);
	vg_info("the image has grown to %llu MiB", (unsigned long long)(blk->img->size >> 20));
	snprintf(text, sizeof(text), "%llu bytes", (unsigned long long)blk->img->size);
	vg_dev_resized(dev, text);
	if (dev->started)
		save_capacity(dev);
	vg_dev_config_changed(dev);
}

/*
 * An image that grew (truncate, lvextend): the driver is told and reads `capacity` again. One lseek(2)
 * is what it costs to find out, whenever the kernel has told of the image.
 * In its sandbox the worker may not write behind the end of before: the supervisor looks how long the
 * image is, and lets it (vg_ipc_answer()). Where there is none, there is no limit.
 */
static void blk_tick(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;
	int ret;

	blk->untold |= vg_image_grown(blk->img);
	if (!blk->untold || blk->asked)
		return;
	ret = blk->img->read_only ? -ENOTCONN : vg_dev_ask(dev, IMAGE, false);
	if (ret == -ENOTCONN)
		tell_capacity(dev);
	blk->asked = ret == 0;
}

static const char *blk_looks_at(const struct vg_params *params)
{
	return vg_params_str(params, vg_blk_params, "target");
}

/* In the supervisor. Of the image, a descriptor that nothing can be read or written by; its file is what
 * counts. */
static int blk_lend(const struct vg_params *params, const char *what, struct vg_err *err)
{
	const char *path = vg_params_str(params, vg_blk_params, "target");
	const char *group = blk_limits_group(params);
	int fd;

	if (strcmp(what, LIMITS) == 0 && group)
		return blk_limits_lend(group, err);
	if (strcmp(what, IMAGE) != 0 || !path)
		return vg_fail(err, -EPERM, "a blk device has no %s", what);
	fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? vg_fail(err, -errno, "%s cannot be opened: %s", path, strerror(errno)) : fd;
}

/* The first of the group to say how much says it for all. */
static void join_group(struct vg_dev *dev, int fd, const char *why)
{
	struct blk *blk = dev->priv;
	struct blk_limits *l = fd < 0 ? NULL : blk_limits_map(fd);
	if (!l) {
		vg_warn("the disk does not share its group's limits: %s",
			fd < 0 ? why : strerror(errno));
		return;
	}
	if (blk->has_limits && !atomic_exchange(&l->said, true))
		blk_limits_copy(l, &blk->own);
	blk->limits = l;
}

static void blk_given(struct vg_dev *dev, const char *what, int fd, const char *why)
{
	struct blk *blk = dev->priv;

	if (strcmp(what, LIMITS) == 0) {
		join_group(dev, fd, why);
		if (fd >= 0)
			close(fd);
		return;
	}
	blk->asked = false;
	if (fd < 0) {
		vg_warn("the image has grown, and the guest is not told: %s", why);
		blk->untold = false;
		return;
	}
	close(fd);
	tell_capacity(dev);
}

static int blk_set(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err)
{
	struct blk *blk = dev->priv;
	int ret = blk_limits_set(blk->limits, key, value, err);

	return ret != -ENOENT ? ret
			      : vg_fail(err, ret,
					"%s cannot be changed while running; the limits can: iops, "
					"iops-read, iops-write, bps, bps-read, bps-write and burst",
					key);
}

static const struct vg_sandbox_call blk_calls[] = {
	VG_CALL(lseek),
	/* how large the image is now, see blk_tick() */
	VG_CALL_IOCTL(BLKDISCARD), /* images/raw.c, before Linux 6.12 */
	VG_CALL_IOCTL(BLKSECDISCARD),
	VG_CALL_IOCTL(BLKREPORTZONE), /* images/zones.c */
	VG_CALL_IOCTL(BLKRESETZONE),
	VG_CALL_IOCTL(BLKOPENZONE),
	VG_CALL_IOCTL(BLKCLOSEZONE),
	VG_CALL_IOCTL(BLKFINISHZONE),
	/* images/raw.c. None that takes space behind the end: see hand.h. */
	VG_CALL_IF(fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	VG_CALL_IF(fallocate, 1, FALLOC_FL_ZERO_RANGE),
	VG_CALLS_END,
};
static const struct vg_sandbox_needs blk_needs = {
	.calls = blk_calls,
	.loop = VG_LOOP_READ | VG_LOOP_WRITE | VG_LOOP_SYNC | VG_LOOP_FALLOCATE,
};

const struct vg_device_ops vg_blk = {
	.name = "blk",
	.help = "a disk: an image file or a block device of this domain",
	.virtio_id = 2,
	.params = vg_blk_params,
	.as = vg_image_as,
	.needs = &blk_needs,
	.open = blk_open,
	.probe = blk_probe,
	.close = blk_close,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.features_ok = blk_features_ok,
	.start = blk_start,
	.start_queue = blk_start_queue,
	.queue_ready = blk_queue_ready,
	.stop_queue = blk_stop_queue,
	.queue_group = blk_queue_group,
	.reset = blk_reset,
	.set = blk_set,
	.describe = blk_describe,
	.trouble = blk_trouble,
	.tick = blk_tick,
	.looks_at = blk_looks_at,
	.lend = blk_lend,
	.given = blk_given,
	.grants = blk_grants,
};
