/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vu_rig.h - a device on the vhost-user port and a front-end, in one thread
 *
 * The front-end's waiting turns the device's loop.
 */
#ifndef VU_RIG_H
#define VU_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/ports/vhost_user/vhost_user.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/vu_front.h"

#define RIG_MEM	  (8u << 20)
#define RIG_GUEST 0x100000ull
#define RIG_USER  0x7f0000000000ull

struct vu_rig {
	struct vg_loop *loop;
	struct vg_dev dev;
	struct vg_vu *vu;
	struct vuf f;
	char image[64];
	int gone;  /* times that the port hung up or was hung up on */
	int error; /* of the last time */
};

static inline void rig_gone(void *owner, int error)
{
	struct vu_rig *r = owner;

	r->gone++;
	r->error = error;
}

static inline void rig_turn(void *ctx)
{
	struct vu_rig *r = ctx;

	assert_true(vg_loop_turn(r->loop, false) >= 0);
}

/** rig_settle - until nothing happens any more */
static inline void rig_settle(struct vu_rig *r)
{
	for (unsigned quiet = 0; quiet < 6;) {
		int n = vg_loop_turn(r->loop, false);

		assert_true(n >= 0);
		quiet = n ? 0 : quiet + 1;
		if (!n)
			usleep(100);
	}
}

/** rig_drop - hang up on the front-end */
static inline void rig_drop(struct vu_rig *r)
{
	struct dh_wait w = DH_WAIT;

	vg_vu_drop(r->vu, &w.w);
	dh_await(r->loop, &w);
}

/** rig_connect - another front-end, its memory at @guest and @user */
static inline void rig_connect(struct vu_rig *r, uint64_t guest, uint64_t user)
{
	int s[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), errno);
	vg_vu_serve(r->vu, s[0]);
	assert_int_equal(vuf_init(&r->f, s[1], RIG_MEM, guest, user), 0);
	r->f.idle = rig_turn;
	r->f.ctx = r;
}

static inline void rig_open(struct vu_rig *r, const char *spec, const struct vg_vu_options *options)
{
	static const struct vg_vu_options none;
	const struct vg_vu_events events = { rig_gone, r };
	struct vg_params params;
	struct vg_err err = { "" };
	char text[256];
	bool disk;
	int fd;

	memset(r, 0, sizeof(*r));
	snprintf(r->image, sizeof(r->image), "%s/vu.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	fd = mkstemp(r->image);
	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, 4 << 20), errno);
	close(fd);
	disk = strncmp(spec, "blk", 3) == 0;
	snprintf(text, sizeof(text), "%s%s%s", spec, disk ? ",target=" : "", disk ? r->image : "");
	assert_int_equal(vg_loop_new(64, &r->loop), 0);
	assert_int_equal(vg_params_parse(text, &params, &err), 0);
	/* In the order of a worker. */
	if (vg_dev_open(&r->dev, vg_device_find(params.device), r->loop, NULL, &params, &err) < 0 ||
	    vg_vu_new(&r->dev, options ? options : &none, &events, &r->vu, &err) < 0 ||
	    vg_dev_threads(&r->dev, &err) < 0 || vg_dev_probe(&r->dev, &params, &err) < 0)
		fail_msg("%s", err.text);
}

#define RIG_BLK "blk,queues=2,queue-size=64,serial=rig"

/** rig_blk - a disk and a connected front-end */
static inline void rig_blk(struct vu_rig *r)
{
	rig_open(r, RIG_BLK, NULL);
	rig_connect(r, RIG_GUEST, RIG_USER);
}

/** rig_start - negotiate, share memory, start queue 0 of @size */
static inline void rig_start(struct vu_rig *r, unsigned size)
{
	assert_int_equal(vuf_negotiate(&r->f), 0);
	assert_int_equal(vuf_share(&r->f), 0);
	assert_int_equal(vuf_queue_init(&r->f, 0, size), 0);
	assert_int_equal(vuf_queue_tell(&r->f, 0, 0), 0);
}

static inline void rig_disconnect(struct vu_rig *r)
{
	vuf_fini(&r->f);
	rig_settle(r);
}

static inline void rig_close(struct vu_rig *r)
{
	if (r->f.mem)
		vuf_fini(&r->f);
	rig_drop(r);
	vg_dev_threads_end(&r->dev);
	vg_vu_free(r->vu);
	vg_dev_close(&r->dev);
	vg_loop_free(r->loop);
	unlink(r->image);
}

/** rig_works - a write and a read of it come through queue 0 */
static inline void rig_works(struct vu_rig *r)
{
	static uint8_t seed;
	uint8_t out[4096], in[4096];

	memset(out, ++seed, sizeof(out));
	memset(in, 0, sizeof(in));
	assert_int_equal(drv_blk_write(&r->f.queue[0].blk, seed * 8ull, out, sizeof(out)), 0);
	assert_int_equal(drv_blk_read(&r->f.queue[0].blk, seed * 8ull, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
}

/** rig_hung_up - the port has hung up on the front-end, and serves the next */
static inline void rig_hung_up(struct vu_rig *r)
{
	struct vuf_msg m;

	assert_int_equal(vuf_recv(&r->f, r->f.sock, &m), 0);
	assert_int_equal(r->gone, 1);
	assert_true(r->error < 0);
	vuf_fini(&r->f);
	r->gone = 0;
	rig_connect(r, RIG_GUEST, RIG_USER);
	rig_start(r, 16);
	rig_works(r);
}

/** rig_fds - open descriptors of this process */
static inline unsigned rig_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif /* VU_RIG_H */
