// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_kinds.c - the kernel's devices that "vgrantd --vhost" serves (vhost_int.h)
 *
 *	vsock	/dev/vhost-vsock: queues 0 and 1; of the third, of events, the kernel knows nothing,
 *		and none is ever sent. Runs when both are enabled.
 *	scsi	/dev/vhost-scsi: a target that its user has made (targetcli(8)). Runs when nothing more
 *		comes after a queue was enabled: a driver need not have all of them.
 *	vdpa	/dev/vhost-vdpa-N: any device. Its addresses are those that the gateway has (an IOTLB
 *		maps them). It starts once, with DRIVER_OK, which nobody tells us: as scsi. Another start
 *		needs a reset. See vdpa_base() for how it stops: a network card as a whole.
 *
 * vsock and scsi stop when they are asked for the first queue's base.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_scsi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/gateway/vhost_int.h"

enum {
	QUIET_MS = 200,
	SCSI_OTHER_QUEUES = 2, /* of control, and of events: VIRTIO 1.3 section 5.6.2 */
};

/* ---- what vhost-vsock and vhost-scsi share ------------------------------------- */

static int table_memory(struct vhost *v)
{
	uint64_t space[(sizeof(struct vhost_memory) +
			VH_REGIONS * sizeof(struct vhost_memory_region)) /
		       sizeof(uint64_t)] = { 0 };
	struct vhost_memory *table = (struct vhost_memory *)space;

	table->nregions = v->n_regions;
	for (unsigned i = 0; i < v->n_regions; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = v->region[i].r.guest,
			.memory_size = v->region[i].r.size,
			.userspace_addr = (uintptr_t)v->region[i].base,
		};
	return vh_ask(v, VHOST_SET_MEM_TABLE, table);
}

/* Of a configuration space of @size bytes, which is ours to make. */
static int part_of(const void *space, size_t size, uint8_t *bytes, uint32_t off, uint32_t len)
{
	if (off > size || len > size - off)
		return -EINVAL;
	memcpy(bytes, (const uint8_t *)space + off, len);
	return 0;
}

/* What the kernel has taken up to now. */
static int table_base(const struct vhost *v, unsigned q, uint32_t *base)
{
	struct vhost_vring_state s = { .index = q };
	int ret = vh_ask(v, VHOST_GET_VRING_BASE, &s);

	*base = s.num;
	return ret;
}

/* ---- vhost-vsock ------------------------------------------------------------- */

static int vsock_open(struct vhost *v)
{
	uint64_t cid = strtoull(v->what, NULL, 10);

	v->queues = 3;
	v->kernel_queues = 2;
	v->fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	if (v->fd < 0)
		return -errno;
	return vh_ask(v, VHOST_VSOCK_SET_GUEST_CID, &cid);
}

/* VIRTIO 1.3 section 5.10.4: guest_cid */
static int vsock_config(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len)
{
	uint64_t cid = htole64(strtoull(v->what, NULL, 10));

	return part_of(&cid, sizeof(cid), bytes, off, len);
}

static int vsock_run(struct vhost *v, int run)
{
	int ret = v->running == run ? 0 : vh_ask(v, VHOST_VSOCK_SET_RUNNING, &run);

	if (ret == 0)
		v->running = run;
	return ret;
}

static int vsock_start(struct vhost *v)
{
	return v->enabled[0] && v->enabled[1] ? vsock_run(v, 1) : 0;
}

static int vsock_reset(struct vhost *v)
{
	return vsock_run(v, 0);
}

static int vsock_base(struct vhost *v, unsigned q, uint32_t *base)
{
	int ret = vsock_run(v, 0);

	return ret == 0 ? table_base(v, q, base) : ret;
}

/* ---- vhost-scsi -------------------------------------------------------------- */

static int scsi_open(struct vhost *v)
{
	v->queues = v->kernel_queues = VH_QUEUES;
	v->fd = open("/dev/vhost-scsi", O_RDWR | O_CLOEXEC);
	return v->fd < 0 ? -errno : 0;
}

/* VIRTIO 1.3 section 5.6.4. A target is a portal group of the name's, a request 1 MiB at most. */
static int scsi_config(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len)
{
	const struct virtio_scsi_config c = {
		.num_queues = htole32(v->queues - SCSI_OTHER_QUEUES),
		.seg_max = htole32(GW_SLOTS - 2),
		.max_sectors = htole32(2048),
		.cmd_per_lun = htole32(GW_SLOTS / 2),
		.event_info_size = htole32(sizeof(struct virtio_scsi_event)),
		.sense_size = htole32(VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
		.cdb_size = htole32(VIRTIO_SCSI_CDB_DEFAULT_SIZE),
		.max_target = htole16(255),
		.max_lun = htole32(16383),
	};

	return part_of(&c, sizeof(c), bytes, off, len);
}

static int scsi_endpoint(struct vhost *v, bool run)
{
	struct vhost_scsi_target t = { .abi_version = VHOST_SCSI_ABI_VERSION };
	int ret = 0;

	snprintf(t.vhost_wwpn, sizeof(t.vhost_wwpn), "%s", v->what);
	if (v->running != run)
		ret = vh_ask(v, run ? VHOST_SCSI_SET_ENDPOINT : VHOST_SCSI_CLEAR_ENDPOINT, &t);
	if (ret == 0)
		v->running = run;
	return ret;
}

static int scsi_start(struct vhost *v)
{
	return scsi_endpoint(v, true);
}

static int scsi_reset(struct vhost *v)
{
	return scsi_endpoint(v, false);
}

static int scsi_base(struct vhost *v, unsigned q, uint32_t *base)
{
	int ret = scsi_endpoint(v, false);

	return ret == 0 ? table_base(v, q, base) : ret;
}

/* ---- vhost-vdpa -------------------------------------------------------------- */

static int vdpa_status(struct vhost *v, uint8_t bits)
{
	uint8_t status = 0;
	int ret = vh_ask(v, VHOST_VDPA_GET_STATUS, &status);

	status |= bits;
	if (ret == 0)
		ret = vh_ask(v, VHOST_VDPA_SET_STATUS, &status);
	if (ret == 0)
		ret = vh_ask(v, VHOST_VDPA_GET_STATUS, &status);
	return ret == 0 && (status & bits) != bits ? -EPROTO : ret;
}

static int vdpa_open(struct vhost *v)
{
	uint64_t backend = 0;
	uint16_t entries = 0;
	uint32_t n = 0, id = 0;
	int ret;

	v->fd = open(v->what, O_RDWR | O_CLOEXEC);
	if (v->fd < 0)
		return -errno;
	ret = vh_ask(v, VHOST_GET_BACKEND_FEATURES, &backend);
	backend &= 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2;
	if (ret == 0)
		ret = vh_ask(v, VHOST_SET_BACKEND_FEATURES, &backend);
	if (ret == 0 && vh_ask(v, VHOST_VDPA_GET_VQS_COUNT, &n) < 0)
		n = 1;
	if (ret == 0)
		ret = vh_ask(v, VHOST_VDPA_GET_DEVICE_ID, &id);
	v->waits = id == VIRTIO_ID_NET;
	v->queues = v->kernel_queues = n < VH_QUEUES ? n : VH_QUEUES;
	if (ret == 0 && vh_ask(v, VHOST_VDPA_GET_VRING_NUM, &entries) == 0 && entries < GW_RING) {
		fprintf(stderr, "its queues have %u entries, and must have %d (queue-size=)\n",
			entries, GW_RING);
		return -EOPNOTSUPP;
	}
	return ret;
}

static int vdpa_agree(struct vhost *v)
{
	return vdpa_status(v, VIRTIO_CONFIG_S_FEATURES_OK);
}

static int vdpa_config(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len)
{
	uint8_t space[sizeof(struct vhost_vdpa_config) + VH_CONFIG] = { 0 };
	struct vhost_vdpa_config *c = (struct vhost_vdpa_config *)(void *)space;
	uint32_t size = 0;
	int ret = vh_ask(v, VHOST_VDPA_GET_CONFIG_SIZE, &size);

	/* What a device of few features leaves out is zero to its driver, who does not look. */
	if (ret < 0 || off >= size)
		size = off;
	c->off = off;
	c->len = len < size - off ? len : size - off;
	ret = c->len ? vh_ask(v, VHOST_VDPA_GET_CONFIG, c) : ret;
	if (ret == 0)
		memcpy(bytes, c->buf, len);
	return ret;
}

static int vdpa_map(struct vhost *v, uint8_t type)
{
	for (unsigned i = 0; i < v->n_regions; i++) {
		struct vhost_msg_v2 m = {
			.type = VHOST_IOTLB_MSG_V2,
			.iotlb = { .iova = v->region[i].r.user,
				   .size = v->region[i].r.size,
				   .uaddr = (uintptr_t)v->region[i].base,
				   .perm = VHOST_ACCESS_RW,
				   .type = type },
		};

		if (write(v->fd, &m, sizeof(m)) != sizeof(m))
			return errno ? -errno : -EIO;
	}
	return 0;
}

static int vdpa_memory(struct vhost *v)
{
	return vdpa_map(v, VHOST_IOTLB_UPDATE);
}

static int vdpa_reset(struct vhost *v)
{
	uint8_t none = 0;
	int ret = vh_ask(v, VHOST_VDPA_SET_STATUS, &none);

	v->running = false;
	if (ret == 0)
		ret = vdpa_map(v, VHOST_IOTLB_INVALIDATE);
	if (ret == 0)
		ret = vdpa_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	return ret;
}

static int vdpa_start(struct vhost *v)
{
	int ret = v->running ? 0 : vdpa_status(v, VIRTIO_CONFIG_S_DRIVER_OK);

	v->running = ret == 0;
	return ret;
}

static uint32_t index_of(const struct vhost *v, uint64_t at, uint64_t len)
{
	/* Of an available or a used ring: flags, and idx */
	const struct vring_avail *a = (const void *)(uintptr_t)vh_ours(v, at, len);

	return a ? le16toh(__atomic_load_n(&a->idx, __ATOMIC_ACQUIRE)) : 0;
}

/*
 * It takes what it was given, and is given nothing more. A network card's buffers wait for frames, and never
 * come back by themselves: it is reset, and what it has not used by then it has not taken.
 */
static int vdpa_base(struct vhost *v, unsigned q, uint32_t *base)
{
	const struct vg_vu_addr *at = &v->ring[q].at;
	uint32_t size = v->ring[q].placed ? v->ring[q].size : 0;
	uint8_t none = 0;
	int ret = 0;

	if (v->waits && v->running)
		ret = vh_ask(v, VHOST_VDPA_SET_STATUS, &none);
	*base = !size	   ? 0
		: v->waits ? index_of(v, at->used, vh_used_bytes(size))
			   : index_of(v, at->avail, vh_avail_bytes(size));
	return ret;
}

const struct vh_kind vh_kinds[] = {
	{ .name = "vsock",
	  .open = vsock_open,
	  .reset = vsock_reset,
	  .config = vsock_config,
	  .memory = table_memory,
	  .start = vsock_start,
	  .base = vsock_base },
	/* Checks of data from end to end come with requests of another form. */
	{ .name = "scsi",
	  .open = scsi_open,
	  .reset = scsi_reset,
	  .config = scsi_config,
	  .memory = table_memory,
	  .start = scsi_start,
	  .base = scsi_base,
	  .withheld = VG_FEATURE(VIRTIO_SCSI_F_T10_PI),
	  .quiet_ms = QUIET_MS },
	{ .name = "vdpa",
	  .open = vdpa_open,
	  .reset = vdpa_reset,
	  .config = vdpa_config,
	  .agree = vdpa_agree,
	  .memory = vdpa_memory,
	  .start = vdpa_start,
	  .base = vdpa_base,
	  .addresses_are_its_own = true,
	  .quiet_ms = QUIET_MS },
	{ 0 },
};
