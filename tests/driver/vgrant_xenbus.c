/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_xenbus.c - the frontend's xenbus life (PROTOCOL.md, 3), granted memory
 */
#include "tests/driver/vgrant_driver.h"

#include <errno.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE(n)     (1u << (n))
#define STATE_ABSENT (1u << 31)

enum { INITIALISING = 1, INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED };

/* ---- granted memory ------------------------------------------------------- */

/* struct drv_grant - the pages of one buffer */
struct drv_grant {
	struct drv_pages pages;
	struct drv_grant *next, **prev;
};

static int grant_alloc(struct drv_mem *mem, size_t len, size_t align, bool dev_writes,
		       struct drv_buf *buf)
{
	struct drv_mem_grant *g = (struct drv_mem_grant *)mem;
	struct drv_grant *n;
	int rc;

	(void)align; /* pages suit all */
	if (!len)
		return -EINVAL;
	n = malloc(sizeof(*n));
	if (!n)
		return -ENOMEM;
	rc = drv_xen_grant(g->xen, g->backend, (unsigned int)((len + DRV_PAGE - 1) / DRV_PAGE),
			   dev_writes, &n->pages);
	if (rc) {
		free(n);
		return rc;
	}
	n->next = g->live;
	n->prev = &g->live;
	if (n->next)
		n->next->prev = &n->next;
	g->live = n;
	*buf = (struct drv_buf){ .virt = n->pages.virt,
				 .addr = VIRTIO_GRANT_ADDR(n->pages.ref, 0),
				 .len = len,
				 .priv = (uintptr_t)n };
	return 0;
}

static void forget(struct drv_grant *n)
{
	*n->prev = n->next;
	if (n->next)
		n->next->prev = n->prev;
	free(n);
}

static int grant_free(struct drv_mem *mem, struct drv_buf *buf)
{
	struct drv_mem_grant *g = (struct drv_mem_grant *)mem;
	struct drv_grant *n = (struct drv_grant *)(uintptr_t)buf->priv;
	int rc = drv_xen_ungrant(g->xen, &n->pages);

	forget(n);
	return rc;
}

struct drv_pages *drv_mem_grant_pages(const struct drv_buf *buf)
{
	return &((struct drv_grant *)(uintptr_t)buf->priv)->pages;
}

static const struct drv_mem_ops grant_ops = { .alloc = grant_alloc, .free = grant_free };

void drv_mem_grant_init(struct drv_mem_grant *g, struct drv_xen *xen, unsigned int backend)
{
	*g = (struct drv_mem_grant){ .mem.ops = &grant_ops, .xen = xen, .backend = backend };
}

void drv_mem_grant_fini(struct drv_mem_grant *g)
{
	while (g->live)
		forget(g->live);
}

/* ---- xenstore ------------------------------------------------------------- */

static void key(char path[192], const char *dir, const char *name)
{
	snprintf(path, 192, "%s/%s", dir, name);
}

static int put(struct drv_dev *dev, const char *name, uint32_t value)
{
	char path[192];

	key(path, dev->front, name);
	return drv_xs_write(dev->xs, path, value);
}

int drv_dev_open(const struct drv_dev_config *cfg, struct drv_dev **out)
{
	struct drv_dev *dev = calloc(1, sizeof(*dev));
	char path[192], *back;
	unsigned int i;
	long backend;

	if (!dev)
		return -ENOMEM;
	dev->xen = cfg->xen;
	dev->xs = drv_xen_xs(cfg->xen);
	snprintf(dev->type, sizeof(dev->type), "%s",
		 cfg->type ? cfg->type : VIRTIO_GRANT_XENBUS_TYPE);
	dev->id = cfg->id;
	dev->timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : 5000;
	snprintf(dev->front, sizeof(dev->front), "/local/domain/%u/device/%s/%u",
		 drv_xen_domid(cfg->xen), dev->type, dev->id);
	key(path, dev->front, "backend");
	back = dev->xs ? drv_xs_read(dev->xs, path) : NULL;
	key(path, dev->front, "backend-id");
	backend = back ? drv_xs_read_int(dev->xs, path, -1) : -1;
	if (backend < 0) {
		free(back);
		free(dev);
		return -ENOENT;
	}
	snprintf(dev->back, sizeof(dev->back), "%s", back);
	free(back);
	dev->backend = (unsigned int)backend;
	drv_mem_grant_init(&dev->gmem, dev->xen, dev->backend);
	dev->ring_mem = &dev->gmem.mem;
	for (i = 0; i < DRV_MAX_QUEUES; i++) {
		dev->queues[i].dev = dev;
		dev->queues[i].index = i;
	}
	*out = dev;
	return 0;
}

int drv_dev_set_state(struct drv_dev *dev, unsigned int state)
{
	return put(dev, "state", state);
}

int drv_dev_backend_state(struct drv_dev *dev)
{
	char path[192];

	key(path, dev->back, "state");
	return (int)drv_xs_read_int(dev->xs, path, 0);
}

int drv_dev_wait_backend(struct drv_dev *dev, uint32_t mask)
{
	char path[192];

	key(path, dev->back, "state");
	return drv_xen_xs_wait(dev->xen, path, mask, dev->timeout_ms);
}

char *drv_dev_error(struct drv_dev *dev)
{
	char path[192];

	key(path, dev->back, VIRTIO_GRANT_KEY_ERROR);
	return drv_xs_read(dev->xs, path);
}

/* ---- connecting ----------------------------------------------------------- */

int drv_dev_offer(struct drv_dev *dev)
{
	int port, rc = drv_alloc(&dev->gmem.mem, DRV_PAGE, DRV_PAGE, true, &dev->ctrl_buf);

	if (rc)
		return rc;
	dev->ctrl = dev->ctrl_buf.virt;
	dev->ctrl->tail.magic = htole32(VIRTIO_GRANT_MAGIC);
	dev->prod = dev->cons = 0;
	port = drv_xen_port_alloc(dev->xen, dev->backend);
	if (port < 0)
		return port;
	dev->ctrl_port = (uint32_t)port;
	rc = put(dev, VIRTIO_GRANT_KEY_VERSION, VIRTIO_GRANT_VERSION);
	if (!rc)
		rc = put(dev, VIRTIO_GRANT_KEY_CONTROL_REF,
			 (uint32_t)(dev->ctrl_buf.addr >> VIRTIO_GRANT_PAGE_SHIFT));
	if (!rc)
		rc = put(dev, VIRTIO_GRANT_KEY_EVENT_CHANNEL, dev->ctrl_port);
	return rc ? rc : drv_dev_set_state(dev, INITIALISED);
}

/* read_info() - GET_DEVICE_INFO and the features */
static int read_info(struct drv_dev *dev)
{
	struct {
		struct virtio_msg_features hdr;
		uint32_t block[4];
	} f = { { 0 }, { 0 } };
	struct virtio_msg_features q = { .index = 0, .num = htole32(4) };
	int rc;

	rc = drv_msg_call(dev, 0, VIRTIO_MSG_GET_DEVICE_INFO, NULL, 0, &dev->info,
			  sizeof(dev->info));
	if (rc < 0)
		return rc;
	if (rc != sizeof(dev->info))
		return -EPROTO;
	rc = drv_msg_call(dev, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, &q, sizeof(q), &f, sizeof(f));
	if (rc < 0)
		return rc;
	if (rc != sizeof(f) || f.hdr.index != q.index || f.hdr.num != q.num)
		return -EPROTO;
	dev->offered[0] = le32toh(f.block[0]) | (uint64_t)le32toh(f.block[1]) << 32;
	dev->offered[1] = le32toh(f.block[2]) | (uint64_t)le32toh(f.block[3]) << 32;
	return 0;
}

int drv_dev_connect(struct drv_dev *dev)
{
	char path[192];
	int rc;

	rc = drv_dev_wait_backend(dev, STATE(INIT_WAIT) | STATE(CONNECTED) | STATE(CLOSING) |
					       STATE(CLOSED) | STATE_ABSENT);
	if (rc == CONNECTED) { /* a crashed kernel's: section 3.3 */
		drv_dev_set_state(dev, CLOSING);
		rc = drv_dev_wait_backend(dev, STATE(CLOSED) | STATE_ABSENT);
		if (rc == CLOSED)
			rc = drv_dev_set_state(dev, INITIALISING);
		if (!rc)
			rc = drv_dev_wait_backend(dev, STATE(INIT_WAIT));
	}
	if (rc < 0)
		return rc == -ENOENT ? -ENODEV : rc;
	if (rc != INIT_WAIT)
		return -ENODEV;
	key(path, dev->back, VIRTIO_GRANT_KEY_VERSION);
	if (drv_xs_read_int(dev->xs, path, 0) < 1)
		return -EPROTONOSUPPORT;
	rc = drv_dev_offer(dev);
	if (rc)
		return rc;
	rc = drv_dev_wait_backend(dev,
				  STATE(CONNECTED) | STATE(CLOSING) | STATE(CLOSED) | STATE_ABSENT);
	if (rc != CONNECTED)
		return rc < 0 && rc != -ENOENT ? rc : -ENODEV;
	rc = read_info(dev);
	return rc ? rc : drv_dev_set_state(dev, CONNECTED);
}

/* ---- going ---------------------------------------------------------------- */

/* free_ctrl() - end access to the control page and its channel */
static int free_ctrl(struct drv_dev *dev)
{
	int rc = drv_free(&dev->gmem.mem, &dev->ctrl_buf);

	if (dev->ctrl_port)
		drv_xen_port_close(dev->xen, dev->ctrl_port);
	dev->ctrl_port = 0;
	dev->ctrl = NULL;
	return rc;
}

/* free_ports() - the queues' channels */
static void free_ports(struct drv_dev *dev)
{
	unsigned int i;

	for (i = 0; i < DRV_MAX_QUEUES; i++) {
		if (dev->queues[i].port)
			drv_xen_port_close(dev->xen, dev->queues[i].port);
		dev->queues[i].port = 0;
	}
}

/* free_memory() - rings and pools; -EBUSY if any is still mapped */
static int free_memory(struct drv_dev *dev)
{
	struct drv_queue *q;
	int rc = 0, err;

	for (q = dev->queues; q < dev->queues + DRV_MAX_QUEUES; q++) {
		if (q->live) {
			err = drv_vring_fini(&q->vr);
			rc = rc ? rc : err;
		}
		q->live = q->set = false;
	}
	while (dev->pools) {
		dev->pools--;
		drv_mem_flat_fini(&dev->pool[dev->pools]);
		err = drv_free(&dev->gmem.mem, &dev->pool_buf[dev->pools]);
		rc = rc ? rc : err;
	}
	dev->ring_mem = &dev->gmem.mem;
	return rc;
}

int drv_dev_reset(struct drv_dev *dev)
{
	struct drv_queue *q;
	int rc, bound = 0;

	rc = drv_dev_set_status(dev, 0);
	if (rc < 0)
		return rc;
	if (rc)
		return -EPROTO;
	/* The answer promises that every queue's grants and channels are free. */
	for (q = dev->queues; q < dev->queues + DRV_MAX_QUEUES; q++)
		if (q->port && !drv_xen_port_unbound(dev->xen, q->port))
			bound++;
	dev->still_bound += (unsigned int)bound;
	dev->features[0] = dev->features[1] = 0;
	rc = free_memory(dev);
	return bound ? -EBUSY : rc;
}

int drv_dev_close(struct drv_dev *dev)
{
	int rc = 0, err, state = drv_dev_backend_state(dev);

	if (dev->ctrl && state == CONNECTED)
		rc = drv_dev_reset(dev);
	err = drv_dev_set_state(dev, CLOSING);
	rc = rc ? rc : err;
	err = drv_dev_wait_backend(dev, STATE(CLOSED) | STATE_ABSENT);
	if (err != CLOSED && err != -ENOENT)
		return rc ? rc : err;
	err = free_memory(dev);
	rc = rc ? rc : err;
	free_ports(dev);
	err = free_ctrl(dev);
	rc = rc ? rc : err;
	err = drv_dev_set_state(dev, CLOSED);
	return rc ? rc : err;
}

int drv_dev_reconnect(struct drv_dev *dev)
{
	int rc = 0;

	if (dev->ctrl)
		rc = drv_dev_close(dev);
	if (!rc)
		rc = drv_dev_set_state(dev, INITIALISING);
	if (!rc)
		rc = drv_dev_wait_backend(dev, STATE(INIT_WAIT));
	return rc < 0 ? rc : drv_dev_connect(dev);
}

void drv_dev_drop(struct drv_dev *dev)
{
	free_memory(dev);
	free_ports(dev);
	free_ctrl(dev);
}

void drv_dev_free(struct drv_dev *dev)
{
	if (!dev)
		return;
	drv_dev_drop(dev);
	drv_mem_grant_fini(&dev->gmem);
	free(dev);
}
