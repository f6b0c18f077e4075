// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * types.c - what a gateway must know of VIRTIO's devices (VIRTIO 1.3 section 5)
 *
 * Requests are carried as they are; a row says only what lies around them. A device whose requests name
 * memory of the guest that is in no buffer, or whose memory is shared with the guest, cannot be carried:
 * the daemon sees copies of buffers, and nothing else of its guest.
 *
 * A failure is what a driver takes for one, in that device's own words: it is said for a request that may
 * have been carried out already and must not be again, and for one that is too large.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gateway/int.h"

#define B(bit) VG_FEATURE(bit)

/* A network device's control queue is its front-end's matter, and what needs it: CTRL_GUEST_OFFLOADS,
 * CTRL_VQ to CTRL_VLAN, GUEST_ANNOUNCE, MQ, CTRL_MAC_ADDR, DEVICE_STATS to NOTF_COAL, HASH_REPORT,
 * RSS, RSC_EXT, STANDBY (5.1.3). */
#define NET_CONTROL                                                                             \
	(B(2) | B(17) | B(18) | B(19) | B(21) | B(22) | B(23) | B(50) | B(51) | B(52) | B(53) | \
	 B(57) | B(60) | B(61) | B(62))
/* MTU, MAC, STATUS, SPEED_DUPLEX */
#define NET_CONFIG (B(3) | B(5) | B(16) | B(63))

/* 5.2.6: VIRTIO_BLK_S_IOERR, the last byte. */
static const struct gw_failure blk_failure = { .bytes = { 1 }, .n = 1, .at_end = true };
/* 5.6.6.1: response VIRTIO_SCSI_S_FAILURE behind sense_len, residual, status_qualifier and status. */
static const struct gw_failure scsi_failure = { .bytes = { [11] = 9 }, .n = 12 };
/* 5.11.6: struct fuse_out_header of <linux/fuse.h>: len, error -EIO, and the request's unique. */
static const struct gw_failure fs_failure = { .bytes = { [0] = 16, [4] = 0xfb, 0xff, 0xff, 0xff },
					      .n = 16,
					      .echo = true,
					      .from = 8,
					      .to = 8 };

static const char names_memory[] = "its requests name memory of the guest beside their buffers";
static const char shares_memory[] = "it shares memory with its guest";

static const struct gw_type types[] = {
	{ .name = "net",
	  .id = 1,
	  .queues = 2,
	  .config = 12,
	  .withheld = NET_CONTROL,
	  .unsaid = NET_CONFIG,
	  .again = true },
	/* ZONED is not of every daemon's configuration space; CONFIG_WCE's field can be written. */
	{ .name = "blk",
	  .tail = 1,
	  .id = 2,
	  .config = 60,
	  .writable = 32,
	  .n_writable = 1,
	  .count = { .at = 34, .size = 2, .bit = 12 },
	  .withheld = B(17),
	  .again = true,
	  .failure = &blk_failure },
	/* MULTIPORT: ports come and go by a control queue of their own number. */
	{ .name = "console", .id = 3, .queues = 2, .config = 12, .withheld = B(1), .unsaid = B(0) },
	{ .name = "rng", .id = 4, .queues = 1, .again = true },
	{ .name = "balloon", .id = 5, .never = names_memory },
	/* Linux' vhost-scsi gives requests back with a length of 0. */
	{ .name = "scsi",
	  .whole = true,
	  .id = 8,
	  .queues = 2,
	  .config = 36,
	  .writable = 20,
	  .n_writable = 8,
	  .count = { .at = 0, .size = 4, .always = true },
	  .failure = &scsi_failure },
	{ .name = "9p", .id = 9, .queues = 1, .config = 66 },
	{ .name = "gpu", .id = 16, .never = names_memory },
	{ .name = "input",
	  .id = 18,
	  .never = "its driver asks for the daemon's configuration piece by piece; vgrant has a "
		   "device "
		   "input of its own" },
	{ .name = "vsock", .id = 19, .queues = 3, .config = 8 },
	{ .name = "crypto",
	  .tail = 1,
	  .id = 20,
	  .queues = 1,
	  .config = 56,
	  .count = { .at = 4, .size = 4, .always = true } },
	{ .name = "iommu", .id = 23, .never = names_memory },
	{ .name = "mem", .id = 24, .never = names_memory },
	{ .name = "sound", .id = 25, .queues = 4, .config = 12 },
	/* NOTIFICATION has a queue between the others. */
	{ .name = "fs",
	  .id = 26,
	  .queues = 1,
	  .config = 40,
	  .count = { .at = 36, .size = 4, .always = true },
	  .withheld = B(0),
	  .failure = &fs_failure },
	{ .name = "pmem", .id = 27, .never = shares_memory },
	{ .name = "rpmb", .id = 28, .queues = 1, .config = 3 },
	{ .name = "scmi", .id = 32, .queues = 2 },
	{ .name = "i2c", .tail = 1, .id = 34, .queues = 1 },
	{ .name = "can", .id = 36, .queues = 3, .config = 2 },
	{ .name = "bt", .id = 40, .queues = 2, .config = 8 },
	{ .name = "gpio", .id = 41, .queues = 2, .config = 8 },
};

static const struct gw_type *row(const char *name, unsigned long id)
{
	for (unsigned i = 0; i < COUNT(types); i++) {
		if (id ? types[i].id == id : strcmp(types[i].name, name) == 0)
			return &types[i];
	}
	return NULL;
}

const struct gw_type *gw_type_find(const char *text, struct gw_type *spare, struct vg_err *err)
{
	char *end;
	unsigned long id = strtoul(text, &end, 10);
	const struct gw_type *t = row(text, *text && !*end ? id : 0);

	if (t && t->never) {
		vg_fail(err, -EOPNOTSUPP, "type=%s: no gateway can carry it: %s", t->name,
			t->never);
		return NULL;
	}
	if (t)
		return t;
	if (!*text || *end || id == 0 || id > UINT16_MAX) {
		vg_fail(err, -EINVAL,
			"type=%.40s: it is one of net, blk, console, rng, scsi, 9p, vsock, crypto, "
			"sound, "
			"fs, rpmb, scmi, i2c, can, bt and gpio, or the number of another in "
			"VIRTIO's list "
			"of devices",
			text);
		return NULL;
	}
	/* As many queues as the daemon has, no features of its own, nothing that could be read. */
	*spare = (struct gw_type){ .name = "other", .id = (uint16_t)id };
	return spare;
}
