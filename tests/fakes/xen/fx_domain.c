/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_domain.c - the kernel of a fake guest: memory, grants, event channels
 *
 * A guest's allocators (pages, references, ports) lie in shared memory too,
 * so that a second process may open the domain after the first has died, and
 * find it as a crashed kernel would leave it.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <xen/grant_table.h>

struct fx_domain {
	struct fx_world *w;
	unsigned int domid;
	unsigned int slot;
	uint8_t *mem;
	struct xs_handle *xs;
};

int fx_domain_open(struct fx_world *w, unsigned int domid, struct fx_domain **out)
{
	struct fx_domain *d = calloc(1, sizeof(*d));
	struct fxi_dom *dom;

	if (!d)
		return -ENOMEM;
	d->w = w;
	d->domid = domid;
	fxi_lock(w);
	dom = fxi_dom(w, domid);
	if (dom)
		d->slot = fxi_slot(w, dom);
	fxi_unlock(w);
	if (!dom) {
		free(d);
		return -ENOENT;
	}
	d->mem = mmap(NULL, FXI_MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		      w->shmfd, (off_t)fxi_mem_off(d->slot, 0));
	if (d->mem == MAP_FAILED) {
		int err = -errno;

		free(d);
		return err;
	}
	*out = d;
	return 0;
}

void fx_domain_close(struct fx_domain *d)
{
	if (!d)
		return;
	xs_close(d->xs);
	munmap(d->mem, FXI_MEM_BYTES);
	free(d);
}

unsigned int fx_domain_id(const struct fx_domain *d)
{
	return d->domid;
}

struct fx_world *fx_domain_world(const struct fx_domain *d)
{
	return d->w;
}

struct xs_handle *fx_domain_xs(struct fx_domain *d)
{
	if (!d->xs)
		d->xs = fxi_xs_open_as(d->w, d->domid);
	return d->xs;
}

/* enter() - lock, and the domain if it still lives; NULL, unlocked, if not */
static struct fxi_dom *enter(struct fx_domain *d)
{
	struct fxi_dom *dom;

	fxi_lock(d->w);
	dom = &d->w->shm->dom[d->slot];
	if (dom->state == FXI_DOM_ALIVE && dom->domid == d->domid)
		return dom;
	fxi_unlock(d->w);
	return NULL;
}

/* ---- memory --------------------------------------------------------------- */

long fx_pages_alloc(struct fx_domain *d, unsigned int count)
{
	struct fxi_dom *dom = enter(d);
	unsigned int i, start, run = 0, tries;
	long pfn = -ENOMEM;

	if (!dom)
		return -ESRCH;
	if (!count || count > dom->pages)
		goto out;
	start = dom->page_hint;
	/* Two passes: from the hint on, then from the start. */
	for (tries = 0; tries < 2 && pfn < 0; tries++) {
		for (i = tries ? 0 : start, run = 0; i < dom->pages; i++) {
			run = dom->page_used[i] ? 0 : run + 1;
			if (run == count) {
				pfn = (long)(i - count + 1);
				break;
			}
		}
	}
	if (pfn >= 0) {
		memset(&dom->page_used[pfn], 1, count);
		dom->page_hint = (uint32_t)pfn + count;
	}
out:
	fxi_unlock(d->w);
	if (pfn >= 0)
		memset(fx_page(d, (unsigned long)pfn), 0, (size_t)count * FX_PAGE_SIZE);
	return pfn;
}

void fx_pages_free(struct fx_domain *d, unsigned long pfn, unsigned int count)
{
	struct fxi_dom *dom = enter(d);

	if (!dom)
		return;
	memset(&dom->page_used[pfn], 0, count);
	if (pfn < dom->page_hint)
		dom->page_hint = (uint32_t)pfn;
	fxi_unlock(d->w);
}

void *fx_page(struct fx_domain *d, unsigned long pfn)
{
	return d->mem + pfn * FX_PAGE_SIZE;
}

/* ---- grants --------------------------------------------------------------- */

long fx_grant(struct fx_domain *d, unsigned int backend, unsigned long pfn, unsigned int count,
	      unsigned int flags)
{
	uint16_t gtf = GTF_permit_access | (flags & FX_GRANT_RO ? GTF_readonly : 0);
	struct fxi_dom *dom = enter(d);
	unsigned int i, run, tries;
	long ref = -ENOSPC;

	if (!dom)
		return -ESRCH;
	for (tries = 0; count && tries < 2 && ref < 0; tries++) {
		i = tries || dom->gref_hint < FXI_FIRST_GREF ? FXI_FIRST_GREF : dom->gref_hint;
		for (run = 0; i < FX_MAX_GRANTS; i++) {
			run = dom->grant[i].used ? 0 : run + 1;
			if (run == count) {
				ref = (long)(i - count + 1);
				break;
			}
		}
	}
	for (i = 0; ref >= 0 && i < count; i++) {
		struct fxi_grant *g = &dom->grant[(unsigned int)ref + i];

		g->used = 1;
		g->domid = (uint16_t)backend;
		g->pfn = (uint32_t)pfn + i;
		g->flags = gtf;
	}
	if (ref >= 0)
		dom->gref_hint = (uint32_t)ref + count;
	fxi_unlock(d->w);
	return ref;
}

int fx_grant_end(struct fx_domain *d, uint32_t ref, unsigned int count)
{
	struct fxi_dom *dom = enter(d);
	unsigned int i, busy = 0;

	if (!dom)
		return 0;
	for (i = 0; i < count; i++)
		busy += dom->grant[ref + i].maps != 0;
	if (busy)
		fxi_reap(d->w); /* the dead map nothing */
	for (i = 0, busy = 0; i < count; i++) {
		struct fxi_grant *g = &dom->grant[ref + i];

		if (g->maps) {
			busy++;
			continue;
		}
		g->flags = 0;
		g->used = 0;
		if (ref + i < dom->gref_hint)
			dom->gref_hint = ref + i;
	}
	fxi_unlock(d->w);
	return (int)busy;
}

int fx_grant_raw(struct fx_domain *d, uint32_t ref, uint16_t flags, unsigned int domid,
		 uint32_t pfn)
{
	struct fxi_dom *dom;

	if (ref >= FX_MAX_GRANTS)
		return -EINVAL;
	dom = enter(d);
	if (!dom)
		return -ESRCH;
	dom->grant[ref].flags = flags;
	dom->grant[ref].domid = (uint16_t)domid;
	dom->grant[ref].pfn = pfn;
	fxi_unlock(d->w);
	return 0;
}

int fx_grant_mapped(struct fx_domain *d, uint32_t ref)
{
	struct fxi_dom *dom = enter(d);
	int n;

	if (!dom)
		return 0;
	if (dom->grant[ref].maps)
		fxi_reap(d->w);
	n = (int)dom->grant[ref].maps;
	fxi_unlock(d->w);
	return n;
}

unsigned int fx_grants_in_use(struct fx_world *w, unsigned int domid)
{
	unsigned int i, n = 0;
	struct fxi_dom *d;

	fxi_lock(w);
	fxi_reap(w);
	d = fxi_dom(w, domid);
	for (i = 0; d && i < FX_MAX_GRANTS; i++)
		n += d->grant[i].maps != 0;
	fxi_unlock(w);
	return n;
}

/* ---- event channels ------------------------------------------------------- */

int fx_port_alloc(struct fx_domain *d, unsigned int remote)
{
	struct fxi_dom *dom = enter(d);
	uint32_t port;

	if (!dom)
		return -ESRCH;
	port = fxi_port_alloc(dom);
	if (port) {
		dom->port[port].remote = remote;
		dom->port[port].state = FX_PORT_UNBOUND;
	}
	fxi_unlock(d->w);
	return port ? (int)port : -ENOSPC;
}

int fx_port_bind(struct fx_domain *d, unsigned int remote, uint32_t remote_port)
{
	struct fxi_dom *dom = enter(d);
	uint32_t port;
	int rc;

	if (!dom)
		return -ESRCH;
	port = fxi_port_alloc(dom);
	rc = port ? fxi_port_bind(d->w, dom, port, remote, remote_port) : -ENOSPC;
	fxi_unlock(d->w);
	return rc ? rc : (int)port;
}

int fx_port_close(struct fx_domain *d, uint32_t port)
{
	struct fxi_dom *dom = enter(d);
	int rc = -EINVAL;

	if (!dom)
		return -ESRCH;
	if (port && port < fxi_port_max(dom) && dom->port[port].state != FX_PORT_CLOSED) {
		fxi_port_close(d->w, dom, port);
		rc = 0;
	}
	fxi_unlock(d->w);
	return rc;
}

int fx_port_notify(struct fx_domain *d, uint32_t port)
{
	struct fxi_dom *dom = enter(d);
	int rc;

	if (!dom)
		return -ESRCH;
	rc = fxi_port_send(d->w, dom, port);
	fxi_count(dom, FX_OP_NOTIFY, 1, 1, rc != 0);
	fxi_unlock(d->w);
	return rc;
}

/* take_pending() - index of a pending port, cleared; -EAGAIN; -EINVAL: one is closed */
static int take_pending(struct fxi_dom *dom, const uint32_t *ports, unsigned int count)
{
	unsigned int i;
	int rc = -EAGAIN;

	for (i = 0; i < count; i++) {
		struct fxi_port *p;

		if (!ports[i] || ports[i] >= fxi_port_max(dom) ||
		    dom->port[ports[i]].state == FX_PORT_CLOSED) {
			rc = -EINVAL;
			continue;
		}
		p = &dom->port[ports[i]];
		if (p->pending) {
			p->pending = 0;
			return (int)i;
		}
	}
	return rc;
}

int fx_port_wait_any(struct fx_domain *d, const uint32_t *ports, unsigned int count, int timeout_ms)
{
	struct timespec now, end, left;
	struct fxi_dom *dom;
	uint32_t seq;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &end);
	if (timeout_ms > 0) {
		end.tv_sec += timeout_ms / 1000;
		end.tv_nsec += timeout_ms % 1000 * 1000000l;
	}
	for (;;) {
		dom = enter(d);
		if (!dom)
			return -ESRCH;
		seq = __atomic_load_n(&dom->event_seq, __ATOMIC_SEQ_CST);
		rc = take_pending(dom, ports, count);
		fxi_unlock(d->w);
		if (rc != -EAGAIN)
			return rc;
		clock_gettime(CLOCK_MONOTONIC, &now);
		left.tv_sec = end.tv_sec - now.tv_sec;
		left.tv_nsec = end.tv_nsec - now.tv_nsec;
		while (left.tv_nsec < 0) {
			left.tv_sec--;
			left.tv_nsec += 1000000000l;
		}
		while (left.tv_nsec >= 1000000000l) {
			left.tv_sec++;
			left.tv_nsec -= 1000000000l;
		}
		if (timeout_ms >= 0 && left.tv_sec < 0)
			return -ETIMEDOUT;
		if (!timeout_ms)
			return -ETIMEDOUT;
		syscall(SYS_futex, &dom->event_seq, FUTEX_WAIT, seq, timeout_ms < 0 ? NULL : &left,
			NULL, 0);
	}
}

int fx_port_wait(struct fx_domain *d, uint32_t port, int timeout_ms)
{
	int rc = fx_port_wait_any(d, &port, 1, timeout_ms);

	return rc < 0 ? rc : 0;
}
