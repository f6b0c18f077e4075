// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gateway.c - any device, carried to a daemon that speaks vhost-user
 *
 *	guest <--any port--> this device <--vhost-user--> virtiofsd, qemu-storage-daemon, ...
 *
 * Towards the guest it is an ordinary device: rings, in any of their forms, end in our engine, and what a
 * hostile driver writes there the daemon never sees. Towards the daemon it is a front-end with rings of
 * its own, plain ones, and with bounce memory, both in one memfd, which is all that the daemon has of a
 * guest. What the device is the daemon says: features, queues, configuration space; less what cannot be
 * carried (types.c).
 *
 * The daemon is trusted no more than the guest: each index, id and length is checked where it is read, no
 * byte that it did not write reaches the guest, and whoever talks nonsense is hung up on.
 *
 * A daemon that is lost, for whatever reason: this worker ends, and leaves what the daemon had in the
 * in-flight record; the next worker connects to the next daemon, as often as it takes, begins with other
 * memory, and finds those requests again. It gives them to that daemon where they may be carried out
 * twice (a disk's), or, as buffers that only wait to be filled, have no effect; others fail, in words
 * that their driver understands. That is why vhost-user's own in-flight region is not used: it tells a
 * daemon what is left of a ring, and here nothing is left of it.
 *
 * A disk's daemon may have told the guest that something is written which it has in its own memory still:
 * QEMU's keeps so where a qcow2 has what. The guest, which lives on when the daemon dies, would find less
 * than it wrote. So such a daemon is told to keep nothing (CONFIG_WCE: 5.2.5, 5.2.6.2), before each start,
 * unless its user would rather have it quick.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/devices/devices.h"
#include "backend/devices/gateway/int.h"

enum { END_S = 3 }; /* a worker that nobody ends, though its daemon is lost, breaks its device */

/* Features of the device itself (VIRTIO 1.3 section 2.2): 0 to 23, and 50 to 63. */
#define DEVICE_FEATURES (((1ULL << 24) - 1) | ~((1ULL << 50) - 1))

static const struct vg_sandbox_call gw_calls[] = { VG_CALLS_POLL, VG_CALL(eventfd2), VG_CALLS_END };
const struct vg_sandbox_needs gw_needs = { .calls = gw_calls, .passes = true };

/* ---- opening ------------------------------------------------------------ */

int gw_tag_check(const char *tag, struct vg_err *err)
{
	if (tag && strlen(tag) > sizeof(((struct gateway *)NULL)->tag))
		return vg_fail(err, -EINVAL, "tag=%.60s: it has 36 bytes at most", tag);
	return 0;
}

void gw_op_close(struct vg_dev *dev)
{
	struct gateway *gw = dev->priv;

	for (unsigned q = 0; q < GW_QUEUES; q++)
		gw_queue_close(&gw->queue[q]);
	gw_link_close(gw);
	if (gw->memory)
		munmap(gw->memory, GW_MEMORY);
	if (gw->memfd >= 0)
		close(gw->memfd);
	free(gw);
	dev->priv = NULL;
}

/* What was never used takes no memory; its size is sealed, so that a page of it is always there. */
static int open_memory(struct gateway *gw, struct vg_err *err)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	void *p;

	gw->memfd = memfd_create("vgrant-gateway", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (gw->memfd < 0 || ftruncate(gw->memfd, (off_t)GW_MEMORY) < 0 ||
	    fcntl(gw->memfd, F_ADD_SEALS, seals) < 0)
		return vg_fail(err, -errno, "memory for the daemon cannot be made: %s",
			       strerror(errno));
	p = mmap(NULL, GW_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, gw->memfd, 0);
	if (p == MAP_FAILED)
		return vg_fail(err, -errno, "memory for the daemon cannot be mapped: %s",
			       strerror(errno));
	gw->memory = p;
	return 0;
}

int gw_open(struct vg_dev *dev, const struct gw_spec *spec, struct vg_err *err)
{
	struct gateway *gw;
	int ret;

	if (!spec->socket)
		return gw_no_socket(err);
	gw = calloc(1, sizeof(*gw));
	if (!gw)
		return vg_fail(err, -ENOMEM, "out of memory");
	gw->dev = dev;
	gw->memfd = gw->link.sock = gw->link.back = gw->link.back_theirs = -1;
	gw->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	dev->priv = gw;
	gw->type = gw_type_find(spec->type, &gw->spare, err);
	gw->max_queues = spec->queues;
	gw->through = !spec->writeback;
	gw->lends = dev->lends = spec->lends;
	if (spec->tag)
		memcpy(gw->tag, spec->tag, strnlen(spec->tag, sizeof(gw->tag)));
	snprintf(gw->socket, sizeof(gw->socket), "%s", spec->socket);
	ret = gw->type ? open_memory(gw, err) : -EINVAL;
	if (ret == 0)
		ret = gw_link_open(gw, err);
	if (ret < 0)
		gw_op_close(dev);
	return ret;
}

/* ---- what it is ----------------------------------------------------------- */

static uint32_t counted(const struct gateway *gw)
{
	const struct gw_count *c = &gw->type->count;
	const uint8_t *at = gw->config + c->at;
	uint32_t n = 0;

	memcpy(&n, at, c->size);
	return le32toh(n);
}

static bool counts(const struct gateway *gw)
{
	const struct gw_count *c = &gw->type->count;

	return c->size && (c->always || gw->dev->device_features & VG_FEATURE(c->bit));
}

/* The guest counts the queues that there are. */
static void patch_config(struct gateway *gw)
{
	const struct gw_count *c = &gw->type->count;
	uint32_t n = htole32(gw->dev->n_queues - gw->type->queues);

	if (counts(gw) && counted(gw) > gw->dev->n_queues - gw->type->queues)
		memcpy(gw->config + c->at, &n, c->size);
}

/* Return: 0, or -EPROTO with a sentence: there is no queue. @has: the daemon's; 0: it does not say */
static int count_queues(struct gateway *gw, unsigned has, struct vg_err *err)
{
	const struct gw_type *t = gw->type;
	uint64_t n = t->queues ? t->queues : has;

	if (counts(gw))
		n = (uint64_t)t->queues + counted(gw);
	else if (t->count.size)
		n = t->queues + 1U;
	if (has && n > has)
		n = has;
	if (n > gw->max_queues)
		n = gw->max_queues;
	if (n <= (counts(gw) ? t->queues : 0U) || n < t->queues)
		return vg_fail(err, -EPROTO,
			       "the daemon at %s has %u queues, which are too few for type=%s, or "
			       "queues= allows too few",
			       gw->socket, has, t->name);
	gw->dev->n_queues = (unsigned)n;
	return 0;
}

/* A daemon that leaves the configuration to its front-end, as virtiofsd without --tag. */
static int without_config(struct gateway *gw, unsigned has, struct vg_err *err)
{
	const struct gw_type *t = gw->type;
	const uint32_t n = htole32(has > 1 ? has - 1 : 1);

	if (strcmp(t->name, "fs") == 0 && gw->tag[0]) {
		memcpy(gw->config, gw->tag, sizeof(gw->tag));
		memcpy(gw->config + t->count.at, &n, sizeof(n));
	} else if (strcmp(t->name, "fs") == 0) {
		return vg_fail(
			err, -EINVAL,
			"tag= is missing: the daemon at %s does not say what the guest mounts "
			"its file system by",
			gw->socket);
	} else if (t->config && !t->unsaid) {
		return vg_fail(err, -EPROTO,
			       "the daemon at %s has no configuration space, which type=%s needs",
			       gw->socket, t->name);
	}
	return 0;
}

/* CONFIG_WCE's field, 0 from the start. */
static void go_through(struct gateway *gw)
{
	gw->through = gw->through && strcmp(gw->type->name, "blk") == 0 &&
		      gw->dev->device_features & VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	if (gw->through)
		gw->config[gw->type->writable] = 0;
}

int gw_op_probe(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	struct gateway *gw = dev->priv;
	const struct gw_type *t = gw->type;
	uint64_t has, carried = DEVICE_FEATURES & ~t->withheld;
	bool config;
	unsigned queues;
	int ret = gw_link_greet(gw, &queues, err);

	(void)params;
	if (ret < 0)
		return ret;
	if (!(gw->link.features & VG_FEATURE(VG_F_VERSION_1)))
		return vg_fail(err, -EPROTO, "the daemon at %s speaks no VIRTIO 1 (VERSION_1)",
			       gw->socket);
	config = gw->link.protocol & VG_FEATURE(VG_VU_PF_CONFIG);
	if (!config)
		carried &= ~t->unsaid;
	if (strcmp(t->name, "other") == 0)
		carried = 0;
	has = gw->link.features & DEVICE_FEATURES;
	gw->withheld = has & ~carried;
	dev->device_features = has & carried;
	dev->virtio_id = t->id;
	dev->queue_size_max = GW_SLOTS;
	dev->config_size = config || !t->unsaid ? t->config : 0;
	dev->saved_size = t->n_writable || gw->lends ? 1 + t->n_writable : 0;
	if (!config)
		ret = without_config(gw, queues, err);
	if (ret == 0)
		ret = count_queues(gw, queues, err);
	for (unsigned q = 0; ret == 0 && q < dev->n_queues; q++) {
		ret = gw_queue_open(gw, q);
		if (ret < 0)
			vg_fail(err, ret, "queue %u cannot be made: %s", q, strerror(-ret));
	}
	if (ret < 0)
		return ret;
	patch_config(gw);
	go_through(gw);
	memcpy(gw->first, gw->config + t->writable, t->n_writable);
	gw_link_attend(gw);
	return 0;
}

/* ---- configuration ------------------------------------------------------ */

void gw_op_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct gateway *gw = dev->priv;

	memcpy(buf, gw->config + off, len);
}

/* The daemon's is as the driver wrote it, now and after its death. */
static void write_config(struct gateway *gw, const uint8_t *bytes)
{
	const struct gw_type *t = gw->type;

	memcpy(gw->config + t->writable, bytes, t->n_writable);
	if (gw->link.protocol & VG_FEATURE(VG_VU_PF_CONFIG))
		gw_say_config(gw, t->writable, bytes, t->n_writable);
}

int gw_op_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct gateway *gw = dev->priv;
	const struct gw_type *t = gw->type;

	if (off < t->writable || off + len > (uint32_t)t->writable + t->n_writable)
		return -EPERM;
	if (memcmp(gw->config + off, buf, len) == 0)
		return 0;
	memcpy(gw->config + off, buf, len);
	dev->saved[0] |= GW_SAVED_CONFIG;
	memcpy(dev->saved + 1, gw->config + t->writable, t->n_writable);
	write_config(gw, dev->saved + 1);
	return 0;
}

void gw_config_came(struct gateway *gw, const uint8_t *bytes)
{
	const struct gw_type *t = gw->type;
	uint8_t before[GW_CONFIG];

	memcpy(before, gw->config, t->config);
	memcpy(gw->config, bytes, t->config);
	/* What it writes itself the driver knows better. */
	memcpy(gw->config + t->writable, before + t->writable, t->n_writable);
	patch_config(gw);
	gw->asked = gw->ask_again;
	gw->ask_again = false;
	if (gw->asked)
		gw_ask_config(gw);
	if (memcmp(before, gw->config, t->config) != 0)
		vg_dev_config_changed(gw->dev);
}

/* ---- life --------------------------------------------------------------- */

/* Another daemon, to a driver that may know another device. */
int gw_op_resume(struct vg_dev *dev)
{
	const struct gateway *gw = dev->priv;

	return dev->features & DEVICE_FEATURES & ~gw->link.features ? -EOPNOTSUPP : 0;
}

int gw_op_start(struct vg_dev *dev)
{
	struct gateway *gw = dev->priv;

	gw->lends = gw->lends && !(dev->saved[0] & GW_SAVED_TOLD);
	gw_say_features(gw, (dev->features & DEVICE_FEATURES) | VG_FEATURE(VG_F_VERSION_1) |
				    (gw->lends ? VG_FEATURE(VG_F_INDIRECT_DESC) : 0) |
				    (gw->through ? VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) : 0));
	gw_say_memory(gw);
	if (dev->saved_size && dev->saved[0] & GW_SAVED_CONFIG)
		write_config(gw, dev->saved + 1);
	else if (gw->through)
		write_config(gw, gw->first);
	return 0;
}

void gw_op_start_queue(struct vg_dev *dev, unsigned q)
{
	struct gateway *gw = dev->priv;

	gw_queue_start(&gw->queue[q]);
}

void gw_op_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct gateway *gw = dev->priv;

	gw_queue_take(&gw->queue[q]);
}

void gw_op_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct gateway *gw = dev->priv;

	gw_queue_stop(&gw->queue[q]);
}

void gw_op_reset(struct vg_dev *dev)
{
	struct gateway *gw = dev->priv;

	if (dev->saved_size && dev->saved[0] & GW_SAVED_CONFIG)
		write_config(gw, gw->first);
	memset(dev->saved, 0, dev->saved_size);
}

/* Where a supervisor is, this worker has ended by then. */
void gw_op_tick(struct vg_dev *dev)
{
	struct gateway *gw = dev->priv;

	if (gw_is_lost(&gw->link) && dev->started && ++gw->lost_s == END_S)
		vg_dev_fault(dev, "its daemon is lost (%s), and nobody is here to begin anew",
			     gw->link.why);
}

void gw_op_describe(struct vg_dev *dev, char *buf, size_t len)
{
	const struct gateway *gw = dev->priv;
	unsigned out = 0;
	int at;

	for (unsigned q = 0; q < dev->n_queues; q++)
		out += gw_ring_out(&gw->queue[q].ring);
	at = snprintf(buf, len, "type=%s daemon=%s out=%u", gw->type->name,
		      gw_is_lost(&gw->link) ? "lost" : gw->socket, out);
	if (gw->uncopied && at >= 0 && (size_t)at < len)
		at += snprintf(buf + at, len - (size_t)at, " uncopied=%llu",
			       (unsigned long long)gw->uncopied);
	if (gw->withheld && at >= 0 && (size_t)at < len)
		snprintf(buf + at, len - (size_t)at, " not-carried=0x%llx",
			 (unsigned long long)gw->withheld);
}

void gw_op_trouble(struct vg_dev *dev, char *buf, size_t len)
{
	const struct gateway *gw = dev->priv;

	if (gw_is_lost(&gw->link))
		snprintf(buf, len, "its daemon is lost, and another is waited for: %s",
			 gw->link.why);
	else
		buf[0] = '\0';
}
