// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost_user_hostile.c - front-ends and guests that break the rules of vhost-user
 *
 * After each: the front-end, or the guest, has lost its device at worst; the same port serves the
 * next front-end, and no descriptor or mapping is left over.
 */
#include "backend/base/container.h"
#include "tests/rigs/vu_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static struct vu_rig r;
static unsigned fds_before;

static int open_blk(void **state)
{
	(void)state;
	fds_before = rig_fds();
	rig_blk(&r);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&r);
	assert_int_equal(rig_fds(), fds_before);
	return 0;
}

/* Every request there is, and some that there are not, with each size from nothing to a little more
 * than it should have, with and without a descriptor, on a fresh connection and on a running one. */
static void every_request_in_every_wrong_size(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, 7, 8, 9, 12, 20, 24, 32, 40, 41, 48, 72, 4108, 4109
	};
	static uint8_t payload[8192];

	(void)state;
	memset(payload, 0xff, sizeof(payload));
	for (unsigned running = 0; running < 2; running++) {
		for (uint32_t request = 0; request < 44; request++) {
			for (unsigned i = 0; i < COUNT(sizes) * 2; i++) {
				if (r.f.mem)
					vuf_fini(&r.f);
				rig_drop(&r);
				for (unsigned turns = 0; turns < 2; turns++)
					vg_loop_turn(r.loop, false);
				rig_connect(&r, RIG_GUEST, RIG_USER);
				r.f.protocol = ~(VUF_P_INBAND | VUF_P_XEN);
				if (running)
					rig_start(&r, 16);
				vuf_send(&r.f, request, i & 1 ? VUF_NEED_REPLY : 0,
					 sizes[i / 2] ? payload : NULL, sizes[i / 2], &r.f.memfd,
					 i & 1);
				for (unsigned turns = 0; turns < 4; turns++)
					vg_loop_turn(r.loop, false);
			}
		}
	}
}

static void messages_in_the_wrong_order(void **state)
{
	struct {
		uint64_t padding;
		struct vuf_region r;
	} reg = { .r = vuf_region(&r.f) };
	uint64_t n;

	(void)state;
	/* Rings before features, memory or negotiation. */
	r.f.ack = false;
	r.f.features = VUF_F_VERSION1;
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(vuf_get_base(&r.f, 0, &(uint32_t){ 0 }), 0);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_QUEUE_NUM, &n), 0);
	assert_int_equal(r.gone, 0);
	/* What was not negotiated. */
	assert_int_equal(vuf_do(&r.f, VUF_ADD_MEM_REG, &reg, sizeof(reg), r.f.memfd), 0);
	rig_hung_up(&r);
}

static void requests_that_were_not_negotiated(void **state)
{
	static const struct {
		uint32_t request, size;
		bool fd;
	} rows[] = { { VUF_SET_BACKEND_REQ_FD, 0, true }, { VUF_GET_CONFIG, 12, false },
		     { VUF_SET_CONFIG, 12, false },	  { VUF_GET_INFLIGHT_FD, 24, false },
		     { VUF_SET_INFLIGHT_FD, 24, true },	  { VUF_RESET_DEVICE, 0, false },
		     { VUF_VRING_KICK, 8, false },	  { VUF_GET_MAX_MEM_SLOTS, 0, false },
		     { VUF_ADD_MEM_REG, 40, true },	  { VUF_REM_MEM_REG, 40, false },
		     { VUF_SET_STATUS, 8, false },	  { VUF_GET_STATUS, 0, false } };
	static const uint8_t zero[64];
	struct vuf_msg m;

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		vuf_fini(&r.f);
		rig_settle(&r);
		rig_connect(&r, RIG_GUEST, RIG_USER);
		r.gone = 0;
		r.f.protocol = 0;
		assert_int_equal(vuf_negotiate(&r.f), 0);
		vuf_send(&r.f, rows[i].request, 0, rows[i].size ? zero : NULL, rows[i].size,
			 &r.f.memfd, rows[i].fd);
		assert_int_equal(vuf_recv(&r.f, r.f.sock, &m), 0);
		assert_int_equal(r.gone, 1);
		assert_int_equal(r.error, -EPROTO);
	}
	r.gone = 0;
}

static void features_that_were_never_offered(void **state)
{
	(void)state;
	r.f.ack = false;
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, UINT64_MAX, -1), 0);
	rig_hung_up(&r);
}

/* Neither an eventfd nor VRING_KICK can carry what a driver would put into a notification. */
static void notification_data_is_not_offered(void **state)
{
	const uint64_t data = 1ull << 38; /* VIRTIO_F_NOTIFICATION_DATA */
	uint64_t offered = 0;

	(void)state;
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_FEATURES, &offered), 0);
	assert_true(offered & VUF_F_VERSION1);
	assert_false(offered & data);
	r.f.ack = false;
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, VUF_F_VERSION1 | data, -1), 0);
	rig_hung_up(&r);
}

/* VERSION_1 is required: the device cannot speak to a legacy driver, and does not try. */
static void a_legacy_driver(void **state)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH, .dev_writes = true };

	(void)state;
	r.f.features &= ~VUF_F_VERSION1;
	rig_start(&r, 16);
	assert_int_equal(drv_blk_submit(&r.f.queue[0].blk, &req), 0);
	r.f.queue[0].blk.kick(&r.f.queue[0]);
	rig_settle(&r);
	assert_false(drv_vring_has_used(&r.f.queue[0].vr));
	assert_int_equal(r.gone, 0);
	drv_free(&r.f.flat.mem, &req.hdr);
}

static void the_peer_vanishes_at_any_byte_of_a_session(void **state)
{
	static const struct {
		uint32_t request, size;
	} session[] = { { 1, 0 }, { 15, 0 }, { 16, 8 }, { 2, 8 }, { 5, 40 }, { 8, 8 }, { 10, 8 } };
	uint8_t wire[512];
	unsigned len = 0;

	(void)state;
	memset(wire, 0, sizeof(wire));
	for (unsigned i = 0; i < COUNT(session); i++) {
		const uint32_t h[3] = { session[i].request, 1, session[i].size };

		memcpy(wire + len, h, sizeof(h));
		len += (unsigned)sizeof(h) + session[i].size;
	}
	wire[len - 4] = 1;
	for (unsigned n = 0; n <= len; n++) {
		vuf_fini(&r.f);
		rig_settle(&r);
		rig_connect(&r, RIG_GUEST, RIG_USER);
		r.gone = 0;
		if (n)
			assert_int_equal(write(r.f.sock, wire, n), n);
		close(r.f.sock);
		r.f.sock = -1;
		rig_settle(&r);
		assert_int_equal(r.gone, 1);
	}
	vuf_fini(&r.f);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	rig_start(&r, 16);
	rig_works(&r);
}

static void the_peer_vanishes_with_requests_in_flight(void **state)
{
	static struct drv_blk_req reqs[16];

	(void)state;
	for (unsigned round = 0; round < 10; round++) {
		struct vuf_queue *q = &r.f.queue[0];
		struct drv_buf buf;

		rig_start(&r, 64);
		assert_int_equal(drv_alloc(&r.f.flat.mem, 4096, 4096, true, &buf), 0);
		for (unsigned i = 0; i < 16; i++) {
			reqs[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
							.sector = i * 8,
							.segs = 1,
							.seg[0] = { buf.addr, 4096 },
							.dev_writes = true };
			assert_int_equal(drv_blk_submit(&q->blk, &reqs[i]), 0);
		}
		q->blk.kick(q->blk.ctx);
		if (round & 1)
			vg_loop_turn(r.loop, false);
		vuf_fini(&r.f);
		rig_settle(&r);
		assert_int_equal(r.gone, (int)round + 1);
		rig_connect(&r, RIG_GUEST, RIG_USER);
	}
}

/* ---- memory ------------------------------------------------------------- */

static int share(const struct vuf_region *regions, const int *fds, unsigned n)
{
	uint8_t m[8 + 32 * 32] = { 0 };
	struct vuf_msg reply;
	const uint32_t count = n;
	uint64_t result;

	memcpy(m, &count, sizeof(count));
	memcpy(m + 8, regions, n * sizeof(*regions));
	assert_int_equal(vuf_send(&r.f, VUF_SET_MEM_TABLE, VUF_NEED_REPLY, m,
				  (uint32_t)(8 + n * sizeof(*regions)), fds, n),
			 0);
	assert_int_equal(vuf_recv(&r.f, r.f.sock, &reply), 1);
	memcpy(&result, reply.payload, sizeof(result));
	return result ? -EREMOTEIO : 0;
}

static void regions_that_overlap_wrap_or_are_empty(void **state)
{
	const struct vuf_region good = vuf_region(&r.f);
	int fds[2] = { r.f.memfd, r.f.memfd };
	struct vuf_region t[2];

	(void)state;
	rig_start(&r, 16);
	static const struct {
		uint64_t guest, size, user, offset;
	} bad[] = {
		{ RIG_GUEST, 0, RIG_USER, 0 },		  /* empty */
		{ UINT64_MAX - 4095, 8192, RIG_USER, 0 }, /* wraps */
		{ RIG_GUEST, 8192, UINT64_MAX - 4095, 0 },
		{ RIG_GUEST, UINT64_MAX, 0, 0 },
		{ RIG_GUEST, 4096, RIG_USER, UINT64_MAX - 4095 },
		{ RIG_GUEST, 4096, RIG_USER, 1ull << 63 },
		{ RIG_GUEST, RIG_MEM + 1, RIG_USER, 0 }, /* longer than its file */
		{ RIG_GUEST, RIG_MEM, RIG_USER, 4096 },
		{ RIG_GUEST, 1ull << 62, RIG_USER, 0 },
	};
	for (unsigned i = 0; i < COUNT(bad); i++) {
		memcpy(&t[0], &bad[i], sizeof(t[0]));
		assert_int_equal(share(t, fds, 1), -EREMOTEIO);
		rig_works(&r); /* the former table is still there, and the ring runs */
	}
	t[0] = t[1] = good;
	assert_int_equal(share(t, fds, 2), -EREMOTEIO); /* the same twice */
	t[1].guest += good.size - 1;
	t[1].user += good.size;
	assert_int_equal(share(t, fds, 2), -EREMOTEIO); /* a byte of guest addresses */
	t[1].guest = good.guest + good.size;
	t[1].user = good.user + good.size - 1;
	assert_int_equal(share(t, fds, 2), -EREMOTEIO); /* a byte of user addresses */
	rig_works(&r);
	t[1].user = good.user + good.size;
	assert_int_equal(share(t, fds, 2), 0);
	rig_works(&r);
}

static void files_that_cannot_be_mapped(void **state)
{
	const struct vuf_region good = vuf_region(&r.f);
	int p[2], fd;

	(void)state;
	rig_start(&r, 16);
	assert_return_code(pipe(p), errno);
	assert_int_equal(share(&good, &p[0], 1), -EREMOTEIO);
	close(p[0]);
	close(p[1]);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(share(&good, &fd, 1), -EREMOTEIO);
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(share(&good, &fd, 1), -EREMOTEIO);
	close(fd);
	rig_works(&r);
}

/* A file that may only be read: what the device must write there, fails; nothing dies. */
static void memory_that_is_read_only(void **state)
{
	struct vuf_region two[2] = { vuf_region(&r.f), vuf_region(&r.f) };
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_IN, .segs = 1, .dev_writes = true };
	char path[64];
	int fds[2];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r.f.memfd);
	fds[0] = r.f.memfd;
	fds[1] = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fds[1] >= 0);
	two[1].guest = 1ull << 40;
	two[1].user = 1ull << 41;
	rig_start(&r, 16);
	assert_int_equal(share(two, fds, 2), 0);
	req.seg[0] = (struct drv_seg){ two[1].guest, 4096 };
	assert_int_equal(drv_blk_do(&r.f.queue[0].blk, &req), -EIO);
	rig_works(&r);
	close(fds[1]);
}

static void truncated(void (*then)(void))
{
	rig_start(&r, 16);
	rig_works(&r);
	assert_return_code(ftruncate(r.f.memfd, 0), errno);
	then();
	rig_settle(&r);
	/* The front-end's own mapping is gone, too: leave its memory alone. */
	assert_return_code(ftruncate(r.f.memfd, RIG_MEM), errno);
	assert_true(r.dev.status & VG_STATUS_NEEDS_RESET);
	assert_int_equal(r.gone, 0);
	vuf_fini(&r.f);
	rig_settle(&r);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	rig_start(&r, 16);
	rig_works(&r);
}

static void just_kick(void)
{
	const uint64_t one = 1;

	assert_int_equal(write(r.f.queue[0].kick, &one, sizeof(one)), sizeof(one));
	rig_settle(&r);
}

static void the_file_is_truncated_under_a_ring(void **state)
{
	(void)state;
	truncated(just_kick);
}

static void stop_it(void)
{
	uint32_t base;

	just_kick();
	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
}

static void the_file_is_truncated_and_the_ring_stopped(void **state)
{
	(void)state;
	truncated(stop_it);
}

static void the_inflight_file_is_truncated(void **state)
{
	struct {
		uint64_t size, offset;
		uint16_t queues, queue_size;
		uint32_t padding;
	} d = { .size = 2 * 1024, .queues = 2, .queue_size = 16 };
	int fd = memfd_create("record", MFD_CLOEXEC);

	(void)state;
	assert_return_code(ftruncate(fd, 4096), errno);
	r.f.protocol |= VUF_P_INFLIGHT;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_do(&r.f, VUF_SET_INFLIGHT_FD, &d, sizeof(d), fd), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	rig_works(&r);
	assert_return_code(ftruncate(fd, 0), errno);
	for (unsigned i = 0; i < 10; i++)
		rig_works(&r);
	close(fd);
}

/* ---- rings -------------------------------------------------------------- */

static void rings_that_lie_nowhere(void **state)
{
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} a = { .desc = RIG_USER, .used = RIG_USER + 4096, .avail = RIG_USER + 8192 };
	static const uint64_t wrong[] = { 0,	      RIG_USER - 16,	       RIG_USER + RIG_MEM,
					  UINT64_MAX, RIG_USER + RIG_MEM - 16, RIG_USER + 1 };

	(void)state;
	r.f.protocol |= VUF_P_STATUS;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 64), 0);
	for (unsigned i = 0; i < 3 * COUNT(wrong); i++) {
		uint64_t *field[] = { &a.desc, &a.used, &a.avail };
		uint64_t right = *field[i % 3], status;

		*field[i % 3] = wrong[i / 3];
		assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, 64), 0);
		assert_int_equal(vuf_do(&r.f, VUF_SET_VRING_ADDR, &a, sizeof(a), -1), 0);
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 0, r.f.queue[0].kick), 0);
		assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
		just_kick();
		assert_int_equal(vuf_get_u64(&r.f, VUF_GET_STATUS, &status), 0);
		assert_true(status & VG_STATUS_NEEDS_RESET);
		assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 0), 0);
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 0, -1), 0);
		*field[i % 3] = right;
	}
	/* A reset brings it back. */
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	rig_works(&r);
}

static void a_size_that_is_no_power_of_two(void **state)
{
	(void)state;
	rig_start(&r, 16);
	rig_works(&r);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, 15), 0);
	just_kick();
	assert_true(r.dev.status & VG_STATUS_NEEDS_RESET);
	assert_int_equal(r.gone, 0);
}

/* The guest breaks the ring: told by the error descriptor, by a change message, and by status. */
static void a_broken_ring_is_told(void **state)
{
	int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), s[2];
	uint64_t n;
	struct vuf_msg m;

	(void)state;
	r.f.protocol |= VUF_P_BACKEND | VUF_P_STATUS;
	rig_start(&r, 16);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_ERR, 0, err), 0);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), errno);
	assert_int_equal(vuf_do(&r.f, VUF_SET_BACKEND_REQ_FD, NULL, 0, s[1]), 0);
	rig_works(&r);
	r.f.queue[0].vr.avail->idx += 1000;
	just_kick();
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	assert_int_equal(vuf_recv(&r.f, s[0], &m), 1);
	assert_int_equal(m.request, 2);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_STATUS, &n), 0);
	assert_true(n & VG_STATUS_NEEDS_RESET);
	close(err);
	close(s[0]);
	close(s[1]);
}

static void kicks_for_rings_that_are_not_there(void **state)
{
	uint64_t one = 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 1, fd), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
		rig_settle(&r);
	}
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 2, fd), -EREMOTEIO);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 255, fd), -EREMOTEIO);
	close(fd);
}

/* Descriptors that are nothing of what they should be. */
static void strange_descriptors(void **state)
{
	int fd[4] = { open("/dev/zero", O_RDWR | O_CLOEXEC),
		      open("/dev/null", O_RDONLY | O_CLOEXEC), open(r.image, O_RDONLY | O_CLOEXEC),
		      dup(r.f.sock) };

	(void)state;
	r.f.protocol |= VUF_P_BACKEND;
	rig_start(&r, 16);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 1, fd[i]), -EREMOTEIO);
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 0, fd[i]), 0);
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_ERR, 0, fd[i]), 0);
		rig_works(&r);
		assert_int_equal(vuf_do(&r.f, VUF_SET_BACKEND_REQ_FD, NULL, 0, fd[i]), -EREMOTEIO);
		vg_dev_config_changed(&r.dev);
		rig_works(&r);
	}
	for (unsigned i = 0; i < 4; i++)
		close(fd[i]);
}

static void rings_are_set_up_again_and_again(void **state)
{
	(void)state;
	rig_start(&r, 16);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 0, r.f.queue[0].kick), 0);
		assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 0, r.f.queue[0].call), 0);
		assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, i & 1), 0);
		assert_int_equal(vuf_addr(&r.f, 0), 0);
	}
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	rig_works(&r);
}

/* ---- floods ------------------------------------------------------------- */

static void a_front_end_that_never_reads_its_answers(void **state)
{
	int flags = fcntl(r.f.sock, F_GETFL);

	(void)state;
	assert_return_code(fcntl(r.f.sock, F_SETFL, flags | O_NONBLOCK), errno);
	for (unsigned i = 0; i < 200000 && !r.gone; i++) {
		vuf_send(&r.f, VUF_GET_FEATURES, 0, NULL, 0, NULL, 0);
		vg_loop_turn(r.loop, false);
	}
	assert_int_equal(r.gone, 1);
	assert_true(r.error < 0);
	vuf_fini(&r.f);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	rig_start(&r, 16);
	rig_works(&r);
}

/* A flood of messages leaves the device its turns. */
static void a_flood_of_messages(void **state)
{
	unsigned done = 0;

	(void)state;
	rig_start(&r, 16);
	r.f.ack = false;
	for (unsigned i = 0; i < 50; i++) {
		for (unsigned k = 0; k < 200; k++)
			vuf_send(&r.f, VUF_SET_OWNER, 0, NULL, 0, NULL, 0);
		rig_works(&r);
		done++;
	}
	assert_int_equal(done, 50);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_blk, close_rig)
	const struct CMUnitTest tests[] = {
		T(every_request_in_every_wrong_size),
		T(messages_in_the_wrong_order),
		T(requests_that_were_not_negotiated),
		T(features_that_were_never_offered),
		T(notification_data_is_not_offered),
		T(a_legacy_driver),
		T(the_peer_vanishes_at_any_byte_of_a_session),
		T(the_peer_vanishes_with_requests_in_flight),
		T(regions_that_overlap_wrap_or_are_empty),
		T(files_that_cannot_be_mapped),
		T(memory_that_is_read_only),
		T(the_file_is_truncated_under_a_ring),
		T(the_file_is_truncated_and_the_ring_stopped),
		T(the_inflight_file_is_truncated),
		T(rings_that_lie_nowhere),
		T(a_size_that_is_no_power_of_two),
		T(a_broken_ring_is_told),
		T(kicks_for_rings_that_are_not_there),
		T(strange_descriptors),
		T(rings_are_set_up_again_and_again),
		T(a_front_end_that_never_reads_its_answers),
		T(a_flood_of_messages),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
