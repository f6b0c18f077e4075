/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_console.c - libFuzzer target: a hostile driver, and clients that come and go, against a console
 *
 * The input is a little program. A header chooses the ports, the features, and whether memory is
 * copied; then each step is a message of the driver's, right or any bytes; buffers for control and for
 * what is typed, some too small; output of any length; a client that comes, types, reads some, or
 * hangs up; the configuration space; a second that passes; a reset, or a successor that is told what
 * was saved, with the memory of before or one that lies. Rings keep the rules: breaking those is
 * fuzz_ring's matter. Sockets stand for terminals.
 *
 * What must hold: no crash, no sanitizer report; a control message is one that the standard has, of the
 * length that it has, of a port that there is and that was told of before; what is typed reaches the
 * guest, every byte, in order; what a port with a name says reaches its client, the same, unless the
 * driver resets it in the middle; and in the end, when clients read and the driver takes all, all
 * buffers of output have come back.
 */
#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "backend/base/container.h"
#include "backend/devices/console/int.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum { PORTS = 3, QUEUES = 8, RING = 16, SLOT = 4096, LONG = 96 << 10 };

static struct vg_dev dev;
static struct drv_vring vr[QUEUES];
static unsigned n_ports;
static int memory = -1;

struct slot {
	bool out, in; /* with the device; of a queue to the driver */
	uint8_t *at;
	uint32_t len;
};

static struct slot slots[QUEUES][RING];

/* What was said and typed, by the byte: each is told by its place. */
static struct {
	int client; /* -1: none */
	uint64_t typed, heard, said, read;
	bool broken; /* it cannot be told what should be read */
	bool added;
} port[PORTS];

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
		    VG_FEATURE(VG_F_RING_RESET),
	.notify = notify,
	.config_changed = config_changed,
};
static struct vg_port the_port = { .ops = &port_ops };

static void fl_turn(void)
{
	fl_deferred();
}

static uint8_t nth(uint64_t place)
{
	return (uint8_t)(place * 131 + place / 251);
}

/* ---- the driver ---------------------------------------------------------------- */

static void ring(unsigned q)
{
	struct drv_vring_config cfg = {
		.size = RING,
		.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
		.indirect = vg_dev_has(&dev, VG_F_INDIRECT_DESC),
	};

	MUST(drv_vring_init(&vr[q], &cfg, &fm_flat.mem) == 0);
	MUST(vg_dev_set_queue(&dev, q, RING, vr[q].desc_mem.addr, vr[q].driver_mem.addr,
			      vr[q].device_mem.addr, NULL, NULL) == 0);
}

static void hear_control(const struct slot *s, uint32_t len)
{
	struct virtio_console_control m;
	uint32_t id;

	MUST(len >= sizeof(m));
	memcpy(&m, s->at, sizeof(m));
	id = le32toh(m.id);
	len -= sizeof(m);
	MUST(id < n_ports);
	switch (le16toh(m.event)) {
	case VIRTIO_CONSOLE_PORT_ADD:
		port[id].added = true;
		MUST(!len);
		break;
	case VIRTIO_CONSOLE_CONSOLE_PORT:
		MUST(id == 0 && !len);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		MUST(le16toh(m.value) <= 1 && !len);
		break;
	case VIRTIO_CONSOLE_RESIZE:
		MUST(id == 0 && len == 4);
		break;
	case VIRTIO_CONSOLE_PORT_NAME:
		MUST(id && len == 1 && s->at[sizeof(m)] == 'a' + id - 1);
		break;
	default:
		MUST(!"an event that a device has");
	}
	MUST(port[id].added);
}

static void take_slot(unsigned q, struct slot *s, uint32_t len)
{
	unsigned i = q < CONSOLE_CONTROL_RX ? 0 : q / 2 - 1;

	MUST(s->out);
	s->out = false;
	MUST(s->in ? len <= s->len : !len);
	if (!s->in || dev.status & VG_STATUS_NEEDS_RESET)
		return;
	if (q == CONSOLE_CONTROL_RX) {
		hear_control(s, len);
		return;
	}
	MUST(len && port[i].heard + len <= port[i].typed);
	for (uint32_t k = 0; k < len; k++)
		MUST(s->at[k] == nth(port[i].heard++));
}

static bool take(void)
{
	bool any = false;

	for (unsigned q = 0; q < QUEUES; q++) {
		struct drv_used used;

		while (vr[q].mem && drv_vring_get(&vr[q], &used) > 0) {
			take_slot(q, used.cookie, used.len);
			any = true;
		}
	}
	return any;
}

/* What was made available and is not answered yet is the guest's again: what of it was said cannot be
 * known. */
static void forget_rings(void)
{
	take();
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < RING; i++) {
			if (slots[q][i].out && q > CONSOLE_CONTROL_TX && q % 2)
				port[q / 2 - 1].broken = true;
		}
		if (vr[q].mem)
			drv_vring_fini(&vr[q]);
		memset(&vr[q], 0, sizeof(vr[q]));
	}
	memset(slots, 0, sizeof(slots));
}

static void reset(void)
{
	take();
	dh_status(&dev, 0);
	forget_rings();
	for (unsigned i = 0; i < PORTS; i++)
		port[i].added = false;
}

static void rings(void)
{
	for (unsigned q = 0; q < dev.n_queues; q++)
		ring(q);
}

static void start(uint64_t features)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	reset();
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & features) | VG_FEATURE(VG_F_VERSION_1));
	MUST(dh_status(&dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK);
	rings();
	dh_status(&dev, status | VG_STATUS_FEATURES_OK | VG_STATUS_DRIVER_OK);
}

static void kick(unsigned q)
{
	if (vr[q].mem)
		drv_vring_publish(&vr[q]);
	vg_dev_kick(&dev, q);
}

/* A slot of @len bytes for queue @q; NULL: there is no room. */
static struct slot *slot_of(unsigned q, uint32_t len)
{
	unsigned i = 0;

	while (i < RING && slots[q][i].out)
		i++;
	if (i == RING || !vr[q].mem || vr[q].num_free < 2)
		return NULL;
	slots[q][i] = (struct slot){
		.in = q % 2 == 0,
		.at = (uint8_t *)fm_arena.virt + (q * RING + i) * (size_t)SLOT,
		.len = len,
	};
	return &slots[q][i];
}

static bool put_slot(unsigned q, struct slot *s)
{
	const struct drv_seg seg = { fm_arena.addr + (uint64_t)(s->at - (uint8_t *)fm_arena.virt),
				     s->len };

	s->out = (s->in ? drv_vring_add(&vr[q], NULL, 0, &seg, 1, s, 0)
			: drv_vring_add(&vr[q], &seg, 1, NULL, 0, s, 0)) >= 0;
	return s->out;
}

/* A buffer that the device fills. */
static bool put_in(unsigned q, uint32_t len)
{
	struct slot *s = slot_of(q, len);

	if (!s)
		return false;
	memset(s->at, 0xee, len);
	return put_slot(q, s);
}

static void control_bytes(const void *m, uint32_t len)
{
	struct slot *s = slot_of(CONSOLE_CONTROL_TX, len);

	if (!s)
		return;
	memcpy(s->at, m, len);
	put_slot(CONSOLE_CONTROL_TX, s);
	kick(CONSOLE_CONTROL_TX);
}

static void control(uint16_t event, uint32_t id, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

	control_bytes(&m, sizeof(m));
}

static void say_control(void)
{
	static const uint16_t events[] = { VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_PORT_READY,
					   VIRTIO_CONSOLE_PORT_OPEN };
	uint8_t bytes[32];

	if (!vr[CONSOLE_CONTROL_TX].mem)
		return;
	if (chance(6)) {
		fuzz_bytes(bytes, sizeof(bytes));
		control_bytes(bytes, 1 + below(sizeof(bytes)));
		return;
	}
	control(events[below(3)], chance(8) ? u32() : below(n_ports), !chance(4));
}

/* Of port @i, @len bytes in one buffer, or the same buffer's many times over. */
static void say(unsigned i, uint32_t len)
{
	unsigned q = i ? 2 * i + 3 : 1;
	struct slot *s = slot_of(q, len);
	struct drv_seg seg[24];
	unsigned n = 0;

	if (!s)
		return;
	if (len <= SLOT) {
		for (uint32_t k = 0; k < len; k++)
			s->at[k] = nth(port[i].said + k);
		if (put_slot(q, s))
			port[i].said += len;
	} else {
		/* It is only counted. */
		while (len && n < COUNT(seg)) {
			seg[n] = (struct drv_seg){ fm_arena.addr, len < SLOT ? len : SLOT };
			len -= seg[n++].len;
		}
		if (vr[q].num_free > n && drv_vring_add(&vr[q], seg, n, NULL, 0, s, 0) >= 0) {
			s->out = true;
			port[i].broken = true;
		}
	}
	kick(q);
}

/* ---- clients ------------------------------------------------------------------------ */

static void read_some(unsigned i, size_t most)
{
	uint8_t bytes[4096];
	ssize_t n;

	while (port[i].client >= 0 && most &&
	       (n = read(port[i].client, bytes, most < sizeof(bytes) ? most : sizeof(bytes))) > 0) {
		most -= (size_t)n;
		for (ssize_t k = 0; k < n; k++, port[i].read++)
			MUST(i == 0 || port[i].broken || bytes[k] == nth(port[i].read));
		fl_ready_all(POLLOUT);
	}
}

static void hang_up(unsigned i)
{
	uint8_t bytes[4096];

	if (port[i].client < 0)
		return;
	/* What was not read goes with the socket. */
	if (read(port[i].client, bytes, 1) > 0)
		port[i].broken = true;
	close(port[i].client);
	port[i].client = -1;
	fl_ready_all(POLLIN | POLLHUP);
}

static void come(unsigned i)
{
	int pair[2];

	hang_up(i);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	port[i].client = pair[1];
	/* What the device has not read of the last one's goes when it gets another. */
	take();
	port[i].typed = port[i].heard;
	dev.ops->terminal(&dev, i, pair[0]);
}

static void type(unsigned i, unsigned len)
{
	uint8_t bytes[256];
	ssize_t n;

	for (unsigned k = 0; k < len; k++)
		bytes[k] = nth(port[i].typed + k);
	if (port[i].client < 0 || (n = write(port[i].client, bytes, len)) <= 0)
		return;
	port[i].typed += (uint64_t)n;
	fl_ready_all(POLLIN);
}

static void second(void)
{
	fl_now += 1000000000;
	dev.ops->tick(&dev);
}

/* ---- successors ------------------------------------------------------------------------- */

static void give_memory(bool fresh)
{
	if (fresh && memory >= 0)
		close(memory);
	if (fresh || memory < 0) {
		memory = memfd_create("fuzz", MFD_CLOEXEC);
		MUST(memory >= 0 &&
		     ftruncate(memory, (off_t)sizeof(struct console_kept) * PORTS) == 0);
		for (unsigned i = 0; i < PORTS; i++)
			port[i].broken = true;
	}
	dev.ops->memory(&dev, dup(memory));
}

static void lie(void)
{
	struct console_kept k;
	unsigned i = below(PORTS);
	off_t at = (off_t)(i * sizeof(k));

	k.put = chance(2) ? u64() : u8();
	k.got = chance(2) ? u64() : u8();
	MUST(pwrite(memory, &k, 16, at) == 16);
	port[i].broken = true;
}

static void open_device(const char *spec)
{
	struct vg_params params;
	struct vg_err err;

	MUST(vg_params_parse(spec, &params, &err) == 0);
	MUST(dh_open(&dev, vg_device_find("console"), NULL, &params, &err) == 0);
	dev.port = &the_port;
	n_ports = ((struct console *)dev.priv)->n_ports;
}

static void resume(const char *spec)
{
	struct vg_mem *mem = dev.mem;
	uint64_t features = dev.features;
	size_t size = dev.saved_size;
	uint8_t *saved = malloc(size);

	MUST(saved);
	memcpy(saved, dev.saved, size);
	for (unsigned i = 0; i < n_ports; i++)
		hang_up(i);
	reset();
	dh_close(&dev);
	if (chance(4))
		lie();
	if (chance(4))
		fuzz_bytes(saved, size);
	for (unsigned i = 0; i < PORTS; i++)
		port[i].added = true; /* that the saved say so */
	open_device(spec);
	dev.mem = dev.ctx[0].mem = mem;
	give_memory(chance(8));
	vg_dev_resume(&dev, 15, features | VG_FEATURE(VG_F_VERSION_1), 1, saved, size);
	free(saved);
	rings();
	vg_dev_resumed(&dev);
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void configuration(void)
{
	uint8_t bytes[12];
	uint32_t off = chance(2) ? 8 : below(16), len = 1 + below(8);

	fuzz_bytes(bytes, sizeof(bytes));
	vg_dev_config_write(&dev, off, bytes, len);
	vg_dev_config_read(&dev, 0, bytes, sizeof(bytes));
}

static void step(const char *spec)
{
	unsigned i = below(n_ports);

	switch (below(12)) {
	case 0:
	case 1:
		say_control();
		break;
	case 2:
		for (unsigned n = below(RING); n; n--)
			put_in(CONSOLE_CONTROL_RX, chance(60) ? 1 + below(8) : 64);
		kick(CONSOLE_CONTROL_RX);
		break;
	case 3:
		for (unsigned n = below(RING); n; n--)
			put_in(i ? 2 * i + 2 : 0, 1 + u8());
		kick(i ? 2 * i + 2 : 0);
		break;
	case 4:
	case 5:
		say(i, chance(4) ? 1 + (uint32_t)u8() * 380 : 1 + u8());
		break;
	case 6:
		come(i);
		break;
	case 7:
		type(i, 1 + u8() % 255);
		break;
	case 8:
		read_some(i, chance(3) ? u8() : 1 << 20);
		break;
	case 9:
		if (chance(2))
			second();
		else
			configuration();
		break;
	case 10:
		fl_deferred();
		if (chance(4))
			hang_up(i);
		break;
	default:
		if (chance(3))
			start(u64());
		else if (chance(3))
			resume(spec);
		break;
	}
	take();
}

static bool all_back(void)
{
	for (unsigned q = 1; q < dev.n_queues; q += 2) {
		for (unsigned k = 0; k < RING; k++) {
			if (slots[q][k].out)
				return false;
		}
	}
	return true;
}

/* Clients that read, and a driver that takes all. */
static void settle(void)
{
	unsigned quiet = 0;

	if (dev.status & VG_STATUS_NEEDS_RESET || !vr[0].mem)
		return;
	for (unsigned i = 0; i < n_ports; i++) {
		if (port[i].client < 0)
			come(i);
	}
	for (unsigned n = 0; n < 64 && quiet < 2; n++) {
		second();
		for (unsigned i = 0; i < n_ports; i++)
			read_some(i, 1 << 20);
		quiet = all_back() ? quiet + 1 : 0;
		for (unsigned q = 0; q < dev.n_queues; q++)
			kick(q);
		fl_deferred();
		take();
	}
	if (dev.status & VG_STATUS_NEEDS_RESET)
		return;
	MUST(all_back());
	for (unsigned i = 1; i < n_ports; i++)
		MUST(port[i].broken || port[i].read == port[i].said);
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	signal(SIGPIPE, SIG_IGN);
	fm_open((size_t)QUEUES * RING * SLOT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const specs[] = { "console", "console,ports=a", "console,ports=a:b" };
	static bool ready;
	const char *spec;
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	memset(port, 0, sizeof(port));
	for (unsigned i = 0; i < PORTS; i++)
		port[i].client = -1;
	how = u8();
	spec = specs[how % 3];
	open_device(spec);
	dev.mem = dev.ctx[0].mem = fm_begin(how & 64, 4096);
	give_memory(true);
	for (unsigned i = 0; i < PORTS; i++)
		port[i].broken = false;
	start(how & 128 ? ~0ull : u64());
	if (how & 32) {
		for (unsigned n = 0; n < RING - 2; n++)
			put_in(CONSOLE_CONTROL_RX, 64);
		kick(CONSOLE_CONTROL_RX);
		control(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
		for (unsigned i = 0; i < n_ports; i++) {
			control(VIRTIO_CONSOLE_PORT_READY, i, 1);
			control(VIRTIO_CONSOLE_PORT_OPEN, i, 1);
			come(i);
		}
	}
	while (fuzz_more())
		step(spec);
	settle();
	reset();
	dh_close(&dev);
	for (unsigned i = 0; i < PORTS; i++) {
		if (port[i].client >= 0)
			close(port[i].client);
	}
	close(memory);
	memory = -1;
	fm_end();
	MUST(fl_idle());
	return 0;
}
