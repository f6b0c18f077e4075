// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost_user_msg.c - vhost-user messages: form, pieces, descriptors
 *
 * shared rows of "What a backend must survive": messages too short, too long, with
 * missing or extra file descriptors; a peer that vanishes at any byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/wire/vhost_user.h"
#include "tests/driver/vu_front.h"

/* From the specification, independent of the code's own table: payload, descriptors. */
static const struct {
	uint32_t request;
	uint32_t size;
	unsigned fds;
	bool longer; /* may be longer */
} rows[] = {
	{ 1, 0, 0, false },	{ 2, 8, 0, false },   { 3, 0, 0, false },   { 4, 0, 0, false },
	{ 5, 8 + 32, 1, true }, { 8, 8, 0, false },   { 9, 40, 0, false },  { 10, 8, 0, false },
	{ 11, 8, 0, false },	{ 12, 8, 1, false },  { 13, 8, 1, false },  { 14, 8, 1, false },
	{ 15, 0, 0, false },	{ 16, 8, 0, false },  { 17, 0, 0, false },  { 18, 8, 0, false },
	{ 21, 0, 1, false },	{ 24, 12, 0, true },  { 25, 12, 0, true },  { 31, 24, 0, false },
	{ 32, 24, 1, false },	{ 33, 0, 1, false },  { 34, 0, 0, false },  { 35, 8, 0, false },
	{ 36, 0, 0, false },	{ 37, 40, 1, false }, { 38, 40, 0, false }, { 39, 8, 0, false },
	{ 40, 0, 0, false },
};
#define N_ROWS (COUNT(rows))

static struct vg_vu_msg a_message(unsigned row)
{
	struct vg_vu_msg m;

	memset(&m, 0, sizeof(m));
	m.hdr = (struct vg_vu_header){ rows[row].request, VG_VU_VERSION, rows[row].size };
	m.n_fds = rows[row].fds;
	if (rows[row].request == VG_VU_SET_MEM_TABLE)
		m.table.n = 1;
	return m;
}

static int check(const struct vg_vu_msg *m)
{
	struct vg_err err = { "" };
	int ret = vg_vu_check(m, VG_VU_MAIN_REQUEST, false, &err);

	assert_int_equal(ret < 0, err.text[0] != '\0');
	return ret;
}

static void every_request_of_the_specification_is_understood(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_ROWS; i++) {
		struct vg_vu_msg m = a_message(i);

		assert_int_equal(check(&m), 0);
		assert_string_not_equal(vg_vu_name(VG_VU_MAIN_REQUEST, rows[i].request), "unknown");
	}
}

static void too_short(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_ROWS; i++) {
		struct vg_vu_msg m = a_message(i);

		/* An in-flight description may lack its padding. */
		for (uint32_t size = 0; size < (rows[i].size == 24 ? 20 : rows[i].size); size++) {
			m.hdr.size = size;
			assert_int_equal(check(&m), -EPROTO);
		}
	}
}

static void too_long(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_ROWS; i++) {
		struct vg_vu_msg m = a_message(i);

		m.hdr.size = rows[i].longer ? VG_VU_PAYLOAD_MAX + 1 : rows[i].size + 1;
		assert_int_equal(check(&m), -EPROTO);
		m.hdr.size = UINT32_MAX;
		assert_int_equal(check(&m), -EPROTO);
	}
}

static void missing_and_extra_descriptors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_ROWS; i++) {
		struct vg_vu_msg m = a_message(i);

		/* "MAY accept" one */
		m.n_fds = rows[i].request == VG_VU_REM_MEM_REG ? 2 : rows[i].fds + 1;
		assert_int_equal(check(&m), -EPROTO);
		if (rows[i].fds) {
			m.n_fds = 0;
			assert_int_equal(check(&m), -EPROTO);
		}
	}
}

static void ring_descriptors_go_by_their_flag(void **state)
{
	(void)state;
	for (uint32_t request = VG_VU_SET_VRING_KICK; request <= VG_VU_SET_VRING_ERR; request++) {
		struct vg_vu_msg m = { .hdr = { request, VG_VU_VERSION, 8 } };

		m.u64 = VG_VU_RING_NO_FD;
		assert_int_equal(check(&m), 0);
		m.n_fds = 1;
		assert_int_equal(check(&m), -EPROTO);
	}
}

static void tables_that_count_wrongly(void **state)
{
	struct vg_vu_msg m = { .hdr = { VG_VU_SET_MEM_TABLE, VG_VU_VERSION, 8 + 2 * 32 } };

	(void)state;
	m.n_fds = m.table.n = 2;
	assert_int_equal(check(&m), 0);
	m.n_fds = 1;
	assert_int_equal(check(&m), -EPROTO);
	m.n_fds = m.table.n = 3;
	assert_int_equal(check(&m), -EPROTO);
	m.table.n = 0x08000001; /* times 32: wraps to 32 */
	m.n_fds = 1;
	assert_int_equal(check(&m), -EPROTO);
}

static void config_longer_than_its_message(void **state)
{
	struct vg_vu_msg m = { .hdr = { VG_VU_SET_CONFIG, VG_VU_VERSION, 12 + 4 } };

	(void)state;
	m.config.size = 4;
	assert_int_equal(check(&m), 0);
	m.config.size = 5;
	assert_int_equal(check(&m), -EPROTO);
	m.config.size = UINT32_MAX;
	assert_int_equal(check(&m), -EPROTO);
}

static void versions_and_unknown_requests(void **state)
{
	struct vg_vu_msg m = { .hdr = { VG_VU_GET_FEATURES, 2, 0 } };

	(void)state;
	assert_int_equal(check(&m), -EPROTO);
	m.hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	assert_int_equal(check(&m), -EPROTO);
	m.hdr.flags = VG_VU_VERSION;
	static const uint32_t unknown[] = { 0, 6, 7, 19, 22, 28, 41, 1000, UINT32_MAX };
	for (unsigned i = 0; i < COUNT(unknown); i++) {
		m.hdr.request = unknown[i];
		assert_int_equal(check(&m), -EOPNOTSUPP);
	}
}

/* The gateway's side: what a back-end answers. */
static void replies_have_forms_too(void **state)
{
	struct vg_vu_msg m = { .hdr = { VG_VU_GET_FEATURES, VG_VU_VERSION | VG_VU_REPLY, 8 } };

	(void)state;
	assert_int_equal(vg_vu_check(&m, VG_VU_MAIN_REPLY, false, NULL), 0);
	m.hdr.size = 4;
	assert_int_equal(vg_vu_check(&m, VG_VU_MAIN_REPLY, false, NULL), -EPROTO);
	m.hdr = (struct vg_vu_header){ VG_VU_GET_INFLIGHT_FD, VG_VU_VERSION | VG_VU_REPLY, 24 };
	assert_int_equal(vg_vu_check(&m, VG_VU_MAIN_REPLY, false, NULL), -EPROTO);
	m.n_fds = 1;
	assert_int_equal(vg_vu_check(&m, VG_VU_MAIN_REPLY, false, NULL), 0);
	m = (struct vg_vu_msg){ .hdr = { VG_VU_BACK_VRING_CALL, VG_VU_VERSION, 8 } };
	assert_int_equal(vg_vu_check(&m, VG_VU_BACK_REQUEST, false, NULL), 0);
	m.hdr = (struct vg_vu_header){ VG_VU_BACK_CONFIG_CHANGE, VG_VU_VERSION | VG_VU_REPLY, 8 };
	assert_int_equal(vg_vu_check(&m, VG_VU_BACK_REPLY, false, NULL), 0);
	m.hdr.request = 3;
	assert_int_equal(vg_vu_check(&m, VG_VU_BACK_REPLY, false, NULL), -EOPNOTSUPP);
}

/* ---- on a socket -------------------------------------------------------- */

static int s[2];
static struct vg_vu_reader reader;

static int set_up(void **state)
{
	(void)state;
	vg_vu_reader_init(&reader);
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
}

static int tear_down(void **state)
{
	(void)state;
	vg_vu_reader_fini(&reader);
	close(s[0]);
	if (s[1] >= 0)
		close(s[1]);
	return 0;
}

static void byte_by_byte(void **state)
{
	static const uint8_t wire[] = {
		2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8
	};

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < sizeof(wire); i++) {
			assert_int_equal(vg_vu_read(&reader, s[0]), -EAGAIN);
			assert_int_equal(write(s[1], &wire[i], 1), 1);
		}
		assert_int_equal(vg_vu_read(&reader, s[0]), 1);
		assert_int_equal(reader.msg.hdr.request, VG_VU_SET_FEATURES);
		assert_true(reader.msg.u64 == 0x0807060504030201ull);
	}
}

static void the_peer_vanishes_at_any_byte(void **state)
{
	static const uint8_t wire[] = {
		2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8
	};

	for (unsigned n = 0; n < sizeof(wire); n++) {
		if (n)
			assert_int_equal(write(s[1], wire, n), n);
		close(s[1]);
		assert_int_equal(vg_vu_read(&reader, s[0]), n ? -ECONNRESET : 0);
		close(s[0]);
		vg_vu_reader_fini(&reader);
		set_up(state);
	}
}

static void a_size_that_no_message_has(void **state)
{
	const uint32_t header[3] = { 24, 1, VG_VU_PAYLOAD_MAX + 1 };

	(void)state;
	assert_int_equal(write(s[1], header, sizeof(header)), sizeof(header));
	assert_int_equal(vg_vu_read(&reader, s[0]), -EPROTO);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* As many descriptors as the kernel lets through, once and in every piece of a message. */
static void floods_of_descriptors(void **state)
{
	struct vuf f = { .sock = s[1] };
	int fds[64];
	unsigned before = open_fds();

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		fds[i] = s[1];
	assert_int_equal(vuf_send(&f, VUF_SET_OWNER, 0, NULL, 0, fds, 64), 0);
	assert_int_equal(vg_vu_read(&reader, s[0]), -EPROTO);
	vg_vu_reader_fini(&reader);
	assert_int_equal(open_fds(), before);

	assert_int_equal(vuf_send(&f, VUF_SET_OWNER, 0, NULL, 0, fds, 32), 0);
	assert_int_equal(vg_vu_read(&reader, s[0]), 1);
	assert_int_equal(reader.msg.n_fds, 32);
	assert_int_equal(vg_vu_check(&reader.msg, VG_VU_MAIN_REQUEST, false, NULL), -EPROTO);
	assert_int_equal(vg_vu_read(&reader, s[0]), -EAGAIN);
	assert_int_equal(open_fds(), before);

	/* The header with 20 of them, and the payload's first byte with 20 more. */
	vuf_send(&f, 0, 0, NULL, 0, NULL, 0); /* 12 bytes without any: parsed as a header */
	assert_int_equal(vg_vu_read(&reader, s[0]), 1);
	const uint32_t header[3] = { VUF_SET_FEATURES, 1, 24 };
	struct iovec iov = { (void *)(uintptr_t)header, 12 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 20)] = { 0 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 20);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * 20);
	assert_int_equal(sendmsg(s[1], &mh, 0), 12);
	assert_int_equal(vg_vu_read(&reader, s[0]), -EAGAIN);
	assert_int_equal(sendmsg(s[1], &mh, 0), 12);
	assert_int_equal(vg_vu_read(&reader, s[0]), -EPROTO);
	vg_vu_reader_fini(&reader);
	assert_int_equal(open_fds(), before);
}

static void descriptors_belong_to_their_message(void **state)
{
	struct vuf f = { .sock = s[1] };
	int fd;

	(void)state;
	assert_int_equal(vuf_send(&f, VUF_SET_OWNER, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(vuf_send(&f, VUF_SET_BACKEND_REQ_FD, 0, NULL, 0, &s[1], 1), 0);
	assert_int_equal(vuf_send(&f, VUF_SET_OWNER, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(vg_vu_read(&reader, s[0]), 1);
	assert_int_equal(reader.msg.n_fds, 0);
	assert_int_equal(vg_vu_read(&reader, s[0]), 1);
	assert_int_equal(reader.msg.n_fds, 1);
	fd = vg_vu_take_fd(&reader.msg, 0);
	assert_true(fd >= 0);
	assert_int_equal(vg_vu_take_fd(&reader.msg, 0), -1);
	assert_int_equal(vg_vu_take_fd(&reader.msg, 1), -1);
	assert_int_equal(vg_vu_read(&reader, s[0]), 1);
	assert_int_equal(reader.msg.n_fds, 0);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

static void a_peer_that_never_reads(void **state)
{
	unsigned n = 0;
	int ret;

	(void)state;
	while ((ret = vg_vu_send_u64(s[0], VG_VU_GET_FEATURES, VG_VU_REPLY, 1)) == 0)
		assert_true(++n < 1000000);
	assert_int_equal(ret, -EAGAIN);
	close(s[1]);
	s[1] = -1;
	assert_int_equal(vg_vu_send_u64(s[0], VG_VU_GET_FEATURES, VG_VU_REPLY, 1), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_of_the_specification_is_understood),
		cmocka_unit_test(too_short),
		cmocka_unit_test(too_long),
		cmocka_unit_test(missing_and_extra_descriptors),
		cmocka_unit_test(ring_descriptors_go_by_their_flag),
		cmocka_unit_test(tables_that_count_wrongly),
		cmocka_unit_test(config_longer_than_its_message),
		cmocka_unit_test(versions_and_unknown_requests),
		cmocka_unit_test(replies_have_forms_too),
		cmocka_unit_test_setup_teardown(byte_by_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_peer_vanishes_at_any_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_size_that_no_message_has, set_up, tear_down),
		cmocka_unit_test_setup_teardown(floods_of_descriptors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_belong_to_their_message, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_peer_that_never_reads, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
