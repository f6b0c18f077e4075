/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_ctrl.c - libFuzzer target: a hostile guest against the grant port
 *
 * virtio_msg.c, grant.c, grants.c and record.c as they are, with a device
 * behind them (rng, or a disk of three queues), on a Xen that is a few arrays:
 * references that are good, read-only or revoked, event channels that are ours,
 * another's or nobody's, calls that fail when the input says so.
 *
 * The input is a program: messages of all kinds, mostly well-formed, some not;
 * indices and any bytes of the guest's memory; notifications; references and
 * ports that come and go; a good start of the device in one step, so that what
 * comes after it is reached; chains; disconnecting and connecting; a worker that
 * dies and its successor, with the record as it was, or with flipped bits.
 *
 * What must hold: no crash, no sanitizer report; what is unmapped and unbound was
 * mapped and bound, once; no copy crosses a page or leaves the table; after a
 * disconnect nothing is mapped and nothing bound; no more is mapped meanwhile than
 * rings, pools and the control page.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "backend/ports/grant/grant.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz_loop.h"
#include "virtio_grant.h"

enum {
	PAGES = 128,
	FIRST_REF = 8, /* reference of page 0 */
	CTRL_PAGE = 0,
	RING_PAGES = 1, /* from here, three for each queue */
	DATA_PAGE = 32,
	PORTS = 16,  /* of the guest */
	LOCAL = 100, /* our port = the guest's + this */
	MAPS = 512,
	QUEUES = 3,
	RING = 16,
	DOMID = 7,
};

/* ---- Xen ----------------------------------------------------------------------- */

enum grant { GOOD, READ_ONLY, NOT_GRANTED, GRANT_KINDS };
enum port { UNBOUND, NOBODYS, ANOTHERS, BOUND };

static int memfd;
static int event_pipe[2]; /* a pipe: what is read of an event channel's descriptor */
static uint8_t *guest;	  /* the guest's view of its pages */
static uint8_t grants[PAGES];
static uint8_t ports[PORTS];
static bool pending[PORTS], masked[PORTS];
static unsigned fail_maps, fail_binds, fail_copies;
static struct {
	void *ptr;
	uint32_t pages;
} maps[MAPS];

ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	(void)flags;
	memset(buf, 0x5a, len);
	return (ssize_t)len;
}

static bool fails(unsigned *n)
{
	if (!*n)
		return false;
	return --*n == 0;
}

static bool usable(uint32_t ref, bool write)
{
	return ref >= FIRST_REF && ref - FIRST_REF < PAGES &&
	       (grants[ref - FIRST_REF] == GOOD ||
		(grants[ref - FIRST_REF] == READ_ONLY && !write));
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	(void)logger;
	(void)open_flags;
	return (xengnttab_handle *)guest;
}

int xengnttab_close(xengnttab_handle *xgt)
{
	(void)xgt;
	for (unsigned i = 0; i < MAPS; i++)
		MUST(!maps[i].ptr);
	return 0;
}

/* As Linux' own driver, that file knows no request to keep it to one domain. */
int xengnttab_fd(xengnttab_handle *xgt)
{
	(void)xgt;
	return memfd;
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid,
				      uint32_t *refs, int prot)
{
	void *p;

	(void)xgt;
	MUST(domid == DOMID && count > 0);
	errno = EINVAL;
	if (fails(&fail_maps)) {
		errno = ENOSPC;
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		MUST(refs[i] == refs[0] + i);
		if (!usable(refs[i], true))
			return NULL;
	}
	p = mmap(NULL, (size_t)count * 4096, prot, MAP_SHARED, memfd,
		 (off_t)(refs[0] - FIRST_REF) * 4096);
	MUST(p != MAP_FAILED);
	for (unsigned i = 0; i < MAPS; i++) {
		if (maps[i].ptr)
			continue;
		maps[i].ptr = p;
		maps[i].pages = count;
		return p;
	}
	MUST(!"a mapping is free");
	return NULL;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
	(void)xgt;
	for (unsigned i = 0; i < MAPS; i++) {
		if (maps[i].ptr != start)
			continue;
		MUST(maps[i].pages == count);
		munmap(start, (size_t)count * 4096);
		maps[i].ptr = NULL;
		return 0;
	}
	MUST(!"what is unmapped was mapped");
	return -1;
}

static unsigned mapped(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MAPS; i++)
		n += maps[i].ptr != NULL;
	return n;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
			 xengnttab_grant_copy_segment_t *segs)
{
	(void)xgt;
	for (uint32_t i = 0; i < count; i++) {
		xengnttab_grant_copy_segment_t *s = &segs[i];
		bool to = s->flags == GNTCOPY_dest_gref;
		uint32_t ref = to ? s->dest.foreign.ref : s->source.foreign.ref;
		uint32_t off = to ? s->dest.foreign.offset : s->source.foreign.offset;

		MUST(to || s->flags == GNTCOPY_source_gref);
		MUST((to ? s->dest.foreign.domid : s->source.foreign.domid) == DOMID);
		MUST(s->len > 0 && off + s->len <= 4096);
		if (fails(&fail_copies) || !usable(ref, to)) {
			s->status = GNTST_bad_gntref;
			continue;
		}
		s->status = GNTST_okay;
		if (to)
			memcpy(guest + (size_t)(ref - FIRST_REF) * 4096 + off, s->source.virt,
			       s->len);
		else
			memcpy(s->dest.virt, guest + (size_t)(ref - FIRST_REF) * 4096 + off,
			       s->len);
	}
	return 0;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	(void)logger;
	(void)open_flags;
	return (xenevtchn_handle *)guest;
}

int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	(void)xce;
	MUST(domid == DOMID);
	return 0;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
	(void)xce;
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	(void)xce;
	return event_pipe[0];
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
						     evtchn_port_t remote)
{
	(void)xce;
	MUST(domid == DOMID);
	errno = EINVAL;
	if (remote >= PORTS || ports[remote] != UNBOUND || fails(&fail_binds))
		return -1;
	ports[remote] = BOUND;
	pending[remote] = true; /* a new port is */
	masked[remote] = false;
	return LOCAL + (int)remote;
}

/* As the kernel does: a port that fired can be read once, and is masked. */
static void deliver(void)
{
	for (unsigned i = 0; i < PORTS; i++) {
		const evtchn_port_t local = LOCAL + i;

		if (ports[i] != BOUND || !pending[i] || masked[i])
			continue;
		pending[i] = false;
		masked[i] = true;
		MUST(write(event_pipe[1], &local, sizeof(local)) == sizeof(local));
	}
}

/* What nobody has read of an earlier input is not of this one. */
static void forget_events(void)
{
	evtchn_port_t port;

	while (read(event_pipe[0], &port, sizeof(port)) > 0)
		;
}

static unsigned of_local(evtchn_port_t local)
{
	MUST(local >= LOCAL && local < LOCAL + PORTS && ports[local - LOCAL] == BOUND);
	return local - LOCAL;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	ports[of_local(port)] = UNBOUND;
	pending[port - LOCAL] = false;
	return 0;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	of_local(port);
	return 0;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	MUST(port >= LOCAL && port < LOCAL + PORTS);
	/* It was read, and is unbound since: the kernel minds as little. */
	if (ports[port - LOCAL] == BOUND)
		masked[port - LOCAL] = false;
	return 0;
}

/* ---- the port ---------------------------------------------------------------------- */

static int imagefd, recordfd = -1;
static struct vg_dev dev;
static struct vg_record_map rec;
static struct vg_grant_port *gp;
static bool connected, answered, told_broken;

static void came(void *owner, int error, const char *text)
{
	(void)owner;
	MUST(!answered && (error == 0 || text[0]));
	answered = true;
	connected = error == 0;
}

static void broken(void *owner, const char *why)
{
	(void)owner;
	MUST(why);
	told_broken = true;
}

/* The kernel gets at an operation's memory until it completes: it must be there. */
static void touch(const struct fl_op *op)
{
	for (unsigned i = 0; i < op->niov; i++) {
		volatile uint8_t *at = op->iov[i].iov_base;

		if (op->kind == FL_READ && op->iov[i].iov_len)
			*at = 0x77;
		else if (op->iov[i].iov_len)
			(void)*at;
	}
}

static void fl_turn(void)
{
	for (unsigned i = 0; i < fl_ops; i++)
		touch(&fl_op[i]);
	while (fl_ops)
		fl_complete(fl_ops - 1,
			    fl_op[fl_ops - 1].kind < FL_SYNC ? (int)fl_op[fl_ops - 1].len : 0);
	fl_deferred();
}

static void disconnect_it(void)
{
	struct dh_wait w = DH_WAIT;

	vg_grant_port_disconnect(gp, &w.w);
	dh_await(NULL, &w);
	connected = false;
}

static void turns(unsigned n)
{
	while (n--) {
		deliver();
		fl_ready_all(POLLIN);
		fl_turn();
		MUST(mapped() <= 1 + VG_LIMIT_POOLS + 3 * QUEUES);
		if (told_broken && connected) {
			/* As worker.c does. */
			disconnect_it();
		}
		told_broken = false;
	}
}

static struct virtio_grant_control *page(void)
{
	return (struct virtio_grant_control *)(guest + CTRL_PAGE * 4096);
}

static void connect_it(uint32_t ref, uint32_t port, bool resume)
{
	answered = connected = false;
	vg_grant_port_connect(gp, ref, port, resume);
	/* One that takes up waits for its predecessor's end. */
	for (unsigned i = 0; i < 1000 && !answered; i++) {
		fl_turn();
		if (!answered)
			fl_timers();
	}
	MUST(answered);
	MUST(connected || mapped() == 0);
	told_broken = false;
}

static void nothing_left(void)
{
	MUST(mapped() == 0);
	for (unsigned i = 0; i < PORTS; i++)
		MUST(ports[i] != BOUND);
}

static void open_all(const char *spec)
{
	const struct vg_grant_port_events events = { .connected = came, .broken = broken };
	const struct vg_budget budget = VG_BUDGET_ALL;
	const struct vg_device_ops *ops;
	struct vg_record_shape shape;
	struct vg_params params;
	struct vg_err err;

	MUST(vg_params_parse(spec, &params, &err) == 0);
	ops = vg_device_find(params.device);
	MUST(ops && dh_open(&dev, ops, NULL, &params, &err) == 0);
	vg_record_shape_of(&dev, &shape);
	MUST(vg_record_make_memfd(&shape, spec, &recordfd, &err) == 0);
	MUST(vg_record_open(recordfd, &shape, &rec) == 0);
	MUST(vg_grant_port_new(&dev, DOMID, &budget, &rec, &events, &gp, &err) == 0);
	vg_grant_port_recorded(gp);
}

static void close_all(void)
{
	disconnect_it();
	nothing_left();
	vg_grant_port_free(gp);
	vg_dev_close(&dev);
	vg_record_close(&rec);
	connected = false;
}

/* ---- what the guest does ------------------------------------------------------------- */

static uint16_t avail_idx[QUEUES];

static uint64_t addr_of(unsigned pg, unsigned off)
{
	return VIRTIO_GRANT_ADDR(FIRST_REF + pg, off);
}

/** address - mostly of some page, else strange */
static uint64_t address(void)
{
	uint8_t how = u8();

	switch (how % 8) {
	case 0:
		return u64();
	case 1:
		return addr_of(how >> 3, 0) & ~VIRTIO_GRANT_ADDR_FLAG;
	case 2:
		return addr_of(PAGES - 1, u16() % 4096);
	case 3:
		return addr_of(DATA_PAGE + (how >> 3), u16() % 4096);
	default:
		return addr_of(DATA_PAGE + (how >> 3), (how & 7) * 64);
	}
}

static void post(const void *msg, size_t len)
{
	struct virtio_grant_control *c = page();

	memcpy(c->to_device[c->driver_prod.value % VIRTIO_GRANT_SLOTS], msg, len);
	c->driver_prod.value++;
	for (unsigned i = 0; i < PORTS; i++)
		if (ports[i] == BOUND)
			pending[i] = true;
}

static void request(uint8_t type, uint8_t id, const void *payload, size_t len)
{
	uint8_t m[VIRTIO_GRANT_SLOT_SIZE] = { 0 };
	struct virtio_msg_header h = { .type = type,
				       .msg_id = id,
				       .token = htole16(77),
				       .msg_size = htole16((uint16_t)(sizeof(h) + len)) };

	memcpy(m, &h, sizeof(h));
	memcpy(m + sizeof(h), payload, len);
	post(m, sizeof(m));
}

/** call - a request, given the time to be answered, and its answer taken */
static void call(uint8_t type, uint8_t id, const void *payload, size_t len)
{
	request(type, id, payload, len);
	turns(2);
	page()->tail.driver_cons = page()->device_prod.value;
}

static void status(uint32_t s)
{
	call(0, VIRTIO_MSG_SET_DEVICE_STATUS, &s, sizeof(s));
}

static void queue(uint32_t q, uint32_t size, bool rightly)
{
	const struct virtio_grant_vq_channel ch = { q, 2 + q };
	struct virtio_msg_vqueue v = { .index = q, .size = size };

	v.descriptor_addr = rightly ? addr_of(RING_PAGES + 3 * (q % 3), 0) : address();
	v.driver_addr = rightly ? addr_of(RING_PAGES + 3 * (q % 3) + 1, 0) : address();
	v.device_addr = rightly ? addr_of(RING_PAGES + 3 * (q % 3) + 2, 0) : address();
	call(VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, &ch, sizeof(ch));
	if (rightly)
		memset(guest + (size_t)(RING_PAGES + 3 * (q % 3)) * 4096, 0, 3 * 4096);
	avail_idx[q % QUEUES] = 0;
	call(0, VIRTIO_MSG_SET_VQUEUE, &v, sizeof(v));
}

static void features(uint64_t f)
{
	const uint32_t m[4] = { 0, 2, (uint32_t)f, (uint32_t)(f >> 32) };

	call(0, VIRTIO_MSG_SET_DRIVER_FEATURES, m, sizeof(m));
}

/** start - the whole way to DRIVER_OK, with what the input chooses */
static void start(void)
{
	unsigned how = u8();

	status(0);
	status(1);
	status(3);
	features((vg_dev_offered(&dev) & ((uint64_t)how << 28 | (how & 1 ? 0 : ~0xfff0000000ull))) |
		 VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_ACCESS_PLATFORM));
	status(11);
	if (how & 64) {
		const struct virtio_grant_pool p = { FIRST_REF + 64 + u8() % 8, 1 + u8() % 9 };

		call(VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_ADD_POOL, &p, sizeof(p));
	}
	for (unsigned q = 0; q < 1 + below(QUEUES); q++)
		queue(q, RING, true);
	status(15);
}

/** chain - a chain of one to three descriptors, made available in the split manner */
static void chain(void)
{
	unsigned q = below(QUEUES), n = 1 + below(3), at = avail_idx[q] % (RING / 4) * 4;
	struct vring_desc *d = (void *)(guest + (size_t)(RING_PAGES + 3 * q) * 4096);
	struct vring_avail *a = (void *)(guest + (size_t)(RING_PAGES + 3 * q + 1) * 4096);

	for (unsigned i = 0; i < n; i++) {
		d[at + i] = (struct vring_desc){
			address(), i ? u16() : 16,
			(uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
				   (i + 1 == n || chance(4) ? VRING_DESC_F_WRITE : 0)),
			(uint16_t)(at + i + 1)
		};
		/* A header of a read, a write, a flush. */
		if (!i && (d[at].addr >> 12 & 0xffffffff) - FIRST_REF < PAGES - 1)
			guest[((d[at].addr >> 12 & 0xffffffff) - FIRST_REF) * 4096 +
			      (d[at].addr & 4095)] = (uint8_t)below(16);
	}
	a->ring[avail_idx[q] % RING] = (uint16_t)at;
	a->idx = ++avail_idx[q];
	pending[2 + q] = true;
}

/** message - any message, with operands of about the right size */
static void message(void)
{
	static const uint8_t sizes[] = { 0, 0, 0, 8, 16, 8, 13, 0, 4, 4, 40, 4, 4, 0, 0, 0 };
	uint8_t m[VIRTIO_GRANT_SLOT_SIZE - sizeof(struct virtio_msg_header)];
	uint8_t id = u8(), type = (id & 0x30) == 0x30 ? u8() : 0;
	size_t len = sizes[id & 15];

	if (id & 0x40)
		len = u8() % sizeof(m);
	fuzz_bytes(m, len);
	if (id & 0x80) {
		struct virtio_grant_pool p = { FIRST_REF + u8() % (PAGES + 2), u8() };

		if (id & 1)
			p.first_ref = 2 + below(QUEUES), p.pages = below(PORTS + 1);
		else if (id & 4) /* as start() makes them */
			p = (struct virtio_grant_pool){ FIRST_REF + 64 + u8() % 8, 1 + u8() % 9 };
		call(VIRTIO_MSG_TYPE_BUS,
		     id & 1   ? VIRTIO_GRANT_BUS_SET_VQ_CHANNEL
		     : id & 2 ? VIRTIO_GRANT_BUS_DROP_POOL
			      : VIRTIO_GRANT_BUS_ADD_POOL,
		     &p, sizeof(p));
		return;
	}
	request(type, id & 15, m, len);
}

static void show_it(void)
{
	struct dh_wait w = DH_WAIT;

	vg_grant_port_show(gp, &w.w);
	dh_await(NULL, &w);
}

static void successor(const char *spec, unsigned how)
{
	static uint8_t area[4096], saved[256];
	uint8_t *inflight = vg_record_inflight(&rec, 0);
	struct vg_record_state was;
	uint32_t ref, port;

	vg_record_read(&rec, &was);
	ref = was.control_ref;
	port = was.control_channel;
	MUST(was.saved_size <= sizeof(saved));
	memcpy(saved, was.saved, was.saved_size);
	was.saved = saved;
	memcpy(area, inflight, sizeof(area));
	close_all();
	open_all(spec);
	/* As a killed worker leaves it: close_all() was too polite. */
	memcpy(vg_record_inflight(&rec, 0), area, sizeof(area));
	if (how & 1)
		((uint8_t *)&was)[u16() % offsetof(struct vg_record_state, saved)] ^=
			(uint8_t)(1 << below(8));
	if (how & 2)
		((uint8_t *)vg_record_inflight(&rec, 0))[u16() % sizeof(area)] ^=
			(uint8_t)(1 << below(8));
	vg_record_write(&rec, &was);
	connect_it(ref, port, true);
}

static void step(const char *spec)
{
	uint8_t op = u8();

	switch (op % 16) {
	case 0:
	case 1:
		message();
		break;
	case 2:
		start();
		break;
	case 3:
	case 4:
		chain();
		break;
	case 5:
		turns(1 + (op >> 4) % 3);
		break;
	case 6:
		page()->tail.driver_cons = page()->device_prod.value;
		break;
	case 7: {
		unsigned at = u16() % (DATA_PAGE * 4096);

		fuzz_bytes(guest + at, 1 + (op >> 4) % 8);
		break;
	}
	case 8: {
		uint32_t *index[] = { &page()->driver_prod.value, &page()->device_cons.value,
				      &page()->device_prod.value, &page()->tail.driver_cons };

		*index[op >> 4 & 3] = op & 64 ? u32() : *index[op >> 4 & 3] + u8();
		break;
	}
	case 9:
		grants[u8() % PAGES] = (uint8_t)below(GRANT_KINDS);
		break;
	case 10: {
		unsigned p = below(PORTS);

		if (ports[p] != BOUND)
			ports[p] = (uint8_t)below(3);
		else
			pending[p] = true;
		break;
	}
	case 11:
		fail_maps = below(8);
		fail_binds = below(4);
		fail_copies = below(8);
		break;
	case 12:
		if (chance(3)) {
			disconnect_it();
			nothing_left();
		}
		page()->tail.magic = chance(8) ? 0 : htole32(VIRTIO_GRANT_MAGIC);
		connect_it(chance(4) ? u32() : FIRST_REF + CTRL_PAGE, chance(4) ? u8() : 1, false);
		break;
	case 13:
		successor(spec, op >> 4 & 3);
		break;
	case 14: {
		const uint32_t q = below(QUEUES + 1);

		call(0, VIRTIO_MSG_RESET_VQUEUE, &q, sizeof(q));
		if (op & 16)
			queue(q, op & 32 ? u16() : RING, op & 64);
		break;
	}
	case 15:
		vg_dev_config_changed(&dev);
		show_it();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	char spec[96];

	if (!ready) {
		vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
		memfd = memfd_create("guest", 0);
		imagefd = memfd_create("image", 0);
		MUST(memfd >= 0 && imagefd >= 0);
		MUST(pipe2(event_pipe, O_NONBLOCK | O_CLOEXEC) == 0);
		MUST(ftruncate(memfd, PAGES * 4096) == 0 && ftruncate(imagefd, 1 << 20) == 0);
		guest = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
		MUST(guest != MAP_FAILED);
		ready = true;
	}
	fuzz_begin(data, len);
	memset(guest, 0, 64 * 4096);
	memset(grants, GOOD, sizeof(grants));
	memset(ports, UNBOUND, sizeof(ports));
	memset(pending, 0, sizeof(pending));
	memset(masked, 0, sizeof(masked));
	memset(avail_idx, 0, sizeof(avail_idx));
	fail_maps = fail_binds = fail_copies = 0;
	forget_events();
	if (recordfd >= 0)
		close(recordfd);
	recordfd = -1;
	if (u8() & 1)
		snprintf(spec, sizeof(spec), "blk,target=/proc/self/fd/%d,queues=%d,queue-size=64",
			 imagefd, QUEUES);
	else
		snprintf(spec, sizeof(spec), "rng");
	open_all(spec);
	page()->tail.magic = htole32(VIRTIO_GRANT_MAGIC);
	connect_it(FIRST_REF + CTRL_PAGE, 1, false);
	while (fuzz_more())
		step(spec);
	turns(2);
	close_all();
	MUST(fl_idle());
	return 0;
}
