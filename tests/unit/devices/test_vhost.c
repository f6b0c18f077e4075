// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost.c - the daemon whose devices are the kernel's (devices/gateway/vhost.c), asked by a worker that
 * was taken over: the kernel is never told an address outside the memory that came from it.
 *
 * Whoever builds a kernel may leave vhost out, so it is this program here: ioctl(2) and write(2) of the
 * daemon, on /dev/zero, end in it (Makefile: --wrap). On Xen the kernel's own: tests/xen/t/48-gateway.t.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "backend/devices/gateway/vhost.h"
#include "backend/wire/vhost_user.h"
#include "backend/worker/vhost_worker.h"

enum { PAGE = 4096, SIZE = 4 * PAGE, BASE = 1 << 30, OPENS = 4711 };

/* What the daemon asked of the kernel, in memory of both. */
static struct asked {
	unsigned addresses, sizes, maps, started;
	uint8_t status;
	uint32_t id; /* the device's */
} * asked;

int __wrap_ioctl(int fd, unsigned long request, void *arg);
ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = 1ULL << 32;
		break;
	case VHOST_VDPA_GET_STATUS:
		*(uint8_t *)arg = asked->status;
		break;
	case VHOST_VDPA_GET_CONFIG_SIZE:
		*(uint32_t *)arg = 8;
		break;
	case VHOST_VDPA_GET_VQS_COUNT:
		*(uint32_t *)arg = 2;
		break;
	case VHOST_VDPA_GET_DEVICE_ID:
		*(uint32_t *)arg = asked->id;
		break;
	case VHOST_VDPA_GET_VRING_NUM:
		*(uint16_t *)arg = 1024;
		break;
	case VHOST_SET_VRING_BASE:
		/* As code of somebody else's would in it. */
		if (((struct vhost_vring_state *)arg)->num == OPENS)
			open("/dev/null", O_RDONLY);
		break;
	case VHOST_SET_VRING_ADDR:
		asked->addresses++;
		break;
	case VHOST_SET_VRING_NUM:
		asked->sizes++;
		break;
	case VHOST_VDPA_SET_STATUS:
		asked->status = *(uint8_t *)arg;
		asked->started += (asked->status & 4) != 0;
		break;
	default:
		break;
	}
	return 0;
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	const struct vhost_msg_v2 *m = buf;

	if (n == sizeof(*m) && m->type == VHOST_IOTLB_MSG_V2) {
		asked->maps += m->iotlb.type == VHOST_IOTLB_UPDATE;
		return (ssize_t)n;
	}
	return __real_write(fd, buf, n);
}

/* ---- a front-end --------------------------------------------------------------- */

struct rig {
	struct sockaddr_un at;
	pid_t pid;
	int sock, memfd;
};

static void connect_to(struct rig *r)
{
	r->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(r->sock, (struct sockaddr *)&r->at, sizeof(r->at)), 0);
}

#ifdef __SANITIZE_THREAD__
static int unconfined(struct vg_err *err)
{
	(void)err;
	return 0;
}
#endif

static int daemon_main(void)
{
#ifdef __SANITIZE_THREAD__
	/* Its own thread makes calls that would end the process. */
	return vg_vhost_main("vdpa", "/dev/zero", unconfined);
#else
	return vg_vhost_worker_main("vdpa", "/dev/zero");
#endif
}

static int begin_as(void **state, uint32_t id)
{
	static struct rig r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	r = (struct rig){ .at.sun_family = AF_UNIX };
	snprintf(r.at.sun_path, sizeof(r.at.sun_path), "vhost.%d", (int)getpid());
	unlink(r.at.sun_path);
	asked = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r.memfd = memfd_create("test", MFD_CLOEXEC);
	if (asked != MAP_FAILED)
		asked->id = id;
	if (asked == MAP_FAILED || ftruncate(r.memfd, SIZE) < 0 ||
	    bind(fd, (struct sockaddr *)&r.at, sizeof(r.at)) < 0 || listen(fd, 1) < 0)
		return -1;
	r.pid = fork();
	if (r.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDIN_FILENO);
		_exit(daemon_main());
	}
	close(fd);
	connect_to(&r);
	*state = &r;
	return 0;
}

static int begin(void **state)
{
	return begin_as(state, VIRTIO_ID_BLOCK);
}

static int begin_card(void **state)
{
	return begin_as(state, VIRTIO_ID_NET);
}

static int end(void **state)
{
	struct rig *r = *state;

	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	close(r->sock);
	close(r->memfd);
	unlink(r->at.sun_path);
	munmap(asked, PAGE);
	return 0;
}

/* Send a request, and wait for what comes back. Return: its number; -1: we are hung up on. */
static int64_t say(struct rig *r, struct vg_vu_msg *m)
{
	struct pollfd p = { .fd = r->sock, .events = POLLIN };
	struct vg_vu_reader in;
	int64_t answer = -1;
	int ret;

	m->hdr.flags = VG_VU_VERSION | VG_VU_NEED_REPLY;
	if (vg_vu_send(r->sock, m) < 0)
		return -1;
	vg_vu_reader_init(&in);
	do {
		assert_int_equal(poll(&p, 1, 60000), 1);
		ret = vg_vu_read(&in, r->sock);
	} while (ret == -EAGAIN);
	if (ret == 1)
		answer = (int64_t)in.msg.u64;
	vg_vu_reader_fini(&in);
	return answer;
}

static int64_t say_memory(struct rig *r, uint64_t size)
{
	const struct vg_vu_region region = { .guest = BASE, .size = size, .user = BASE };
	struct vg_vu_msg m = { .hdr = { .request = VG_VU_SET_MEM_TABLE,
					.size = 8 + VG_VU_REGION_SIZE },
			       .n_fds = 1,
			       .fds = { r->memfd } };

	m.table.n = 1;
	memcpy(m.table.regions, &region, VG_VU_REGION_SIZE);
	return say(r, &m);
}

static int64_t say_state(struct rig *r, uint32_t request, uint32_t q, uint32_t num)
{
	struct vg_vu_msg m = { .hdr = { .request = request, .size = sizeof(m.state) } };

	m.state = (struct vg_vu_state){ .index = q, .num = num };
	return say(r, &m);
}

static int64_t say_ring(struct rig *r, uint32_t q, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct vg_vu_msg m = { .hdr = { .request = VG_VU_SET_VRING_ADDR, .size = sizeof(m.addr) } };

	m.addr = (struct vg_vu_addr){ .index = q, .desc = desc, .avail = avail, .used = used };
	return say(r, &m);
}

static int64_t say_kick(struct rig *r, uint32_t q, int fd)
{
	struct vg_vu_msg m = { .hdr = { .request = VG_VU_SET_VRING_KICK, .size = sizeof(m.u64) },
			       .n_fds = 1,
			       .fds = { fd } };

	m.u64 = q;
	return say(r, &m);
}

/* Another connection: whoever is refused is hung up on. */
static void again(struct rig *r)
{
	close(r->sock);
	connect_to(r);
	assert_int_equal(say_memory(r, SIZE), 0);
}

static void as_it_should(void **state)
{
	struct rig *r = *state;
	int kick = eventfd(0, EFD_CLOEXEC);
	uint64_t n;

	for (unsigned round = 1; round < 3; round++) {
		assert_int_equal(say_memory(r, SIZE), 0);
		for (uint32_t q = 0; q < 2; q++) {
			assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, q, 64), 0);
			assert_int_equal(say_ring(r, q, BASE, BASE + PAGE, BASE + 2 * PAGE), 0);
			if (q == 1)
				assert_int_equal(say_kick(r, q, kick), 0);
			assert_int_equal(say_state(r, VG_VU_SET_VRING_ENABLE, q, 1), 0);
		}
		assert_int_equal(asked->maps, round);
		assert_int_equal(asked->addresses, 2 * round);
		for (int i = 0; i < 2000 && asked->started < round; i++)
			usleep(10000);
		assert_int_equal(asked->started, round);
		/* What came before it ran is looked at then. */
		assert_int_equal(poll(&(struct pollfd){ kick, POLLIN, 0 }, 1, 60000), 1);
		assert_int_equal(read(kick, &n, sizeof(n)), sizeof(n));
		assert_int_equal(n, 1);
		close(r->sock);
		connect_to(r);
	}
	close(kick);
}

static void rings_outside(void **state)
{
	static const struct {
		uint32_t q, size;
		uint64_t desc, avail, used;
	} rows[] = {
		{ 2, 64, BASE, BASE, BASE },
		{ UINT32_MAX, 64, BASE, BASE, BASE },
		{ 0, 64, BASE - 16, BASE, BASE },
		{ 0, 64, BASE + SIZE - 64 * 16 + 16, BASE, BASE },
		{ 0, 64, BASE, BASE + SIZE - (4 + 2 * 65) + 2, BASE },
		{ 0, 64, BASE, BASE, BASE + SIZE - (4 + 8 * 64 + 2) + 2 },
		{ 0, 32768, BASE, BASE, BASE },
		{ 0, 64, UINT64_MAX, BASE, BASE },
		{ 0, 64, 0, BASE, BASE },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		again(r);
		if (rows[i].q < 2)
			assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, rows[i].q, rows[i].size),
					 0);
		assert_int_not_equal(
			say_ring(r, rows[i].q, rows[i].desc, rows[i].avail, rows[i].used), 0);
	}
	/* Before its size is said, nobody knows where it ends. */
	again(r);
	assert_int_not_equal(say_ring(r, 0, BASE, BASE, BASE), 0);
	assert_int_equal(asked->addresses, 0);
	/* To the last byte. */
	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
	assert_int_equal(say_ring(r, 0, BASE + SIZE - 64 * 16, BASE + SIZE - (4 + 2 * 65),
				  BASE + SIZE - (4 + 8 * 64 + 2)),
			 0);
}

/* One that fits, and grows afterwards. */
static void a_ring_that_grows(void **state)
{
	static const uint32_t sizes[] = { 128, 0, 32769, UINT32_MAX };
	struct rig *r = *state;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		again(r);
		assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
		assert_int_equal(say_ring(r, 0, BASE + SIZE - 64 * 16, BASE, BASE), 0);
		asked->sizes = 0;
		assert_int_not_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, sizes[i]), 0);
		assert_int_equal(asked->sizes, 0);
	}
}

/* Memory below rings that the kernel knows is not changed. */
static void memory_that_changes(void **state)
{
	struct rig *r = *state;

	again(r);
	assert_int_not_equal(say_memory(r, SIZE), 0);
	assert_int_equal(asked->maps, 1);
}

static void nonsense(void **state)
{
	static const uint32_t requests[] = { VG_VU_SET_VRING_BASE, VG_VU_SET_VRING_ENABLE,
					     VG_VU_GET_VRING_BASE };
	struct rig *r = *state;
	struct vg_vu_msg m = { .hdr = { .request = VG_VU_RESET_OWNER, .size = 0 } };

	for (size_t i = 0; i < COUNT(requests); i++) {
		again(r);
		assert_int_not_equal(say_state(r, requests[i], 16, 0), 0);
	}
	again(r);
	assert_int_not_equal(say(r, &m), 0);
	/* And whoever comes next is served. */
	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
}

/* What is answered to GET_VRING_BASE of a ring of which 5 requests were made available, and 3 were used. */
static uint32_t base_of(struct rig *r)
{
	struct vg_vu_msg m = { .hdr = { .request = VG_VU_GET_VRING_BASE,
					.size = sizeof(m.state) } };
	struct pollfd p = { .fd = r->sock, .events = POLLIN };
	uint16_t *ring = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	struct vg_vu_reader in;
	uint32_t base;
	int ret;

	assert_true(ring != MAP_FAILED);
	ring[PAGE / 2 + 1] = 5;
	ring[2 * PAGE / 2 + 1] = 3;
	munmap(ring, SIZE);
	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
	assert_int_equal(say_ring(r, 0, BASE, BASE + PAGE, BASE + 2 * PAGE), 0);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_ENABLE, 0, 1), 0);
	for (int i = 0; i < 2000 && !asked->started; i++)
		usleep(10000);
	assert_int_equal(asked->started, 1);
	m.hdr.flags = VG_VU_VERSION;
	assert_int_equal(vg_vu_send(r->sock, &m), 0);
	vg_vu_reader_init(&in);
	do {
		assert_int_equal(poll(&p, 1, 60000), 1);
		ret = vg_vu_read(&in, r->sock);
	} while (ret == -EAGAIN);
	assert_int_equal(ret, 1);
	base = in.msg.state.num;
	vg_vu_reader_fini(&in);
	return base;
}

/* A disk goes on to the last one that it has. */
static void where_a_disk_stops(void **state)
{
	assert_int_equal(base_of(*state), 5);
	assert_true(asked->status & 4);
}

/* A card would wait for frames for ever. */
static void where_a_card_stops(void **state)
{
	assert_int_equal(base_of(*state), 3);
	assert_int_equal(asked->status, 0);
}

/* Where it lay in the memory of an earlier connection, which is gone. */
static void a_ring_of_before(void **state)
{
	struct rig *r = *state;

	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
	assert_int_equal(say_ring(r, 0, BASE, BASE + PAGE, BASE + 2 * PAGE), 0);
	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_NUM, 0, 64), 0);
	assert_int_not_equal(say_state(r, VG_VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(asked->started, 0);
}

static void it_opens_nothing(void **state)
{
	struct rig *r = *state;
	int status = 0;

#ifdef __SANITIZE_THREAD__
	skip(); /* it has no sandbox */
#endif
	again(r);
	assert_int_equal(say_state(r, VG_VU_SET_VRING_BASE, 0, OPENS), -1);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	r->pid = fork();
	if (r->pid == 0)
		_exit(0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(as_it_should),
		T(rings_outside),
		T(a_ring_that_grows),
		T(memory_that_changes),
		T(nonsense),
		T(a_ring_of_before),
		T(it_opens_nothing),
		T(where_a_disk_stops),
		cmocka_unit_test_setup_teardown(where_a_card_stops, begin_card, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
