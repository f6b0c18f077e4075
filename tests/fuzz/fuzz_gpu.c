/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_gpu.c - libFuzzer target: a hostile driver, display, front-end and renderer against the GPU
 *
 * The input is a little program. A header chooses how memory is reached, and the features; then each
 * step is a command, right, nearly right (with some of its bytes changed), or any bytes, with room for
 * an answer or not, on either queue; a message of the display's, or another display; a table of memory
 * that changes; time; a setting; a reset, of a queue or all. Rings keep the rules: breaking those is
 * fuzz_ring's matter. With another bit there is a front-end that shows the picture itself, by QEMU's GPU
 * socket, and does with it what the display does with its own. With 3D (a bit of the header) there is a
 * renderer, too, which answers, writes to the window, errs, talks nonsense, or goes, and another comes.
 *
 * What must hold: no crash, no sanitizer report; the counts of what is held are those of what is
 * there, within the limits; each command is answered, at the latest when the display was waited for;
 * answers with fences come in the order of the commands; what a front-end is shown lies in the picture of
 * which it was told before, as QEMU takes for granted; what a renderer is told makes sense, and no two
 * operations under way have the same part of the window; what was saved makes the same device again;
 * after a reset nothing is mapped, and nothing held.
 */
#include <endian.h>
#include <poll.h>
#include <sys/socket.h>

#include "backend/base/container.h"
#include "backend/devices/gpu/int.h"
#include "backend/ports/vhost_user/int.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum { RING = 16, SLOTS = 16, SLOT = 4096, PICTURES = 256 << 10 };

/* ---- memory ------------------------------------------------------------------- */

static struct drv_buf pictures;
static unsigned mapped; /* backings, of fm_copied */

static int copied_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
			   enum vg_dir dir, struct vg_map *out, struct vg_backing *b)
{
	int ret = fm_regions.mem.ops->map_long(&fm_regions.mem, segs, n, dir, out, b);

	if (ret == 0) {
		*out = (struct vg_map){ .ptr = mem, .is_long = true };
		mapped++;
	}
	return ret;
}

static void copied_unmap(struct vg_mem *mem, struct vg_map *map)
{
	if (map->is_long)
		mapped--;
	else
		fm_unmap(mem, map);
}

static const struct vg_mem_ops copied_ops = {
	.copy = fm_copy, .map = fm_map, .unmap = copied_unmap, .map_long = copied_map_long
};

/* ---- the driver ------------------------------------------------------------------ */

struct slot {
	bool out, fenced;
	uint64_t number; /* of those with a fence */
	uint8_t *in;
	uint32_t room;
};

static struct vg_dev dev;
static struct drv_vring vr[GPU_QUEUES];
static struct slot slots[GPU_QUEUES][SLOTS];
static uint64_t fences, passed; /* given, and come back */
static int display = -1;
static bool three; /* 3D is configured */
static bool shown_by_front;
static int renderer = -1; /* its end of the socket */
static struct vg_render_op
	told[VG_LIMIT_GPU_OPERATIONS * 2]; /* and not answered, the oldest first */
static unsigned n_told;

static void notify(struct vg_port *p, unsigned q)
{
	(void)p;
	(void)q;
}

static void config_changed(struct vg_port *p)
{
	(void)p;
}

static const struct vg_port_ops port_ops = {
	.name = "fuzz",
	.features = VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_EVENT_IDX) |
		    VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED) |
		    VG_FEATURE(VG_F_IN_ORDER) | VG_FEATURE(VG_F_RING_RESET),
	.notify = notify,
	.config_changed = config_changed,
};
static struct vg_port port = { .ops = &port_ops };

static void fl_turn(void)
{
	fl_deferred();
}

static void ring(unsigned q)
{
	struct drv_vring_config cfg = {
		.size = RING,
		.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
		.indirect = vg_dev_has(&dev, VG_F_INDIRECT_DESC),
		.in_order = vg_dev_has(&dev, VG_F_IN_ORDER),
	};

	MUST(drv_vring_init(&vr[q], &cfg, &fm_flat.mem) == 0);
	MUST(vg_dev_set_queue(&dev, q, RING, vr[q].desc_mem.addr, vr[q].driver_mem.addr,
			      vr[q].device_mem.addr, NULL, NULL) == 0);
}

static void forget_rings(void)
{
	for (unsigned q = 0; q < GPU_QUEUES; q++) {
		if (vr[q].mem)
			drv_vring_fini(&vr[q]);
		memset(&vr[q], 0, sizeof(vr[q]));
	}
	memset(slots, 0, sizeof(slots));
	passed = fences;
}

/* Nothing is held of a guest that has reset its device. */
static void reset(void)
{
	const struct gpu *gpu = dev.priv;

	dh_status(&dev, 0);
	MUST(!gpu->res.n && !gpu->res.ranges && !gpu->res.host_bytes && !gpu->pending && !mapped);
	forget_rings();
}

static void start(uint64_t features)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	reset();
	if (!(features & VG_FEATURE(VIRTIO_GPU_F_VIRGL)))
		features &= ~VG_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT); /* it would not be taken */
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & features) | VG_FEATURE(VG_F_VERSION_1));
	MUST(dh_status(&dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK);
	ring(GPU_CONTROLQ);
	ring(GPU_CURSORQ);
	dh_status(&dev, status | VG_STATUS_FEATURES_OK | VG_STATUS_DRIVER_OK);
}

static void take(void)
{
	for (unsigned q = 0; q < GPU_QUEUES; q++) {
		struct drv_used used;

		while (vr[q].mem && drv_vring_get(&vr[q], &used) > 0) {
			struct slot *s = used.cookie;

			MUST(s->out);
			MUST(used.len <= s->room);
			s->out = false;
			if (!s->fenced)
				continue;
			MUST(s->number == passed);
			passed++;
		}
	}
}

static void kick(unsigned q)
{
	if (vr[q].mem)
		drv_vring_publish(&vr[q]);
	vg_dev_kick(&dev, q);
}

/* ---- commands ---------------------------------------------------------------------- */

static uint32_t small(void)
{
	uint8_t v = u8();

	return v < 250 ? v : u32();
}

static uint32_t id(void)
{
	return below(8);
}

static struct virtio_gpu_rect rect(void)
{
	return (struct virtio_gpu_rect){ small(), small(), small(), small() };
}

static uint32_t format(void)
{
	static const uint32_t formats[] = { 1, 2, 3, 4, 67, 68, 121, 134 };
	uint8_t v = u8();

	return v < 200 ? formats[v % 8] : v;
}

/* Entries behind a command. Return: bytes. */
static size_t entries(uint8_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t v = u8();
		struct virtio_gpu_mem_entry e = { pictures.addr + v * 1024ull % PICTURES,
						  1 + u16() % 20000, 0 };

		if (v == 255)
			e.addr = u64();
		else if (e.length > pictures.addr + PICTURES - e.addr)
			e.length = (uint32_t)(pictures.addr + PICTURES - e.addr);
		memcpy(to + i * sizeof(e), &e, sizeof(e));
	}
	return n * sizeof(struct virtio_gpu_mem_entry);
}

static struct virtio_gpu_box box(void)
{
	return (struct virtio_gpu_box){ small(), small(), chance(8) ? small() : 0,
					small(), small(), chance(8) ? small() : 1 };
}

/* The same of 3D. */
static size_t command_3d(uint8_t *to)
{
	union gpu_request r = { .hdr = { .ctx_id = below(4) } };
	size_t len = sizeof(r.hdr), more = 0;

	switch (below(10)) {
	case 0:
		r.capset_info.hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO;
		r.capset_info.capset_index = below(4);
		len = sizeof(r.capset_info);
		break;
	case 1:
		r.capset.hdr.type = VIRTIO_GPU_CMD_GET_CAPSET;
		r.capset.capset_id = below(4);
		r.capset.capset_version = below(4);
		len = sizeof(r.capset);
		break;
	case 2:
		r.ctx_create.hdr.type = VIRTIO_GPU_CMD_CTX_CREATE;
		r.ctx_create.nlen = small();
		r.ctx_create.context_init = below(4);
		len = sizeof(r.ctx_create);
		break;
	case 3:
		r.hdr.type = VIRTIO_GPU_CMD_CTX_DESTROY;
		break;
	case 4:
		r.ctx_resource.hdr.type = chance(3) ? VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE
						    : VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
		r.ctx_resource.resource_id = id();
		len = sizeof(r.ctx_resource);
		break;
	case 5:
	case 6:
		r.create_3d.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D;
		r.create_3d.resource_id = id();
		r.create_3d.target = chance(3) ? below(10) : 0;
		r.create_3d.format = format();
		r.create_3d.bind = chance(2) ? 1u << 17 : u32();
		r.create_3d.width = small();
		r.create_3d.height = r.create_3d.target ? small() : 1;
		r.create_3d.depth = chance(8) ? small() : 1;
		r.create_3d.array_size = chance(8) ? small() : 1;
		r.create_3d.last_level = chance(4) ? u8() : 0;
		len = sizeof(r.create_3d);
		break;
	case 7:
	case 8:
		r.transfer_3d.hdr.type = chance(2) ? VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D
						   : VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D;
		r.transfer_3d.box = box();
		r.transfer_3d.offset = chance(8) ? u64() : small();
		r.transfer_3d.resource_id = id();
		r.transfer_3d.level = chance(8) ? u8() : 0;
		r.transfer_3d.stride = chance(4) ? small() : 0;
		r.transfer_3d.layer_stride = chance(8) ? small() : 0;
		len = sizeof(r.transfer_3d);
		break;
	case 9:
		r.submit.hdr.type = VIRTIO_GPU_CMD_SUBMIT_3D;
		more = below(64) * 4;
		r.submit.size = chance(8) ? u32() : (uint32_t)more;
		len = sizeof(r.submit);
		memset(to + len, 0x55, more);
		break;
	}
	if (chance(2))
		r.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	memcpy(to, &r, len);
	return len + more;
}

/* Return: bytes of a command that is right, but for its numbers. */
static size_t command(uint8_t *to)
{
	union gpu_request r = { .hdr = { 0 } };
	size_t len = sizeof(r.hdr), more = 0;
	unsigned n;

	switch (below(16)) {
	case 0:
		r.hdr.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO;
		break;
	case 1:
		r.edid.hdr.type = VIRTIO_GPU_CMD_GET_EDID;
		r.edid.scanout = below(4);
		len = sizeof(r.edid);
		break;
	case 2:
	case 3:
		r.create_2d.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D;
		r.create_2d.resource_id = id();
		r.create_2d.format = format();
		r.create_2d.width = small();
		r.create_2d.height = small();
		len = sizeof(r.create_2d);
		break;
	case 4:
		r.unref.hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF;
		r.unref.resource_id = id();
		len = sizeof(r.unref);
		break;
	case 5:
	case 6:
		n = below(20);
		r.attach.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING;
		r.attach.resource_id = id();
		r.attach.nr_entries = chance(16) ? u32() : n;
		len = sizeof(r.attach);
		more = entries(to + len, n);
		break;
	case 7:
		r.detach.hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING;
		r.detach.resource_id = id();
		len = sizeof(r.detach);
		break;
	case 8:
	case 9:
		n = below(20);
		r.create_blob.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB;
		r.create_blob.resource_id = id();
		r.create_blob.blob_mem = chance(16) ? u8() : VIRTIO_GPU_BLOB_MEM_GUEST;
		r.create_blob.nr_entries = n;
		r.create_blob.size = chance(16) ? u64() : u16();
		len = sizeof(r.create_blob);
		more = entries(to + len, n);
		break;
	case 10:
		r.set_scanout.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT;
		r.set_scanout.scanout_id = below(4);
		r.set_scanout.resource_id = id();
		r.set_scanout.r = rect();
		len = sizeof(r.set_scanout);
		break;
	case 11:
		r.scanout_blob.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB;
		r.scanout_blob.scanout_id = below(4);
		r.scanout_blob.resource_id = id();
		r.scanout_blob.r = rect();
		r.scanout_blob.width = small();
		r.scanout_blob.height = small();
		r.scanout_blob.format = format();
		r.scanout_blob.strides[0] = chance(8) ? u32() : u16();
		r.scanout_blob.offsets[0] = small();
		len = sizeof(r.scanout_blob);
		break;
	case 12:
		r.transfer.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D;
		r.transfer.resource_id = id();
		r.transfer.r = rect();
		r.transfer.offset = chance(8) ? u64() : u16();
		len = sizeof(r.transfer);
		break;
	case 13:
	case 14:
		r.flush.hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH;
		r.flush.resource_id = id();
		r.flush.r = rect();
		len = sizeof(r.flush);
		break;
	case 15:
		r.assign_uuid.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID;
		r.assign_uuid.resource_id = id();
		len = sizeof(r.assign_uuid);
		break;
	}
	if (chance(3))
		r.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	memcpy(to, &r, len);
	return len + more;
}

static size_t cursor(uint8_t *to)
{
	const struct virtio_gpu_update_cursor c = {
		.hdr.type = chance(3) ? VIRTIO_GPU_CMD_MOVE_CURSOR : VIRTIO_GPU_CMD_UPDATE_CURSOR,
		.pos = { below(4), small(), small(), 0 },
		.resource_id = id(),
		.hot_x = small(),
		.hot_y = small(),
	};

	memcpy(to, &c, sizeof(c));
	return sizeof(c);
}

static void submit(unsigned q)
{
	struct drv_seg out[2], in;
	struct slot *s;
	uint32_t flags, room, cut;
	uint8_t *to;
	size_t len;
	unsigned i = 0;

	while (i < SLOTS && slots[q][i].out)
		i++;
	if (i == SLOTS || !vr[q].mem || vr[q].num_free < 3)
		return;
	s = &slots[q][i];
	to = (uint8_t *)fm_arena.virt + (q * SLOTS + i) * (size_t)SLOT;
	if (q == GPU_CURSORQ)
		len = cursor(to);
	else
		len = three && chance(2) ? command_3d(to) : command(to);
	for (unsigned k = below(8); k > 5; k--)
		to[u16() % len] = u8();
	if (chance(20))
		len = 1 + u8();
	room = chance(30) ? u8() : 1500;
	if (q == GPU_CONTROLQ && room < sizeof(struct virtio_gpu_ctrl_hdr))
		room = sizeof(struct virtio_gpu_ctrl_hdr); /* less is a fault, as it should be */
	cut = len > 1 && chance(4) ? 1 + u8() % (uint32_t)(len - 1) : (uint32_t)len;
	out[0] = (struct drv_seg){ fm_arena.addr + (uint64_t)(to - (uint8_t *)fm_arena.virt), cut };
	out[1] = (struct drv_seg){ out[0].addr + cut, (uint32_t)len - cut };
	in = (struct drv_seg){ out[0].addr + SLOT / 2, room };
	memcpy(&flags, to + 4, sizeof(flags));
	*s = (struct slot){ .out = true, .in = to + SLOT / 2, .room = room };
	if (drv_vring_add(&vr[q], out, out[1].len ? 2 : 1, &in, room ? 1 : 0, s, 0) < 0) {
		s->out = false;
		return;
	}
	if (q == GPU_CONTROLQ && len >= sizeof(struct virtio_gpu_ctrl_hdr) &&
	    (flags & VIRTIO_GPU_FLAG_FENCE)) {
		s->fenced = true;
		s->number = fences++;
	}
	kick(q);
}

/* ---- the display -------------------------------------------------------------------- */

static void hang_up(void)
{
	if (display >= 0)
		close(display);
	display = -1;
}

static void another(void)
{
	int pair[2];

	hang_up();
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	display = pair[1];
	dev.ops->peer(&dev, pair[0]);
}

static void say(void)
{
	struct vg_display_msg m = { .type = chance(4) ? u8() : VG_DISPLAY_READ, .head = below(4) };

	if (display < 0)
		return;
	m.mode.width = small(); /* serial, too */
	m.mode.height = small();
	send(display, &m, chance(30) ? u8() % sizeof(m) : sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	fl_ready_all(POLLIN);
}

static void drain(void)
{
	struct vg_display_msg m;
	int fd;

	while (display >= 0 && vg_display_recv(display, &m, &fd, MSG_DONTWAIT) == 1) {
		if (fd >= 0)
			close(fd);
		MUST(m.head < 3);
		if (m.type == VG_DISPLAY_MODE)
			MUST(vg_display_mode_ok(m.mode.width, m.mode.height));
	}
}

/* ---- the front-end ------------------------------------------------------------------ */

enum { FRONT_MAX = 1 << 17, QUESTIONS = 64 }; /* bytes of a message to it; an UPDATE has the most */

static struct vg_vu vu; /* of which the screen uses the device alone */
static int front = -1;	/* its end of the GPU socket */
static struct {
	uint32_t hdr[3];
	uint8_t payload[FRONT_MAX];
	size_t got;
	uint32_t width[GPU_HEADS], height[GPU_HEADS];
	uint32_t asked[QUESTIONS]; /* and not answered, the oldest first */
	unsigned n;
} told_front;

static void front_goes(void)
{
	if (front >= 0)
		close(front);
	front = -1;
	memset(&told_front, 0, sizeof(told_front));
}

static void front_comes(void)
{
	int pair[2];

	front_goes();
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	front = pair[1];
	MUST(vg_vu_screen_new(&vu, pair[0]) == 0);
}

/* One message, which is of its form. */
static void front_hears(void)
{
	uint32_t m[5] = { 0 }, size = told_front.hdr[2];

	memcpy(m, told_front.payload, size < sizeof(m) ? size : sizeof(m));
	switch (told_front.hdr[0]) {
	case 1: /* GET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, GET_EDID */
	case 3:
	case 11:
		MUST(told_front.n < QUESTIONS && size == (told_front.hdr[0] == 11 ? 4 : 0));
		told_front.asked[told_front.n++] = told_front.hdr[0];
		break;
	case 2: /* SET_PROTOCOL_FEATURES */
		MUST(size == 8 && told_front.payload[0] < 2);
		break;
	case 4: /* CURSOR_POS, CURSOR_POS_HIDE, CURSOR_UPDATE */
	case 5:
	case 6:
		MUST(size == (told_front.hdr[0] == 6 ? 20 + VG_DISPLAY_CURSOR_BYTES : 12));
		MUST(m[0] < 3);
		break;
	case 7: /* SCANOUT */
		MUST(size == 12 && m[0] < 3 && vg_display_mode_ok(m[1], m[2]));
		told_front.width[m[0]] = m[1];
		told_front.height[m[0]] = m[2];
		break;
	case 8: /* UPDATE */
		MUST(m[0] < 3 && m[3] && m[4] && size == 20 + m[3] * m[4] * 4);
		MUST((uint64_t)m[1] + m[3] <= told_front.width[m[0]] &&
		     (uint64_t)m[2] + m[4] <= told_front.height[m[0]]);
		break;
	default:
		MUST(false);
	}
}

static void front_reads(void)
{
	while (front >= 0) {
		size_t header = sizeof(told_front.hdr), got = told_front.got;
		size_t whole = got < header ? header : header + told_front.hdr[2];
		uint8_t *to = got < header ? (uint8_t *)told_front.hdr + got
					   : told_front.payload + (got - header);
		ssize_t n;

		MUST(whole <= header + FRONT_MAX);
		if (got >= header && got == whole) {
			front_hears();
			told_front.got = 0;
			continue;
		}
		n = recv(front, to, whole - got, MSG_DONTWAIT);
		if (n == 0)
			front_goes();
		if (n <= 0)
			return;
		told_front.got += (size_t)n;
	}
}

/* An answer, right, nearly right, or to another question. */
static void front_answers(void)
{
	struct {
		uint32_t hdr[3];
		uint8_t payload[sizeof(struct virtio_gpu_resp_edid)];
	} m = { .hdr = { told_front.n ? told_front.asked[0] : 3, 4, 8 } };
	uint32_t type = 0;
	size_t len;

	if (front < 0)
		return;
	if (told_front.n) {
		told_front.n--;
		memmove(told_front.asked, told_front.asked + 1, sizeof(m.hdr[0]) * told_front.n);
	}
	fuzz_bytes(m.payload + sizeof(struct virtio_gpu_ctrl_hdr), 32);
	m.payload[0] = u8();
	if (m.hdr[0] == 3) {
		m.hdr[2] = sizeof(struct virtio_gpu_resp_display_info);
		type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
	} else if (m.hdr[0] == 11) {
		const uint32_t size = 128u * (1 + below(9));

		m.hdr[2] = sizeof(struct virtio_gpu_resp_edid);
		type = VIRTIO_GPU_RESP_OK_EDID;
		memcpy(m.payload + offsetof(struct virtio_gpu_resp_edid, size), &size, 4);
	}
	if (type)
		memcpy(m.payload, &type, sizeof(type));
	if (chance(16))
		((uint8_t *)&m)[below(48)] = u8();
	len = sizeof(m.hdr) + (m.hdr[2] < sizeof(m.payload) ? m.hdr[2] : sizeof(m.payload));
	send(front, &m, chance(16) ? u16() % len : len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void front_step(void)
{
	unsigned what = below(8);

	if (what == 0 && chance(4))
		front_comes();
	else if (what == 0 && chance(4))
		front_goes();
	else if (what < 3)
		front_reads();
	else if (what < 6)
		front_answers();
	fl_ready_all(POLLIN | POLLOUT);
}

/* ---- the renderer ------------------------------------------------------------------- */

static void renderer_goes(void)
{
	if (renderer >= 0)
		close(renderer);
	renderer = -1;
	n_told = 0;
}

static void renderer_comes(void)
{
	static const struct vg_render_capsets caps = { 2, { { 1, 1, 308 }, { 2, 2, 1376 } } };
	struct vg_render_capsets any = { u8(), { { u8(), u8(), u16() }, { 0 } } };
	int pair[2];

	renderer_goes();
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	renderer = pair[1];
	dev.ops->renderer(&dev, pair[0], chance(16) ? &any : &caps);
}

/* Do @a and @b have anything of the window in common? */
static bool overlap(const struct vg_render_op *a, const struct vg_render_op *b)
{
	return a->len && b->len && a->at < b->at + b->len && b->at < a->at + a->len;
}

static void renderer_hears(void)
{
	struct vg_render_op op;
	int fd;

	while (renderer >= 0 && vg_render_recv(renderer, &op, &fd) == 1) {
		MUST((fd >= 0) == (op.type == VG_RENDER_HELLO));
		if (fd >= 0)
			close(fd);
		MUST(vg_render_ok(&op));
		if (op.type == VG_RENDER_HELLO)
			continue;
		MUST(n_told < sizeof(told) / sizeof(told[0]));
		for (unsigned i = 0; i < n_told; i++)
			MUST(!overlap(&told[i], &op));
		told[n_told++] = op;
	}
}

static void renderer_answers(bool right)
{
	const struct gpu *gpu = dev.priv;
	struct vg_render_done d = { 0 };

	renderer_hears();
	if (renderer < 0 || !n_told)
		return;
	d.seq = right || !chance(30) ? told[0].seq : u32();
	d.error = right || !chance(4) ? 0 : u8();
	if (!right && told[0].len && told[0].len < 4096)
		memset(gpu->render.window + told[0].at, u8(), told[0].len);
	if (!right && chance(4))
		memset(gpu->render.window + VG_RENDER_WINDOW, u8(), VG_RENDER_SLOT * 8);
	n_told--;
	memmove(told, told + 1, n_told * sizeof(told[0]));
	send(renderer, &d, !right && chance(60) ? u8() % sizeof(d) : sizeof(d),
	     MSG_DONTWAIT | MSG_NOSIGNAL);
	fl_ready_all(POLLIN);
}

static void renderer_step(void)
{
	if (chance(20))
		renderer_comes();
	else if (chance(30))
		renderer_goes();
	else
		renderer_answers(false);
	fl_ready_all(POLLIN);
	fl_deferred();
}

/* ---- a run ------------------------------------------------------------------------------ */

/* What is counted is what is there. */
static void check(void)
{
	const struct gpu *gpu = dev.priv;
	uint64_t bytes = 0;
	unsigned n = 0, ranges = 0;

	for (unsigned i = 0; i < GPU_BUCKETS; i++) {
		for (const struct gpu_resource *r = gpu->res.bucket[i]; r; r = r->next) {
			n++;
			ranges += r->backing.n;
			bytes += r->pixels || r->is_3d ? r->size : 0;
			MUST(r->id && r->id % GPU_BUCKETS == i);
		}
	}
	MUST(n == gpu->res.n && ranges == gpu->res.ranges && bytes == gpu->res.host_bytes);
	MUST(n <= VG_LIMIT_GPU_RESOURCES && ranges <= VG_LIMIT_GPU_RANGES &&
	     bytes <= dev.host_bytes);
	n = 0;
	for (const struct gpu_job *j = gpu->render.jobs; j; j = j->next)
		n++;
	/* One command more may tell it several things. */
	MUST(n == gpu->render.n_jobs && n <= VG_LIMIT_GPU_OPERATIONS + 8);
	for (unsigned i = 0; i < GPU_HEADS; i++)
		MUST(!gpu->head[i].shown.resource ||
		     (i < gpu->n_heads &&
		      vg_display_mode_ok(gpu->head[i].shown.r.width, gpu->head[i].shown.r.height)));
}

/* A region of memory is gone, and comes back. */
static void change_memory(bool all)
{
	struct vg_region r = { .guest_addr = FM_BASE, .size = FM_BYTES, .host = fm_memory };

	MUST(vg_regions_del(&fm_regions, FM_BASE, FM_BYTES) == 0);
	if (all)
		vg_backings_renew(dev.mem);
	MUST(vg_regions_add(&fm_regions, &r) == 0);
	vg_backings_renew(dev.mem);
}

/* A successor, who is told what was saved, perhaps not as it was. */
static void resume(void)
{
	size_t size = dev.saved_size;
	uint8_t *saved = malloc(size);
	uint64_t features = dev.features;

	MUST(saved);
	memcpy(saved, dev.saved, size);
	for (unsigned k = below(4); k > 2; k--)
		saved[u32() % (chance(2) ? 2000 : size)] = u8();
	reset();
	vg_dev_resume(&dev, 15, features | VG_FEATURE(VG_F_VERSION_1), 1, saved, size);
	free(saved);
	ring(GPU_CONTROLQ);
	ring(GPU_CURSORQ);
	vg_dev_resumed(&dev);
}

static void step(void)
{
	uint32_t clear;

	if (three && chance(3)) {
		renderer_step();
		take();
		check();
		return;
	}
	if (shown_by_front && chance(3)) {
		front_step();
		take();
		check();
		return;
	}
	clear = u8();
	switch (below(16)) {
	default:
		submit(GPU_CONTROLQ);
		break;
	case 9:
		submit(GPU_CURSORQ);
		break;
	case 10:
		say();
		break;
	case 11:
		drain();
		if (chance(4))
			another();
		else if (chance(4))
			hang_up();
		fl_ready_all(POLLIN);
		break;
	case 12:
		fl_deferred();
		if (clear & 1)
			fl_timers();
		dev.ops->tick(&dev);
		break;
	case 13:
		if (clear & 1)
			dev.ops->set(&dev, "mode", clear & 2 ? "800x600+off" : "640x480@75", NULL);
		else
			vg_dev_config_write(&dev, 4, &clear, 4);
		break;
	case 14:
		if (clear & 1)
			change_memory(clear & 2);
		break;
	case 15:
		if (clear % 4 == 0)
			start(u64());
		else if (clear % 4 == 1)
			resume();
		break;
	}
	take();
	check();
}

/* All commands are answered in the end, whether the display reads or not. */
static void settle(void)
{
	for (unsigned i = 0; i < 200; i++) {
		kick(GPU_CONTROLQ);
		kick(GPU_CURSORQ);
		for (unsigned k = 0; k < 8; k++)
			renderer_answers(true);
		fl_deferred();
		fl_timers();
		take();
	}
	for (unsigned q = 0; q < GPU_QUEUES; q++) {
		for (unsigned i = 0; i < SLOTS; i++)
			MUST(!slots[q][i].out || (dev.status & VG_STATUS_NEEDS_RESET));
	}
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	fm_open((size_t)GPU_QUEUES * SLOTS * SLOT);
	MUST(drv_alloc(&fm_flat.mem, PICTURES, 4096, true, &pictures) == 0);
	fm_copied.ops = &copied_ops;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct vg_params params;
	struct vg_err err;
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	how = u8();
	three = how & 8;
	MUST(vg_params_parse(three ? "gpu,heads=3,render=virgl" : "gpu,heads=3", &params, &err) ==
	     0);
	MUST(dh_open(&dev, vg_device_find("gpu"), NULL, &params, &err) == 0);
	dev.host_bytes = 1 << 20;
	dev.port = &port;
	dev.mem = dev.ctx[0].mem = fm_begin(how & 1, 1 << 20);
	fences = passed = 0;
	if (three)
		renderer_comes();
	shown_by_front = how & 16;
	vu = (struct vg_vu){ .dev = &dev, .log = VG_RATELIMIT_INIT };
	if (shown_by_front)
		front_comes();
	start(how & 2 ? ~0ull : u64());
	if (how & 4)
		another();
	while (fuzz_more())
		step();
	settle();
	vg_vu_screen_drop(&vu);
	front_goes();
	reset();
	hang_up();
	renderer_goes();
	fl_ready_all(POLLIN);
	dh_close(&dev);
	fm_end();
	MUST(fl_idle());
	return 0;
}
