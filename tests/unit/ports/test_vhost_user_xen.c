// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost_user_xen.c - XEN_MMAP: memory of a Xen guest behind a vhost-user front-end
 *
 * Grants are the fake Xen's; foreign memory is a table of functions that finds the
 * fake guest's pages. The front-end's ring lies in the guest's memory, too.
 */
#include "backend/base/container.h"
#include "tests/rigs/vu_rig.h"

#include <signal.h>

#include "tests/fakes/xen/fake_xen.h"

#define PAGES	 512u
#define FOREIGN	 1u
#define GRANT	 2u
#define GRANTBIT (1ull << 63)

static struct vu_rig r;
static struct fx_world *world;
static struct fx_domain *guest;
static unsigned domid;
static long first_page, first_ref;
static struct vg_vu_xen xen;
static unsigned foreign_maps, foreign_unmaps, kept; /* kept: how often it was restricted */
static uint32_t kept_to;
static size_t foreign_pages; /* mapped now */

static void *foreign_map(void *handle, uint32_t dom, uint64_t first, size_t pages)
{
	(void)handle;
	assert_int_equal(kept, 1);
	assert_int_equal(kept_to, dom);
	if (dom != domid || first < (uint64_t)first_page ||
	    first + pages > (uint64_t)first_page + PAGES) {
		errno = EFAULT;
		return NULL;
	}
	foreign_maps++;
	foreign_pages += pages;
	return fx_page(guest, first);
}

static void foreign_unmap(void *handle, void *ptr, size_t pages)
{
	(void)handle;
	(void)ptr;
	foreign_pages -= pages;
	foreign_unmaps++;
}

static int foreign_keep_to(void *handle, uint32_t dom)
{
	(void)handle;
	kept++;
	kept_to = dom;
	return 0;
}

static const struct vg_vu_foreign_ops foreign_ops = { .map = foreign_map,
						      .unmap = foreign_unmap,
						      .keep_to = foreign_keep_to };

static int make_world(void **state)
{
	(void)state;
	assert_int_equal(fx_world_start(NULL, &world), 0);
	assert_int_equal(fx_domain_create(world, NULL, &domid), 0);
	assert_int_equal(fx_domain_open(world, domid, &guest), 0);
	first_page = fx_pages_alloc(guest, PAGES);
	assert_true(first_page >= 0);
	first_ref = fx_grant(guest, 0, (unsigned long)first_page, PAGES, 0);
	assert_true(first_ref > 0);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	fx_domain_close(guest);
	fx_world_stop(world);
	return 0;
}

static int open_xen(void **state)
{
	const struct vg_vu_options options = { .xen = &xen };

	(void)state;
	memset(&xen, 0, sizeof(xen));
	assert_int_equal(vg_grant_mem_init(&xen.grants, 0, NULL, NULL), 0);
	xen.foreign = &foreign_ops;
	foreign_maps = foreign_unmaps = kept = 0;
	rig_open(&r, RIG_BLK, &options);
	return 0;
}

static int close_xen(void **state)
{
	(void)state;
	rig_close(&r);
	vg_grant_mem_close(&xen.grants);
	assert_int_equal(foreign_maps, foreign_unmaps);
	assert_int_equal(fx_grants_in_use(world, domid), 0);
	return 0;
}

struct region {
	uint64_t guest, size, user, offset;
	uint32_t flags, domid;
};

static int share(const struct region *one)
{
	struct {
		uint32_t n, padding;
		struct region r;
	} t = { .n = 1, .r = *one };

	return vuf_do(&r.f, VUF_SET_MEM_TABLE, &t, sizeof(t), r.f.memfd);
}

/* A front-end whose memory is the guest's pages, at @base. */
static struct region connect_at(uint64_t base, uint32_t flags)
{
	const uint64_t user = 0x7f0000000000ull;

	rig_connect(&r, base, user);
	drv_mem_flat_fini(&r.f.flat);
	assert_int_equal(drv_mem_flat_init(&r.f.flat, fx_page(guest, (unsigned long)first_page),
					   base, PAGES * 4096ull),
			 0);
	r.f.protocol |= VUF_P_XEN | VUF_P_SLOTS;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_true(r.f.poffered & VUF_P_XEN);
	return (struct region){ base, PAGES * 4096ull, user, 0, flags, domid };
}

static void works(const struct region *region)
{
	assert_int_equal(share(region), 0);
	assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
	assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
	for (unsigned i = 0; i < 20; i++)
		rig_works(&r);
	assert_int_equal(r.dev.status & VG_STATUS_NEEDS_RESET, 0);
}

static void foreign_memory(void **state)
{
	struct region region = connect_at((uint64_t)first_page << 12, FOREIGN);

	(void)state;
	works(&region);
	assert_int_equal(foreign_maps, 1);
}

/* The first region says whose this process is, for good: of no other guest is anything mapped. */
static void of_one_guest_for_good(void **state)
{
	struct region region = connect_at((uint64_t)first_page << 12, FOREIGN), other = region;
	struct region grants = {
		GRANTBIT | (uint64_t)first_ref << 12, 4096, 1, 0, GRANT | 8u, domid + 1
	};

	(void)state;
	works(&region);
	assert_int_equal(kept_to, domid);
	assert_int_equal(vg_grant_keep(&xen.grants, domid), -EACCES); /* it is, for good */
	other.domid = domid + 1;
	assert_int_not_equal(share(&other), 0);
	assert_int_not_equal(share(&grants), 0);
	rig_disconnect(&r);
	/* Nor by the next front-end; that of the same guest is served. */
	other = connect_at((uint64_t)first_page << 12, FOREIGN | 8u);
	other.domid = domid + 1;
	assert_int_not_equal(share(&other), 0);
	rig_disconnect(&r);
	region = connect_at((uint64_t)first_page << 12, FOREIGN);
	works(&region);
	assert_int_equal(foreign_maps, 2);
	assert_int_equal(kept, 1);
}

static void foreign_memory_mapped_when_used(void **state)
{
	static const uint32_t flags[] = { FOREIGN | 8u, FOREIGN | 0x100u };
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_OUT, .segs = 1 };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct region region = connect_at((uint64_t)first_page << 12, flags[i]);

		/* A page more than the guest has: nobody looks before it is used. */
		region.size += 4096;
		foreign_pages = 0;
		assert_int_equal(share(&region), 0);
		assert_int_equal(foreign_pages, 0);
		assert_int_equal(vuf_queue_init(&r.f, 0, 16), 0);
		assert_int_equal(vuf_queue_tell(&r.f, 0, 0), 0);
		assert_in_range(foreign_pages, 1, 4); /* the ring */
		for (unsigned k = 0; k < 20; k++)
			rig_works(&r);
		assert_in_range(foreign_pages, 1, 4);
		/* The page that is not there, and one behind the region. */
		for (unsigned k = 1; k <= 2; k++) {
			req.seg[0] = (struct drv_seg){ region.guest + region.size - 8192 + k * 4096,
						       512 };
			assert_int_equal(drv_blk_do(&r.f.queue[0].blk, &req), -EIO);
		}
		rig_works(&r);
		assert_int_equal(r.dev.status & VG_STATUS_NEEDS_RESET, 0);
		rig_disconnect(&r);
		assert_int_equal(foreign_pages, 0);
	}
}

static void grants_mapped_in_advance(void **state)
{
	struct region region = connect_at(GRANTBIT | (uint64_t)first_ref << 12, GRANT);

	(void)state;
	works(&region);
	assert_true(fx_grant_mapped(guest, (uint32_t)first_ref) > 0);
}

/* Bit 3, as rust-vmm has it, and bit 8, as the specification has it. */
static void grants_mapped_when_used(void **state)
{
	static const uint32_t flags[] = { GRANT | 8u, GRANT | 0x100u };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct region region = connect_at(GRANTBIT | (uint64_t)first_ref << 12, flags[i]);

		works(&region);
		/* Only the ring is mapped. */
		assert_int_equal(fx_grant_mapped(guest, (uint32_t)first_ref + PAGES - 1), 0);
		rig_disconnect(&r);
		assert_int_equal(fx_grants_in_use(world, domid), 0);
	}
}

static void grants_end_at_the_region(void **state)
{
	struct region region = connect_at(GRANTBIT | (uint64_t)first_ref << 12, GRANT | 8u);
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_OUT, .segs = 1 };

	(void)state;
	region.size -= 4096;
	works(&region);
	req.seg[0] = (struct drv_seg){ region.guest + region.size, 512 };
	assert_int_equal(drv_blk_do(&r.f.queue[0].blk, &req), -EIO);
	rig_works(&r);
}

static void regions_of_xen_that_make_no_sense(void **state)
{
	struct region good = connect_at(GRANTBIT | (uint64_t)first_ref << 12, GRANT | 8u), bad;

	(void)state;
	bad = good;
	bad.guest &= ~GRANTBIT; /* no address of grants */
	assert_int_equal(share(&bad), -EREMOTEIO);
	bad = good;
	bad.guest += 16;
	assert_int_equal(share(&bad), -EREMOTEIO);
	bad = good;
	bad.guest = (uint64_t)first_page << 12;
	bad.flags = FOREIGN;
	bad.domid = domid + 1;
	assert_int_equal(share(&bad), -EREMOTEIO);
	bad = good;
	bad.flags = GRANT;
	bad.size = 1ull << 62; /* more than a pool may have */
	bad.user = 0;
	assert_int_equal(share(&bad), -EREMOTEIO);
	works(&good);
}

static void flags_that_do_not_go_together(void **state)
{
	static const uint32_t flags[] = { 8u, 0x100u,	    FOREIGN | GRANT, FOREIGN | GRANT | 8u,
					  4u, GRANT | 0x10u };
	struct region good = connect_at((uint64_t)first_page << 12, FOREIGN), bad = good;

	(void)state;
	for (unsigned i = 0; i < COUNT(flags); i++) {
		bad.flags = flags[i];
		assert_int_equal(share(&bad), -EREMOTEIO);
	}
	assert_int_equal(foreign_maps, 0);
	works(&good);
}

static void xen_must_be_asked_for(void **state)
{
	(void)state;
	rig_connect(&r, RIG_GUEST, RIG_USER);
	rig_disconnect(&r);
	vg_vu_free(r.vu);
	const struct vg_vu_events events = { rig_gone, &r };
	const struct vg_vu_options none = { .xen = NULL };
	assert_int_equal(vg_vu_new(&r.dev, &none, &events, &r.vu, NULL), 0);
	rig_connect(&r, RIG_GUEST, RIG_USER);
	r.f.protocol |= VUF_P_XEN;
	assert_int_equal(vuf_negotiate(&r.f), 0);
	assert_false(r.f.poffered & VUF_P_XEN);
	assert_int_equal(vuf_do_u64(&r.f, VUF_SET_PROTOCOL_FEATURES, VUF_P_XEN | VUF_P_ACK, -1),
			 -EREMOTEIO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_xen, close_xen)
	const struct CMUnitTest tests[] = {
		T(foreign_memory),
		T(of_one_guest_for_good),
		T(foreign_memory_mapped_when_used),
		T(grants_mapped_in_advance),
		T(grants_mapped_when_used),
		T(grants_end_at_the_region),
		T(regions_of_xen_that_make_no_sense),
		T(flags_that_do_not_go_together),
		T(xen_must_be_asked_for),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_world, end_world);
}
