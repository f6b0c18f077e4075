// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A daemon behind a gateway that answers nothing, too much, or nonsense: its own device is lost, with a
 * sentence; the driver's reset works, no byte of another request reaches the guest, and the next daemon
 * finds the device as it should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>

#include "backend/devices/gateway/int.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/testport.h"
#include "tests/rigs/foreign_daemon.h"

#define PATIENCE (300 * (NS_PER_S / 1000)) /* of the gateway, in here */
#define LONG	 (60 * NS_PER_S)	   /* longer than any test: it must not be what helps */

static struct foreign d;
static struct tp tp;
static struct drv_buf buf;

static bool fills(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)f;
	memset(r->in, 0x5a, r->in_len);
	*len = r->in_len;
	return true;
}

static const char *spec_of(const char *type)
{
	static char spec[200];

	snprintf(spec, sizeof(spec), "gateway,type=%s,socket=%s", type, d.path);
	return spec;
}

/* An rng behind a daemon as it should be; the test makes it worse. */
static void begin(void)
{
	fd_init(&d, "evil");
	d.request = fills;
	gw_patience_ns = LONG;
}

static void serve(void)
{
	assert_int_equal(fd_begin(&d), 0);
	tp_open(&tp, TP_COPY, spec_of("rng"));
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 3 * 4096, 4096, true, &buf), 0);
	memset(buf.virt, 0xee, 3 * 4096);
}

static void add(uint64_t at, uint32_t len)
{
	struct drv_seg seg = { .addr = buf.addr + at, .len = len };
	static int token;

	assert_true(drv_vring_add(&tp.vr[0], NULL, 0, &seg, 1, &token, 0) >= 0);
	tp_kick(&tp, 0);
}

static struct drv_used ask(uint64_t at, uint32_t len)
{
	struct drv_used used;

	add(at, len);
	tp_wait(&tp, 0, &used);
	return used;
}

static struct gateway *gw(void)
{
	return tp.dev.priv;
}

/* The daemon is lost, for @why; and nothing that it had has come back. */
static void lost(const char *why)
{
	for (unsigned i = 0; i < 10000 && !gw_is_lost(&gw()->link); i++) {
		usleep(500);
		tp_settle(&tp);
	}
	assert_true(gw_is_lost(&gw()->link));
	if (!strstr(gw()->link.why, why))
		fail_msg("lost for another reason: %s", gw()->link.why);
	assert_true(tp.dev.outdated);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
}

/* The driver may go, and the next daemon serves. */
static void finish(void)
{
	drv_free(&tp.flat.mem, &buf);
	tp_close(&tp);
	fd_end(&d);
	begin();
	serve();
	assert_int_equal(ask(0, 64).len, 64);
	drv_free(&tp.flat.mem, &buf);
	tp_close(&tp);
	fd_end(&d);
}

/* ---- before anybody is served ------------------------------------------------ */

static struct {
	uint32_t request;
	void (*how)(struct foreign *f, struct vg_vu_msg *m);
} bad;

static bool badly(struct foreign *f, struct vg_vu_msg *m)
{
	if (m->hdr.request != bad.request)
		return false;
	bad.how(f, m);
	return true;
}

static void hangs_up(struct foreign *f, struct vg_vu_msg *m)
{
	(void)m;
	shutdown(f->conn, SHUT_RDWR);
}

static void says_nothing(struct foreign *f, struct vg_vu_msg *m)
{
	(void)f;
	(void)m;
}

static void half(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = 8;
	if (send(f->conn, &m->hdr, 10, MSG_NOSIGNAL) > 0)
		shutdown(f->conn, SHUT_WR);
}

static void another(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.request = VG_VU_GET_STATUS;
	fd_reply(f, m, 8);
}

static void too_short(struct foreign *f, struct vg_vu_msg *m)
{
	fd_reply(f, m, 4);
}

static void too_long(struct foreign *f, struct vg_vu_msg *m)
{
	fd_reply(f, m, 4000);
}

static void endless(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = 1u << 30;
	if (send(f->conn, &m->hdr, sizeof(m->hdr), MSG_NOSIGNAL) < 0)
		return;
}

static void no_reply_flag(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.flags = VG_VU_VERSION;
	m->hdr.size = 8;
	vg_vu_send(f->conn, m);
}

static void version_two(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.flags = 2 | VG_VU_REPLY;
	m->hdr.size = 8;
	vg_vu_send(f->conn, m);
}

static void with_descriptors(struct foreign *f, struct vg_vu_msg *m)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = 8;
	m->n_fds = 1;
	m->fds[0] = f->quit;
	vg_vu_send(f->conn, m);
	m->n_fds = 0;
}

static void nothing_in_it(struct foreign *f, struct vg_vu_msg *m)
{
	m->u64 = 0;
	fd_reply(f, m, 8);
}

static void refuses(struct foreign *f, struct vg_vu_msg *m)
{
	m->u64 = 1;
	fd_reply(f, m, 8);
}

static void other_config(struct foreign *f, struct vg_vu_msg *m)
{
	m->config.size = 8;
	fd_reply(f, m, offsetof(struct vg_vu_config, data) + 60);
}

static void no_queues_in_config(struct foreign *f, struct vg_vu_msg *m)
{
	m->config.size = 60;
	memset(m->config.data, 0, 60);
	fd_reply(f, m, offsetof(struct vg_vu_config, data) + 60);
}

static void test_greeting(void **state)
{
	static const struct {
		uint32_t request;
		void (*how)(struct foreign *f, struct vg_vu_msg *m);
		const char *why;
	} cases[] = {
		{ VG_VU_GET_FEATURES, hangs_up, "does not answer GET_FEATURES" },
		{ VG_VU_GET_FEATURES, says_nothing, "it is silent" },
		{ VG_VU_GET_FEATURES, half, "does not answer GET_FEATURES" },
		{ VG_VU_GET_FEATURES, another, "not what it was asked" },
		{ VG_VU_GET_FEATURES, too_short, "4 bytes, it has 8" },
		{ VG_VU_GET_FEATURES, too_long, "4000 bytes, it has 8" },
		{ VG_VU_GET_FEATURES, endless, "does not answer" },
		{ VG_VU_GET_FEATURES, no_reply_flag, "a reply was expected" },
		{ VG_VU_GET_FEATURES, version_two, "version 2" },
		{ VG_VU_GET_FEATURES, with_descriptors, "1 file descriptors" },
		{ VG_VU_GET_FEATURES, nothing_in_it, "speaks no VIRTIO 1" },
		{ VG_VU_GET_PROTOCOL_FEATURES, hangs_up, "it has hung up" },
		{ VG_VU_GET_PROTOCOL_FEATURES, says_nothing, "it is silent" },
		{ VG_VU_GET_QUEUE_NUM, hangs_up, "it has hung up" },
		{ VG_VU_SET_BACKEND_REQ_FD, refuses, "it refuses SET_BACKEND_REQ_FD" },
		{ VG_VU_SET_BACKEND_REQ_FD, hangs_up, "it has hung up" },
		{ VG_VU_GET_CONFIG, hangs_up, "it has hung up" },
		{ VG_VU_GET_CONFIG, too_short, "4 bytes, it has 12" },
		{ VG_VU_GET_CONFIG, other_config, "no configuration space of 60 bytes" },
		{ VG_VU_GET_CONFIG, no_queues_in_config, "too few" },
	};
	struct vg_err err;

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		begin();
		d.features |= 1ull << 12; /* MQ */
		d.config_size = 60;
		d.message = badly;
		bad.request = cases[i].request;
		bad.how = cases[i].how;
		gw_patience_ns = PATIENCE;
		assert_int_equal(fd_begin(&d), 0);
		assert_true(tp_try_open(&tp, TP_COPY, spec_of("blk"), &err) < 0);
		if (!strstr(err.text, cases[i].why))
			fail_msg("case %u: %s", i, err.text);
		fd_end(&d);
	}
}

/* ---- its messages, later -------------------------------------------------------- */

static void test_refuses_memory(void **state)
{
	(void)state;
	begin();
	d.message = badly;
	bad.request = VG_VU_SET_MEM_TABLE;
	bad.how = refuses;
	serve();
	lost("it refuses SET_MEM_TABLE");
	finish();
}

static void test_silent_later(void **state)
{
	(void)state;
	begin();
	d.message = badly;
	bad.request = VG_VU_SET_VRING_ENABLE;
	bad.how = says_nothing;
	gw_patience_ns = PATIENCE;
	serve();
	lost("it does not answer SET_VRING_ENABLE");
	finish();
}

static void unasked(struct foreign *f, struct vg_vu_msg *m)
{
	m->u64 = 0;
	fd_reply(f, m, 8);
	fd_reply(f, m, 8);
}

static void test_answers_twice(void **state)
{
	(void)state;
	begin();
	d.message = badly;
	bad.request = VG_VU_SET_VRING_ENABLE;
	bad.how = unasked;
	serve();
	lost("not what it was asked");
	finish();
}

/* The driver resets the device, and the daemon does not say where the ring stands, or somewhere else. */
static void never_stops(void (*how)(struct foreign *f, struct vg_vu_msg *m))
{
	begin();
	d.message = badly;
	bad.request = VG_VU_GET_VRING_BASE;
	bad.how = how;
	gw_patience_ns = PATIENCE;
	serve();
	assert_int_equal(ask(0, 64).len, 64);
	tp_reset(&tp);
	assert_true(gw_is_lost(&gw()->link));
	assert_int_equal(tp.dev.status, 0);
	finish();
}

static void far_ahead(struct foreign *f, struct vg_vu_msg *m)
{
	m->state.num = 60000;
	fd_reply(f, m, 8);
}

static void another_queue(struct foreign *f, struct vg_vu_msg *m)
{
	m->state.index = 7;
	fd_reply(f, m, 8);
}

/* As if it had not taken what it has given back. */
static void far_behind(struct foreign *f, struct vg_vu_msg *m)
{
	m->state.num = 0;
	fd_reply(f, m, 8);
}

static void test_never_stops(void **state)
{
	(void)state;
	never_stops(says_nothing);
	never_stops(hangs_up);
	never_stops(far_ahead);
	never_stops(far_behind);
	never_stops(another_queue);
}

static bool keeps(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)f;
	(void)r;
	(void)len;
	return false;
}

/* It has taken a request, says that it has stopped, and keeps the request: whose memory is then not used
 * for anything else. */
static void test_keeps_a_request(void **state)
{
	(void)state;
	begin();
	d.request = keeps;
	gw_patience_ns = PATIENCE;
	serve();
	add(0, 64);
	for (unsigned i = 0; i < 10000 && atomic_load(&d.requests) == 0; i++) {
		usleep(500);
		tp_settle(&tp);
	}
	tp_reset(&tp);
	assert_true(gw_is_lost(&gw()->link));
	assert_non_null(strstr(gw()->link.why, "it keeps 1 requests"));
	finish();
}

/* What it has not taken is the driver's again; the daemon stays. */
static void test_takes_nothing(void **state)
{
	(void)state;
	begin();
	serve();
	assert_int_equal(ask(0, 64).len, 64);
	pthread_mutex_lock(&d.lock);
	d.ring[0].used->flags = VRING_USED_F_NO_NOTIFY; /* and it looks at nothing by itself */
	pthread_mutex_unlock(&d.lock);
	for (unsigned i = 0; i < 8; i++)
		add(0, 64);
	assert_int_equal(gw_ring_out(&gw()->queue[0].ring), 8);
	tp_reset(&tp);
	assert_false(gw_is_lost(&gw()->link));
	assert_int_equal(atomic_load(&d.requests), 1);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(ask(0, 64).len, 64);
	finish();
}

/* ---- its ring -------------------------------------------------------------------- */

static void gives_back(bool (*request)(struct foreign *f, const struct fd_request *r,
				       uint32_t *len),
		       const char *why)
{
	begin();
	d.request = request;
	serve();
	add(0, 64);
	add(4096, 64);
	lost(why);
	/* Of what made no sense nothing has reached the guest. */
	for (unsigned i = 0; i < 2 * 4096; i++)
		assert_int_equal(((uint8_t *)buf.virt)[i], 0xee);
	finish();
}

static bool odd_id(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)len;
	fd_give_back(f, r->q, r->head + 1u, 0);
	return false;
}

static bool id_out_of_range(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)len;
	fd_give_back(f, r->q, 0x10000u + r->head, 0);
	return false;
}

static bool id_not_its_own(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)len;
	fd_give_back(f, r->q, r->head ^ 256u, 0);
	return false;
}

static bool too_much(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)f;
	*len = r->in_len + 1;
	return true;
}

static bool jumps(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)len;
	f->ring[r->q].used->idx = 1000;
	fd_call(&f->ring[r->q]);
	return false;
}

static void test_bad_used(void **state)
{
	(void)state;
	gives_back(odd_id, "which it does not have");
	gives_back(id_out_of_range, "which it does not have");
	gives_back(id_not_its_own, "which it does not have");
	gives_back(too_much, "65 bytes where 64 have room");
	gives_back(jumps, "it gives back 1000 requests");
}

/* The second of two, twice, and then it has none: as many as it had. */
static bool twice(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	struct vring_used *used = f->ring[r->q].used;

	(void)len;
	if (atomic_load(&f->requests) < 2)
		return false;
	used->ring[0] = used->ring[1] = (struct vring_used_elem){ r->head, 0 };
	__atomic_store_n(&used->idx, 2, __ATOMIC_RELEASE);
	fd_call(&f->ring[r->q]);
	return false;
}

static void test_gives_back_twice(void **state)
{
	(void)state;
	begin();
	d.request = twice;
	serve();
	add(0, 64);
	add(0, 64);
	lost("which it does not have");
	finish();
}

/* Descriptors and available ring are ours, though it can write there. */
static bool scribbles(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	struct fd_ring *ring = &f->ring[r->q];

	memset(ring->desc, 0xff, ring->size * sizeof(*ring->desc));
	memset(ring->avail->ring, 0xff, ring->size * sizeof(ring->avail->ring[0]));
	return fills(f, r, len);
}

static void test_scribbles(void **state)
{
	(void)state;
	begin();
	d.request = scribbles;
	serve();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ask(0, 64).len, 64);
	assert_int_equal(((uint8_t *)buf.virt)[63], 0x5a);
	finish();
}

/* ---- what reaches the guest -------------------------------------------------------- */

static atomic_uint says, writes;

static bool lies(struct foreign *f, const struct fd_request *r, uint32_t *len)
{
	(void)f;
	memset(r->in, 0x5a, writes);
	*len = says;
	return true;
}

/* It says how much it wrote: no more is copied, though it wrote more; and what it did not write, though it
 * says so, is zero, and not what another request left there. */
static void test_lies_about_length(void **state)
{
	uint8_t *p;

	(void)state;
	begin();
	d.request = lies;
	serve();
	p = buf.virt;
	says = 10;
	writes = 4096;
	assert_int_equal(ask(0, 4096).len, 10);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(p[i], i < 10 ? 0x5a : 0xee);
	says = 4096;
	writes = 0;
	for (unsigned round = 0; round < 64; round++) {
		memset(p, 0xee, 4096);
		assert_int_equal(ask(0, 4096).len, 4096);
		for (unsigned i = 0; i < 4096; i++)
			assert_int_equal(p[i], 0);
		writes = 4096;
		gw()->queue[0].ring.from = 0; /* the same pages again */
		assert_int_equal(ask(4096, 4096).len, 4096);
		assert_int_equal(p[4096], 0x5a);
		gw()->queue[0].ring.from = 0;
		writes = 0;
	}
	finish();
}

/* ---- its own requests ---------------------------------------------------------------- */

static void on_back(const void *bytes, size_t n)
{
	/* The thread has it by now: SET_BACKEND_REQ_FD was acknowledged. */
	pthread_mutex_lock(&d.lock);
	assert_int_equal(send(d.back, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT), n);
	pthread_mutex_unlock(&d.lock);
}

static void test_back_channel(void **state)
{
	struct vg_vu_header h = { VG_VU_BACK_CONFIG_CHANGE, VG_VU_VERSION, 0 };
	const struct vg_vu_header long_one = { 1, VG_VU_VERSION, 1u << 30 };

	(void)state;
	begin();
	serve();
	/* Requests that nobody knows, changes of what does not exist: nothing happens. */
	h.request = 77;
	on_back(&h, sizeof(h));
	h.request = VG_VU_BACK_CONFIG_CHANGE;
	for (unsigned i = 0; i < 20; i++)
		on_back(&h, sizeof(h));
	tp_settle(&tp);
	assert_false(gw_is_lost(&gw()->link));
	assert_int_equal(tp.config_changes, 0);
	assert_int_equal(ask(0, 64).len, 64);
	on_back(&long_one, sizeof(long_one));
	lost("its own requests make no sense");
	finish();
}

/* However often it says so: it is asked once at a time, and the driver told when something changed. */
static void test_changes_all_the_time(void **state)
{
	const struct vg_vu_header h = { VG_VU_BACK_CONFIG_CHANGE, VG_VU_VERSION, 0 };
	unsigned asked;

	(void)state;
	begin();
	d.config_size = 60;
	assert_int_equal(fd_begin(&d), 0);
	tp_open(&tp, TP_COPY, spec_of("blk"));
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &buf), 0);
	tp_settle(&tp);
	asked = atomic_load(&d.messages[VG_VU_GET_CONFIG]);
	for (unsigned i = 0; i < 1000; i++) {
		on_back(&h, sizeof(h));
		if (i % 50 == 49)
			tp_settle(&tp);
	}
	tp_settle(&tp);
	assert_false(gw_is_lost(&gw()->link));
	assert_true(atomic_load(&d.messages[VG_VU_GET_CONFIG]) - asked < 500);
	assert_int_equal(tp.config_changes, 0);
	finish();
}

static void test_talks_without_end(void **state)
{
	static struct vg_vu_header h[200];

	(void)state;
	begin();
	serve();
	for (unsigned i = 0; i < COUNT(h); i++)
		h[i] = (struct vg_vu_header){ 77, VG_VU_VERSION, 0 };
	on_back(h, sizeof(h));
	lost("it talks without end");
	finish();
}

/* ---- what it is lent --------------------------------------------------------------- */

static void (*of_loan)(struct foreign *f, struct vg_vu_msg *m);
static uint32_t about_loan;

/* Memory of its own it takes. */
static bool loan_badly(struct foreign *f, struct vg_vu_msg *m)
{
	if (m->hdr.request != about_loan ||
	    (about_loan == VG_VU_ADD_MEM_REG && atomic_load(&f->messages[about_loan]) == 1))
		return false;
	of_loan(f, m);
	return true;
}

/* A disk whose daemon is lent memory; it answers @request, of that memory, as @how says. */
static void serve_lent(uint32_t request, void (*how)(struct foreign *f, struct vg_vu_msg *m))
{
	static char spec[200];

	begin();
	d.features |= VG_FEATURE(VG_F_INDIRECT_DESC);
	d.protocol |= VG_FEATURE(VG_VU_PF_CONFIGURE_MEM_SLOTS);
	d.config_size = 60;
	d.message = loan_badly;
	about_loan = request;
	of_loan = how;
	assert_int_equal(fd_begin(&d), 0);
	snprintf(spec, sizeof(spec), "blk,target=/srv/x.qcow2,socket=%s", d.path);
	tp_open(&tp, TP_LENT, spec);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 3 * 4096, 4096, true, &buf), 0);
}

/* What it does not want it is not told of again, and gets copies. */
static void test_refuses_a_loan(void **state)
{
	(void)state;
	serve_lent(VG_VU_ADD_MEM_REG, refuses);
	for (unsigned i = 0; i < 10; i++) {
		memset(buf.virt, 0xee, 4096);
		assert_int_equal(ask(0, 4096).len, 4096);
		assert_int_equal(((uint8_t *)buf.virt)[4095], 0x5a);
		tp_settle(&tp);
	}
	assert_int_equal(atomic_load(&d.messages[VG_VU_ADD_MEM_REG]), 2);
	assert_int_equal(gw()->uncopied, 0);
	assert_int_equal(tp.lent, 0);
	assert_false(gw_is_lost(&gw()->link));
	finish();
}

/* One that dies of it: the next worker, which knows that, lends nothing to the next daemon. */
static void test_dies_of_a_loan(void **state)
{
	uint8_t saved;

	(void)state;
	serve_lent(VG_VU_ADD_MEM_REG, hangs_up);
	add(0, 4096);
	lost("it has hung up");
	assert_int_equal(tp.lent, 0);
	saved = tp.dev.saved[0];
	assert_true(saved & GW_SAVED_TOLD);
	finish();

	serve_lent(VG_VU_ADD_MEM_REG, hangs_up);
	tp_reset(&tp);
	tp.dev.saved[0] = saved;
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(ask(0, 4096).len, 4096);
	tp_settle(&tp);
	assert_int_equal(ask(0, 4096).len, 4096);
	assert_int_equal(atomic_load(&d.messages[VG_VU_ADD_MEM_REG]), 1);
	finish();
}

/* The driver's reset is not answered before it has given back what it was lent, or is given up. */
static void keeps_a_loan(void (*how)(struct foreign *f, struct vg_vu_msg *m), const char *why)
{
	serve_lent(VG_VU_REM_MEM_REG, how);
	assert_int_equal(ask(0, 4096).len, 4096);
	tp_settle(&tp);
	assert_int_equal(tp.lent, 1);
	assert_int_equal(tp.dev.saved[0] & GW_SAVED_TOLD, 0);
	gw_patience_ns = PATIENCE;
	tp_reset(&tp);
	assert_int_equal(tp.lent, 0);
	assert_true(gw_is_lost(&gw()->link));
	if (!strstr(gw()->link.why, why))
		fail_msg("lost for another reason: %s", gw()->link.why);
	finish();
}

static void test_keeps_a_loan(void **state)
{
	(void)state;
	keeps_a_loan(says_nothing, "it does not answer REM_MEM_REG");
	keeps_a_loan(refuses, "it refuses REM_MEM_REG");
	keeps_a_loan(hangs_up, "it has hung up");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_refuses_memory),
		cmocka_unit_test(test_silent_later),
		cmocka_unit_test(test_answers_twice),
		cmocka_unit_test(test_never_stops),
		cmocka_unit_test(test_keeps_a_request),
		cmocka_unit_test(test_takes_nothing),
		cmocka_unit_test(test_bad_used),
		cmocka_unit_test(test_gives_back_twice),
		cmocka_unit_test(test_scribbles),
		cmocka_unit_test(test_lies_about_length),
		cmocka_unit_test(test_back_channel),
		cmocka_unit_test(test_changes_all_the_time),
		cmocka_unit_test(test_talks_without_end),
		cmocka_unit_test(test_refuses_a_loan),
		cmocka_unit_test(test_dies_of_a_loan),
		cmocka_unit_test(test_keeps_a_loan),
	};

	signal(SIGPIPE, SIG_IGN);
	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
