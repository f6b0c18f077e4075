/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_fake_xen.c - the fake Xen host behaves as Xen does
 *
 * Each test makes a world of its own, with one guest. The test process is
 * domain 0 (the backend) and, through fx_*(), the guest's kernel as well;
 * where death matters a forked child is the backend.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>
#include <xentoolcore.h>

#include "tests/fakes/xen/fake_xen.h"

#define RW (PROT_READ | PROT_WRITE)

struct rig {
	struct fx_world *w;
	struct fx_domain *g;
	unsigned int gid;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_int_equal(fx_world_start(NULL, &r->w), 0);
	assert_int_equal(fx_domain_create(r->w, NULL, &r->gid), 0);
	assert_int_equal(fx_domain_open(r->w, r->gid, &r->g), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	struct fx_stats st;

	/* Whatever a test did, domain 0 has given everything back. */
	fx_stats(r->w, 0, &st);
	assert_int_equal(st.mapped, 0);
	assert_int_equal(st.ports, 0);
	assert_int_equal(st.handles, 0);
	fx_domain_close(r->g);
	fx_world_stop(r->w);
	free(r);
	return 0;
}

/* in_child() - run @fn in a forked process; it must return 0 */
static void in_child(void (*fn)(struct rig *), struct rig *r)
{
	pid_t pid = fork();
	int st;

	if (!pid) {
		fn(r);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

/* ---- grants --------------------------------------------------------------- */

static void map_shares_memory(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 3), ref;
	uint32_t refs[3];
	struct fx_stats st;
	uint8_t *p, *q;
	int i;

	assert_true(pfn >= 0);
	ref = fx_grant(r->g, 0, (unsigned long)pfn, 3, 0);
	assert_true(ref >= 8);
	for (i = 0; i < 3; i++)
		refs[i] = (uint32_t)ref + (uint32_t)(2 - i); /* backwards */
	strcpy(fx_page(r->g, (unsigned long)pfn), "guest");
	p = xengnttab_map_domain_grant_refs(x, 3, r->gid, refs, RW);
	assert_non_null(p);
	q = p + 8192;
	assert_string_equal((char *)q, "guest");
	strcpy((char *)p, "backend");
	assert_string_equal(fx_page(r->g, (unsigned long)pfn + 2), "backend");
	assert_int_equal(fx_grant_mapped(r->g, (uint32_t)ref), 1);
	assert_int_equal(fx_grants_in_use(r->w, r->gid), 3);
	fx_stats(r->w, 0, &st);
	assert_int_equal(st.mapped, 3);
	assert_int_equal(st.hypercalls[FX_OP_MAP], 1);
	assert_int_equal(st.items[FX_OP_MAP], 3);

	/* In use: ending access fails, as in Linux. */
	assert_int_equal(fx_grant_end(r->g, (uint32_t)ref, 3), 3);
	/* Only the whole, only from the start. */
	assert_int_equal(xengnttab_unmap(x, p, 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xengnttab_unmap(x, p + 4096, 2), -1);
	assert_int_equal(xengnttab_unmap(x, p, 3), 0);
	assert_int_equal(xengnttab_unmap(x, p, 3), -1);
	assert_int_equal(fx_grant_end(r->g, (uint32_t)ref, 3), 0);
	xengnttab_close(x);
}

static void map_refuses(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 2);
	uint32_t ro = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, FX_GRANT_RO);
	uint32_t other = (uint32_t)fx_grant(r->g, 77, (unsigned long)pfn, 1, 0);
	uint32_t good = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn + 1, 1, 0);
	uint32_t refs[3] = { good, 9999, good };
	void *p;

#define REFUSED(ref, prot)                                                      \
	do {                                                                    \
		errno = 0;                                                      \
		assert_null(xengnttab_map_grant_ref(x, r->gid, (ref), (prot))); \
		assert_int_equal(errno, EINVAL);                                \
	} while (0)
	REFUSED(ro, RW);					 /* read-only */
	REFUSED(other, RW);					 /* granted to another domain */
	REFUSED(9999, RW);					 /* never granted */
	REFUSED(0xffffffff, RW);				 /* beyond the table */
	assert_null(xengnttab_map_grant_ref(x, 4242, good, RW)); /* no such domain */
	assert_null(xengnttab_map_domain_grant_refs(x, 0, r->gid, refs, RW));
	/* One bad one in a batch: none stays mapped. */
	assert_null(xengnttab_map_domain_grant_refs(x, 3, r->gid, refs, RW));
	assert_int_equal(fx_grants_in_use(r->w, r->gid), 0);
	/* Reading is fine. */
	p = xengnttab_map_grant_ref(x, r->gid, ro, PROT_READ);
	assert_non_null(p);
	assert_int_equal(xengnttab_unmap(x, p, 1), 0);
	/* A frame that the guest does not have. */
	fx_grant_raw(r->g, good, GTF_permit_access, 0, 0x7fffffff);
	REFUSED(good, RW);
	xengnttab_close(x);
}

static void revoked_while_mapped(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 1);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, 0);
	char *p = xengnttab_map_grant_ref(x, r->gid, ref, RW), *q;

	assert_non_null(p);
	fx_grant_raw(r->g, ref, 0, 0, 0);
	strcpy(p, "still"); /* who has it has it */
	assert_string_equal(fx_page(r->g, (unsigned long)pfn), "still");
	q = xengnttab_map_grant_ref(x, r->gid, ref, RW); /* Xen's active entry */
	assert_non_null(q);
	xengnttab_unmap(x, q, 1);
	xengnttab_unmap(x, p, 1);
	assert_null(xengnttab_map_grant_ref(x, r->gid, ref, RW));
	xengnttab_close(x);
}

static xengnttab_grant_copy_segment_t from_guest(struct rig *r, uint32_t ref, uint16_t off,
						 void *to, uint16_t len)
{
	xengnttab_grant_copy_segment_t s = { .len = len, .flags = GNTCOPY_source_gref };

	s.source.foreign.ref = ref;
	s.source.foreign.offset = off;
	s.source.foreign.domid = (uint16_t)r->gid;
	s.dest.virt = to;
	return s;
}

static void copy_has_a_status_each(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 1);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, FX_GRANT_RO);
	xengnttab_grant_copy_segment_t s[4];
	struct fx_fault fault = { .skip = 1, .count = 1 };
	char buf[64] = "";
	struct fx_stats st;

	strcpy(fx_page(r->g, (unsigned long)pfn), "abcdefgh");
	s[0] = from_guest(r, ref, 2, buf, 3);
	s[1] = from_guest(r, 4000, 0, buf + 8, 8); /* not granted */
	s[2] = from_guest(r, ref, 0, buf + 16, 2);
	s[3] = (xengnttab_grant_copy_segment_t){ .len = 2, .flags = GNTCOPY_dest_gref };
	s[3].source.virt = buf;
	s[3].dest.foreign.ref = ref; /* read-only */
	s[3].dest.foreign.domid = (uint16_t)r->gid;
	assert_int_equal(xengnttab_grant_copy(x, 4, s), 0);
	assert_int_equal(s[0].status, GNTST_okay);
	assert_int_equal(s[1].status, GNTST_general_error);
	assert_int_equal(s[2].status, GNTST_okay);
	assert_int_equal(s[3].status, GNTST_general_error);
	assert_memory_equal(buf, "cde", 3);
	assert_memory_equal(buf + 16, "ab", 2);
	/* Over the end of the granted page: the call fails. */
	s[0] = from_guest(r, ref, 4090, buf, 7);
	assert_int_equal(xengnttab_grant_copy(x, 1, s), -1);
	assert_int_equal(errno, EINVAL);
	/* Counted as gntdev would issue them, and failed when told to. */
	fx_stats_reset(r->w, 0);
	fx_inject(r->w, 0, FX_OP_COPY, &fault);
	s[0] = from_guest(r, ref, 0, buf, 1);
	s[1] = s[2] = s[0];
	assert_int_equal(xengnttab_grant_copy(x, 3, s), 0);
	assert_int_equal(s[0].status, GNTST_okay);
	assert_int_equal(s[1].status, GNTST_general_error);
	assert_int_equal(s[2].status, GNTST_okay);
	fx_stats(r->w, 0, &st);
	assert_int_equal(st.hypercalls[FX_OP_COPY], 1);
	assert_int_equal(st.items[FX_OP_COPY], 3);
	assert_int_equal(st.failed[FX_OP_COPY], 1);
	assert_int_equal(st.copied, 2);
	assert_int_equal(fx_grants_in_use(r->w, r->gid), 0);
	xengnttab_close(x);
}

static void map_fault(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 4);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 4, 0);
	uint32_t refs[4] = { ref, ref + 1, ref + 2, ref + 3 };
	struct fx_fault fault = { .skip = 2, .count = 1, .status = GNTST_no_space };
	void *p;

	fx_inject(r->w, 0, FX_OP_MAP, &fault);
	assert_null(xengnttab_map_domain_grant_refs(x, 4, r->gid, refs, RW));
	assert_int_equal(fx_grants_in_use(r->w, r->gid), 0);
	p = xengnttab_map_domain_grant_refs(x, 4, r->gid, refs, RW);
	assert_non_null(p);
	assert_int_equal(xengnttab_unmap(x, p, 4), 0);
	xengnttab_close(x);
}

static void child_maps_and_dies(struct rig *r)
{
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);

	if (!x || !e || !xengnttab_map_grant_ref(x, r->gid, 8, RW) ||
	    xenevtchn_bind_interdomain(e, r->gid, 1) < 0)
		_exit(1);
	fx_port_notify(r->g, 1); /* says that it is ready */
	raise(SIGKILL);
}

static void death_gives_back(void **state)
{
	struct rig *r = *state;
	long pfn = fx_pages_alloc(r->g, 1);
	struct fx_stats before;
	xenevtchn_handle *e;
	pid_t pid;
	int st, port;

	assert_int_equal(fx_grant(r->g, 0, (unsigned long)pfn, 1, 0), 8);
	assert_int_equal(fx_port_alloc(r->g, 0), 1);
	pid = fork();
	if (!pid)
		child_maps_and_dies(r);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st));
	fx_stats(r->w, 0, &before);
	assert_int_equal(before.mapped, 0);
	assert_int_equal(fx_port_state(r->w, r->gid, 1), FX_PORT_UNBOUND);
	assert_int_equal(fx_grant_end(r->g, 8, 1), 0);
	/* The successor binds the same port, and finds an event on its end. */
	e = xenevtchn_open(NULL, 0);
	port = xenevtchn_bind_interdomain(e, r->gid, 1);
	assert_true(port > 0);
	assert_int_equal(xenevtchn_pending(e), port);
	xenevtchn_close(e);
}

static void close_keeps_mappings(void **state)
{
	struct rig *r = *state;
	long pfn = fx_pages_alloc(r->g, 1);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, 0);
	pid_t pid = fork();
	int st;

	if (!pid) {
		xengnttab_handle *x = xengnttab_open(NULL, 0);

		if (!x || !xengnttab_map_grant_ref(x, r->gid, ref, RW))
			_exit(1);
		xengnttab_close(x);
		/* Still mapped: a file stays open while it is mapped. */
		_exit(fx_grant_mapped(r->g, ref) == 1 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
	assert_int_equal(fx_grant_mapped(r->g, ref), 0);
}

static void destroyed_while_mapped(void **state)
{
	struct rig *r = *state;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	long pfn = fx_pages_alloc(r->g, 1);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, 0);
	char *p = xengnttab_map_grant_ref(x, r->gid, ref, RW);

	assert_non_null(p);
	strcpy(p, "kept");
	assert_int_equal(fx_domain_destroy(r->w, r->gid, 0), 0);
	assert_string_equal(p, "kept"); /* the frame lives as long as it is mapped */
	assert_null(xengnttab_map_grant_ref(x, r->gid, ref, RW));
	assert_int_equal(xengnttab_unmap(x, p, 1), 0);
	xengnttab_close(x);
}

/* ---- event channels ------------------------------------------------------- */

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void events_both_ways(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);
	int gp = fx_port_alloc(r->g, 0), port;

	assert_true(gp > 0);
	port = xenevtchn_bind_interdomain(e, r->gid, (uint32_t)gp);
	assert_true(port > 0);
	assert_true(readable(xenevtchn_fd(e))); /* binding raises one */
	assert_int_equal(xenevtchn_pending(e), port);
	assert_false(readable(xenevtchn_fd(e)));
	/* Masked until unmasked; then many have become one. */
	fx_port_notify(r->g, (uint32_t)gp);
	fx_port_notify(r->g, (uint32_t)gp);
	assert_false(readable(xenevtchn_fd(e)));
	assert_int_equal(xenevtchn_unmask(e, (evtchn_port_t)port), 0);
	assert_int_equal(xenevtchn_pending(e), port);
	xenevtchn_unmask(e, (evtchn_port_t)port);
	assert_false(readable(xenevtchn_fd(e)));
	/* The other way. */
	assert_int_equal(fx_port_wait(r->g, (uint32_t)gp, 0), -ETIMEDOUT);
	assert_int_equal(xenevtchn_notify(e, (evtchn_port_t)port), 0);
	assert_int_equal(fx_port_wait(r->g, (uint32_t)gp, 1000), 0);
	assert_int_equal(fx_port_wait(r->g, (uint32_t)gp, 0), -ETIMEDOUT);
	/* Bound twice: no. Unbound: the guest's end is as before. */
	assert_int_equal(xenevtchn_bind_interdomain(e, r->gid, (uint32_t)gp), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_unbind(e, (evtchn_port_t)port), 0);
	assert_int_equal(fx_port_state(r->w, r->gid, (uint32_t)gp), FX_PORT_UNBOUND);
	assert_int_equal(fx_port_notify(r->g, (uint32_t)gp), 0); /* dropped */
	assert_int_equal(xenevtchn_notify(e, (evtchn_port_t)port), -1);
	assert_int_equal(errno, ENOTCONN);
	/* The guest closes: our end is unbound and silent. */
	port = xenevtchn_bind_interdomain(e, r->gid, (uint32_t)gp);
	assert_true(port > 0);
	fx_port_close(r->g, (uint32_t)gp);
	assert_int_equal(fx_port_state(r->w, 0, (uint32_t)port), FX_PORT_UNBOUND);
	assert_int_equal(xenevtchn_notify(e, (evtchn_port_t)port), 0);
	xenevtchn_close(e);
}

static void binding_refused(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);
	int other = fx_port_alloc(r->g, 5);

	assert_int_equal(xenevtchn_bind_interdomain(e, r->gid, (uint32_t)other), -1);
	assert_int_equal(errno, EINVAL); /* meant for another domain */
	assert_int_equal(xenevtchn_bind_interdomain(e, r->gid, 77), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_bind_interdomain(e, 4242, 1), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(xenevtchn_bind_interdomain(e, r->gid, 0x80000000), -1);
	xenevtchn_close(e);
}

static void restriction(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, 0), *f;
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	struct xs_handle *xs = xs_open(0);
	long pfn = fx_pages_alloc(r->g, 1);
	uint32_t ref = (uint32_t)fx_grant(r->g, 0, (unsigned long)pfn, 1, 0);
	int gp = fx_port_alloc(r->g, 0), port;
	unsigned int len;

	assert_int_equal(xentoolcore_restrict_all((domid_t)r->gid), 0);
	assert_true(xenevtchn_bind_interdomain(e, r->gid, (uint32_t)gp) > 0);
	assert_int_equal(xenevtchn_bind_interdomain(e, 0, 1), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xenevtchn_bind_virq(e, 3), -1);
	/* The real libraries leave these two dead. */
	assert_null(xengnttab_map_grant_ref(x, r->gid, ref, RW));
	assert_int_equal(errno, ENOTTY);
	assert_null(xs_read(xs, XBT_NULL, "domid", &len));
	assert_int_equal(errno, EBADF);
	assert_int_equal(xentoolcore_restrict_all((domid_t)r->gid), -1);
	assert_int_equal(errno, EACCES);
	/* A handle that is opened after that has its events, too, from bind and unmask as well. */
	f = xenevtchn_open(NULL, 0);
	gp = fx_port_alloc(r->g, 0);
	port = xenevtchn_bind_interdomain(f, r->gid, (uint32_t)gp);
	assert_true(port > 0);
	assert_true(readable(xenevtchn_fd(f)));
	assert_int_equal(xenevtchn_pending(f), port);
	fx_port_notify(r->g, (uint32_t)gp);
	assert_int_equal(xenevtchn_unmask(f, (evtchn_port_t)port), 0);
	assert_true(readable(xenevtchn_fd(f)));
	xenevtchn_close(f);
	xenevtchn_close(e);
	xengnttab_close(x);
	xs_close(xs);
}

static void inherited_over_exec(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, XENEVTCHN_NO_CLOEXEC), *f;
	int gp = fx_port_alloc(r->g, 0);
	int port = xenevtchn_bind_interdomain(e, r->gid, (uint32_t)gp), fd;

	fd = dup(xenevtchn_fd(e)); /* as if inherited */
	xenevtchn_close(e);
	assert_int_equal(fx_port_state(r->w, r->gid, (uint32_t)gp), FX_PORT_INTERDOMAIN);
	f = xenevtchn_fdopen(NULL, fd, 0);
	assert_non_null(f);
	assert_int_equal(xenevtchn_pending(f), port);
	assert_int_equal(xenevtchn_notify(f, (evtchn_port_t)port), 0);
	assert_int_equal(fx_port_wait(r->g, (uint32_t)gp, 1000), 0);
	xenevtchn_close(f);
	assert_int_equal(fx_port_state(r->w, r->gid, (uint32_t)gp), FX_PORT_UNBOUND);
}

static void virqs(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);
	int port = xenevtchn_bind_virq(e, 3);

	assert_true(port > 0);
	assert_int_equal(xenevtchn_bind_virq(e, 3), -1);
	assert_int_equal(errno, EEXIST);
	assert_false(readable(xenevtchn_fd(e)));
	fx_virq_raise(r->w, 0, 3);
	assert_int_equal(xenevtchn_pending(e), port);
	xenevtchn_close(e);
}

/* A storm from another thread, while this one takes and unmasks: none is lost. */
struct storm {
	struct rig *r;
	int port;
	uint32_t *flag; /* in a shared page */
};

static void *storm_main(void *arg)
{
	struct storm *s = arg;
	int i;

	for (i = 1; i <= 20000; i++) {
		__atomic_store_n(s->flag, (uint32_t)i, __ATOMIC_SEQ_CST);
		fx_port_notify(s->r->g, (uint32_t)s->port);
	}
	return NULL;
}

static void storm(void **state)
{
	struct rig *r = *state;
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);
	uint32_t flag = 0, seen = 0;
	struct storm s = { r, fx_port_alloc(r->g, 0), &flag };
	int port = xenevtchn_bind_interdomain(e, r->gid, (uint32_t)s.port);
	pthread_t th;

	assert_true(port > 0);
	pthread_create(&th, NULL, storm_main, &s);
	while (seen != 20000) {
		struct pollfd p = { .fd = xenevtchn_fd(e), .events = POLLIN };

		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_equal(xenevtchn_pending(e), port);
		xenevtchn_unmask(e, (evtchn_port_t)port);
		seen = __atomic_load_n(&flag, __ATOMIC_SEQ_CST);
	}
	pthread_join(th, NULL);
	xenevtchn_close(e);
}

/* ---- xenstore ------------------------------------------------------------- */

static void check_event(struct xs_handle *xs, const char *path, const char *token)
{
	struct pollfd p = { .fd = xs_fileno(xs), .events = POLLIN };
	unsigned int n;
	char **v;

	if (poll(&p, 1, 2000) != 1)
		fail_msg("no event for %s", path);
	v = xs_read_watch(xs, &n);
	assert_non_null(v);
	assert_int_equal(n, 2);
	assert_string_equal(v[XS_WATCH_PATH], path);
	assert_string_equal(v[XS_WATCH_TOKEN], token);
	free(v);
}

static void check_no_event(struct xs_handle *xs)
{
	assert_null(xs_check_watch(xs));
	assert_int_equal(errno, EAGAIN);
}

static void store_basics(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = xs_open(0);
	struct xs_permissions *perms;
	unsigned int n;
	char **dir, *v;

	assert_true(xs_write(xs, XBT_NULL, "/a/b/c", "x\0y", 3));
	v = xs_read(xs, XBT_NULL, "/a/b/c", &n);
	assert_non_null(v);
	assert_int_equal(n, 3);
	assert_memory_equal(v, "x\0y", 4); /* and a NUL */
	free(v);
	dir = xs_directory(xs, XBT_NULL, "/a", &n);
	assert_int_equal(n, 1);
	assert_string_equal(dir[0], "b");
	free(dir);
	assert_null(xs_read(xs, XBT_NULL, "/a/none", &n));
	assert_int_equal(errno, ENOENT);
	assert_null(xs_read(xs, XBT_NULL, "/a//b", &n));
	assert_int_equal(errno, EINVAL);
	assert_true(xs_rm(xs, XBT_NULL, "/a/none")); /* its parent exists */
	assert_false(xs_rm(xs, XBT_NULL, "/none/none"));
	assert_int_equal(errno, ENOENT);
	assert_true(xs_rm(xs, XBT_NULL, "/a"));
	assert_null(xs_read(xs, XBT_NULL, "/a/b/c", &n));
	/* Relative: our own domain's. */
	v = xs_read(xs, XBT_NULL, "domid", &n);
	assert_string_equal(v, "0");
	free(v);
	v = xs_get_domain_path(xs, r->gid);
	assert_string_equal(v, "/local/domain/1");
	free(v);
	assert_true(xs_is_domain_introduced(xs, r->gid));
	assert_false(xs_is_domain_introduced(xs, 99));
	perms = xs_get_permissions(xs, XBT_NULL, "/local/domain/1/data", &n);
	assert_int_equal(n, 1);
	assert_int_equal(perms[0].id, r->gid);
	free(perms);
	xs_close(xs);
}

static void big_directory(void **state)
{
	struct xs_handle *xs = xs_open(0);
	char path[64];
	unsigned int n, i;
	char **dir;

	(void)state;
	for (i = 0; i < 1500; i++) {
		snprintf(path, sizeof(path), "/big/entry%u", i);
		assert_true(xs_write(xs, XBT_NULL, path, "", 0));
	}
	dir = xs_directory(xs, XBT_NULL, "/big", &n);
	assert_non_null(dir);
	assert_int_equal(n, 1500);
	assert_string_equal(dir[1499], "entry1499");
	free(dir);
	xs_close(xs);
}

static void guests_are_confined(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = fx_domain_xs(r->g), *root = fx_xs(r->w);
	struct xs_permissions p[2] = { { .id = 0 }, { .id = r->gid, .perms = XS_PERM_READ } };
	unsigned int i, n;
	char path[64], big[3000];

	assert_false(xs_write(xs, XBT_NULL, "/local/domain/0/x", "1", 1));
	assert_int_equal(errno, EACCES);
	assert_null(xs_read(xs, XBT_NULL, "/local/domain/0/domid", &n));
	assert_int_equal(errno, EACCES);
	assert_null(xs_read(xs, XBT_NULL, "/local/domain/0/none", &n));
	assert_int_equal(errno, EACCES); /* not even whether it exists */
	assert_false(xs_release_domain(xs, r->gid));
	assert_int_equal(errno, EACCES);
	assert_true(xs_write(xs, XBT_NULL, "data/x", "1", 1));
	assert_false(xs_set_permissions(xs, XBT_NULL, "data/x", p, 2));
	assert_int_equal(errno, EPERM); /* gives its node to another */
	/* Readable for it, but not writable. */
	assert_int_equal(fx_xs_write(root, "/shown", "yes"), 0);
	assert_true(xs_set_permissions(root, XBT_NULL, "/shown", p, 2));
	assert_int_equal(fx_xs_read_int(xs, "/shown", -7), -7);
	assert_false(xs_write(xs, XBT_NULL, "/shown", "no", 2));
	assert_int_equal(errno, EACCES);
	/* Quotas. */
	memset(big, 'x', sizeof(big));
	assert_false(xs_write(xs, XBT_NULL, "data/big", big, sizeof(big)));
	assert_int_equal(errno, ENOSPC);
	for (i = 0; i < 1100; i++) {
		snprintf(path, sizeof(path), "data/%u/%u", i / 100, i);
		if (!xs_write(xs, XBT_NULL, path, "", 0))
			break;
	}
	assert_true(i > 900 && i < 1000);
	assert_int_equal(errno, ENOSPC);
	for (i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "%u", i);
		if (!xs_watch(xs, "data", path))
			break;
	}
	assert_int_equal(i, 128);
}

static void watches(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = xs_open(0), *g = fx_domain_xs(r->g);

	assert_true(xs_watch(xs, "/w", "t"));
	check_event(xs, "/w", "t"); /* at once */
	check_no_event(xs);
	assert_false(xs_watch(xs, "/w", "t"));
	assert_int_equal(errno, EEXIST);
	fx_xs_write(xs, "/w/x/y", "1");
	check_event(xs, "/w/x/y", "t");
	fx_xs_write(xs, "/wx", "1");
	check_no_event(xs);
	assert_true(xs_watch(xs, "/w/x/y", "deep"));
	check_event(xs, "/w/x/y", "deep");
	/* Removing what is above tells the deep one of its node, the other of the root. */
	assert_true(xs_rm(xs, XBT_NULL, "/w/x"));
	check_event(xs, "/w/x/y", "deep");
	check_event(xs, "/w/x", "t");
	check_no_event(xs);
	assert_true(xs_unwatch(xs, "/w", "t"));
	assert_false(xs_unwatch(xs, "/w", "t"));
	assert_int_equal(errno, ENOENT);
	/* Relative watches speak in relative paths. */
	assert_true(xs_watch(g, "data", "rel"));
	check_event(g, "data", "rel");
	fx_xs_write(g, "data/k", "1");
	check_event(g, "data/k", "rel");
	/* A guest is not told of what it may not read. */
	assert_true(xs_watch(g, "/local/domain/0", "spy"));
	check_event(g, "/local/domain/0", "spy");
	fx_xs_write(xs, "/local/domain/0/secret", "1");
	check_no_event(g);
	xs_close(xs);
}

static void introduce_and_release(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = xs_open(0);
	unsigned int id;

	assert_true(xs_watch(xs, "@introduceDomain", "i"));
	check_event(xs, "@introduceDomain", "i");
	assert_true(xs_watch(xs, "@releaseDomain", "r"));
	check_event(xs, "@releaseDomain", "r");
	assert_int_equal(fx_domain_create(r->w, NULL, &id), 0);
	check_event(xs, "@introduceDomain", "i");
	assert_int_equal(fx_domain_destroy(r->w, id, 0), 0);
	check_event(xs, "@releaseDomain", "r");
	check_no_event(xs);
	assert_false(xs_is_domain_introduced(xs, id));
	assert_int_equal(fx_domain_destroy(r->w, id, 0), -ENOENT);
	xs_close(xs);
}

static void transactions(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = xs_open(0);
	xs_transaction_t t, u;
	unsigned int n;

	assert_true(xs_watch(xs, "/t", "w"));
	check_event(xs, "/t", "w");
	t = xs_transaction_start(xs);
	assert_true(t != XBT_NULL);
	assert_true(xs_write(xs, t, "/t/a", "1", 1));
	assert_true(xs_write(xs, t, "/t/b", "2", 1));
	assert_null(xs_read(xs, XBT_NULL, "/t/a", &n)); /* not yet */
	check_no_event(xs);
	assert_true(xs_transaction_end(xs, t, false));
	check_event(xs, "/t/a", "w");
	check_event(xs, "/t/b", "w");
	assert_int_equal(fx_xs_read_int(xs, "/t/b", -1), 2);
	/* Abort. */
	t = xs_transaction_start(xs);
	xs_rm(xs, t, "/t");
	assert_true(xs_transaction_end(xs, t, true));
	assert_int_equal(fx_xs_read_int(xs, "/t/b", -1), 2);
	/* What was read has changed: again, please. */
	t = xs_transaction_start(xs);
	free(xs_read(xs, t, "/t/a", &n));
	assert_true(xs_write(xs, t, "/t/c", "3", 1));
	fx_xs_write(xs, "/t/a", "9");
	assert_false(xs_transaction_end(xs, t, false));
	assert_int_equal(errno, EAGAIN);
	/* So has what was found absent. */
	t = xs_transaction_start(xs);
	u = xs_transaction_start(xs);
	assert_null(xs_read(xs, t, "/t/new", &n));
	assert_true(xs_write(xs, u, "/t/new", "1", 1));
	assert_true(xs_transaction_end(xs, u, false));
	xs_write(xs, t, "/other", "1", 1);
	assert_false(xs_transaction_end(xs, t, false));
	/* Strangers do not disturb. */
	t = xs_transaction_start(xs);
	xs_write(xs, t, "/t/a", "4", 1);
	fx_xs_write(xs, "/elsewhere/x", "1");
	assert_true(xs_transaction_end(xs, t, false));
	/* As many as wanted. */
	fx_xs_conflict(r->w, 1);
	t = xs_transaction_start(xs);
	assert_false(xs_transaction_end(xs, t, false));
	assert_int_equal(errno, EAGAIN);
	assert_false(xs_write(xs, t, "/t/a", "1", 1));
	assert_int_equal(errno, ENOENT); /* no such transaction */
	xs_close(xs);
}

static void unwatch_filter(void **state)
{
	struct xs_handle *xs = xs_open(XS_UNWATCH_FILTER);

	(void)state;
	assert_true(xs_watch(xs, "/f", "f"));
	assert_true(xs_unwatch(xs, "/f", "f"));
	check_no_event(xs); /* the first one was still on its way */
	xs_close(xs);
}

static void xs_faults(void **state)
{
	struct rig *r = *state;
	struct xs_handle *xs = xs_open(0);
	struct fx_fault f = { .skip = 1, .count = 1, .status = ENOSPC };

	fx_inject(r->w, 0, FX_OP_XS, &f);
	assert_true(xs_mkdir(xs, XBT_NULL, "/x"));
	assert_false(xs_mkdir(xs, XBT_NULL, "/y"));
	assert_int_equal(errno, ENOSPC);
	assert_true(xs_mkdir(xs, XBT_NULL, "/y"));
	xs_close(xs);
}

/* ---- the toolstack -------------------------------------------------------- */

static void virtio_nodes(void **state)
{
	struct rig *r = *state;
	struct fx_virtio_spec spec = { .id = 3, .grant_usage = true };
	struct fx_disk_spec disk = { .id = 51712, .vdev = "xvda", .target = "/x.img" };
	struct xs_handle *g = fx_domain_xs(r->g), *xs = xs_open(0);
	struct xs_permissions *p;
	unsigned int n;
	char *v;

	assert_true(xs_watch(xs, "backend/virtio", "b"));
	check_event(xs, "backend/virtio", "b");
	assert_int_equal(fx_add_virtio(r->w, r->gid, &spec), 0);
	check_event(xs, "backend/virtio/1/3", "b");
	assert_int_equal(fx_xs_read_int(g, "device/virtio/3/state", 0), 1);
	v = fx_xs_read(g, "device/virtio/3/backend");
	assert_string_equal(v, "/local/domain/0/backend/virtio/1/3");
	free(v);
	/* The guest reads the backend's directory, and writes its own alone. */
	assert_int_equal(fx_xs_read_int(g, "/local/domain/0/backend/virtio/1/3/state", 0), 1);
	assert_int_equal(fx_xs_write(g, "/local/domain/0/backend/virtio/1/3/state", "4"), -EACCES);
	assert_int_equal(fx_xs_write(g, "device/virtio/3/control-ref", "8"), 0);
	p = xs_get_permissions(xs, XBT_NULL, "/local/domain/1/device/virtio/3/control-ref", &n);
	assert_int_equal(n, 2);
	assert_int_equal(p[0].id, r->gid);
	assert_int_equal(p[1].id, 0);
	assert_int_equal(p[1].perms, XS_PERM_READ);
	free(p);
	assert_int_equal(fx_add_disk(r->w, r->gid, &disk), 0);
	v = fx_xs_read(xs, "backend/virtio_disk/1/51712/params");
	assert_string_equal(v, "/x.img");
	free(v);
	/* Nobody closes: libxl gives up and removes. */
	assert_int_equal(fx_domain_destroy(r->w, r->gid, 50), -ETIMEDOUT);
	assert_null(fx_xs_read(xs, "backend/virtio/1/3/state"));
	assert_null(fx_xs_read(xs, "/local/domain/1/name"));
	xs_close(xs);
}

static void without_a_world(void **state)
{
	struct rig *r = *state;

	unsetenv("FAKE_XEN_DIR");
	assert_null(xs_open(0));
	assert_int_equal(errno, ENOENT);
	assert_null(xengnttab_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	assert_null(xenevtchn_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	setenv("FAKE_XEN_DIR", fx_world_dir(r->w), 1);
}

static void driver_domain_child(struct rig *r)
{
	struct xs_handle *xs;
	xenevtchn_handle *e;

	setenv("FAKE_XEN_DOMID", "2", 1);
	xs = xs_open(0);
	e = xenevtchn_open(NULL, 0);
	if (!xs || !e || fx_xs_read_int(xs, "domid", -1) != 2 ||
	    xenevtchn_bind_interdomain(e, r->gid, 1) < 0)
		_exit(1);
	_exit(0);
}

static void driver_domain(void **state)
{
	struct rig *r = *state;
	unsigned int dd;

	assert_int_equal(fx_domain_create(r->w, NULL, &dd), 0);
	assert_int_equal(dd, 2);
	assert_int_equal(fx_port_alloc(r->g, dd), 1);
	in_child(driver_domain_child, r);
}

/* Random kills of a process that maps, copies, binds: what is left is consistent. */
static void busy_child(struct rig *r)
{
	xengnttab_handle *x = xengnttab_open(NULL, 0);
	xenevtchn_handle *e = xenevtchn_open(NULL, 0);
	xengnttab_grant_copy_segment_t s;
	char buf[64];
	void *p;
	int port;

	for (;;) {
		p = xengnttab_map_grant_ref(x, r->gid, 8, RW);
		s = from_guest(r, 8, 0, buf, sizeof(buf));
		xengnttab_grant_copy(x, 1, &s);
		port = xenevtchn_bind_interdomain(e, r->gid, 1);
		if (!p || port < 0)
			_exit(3);
		xenevtchn_notify(e, (evtchn_port_t)port);
		xenevtchn_unbind(e, (evtchn_port_t)port);
		xengnttab_unmap(x, p, 1);
	}
}

static void random_kills(void **state)
{
	struct rig *r = *state;
	long pfn = fx_pages_alloc(r->g, 1);
	struct fx_stats st;
	int i, status;
	pid_t pid;

	assert_int_equal(fx_grant(r->g, 0, (unsigned long)pfn, 1, 0), 8);
	assert_int_equal(fx_port_alloc(r->g, 0), 1);
	for (i = 0; i < 40; i++) {
		pid = fork();
		if (!pid)
			busy_child(r);
		usleep((unsigned int)(1000 + i * 97));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		fx_stats(r->w, 0, &st);
		assert_int_equal(st.mapped, 0);
		assert_int_equal(st.ports, 0);
		assert_int_equal(fx_grant_mapped(r->g, 8), 0);
		assert_int_equal(fx_port_state(r->w, r->gid, 1), FX_PORT_UNBOUND);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(map_shares_memory),
		T(map_refuses),
		T(revoked_while_mapped),
		T(copy_has_a_status_each),
		T(map_fault),
		T(death_gives_back),
		T(close_keeps_mappings),
		T(destroyed_while_mapped),
		T(events_both_ways),
		T(binding_refused),
		T(restriction),
		T(inherited_over_exec),
		T(virqs),
		T(storm),
		T(store_basics),
		T(big_directory),
		T(guests_are_confined),
		T(watches),
		T(introduce_and_release),
		T(transactions),
		T(unwatch_filter),
		T(xs_faults),
		T(virtio_nodes),
		T(without_a_world),
		T(driver_domain),
		T(random_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
