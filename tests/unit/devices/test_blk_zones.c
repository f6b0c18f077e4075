// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A host-managed zoned disk, VIRTIO 1.3 section 5.2.6. This machine has none, and its kernel cannot make
 * one: here the device below is a model, of write pointers and states over a loop device, which refuses
 * a write elsewhere as Linux does. tests/xen/t/12-blk-host.t has a real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/blk/config.h"
#include "backend/images/raw.h"
#include "tests/driver/testport.h"
#include "tests/rigs/loop_device.h"

enum {
	ZONES = 8,
	ZONE = 1 << 20, /* bytes */
	CAPACITY = ZONE - 65536,
	APPEND_MAX = 128 << 10,
	IN_ZONE = ZONE / DRV_SECTOR, /* sectors */
};

/* ---- the device below ------------------------------------------------------- */

static struct {
	uint64_t wp[ZONES];
	uint8_t state[ZONES]; /* as <linux/blkzoned.h> has them */
	unsigned in_flight[ZONES], overlaps;
	unsigned opens;
	int refusal; /* of the next command */
} disk;

void __wrap_vg_zones_measure(dev_t dev, struct vg_image_zones *z);
int __wrap_vg_zones_report(int fd, uint64_t offset, struct vg_image_zone *out, unsigned n);
int __wrap_vg_zones_manage(int fd, enum vg_image_op op, uint64_t offset, uint64_t len);
void __real_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags);
void __wrap_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags);

void __wrap_vg_zones_measure(dev_t dev, struct vg_image_zones *z)
{
	(void)dev;
	*z = (struct vg_image_zones){ .size = ZONE,
				      .max_open = 3,
				      .max_active = 5,
				      .max_append = APPEND_MAX,
				      .granularity = 512 };
}

int __wrap_vg_zones_report(int fd, uint64_t offset, struct vg_image_zone *out, unsigned n)
{
	unsigned i = 0;

	(void)fd;
	for (unsigned z = (unsigned)(offset / ZONE); z < ZONES && i < n; z++)
		out[i++] = (struct vg_image_zone){ .start = (uint64_t)z * ZONE,
						   .size = ZONE,
						   .capacity = z ? CAPACITY : ZONE,
						   .wp = z ? disk.wp[z] : 0,
						   .type = z ? 2 : VG_ZONE_CONVENTIONAL,
						   .state = z ? disk.state[z] : 0 };
	return (int)i;
}

int __wrap_vg_zones_manage(int fd, enum vg_image_op op, uint64_t offset, uint64_t len)
{
	int ret = disk.refusal;

	(void)fd;
	disk.refusal = 0;
	for (uint64_t at = offset; ret == 0 && at < offset + len; at += ZONE) {
		unsigned z = (unsigned)(at / ZONE);

		disk.opens += op == VG_IMAGE_ZONE_OPEN;
		if (op == VG_IMAGE_ZONE_RESET)
			disk.wp[z] = at;
		if (op == VG_IMAGE_ZONE_FINISH)
			disk.wp[z] = at + CAPACITY;
		disk.state[z] = op == VG_IMAGE_ZONE_RESET    ? 1
				: op == VG_IMAGE_ZONE_OPEN   ? 3
				: op == VG_IMAGE_ZONE_FINISH ? 14
							     : 4;
	}
	return ret;
}

/* A write that is on its way to a zone. */
static struct flight {
	struct vg_io io;
	struct vg_io *guest;
	unsigned zone;
	struct vg_timer refused;
} flights[64];

static void landed(struct vg_io *io, int res)
{
	struct flight *f = container_of(io, struct flight, io);
	struct vg_io *guest = f->guest;

	disk.in_flight[f->zone]--;
	if (res > 0)
		disk.wp[f->zone] += (unsigned)res;
	f->guest = NULL;
	guest->done(guest, res);
}

static void refuse(struct vg_timer *t)
{
	struct flight *f = container_of(t, struct flight, refused);
	struct vg_io *guest = f->guest;

	f->guest = NULL;
	guest->done(guest, -EIO);
}

void __wrap_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags)
{
	unsigned z = (unsigned)(offset / ZONE);
	struct flight *f = flights;

	if (z == 0) {
		__real_vg_loop_writev(loop, io, fd, iov, niov, offset, rw_flags);
		return;
	}
	while (f->guest)
		f++;
	assert_true(f < flights + COUNT(flights));
	f->guest = io;
	f->zone = z;
	if (offset != disk.wp[z]) {
		f->refused.expired = refuse;
		vg_loop_timer(loop, &f->refused, 1);
		return;
	}
	disk.overlaps += disk.in_flight[z]++ > 0;
	f->io.done = landed;
	__real_vg_loop_writev(loop, &f->io, fd, iov, niov, offset, rw_flags);
}

/* ---- the driver ------------------------------------------------------------- */

static struct tp tp;
static struct drv_blk blk;
static struct drv_buf buf;

static void up(const char *more)
{
	int back = open("zoned.img", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), fd;
	char path[32], spec[128];

	assert_true(back >= 0);
	assert_int_equal(ftruncate(back, (off_t)ZONES * ZONE), 0);
	memset(&disk, 0, sizeof(disk));
	for (unsigned z = 1; z < ZONES; z++) {
		disk.wp[z] = (uint64_t)z * ZONE;
		disk.state[z] = 1;
	}
	fd = loop_device(back, path, sizeof(path));
	if (fd < 0) {
		close(back);
		skip();
	}
	snprintf(spec, sizeof(spec), "blk,target=%s%s", path, more);
	tp_open(&tp, TP_COPY, spec);
	close(fd);
	close(back);
	tp_start(&tp, TP_ALL, 64);
	tp_blk(&tp, 0, &blk);
	assert_int_equal(drv_alloc(&tp.flat.mem, 1 << 20, 4096, true, &buf), 0);
}

static void down(void)
{
	drv_free(&tp.flat.mem, &buf);
	tp_close(&tp);
}

/* Return: the status byte of a request that has no data. */
static unsigned zone_do(uint32_t type, uint64_t sector)
{
	struct drv_blk_req req = { .type = type, .sector = sector };

	drv_blk_do(&blk, &req);
	return *req.status;
}

/* Return: the status byte; *@in: what was written before it */
static unsigned with_data(uint32_t type, uint64_t sector, uint32_t out, uint32_t in, void **answer)
{
	struct drv_seg o[2] = { { buf.addr, 16 }, { buf.addr + 4096, out } };
	struct drv_seg i[1] = { { buf.addr + (512 << 10), in + 1 } };
	struct virtio_blk_outhdr hdr = { .type = htole32(type), .sector = htole64(sector) };
	struct drv_used used;

	memcpy(buf.virt, &hdr, sizeof(hdr));
	memset((uint8_t *)buf.virt + (512 << 10), 0xee, in + 1);
	assert_true(drv_vring_add(&tp.vr[0], o, out ? 2 : 1, i, 1, &hdr, 0) >= 0);
	tp_kick(&tp, 0);
	tp_wait(&tp, 0, &used);
	*answer = (uint8_t *)buf.virt + (512 << 10);
	return ((uint8_t *)*answer)[in];
}

/* ---- tests ------------------------------------------------------------------ */

static void test_config(void **state)
{
	struct blk_config c;

	(void)state;
	up("");
	assert_true(tp.features & VG_FEATURE(BLK_F_ZONED));
	assert_false(tp.features & VG_FEATURE(VIRTIO_BLK_F_DISCARD));
	assert_false(tp.features & VG_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.zoned.model, BLK_Z_HM);
	assert_int_equal(le32toh(c.zoned.zone_sectors), IN_ZONE);
	assert_int_equal(le32toh(c.zoned.max_open_zones), 3);
	assert_int_equal(le32toh(c.zoned.max_active_zones), 5);
	assert_int_equal(le32toh(c.zoned.max_append_sectors), APPEND_MAX / 512);
	assert_int_equal(le32toh(c.zoned.write_granularity), 512);
	/* A driver that knows nothing of zones has no use for it. */
	assert_int_equal(tp.dev.ops->features_ok(&tp.dev, 0), -EINVAL);
	down();
}

static void test_report(void **state)
{
	const struct blk_report_head *head;
	const struct blk_report_zone *z;
	void *answer;

	(void)state;
	up("");
	disk.wp[2] += 8192;
	disk.state[2] = 2;
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, 0, 0, 64 * 5, &answer), VIRTIO_BLK_S_OK);
	head = answer;
	z = (const struct blk_report_zone *)(head + 1);
	assert_int_equal(le64toh(head->nr_zones), 4);
	assert_int_equal(z[0].z_type, 1);
	assert_int_equal(le64toh(z[2].z_start), 2 * IN_ZONE);
	assert_int_equal(le64toh(z[2].z_wp), 2 * IN_ZONE + 16);
	assert_int_equal(le64toh(z[2].z_cap), CAPACITY / 512);
	assert_int_equal(z[2].z_type, 2);
	assert_int_equal(z[2].z_state, 2);
	/* From the middle of a zone on, more room than zones, less than one. */
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, 6 * IN_ZONE + 5, 0, 64 * 100, &answer),
			 VIRTIO_BLK_S_OK);
	head = answer;
	assert_int_equal(le64toh(head->nr_zones), 2);
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, 0, 0, 127, &answer), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, ZONES * IN_ZONE, 0, 128, &answer),
			 BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, UINT64_MAX, 0, 128, &answer),
			 BLK_S_ZONE_INVALID_CMD);
	down();
}

static void test_writes(void **state)
{
	static uint8_t data[4096], back[4096];

	(void)state;
	up("");
	memset(data, 0x5a, sizeof(data));
	assert_int_equal(drv_blk_write(&blk, 8, data, sizeof(data)), 0); /* conventional */
	assert_int_equal(drv_blk_write(&blk, IN_ZONE, data, sizeof(data)), 0);
	assert_int_equal(drv_blk_write(&blk, IN_ZONE + 8, data, 512), 0);
	assert_int_equal(drv_blk_read(&blk, IN_ZONE, back, sizeof(back)), 0);
	assert_memory_equal(
		data, back,
		sizeof(data)); /* What a worker that died had written, and did not say, its successor writes again: whole, and in
	 * part. */
	assert_int_equal(drv_blk_write(&blk, IN_ZONE, data, sizeof(data)), 0);
	assert_int_equal(disk.wp[1], ZONE + 4096 + 512);
	assert_int_equal(drv_blk_write(&blk, IN_ZONE + 8, data, 1024), 0);
	assert_int_equal(disk.wp[1], ZONE + 4096 + 1024);
	memset(data, 0x5b, sizeof(data));
	/* Not at the write pointer: that, and no other error. */
	memcpy((uint8_t *)buf.virt + 4096, data, 512);
	assert_int_equal(with_data(VIRTIO_BLK_T_OUT, IN_ZONE, 512, 0, &(void *){ NULL }),
			 BLK_S_ZONE_UNALIGNED_WP);
	assert_int_equal(with_data(VIRTIO_BLK_T_OUT, IN_ZONE + 100, 512, 0, &(void *){ NULL }),
			 BLK_S_ZONE_UNALIGNED_WP);
	assert_int_equal(disk.wp[1], ZONE + 4096 + 1024);
	down();
}

static void test_manage(void **state)
{
	(void)state;
	up("");
	assert_int_equal(zone_do(BLK_T_ZONE_OPEN, IN_ZONE), 0);
	assert_int_equal(disk.state[1], 3);
	assert_int_equal(disk.opens, 1);
	assert_int_equal(zone_do(BLK_T_ZONE_CLOSE, IN_ZONE), 0);
	assert_int_equal(disk.state[1], 4);
	assert_int_equal(zone_do(BLK_T_ZONE_FINISH, 7 * IN_ZONE), 0);
	assert_int_equal(disk.state[7], 14);
	assert_int_equal(zone_do(BLK_T_ZONE_RESET, 7 * IN_ZONE), 0);
	assert_int_equal(disk.state[7], 1);
	disk.wp[3] += 512;
	assert_int_equal(zone_do(BLK_T_ZONE_RESET_ALL, 0), 0);
	assert_int_equal(disk.wp[3], 3 * ZONE);
	/* Not where a zone starts, behind the end, what is no command. */
	assert_int_equal(zone_do(BLK_T_ZONE_OPEN, IN_ZONE + 1), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(zone_do(BLK_T_ZONE_RESET, ZONES * IN_ZONE), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(zone_do(BLK_T_ZONE_FINISH, UINT64_MAX), BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(zone_do(BLK_T_ZONE_RESET + 1, 0), VIRTIO_BLK_S_UNSUPP);
	/* What the device has not enough of. */
	disk.refusal = -ETOOMANYREFS;
	assert_int_equal(zone_do(BLK_T_ZONE_OPEN, IN_ZONE), BLK_S_ZONE_OPEN_RESOURCE);
	disk.refusal = -EOVERFLOW;
	assert_int_equal(zone_do(BLK_T_ZONE_OPEN, IN_ZONE), BLK_S_ZONE_ACTIVE_RESOURCE);
	down();
}

static uint64_t append(uint64_t sector, uint32_t len, unsigned *status)
{
	void *answer;
	uint64_t where;

	*status = with_data(BLK_T_ZONE_APPEND, sector, len, 8, &answer);
	memcpy(&where, answer, sizeof(where));
	return le64toh(where);
}

static void test_append(void **state)
{
	uint8_t back[512];
	unsigned status;

	(void)state;
	up("");
	for (unsigned i = 0; i < 4; i++) {
		memset((uint8_t *)buf.virt + 4096, (int)i + 1, 1024);
		assert_int_equal(append(2 * IN_ZONE, 1024, &status), 2 * IN_ZONE + 2 * i);
		assert_int_equal(status, VIRTIO_BLK_S_OK);
		assert_int_equal(drv_blk_read(&blk, 2 * IN_ZONE + 2 * i, back, 512), 0);
		assert_int_equal(back[511], i + 1);
	}
	append(2 * IN_ZONE + 1, 512, &status); /* not where a zone starts */
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	append(2 * IN_ZONE, 511, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	append(2 * IN_ZONE, 0, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	append(2 * IN_ZONE, APPEND_MAX + 512, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	append(0, 512, &status); /* a conventional one */
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	append(ZONES * IN_ZONE, 512, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	disk.wp[3] = 3 * ZONE + CAPACITY - 512; /* more than is left */
	append(3 * IN_ZONE, 1024, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	assert_int_equal(append(3 * IN_ZONE, 512, &status), 3 * IN_ZONE + CAPACITY / 512 - 1);
	disk.state[4] = 14;
	append(4 * IN_ZONE, 512, &status);
	assert_int_equal(status, BLK_S_ZONE_INVALID_CMD);
	down();
}

/* Many at once: each in a place of its own, one after the other. */
static void test_appends_at_once(void **state)
{
	enum { N = 16 };
	static struct virtio_blk_outhdr hdr = { .type = 15, .sector = 5 * (uint64_t)IN_ZONE };
	bool seen[N] = { false };
	struct drv_used used;

	(void)state;
	up("");
	for (unsigned i = 0; i < N; i++) {
		struct drv_seg o[2] = { { buf.addr + i * 64, 16 },
					{ buf.addr + 4096 + i * 4096, 4096 } };
		struct drv_seg in[1] = { { buf.addr + 2048 + i * 16, 9 } };

		memcpy((uint8_t *)buf.virt + i * 64, &hdr, sizeof(hdr));
		memset((uint8_t *)buf.virt + 4096 + i * 4096, (int)i + 1, 4096);
		assert_true(drv_vring_add(&tp.vr[0], o, 2, in, 1, (void *)(uintptr_t)(i + 1), 0) >=
			    0);
	}
	tp_kick(&tp, 0);
	for (unsigned i = 0; i < N; i++)
		tp_wait(&tp, 0, &used);
	for (unsigned k = 0; k < N; k++) {
		uint8_t back[512], *answer;
		uint64_t where;

		answer = (uint8_t *)buf.virt + 2048 + k * 16;
		assert_int_equal(answer[8], VIRTIO_BLK_S_OK);
		memcpy(&where, answer, sizeof(where));
		assert_in_range(where, 5 * IN_ZONE, 5 * IN_ZONE + N * 8 - 8);
		assert_false(seen[(where - 5 * IN_ZONE) / 8]);
		seen[(where - 5 * IN_ZONE) / 8] = true;
		assert_int_equal(drv_blk_read(&blk, where, back, 512), 0);
		assert_int_equal(back[0], k + 1);
	}
	assert_int_equal(disk.overlaps, 0);
	down();
}

static void test_read_only(void **state)
{
	unsigned status;
	void *answer;

	(void)state;
	up(",readonly");
	assert_int_equal(with_data(BLK_T_ZONE_REPORT, 0, 0, 64 * 5, &answer), VIRTIO_BLK_S_OK);
	assert_int_equal(zone_do(BLK_T_ZONE_RESET_ALL, 0), VIRTIO_BLK_S_IOERR);
	append(2 * IN_ZONE, 512, &status);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),	  cmocka_unit_test(test_report),
		cmocka_unit_test(test_writes),	  cmocka_unit_test(test_manage),
		cmocka_unit_test(test_append),	  cmocka_unit_test(test_appends_at_once),
		cmocka_unit_test(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
