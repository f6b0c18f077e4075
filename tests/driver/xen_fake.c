/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xen_fake.c - xen.h over a domain of tests/fakes/xen
 *
 * A struct drv_xen is the struct fx_domain itself, so that a test may use
 * both interfaces on one domain.
 */
#include "tests/driver/xen.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/fakes/xen/fake_xen.h"

static struct fx_domain *domain(struct drv_xen *x)
{
	return (struct fx_domain *)x;
}

struct drv_xen *drv_xen_of(struct fx_domain *dom)
{
	return (struct drv_xen *)dom;
}

struct drv_xen *drv_xen_open(void)
{
	const char *id = getenv("FAKE_XEN_DOMID");
	struct fx_world *w;
	struct fx_domain *dom;
	int rc = fx_world_attach(NULL, &w);

	if (!rc) {
		rc = fx_domain_open(w, id ? (unsigned int)strtoul(id, NULL, 10) : 0, &dom);
		if (rc)
			fx_world_detach(w);
	}
	errno = -rc;
	return rc ? NULL : drv_xen_of(dom);
}

void drv_xen_close(struct drv_xen *x)
{
	struct fx_world *w = fx_domain_world(domain(x));

	fx_domain_close(domain(x));
	fx_world_detach(w);
}

unsigned int drv_xen_domid(struct drv_xen *x)
{
	return fx_domain_id(domain(x));
}

/* ---- pages ------------------------------------------------------------------ */

int drv_xen_grant(struct drv_xen *x, unsigned int backend, unsigned int count, bool writable,
		  struct drv_pages *out)
{
	long pfn = fx_pages_alloc(domain(x), count), ref;

	if (pfn < 0)
		return (int)pfn;
	ref = fx_grant(domain(x), backend, (unsigned long)pfn, count, writable ? 0 : FX_GRANT_RO);
	if (ref < 0) {
		fx_pages_free(domain(x), (unsigned long)pfn, count);
		return (int)ref;
	}
	*out = (struct drv_pages){ .virt = fx_page(domain(x), (unsigned long)pfn),
				   .ref = (uint32_t)ref,
				   .count = count,
				   .priv = (uint64_t)pfn };
	return 0;
}

int drv_xen_ungrant(struct drv_xen *x, struct drv_pages *pages)
{
	if (fx_grant_end(domain(x), pages->ref, pages->count))
		return -EBUSY;
	fx_pages_free(domain(x), pages->priv, pages->count);
	return 0;
}

void drv_xen_revoke(struct drv_xen *x, struct drv_pages *pages, unsigned int i)
{
	if (!fx_grant_mapped(domain(x), pages->ref + i))
		fx_grant_raw(domain(x), pages->ref + i, 0, 0, 0);
}

/* ---- event channels --------------------------------------------------------- */

int drv_xen_port_alloc(struct drv_xen *x, unsigned int backend)
{
	return fx_port_alloc(domain(x), backend);
}

void drv_xen_port_close(struct drv_xen *x, uint32_t port)
{
	fx_port_close(domain(x), port);
}

void drv_xen_port_notify(struct drv_xen *x, uint32_t port)
{
	fx_port_notify(domain(x), port);
}

int drv_xen_port_wait(struct drv_xen *x, uint32_t port, int timeout_ms)
{
	return fx_port_wait(domain(x), port, timeout_ms);
}

bool drv_xen_port_unbound(struct drv_xen *x, uint32_t port)
{
	return fx_port_state(fx_domain_world(domain(x)), drv_xen_domid(x), port) == FX_PORT_UNBOUND;
}

/* ---- xenstore --------------------------------------------------------------- */

struct xs_handle *drv_xen_xs(struct drv_xen *x)
{
	return fx_domain_xs(domain(x));
}

int drv_xen_xs_wait(struct drv_xen *x, const char *path, uint32_t mask, int timeout_ms)
{
	return fx_xs_wait(fx_domain_world(domain(x)), drv_xen_domid(x), path, mask, timeout_ms);
}
