/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_vhost_user.c - libFuzzer target: a hostile front-end against the vhost-user port
 *
 * The input is a little program. Its operations send messages whose fields are
 * mostly sensible (a good session can be had in a few bytes) or any bytes at all,
 * with descriptors that fit or do not; send raw bytes; write to guest memory and
 * to the in-flight record; kick; answer, or do not, what comes on the back-end's
 * own channel; truncate the memory's file or the record's; hang up and connect
 * again, with the record of before or without. The device is the rng: what it
 * does with chains is not looked for here.
 *
 * What must hold: no crash, no sanitizer report, no call that does not return, and
 * no descriptor left over when the front-end is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xengnttab.h>

#include "backend/devices/devices.h"
#include "backend/ports/vhost_user/vhost_user.h"
#include "backend/wire/vhost_user.h"
#include "tests/driver/devhelp.h"
#include "tests/fuzz/fuzz.h"

enum {
	MEM = 0x10000,
	RING = 64,
	/* Where session() puts the ring. */
	DESC = 0,
	AVAIL = 0x1000,
	USED = 0x2000,
	BUFFER = 0x3000,
};
#define GUEST	  0x100000ull
#define USER	  0x7f0000000000ull
#define INDIRECT  (1ull << 28)
#define EVENT_IDX (1ull << 29)
#define PACKED	  (1ull << 34)
#define IN_ORDER  (1ull << 35)
#define INBAND	  (1ull << VG_VU_PF_INBAND)

const struct vg_device_ops *const vg_devices[] = { &vg_rng, NULL };

/* There is no Xen here. */
xengnttab_handle *xengnttab_open(struct xentoollog_logger *l, unsigned f)
{
	(void)l;
	(void)f;
	return NULL;
}
int xengnttab_fd(xengnttab_handle *x)
{
	(void)x;
	return -1;
}
int xengnttab_close(xengnttab_handle *x)
{
	(void)x;
	return 0;
}
void *xengnttab_map_domain_grant_refs(xengnttab_handle *x, uint32_t n, uint32_t d, uint32_t *r,
				      int p)
{
	(void)x, (void)n, (void)d, (void)r, (void)p;
	return NULL;
}
int xengnttab_unmap(xengnttab_handle *x, void *p, uint32_t n)
{
	(void)x, (void)p, (void)n;
	return 0;
}
int xengnttab_grant_copy(xengnttab_handle *x, uint32_t n, xengnttab_grant_copy_segment_t *s)
{
	(void)x, (void)n, (void)s;
	return -1;
}

static struct vg_loop *loop;
static struct vg_dev dev;
static struct vg_vu *vu;
static uint8_t *mem;
static int memfd, kickfd, filefd; /* for the whole time */
static int sock = -1;
static int back = -1;	  /* the front-end's end of the back-end's channel */
static int recordfd = -1; /* the in-flight record that the back-end made */
static uint64_t record_size;
static struct vg_vu_reader answers;
static uint64_t offered, protocol; /* as the back-end said */
static uint64_t features;
static unsigned made; /* requests put into the ring */

static void set_fd(int *fd, int to)
{
	if (*fd >= 0)
		close(*fd);
	*fd = to;
}

static void gone(void *owner, int error)
{
	(void)owner;
	(void)error;
}

static void turns(unsigned n)
{
	while (n--)
		vg_loop_turn(loop, false);
}

static void drop(void)
{
	struct dh_wait w = DH_WAIT;

	vg_vu_drop(vu, &w.w);
	dh_await(loop, &w);
}

static void hang_up(void)
{
	vg_vu_reader_fini(&answers);
	vg_vu_reader_init(&answers);
	set_fd(&sock, -1);
	set_fd(&back, -1);
	turns(2);
	drop();
	turns(2);
}

static void connect_again(void)
{
	int s[2];

	hang_up();
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) == 0);
	sock = s[1];
	vg_vu_serve(vu, s[0]);
}

static void read_answers(void)
{
	while (sock >= 0 && vg_vu_read(&answers, sock) == 1) {
		struct vg_vu_msg *m = &answers.msg;

		if (m->hdr.request == VG_VU_GET_FEATURES)
			offered = m->u64;
		if (m->hdr.request == VG_VU_GET_PROTOCOL_FEATURES)
			protocol = m->u64;
		if (m->hdr.request == VG_VU_GET_INFLIGHT_FD && m->n_fds == 1) {
			set_fd(&recordfd, vg_vu_take_fd(m, 0));
			record_size = m->inflight.mmap_size;
		}
	}
}

static void send_raw(const void *buf, size_t len, const int *fds, unsigned n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 40)] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	if (sock < 0 || sendmsg(sock, &mh, MSG_NOSIGNAL) < 0)
		connect_again();
	turns(2);
	read_answers();
}

static int a_fd(void)
{
	const int fds[] = { memfd, kickfd, filefd, sock, recordfd };
	int fd = fds[below(5)];

	return fd < 0 ? STDIN_FILENO : fd;
}

/* An address: mostly one that is there. */
static uint64_t an_addr(uint64_t base)
{
	unsigned how = u8();

	return how == 255 ? u64() : base + how * 256ull % (MEM + 4096);
}

static void send_message(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
			 int fd)
{
	uint8_t m[1024];
	const struct vg_vu_header h = { request, VG_VU_VERSION | flags, size };

	memcpy(m, &h, sizeof(h));
	memcpy(m + sizeof(h), payload, size);
	send_raw(m, sizeof(h) + size, &fd, fd >= 0);
}

static void send_u64(uint32_t request, uint64_t v, int fd)
{
	send_message(request, 0, &v, sizeof(v), fd);
}

static void send_state(uint32_t request, uint32_t index, uint32_t num)
{
	const struct vg_vu_state s = { index, num };

	send_message(request, 0, &s, sizeof(s), -1);
}

/* The front-end's end stays here. */
static void send_back_channel(void)
{
	int s[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) == 0);
	set_fd(&back, s[0]);
	send_message(VG_VU_SET_BACKEND_REQ_FD, 0, "", 0, s[1]);
	close(s[1]);
}

static void send_table(void)
{
	const uint64_t t[9] = { 1 + below(2),	GUEST, MEM,	      USER, 0,
				an_addr(GUEST), 4096,  an_addr(USER), 0 };
	const struct vg_vu_header h = { VG_VU_SET_MEM_TABLE, VG_VU_VERSION,
					(uint32_t)(8 + 32 * t[0]) };
	uint8_t m[sizeof(h) + sizeof(t)];
	int fds[2] = { t[0] == 2 ? a_fd() : memfd, memfd };

	memcpy(m, &h, sizeof(h));
	memcpy(m + sizeof(h), t, sizeof(t));
	send_raw(m, sizeof(h) + h.size, fds, (unsigned)t[0]);
}

static void send_inflight(uint32_t request)
{
	struct vg_vu_inflight d = { .mmap_size = below(2) ? record_size : u8() * 64ull,
				    .mmap_offset = chance(4) ? u64() : 0,
				    .num_queues = 1,
				    .queue_size = (uint16_t)(chance(4) ? u8() : RING) };

	if (chance(4))
		d.num_queues = u8();
	send_message(request, 0, &d, sizeof(d),
		     request == VG_VU_GET_INFLIGHT_FD ? -1
		     : chance(4)		      ? a_fd()
						      : recordfd);
}

static void send_region(uint32_t request)
{
	uint64_t g = an_addr(GUEST);
	const uint64_t r[5] = { 0, g, below(16) * 4096ull, USER + (g - GUEST), g - GUEST };

	send_message(request, 0, r, sizeof(r), request == VG_VU_ADD_MEM_REG ? memfd : -1);
}

static void a_message(void)
{
	uint32_t request = below(44);
	uint8_t p[256] = { 0 };
	uint32_t size;

	switch (request) {
	case VG_VU_SET_FEATURES:
		features = chance(2) ? u64() : offered & ~((uint64_t)u8() << 28);
		send_u64(request, features, -1);
		break;
	case VG_VU_SET_PROTOCOL_FEATURES:
		send_u64(request, chance(2) ? u64() : protocol, -1);
		break;
	case VG_VU_SET_MEM_TABLE:
		send_table();
		break;
	case VG_VU_SET_VRING_ADDR: {
		const uint64_t a[5] = { 0, USER + an_addr(0), USER + an_addr(0), USER + an_addr(0),
					0 };

		send_message(request, 0, a, sizeof(a), -1);
		break;
	}
	case VG_VU_SET_VRING_KICK:
	case VG_VU_SET_VRING_CALL:
	case VG_VU_SET_VRING_ERR:
		send_u64(request, chance(4) ? u64() : 0, chance(2) ? a_fd() : kickfd);
		break;
	case VG_VU_SET_BACKEND_REQ_FD:
		send_back_channel();
		break;
	case VG_VU_GET_INFLIGHT_FD:
	case VG_VU_SET_INFLIGHT_FD:
		send_inflight(request);
		break;
	case VG_VU_ADD_MEM_REG:
	case VG_VU_REM_MEM_REG:
		send_region(request);
		break;
	default:
		fuzz_bytes(p, 8);
		size = chance(2) ? u8() : 8;
		send_message(request, u8() & VG_VU_NEED_REPLY, p, size, chance(8) ? a_fd() : -1);
	}
}

static void start(void)
{
	const struct vg_vu_options options = { .in_band = true };
	const struct vg_vu_events events = { gone, NULL };
	struct vg_params params;
	struct vg_err err;

	signal(SIGPIPE, SIG_IGN);
	vg_log_init(VG_LOG_STDERR, 0, NULL);
	memfd = memfd_create("guest", MFD_CLOEXEC);
	filefd = memfd_create("any", MFD_CLOEXEC);
	kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	MUST(ftruncate(memfd, MEM) == 0);
	MUST(ftruncate(filefd, 8192) == 0);
	MUST(vg_loop_new(64, &loop) == 0);
	MUST(vg_params_parse("rng", &params, &err) == 0);
	MUST(dh_open(&dev, &vg_rng, loop, &params, &err) == 0);
	MUST(vg_vu_new(&dev, &options, &events, &vu, &err) == 0);
	mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	MUST(mem != MAP_FAILED);
}

/* Where the back-end goes on, if it has answered all. */
static uint32_t base(void)
{
	uint32_t at = made % RING | (made / RING & 1 ? 0 : 0x8000);
	uint16_t used;

	if (features & PACKED)
		return at | at << 16;
	memcpy(&used, mem + USED + 2, sizeof(used));
	return used;
}

/* A session that works, so that not each input must find one; with the record of before, if there is one. */
static void session(void)
{
	static const uint64_t table[5] = { 1, GUEST, MEM, USER, 0 };
	static const uint64_t addr[5] = { 0, USER + DESC, USER + USED, USER + AVAIL, 0 };
	unsigned with = u8();

	send_message(VG_VU_GET_FEATURES, 0, "", 0, -1);
	send_message(VG_VU_GET_PROTOCOL_FEATURES, 0, "", 0, -1);
	features = offered & ~((with & 1 ? INDIRECT : 0) | (with & 2 ? 0 : PACKED) |
			       (with & 4 ? EVENT_IDX : 0) | (with & 8 ? IN_ORDER : 0));
	send_u64(VG_VU_SET_PROTOCOL_FEATURES, with & 64 ? protocol : protocol & ~INBAND, -1);
	if (with & 16)
		send_back_channel();
	send_u64(VG_VU_SET_FEATURES, features, -1);
	send_message(VG_VU_SET_MEM_TABLE, 0, table, sizeof(table), memfd);
	if (with & 32) {
		struct vg_vu_inflight d = { .num_queues = 1, .queue_size = RING };

		if (recordfd < 0)
			send_message(VG_VU_GET_INFLIGHT_FD, 0, &d, sizeof(d), -1);
		d.mmap_size = record_size;
		if (recordfd >= 0)
			send_message(VG_VU_SET_INFLIGHT_FD, 0, &d, sizeof(d), recordfd);
	}
	send_state(VG_VU_SET_VRING_NUM, 0, RING);
	send_state(VG_VU_SET_VRING_BASE, 0, base());
	send_message(VG_VU_SET_VRING_ADDR, 0, addr, sizeof(addr), -1);
	if (with & 64)
		send_u64(VG_VU_SET_VRING_CALL, VG_VU_RING_NO_FD,
			 -1); /* in band, on the other channel */
	else
		send_u64(VG_VU_SET_VRING_CALL, 0, kickfd);
	send_u64(VG_VU_SET_VRING_KICK, 0, kickfd);
	send_state(VG_VU_SET_VRING_ENABLE, 0, 1);
}

/* A request to the rng. */
static void request(void)
{
	uint64_t d[2] = { GUEST + BUFFER, 64 | 2ull << 32 };
	uint16_t slot = made % RING, idx;

	if (features & PACKED) {
		bool wrap = !(made / RING & 1);

		d[1] = 64 | (uint64_t)slot << 32 | (wrap ? 2ull | 1 << 7 : 2ull | 1 << 15) << 48;
	} else {
		memcpy(&idx, mem + AVAIL + 2, sizeof(idx));
		memcpy(mem + AVAIL + 4 + 2 * (idx % RING), &slot, sizeof(slot));
		idx++;
		memcpy(mem + AVAIL + 2, &idx, sizeof(idx));
	}
	memcpy(mem + DESC + 16 * slot, d, sizeof(d));
	made++;
}

static void kick(void)
{
	const uint64_t one = 1;

	if (write(kickfd, &one, sizeof(one)) == sizeof(one))
		turns(2);
	read_answers();
}

/* What came on the back-end's channel is thrown away, and perhaps answered. */
static void answer(void)
{
	struct {
		struct vg_vu_header h;
		uint64_t v;
	} __attribute__((packed))
	m = { { VG_VU_BACK_VRING_CALL, VG_VU_VERSION | VG_VU_REPLY, 8 }, 0 };
	uint8_t junk[256];
	size_t len = sizeof(m);

	if (back < 0)
		return;
	while (recv(back, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	if (chance(4)) {
		fuzz_bytes(&m, sizeof(m));
		len = below(sizeof(m) + 1);
	}
	if (send(back, &m, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		set_fd(&back, -1);
	turns(2);
}

static void cut(int fd, off_t to, off_t again)
{
	/* The back-end's own record is sealed: it cannot be made shorter. */
	if (ftruncate(fd, to) < 0)
		return;
	kick();
	MUST(ftruncate(fd, again) == 0);
}

static void something_else(unsigned what)
{
	switch (what % 8) {
	case 0:
		connect_again();
		break;
	case 1: /* the back-end has died, say; the front-end has not */
		connect_again();
		session();
		break;
	case 2:
		cut(memfd, 4096, MEM);
		break;
	case 3:
		cut(filefd, 0, 8192);
		break;
	case 4:
		vg_dev_config_changed(&dev);
		turns(2);
		break;
	case 5:
		answer();
		break;
	case 6:
		set_fd(&back, -1);
		turns(2);
		break;
	case 7: /* forget it, and ask for another one day */
		set_fd(&recordfd, -1);
		break;
	}
}

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned before;

	fuzz_begin(data, len);
	if (!loop)
		start();
	memset(mem, 0, MEM);
	made = 0;
	before = count_fds();
	connect_again();
	if (u8() & 1)
		session();
	while (fuzz_more()) {
		unsigned op = u8();

		switch (op % 8) {
		case 0:
			a_message();
			break;
		case 1: {
			uint8_t raw[32];

			fuzz_bytes(raw, op / 8);
			send_raw(raw, op / 8, &memfd, op & 0x80 ? 1 : 0);
			break;
		}
		case 2: {
			unsigned at = u8() << 6;
			uint64_t v = u64();

			memcpy(mem + at % BUFFER, &v, sizeof(v));
			break;
		}
		case 3: {
			unsigned at = u8() << (op & 8 ? 3 : 1);
			uint64_t v = u64();

			if (pwrite(recordfd >= 0 ? recordfd : filefd, &v, 1 + op / 32, at) < 0)
				break;
			break;
		}
		case 4:
			kick();
			break;
		case 5:
		case 6:
			request();
			break;
		case 7:
			something_else(op / 8);
			break;
		}
	}
	set_fd(&recordfd, -1);
	hang_up();
	MUST(count_fds() == before);
	return 0;
}
