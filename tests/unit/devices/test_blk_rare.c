// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What few disks can: erase for good, and tell how worn they are. No device of this machine can; the
 * kernel's two answers are made up, over a loop device.
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

#include "backend/devices/blk/config.h"
#include "backend/images/raw.h"
#include "tests/driver/testport.h"
#include "tests/rigs/loop_device.h"

enum { SIZE = 80 << 20 };

static struct {
	bool erases;
	uint64_t erased, calls;
	int refusal;
	const char *life_time, *pre_eol; /* NULL: it is no eMMC */
} disk;

bool __real_vg_raw_can_erase(int fd);
bool __wrap_vg_raw_can_erase(int fd);
int __wrap_vg_raw_erase(int fd, uint64_t offset, uint64_t len);
int __wrap_vg_raw_sysfs_open(dev_t dev, const char *name);

bool __wrap_vg_raw_can_erase(int fd)
{
	return disk.erases || __real_vg_raw_can_erase(fd);
}

int __wrap_vg_raw_erase(int fd, uint64_t offset, uint64_t len)
{
	(void)fd;
	assert_int_equal(offset, disk.erased);
	disk.calls++;
	disk.erased += len;
	return disk.refusal;
}

int __wrap_vg_raw_sysfs_open(dev_t dev, const char *name)
{
	const char *text = strcmp(name, "device/life_time") == 0 ? disk.life_time : disk.pre_eol;
	int fd;

	(void)dev;
	if (!text)
		return -1;
	fd = open("attribute", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	unlink("attribute");
	return fd;
}

static struct tp tp;
static struct drv_blk blk;

static void up(void)
{
	int back = open("rare.img", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), fd;
	char path[32], spec[128];

	assert_int_equal(ftruncate(back, SIZE), 0);
	fd = loop_device(back, path, sizeof(path));
	close(back);
	if (fd < 0)
		skip();
	snprintf(spec, sizeof(spec), "blk,target=%s", path);
	tp_open(&tp, TP_COPY, spec);
	close(fd);
	tp_start(&tp, TP_ALL, 16);
	tp_blk(&tp, 0, &blk);
}

/* Return: the request's result; @range: of SECURE_ERASE */
static int erase(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = { htole64(sector), htole32(sectors),
							 htole32(flags) };
	struct drv_blk_req req = { .type = BLK_T_SECURE_ERASE, .segs = 1 };
	struct drv_buf b;
	int ret;

	assert_int_equal(drv_alloc(&tp.flat.mem, sizeof(range), 16, true, &b), 0);
	memcpy(b.virt, &range, sizeof(range));
	req.seg[0] = (struct drv_seg){ b.addr, sizeof(range) };
	ret = drv_blk_do(&blk, &req);
	drv_free(&tp.flat.mem, &b);
	return ret;
}

static int lifetime(uint16_t life[3], uint32_t room)
{
	struct drv_blk_req req = { .type = BLK_T_GET_LIFETIME, .segs = 1, .dev_writes = true };
	struct drv_buf b;
	int ret;

	assert_int_equal(drv_alloc(&tp.flat.mem, 16, 16, true, &b), 0);
	req.seg[0] = (struct drv_seg){ b.addr, room };
	ret = drv_blk_do(&blk, &req);
	memcpy(life, b.virt, 6);
	drv_free(&tp.flat.mem, &b);
	return ret;
}

/* What a device cannot do is not offered, and refused who asks for it anyway. */
static void test_neither(void **state)
{
	uint16_t life[3];

	(void)state;
	memset(&disk, 0, sizeof(disk));
	up();
	assert_false(tp.features & (VG_FEATURE(BLK_F_SECURE_ERASE) | VG_FEATURE(BLK_F_LIFETIME) |
				    VG_FEATURE(BLK_F_ZONED)));
	assert_int_equal(erase(0, 8, 0), -EOPNOTSUPP);
	assert_int_equal(lifetime(life, 6), -EOPNOTSUPP);
	tp_close(&tp);
}

static void test_erase(void **state)
{
	struct blk_config c;

	(void)state;
	memset(&disk, 0, sizeof(disk));
	disk.erases = true;
	up();
	assert_true(tp.features & VG_FEATURE(BLK_F_SECURE_ERASE));
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, sizeof(c)), 0);
	assert_true(le32toh(c.max_secure_erase_sectors) >= SIZE / 512);
	assert_int_equal(le32toh(c.max_secure_erase_seg), 1);
	assert_true(le32toh(c.secure_erase_sector_alignment) >= 1);
	/* In steps, between which others are served. */
	assert_int_equal(erase(0, SIZE / 512, 0), 0);
	assert_int_equal(disk.erased, SIZE);
	assert_int_equal(disk.calls, 3);
	disk.erased = 8 * 512;
	disk.refusal = -EIO;
	assert_int_equal(erase(8, 8, 0), -EIO);
	disk.calls = 0;
	assert_int_equal(erase(SIZE / 512 - 1, 2, 0), -EIO); /* beyond the end */
	assert_int_equal(erase(UINT64_MAX, 2, 0), -EIO);
	assert_int_equal(erase(0, 0, 0), -EIO);
	assert_int_equal(erase(0, 8, 1), -EOPNOTSUPP); /* UNMAP is for zeroes */
	assert_int_equal(disk.calls, 0);
	tp_close(&tp);
}

static void test_lifetime(void **state)
{
	uint16_t life[3];

	(void)state;
	memset(&disk, 0, sizeof(disk));
	disk.life_time = "0x02 0x0b\n";
	disk.pre_eol = "0x03\n";
	up();
	assert_true(tp.features & VG_FEATURE(BLK_F_LIFETIME));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(lifetime(life, 6), 0);
		assert_int_equal(le16toh(life[0]), 3);
		assert_int_equal(le16toh(life[1]), 2);
		assert_int_equal(le16toh(life[2]), 11);
	}
	assert_int_equal(lifetime(life, 5), -EIO);
	tp_close(&tp);
	disk.life_time = "soon\n";
	up();
	assert_int_equal(lifetime(life, 6), -EIO);
	tp_close(&tp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neither),
		cmocka_unit_test(test_erase),
		cmocka_unit_test(test_lifetime),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
