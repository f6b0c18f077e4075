/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtsource.c - what vgrant-libvirt says, in an order that libvirt's test driver never has
 *
 * The test is vgrant-libvirt: it has the other end of the socket. Behind the source comes another,
 * as xl's files do, that has a device 90 for every guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/toolstack/libvirt/virtsource.h"
#include "backend/toolstack/toolstack.h"
#include "tests/fakes/xen/fake_xen.h"

#define UUID "70000000-0000-0000-0000-000000000000"

struct fixture {
	struct fx_world *w;
	struct vg_loop *loop;
	struct vg_xs *xs;
	struct vg_toolstack ts;
	struct vg_virt virt;
	int sock; /* ours, as vgrant-libvirt */
	bool lost;
};

/* ---- the source behind it ----------------------------------------------------------- */

static int find_file(void *ctx, const struct vg_guest_id *guest,
		     uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
		     struct vg_err *err)
{
	struct vg_source_config *config = calloc(1, sizeof(*config));

	(void)ctx, (void)guest, (void)virtio_id_of, (void)err;
	config->where = "a file";
	config->devices = calloc(1, sizeof(*config->devices));
	config->devices[0] = (struct vg_source_device){
		.spec = "rng,id=90", .adopts = -1, .adopts_from = "", .number = 90
	};
	config->n_devices = 1;
	*out = config;
	return 0;
}

static void free_file(struct vg_source_config *config)
{
	free(config->devices);
	free(config);
}

static const struct vg_source file = {
	.name = "file", .origin = VG_CONTROL_FROM_CONFIG, .find = find_file, .free = free_file
};

/* ---- the fixture -------------------------------------------------------------------- */

static void changed(void *ctx, const char *uuid)
{
	struct fixture *f = ctx;

	vg_guests_changed(&f->ts, uuid);
}

static void lost(void *ctx, bool heard)
{
	struct fixture *f = ctx;

	(void)heard;
	f->lost = true;
}

static void say(struct fixture *f, struct vg_virt_msg m)
{
	struct pollfd theirs = { .events = POLLIN };

	assert_int_equal(vg_virt_send(f->sock, &m, false), 0);
	/* Until it was read. */
	do {
		vg_loop_turn(f->loop, false);
		theirs.fd = f->virt.sock;
	} while (poll(&theirs, 1, 1) == 1);
}

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	assert_int_equal(fx_world_start(NULL, &f->w), 0);
	assert_int_equal(vg_loop_new(16, &f->loop), 0);
	assert_int_equal(vg_xs_open(&f->xs), 0);
	vg_toolstack_init(&f->ts, f->loop, f->xs, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->sock = pair[0];
	f->virt = (struct vg_virt){ .loop = f->loop, .changed = changed, .lost = lost, .ctx = f };
	vg_virt_init(&f->virt);
	vg_virt_serve(&f->virt, pair[1]);
	vg_toolstack_add_source(&f->ts, &vg_virt_source, &f->virt);
	vg_toolstack_add_source(&f->ts, &file, NULL);
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_HELLO });
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_STATE, .text = "a libvirt" });
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_SYNCED });
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	vg_virt_free(&f->virt);
	vg_toolstack_free(&f->ts);
	vg_xs_close(f->xs);
	vg_loop_free(f->loop);
	fx_world_stop(f->w);
	if (f->sock >= 0)
		close(f->sock);
	free(f);
	return 0;
}

/* ---- what there is ------------------------------------------------------------------ */

static unsigned int guest(struct fixture *f)
{
	static const uint8_t uuid[16] = { 0x70 };
	const struct fx_domain_config cfg = { .name = "g", .uuid = uuid };
	unsigned int id;

	assert_int_equal(fx_domain_create(f->w, &cfg, &id), 0);
	vg_guests_scan(&f->ts);
	return id;
}

static bool has(struct fixture *f, unsigned int domid, unsigned int id)
{
	char dir[128], *text;

	snprintf(dir, sizeof(dir), "/local/domain/0/backend/virtio/%u/%u", domid, id);
	vg_xs_text_dup(f->xs, dir, "vgrant-config", &text);
	free(text);
	return text != NULL;
}

/* Has vgrantd asked who the guest is? */
static bool was_asked(struct fixture *f)
{
	struct vg_virt_msg m;

	if (vg_virt_recv(f->sock, &m) != 1)
		return false;
	assert_int_equal(m.type, VG_VIRT_WHO);
	assert_string_equal(m.uuid, UUID);
	return true;
}

static void tell(struct fixture *f, bool ours, bool passing)
{
	say(f,
	    (struct vg_virt_msg){
		    .type = VG_VIRT_GUEST,
		    .uuid = UUID,
		    .guest = { .name = "g", .n_devices = ours, .ours = ours, .passing = passing },
	    });
	if (ours)
		say(f, (struct vg_virt_msg){
			       .type = VG_VIRT_DEVICE,
			       .uuid = UUID,
			       .device = { .number = 64, .has_id = 1, .spec = "rng,id=64" },
		       });
}

/* Until the device is there. Return: after how many seconds; 20: it is not. */
static double until(struct fixture *f, unsigned int domid, unsigned int id)
{
	struct timespec a, b;
	double s;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		usleep(10000);
		vg_loop_turn(f->loop, false);
		clock_gettime(CLOCK_MONOTONIC, &b);
		s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	} while (s < 20 && !has(f, domid, id));
	return s;
}

/* ---- tests -------------------------------------------------------------------------- */

/* Xen has the guest before libvirt tells of it: libvirt is asked before the file counts. */
static void libvirts_transient_guest(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);

	assert_true(was_asked(f));
	vg_guests_scan(&f->ts);
	assert_false(was_asked(f)); /* once */
	assert_false(has(f, id, 90));
	tell(f, true, true);
	assert_true(has(f, id, 64));
	assert_false(has(f, id, 90));
	/* It runs, and libvirt says so. */
	tell(f, true, false);
	assert_true(has(f, id, 64));
	assert_false(was_asked(f));
}

/* What libvirt does not have, or has without our element, is the file's. */
static void xls_guest(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);

	assert_true(was_asked(f));
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GONE, .uuid = UUID });
	assert_true(has(f, id, 90));
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	id = guest(f);
	assert_true(was_asked(f)); /* libvirt may have it by now */
	tell(f, false, false);
	assert_true(has(f, id, 90));
}

/* One that libvirt tells to be created, and that never ran: the next of its uuid is asked about anew. */
static void never_ran(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);

	assert_true(was_asked(f));
	tell(f, true, true);
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	id = guest(f);
	assert_true(was_asked(f));
	assert_false(has(f, id, 64));
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GONE, .uuid = UUID });
	assert_true(has(f, id, 90));
	assert_false(has(f, id, 64));
}

/* A libvirt that hangs delays one guest by some seconds, and those that follow not at all. */
static void libvirt_is_silent(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);
	double s;

	assert_true(was_asked(f));
	s = until(f, id, 90);
	assert_true(s > 4 && s < 20);
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	id = guest(f);
	assert_false(was_asked(f));
	assert_true(has(f, id, 90));
	/* It is well again. */
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GONE, .uuid = UUID });
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	id = guest(f);
	assert_true(was_asked(f));
	assert_false(has(f, id, 90));
	/* Two of one uuid, as while a guest is migrated to where it is: both get their answer. */
	unsigned int other = guest(f);

	assert_false(has(f, other, 90));
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GONE, .uuid = UUID });
	if (was_asked(f))
		say(f, (struct vg_virt_msg){ .type = VG_VIRT_GONE, .uuid = UUID });
	assert_true(has(f, id, 90));
	assert_true(has(f, other, 90));
}

/* libvirtd is lost while a guest waits, or the process that speaks to it: it waits no longer. */
static void libvirt_goes(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);

	assert_true(was_asked(f));
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_STATE, .error = -ENOTCONN });
	assert_true(has(f, id, 90));
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_STATE, .text = "a libvirt" });
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	id = guest(f);
	assert_true(was_asked(f));
	close(f->sock);
	f->sock = -1;
	assert_true(until(f, id, 90) < 4);
	assert_true(f->lost);
}

/* Devices without id= get their number written down: the node's, not that of their place. */
static void numbers(void **state)
{
	struct fixture *f = *state;
	unsigned int id = guest(f);
	struct vg_virt_msg m, two[2];
	struct vg_err err;

	assert_true(was_asked(f));
	assert_int_equal(vg_guest_attach(&f->ts, "g", "rng", &err), 64);
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GUEST,
				     .uuid = UUID,
				     .guest = { .name = "g", .n_devices = 3, .ours = 1 } });
	for (unsigned i = 0; i < 3; i++) {
		m = (struct vg_virt_msg){ .type = VG_VIRT_DEVICE, .uuid = UUID };
		m.device.number = i == 1 ? 7 : 64 + i / 2;
		m.device.has_id = i == 1;
		snprintf(m.device.spec, sizeof(m.device.spec),
			 i == 1 ? "rng,id=7" : "blk,target=/%u", i);
		say(f, m);
	}
	assert_true(has(f, id, 66));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vg_virt_recv(f->sock, &two[i]), 1);
		assert_int_equal(two[i].type, VG_VIRT_NUMBER);
		assert_string_equal(two[i].uuid, UUID);
		assert_int_equal(two[i].device.number, 65 + i);
		assert_string_equal(two[i].device.spec, i ? "blk,target=/2" : "blk,target=/0");
	}
	assert_int_equal(vg_virt_recv(f->sock, &m), -EAGAIN);
	/* The first goes: the one that is left is told the number that it has. */
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_GUEST,
				     .uuid = UUID,
				     .guest = { .name = "g", .n_devices = 1, .ours = 1 } });
	m = (struct vg_virt_msg){ .type = VG_VIRT_DEVICE,
				  .uuid = UUID,
				  .device = { .number = 64, .spec = "blk,target=/2" } };
	say(f, m);
	assert_int_equal(vg_virt_recv(f->sock, &m), 1);
	assert_int_equal(m.type, VG_VIRT_NUMBER);
	assert_int_equal(m.device.number, 66);
}

/* More guests at once than places: what finds none is not waited for. */
static void many_at_once(void **state)
{
	struct fixture *f = *state;
	unsigned int ids[VG_VIRT_STRANGERS + 1], waiting = 0;

	for (unsigned i = 0; i < VG_VIRT_STRANGERS + 1; i++) {
		const uint8_t uuid[16] = { 0x80, (uint8_t)i };
		const struct fx_domain_config cfg = { .name = "g", .uuid = uuid };

		assert_int_equal(fx_domain_create(f->w, &cfg, &ids[i]), 0);
	}
	vg_guests_scan(&f->ts);
	for (unsigned i = 0; i < VG_VIRT_STRANGERS + 1; i++)
		waiting += !has(f, ids[i], 90);
	assert_int_equal(waiting, VG_VIRT_STRANGERS);
	say(f, (struct vg_virt_msg){ .type = VG_VIRT_STATE, .error = -ENOTCONN });
	for (unsigned i = 0; i < VG_VIRT_STRANGERS + 1; i++)
		assert_true(has(f, ids[i], 90));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(libvirts_transient_guest),
		T(xls_guest),
		T(never_ran),
		T(libvirt_is_silent),
		T(libvirt_goes),
		T(many_at_once),
		T(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
