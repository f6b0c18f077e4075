// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_control_order.c - each barrier of the control page is needed, and all of them are enough
 *
 * The guest's module and the backend's port exchange messages under tests/rigs/order.h, as the rings
 * do in test_virtqueue_order.c, which has more words. Here a place is one of the functions through
 * which each side loads and stores all indices.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __SANITIZE_THREAD__ /* which follows no coroutines */

#include <endian.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <xenevtchn.h>

#include "tests/rigs/order_module.h"
#include "tests/rigs/order_sites.h"

#include "backend/memory/grants.h"
#include "backend/ports/grant/channels.h"
#include "backend/ports/grant/virtio_msg.h"
#include "backend/virtio/port.h"

/* NOLINTBEGIN(bugprone-suspicious-include): with the model in it */
#define memcpy(to, from, len) om_copy(to, from, len)
#define vg_channels_notify(channels, channel) \
	((void)(channels), (void)(channel), om_signal(&module_interrupt))
#include "backend/ports/grant/grant.c"
#undef memcpy
#undef vg_channels_notify
/* NOLINTEND(bugprone-suspicious-include) */

#include <cmocka.h>

enum { CALLS = 2 };

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:detect_stack_use_after_return=0";
}

static struct virtio_grant_control page __attribute__((aligned(4096)));
static struct vg_grant_port port;
static struct vg_dev dev;
static struct vg_dev_stats stats;

static void broke(void *owner, const char *why)
{
	(void)owner;
	om_fail("the backend finds a page that is broken: %s", why);
}

static void prepare(void)
{
	memset(&page, 0, sizeof(page));
	memset(&port, 0, sizeof(port));
	dev.stats = &stats;
	port.page = &page;
	port.dev = port.bus.dev = &dev;
	port.events.broken = broke;
	module_prepare(&page);
	om_begin(&page, sizeof(page));
}

static void tidy(void)
{
}

static void module(void)
{
	module_calls(CALLS);
}

static void backend(void)
{
	/* Who has taken all requests need not wait for another. */
	while (load_acquire(&page.device_cons.value) < CALLS) {
		om_wait(&module_kick);
		serve(&port);
	}
}

static void (*const threads[OM_THREADS])(void) = { module, backend };

static const char *explore(int budget, const char **where)
{
	*where = "";
	return om_explore(prepare, tidy, threads, budget);
}

static void each_barrier_of_the_control_page(void **state)
{
	(void)state;
	om_each_is_needed("page", explore, 4);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_barrier_of_the_control_page),
	};

	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include <cmocka.h>

static void no_coroutines_here(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(no_coroutines_here) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
