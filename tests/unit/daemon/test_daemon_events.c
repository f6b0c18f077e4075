// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_events.c - what vgrantd tells of its devices, to whom, and when nobody reads it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "tests/rigs/daemon_rig.h"

/* ---- listeners -------------------------------------------------------------- */

/* It is event @what of @guest's disk, and says @text. */
static void hears(int fd, const char *what, unsigned int guest, const char *text)
{
	char part[120];
	const char *got = rig_line(fd);

	snprintf(part, sizeof(part), "\"event\":\"%s\"", what);
	if (!strstr(got, part) || !strstr(got, text))
		fail_msg("no %s with \"%s\": %s", part, text, got);
	snprintf(part, sizeof(part), "\"domid\":%u,\"name\":\"virtio/%u\",\"type\":\"blk\"", guest,
		 RIG_ID);
	assert_non_null(strstr(got, part));
	assert_non_null(strstr(got, "{\"ok\":true,\"more\":true,\"event\":{\"time\":"));
}

static bool is_quiet(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* ---- tests -------------------------------------------------------------------- */

static void what_happens_is_told(void **state)
{
	struct rig *r = *state;
	int all = rig_listens(r, 0), other, fd;
	struct rig_guest *g = rig_connected(r, 0);
	struct rig_guest *bad = rig_domain(r, 1);
	static const char *const refused[] = { "1", "1", "many", "2" };
	char request[160], path[100];
	pid_t worker = 0;

	hears(all, "made", g->id, "\"text\":\"blk,target=");
	hears(all, "connected", g->id, "\"text\":null");
	other = rig_listens(r, bad->id);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":%u,\"id\":%u,\"key\":\"iops\",\"value\":\"900\"}",
		 g->id, RIG_ID);
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
	hears(all, "changed", g->id, "\"text\":\"iops=900\"");
	fd = open(g->image, O_WRONLY); /* as truncate(1) does it */
	assert_int_equal(ftruncate(fd, (off_t)RIG_SECTORS * 512 + 8192), 0);
	assert_int_equal(close(fd), 0);
	hears(all, "resized", g->id, "\"text\":\"1056768 bytes\"");
	assert_int_equal(rig_workers(r, &worker, 1), 1);
	kill(worker, SIGKILL);
	hears(all, "died", g->id, "killed by signal 9");
	rig_reads(g, 3);
	hears(all, "resumed", g->id, "");

	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/%u/suspends-refused", g->id,
		 RIG_ID);
	for (unsigned i = 0; i < COUNT(refused); i++) {
		assert_int_equal(fx_xs_write(fx_xs(r->w), path, "%s", refused[i]), 0);
		if (i == 0 || i == 3)
			hears(all, "refused", g->id, "the guest is neither saved nor moved");
	}

	rig_nodes(r, 1, "blk,target=/nonexistent/x.img");
	hears(all, "made", bad->id, "/nonexistent/x.img");
	hears(all, "failed", bad->id, "/nonexistent/x.img");
	assert_true(is_quiet(all));
	hears(other, "made", bad->id, "");
	hears(other, "failed", bad->id, "does not exist");

	assert_int_equal(drv_dev_close(g->dev), 0);
	hears(all, "disconnected", g->id, "");
	assert_int_equal(fx_domain_destroy(r->w, bad->id, 20000), 0);
	hears(all, "removed", bad->id, "");
	hears(other, "removed", bad->id, "");
	assert_true(is_quiet(other));
	close(other);
	close(all);
}

/* A guest that runs gets a device more, and loses it again. */
static void hot_plug_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	int fd = rig_listens(r, g->id);
	char request[160];
	const char *got;

	snprintf(request, sizeof(request),
		 "{\"cmd\":\"attach\",\"guest\":%u,\"device\":\"rng,id=70\"}", g->id);
	assert_non_null(strstr(rig_ask(r, request), "\"id\":70"));
	got = rig_line(fd);
	assert_non_null(strstr(got, "\"event\":\"plugged\""));
	assert_non_null(strstr(got, "\"name\":\"virtio/70\",\"type\":\"rng\""));
	snprintf(request, sizeof(request), "{\"cmd\":\"detach\",\"guest\":%u,\"id\":70}", g->id);
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
	got = rig_line(fd);
	assert_non_null(strstr(got, "\"event\":\"unplugged\""));
	assert_int_equal(drv_dev_close(g->dev), 0);
	close(fd);
}

static void an_end_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	int fd = rig_listens(r, 0);

	g = rig_connected(r, 0);
	hears(fd, "made", g->id, "");
	hears(fd, "connected", g->id, "");
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	/* That its devices wait is no event of theirs. */
	assert_string_equal(rig_line(fd), "{\"ok\":true}");
	assert_string_equal(rig_line(fd), "");
	close(fd);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	fd = rig_listens(r, 0);
	rig_reads(g, 1);
	/* The next one finds it where it was. */
	assert_int_equal(drv_dev_close(g->dev), 0);
	close(fd);
}

/* One that never reads holds nobody up, and is not given up. Beside it as many listen as may. */
static void nobody_is_held_up(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	int fd[32], told = 0;
	char request[160];

	for (unsigned i = 0; i < 32; i++)
		fd[i] = rig_listens(r, i % 2 ? g->id : 0);
	assert_non_null(
		strstr(rig_ask(r, "{\"cmd\":\"events\"}"), "32 clients hear of events already"));
	for (int i = 0; i < 300; i++) {
		snprintf(request, sizeof(request),
			 "{\"cmd\":\"set\",\"guest\":%u,\"id\":%u,\"key\":\"iops\",\"value\":\"%"
			 "d\"}",
			 g->id, RIG_ID, 1000 + i);
		assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
		snprintf(request, sizeof(request), "\"text\":\"iops=%d\"", 1000 + i);
		hears(fd[31], "changed", g->id, request);
	}
	while (told < 300) {
		const char *got = rig_line(fd[0]);

		assert_non_null(strstr(got, "\"event\":\"changed\""));
		told++;
	}
	assert_true(is_quiet(fd[0]));
	for (unsigned i = 0; i < 32; i++)
		close(fd[i]);
	/* Their places are free again. */
	for (unsigned i = 0; i < 32; i++)
		fd[i] = rig_listens(r, 0);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":%u,\"id\":%u,\"key\":\"iops\",\"value\":\"7\"}", g->id,
		 RIG_ID);
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
	for (unsigned i = 0; i < 32; i++) {
		hears(fd[i], "changed", g->id, "iops=7");
		close(fd[i]);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(what_happens_is_told),
		T(hot_plug_is_told),
		T(an_end_is_told),
		T(nobody_is_held_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
