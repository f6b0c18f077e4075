// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost.c - see vhost.h
 *
 *	worker <--vhost-user--> this process <--ioctl(2)--> the kernel's vhost device
 *	worker <----------- rings, eventfds ----------------> the kernel's vhost device
 *
 * The kernel's vhost devices are asked by ioctls (linux/vhost.h), and read and write the memory of the
 * process that owns them. So that process is one that has nothing but the memory that a daemon gets of a
 * gateway; the gateway itself neither has the device nor the right to ask it, and does not know it from
 * another daemon. No request passes by here: rings lie in memory that both have, and each end has the
 * other's eventfds.
 *
 *	vsock	/dev/vhost-vsock: queues 0 and 1; of the third, of events, the kernel knows nothing,
 *		and none is ever sent. Runs when both are enabled, and stops when it is asked for a base.
 *	vdpa	/dev/vhost-vdpa-N: any device. Its addresses are those that the gateway has (an IOTLB
 *		maps them). It starts once, with DRIVER_OK, which nobody tells us: when nothing more comes
 *		after a queue was enabled. Told to stop, it goes on to the last request that it was
 *		given; for another start it is opened anew.
 *
 * Who connects next finds a device as after its opening.
 *
 * A worker that was taken over says what it likes here. What the kernel is told lies in memory that came
 * from the worker, to the last byte of each ring: this process's own memory it never reaches. So memory is
 * given once a connection, and neither rings nor their sizes are changed without a look at both.
 */
#include "backend/devices/gateway/vhost.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/gateway/int.h"
#include "backend/wire/vhost_user.h"

enum { REGIONS = 8, QUEUES = 16, CONFIG = 256, RING_MAX = 32768 };

#define PROTOCOL (1ULL << VG_VU_PF_MQ | 1ULL << VG_VU_PF_REPLY_ACK | 1ULL << VG_VU_PF_CONFIG)

struct region {
	struct vg_vu_region r;
	uint8_t *base;
};

struct vhost;

struct kind {
	const char *name;
	int (*open)(struct vhost *v);
	int (*config)(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len);
	int (*memory)(struct vhost *v);
	int (*start)(struct vhost *v);
	int (*base)(struct vhost *v, unsigned q, uint32_t *base);
	bool addresses_are_its_own; /* and not ours */
	int quiet_ms;		    /* without a word, until it is started */
};

struct vhost {
	const struct kind *kind;
	const char *what;
	int fd;
	unsigned queues, kernel_queues; /* that there are, and that the kernel knows */
	struct region region[REGIONS];
	unsigned n_regions;
	struct {
		uint32_t size; /* entries; 0: not said yet */
		bool placed;   /* at: */
		struct vg_vu_addr at;
	} ring[QUEUES];
	bool enabled[QUEUES];
	bool running;
	bool due; /* something was enabled, and more may be on its way */
};

static int ask(const struct vhost *v, unsigned long request, void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

/* ---- memory ----------------------------------------------------------------- */

static void forget_memory(struct vhost *v)
{
	while (v->n_regions) {
		struct region *g = &v->region[--v->n_regions];

		munmap(g->base, g->r.size);
	}
}

/* Ours, of @len bytes at a front-end's address; 0: it has not all of them. */
static uint64_t ours(const struct vhost *v, uint64_t user, uint64_t len)
{
	for (unsigned i = 0; i < v->n_regions; i++) {
		const struct vg_vu_region *r = &v->region[i].r;

		if (user >= r->user && user - r->user < r->size &&
		    len <= r->size - (user - r->user))
			return (uintptr_t)v->region[i].base + (user - r->user);
	}
	return 0;
}

/* VIRTIO 1.3 section 2.7, with the fields of EVENT_IDX */
static uint64_t desc_bytes(uint32_t size)
{
	return sizeof(struct vring_desc) * (uint64_t)size;
}

static uint64_t avail_bytes(uint32_t size)
{
	return sizeof(struct vring_avail) + sizeof(uint16_t) * ((uint64_t)size + 1);
}

static uint64_t used_bytes(uint32_t size)
{
	return sizeof(struct vring_used) + sizeof(struct vring_used_elem) * (uint64_t)size +
	       sizeof(uint16_t);
}

static bool has_ring(const struct vhost *v, const struct vg_vu_addr *a, uint32_t size)
{
	return ours(v, a->desc, desc_bytes(size)) && ours(v, a->avail, avail_bytes(size)) &&
	       ours(v, a->used, used_bytes(size));
}

static int map(struct vhost *v, struct vg_vu_msg *m)
{
	if (v->n_regions)
		return -EBUSY;
	for (unsigned i = 0; i < m->table.n; i++) {
		struct region *g = &v->region[v->n_regions];
		int fd = vg_vu_take_fd(m, i);
		void *p;

		if (v->n_regions == REGIONS) {
			close(fd);
			return -E2BIG;
		}
		vg_vu_table_region(m, i, false, &g->r);
		p = mmap(NULL, g->r.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 (off_t)g->r.offset);
		close(fd);
		if (p == MAP_FAILED)
			return -errno;
		g->base = p;
		v->n_regions++;
	}
	return v->kind->memory(v);
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
	return ask(v, VHOST_VSOCK_SET_GUEST_CID, &cid);
}

/* VIRTIO 1.3 section 5.10.4: guest_cid */
static int vsock_config(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len)
{
	uint64_t cid = htole64(strtoull(v->what, NULL, 10));

	if (off > sizeof(cid) || len > sizeof(cid) - off)
		return -EINVAL;
	memcpy(bytes, (const uint8_t *)&cid + off, len);
	return 0;
}

static int vhost_memory(struct vhost *v)
{
	uint64_t
		space[(sizeof(struct vhost_memory) + REGIONS * sizeof(struct vhost_memory_region)) /
		      sizeof(uint64_t)] = { 0 };
	struct vhost_memory *table = (struct vhost_memory *)space;

	table->nregions = v->n_regions;
	for (unsigned i = 0; i < v->n_regions; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = v->region[i].r.guest,
			.memory_size = v->region[i].r.size,
			.userspace_addr = (uintptr_t)v->region[i].base,
		};
	return ask(v, VHOST_SET_MEM_TABLE, table);
}

static int vsock_run(struct vhost *v, int run)
{
	int ret = v->running == run ? 0 : ask(v, VHOST_VSOCK_SET_RUNNING, &run);

	if (ret == 0)
		v->running = run;
	return ret;
}

static int vsock_start(struct vhost *v)
{
	return v->enabled[0] && v->enabled[1] ? vsock_run(v, 1) : 0;
}

static int vsock_base(struct vhost *v, unsigned q, uint32_t *base)
{
	struct vhost_vring_state s = { .index = q };
	int ret = vsock_run(v, 0);

	if (ret == 0)
		ret = ask(v, VHOST_GET_VRING_BASE, &s);
	*base = s.num;
	return ret;
}

/* ---- vhost-vdpa -------------------------------------------------------------- */

static int vdpa_status(struct vhost *v, uint8_t bits)
{
	uint8_t status = 0;
	int ret = ask(v, VHOST_VDPA_GET_STATUS, &status);

	status |= bits;
	if (ret == 0)
		ret = ask(v, VHOST_VDPA_SET_STATUS, &status);
	if (ret == 0)
		ret = ask(v, VHOST_VDPA_GET_STATUS, &status);
	return ret == 0 && (status & bits) != bits ? -EPROTO : ret;
}

static int vdpa_open(struct vhost *v)
{
	uint64_t backend = 0;
	uint16_t entries = 0;
	uint32_t n = 0;
	int ret;

	v->fd = open(v->what, O_RDWR | O_CLOEXEC);
	if (v->fd < 0)
		return -errno;
	ret = ask(v, VHOST_GET_BACKEND_FEATURES, &backend);
	backend &= 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2;
	if (ret == 0)
		ret = ask(v, VHOST_SET_BACKEND_FEATURES, &backend);
	if (ret == 0 && ask(v, VHOST_VDPA_GET_VQS_COUNT, &n) < 0)
		n = 1;
	v->queues = v->kernel_queues = n < QUEUES ? n : QUEUES;
	if (ret == 0 && ask(v, VHOST_VDPA_GET_VRING_NUM, &entries) == 0 && entries < GW_RING) {
		fprintf(stderr, "its queues have %u entries, and must have %d (queue-size=)\n",
			entries, GW_RING);
		return -EOPNOTSUPP;
	}
	if (ret == 0)
		ret = vdpa_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	return ret;
}

static int vdpa_config(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len)
{
	uint8_t space[sizeof(struct vhost_vdpa_config) + CONFIG] = { 0 };
	struct vhost_vdpa_config *c = (struct vhost_vdpa_config *)(void *)space;
	uint32_t size = 0;
	int ret = ask(v, VHOST_VDPA_GET_CONFIG_SIZE, &size);

	/* What a device of few features leaves out is zero to its driver, who does not look. */
	if (ret < 0 || off >= size)
		size = off;
	c->off = off;
	c->len = len < size - off ? len : size - off;
	ret = c->len ? ask(v, VHOST_VDPA_GET_CONFIG, c) : ret;
	if (ret == 0)
		memcpy(bytes, c->buf, len);
	return ret;
}

static int vdpa_memory(struct vhost *v)
{
	for (unsigned i = 0; i < v->n_regions; i++) {
		struct vhost_msg_v2 m = {
			.type = VHOST_IOTLB_MSG_V2,
			.iotlb = { .iova = v->region[i].r.user,
				   .size = v->region[i].r.size,
				   .uaddr = (uintptr_t)v->region[i].base,
				   .perm = VHOST_ACCESS_RW,
				   .type = VHOST_IOTLB_UPDATE },
		};

		if (write(v->fd, &m, sizeof(m)) != sizeof(m))
			return errno ? -errno : -EIO;
	}
	return 0;
}

static int vdpa_start(struct vhost *v)
{
	int ret = v->running ? 0 : vdpa_status(v, VIRTIO_CONFIG_S_DRIVER_OK);

	v->running = ret == 0;
	return ret;
}

/* It takes what it was given, and is given nothing more. */
static int vdpa_base(struct vhost *v, unsigned q, uint32_t *base)
{
	const struct vring_avail *avail =
		(const void *)(uintptr_t)ours(v, v->ring[q].at.avail, avail_bytes(v->ring[q].size));

	*base = v->ring[q].placed && avail ? le16toh(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE))
					   : 0;
	return 0;
}

static const struct kind kinds[] = {
	{ "vsock", vsock_open, vsock_config, vhost_memory, vsock_start, vsock_base, false, 0 },
	{ "vdpa", vdpa_open, vdpa_config, vdpa_memory, vdpa_start, vdpa_base, true, 200 },
};

/* ---- opening ------------------------------------------------------------------ */

static void close_device(struct vhost *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	v->running = v->due = false;
	memset(v->enabled, 0, sizeof(v->enabled));
	memset(v->ring, 0, sizeof(v->ring));
}

static int open_device(struct vhost *v)
{
	int ret;

	close_device(v);
	ret = v->kind->open(v);
	if (ret < 0) {
		fprintf(stderr, "%s %s cannot be opened: %s\n", v->kind->name, v->what,
			strerror(-ret));
		return ret;
	}
	ret = ask(v, VHOST_SET_OWNER, NULL);
	if (ret < 0)
		fprintf(stderr, "%s %s is not ours to use: %s\n", v->kind->name, v->what,
			strerror(-ret));
	return ret;
}

/* ---- what the front-end says ---------------------------------------------------- */

/* A device that ran, and is to be started once more. */
static int begin_anew(struct vhost *v)
{
	int ret = open_device(v);

	return ret == 0 && v->n_regions ? v->kind->memory(v) : ret;
}

static int set_features(struct vhost *v, uint64_t features)
{
	int ret = v->kind->addresses_are_its_own && v->running ? begin_anew(v) : 0;

	features &= ~(1ULL << VG_VU_F_PROTOCOL_FEATURES);
	/* All that a vDPA device reads and writes goes through its IOTLB. */
	if (v->kind->addresses_are_its_own)
		features |= 1ULL << VIRTIO_F_ACCESS_PLATFORM;
	if (ret == 0)
		ret = ask(v, VHOST_SET_FEATURES, &features);
	if (ret == 0 && v->kind->addresses_are_its_own)
		ret = vdpa_status(v, VIRTIO_CONFIG_S_FEATURES_OK);
	return ret;
}

static int set_addresses(struct vhost *v, const struct vg_vu_addr *m)
{
	unsigned q = m->index;
	uint32_t size = q < v->queues ? v->ring[q].size : 0;
	struct vhost_vring_addr a = {
		.index = q,
		.desc_user_addr = m->desc,
		.avail_user_addr = m->avail,
		.used_user_addr = m->used,
	};

	if (!size || !has_ring(v, m, size))
		return -EINVAL;
	v->ring[q].at = *m;
	v->ring[q].placed = true;
	if (!v->kind->addresses_are_its_own) {
		a.desc_user_addr = ours(v, m->desc, desc_bytes(size));
		a.avail_user_addr = ours(v, m->avail, avail_bytes(size));
		a.used_user_addr = ours(v, m->used, used_bytes(size));
	}
	return q < v->kernel_queues ? ask(v, VHOST_SET_VRING_ADDR, &a) : 0;
}

static int set_state(struct vhost *v, unsigned long request, const struct vg_vu_state *m)
{
	struct vhost_vring_state s = { .index = m->index, .num = m->num };

	if (m->index >= v->queues)
		return -EINVAL;
	return m->index < v->kernel_queues ? ask(v, request, &s) : 0;
}

static int set_size(struct vhost *v, const struct vg_vu_state *m)
{
	unsigned q = m->index;
	int ret;

	if (q >= v->queues || !m->num || m->num > RING_MAX ||
	    (v->ring[q].placed && !has_ring(v, &v->ring[q].at, m->num)))
		return -EINVAL;
	ret = set_state(v, VHOST_SET_VRING_NUM, m);
	if (ret == 0)
		v->ring[q].size = m->num;
	return ret;
}

static int set_file(struct vhost *v, unsigned long request, struct vg_vu_msg *m)
{
	struct vhost_vring_file f = { .index = (uint32_t)m->u64 & VG_VU_RING_INDEX };
	int ret = 0;

	f.fd = m->u64 & VG_VU_RING_NO_FD ? -1 : vg_vu_take_fd(m, 0);
	if (f.index >= v->queues)
		ret = -EINVAL;
	else if (f.index < v->kernel_queues)
		ret = ask(v, request, &f); /* it holds the file itself */
	if (f.fd >= 0)
		close(f.fd);
	return ret;
}

static int enable(struct vhost *v, const struct vg_vu_state *m)
{
	int ret = 0;

	if (m->index >= v->queues)
		return -EINVAL;
	v->enabled[m->index] = m->num;
	v->due = true;
	if (v->kind->addresses_are_its_own)
		ret = set_state(v, VHOST_VDPA_SET_VRING_ENABLE, m);
	return ret;
}

static int get_base(struct vhost *v, struct vg_vu_msg *m)
{
	unsigned q = m->state.index;

	if (q >= v->queues)
		return -EINVAL;
	v->enabled[q] = false;
	m->state.num = 0;
	return q < v->kernel_queues ? v->kind->base(v, q, &m->state.num) : 0;
}

static int get_config(struct vhost *v, struct vg_vu_msg *m)
{
	if (m->config.offset > CONFIG || m->config.size > CONFIG)
		return -EINVAL;
	return v->kind->config(v, m->config.data, m->config.offset, m->config.size);
}

static int get_features(const struct vhost *v, uint64_t *features)
{
	int ret = ask(v, VHOST_GET_FEATURES, features);

	/* Bits that are vhost's own, not a device's, are its front-end's to set. */
	*features &= ~(1ULL << VHOST_F_LOG_ALL);
	*features |= 1ULL << VG_VU_F_PROTOCOL_FEATURES;
	return ret;
}

/* Return: 1: @m is the answer; 0; or negative errno: it is refused. */
static int carry_out(struct vhost *v, struct vg_vu_msg *m)
{
	int ret;

	switch (m->hdr.request) {
	case VG_VU_SET_OWNER:
	case VG_VU_SET_PROTOCOL_FEATURES:
		return 0;
	case VG_VU_GET_FEATURES:
		ret = get_features(v, &m->u64);
		m->hdr.size = sizeof(m->u64);
		return ret < 0 ? ret : 1;
	case VG_VU_GET_PROTOCOL_FEATURES:
	case VG_VU_GET_QUEUE_NUM:
		m->u64 = m->hdr.request == VG_VU_GET_QUEUE_NUM ? v->queues : PROTOCOL;
		m->hdr.size = sizeof(m->u64);
		return 1;
	case VG_VU_GET_CONFIG:
		ret = get_config(v, m);
		return ret < 0 ? ret : 1;
	case VG_VU_GET_VRING_BASE:
		ret = get_base(v, m);
		return ret < 0 ? ret : 1;
	case VG_VU_SET_FEATURES:
		return set_features(v, m->u64);
	case VG_VU_SET_MEM_TABLE:
		return map(v, m);
	case VG_VU_SET_VRING_NUM:
		return set_size(v, &m->state);
	case VG_VU_SET_VRING_BASE:
		return set_state(v, VHOST_SET_VRING_BASE, &m->state);
	case VG_VU_SET_VRING_ADDR:
		return set_addresses(v, &m->addr);
	case VG_VU_SET_VRING_KICK:
		return set_file(v, VHOST_SET_VRING_KICK, m);
	case VG_VU_SET_VRING_CALL:
		return set_file(v, VHOST_SET_VRING_CALL, m);
	case VG_VU_SET_VRING_ENABLE:
		return enable(v, &m->state);
	default:
		return -EOPNOTSUPP;
	}
}

/* Return: 1, or 0: the front-end cannot go on. */
static int answer(struct vhost *v, int sock, struct vg_vu_msg *m)
{
	bool wants = m->hdr.flags & VG_VU_NEED_REPLY;
	uint32_t request = m->hdr.request;
	struct vg_err err = { "" };
	int ret = vg_vu_check(m, VG_VU_MAIN_REQUEST, false, &err);

	if (ret == 0)
		ret = carry_out(v, m);
	vg_vu_drop_fds(m);
	if (ret == 1) {
		m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
		m->n_fds = 0;
		return vg_vu_send(sock, m) == 0;
	}
	if (wants && !vg_vu_has_reply(request) &&
	    vg_vu_send_u64(sock, request, VG_VU_REPLY, ret < 0) < 0)
		return 0;
	if (ret == 0 || request == VG_VU_SET_CONFIG)
		return 1;
	fprintf(stderr, "%s: %s\n", vg_vu_name(VG_VU_MAIN_REQUEST, request),
		err.text[0] ? err.text : strerror(-ret));
	return 0;
}

/* Nothing has come. Return: 1: something may have, or it is time to go on; 0: it is no use. */
static int wait(struct vhost *v, int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int ret = poll(&p, 1, v->due ? v->kind->quiet_ms : -1);

	if (ret != 0)
		return ret > 0 || errno == EINTR;
	v->due = false;
	ret = v->kind->start(v);
	if (ret < 0)
		fprintf(stderr, "the device cannot be started: %s\n", strerror(-ret));
	return ret == 0;
}

/* Until it hangs up, or is no use. */
static void serve(struct vhost *v, int sock)
{
	struct vg_vu_reader in;
	int ret;

	vg_vu_reader_init(&in);
	do {
		ret = vg_vu_read(&in, sock);
		if (ret == 1)
			ret = answer(v, sock, &in.msg);
		else if (ret == -EAGAIN)
			ret = wait(v, sock);
	} while (ret > 0);
	vg_vu_reader_fini(&in);
}

int vg_vhost_main(const char *kind, const char *what)
{
	static struct vhost v = { .fd = -1 };
	int sock;

	for (size_t i = 0; i < COUNT(kinds); i++) {
		if (strcmp(kind, kinds[i].name) == 0)
			v.kind = &kinds[i];
	}
	v.what = what;
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (!v.kind || open_device(&v) < 0)
		return EXIT_FAILURE;
	while ((sock = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		serve(&v, sock);
		close(sock);
		forget_memory(&v);
		if (open_device(&v) < 0)
			return EXIT_FAILURE;
	}
	fprintf(stderr, "its socket is gone: %s\n", strerror(errno));
	return EXIT_FAILURE;
}
