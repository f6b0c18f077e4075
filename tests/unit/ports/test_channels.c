// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_channels.c - event channels as Linux' /dev/xen/evtchn tells of them
 *
 * The device is played here, with what the fake host's, a pipe, does not have: whoever
 * waits is woken only for a port that finds nothing unread before it
 * (evtchn_interrupt() in drivers/xen/evtchn.c). One that fires while others are read
 * finds those, and wakes nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xenevtchn.h>

#include "backend/ports/grant/channels.h"

enum {
	RING = 16,
	FIRST_PORT = 40, /* what the first channel that is bound gets */
	TURNS = 12,	 /* that nothing wakes: more than events need */
};

/* ---- the device ---------------------------------------------------------- */

static int event_fd = -1;
static evtchn_port_t ring[RING];
static unsigned prod, cons, bound, unmasked[FIRST_PORT + RING];
static evtchn_port_t late; /* fires while the next read is under way; 0: none */

static void fire(evtchn_port_t port)
{
	bool empty = prod == cons;

	ring[prod++ % RING] = port;
	if (empty)
		assert_int_equal(eventfd_write(event_fd, 1), 0);
}

/* The linker has the port call these. */
xenevtchn_handle *__wrap_xenevtchn_open(struct xentoollog_logger *logger, unsigned flags);
int __wrap_xenevtchn_close(xenevtchn_handle *xce);
int __wrap_xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid);
int __wrap_xenevtchn_fd(xenevtchn_handle *xce);
xenevtchn_port_or_error_t __wrap_xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
							    evtchn_port_t remote);
int __wrap_xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port);
int __wrap_xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port);
int __wrap_xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port);
ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	evtchn_port_t *to = buf;
	unsigned end = prod, n = 0;
	eventfd_t count;

	if (fd != event_fd)
		return __real_read(fd, buf, len);
	(void)__real_read(fd, &count, sizeof(count));
	if (late) {
		fire(late);
		late = 0;
	}
	while (cons + n != end && (n + 1) * sizeof(*to) <= len) {
		to[n] = ring[(cons + n) % RING];
		n++;
	}
	cons += n;
	if (n)
		return (ssize_t)(n * sizeof(*to));
	errno = EAGAIN;
	return -1;
}

xenevtchn_handle *__wrap_xenevtchn_open(struct xentoollog_logger *logger, unsigned flags)
{
	(void)logger;
	(void)flags;
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(event_fd >= 0);
	return (xenevtchn_handle *)&event_fd;
}

int __wrap_xenevtchn_close(xenevtchn_handle *xce)
{
	(void)xce;
	return close(event_fd);
}

int __wrap_xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	(void)xce;
	(void)domid;
	return 0;
}

int __wrap_xenevtchn_fd(xenevtchn_handle *xce)
{
	(void)xce;
	return event_fd;
}

xenevtchn_port_or_error_t __wrap_xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
							    evtchn_port_t remote)
{
	(void)xce;
	(void)domid;
	(void)remote;
	return FIRST_PORT + (int)bound++;
}

int __wrap_xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	(void)port;
	return 0;
}

int __wrap_xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	unmasked[port]++;
	return 0;
}

int __wrap_xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	(void)port;
	return 0;
}

/* ---- the owner ----------------------------------------------------------- */

static struct vg_loop *loop;
static struct vg_ctx ctx;
static struct vg_dev dev;
static struct vg_channels channels;
static struct vg_hyper_stats stats;
static unsigned kicks, controls;

static void kicked(void *owner, unsigned q)
{
	(void)owner;
	assert_int_equal(q, 0);
	kicks++;
}

static void control(void *owner)
{
	(void)owner;
	controls++;
}

static void turned(void *owner, struct vg_ctx *c)
{
	(void)owner;
	(void)c;
}

static void turns(void)
{
	for (unsigned i = 0; i < TURNS; i++)
		assert_true(vg_loop_turn(loop, false) >= 0);
}

static int begin(void **state)
{
	static const struct vg_channels_events events = { kicked, control, turned, NULL };
	struct vg_err err;

	(void)state;
	if (vg_loop_new(16, &loop) < 0)
		return -1;
	ctx = (struct vg_ctx){ .loop = loop };
	memset(&dev, 0, sizeof(dev));
	dev.loop = loop;
	dev.ctx = &ctx;
	dev.n_ctx = 1;
	dev.n_queues = 1;
	dev.queue[0].ctx = &ctx;
	prod = cons = bound = kicks = controls = 0;
	late = 0;
	memset(unmasked, 0, sizeof(unmasked));
	if (vg_channels_open(&channels, &dev, 7, &events, &err) < 0)
		return -1;
	channels.end[0].stats = &stats;
	if (vg_channels_bind(&channels, 0, 1) < 0 ||
	    vg_channels_bind(&channels, VG_CHANNEL_CONTROL, 2) < 0)
		return -1;
	turns();
	return 0;
}

static int end(void **state)
{
	(void)state;
	vg_channels_unbind(&channels, 0);
	vg_channels_unbind(&channels, VG_CHANNEL_CONTROL);
	turns();
	vg_channels_close(&channels);
	vg_loop_free(loop);
	return 0;
}

/* Each is told once, and unmasked once. */
static void fired(void **state)
{
	(void)state;
	fire(FIRST_PORT);
	turns();
	assert_int_equal(kicks, 1);
	assert_int_equal(unmasked[FIRST_PORT], 1);
	fire(FIRST_PORT + 1);
	fire(FIRST_PORT);
	turns();
	assert_int_equal(kicks, 2);
	assert_int_equal(controls, 1);
	assert_int_equal(unmasked[FIRST_PORT], 2);
	assert_int_equal(unmasked[FIRST_PORT + 1], 1);
}

/* What fires while others are read wakes nobody: it is found all the same. */
static void fired_while_read(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		late = FIRST_PORT + 1;
		fire(FIRST_PORT);
		turns();
		assert_int_equal(kicks, i);
		assert_int_equal(controls, i);
		assert_int_equal(unmasked[FIRST_PORT], i);
		assert_int_equal(unmasked[FIRST_PORT + 1], i);
	}
}

/* A port that is nobody's any more is let go. */
static void closed_meanwhile(void **state)
{
	(void)state;
	fire(FIRST_PORT + 5);
	turns();
	assert_int_equal(kicks + controls, 0);
	assert_int_equal(unmasked[FIRST_PORT + 5], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fired, begin, end),
		cmocka_unit_test_setup_teardown(fired_while_read, begin, end),
		cmocka_unit_test_setup_teardown(closed_meanwhile, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
