// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_queue.c - notifications of virtqueues (PROTOCOL.md section 5.3)
 *
 * Each virtqueue has an event channel of its own. The driver's notification is
 * one hypercall; the device's arrives as an interrupt, whose end is reported
 * late, after the queue was looked at, so that Xen's code can slow down a
 * backend that sends nothing but notifications.
 */
#include <linux/interrupt.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>
#include <xen/events.h>

#include "virtio_grant_bus.h"

/**
 * struct vg_queue - notifications of one virtqueue; vq->priv
 * @vg: the device
 * @vq: the virtqueue
 * @port: event channel, used both ways
 * @irq: bound to it
 * @spurious: notifications that brought no used buffer
 * @name: of the interrupt
 */
struct vg_queue {
	struct vg_device *vg;
	struct virtqueue *vq;
	evtchn_port_t port;
	int irq;
	struct vg_spurious spurious;
	char name[32];
};

static irqreturn_t vg_queue_interrupt(int irq, void *arg)
{
	struct vg_queue *q = arg;
	unsigned int eoi = 0;
	bool idle;

	this_cpu_inc(q->vg->counts->interrupts);
	idle = vring_interrupt(irq, q->vq) != IRQ_HANDLED;
	if (vg_spurious_add(&q->spurious, idle))
		eoi = XEN_EOI_FLAG_SPURIOUS;
	xen_irq_lateeoi(irq, eoi);
	return IRQ_HANDLED;
}

static bool vg_notify(struct virtqueue *vq)
{
	struct vg_queue *q = vq->priv;

	this_cpu_inc(q->vg->counts->kicks);
	notify_remote_via_evtchn(q->port);
	return true;
}

static int vg_queue_irq(struct virtqueue *vq)
{
	struct vg_queue *q = vq->priv;

	return q->irq;
}

static void vg_queue_close(struct virtio_msg_device *vmdev,
			   struct virtqueue *vq)
{
	struct vg_queue *q = vq->priv;

	/* Closes the event channel too. */
	unbind_from_irqhandler(q->irq, q);
	vq->priv = NULL;
	kfree(q);
}

static int vg_queue_make(struct vg_device *vg, struct virtqueue *vq)
{
	struct vg_queue *q;
	int ret;

	q = kzalloc(sizeof(*q), GFP_KERNEL);
	if (!q)
		return -ENOMEM;
	q->vg = vg;
	q->vq = vq;
	snprintf(q->name, sizeof(q->name), "%s-%s", dev_name(&vq->vdev->dev),
		 vq->name);

	ret = xenbus_alloc_evtchn(vg->xdev, &q->port);
	if (ret)
		goto free;
	vq->priv = q;
	ret = vg_bind(vg, q->port, vg_queue_interrupt, q->name, q);
	if (ret < 0)
		goto free;
	q->irq = ret;
	return 0;

free:
	vq->priv = NULL;
	kfree(q);
	return ret;
}

static int vg_queue_open(struct virtio_msg_device *vmdev, struct virtqueue *vq)
{
	struct vg_device *vg = vmdev->bus_priv;
	struct virtio_grant_vq_channel ch = {};
	struct vg_queue *q;
	u32 error;
	int ret;

	if (!vq->priv) {
		ret = vg_queue_make(vg, vq);
		if (ret)
			return ret;
	}
	q = vq->priv;

	ch.index = (__force unsigned int)cpu_to_le32(vq->index);
	ch.port = (__force unsigned int)cpu_to_le32(q->port);
	BUILD_BUG_ON(sizeof(ch) != sizeof(struct virtio_grant_vq_channel_resp));
	ret = vg_bus_call(vg, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, &ch, sizeof(ch));
	if (ret)
		return ret;
	error = le32_to_cpu((__force __le32)ch.port);
	if (error) {
		dev_err(&vq->vdev->dev, "%s: backend cannot bind port %u: %u\n",
			vq->name, q->port, error);
		return -EIO;
	}
	return 0;
}

static int vg_transfer(struct virtio_msg_device *vmdev,
		       struct virtio_msg_buf *msg)
{
	return vg_call(vmdev->bus_priv, msg);
}

static const char *vg_bus_name(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	return dev_name(&vg->xdev->dev);
}

/* A reset has made the backend forget the pool. */
static int vg_prepare(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	if (!READ_ONCE(vmdev->gone))
		vg_size_announce(vg);
	return vg_dma_attach(&vg->dma);
}

/* Do mappings remain that a suspend would make worthless? */
static bool vg_lasting(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	return atomic_read(&vg->dma.lasting);
}

static void vg_leave(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	vg_dma_leave(&vg->dma);
}

static void vg_left(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	vg_dma_left(&vg->dma);
}

const struct virtio_msg_bus_ops vg_bus_ops = {
	.prepare = vg_prepare,
	.transfer = vg_transfer,
	.queue_open = vg_queue_open,
	.queue_close = vg_queue_close,
	.queue_irq = vg_queue_irq,
	.notify = vg_notify,
	.lasting = vg_lasting,
	.leave = vg_leave,
	.left = vg_left,
	.bus_name = vg_bus_name,
};
