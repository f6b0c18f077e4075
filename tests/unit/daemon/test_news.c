// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_news.c - what this machine's kernel tells of files, disks and interfaces, and whom
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/news.h"
#include "tests/rigs/loop_device.h"

static struct vg_loop *loop;
static struct vg_news news;
static char path[] = "image.XXXXXX";

struct listener {
	struct vg_follower f;
	unsigned heard;
};

static void heard(struct vg_follower *f)
{
	container_of(f, struct listener, f)->heard++;
}

#define LISTENER                 \
	{                        \
		.f.heard = heard \
	}

static int begin(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "image.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, 1 << 20) < 0 || close(fd) < 0 || vg_loop_new(16, &loop) < 0)
		return -1;
	vg_news_open(&news, loop);
	return 0;
}

static int end(void **state)
{
	(void)state;
	vg_news_close(&news);
	vg_loop_free(loop);
	return unlink(path);
}

static void turn(void)
{
	assert_true(vg_loop_turn(loop, false) >= 0);
}

/* Until it has heard; nothing but the kernel's word ends the wait. */
static void until_heard(const struct listener *l)
{
	while (!l->heard)
		assert_true(vg_loop_turn(loop, true) >= 0);
}

/* As truncate(1), qemu-img and `vgrant resize` do it. */
static void grow_file(off_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, size), 0);
	assert_return_code(close(fd), 0);
}

static void test_file(void **state)
{
	struct listener a = LISTENER, b = LISTENER;
	int mine = open(path, O_RDWR | O_CLOEXEC);

	(void)state;
	assert_true(vg_news_file(&news, &a.f, path));
	assert_true(vg_news_file(&news, &b.f, path)); /* an image that is shared */
	/* A guest's writes, by somebody who keeps the image open, are no news. */
	assert_int_equal(pwrite(mine, "x", 1, 0), 1);
	turn();
	assert_int_equal(a.heard + b.heard, 0);
	grow_file(2 << 20);
	until_heard(&a);
	assert_int_equal(b.heard, 1);
	/* The other one is not disturbed when one has enough. */
	vg_news_unfollow(&a.f);
	grow_file(3 << 20);
	b.heard = 0;
	until_heard(&b);
	assert_int_equal(a.heard, 1);
	vg_news_unfollow(&b.f);
	grow_file(4 << 20);
	turn();
	assert_int_equal(a.heard + b.heard, 2);
	close(mine);
}

/* What a device looks at may be something else after it was opened anew. */
static void test_follow_anew(void **state)
{
	struct listener a = LISTENER;
	char other[] = "other.XXXXXX";
	int fd = mkstemp(other);

	(void)state;
	assert_true(vg_news_file(&news, &a.f, path));
	assert_true(vg_news_file(&news, &a.f, path)); /* another worker of the same device */
	grow_file(2 << 20);
	until_heard(&a);
	assert_int_equal(a.heard, 1);
	assert_true(vg_news_file(&news, &a.f, other));
	grow_file(3 << 20);
	turn();
	assert_int_equal(a.heard, 1);
	a.heard = 0;
	close(fd); /* it was open for writing */
	until_heard(&a);
	assert_false(vg_news_file(&news, &a.f, "/nonexistent/image"));
	vg_news_unfollow(&a.f); /* follows nothing: nothing */
	unlink(other);
}

static void test_disk(void **state)
{
	struct listener a = LISTENER, file = LISTENER;
	int back = open(path, O_RDWR | O_CLOEXEC);
	char disk[32];
	int fd = loop_device(back, disk, sizeof(disk));

	(void)state;
	if (fd < 0) {
		close(back);
		skip();
	}
	assert_true(vg_news_file(&news, &file.f, path));
	assert_true(vg_news_file(&news, &a.f, disk));
	assert_return_code(ftruncate(back, 2 << 20), 0);
	assert_return_code(ioctl(fd, LOOP_SET_CAPACITY), 0);
	until_heard(&a);
	assert_int_equal(file.heard, 0);
	vg_news_unfollow(&a.f);
	vg_news_unfollow(&file.f);
	close(fd);
	close(back);
}

/* In a network of its own, whose one interface is switched on. */
static void test_links(void **state)
{
	struct listener a = LISTENER, file = LISTENER;
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		skip();
	vg_news_close(&news);
	vg_news_open(&news, loop);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(vg_news_links(&news, &a.f));
	assert_true(vg_news_file(&news, &file.f, path));
	assert_return_code(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	until_heard(&a);
	assert_int_equal(file.heard, 0);
	vg_news_unfollow(&a.f);
	vg_news_unfollow(&file.f);
	close(fd);
}

/* Where nobody tells, that is said: then one has to look. */
static void test_nobody_tells(void **state)
{
	static struct vg_news none;
	struct listener a = LISTENER;

	(void)state;
	assert_false(vg_news_file(&none, &a.f, path));
	assert_false(vg_news_links(&none, &a.f));
	vg_news_close(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file, begin, end),
		cmocka_unit_test_setup_teardown(test_follow_anew, begin, end),
		cmocka_unit_test_setup_teardown(test_disk, begin, end),
		cmocka_unit_test_setup_teardown(test_nobody_tells, begin, end),
		cmocka_unit_test_setup_teardown(test_links, begin, end),
	};

	return cmocka_run_group_tests_name("news", tests, NULL, NULL);
}
