/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_input.c - libFuzzer target: a hostile driver, and a hostile display or host's device, against an
 * input device
 *
 * The input is a little program. A header chooses which device it is, and the features; then each
 * step is a message of the display's, right or any bytes, or another display; or events of a device of
 * the host's that is passed on, and says anything of itself; buffers for events, some
 * too small; status events of any length; reads and writes of the configuration space; a reset, or a
 * successor that is told what was saved. Rings keep the rules: breaking those is fuzz_ring's matter.
 *
 * What must hold: no crash, no sanitizer report; an event has 8 bytes, of a kind and a code that the
 * device says it has, and a position within its range; what the configuration space says has no more
 * bytes than there is room for; and in the end, when the display has hung up and the driver has taken
 * all, no key is held, no finger touches, and no frame lacks its end, whatever was lost on the way.
 */
#include <endian.h>
#include <poll.h>
#include <sys/socket.h>

#include "backend/base/container.h"
#include "backend/devices/input/evdev.h"
#include "backend/devices/input/int.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum { RING = 32, SLOTS = RING, SLOT = 64 };

static struct vg_dev dev;
static struct drv_vring vr[INPUT_QUEUES];
static int display = -1;
static int host = -1; /* the other end of the host's device */

struct slot {
	bool out;
	uint8_t *in; /* NULL: of the status queue */
	uint32_t len;
};

static struct slot slots[INPUT_QUEUES][SLOTS];

/* What the guest knows. */
static bool held[KEY_CNT], touched[EVDEV_SLOTS], in_frame;
static uint32_t slot;

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

/* ---- the driver ------------------------------------------------------------- */

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

static void reset(void)
{
	dh_status(&dev, 0);
	for (unsigned q = 0; q < INPUT_QUEUES; q++) {
		if (vr[q].mem)
			drv_vring_fini(&vr[q]);
		memset(&vr[q], 0, sizeof(vr[q]));
	}
	memset(slots, 0, sizeof(slots));
	memset(held, 0, sizeof(held));
	memset(touched, 0, sizeof(touched));
	slot = 0;
	in_frame = false;
}

static void start(uint64_t features)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	reset();
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & features) | VG_FEATURE(VG_F_VERSION_1));
	MUST(dh_status(&dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK);
	ring(INPUT_EVENTQ);
	ring(INPUT_STATUSQ);
	dh_status(&dev, status | VG_STATUS_FEATURES_OK | VG_STATUS_DRIVER_OK);
}

static void kick(unsigned q)
{
	if (vr[q].mem)
		drv_vring_publish(&vr[q]);
	vg_dev_kick(&dev, q);
}

/* A buffer of @len bytes that the driver puts into queue @q. Return: false: there is no room. */
static bool put(unsigned q, uint32_t len)
{
	struct drv_seg seg = { 0, len };
	struct slot *s;
	uint8_t *at;
	unsigned i = 0;
	int ret;

	while (i < SLOTS && slots[q][i].out)
		i++;
	if (i == SLOTS || !vr[q].mem || vr[q].num_free < 2)
		return false;
	s = &slots[q][i];
	at = (uint8_t *)fm_arena.virt + (q * SLOTS + i) * (size_t)SLOT;
	seg.addr = fm_arena.addr + (uint64_t)(at - (uint8_t *)fm_arena.virt);
	if (q == INPUT_STATUSQ)
		fuzz_bytes(at, len < 8 ? len : 8);
	else
		memset(at, 0xee, SLOT);
	ret = q == INPUT_STATUSQ ? drv_vring_add(&vr[q], &seg, 1, NULL, 0, s, 0)
				 : drv_vring_add(&vr[q], NULL, 0, &seg, 1, s, 0);
	if (ret < 0)
		return false;
	*s = (struct slot){ .out = true, .in = q == INPUT_EVENTQ ? at : NULL, .len = len };
	return true;
}

/* Whether the device says of itself that it has that. */
static bool has(uint8_t subsel, uint16_t code)
{
	struct input as = *(struct input *)dev.priv;
	struct virtio_input_config c;

	as.select = VIRTIO_INPUT_CFG_EV_BITS;
	as.subsel = subsel;
	input_config(&as, &c);
	return code / 8 < c.size && input_bit(c.u.bitmap, code);
}

static void hear(const uint8_t *at)
{
	struct virtio_input_event e;
	uint16_t type, code;
	uint32_t value;

	memcpy(&e, at, sizeof(e));
	type = le16toh(e.type);
	code = le16toh(e.code);
	value = le32toh(e.value);
	if (type == EV_SYN && code == SYN_MT_REPORT && host >= 0)
		return;
	if (type == EV_SYN) {
		MUST(code == SYN_REPORT && (value == 0 || host >= 0));
		in_frame = false;
		return;
	}
	in_frame = true;
	MUST(type == EV_KEY || type == EV_REL || type == EV_ABS ||
	     (host >= 0 && (type == EV_MSC || type == EV_SW)));
	MUST(has((uint8_t)type, code));
	if (type == EV_KEY) {
		MUST(value <= 1);
		held[code] = value;
	} else if (type == EV_ABS && code == ABS_MT_SLOT) {
		MUST(value < EVDEV_SLOTS);
		slot = value;
	} else if (type == EV_ABS && code == ABS_MT_TRACKING_ID) {
		touched[slot] = (int32_t)value >= 0;
	} else if (host >= 0) {
		return;
	} else if (type == EV_ABS) {
		MUST(value <= INPUT_ABS_MAX);
	} else {
		MUST(value == 1 || value == UINT32_MAX);
	}
}

static bool take(void)
{
	bool any = false;

	for (unsigned q = 0; q < INPUT_QUEUES; q++) {
		struct drv_used used;

		while (vr[q].mem && drv_vring_get(&vr[q], &used) > 0) {
			struct slot *s = used.cookie;

			MUST(s->out);
			s->out = false;
			any = true;
			if (!s->in)
				continue;
			MUST(used.skipped || used.len == sizeof(struct virtio_input_event));
			hear(s->in);
		}
	}
	return any;
}

/* ---- the display --------------------------------------------------------------- */

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
	struct vg_display_msg m = { .type = VG_DISPLAY_KEY, .head = chance(4) };
	unsigned times = chance(4) ? u8() : 1;

	if (display < 0)
		return;
	switch (below(8)) {
	case 0:
		fuzz_bytes(&m, sizeof(m));
		break;
	case 1:
		m.type = VG_DISPLAY_RELEASE;
		break;
	case 2:
	case 3:
		m.key.keysym = chance(4) ? u32() : u8();
		m.key.scancode = chance(4) ? u32() : u8();
		m.key.down = u8() & 1;
		break;
	default:
		m.type = VG_DISPLAY_POINTER;
		m.pointer.x = chance(8) ? u32() : u16();
		m.pointer.y = chance(8) ? u32() : u16();
		m.pointer.buttons = chance(8) ? u32() : u8();
		m.pointer.width = chance(8) ? u32() : u16();
		m.pointer.height = chance(8) ? u32() : u16();
		break;
	}
	while (times--) {
		send(display, &m, chance(40) ? u8() % sizeof(m) : sizeof(m),
		     MSG_DONTWAIT | MSG_NOSIGNAL);
		if (m.type == VG_DISPLAY_POINTER)
			m.pointer.buttons ^= times & 1;
		else if (m.type == VG_DISPLAY_KEY)
			m.key.down ^= 1;
		if (times % 32 == 0)
			fl_ready_all(POLLIN);
	}
}

/* ---- the host's device, in the place of evdevhost.c ---------------------------- */

static void some_bits(uint8_t *bits, size_t size)
{
	unsigned n = below(8);

	if (chance(8))
		fuzz_bytes(bits, size < 12 ? size : 12);
	while (n--)
		input_set_bit(bits, (unsigned)(u16() % (size * 8)), true);
}

int evdev_host_open(const char *path, struct evdev_caps *caps, struct vg_err *err)
{
	int pair[2];

	(void)path;
	(void)err;
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	host = pair[1];
	memset(caps, 0, sizeof(*caps));
	caps->name_len = u8() % (EVDEV_TEXT + 1);
	some_bits(caps->props, sizeof(caps->props));
	some_bits(caps->types, sizeof(caps->types));
	some_bits(caps->key, sizeof(caps->key));
	some_bits(caps->rel, sizeof(caps->rel));
	some_bits(caps->abs, sizeof(caps->abs));
	some_bits(caps->msc, sizeof(caps->msc));
	some_bits(caps->sw, sizeof(caps->sw));
	some_bits(caps->led, sizeof(caps->led));
	if (u8() & 1) {
		static const uint16_t touch[] = { ABS_X, ABS_MT_SLOT, ABS_MT_TRACKING_ID };

		for (unsigned i = 0; i < COUNT(touch); i++)
			input_set_bit(caps->abs, touch[i], true);
		input_set_bit(caps->key, BTN_TOUCH, true);
	}
	return pair[0];
}

void evdev_host_state(int fd, const struct evdev_caps *caps, struct evdev_state *s)
{
	(void)fd;
	(void)caps;
	memset(s, 0, sizeof(*s));
	some_bits(s->key, sizeof(s->key));
	some_bits(s->sw, sizeof(s->sw));
	s->abs[ABS_MT_SLOT] = chance(4) ? (int32_t)u32() : (int32_t)below(8);
	s->abs[ABS_X] = (int32_t)u16();
}

static void happens(void)
{
	static const uint16_t types[] = { EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, EV_LED };
	static const uint16_t axes[] = { ABS_X, ABS_MT_SLOT, ABS_MT_TRACKING_ID };
	struct input_event e[4] = { 0 };
	unsigned times = chance(6) ? u8() : 1;

	if (host < 0)
		return;
	for (unsigned i = 0; i < COUNT(e); i++) {
		e[i].type = chance(10) ? u16() : types[below(COUNT(types))];
		e[i].code = e[i].type == EV_ABS && chance(2) ? axes[below(COUNT(axes))]
			    : e[i].type == EV_SYN	     ? below(4)
			    : chance(8)			     ? u16()
							     : u8();
		e[i].value = chance(4) ? (int32_t)u32() : (int32_t)below(4) - 1;
	}
	while (times--) {
		send(host, e, chance(40) ? u8() % sizeof(e) : sizeof(e),
		     MSG_DONTWAIT | MSG_NOSIGNAL);
		if (times % 32 == 0)
			fl_ready_all(POLLIN);
	}
}

/* ---- a run ------------------------------------------------------------------------ */

static void configuration(void)
{
	struct virtio_input_config c;
	uint8_t bytes[8];
	uint32_t off = chance(4) ? u8() : below(2), len = 1 + below(8);

	fuzz_bytes(bytes, sizeof(bytes));
	vg_dev_config_write(&dev, off, bytes, len);
	vg_dev_config_read(&dev, 0, &c, sizeof(c));
	MUST(c.size <= sizeof(c.u));
}

static void resume(void)
{
	size_t size = dev.saved_size;
	uint8_t *saved = malloc(size);
	uint64_t features = dev.features;

	MUST(saved);
	memcpy(saved, dev.saved, size);
	if (chance(4))
		fuzz_bytes(saved, size);
	reset();
	vg_dev_resume(&dev, 15, features | VG_FEATURE(VG_F_VERSION_1), 1, saved, size);
	free(saved);
	ring(INPUT_EVENTQ);
	ring(INPUT_STATUSQ);
	vg_dev_resumed(&dev);
}

static void step(void)
{
	switch (below(12)) {
	default:
		say();
		happens();
		break;
	case 5:
	case 6:
		for (unsigned n = below(RING); n; n--)
			put(INPUT_EVENTQ, chance(100) ? 1 + u8() % SLOT : 8);
		kick(INPUT_EVENTQ);
		break;
	case 7:
		put(INPUT_STATUSQ, 1 + u8() % SLOT);
		kick(INPUT_STATUSQ);
		break;
	case 8:
		configuration();
		break;
	case 9:
		fl_deferred();
		break;
	case 10:
		another();
		break;
	case 11:
		if (chance(3))
			start(u64());
		else if (chance(3))
			resume();
		break;
	}
	take();
}

/* The display is gone, and the driver takes all. */
static void settle(void)
{
	bool more = true;

	hang_up();
	if (host >= 0)
		shutdown(host, SHUT_RDWR);
	fl_ready_all(POLLIN);
	while (more) {
		while (put(INPUT_EVENTQ, 8))
			;
		kick(INPUT_EVENTQ);
		fl_deferred();
		more = take() || fl_list;
	}
	if (dev.status & VG_STATUS_NEEDS_RESET)
		return;
	for (unsigned i = 0; i < KEY_CNT; i++)
		MUST(!held[i]);
	for (unsigned i = 0; i < EVDEV_SLOTS; i++)
		MUST(!touched[i] || !has(EV_ABS, ABS_MT_SLOT));
	MUST(!in_frame);
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	fm_open((size_t)INPUT_QUEUES * SLOTS * SLOT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const specs[] = { "input,kind=keyboard",
					     "input,kind=tablet",
					     "input,kind=touch",
					     "input,kind=touch,head=1",
					     "input,evdev=/dev/input/event0",
					     "input,kind=keyboard,keymap=de" };
	static bool ready;
	struct vg_params params;
	struct vg_err err;
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	how = u8();
	/* Reading a layout takes long: one in many. */
	MUST(vg_params_parse(specs[how == 0x17 ? 5 : how & 8 ? 4 : how % 4], &params, &err) == 0);
	MUST(dh_open(&dev, vg_device_find("input"), NULL, &params, &err) == 0);
	dev.port = &port;
	dev.mem = dev.ctx[0].mem = fm_begin(true, 4096);
	start(how & 4 ? ~0ull : u64());
	another();
	while (fuzz_more())
		step();
	settle();
	reset();
	dh_close(&dev);
	if (host >= 0)
		close(host);
	host = -1;
	fm_end();
	MUST(fl_idle());
	return 0;
}
