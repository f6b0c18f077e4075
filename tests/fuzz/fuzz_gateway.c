// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_gateway.c - libFuzzer target: a daemon that says and writes anything, behind a gateway
 *
 * The input is a little program. A header chooses the device, the features, and whether memory is copied;
 * then each step is a request of the driver's; the daemon's work, well done or badly: what it gives back,
 * of which length, what it writes into rings and buffers, which are its own memory, too; an answer to what
 * it was asked, right, of another form, of any bytes, or none; requests of its own; a second that passes,
 * or the patience of the gateway; a reset, of the device or of a queue.
 *
 * What must hold: no crash, no sanitizer report; a driver gets back what it made available, once, with no
 * more bytes than there is room for, and none beyond those that it is told of, but for a status; a reset
 * comes to its end, whatever the daemon does; and nothing stays open.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "backend/base/container.h"
#include "backend/devices/devices.h"
#include "backend/devices/gateway/int.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_mem.h"

enum { QUEUES = 4, RING = 16, SLOT = 8192 };

static struct vg_dev dev;
static struct drv_vring vr[QUEUES];
static int theirs = -1, back = -1; /* the daemon's ends */
static struct vg_vu_reader heard;
static bool good; /* the daemon answers as it should */
static uint16_t taken[QUEUES];

struct slot {
	bool out;
	uint8_t *at; /* SLOT bytes: what the device reads, and behind it what it writes */
	uint32_t out_len, in_len;
};

static struct slot slots[QUEUES][RING];

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
static struct vg_port the_port = { .ops = &port_ops };

static struct gateway *gw(void)
{
	return dev.priv;
}

/* ---- the daemon: messages -------------------------------------------------------- */

static void reply(struct vg_vu_msg *m, uint32_t size)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = size;
	m->n_fds = 0;
	vg_vu_send(theirs, m);
}

static void reply_badly(struct vg_vu_msg *m)
{
	switch (below(6)) {
	case 0:
		break;
	case 1:
		fuzz_bytes(m->bytes, 32);
		reply(m, below(64));
		break;
	case 2:
		m->hdr.request = u8();
		m->u64 = u64();
		reply(m, 8);
		break;
	case 3:
		m->u64 = u64();
		reply(m, 8);
		break;
	case 4:
		m->hdr = (struct vg_vu_header){ u32(), u32(), u32() };
		m->n_fds = 0;
		if (send(theirs, &m->hdr, sizeof(m->hdr), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		break;
	default:
		close(theirs);
		theirs = -1;
	}
}

static void reply_well(struct vg_vu_msg *m, bool ack)
{
	switch (m->hdr.request) {
	case VG_VU_GET_FEATURES:
		m->u64 = u64() | VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES);
		break;
	case VG_VU_GET_PROTOCOL_FEATURES:
		m->u64 = chance(4) ? u64() : ~0ull;
		break;
	case VG_VU_GET_QUEUE_NUM:
		m->u64 = 1 + below(20);
		break;
	case VG_VU_GET_CONFIG:
		fuzz_bytes(m->config.data, 40);
		m->config.data[36] |= 1;
		reply(m, (uint32_t)offsetof(struct vg_vu_config, data) + m->config.size);
		return;
	case VG_VU_GET_VRING_BASE:
		m->state.num = taken[m->state.index % QUEUES];
		break;
	default:
		if (!ack)
			return;
		m->u64 = 0;
	}
	reply(m, 8);
}

/* All that it was asked so far. Return: whether there was something. */
static bool answer(void)
{
	bool any = false;

	while (theirs >= 0 && vg_vu_read(&heard, theirs) == 1) {
		struct vg_vu_msg *m = &heard.msg;
		bool ack = m->hdr.flags & VG_VU_NEED_REPLY;

		any = true;
		if (m->hdr.request == VG_VU_SET_BACKEND_REQ_FD) {
			if (back >= 0)
				close(back);
			back = vg_vu_take_fd(m, 0);
		}
		vg_vu_drop_fds(m);
		if (good || !chance(16))
			reply_well(m, ack);
		else
			reply_badly(m);
	}
	return any;
}

/* In the place of connect.c. */
int gw_connect(const char *path, struct vg_err *err)
{
	int pair[2];

	(void)path;
	(void)err;
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	theirs = pair[1];
	vg_vu_reader_init(&heard);
	return pair[0];
}

/* While the gateway greets it, the daemon has its turn; or time passes. */
int __wrap_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms)
{
	(void)p;
	(void)n;
	if (!answer())
		fl_now += (int64_t)ms * 1000000;
	return 0;
}

static void hang_up(void)
{
	if (theirs >= 0)
		close(theirs);
	if (back >= 0)
		close(back);
	theirs = back = -1;
	vg_vu_reader_fini(&heard);
}

/* While somebody waits for the device, both have their turn, and then time passes. */
static void fl_turn(void)
{
	bool any = answer();

	fl_ready_all(POLLIN);
	if (!fl_deferred() && !any)
		fl_timers();
}

/* ---- the daemon: rings ------------------------------------------------------------- */

static struct vring_avail *avail(const struct gw_ring *r)
{
	return (void *)(r->base + (gw_ring_avail(r) - r->addr));
}

static struct vring_used *used_ring(const struct gw_ring *r)
{
	return (void *)(r->base + (gw_ring_used(r) - r->addr));
}

static uint8_t *bytes_at(uint64_t addr, uint32_t len)
{
	MUST(addr >= GW_BASE && addr - GW_BASE <= GW_MEMORY && len <= GW_MEMORY - (addr - GW_BASE));
	return gw()->memory + (addr - GW_BASE);
}

static void give_back(struct gw_ring *r, uint32_t id, uint32_t len)
{
	struct vring_used *u = used_ring(r);

	u->ring[u->idx % GW_RING] = (struct vring_used_elem){ id, len };
	u->idx++;
}

/* As it should be, of what it has not destroyed before. @lie: by how much it writes less than it says */
static void serve(unsigned q, bool lie)
{
	struct gw_ring *r = &gw()->queue[q].ring;
	const struct vring_desc *desc = (void *)r->base;

	while (taken[q] != avail(r)->idx) {
		uint16_t head = avail(r)->ring[taken[q]++ % GW_RING];
		const struct vring_desc *d;
		uint32_t len = 0;

		if (head >= GW_RING)
			continue;
		d = &desc[head];
		if (d->flags & VRING_DESC_F_NEXT && d->next < GW_RING)
			d = &desc[d->next];
		if (d->flags & VRING_DESC_F_WRITE && d->addr >= GW_BASE &&
		    d->addr - GW_BASE <= GW_MEMORY && d->len <= GW_MEMORY - (d->addr - GW_BASE)) {
			len = lie ? u16() % (d->len + 1) : d->len;
			memset(bytes_at(d->addr, d->len), 0x5a, lie ? d->len : len);
		}
		give_back(r, head, len);
	}
	fl_ready_all(POLLIN);
}

static void nonsense(unsigned q)
{
	struct gw_ring *r = &gw()->queue[q].ring;

	switch (below(4)) {
	case 0:
		give_back(r, chance(2) ? u32() : 2 * u8(), chance(2) ? u32() : u8());
		break;
	case 1:
		used_ring(r)->idx = u16();
		break;
	case 2:
		used_ring(r)->flags = u16();
		break;
	default:
		fuzz_bytes(r->base + u16() % (GW_RING_BYTES - 64), 64);
	}
	fl_ready_all(POLLIN);
}

static void talk(void)
{
	uint8_t bytes[64];
	unsigned n = 1 + below(64);
	int to = chance(2) ? theirs : back;
	struct vg_vu_header h = { VG_VU_BACK_CONFIG_CHANGE, VG_VU_VERSION | (chance(2) ? 8 : 0),
				  0 };

	fuzz_bytes(bytes, n);
	if (chance(2)) {
		memcpy(bytes, &h, sizeof(h));
		n = sizeof(h);
		to = back;
	}
	if (to >= 0 && send(to, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		fl_ready_all(POLLIN);
}

/* ---- the driver -------------------------------------------------------------------- */

static void take_slot(struct slot *s, uint32_t len)
{
	uint32_t tail = gw()->type->tail;

	MUST(s->out);
	s->out = false;
	MUST(len <= s->in_len);
	for (uint32_t i = len; i + tail < s->in_len; i++)
		MUST(s->at[s->out_len + i] == 0xee || (dev.status & VG_STATUS_NEEDS_RESET));
}

static void take(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		struct drv_used used;

		while (vr[q].mem && drv_vring_get(&vr[q], &used) > 0)
			take_slot(used.cookie, used.skipped ? 0 : used.len);
	}
}

static void ring(unsigned q)
{
	struct drv_vring_config cfg = {
		.size = RING,
		.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
		.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
		.indirect = vg_dev_has(&dev, VG_F_INDIRECT_DESC),
	};

	MUST(drv_vring_init(&vr[q], &cfg, &fm_flat.mem) == 0);
	taken[q] = 0;
	MUST(vg_dev_set_queue(&dev, q, RING, vr[q].desc_mem.addr, vr[q].driver_mem.addr,
			      vr[q].device_mem.addr, NULL, NULL) == 0);
}

static void forget(unsigned q)
{
	take();
	if (vr[q].mem)
		drv_vring_fini(&vr[q]);
	memset(&vr[q], 0, sizeof(vr[q]));
	memset(slots[q], 0, sizeof(slots[q]));
}

static void reset(void)
{
	take();
	MUST(dh_status(&dev, 0) == 0);
	for (unsigned q = 0; q < QUEUES; q++)
		forget(q);
}

static void start(uint64_t features)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	reset();
	dh_status(&dev, status);
	/* IN_ORDER skips used elements: which bytes were told of cannot be known then. */
	features &= ~VG_FEATURE(VG_F_IN_ORDER);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & features) | VG_FEATURE(VG_F_VERSION_1));
	MUST(dh_status(&dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK);
	for (unsigned q = 0; q < QUEUES && q < dev.n_queues; q++)
		ring(q);
	dh_status(&dev, status | VG_STATUS_FEATURES_OK | VG_STATUS_DRIVER_OK);
}

static void ask(unsigned q)
{
	unsigned i = 0;
	struct slot *s;
	struct drv_seg out, in;

	while (i < RING && slots[q][i].out)
		i++;
	if (i == RING || !vr[q].mem || vr[q].num_free < 2)
		return;
	s = &slots[q][i];
	*s = (struct slot){ .at = (uint8_t *)fm_arena.virt + (q * RING + i) * (size_t)SLOT };
	s->out_len = chance(3) ? 0 : 1 + u16() % (SLOT / 2);
	s->in_len = s->out_len && chance(3) ? 0 : 1 + u16() % (SLOT / 2);
	memset(s->at, 0xee, SLOT);
	out = (struct drv_seg){ fm_arena.addr + (uint64_t)(s->at - (uint8_t *)fm_arena.virt),
				s->out_len };
	in = (struct drv_seg){ out.addr + s->out_len, s->in_len };
	s->out = drv_vring_add(&vr[q], &out, s->out_len ? 1 : 0, &in, s->in_len ? 1 : 0, s, 0) >= 0;
	drv_vring_publish(&vr[q]);
	vg_dev_kick(&dev, q);
}

static void configuration(void)
{
	uint8_t bytes[16];
	uint32_t off = chance(2) ? 32 : below(70);

	fuzz_bytes(bytes, 8);
	vg_dev_config_write(&dev, off, bytes, chance(2) ? 1 : 1 + below(8));
	vg_dev_config_read(&dev, below(60), bytes, sizeof(bytes));
}

/* ---- a run --------------------------------------------------------------------------- */

static void step(void)
{
	unsigned q = below(QUEUES < dev.n_queues ? QUEUES : dev.n_queues);

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		ask(q);
		break;
	case 3:
	case 4:
		serve(q, false);
		break;
	case 5:
		serve(q, true);
		break;
	case 6:
		nonsense(q);
		break;
	case 7:
		answer();
		fl_ready_all(POLLIN);
		break;
	case 8:
		talk();
		break;
	case 9:
		configuration();
		break;
	case 10:
		if (chance(8))
			fl_timers();
		else
			dev.ops->tick(&dev);
		fl_deferred();
		break;
	default:
		if (chance(2)) {
			start(u64());
		} else if (vr[q].mem) {
			take();
			dh_reset_queue(&dev, q, NULL);
			forget(q);
			if (dev.started && !(dev.status & VG_STATUS_NEEDS_RESET))
				ring(q);
		}
	}
	take();
}

static void once(void)
{
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	signal(SIGPIPE, SIG_IGN);
	fm_open((size_t)QUEUES * RING * SLOT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const types[] = { "rng", "blk", "fs", "net", "vsock", "60000" };
	static bool ready;
	struct vg_params params;
	struct vg_err err = { "" };
	char spec[64];
	uint8_t how;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	how = u8();
	good = how & 32;
	snprintf(spec, sizeof(spec), "gateway,socket=/x,tag=t,type=%s", types[how % COUNT(types)]);
	MUST(vg_params_parse(spec, &params, &err) == 0);
	if (dh_open(&dev, &vg_gateway, NULL, &params, &err) == 0) {
		good = false;
		dev.port = &the_port;
		dev.mem = dev.ctx[0].mem = fm_begin(how & 64, 4096);
		start(how & 128 ? ~0ull : u64());
		while (fuzz_more())
			step();
		reset();
		dh_close(&dev);
		fm_end();
	} else {
		MUST(err.text[0]);
	}
	hang_up();
	MUST(fl_idle());
	return 0;
}
