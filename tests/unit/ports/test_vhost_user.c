// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost_user.c - the vhost-user port as front-ends that keep the rules use it
 *
 * The contracts of Cloud Hypervisor and OpenVMM are replayed from what their
 * sources do: the order of messages, which are left out, which numbers are odd.
 */
#include "backend/base/container.h"
#include "tests/rigs/vu_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static struct vu_rig r;

static int open_blk(void **state)
{
	(void)state;
	rig_blk(&r);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&r);
	return 0;
}

/* ---- negotiation and rings ---------------------------------------------- */

static void a_disk_on_a_split_ring(void **state)
{
	char id[21];

	(void)state;
	r.f.features |= VUF_F_EVENT;
	rig_start(&r, 64);
	assert_true(r.f.offered & VUF_F_PROTOCOL);
	assert_true(r.f.poffered & VUF_P_CONFIG);
	assert_false(r.f.poffered & (VUF_P_INBAND | VUF_P_XEN));
	for (unsigned i = 0; i < 100; i++)
		rig_works(&r);
	assert_int_equal(drv_blk_get_id(&r.f.queue[0].blk, id), 0);
	assert_string_equal(id, "rig");
	assert_int_equal(drv_blk_flush(&r.f.queue[0].blk), 0);
	assert_int_equal(r.gone, 0);
}

static void a_disk_on_a_packed_ring(void **state)
{
	uint32_t base;

	(void)state;
	r.f.features |= VUF_F_EVENT | VUF_F_PACKED;
	rig_start(&r, 32);
	for (unsigned i = 0; i < 100; i++)
		rig_works(&r);
	/* 200 requests of 3 descriptors (indirect ones take one): where it stands must be where it
	 * goes on, wrap counters included. */
	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
	assert_int_equal(base & 0xffff, base >> 16);
	assert_int_equal(vuf_queue_tell(&r.f, 0, base), 0);
	for (unsigned i = 0; i < 50; i++)
		rig_works(&r);
}

static void several_queues(void **state)
{
	uint64_t n;

	(void)state;
	rig_start(&r, 16);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_QUEUE_NUM, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(vuf_queue_init(&r.f, 1, 64), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 1, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		uint8_t data[512];

		rig_works(&r);
		assert_int_equal(drv_blk_read(&r.f.queue[1].blk, i, data, sizeof(data)), 0);
	}
}

/* QEMU before protocol features: rings start enabled. */
static void without_protocol_features(void **state)
{
	(void)state;
	r.f.features &= ~VUF_F_PROTOCOL;
	r.f.ack = false;
	rig_start(&r, 16);
	rig_works(&r);
}

/* The front-end says how large a ring is, and cannot ask what the device has. */
static void a_ring_of_the_size_that_qemu_has(void **state)
{
	(void)state;
	rig_close(&r);
	rig_open(&r, "blk", NULL);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	rig_start(&r, 1024);
	rig_works(&r);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, 2048), -EREMOTEIO);
}

static void acknowledgements(void **state)
{
	(void)state;
	rig_start(&r, 16);
	assert_true(r.f.ack);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, 128), -EREMOTEIO); /* of 64 */
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, 0), -EREMOTEIO);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 2, 16), -EREMOTEIO);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 2), -EREMOTEIO);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, 1ull << 63, -1), -EREMOTEIO);
	/* None of them changed anything. */
	rig_works(&r);
	assert_int_equal(r.gone, 0);
}

static void a_ring_stops_and_goes_on(void **state)
{
	uint32_t base;

	(void)state;
	rig_start(&r, 16);
	for (unsigned i = 0; i < 70; i++) /* over the ring's end, several times */
		rig_works(&r);
	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
	assert_int_equal(base, 140);
	assert_int_equal(vuf_queue_tell(&r.f, 0, base), 0);
	rig_works(&r);
}

/* What comes while the ring is stopped is served when it goes on, and not before. */
static void a_disabled_ring_is_left_alone(void **state)
{
	struct drv_blk *b = &r.f.queue[0].blk;
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH, .dev_writes = true };
	struct drv_used used;

	(void)state;
	rig_start(&r, 16);
	rig_works(&r);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(drv_blk_submit(b, &req), 0);
	b->kick(b->ctx);
	rig_settle(&r);
	assert_false(drv_vring_has_used(b->vr));
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(b->wait(b->ctx, &used), 0);
	assert_int_equal(drv_blk_finish(b, &used)->result, 0);
}

/* A kick descriptor that is a pipe: older than eventfd, and still in the specification. */
static void pipes_instead_of_eventfds(void **state)
{
	struct vuf_queue *q = &r.f.queue[0];
	int kick[2], call[2];
	char got[8];

	(void)state;
	assert_return_code(pipe(kick), errno);
	assert_return_code(pipe(call), errno);
	rig_start(&r, 16);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 0, kick[0]), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 0, call[1]), 0);
	close(q->kick);
	q->kick = kick[1];
	for (unsigned i = 0; i < 20; i++)
		rig_works(&r);
	assert_int_equal(read(call[0], got, sizeof(got)), sizeof(got));
	close(kick[0]);
	close(call[0]);
	close(call[1]);
}

/* The call that nobody reads must not stop the device. */
static void a_full_call_pipe(void **state)
{
	int call[2];

	(void)state;
	assert_return_code(pipe(call), errno);
	assert_true(fcntl(call[1], F_SETPIPE_SZ, 4096) >= 4096);
	rig_start(&r, 16);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 0, call[1]), 0);
	for (unsigned i = 0; i < 400; i++)
		rig_works(&r);
	close(call[0]);
	for (unsigned i = 0; i < 4; i++)
		rig_works(
			&r); /* EPIPE, and no signal: the worker ignores it, so does cmocka's here */
	close(call[1]);
}

/* ---- configuration ------------------------------------------------------ */

/* Cloud Hypervisor reads what the guest reads: any offset, any size; and panics when refused. */
static void configuration_at_odd_offsets_and_sizes(void **state)
{
	uint8_t whole[512], part[512];

	(void)state;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	memset(whole, 0xee, sizeof(whole));
	assert_int_equal(vuf_config(&r.f, 0, 256, whole), 256);
	for (uint32_t off = 0; off < 100; off++) {
		for (uint32_t len = 0; len < 20; len++) {
			memset(part, 0xee, sizeof(part));
			assert_int_equal(vuf_config(&r.f, off, len, part), len);
			assert_memory_equal(part, whole + off, len);
		}
	}
	for (uint32_t i = r.dev.config_size; i < 256; i++)
		assert_int_equal(whole[i], 0);
	assert_int_equal(vuf_config(&r.f, 4000, 96, part), 96);
	/* An error is told with no payload. */
	assert_int_equal(vuf_config(&r.f, 4000, 97, part), 0);
	assert_int_equal(vuf_config(&r.f, UINT32_MAX, 1, part), 0);
	assert_int_equal(vuf_config(&r.f, UINT32_MAX - 3, 8, part), 0);
	assert_int_equal(r.gone, 0);
}

static int set_config(uint32_t offset, uint32_t flags, const void *data, uint32_t size)
{
	uint8_t m[64];
	const uint32_t head[3] = { offset, size, flags };

	memcpy(m, head, sizeof(head));
	memcpy(m + sizeof(head), data, size);
	return vuf_do(&r.f, VUF_SET_CONFIG, m, (uint32_t)sizeof(head) + size, -1);
}

#define WCE offsetof(struct virtio_blk_config, wce)

static void configuration_is_written(void **state)
{
	uint8_t wce = 0;

	(void)state;
	r.f.features |= 1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_FLUSH;
	rig_start(&r, 16);
	assert_int_equal(set_config(WCE, 0, &wce, 1), 0);
	assert_int_equal(vuf_config(&r.f, WCE, 1, &wce), 1);
	assert_int_equal(wce, 0);
	assert_int_equal(set_config(0, 0, "12345678", 8), -EREMOTEIO); /* capacity */
	assert_int_equal(set_config(0, 1, "12345678", 8), 0); /* migration: taken, not believed */
	assert_int_equal(set_config(0, 2, "1", 1), -EREMOTEIO);
	assert_int_equal(set_config(1u << 31, 0, "1", 1), -EREMOTEIO);
	r.f.ack = false;
	assert_int_equal(set_config(0, 0, "12345678", 8), 0); /* the guest's doing: no hanging up */
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_QUEUE_NUM, &(uint64_t){ 0 }), 0);
	assert_int_equal(r.gone, 0);
}

static void back_channel(int *ours)
{
	int s[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), errno);
	assert_int_equal(vuf_do(&r.f, VUF_SET_BACKEND_REQ_FD, NULL, 0, s[1]), 0);
	close(s[1]);
	*ours = s[0];
}

static void changes_of_configuration_are_told(void **state)
{
	struct vuf_msg m;
	int back;

	(void)state;
	r.f.protocol |= VUF_P_BACKEND;
	rig_start(&r, 16);
	back_channel(&back);
	vg_dev_config_changed(&r.dev);
	assert_int_equal(vuf_recv(&r.f, back, &m), 1);
	assert_int_equal(m.request, 2);
	assert_int_equal(m.flags, 1);
	assert_int_equal(m.size, 0);
	/* Nobody reads: bounded, and nothing is lost but repetitions. */
	for (unsigned i = 0; i < 100000; i++)
		vg_dev_config_changed(&r.dev);
	rig_works(&r);
	close(back);
	vg_dev_config_changed(&r.dev);
	rig_works(&r);
}

/* ---- memory ------------------------------------------------------------- */

static int add_region(uint32_t request, const struct vuf_region *region, int fd)
{
	struct {
		uint64_t padding;
		struct vuf_region r;
	} m = { .r = *region };

	return vuf_do(&r.f, request, &m, sizeof(m), fd);
}

static void regions_come_and_go(void **state)
{
	struct vuf_region all, half[2];
	uint64_t slots;

	(void)state;
	r.f.protocol |= VUF_P_SLOTS;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_MAX_MEM_SLOTS, &slots), 0);
	assert_true(slots >= 32);
	all = vuf_region(&r.f);
	/* The one memory as two regions: requests that cross the border are copied. */
	half[0] = half[1] = all;
	half[0].size /= 2;
	half[1].size /= 2;
	half[1].guest += half[0].size;
	half[1].user += half[0].size;
	half[1].offset += half[0].size;
	assert_int_equal(add_region(VUF_ADD_MEM_REG, &half[1], r.f.memfd), 0);
	assert_int_equal(add_region(VUF_ADD_MEM_REG, &half[0], r.f.memfd), 0);
	assert_int_equal(add_region(VUF_ADD_MEM_REG, &half[0], r.f.memfd), -EREMOTEIO);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	rig_works(&r);

	struct drv_blk *b = &r.f.queue[0].blk;
	struct drv_blk_req req = {
		.type = VIRTIO_BLK_T_OUT,
		.segs = 1,
		.seg[0] = { RIG_GUEST + half[0].size - 1024, 4096 },
	};
	memset(r.f.mem + half[0].size - 1024, 0x5a, 4096);
	assert_int_equal(drv_blk_do(b, &req), 0);
	uint8_t data[4096];
	assert_int_equal(drv_blk_read(b, 0, data, sizeof(data)), 0);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0x5a);

	/* The upper half goes; rings are in the lower. By SIZE and addresses, a descriptor or not. */
	struct vuf_region wrong = half[1];
	wrong.size -= 4096;
	assert_int_equal(add_region(VUF_REM_MEM_REG, &wrong, -1), -EREMOTEIO);
	assert_int_equal(add_region(VUF_REM_MEM_REG, &half[1], r.f.memfd), 0);
	rig_works(&r);
	req.result = 0;
	assert_int_equal(drv_blk_do(b, &req), -EIO);
	assert_int_equal(add_region(VUF_ADD_MEM_REG, &half[1], r.f.memfd), 0);
	assert_int_equal(drv_blk_do(b, &req), 0);
}

/* QEMU sends the table again at every change of the memory map, the same or another. */
static void a_new_table_under_running_rings(void **state)
{
	struct {
		uint32_t n, padding;
		struct vuf_region r[2];
	} t = { .n = 2 };
	int fds[2] = { r.f.memfd, memfd_create("more", MFD_CLOEXEC) };

	(void)state;
	assert_return_code(ftruncate(fds[1], 1 << 20), errno);
	rig_start(&r, 16);
	for (unsigned i = 0; i < 20; i++) {
		rig_works(&r);
		assert_int_equal(vuf_share(&r.f), 0);
	}
	fds[0] = r.f.memfd;
	t.r[0] = vuf_region(&r.f);
	t.r[1] = (struct vuf_region){ .guest = 1ull << 40, .size = 1 << 20, .user = 1ull << 41 };
	r.f.ack = false;
	assert_int_equal(vuf_send(&r.f, VUF_SET_MEM_TABLE, 0, &t, sizeof(t), fds, 2), 0);
	r.f.ack = true;
	for (unsigned i = 0; i < 20; i++)
		rig_works(&r);
	assert_int_equal(vuf_share(&r.f), 0);
	rig_works(&r);
	close(fds[1]);
}

/* ---- threads ------------------------------------------------------------ */

enum { LOAD_QUEUES = 4, LOAD_DEPTH = 4 };

/* Requests out on each queue; what @op does to the device meanwhile, they come back. */
static void with_requests_out(void (*op)(unsigned round))
{
	static struct drv_blk_req req[LOAD_QUEUES][LOAD_DEPTH];
	struct drv_buf buf;
	struct drv_used used;

	assert_int_equal(
		drv_alloc(&r.f.flat.mem, LOAD_QUEUES * LOAD_DEPTH * 4096, 4096, true, &buf), 0);
	for (unsigned round = 0; round < 12; round++) {
		bool read = round & 1;

		memset(buf.virt, read ? 0 : (int)round + 1, buf.len);
		for (unsigned q = 0; q < LOAD_QUEUES; q++) {
			struct drv_blk *blk = &r.f.queue[q].blk;

			for (unsigned i = 0; i < LOAD_DEPTH; i++) {
				unsigned at = q * LOAD_DEPTH + i;

				req[q][i] = (struct drv_blk_req){
					.type = read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					.sector = at * 8,
					.dev_writes = read,
					.seg = { { buf.addr + at * 4096, 4096 } },
					.segs = 1,
				};
				assert_int_equal(drv_blk_submit(blk, &req[q][i]), 0);
			}
			blk->kick(blk->ctx);
		}
		op(round);
		for (unsigned q = 0; q < LOAD_QUEUES; q++) {
			struct drv_blk *blk = &r.f.queue[q].blk;

			for (unsigned i = 0; i < LOAD_DEPTH; i++) {
				assert_int_equal(blk->wait(blk->ctx, &used), 0);
				assert_int_equal(drv_blk_finish(blk, &used)->result, 0);
			}
		}
		for (size_t i = 0; read && i < buf.len; i++)
			assert_int_equal(((uint8_t *)buf.virt)[i], round);
	}
	drv_free(&r.f.flat.mem, &buf);
}

static void stop_a_queue(unsigned round)
{
	uint32_t base, q = round % LOAD_QUEUES;

	assert_int_equal(vuf_get_base(&r.f, q, &base), 0);
	assert_int_equal(vuf_queue_tell(&r.f, q, base), 0);
	/* What came before the kick descriptor was there. */
	r.f.queue[q].blk.kick(r.f.queue[q].blk.ctx);
}

static void another_table(unsigned round)
{
	(void)round;
	assert_int_equal(vuf_share(&r.f), 0);
}

static void ask_how_it_is(unsigned round)
{
	struct vg_record_shape shape;
	struct vg_record_map map;
	struct dh_wait w = DH_WAIT;
	struct vg_err err;
	int fd = -1;

	(void)round;
	vg_record_shape_of(&r.dev, &shape);
	assert_int_equal(vg_record_make_memfd(&shape, "blk", &fd, &err), 0);
	assert_int_equal(vg_record_open(fd, &shape, &map), 0);
	vg_vu_show(r.vu, &map, &w.w);
	dh_await(r.loop, &w);
	for (unsigned q = 0; q < LOAD_QUEUES; q++) {
		assert_true(vg_record_live(&map, q)->running);
		assert_int_equal(vg_record_live(&map, q)->size, 16);
	}
	vg_record_close(&map);
	close(fd);
}

/* Each queue in a thread of its own, while the front-end stops queues, shares memory anew, goes and
 * comes back. */
static void queues_with_threads(void **state)
{
	(void)state;
	for (unsigned life = 0; life < 4; life++) {
		if (life & 1)
			r.f.features |= VUF_F_EVENT | VUF_F_PACKED;
		rig_start(&r, 16);
		for (unsigned q = 1; q < LOAD_QUEUES; q++) {
			assert_int_equal(vuf_queue_init(&r.f, q, 16), 0);
			assert_int_equal(vuf_queue_tell(&r.f, q, 0), 0);
		}
		with_requests_out(stop_a_queue);
		with_requests_out(another_table);
		with_requests_out(ask_how_it_is);
		rig_disconnect(&r);
		/* Once its threads have parted with the rings. */
		for (int i = 0; r.gone != (int)life + 1 && i < 1000; i++) {
			rig_settle(&r);
			usleep(10000);
		}
		assert_int_equal(r.gone, (int)life + 1);
		rig_connect(&r, RIG_GUEST, RIG_USER);
	}
}

static int begin_threads(void **state)
{
	(void)state;
	rig_open(&r, "blk,queues=4,threads=4,queue-size=64,serial=rig", NULL);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	return 0;
}

static void threads_need_eventfds(void **state)
{
	const struct vg_vu_events events = { rig_gone, &r };
	const struct vg_vu_options options = { .in_band = true };
	struct vg_err err = { "" };
	struct vg_vu *vu;

	(void)state;
	assert_int_equal(vg_vu_new(&r.dev, &options, &events, &vu, &err), -EINVAL);
	assert_non_null(strstr(err.text, "in-band"));
}

/* ---- OpenVMM ------------------------------------------------------------ */

/* It sends SET_MEM_TABLE once, and "user" addresses that are guest addresses plus 1 << 52: no address
 * of any process. They must be translated by each region's user address. */
static void openvmm_user_addresses(void **state)
{
	(void)state;
	rig_disconnect(&r);
	rig_connect(&r, 0, 1ull << 52);
	r.f.features |= VUF_F_EVENT;
	rig_start(&r, 64);
	for (unsigned i = 0; i < 50; i++)
		rig_works(&r);
}

/* ---- Cloud Hypervisor --------------------------------------------------- */

struct inflight {
	uint64_t mmap_size, mmap_offset;
	uint16_t num_queues, queue_size;
	uint32_t padding;
};

/* Return: the descriptor. */
static int get_inflight(struct inflight *d, uint16_t queues, uint16_t size)
{
	struct vuf_msg m;

	*d = (struct inflight){ .num_queues = queues, .queue_size = size };
	assert_int_equal(vuf_send(&r.f, VUF_GET_INFLIGHT_FD, 0, d, sizeof(*d), NULL, 0), 0);
	assert_int_equal(vuf_recv(&r.f, r.f.sock, &m), 1);
	assert_int_equal(m.size, sizeof(*d));
	memcpy(d, m.payload, sizeof(*d));
	assert_true(m.fd >= 0);
	return m.fd;
}

/* vu_common_ctrl.rs: features, table, NUM of all queues, in-flight, then for each ADDR, BASE (the
 * index that the driver has reached), CALL, KICK; ENABLE of all; BACKEND_REQ at last. Every request
 * with NEED_REPLY. */
/* Return: the back-end's channel, which comes last. */
static int ch_activate_and_hear(const struct inflight *d, int fd)
{
	struct vuf_queue *q = &r.f.queue[0];
	int back;

	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, r.f.features, -1), 0);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_NUM, 0, q->vr.cfg.size), 0);
	assert_int_equal(vuf_do(&r.f, VUF_SET_INFLIGHT_FD, d, sizeof(*d), fd), 0);
	assert_int_equal(vuf_addr(&r.f, 0), 0);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_BASE, 0, q->vr.avail->idx), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_CALL, 0, q->call), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_VRING_KICK, 0, q->kick), 0);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	back_channel(&back);
	return back;
}

static void ch_activate(const struct inflight *d, int fd)
{
	close(ch_activate_and_hear(d, fd));
}

static void ch_negotiate(void)
{
	r.f.protocol |= VUF_P_INFLIGHT | VUF_P_SLOTS | VUF_P_BACKEND;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
}

static void cloud_hypervisor_boots_a_guest_twice(void **state)
{
	struct inflight d;
	int fd;

	(void)state;
	ch_negotiate();
	fd = get_inflight(&d, 2, 16);
	ch_activate(&d, fd);
	for (unsigned i = 0; i < 30; i++)
		rig_works(&r);
	/* The guest resets: ENABLE 0 is all that comes. Its driver begins anew at index 0, with the
	 * same in-flight region, in which we stand at 60. */
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 0), 0);
	drv_vring_fini(&r.f.queue[0].vr);
	close(r.f.queue[0].kick);
	close(r.f.queue[0].call);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	ch_activate(&d, fd);
	for (unsigned i = 0; i < 30; i++)
		rig_works(&r);
	/* Pause and resume. */
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	rig_works(&r);
	assert_false(r.dev.status & VG_STATUS_NEEDS_RESET);
	close(fd);
}

/* Chains that were made available before the device heard of the ring: BASE is beyond them. */
static void cloud_hypervisor_base_is_ahead_of_requests(void **state)
{
	struct drv_blk *b = &r.f.queue[0].blk;
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH, .dev_writes = true };
	struct inflight d;
	struct drv_used used;
	int fd;

	(void)state;
	ch_negotiate();
	assert_int_equal(drv_blk_submit(b, &req), 0);
	drv_vring_publish(b->vr);
	fd = get_inflight(&d, 2, 16);
	ch_activate(&d, fd);
	assert_int_equal(b->wait(b->ctx, &used), 0);
	assert_int_equal(drv_blk_finish(b, &used)->result, 0);
	rig_works(&r);
	close(fd);
}

/* ---- in flight ---------------------------------------------------------- */

struct split_desc {
	uint8_t inflight, padding[5];
	uint16_t next;
	uint64_t counter;
};

struct split_record {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct split_desc desc[];
};

/* A predecessor died with one request popped: its successor is given the record it left. */
static void a_request_of_a_dead_predecessor_is_done(void **state)
{
	struct drv_blk *b = &r.f.queue[0].blk;
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH, .dev_writes = true };
	struct split_record *rec;
	struct drv_used used;
	struct inflight d;
	int fd, head;

	(void)state;
	ch_negotiate();
	fd = get_inflight(&d, 2, 16);
	rec = mmap(NULL, d.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(rec != MAP_FAILED);
	assert_int_equal(drv_blk_submit(b, &req), 0);
	drv_vring_publish(b->vr);
	head = b->vr->avail->ring[0];
	rec->version = 1;
	rec->desc_num = 16;
	rec->desc[head].inflight = 1;
	rec->desc[head].counter = 1;
	ch_activate(&d, fd);
	assert_int_equal(b->wait(b->ctx, &used), 0);
	assert_int_equal(drv_blk_finish(b, &used)->result, 0);
	assert_int_equal(rec->desc[head].inflight, 0);
	rig_works(&r);
	munmap(rec, d.mmap_size);
	close(fd);
}

/* What the driver has set in the device outlives the back-end, too. */
/* What of it is told while no ring runs is told again when one does: QEMU heeds only that. */
static void changes_before_the_start_are_told_at_the_start(void **state)
{
	struct vuf_msg m;
	int back;

	(void)state;
	r.f.protocol |= VUF_P_BACKEND;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	back_channel(&back);
	vg_dev_config_changed(&r.dev);
	assert_int_equal(vuf_recv(&r.f, back, &m), 1);
	assert_int_equal(m.request, 2);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	assert_int_equal(vuf_recv(&r.f, back, &m), 1);
	assert_int_equal(m.request, 2);
	rig_works(&r);
	assert_int_equal(recv(back, &m, 1, MSG_DONTWAIT), -1); /* once */
	close(back);
}

/* The back-end dies without a word; its record as it is now, in memory of its own, is what the
 * next one gets. Return: that memory. */
static int dies(const struct inflight *d, int fd)
{
	uint8_t *now = mmap(NULL, d->mmap_size, PROT_READ, MAP_SHARED, fd, 0);
	int copy = memfd_create("copy", MFD_CLOEXEC);
	int s[2];

	assert_int_equal(write(copy, now, d->mmap_size), d->mmap_size);
	munmap(now, d->mmap_size);
	close(fd);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), errno);
	close(r.f.sock);
	rig_settle(&r);
	r.f.sock = s[1];
	vg_vu_serve(r.vu, s[0]);
	return copy;
}

/* The image grows while there is no back-end; the next one tells the driver. */
static void growth_between_two_back_ends_is_told(void **state)
{
	struct inflight d;
	uint64_t capacity;
	struct vuf_msg m;
	int fd, back;

	(void)state;
	r.f.protocol |= VUF_P_BACKEND;
	ch_negotiate();
	fd = get_inflight(&d, 2, 16);
	ch_activate(&d, fd);
	rig_works(&r);
	fd = dies(&d, fd);
	assert_int_equal(truncate(r.image, 5 << 20), 0);
	r.dev.ops->tick(&r.dev); /* stands for the open of the next one */
	assert_int_equal(vuf_negotiate(&r.f), 0);
	back = ch_activate_and_hear(&d, fd);
	assert_int_equal(vuf_recv(&r.f, back, &m), 1);
	assert_int_equal(m.request, 2);
	assert_int_equal(vuf_config(&r.f, 0, sizeof(capacity), &capacity), sizeof(capacity));
	assert_int_equal(capacity, (5 << 20) / 512);
	rig_works(&r);
	/* And the one after that has nothing to tell. */
	close(back);
	fd = dies(&d, fd);
	assert_int_equal(vuf_negotiate(&r.f), 0);
	back = ch_activate_and_hear(&d, fd);
	rig_works(&r);
	assert_int_equal(recv(back, &m, 1, MSG_DONTWAIT), -1);
	close(back);
	close(fd);
}

static void write_through_outlives_the_back_end(void **state)
{
	struct inflight d;
	uint8_t wce = 0;
	int fd;

	(void)state;
	r.f.features |= 1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_FLUSH;
	ch_negotiate();
	fd = get_inflight(&d, 2, 16);
	ch_activate(&d, fd);
	rig_works(&r);
	assert_int_equal(set_config(WCE, 0, &wce, 1), 0);
	rig_works(&r);
	fd = dies(&d, fd);
	assert_int_equal(r.dev.saved[0], 0);
	assert_int_equal(vuf_negotiate(&r.f), 0);
	ch_activate(&d, fd);
	assert_int_equal(vuf_config(&r.f, WCE, 1, &wce), 1);
	assert_int_equal(wce, 0);
	rig_works(&r);
	close(fd);
}

static void records_of_others_and_records_that_lie(void **state)
{
	struct inflight d = { .mmap_size = 2 * 320, .num_queues = 2, .queue_size = 16 };
	int fd = memfd_create("record", MFD_CLOEXEC);

	(void)state;
	ch_negotiate();
	assert_return_code(ftruncate(fd, 4096), errno);
	/* libvhost-user's layout: 16 + 16 * 16 bytes, rounded up to 64, for each queue. */
	ch_activate(&d, fd);
	rig_works(&r);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 0), 0);

	static const struct inflight bad[] = {
		{ 319, 0, 2, 16, 0 },	      { 2 * 320, 0, 0, 16, 0 },
		{ 2 * 320, 0, 2, 0, 0 },      { 0, 0, 2, 16, 0 },
		{ 4097, 0, 2, 16, 0 },	      { 2 * 320, 4000, 2, 16, 0 },
		{ UINT64_MAX, 1, 2, 16, 0 },  { 2 * 320, UINT64_MAX, 2, 16, 0 },
		{ 1ull << 40, 0, 2, 16, 0 },  { 2 * 320, 3, 2, 16, 0 },
		{ 2 * 320, 0, 65535, 16, 0 }, { 2 * 320, 0, 2, 65535, 0 },
	};
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(vuf_do(&r.f, VUF_SET_INFLIGHT_FD, &bad[i], sizeof(bad[i]), fd),
				 -EREMOTEIO);
	assert_int_equal(vuf_do_state(&r.f, VUF_SET_VRING_ENABLE, 0, 1), 0);
	/* Not while a ring runs. */
	assert_int_equal(vuf_do(&r.f, VUF_SET_INFLIGHT_FD, &d, sizeof(d), fd), -EREMOTEIO);
	rig_works(&r);
	close(fd);
}

/* ---- status and reset --------------------------------------------------- */

static void status_as_qemu_uses_it(void **state)
{
	uint64_t status;
	uint32_t base;

	(void)state;
	r.f.protocol |= VUF_P_STATUS;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 8, -1), 0);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_STATUS, &status), 0);
	assert_int_equal(status & 8, 8);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 15, -1), 0);
	rig_works(&r);
	/* "stop", and "cont": status 0 in between. */
	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 0, -1), 0);
	assert_int_equal(vuf_get_u64(&r.f, VUF_GET_STATUS, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, r.f.features, -1), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 8, -1), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, base), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 15, -1), 0);
	rig_works(&r);
}

/* A paused machine's driver knows of no reset: what it set stays. A driver that begins anew finds
 * the device as new. */
static void what_the_driver_set_survives_a_pause(void **state)
{
	uint32_t base;
	uint8_t wce = 0;

	(void)state;
	r.f.protocol |= VUF_P_STATUS;
	r.f.features |= 1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_FLUSH;
	rig_start(&r, 16);
	rig_works(&r);
	assert_int_equal(set_config(WCE, 0, &wce, 1), 0);
	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 0, -1), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, base), 0);
	assert_int_equal(vuf_config(&r.f, WCE, 1, &wce), 1);
	assert_int_equal(wce, 0);
	rig_works(&r);

	assert_int_equal(vuf_get_base(&r.f, 0, &base), 0);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_STATUS, 0, -1), 0);
	drv_vring_fini(&r.f.queue[0].vr);
	close(r.f.queue[0].kick);
	close(r.f.queue[0].call);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	assert_int_equal(vuf_config(&r.f, WCE, 1, &wce), 1);
	assert_int_equal(wce, 1);
	rig_works(&r);
}

static void reset_device(void **state)
{
	(void)state;
	r.f.protocol |= VUF_P_RESET;
	rig_start(&r, 16);
	rig_works(&r);
	assert_int_equal(vuf_do(&r.f, VUF_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(r.dev.status, 0);
	drv_vring_fini(&r.f.queue[0].vr);
	close(r.f.queue[0].kick);
	close(r.f.queue[0].call);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_FEATURES, r.f.features, -1), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	rig_works(&r);
}

/* ---- in-band ------------------------------------------------------------ */

static void in_band_notifications(void **state)
{
	const struct vg_vu_options options = { .in_band = true };
	struct vuf_queue *q = &r.f.queue[0];
	struct vuf_msg m;
	const uint64_t zero = 0;
	int back, sock;

	(void)state;
	rig_close(&r);
	rig_open(&r, RIG_BLK, &options);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	r.f.protocol |= VUF_P_INBAND | VUF_P_BACKEND;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_true(r.f.poffered & VUF_P_INBAND);
	back_channel(&back);
	assert_int_equal(vuf_share(&r.f), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	close(q->kick);
	close(q->call);
	q->kick = q->call = -1;
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	rig_works(&r);
	/* Two requests are done; a call awaits its answer, and one more may be owed. */
	assert_int_equal(vuf_recv(&r.f, back, &m), 1);
	assert_int_equal(m.request, 4);
	assert_int_equal(m.flags, 1 | VUF_NEED_REPLY);
	assert_int_equal(m.size, 8);
	for (unsigned i = 0; i < 50; i++)
		rig_works(&r);
	struct pollfd p = { .fd = back, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 0); /* never two under way */
	sock = r.f.sock;
	r.f.sock = back;
	assert_int_equal(vuf_send(&r.f, 4, 4, &zero, 8, NULL, 0), 0);
	assert_int_equal(vuf_recv(&r.f, back, &m), 1); /* the one that was owed */
	assert_int_equal(vuf_send(&r.f, 4, 4, &zero, 8, NULL, 0), 0);
	r.f.sock = sock;
	rig_works(&r);
	close(back);
	rig_works(&r);
}

static void in_band_needs_its_companions(void **state)
{
	const struct vg_vu_options options = { .in_band = true };

	(void)state;
	rig_close(&r);
	rig_open(&r, RIG_BLK, &options);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	r.f.ack = false;
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_PROTOCOL_FEATURES, VUF_P_INBAND, -1), 0);
	rig_hung_up(&r);
}

/* ---- reconnecting ------------------------------------------------------- */

static void front_ends_come_and_go(void **state)
{
	unsigned fds;

	(void)state;
	rig_disconnect(&r);
	fds = rig_fds();
	for (unsigned i = 0; i < 20; i++) {
		rig_connect(&r, RIG_GUEST + i * 0x10000, RIG_USER);
		rig_start(&r, 16);
		rig_works(&r);
		rig_disconnect(&r);
		assert_int_equal(r.gone, i + 2);
		assert_int_equal(r.error, 0);
		assert_int_equal(r.dev.status, 0);
		assert_int_equal(rig_fds(), fds);
	}
	rig_connect(&r, RIG_GUEST, RIG_USER);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_blk, close_rig)
	const struct CMUnitTest tests[] = {
		T(a_disk_on_a_split_ring),
		T(a_disk_on_a_packed_ring),
		T(several_queues),
		T(without_protocol_features),
		T(a_ring_of_the_size_that_qemu_has),
		T(acknowledgements),
		T(a_ring_stops_and_goes_on),
		T(a_disabled_ring_is_left_alone),
		T(pipes_instead_of_eventfds),
		T(a_full_call_pipe),
		T(configuration_at_odd_offsets_and_sizes),
		T(configuration_is_written),
		T(changes_of_configuration_are_told),
		T(changes_before_the_start_are_told_at_the_start),
		T(growth_between_two_back_ends_is_told),
		T(regions_come_and_go),
		T(a_new_table_under_running_rings),
		T(openvmm_user_addresses),
		T(cloud_hypervisor_boots_a_guest_twice),
		T(cloud_hypervisor_base_is_ahead_of_requests),
		T(a_request_of_a_dead_predecessor_is_done),
		T(write_through_outlives_the_back_end),
		T(records_of_others_and_records_that_lie),
		T(status_as_qemu_uses_it),
		T(what_the_driver_set_survives_a_pause),
		T(reset_device),
		T(in_band_notifications),
		T(in_band_needs_its_companions),
		T(front_ends_come_and_go),
		cmocka_unit_test_setup_teardown(queues_with_threads, begin_threads, close_rig),
		cmocka_unit_test_setup_teardown(threads_need_eventfds, begin_threads, close_rig),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
