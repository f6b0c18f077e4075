// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_bus.c - virtio devices from another Xen domain, over grants
 *
 * virtio-grant is a virtio-msg bus: xenbus finds devices, a shared page with
 * its own event channel carries messages, each virtqueue has an event channel,
 * grants name memory. xenstore/PROTOCOL.md is the specification; "section"
 * below is one of its sections. This file is all of it but the grants of rings
 * and buffers (virtio_grant_dma.c) and the meaning of messages (virtio_msg.c).
 *
 * Whose device it is. The xenbus device types say "virtio", not "over grants".
 * We bind all devices of the types, and watch; only the backend's key
 * virtio-grant-version makes us touch one. A device without it keeps its state
 * and keys, whatever happens to this module.
 *
 * Devices. xenbus device -> our own device (struct vg_device's @dev) -> virtio
 * device. The one in the middle has the DMA operations, and the suspend and
 * resume callbacks that xenbus drivers lack: their bus has none to call when a
 * suspend was cancelled.
 *
 * Contexts. xenbus tells of the backend's states in its one thread, which must
 * not wait for a device: it would wait for the very news that end the wait.
 * So vg_backend_changed() only notes what cannot wait and queues work:
 *
 *	@work	the device's life: connect, register, unregister, disconnect.
 *		May block for as long as a driver's probe does.
 *	@gone	the backend closes, or must not be used any more: break the
 *		device and fail its requests, which is what unblocks @work.
 *	@event	a message from the device that is no response.
 *
 * @life is held by @work and by everybody who does the same things; @vmdev_lock
 * only while @vmdev is used or changed. Neither is taken in interrupts.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pm.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/virtio_ids.h>
#include <xen/events.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "virtio_grant.h"
#include "virtio_grant_compat.h"
#include "virtio_grant_dma.h"
#include "virtio_msg.h"

static unsigned int timeout = 60;
module_param(timeout, uint, 0644);
MODULE_PARM_DESC(timeout, "Seconds to wait for a backend, which may be restarting (default 60, at least 30)");

#define VG_TIMEOUT_MIN		30	/* seconds; section 4 */
#define VG_TIMEOUT_SHUTDOWN	5	/* seconds, when the guest goes down */
#define VG_CLOSE_TIMEOUT	10	/* seconds from Closing to Closed */

/* Interrupts in a row without work before Xen is asked to slow them down. A
 * driver that polls leaves a few behind even with the best of backends.
 */
#define VG_SPURIOUS_MAX		64

/* Messages taken in one interrupt: a backend that sends faster than we take
 * them waits for its next notification.
 */
#define VG_MESSAGES_MAX		(4 * VIRTIO_GRANT_SLOTS)

/**
 * enum vg_phase - where a device is in its life
 * @VG_IDLE: nothing is shared with the backend
 * @VG_OFFERED: the control page is granted, our state is Initialised
 * @VG_LIVE: the virtio device is registered, our state is Connected
 * @VG_CLOSING: our state is Closing, the backend is to let go
 */
enum vg_phase {
	VG_IDLE,
	VG_OFFERED,
	VG_LIVE,
	VG_CLOSING,
};

/**
 * struct vg_device - one device
 * @dev: between the xenbus device and the virtio device
 * @xdev: the xenbus device
 * @dma: DMA operations of @dev
 * @dma_mask: for @dev
 * @work: see the top of this file
 * @gone: likewise
 * @event: likewise
 * @life: serialises what changes @phase
 * @phase: where we are
 * @reconnect: from Closed, start anew without waiting to be asked
 * @pm_frozen: a suspend is under way
 * @removing: vg_remove() is at work
 * @dead: requests fail at once
 * @closing_since: jiffies when Closing was seen or entered
 * @vmdev_lock: of @vmdev
 * @vmdev: the virtio device, or NULL
 *
 * The control page:
 * @ctrl: shared with the backend
 * @ctrl_ref: its grant
 * @ctrl_port: event channel
 * @ctrl_irq: bound to it; 0: none
 * @driver_prod: index of ours; the page has a copy
 * @driver_cons: index of ours; the page has a copy
 * @spurious: notifications in a row without a message
 * @ring_lock: of what follows, and of consuming
 * @call_token: of the request that waits; 0: none
 * @call_buf: the request that waits, and where its response goes
 * @call_done: the response is there
 * @event_pending: there are a status and a generation to report
 * @event_status: from the last EVENT_CONFIG
 * @event_generation: likewise
 *
 * @call_lock: one request at a time
 * @next_token: for the next request
 * @wait: for responses and room
 */
struct vg_device {
	struct device dev;
	struct xenbus_device *xdev;
	struct vg_dma dma;
	u64 dma_mask;

	struct delayed_work work;
	struct delayed_work gone;
	struct work_struct event;

	struct mutex life;
	enum vg_phase phase;
	bool reconnect;
	bool pm_frozen;
	bool removing;
	bool dead;
	unsigned long closing_since;

	struct mutex vmdev_lock;
	struct virtio_msg_device *vmdev;

	struct virtio_grant_control *ctrl;
	grant_ref_t ctrl_ref;
	evtchn_port_t ctrl_port;
	int ctrl_irq;
	u32 driver_prod;
	u32 driver_cons;
	unsigned int spurious;

	spinlock_t ring_lock;
	u16 call_token;
	struct virtio_msg_buf *call_buf;
	bool call_done;
	bool event_pending;
	u32 event_status;
	u32 event_generation;

	struct mutex call_lock;
	u16 next_token;
	wait_queue_head_t wait;
};

/**
 * struct vg_queue - notifications of one virtqueue; vq->priv
 * @vq: the virtqueue
 * @port: event channel, used both ways
 * @irq: bound to it
 * @spurious: notifications in a row without a used buffer
 * @name: of the interrupt
 */
struct vg_queue {
	struct virtqueue *vq;
	evtchn_port_t port;
	int irq;
	unsigned int spurious;
	char name[32];
};

static struct workqueue_struct *vg_workqueue;

static struct vg_device *to_vg(struct device *dev)
{
	return container_of(dev, struct vg_device, dev);
}

struct vg_dma *vg_dma_of(struct device *dev)
{
	return &to_vg(dev)->dma;
}

/* Values in shared memory are little-endian, and change under our eyes. */
static u32 vg_load(const unsigned int *p)
{
	return le32_to_cpu((__force __le32)virt_load_acquire(p));
}

static void vg_store(unsigned int *p, u32 value)
{
	virt_store_release(p, (__force unsigned int)cpu_to_le32(value));
}

static u16 get16(const unsigned short *p)
{
	return le16_to_cpup((const __force __le16 *)p);
}

static void put16(unsigned short *p, u16 v)
{
	*(__force __le16 *)p = cpu_to_le16(v);
}

/* ---- what the backend says in xenstore ----------------------------------- */

/* xenbus's own function for this has had two signatures. */
static enum xenbus_state vg_backend_state(struct vg_device *vg)
{
	if (!vg->xdev->otherend)
		return XenbusStateUnknown;
	return xenbus_read_unsigned(vg->xdev->otherend, "state",
				    XenbusStateUnknown);
}

/* A backend in one of these states has nothing of ours mapped or bound. */
static bool vg_has_let_go(enum xenbus_state state)
{
	return state == XenbusStateUnknown || state == XenbusStateClosed ||
	       state == XenbusStateInitialising ||
	       state == XenbusStateInitWait;
}

/* Is this the end of a connection that was offered, or is in use? */
static bool vg_is_leaving(struct vg_device *vg, enum xenbus_state state)
{
	if (READ_ONCE(vg->phase) == VG_OFFERED &&
	    (state == XenbusStateInitialising || state == XenbusStateInitWait))
		return false;
	return state == XenbusStateClosing || vg_has_let_go(state);
}

/**
 * vg_backend_version() - does the backend speak virtio-grant?
 * @vg: the device
 *
 * Return: the version to use, or 0: it is not for us.
 */
static unsigned int vg_backend_version(struct vg_device *vg)
{
	unsigned int version = 0;
	char *value;

	if (!vg->xdev->otherend)
		return 0;
	value = xenbus_read(XBT_NIL, vg->xdev->otherend,
			    VIRTIO_GRANT_KEY_VERSION, NULL);
	if (XENBUS_IS_ERR_READ(value))
		return 0;
	if (kstrtouint(value, 10, &version) || !version)
		dev_warn(&vg->xdev->dev,
			 "backend's " VIRTIO_GRANT_KEY_VERSION " is no version\n");
	kfree(value);
	return min(version, VIRTIO_GRANT_VERSION + 0u);
}

/* Logs the sentence with which the backend gave up, if there is one. */
static void vg_report_error(struct vg_device *vg)
{
	char *text;

	if (!vg->xdev->otherend)
		return;
	text = xenbus_read(XBT_NIL, vg->xdev->otherend, VIRTIO_GRANT_KEY_ERROR,
			   NULL);
	if (XENBUS_IS_ERR_READ(text))
		return;
	dev_err(&vg->xdev->dev, "backend: %.256s\n", text);
	kfree(text);
}

/* ---- control page (section 4) -------------------------------------------- */

/* The backend must not be used any more; in any context. */
static void vg_give_up(struct vg_device *vg)
{
	WRITE_ONCE(vg->dead, true);
	wake_up(&vg->wait);
	mod_delayed_work(vg_workqueue, &vg->gone, 0);
}

static void vg_dma_fault(struct vg_dma *dma)
{
	vg_give_up(container_of(dma, struct vg_device, dma));
}

/**
 * vg_receive() - act on one message
 * @vg: the device; @ring_lock is held
 * @msg: the message, in memory of our own
 *
 * What is malformed, or not for us, is discarded (section 5.1).
 */
static void vg_receive(struct vg_device *vg, const struct virtio_msg_buf *msg)
{
	const struct virtio_msg_header *h = &msg->header;
	const struct virtio_msg_event_config *event = (void *)msg->payload;
	unsigned int size = get16(&h->msg_size);

	if (size < sizeof(*h) || size > VIRTIO_GRANT_SLOT_SIZE || h->dev_num)
		goto discard;

	if (h->type & VIRTIO_MSG_TYPE_RESPONSE) {
		struct virtio_msg_buf *call = vg->call_buf;

		/* A restarted backend may answer twice. */
		if (!vg->call_token || vg->call_done ||
		    get16(&h->token) != vg->call_token ||
		    h->type != (call->header.type | VIRTIO_MSG_TYPE_RESPONSE) ||
		    h->msg_id != call->header.msg_id)
			goto discard;
		memcpy(call, msg, size);
		vg->call_done = true;
		wake_up(&vg->wait);
		return;
	}

	if (h->type == VIRTIO_MSG_TYPE_REQUEST &&
	    h->msg_id == VIRTIO_MSG_EVENT_CONFIG &&
	    size >= sizeof(*h) + sizeof(*event)) {
		vg->event_status = le32_to_cpu((__force __le32)event->status);
		vg->event_generation =
			le32_to_cpu((__force __le32)event->generation);
		vg->event_pending = true;
		queue_work(vg_workqueue, &vg->event);
		return;
	}
discard:
	dev_dbg(&vg->dev, "message 0x%02x of type 0x%02x discarded\n",
		h->msg_id, h->type);
}

/**
 * vg_consume() - take messages from the to-driver ring
 * @vg: the device
 *
 * Return: whether there were any, or there is room that was not there.
 */
static bool vg_consume(struct vg_device *vg)
{
	struct virtio_grant_control *ctrl;
	struct virtio_msg_buf msg;
	unsigned int taken = 0;
	unsigned long flags;
	u32 ready;

	spin_lock_irqsave(&vg->ring_lock, flags);
	ctrl = vg->ctrl;
	while (ctrl && !READ_ONCE(vg->dead) && taken < VG_MESSAGES_MAX) {
		ready = vg_load(&ctrl->device_prod.value) - vg->driver_cons;
		if (!ready)
			break;
		if (ready > VIRTIO_GRANT_SLOTS) {
			dev_err(&vg->dev, "backend broke the control page\n");
			vg_give_up(vg);
			break;
		}
		memcpy(&msg,
		       ctrl->to_driver[vg->driver_cons % VIRTIO_GRANT_SLOTS],
		       sizeof(msg));
		vg_receive(vg, &msg);
		vg->driver_cons++;
		vg_store(&ctrl->tail.driver_cons, vg->driver_cons);
		taken++;
	}
	if (taken)
		notify_remote_via_evtchn(vg->ctrl_port);
	spin_unlock_irqrestore(&vg->ring_lock, flags);
	return taken;
}

static irqreturn_t vg_ctrl_interrupt(int irq, void *arg)
{
	struct vg_device *vg = arg;
	unsigned int eoi = 0;

	if (vg_consume(vg))
		vg->spurious = 0;
	else if (++vg->spurious > VG_SPURIOUS_MAX)
		eoi = XEN_EOI_FLAG_SPURIOUS;
	/* Perhaps a request was consumed: its sender may wait for room. */
	wake_up(&vg->wait);
	xen_irq_lateeoi(irq, eoi);
	return IRQ_HANDLED;
}

/**
 * vg_has_room() - can a request be written?
 * @vg: the device; @call_lock is held
 *
 * A backend that says more was consumed than was produced is given up.
 *
 * Return: whether a slot of the to-device ring is free.
 */
static bool vg_has_room(struct vg_device *vg)
{
	u32 used = vg->driver_prod - vg_load(&vg->ctrl->device_cons.value);

	if (used > VIRTIO_GRANT_SLOTS) {
		dev_err(&vg->dev, "backend broke the control page\n");
		vg_give_up(vg);
	}
	return used < VIRTIO_GRANT_SLOTS;
}

/**
 * vg_wait() - wait until something holds, the backend leaves, or time is up
 * @vg: the device
 * @cond: the something
 * @deadline: jiffies
 *
 * The backend's state is looked at once a second, since xenbus does not report
 * it during suspend and removal; so are the rings.
 *
 * Return: 0, -EIO or -ETIMEDOUT.
 */
static int vg_wait(struct vg_device *vg, bool (*cond)(struct vg_device *vg),
		   unsigned long deadline)
{
	enum xenbus_state state;

	while (!cond(vg)) {
		if (READ_ONCE(vg->dead))
			return -EIO;
		if (time_after(jiffies, deadline)) {
			dev_err(&vg->dev, "backend does not answer\n");
			vg_give_up(vg);
			return -ETIMEDOUT;
		}
		if (wait_event_timeout(vg->wait,
				       cond(vg) || READ_ONCE(vg->dead), HZ))
			continue;
		state = vg_backend_state(vg);
		if (vg_is_leaving(vg, state)) {
			dev_dbg(&vg->dev, "backend is %s\n",
				xenbus_strstate(state));
			vg_give_up(vg);
			return -EIO;
		}
		vg_consume(vg);
	}
	return 0;
}

static bool vg_call_done(struct vg_device *vg)
{
	return READ_ONCE(vg->call_done);
}

static unsigned long vg_deadline(void)
{
	unsigned int seconds = max_t(unsigned int, timeout, VG_TIMEOUT_MIN);

	if (system_state > SYSTEM_RUNNING)
		seconds = VG_TIMEOUT_SHUTDOWN;
	return jiffies + seconds * HZ;
}

/**
 * vg_call() - send a request, wait for its response
 * @vg: the device
 * @msg: the request, but for its token; then the response
 *
 * Return: 0, -EIO when the backend is gone, -ETIMEDOUT when it was given up.
 */
static int vg_call(struct vg_device *vg, struct virtio_msg_buf *msg)
{
	unsigned int size = get16(&msg->header.msg_size);
	unsigned long deadline = vg_deadline();
	int ret = -EIO;

	mutex_lock(&vg->call_lock);
	if (!vg->ctrl || READ_ONCE(vg->dead))
		goto out;
	ret = vg_wait(vg, vg_has_room, deadline);
	if (ret)
		goto out;

	if (!++vg->next_token)
		vg->next_token++;
	put16(&msg->header.token, vg->next_token);

	spin_lock_irq(&vg->ring_lock);
	vg->call_token = vg->next_token;
	vg->call_buf = msg;
	vg->call_done = false;
	spin_unlock_irq(&vg->ring_lock);

	memcpy(vg->ctrl->to_device[vg->driver_prod % VIRTIO_GRANT_SLOTS], msg,
	       size);
	vg->driver_prod++;
	vg_store(&vg->ctrl->driver_prod.value, vg->driver_prod);
	notify_remote_via_evtchn(vg->ctrl_port);

	ret = vg_wait(vg, vg_call_done, deadline);

	spin_lock_irq(&vg->ring_lock);
	vg->call_token = 0;
	vg->call_buf = NULL;
	spin_unlock_irq(&vg->ring_lock);
out:
	mutex_unlock(&vg->call_lock);
	return ret;
}

/**
 * vg_bus_call() - one of the bus's own requests (section 5.2)
 * @vg: the device
 * @id: the message
 * @payload: of the request, then of the response
 * @len: bytes of both
 *
 * Return: 0 or a negative errno.
 */
static int vg_bus_call(struct vg_device *vg, u8 id, void *payload, size_t len)
{
	struct virtio_msg_buf msg = {};
	int ret;

	msg.header.type = VIRTIO_MSG_TYPE_BUS | VIRTIO_MSG_TYPE_REQUEST;
	msg.header.msg_id = id;
	put16(&msg.header.msg_size, sizeof(msg.header) + len);
	memcpy(msg.payload, payload, len);
	ret = vg_call(vg, &msg);
	if (ret)
		return ret;
	if (get16(&msg.header.msg_size) < sizeof(msg.header) + len)
		return -EPROTO;
	memcpy(payload, msg.payload, len);
	return 0;
}

/* Is there somebody? Waits for a backend that restarts. */
static int vg_ping(struct vg_device *vg)
{
	struct virtio_msg_ping ping = { .data = 0 };

	return vg_bus_call(vg, VIRTIO_MSG_BUS_PING, &ping, sizeof(ping));
}

/**
 * vg_free_control() - take the control page back
 * @vg: the device
 *
 * Safe at any time, and after a resume, which has ended the grant and the
 * event channel already.
 */
static void vg_free_control(struct vg_device *vg)
{
	struct virtio_grant_control *ctrl = vg->ctrl;

	WRITE_ONCE(vg->dead, true);
	wake_up(&vg->wait);
	if (vg->ctrl_irq)
		unbind_from_irqhandler(vg->ctrl_irq, vg);
	vg->ctrl_irq = 0;
	vg->ctrl_port = 0;

	mutex_lock(&vg->call_lock);
	spin_lock_irq(&vg->ring_lock);
	vg->ctrl = NULL;
	vg->event_pending = false;
	spin_unlock_irq(&vg->ring_lock);
	mutex_unlock(&vg->call_lock);
	/* If it is still mapped, Xen's grant code frees it later. */
	if (ctrl && vg->ctrl_ref)
		gnttab_end_foreign_access(vg->ctrl_ref, virt_to_page(ctrl));
	else if (ctrl)
		free_page((unsigned long)ctrl);
	vg->ctrl_ref = 0;
}

/**
 * vg_make_control() - grant a fresh control page and make its event channel
 * @vg: the device, without one
 *
 * Return: 0 or a negative errno.
 */
static int vg_make_control(struct vg_device *vg)
{
	struct virtio_grant_control *ctrl;
	int ret;

	BUILD_BUG_ON(sizeof(*ctrl) > XEN_PAGE_SIZE);
	ctrl = (void *)get_zeroed_page(GFP_KERNEL);
	if (!ctrl)
		return -ENOMEM;
	ctrl->tail.magic =
		(__force unsigned int)cpu_to_le32(VIRTIO_GRANT_MAGIC);

	vg->driver_prod = 0;
	vg->driver_cons = 0;
	vg->spurious = 0;
	vg->ctrl = ctrl;
	WRITE_ONCE(vg->dead, false);

	ret = gnttab_grant_foreign_access(vg->xdev->otherend_id,
					  virt_to_gfn(ctrl), 0);
	if (ret < 0)
		goto fail;
	vg->ctrl_ref = ret;

	ret = xenbus_alloc_evtchn(vg->xdev, &vg->ctrl_port);
	if (ret)
		goto fail;
	ret = bind_evtchn_to_irqhandler_lateeoi(vg->ctrl_port,
						vg_ctrl_interrupt, 0,
						dev_name(&vg->dev), vg);
	if (ret < 0) {
		xenbus_free_evtchn(vg->xdev, vg->ctrl_port);
		goto fail;
	}
	vg->ctrl_irq = ret;
	return 0;

fail:
	vg_free_control(vg);
	return ret;
}

/* ---- virtqueue notifications (section 5.3) ------------------------------- */

static irqreturn_t vg_queue_interrupt(int irq, void *arg)
{
	struct vg_queue *q = arg;
	unsigned int eoi = 0;

	if (vring_interrupt(irq, q->vq) == IRQ_HANDLED)
		q->spurious = 0;
	else if (++q->spurious > VG_SPURIOUS_MAX)
		eoi = XEN_EOI_FLAG_SPURIOUS;
	xen_irq_lateeoi(irq, eoi);
	return IRQ_HANDLED;
}

static bool vg_notify(struct virtqueue *vq)
{
	struct vg_queue *q = vq->priv;

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
	q->vq = vq;
	snprintf(q->name, sizeof(q->name), "%s-%s", dev_name(&vq->vdev->dev),
		 vq->name);

	ret = xenbus_alloc_evtchn(vg->xdev, &q->port);
	if (ret)
		goto free;
	vq->priv = q;
	ret = bind_evtchn_to_irqhandler_lateeoi(q->port, vg_queue_interrupt, 0,
						q->name, q);
	if (ret < 0) {
		xenbus_free_evtchn(vg->xdev, q->port);
		goto free;
	}
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

static int vg_prepare(struct virtio_msg_device *vmdev)
{
	struct vg_device *vg = vmdev->bus_priv;

	return vg_dma_attach(&vg->dma);
}

static const struct virtio_msg_bus_ops vg_bus_ops = {
	.prepare = vg_prepare,
	.transfer = vg_transfer,
	.queue_open = vg_queue_open,
	.queue_close = vg_queue_close,
	.queue_irq = vg_queue_irq,
	.notify = vg_notify,
	.bus_name = vg_bus_name,
};

/* ---- work that ends things ----------------------------------------------- */

/* An EVENT_CONFIG came. */
static void vg_event_work(struct work_struct *work)
{
	struct vg_device *vg = container_of(work, struct vg_device, event);
	u32 status, generation;
	bool pending;

	spin_lock_irq(&vg->ring_lock);
	pending = vg->event_pending;
	vg->event_pending = false;
	status = vg->event_status;
	generation = vg->event_generation;
	spin_unlock_irq(&vg->ring_lock);
	if (!pending)
		return;

	mutex_lock(&vg->vmdev_lock);
	if (vg->vmdev)
		virtio_msg_config_event(vg->vmdev, status, generation);
	mutex_unlock(&vg->vmdev_lock);
}

/**
 * vg_break() - the backend must not be used any more
 * @vg: the device
 * @fail: also end the requests that it had; it lets go of memory first
 */
static void vg_break(struct vg_device *vg, bool fail)
{
	WRITE_ONCE(vg->dead, true);
	wake_up(&vg->wait);
	mutex_lock(&vg->vmdev_lock);
	if (vg->vmdev) {
		virtio_msg_break(vg->vmdev);
		if (fail)
			virtio_msg_fail_requests(vg->vmdev);
	}
	mutex_unlock(&vg->vmdev_lock);
}

/**
 * vg_close_overdue() - has the backend been in Closing for too long?
 * @vg: the device
 *
 * Return: whether nothing is to be expected of it any more.
 */
static bool vg_close_overdue(struct vg_device *vg)
{
	if (!vg->closing_since)
		vg->closing_since = jiffies ?: 1;
	return time_after_eq(jiffies,
			     vg->closing_since + VG_CLOSE_TIMEOUT * HZ);
}

/*
 * The backend leaves, or was given up. One that leaves unmaps everything before
 * it is Closed, so its requests fail then, or when it hangs in Closing. While a
 * device is removed, when xenbus does not watch, this keeps looking.
 */
static void vg_gone_work(struct work_struct *work)
{
	struct vg_device *vg = container_of(to_delayed_work(work),
					    struct vg_device, gone);
	enum xenbus_state state = vg_backend_state(vg);
	bool again = READ_ONCE(vg->removing);

	if (READ_ONCE(vg->dead) || vg_is_leaving(vg, state)) {
		again = state == XenbusStateClosing && !vg_close_overdue(vg);
		vg_break(vg, !again);
	}
	if (again)
		mod_delayed_work(vg_workqueue, &vg->gone, HZ);
}

/* ---- work that moves a device along -------------------------------------- */

/* Section 3.3, step 3. */
static int vg_offer(struct vg_device *vg, unsigned int version)
{
	const char *node = vg->xdev->nodename;
	int ret;

	vg->dma.domid = vg->xdev->otherend_id;
	WRITE_ONCE(vg->dma.broken, false);
	vg->closing_since = 0;
	ret = vg_make_control(vg);
	if (ret) {
		dev_err(&vg->dev, "no control page: %d\n", ret);
		return ret;
	}

	ret = xenbus_printf(XBT_NIL, node, VIRTIO_GRANT_KEY_VERSION, "%u",
			    version);
	if (!ret)
		ret = xenbus_printf(XBT_NIL, node,
				    VIRTIO_GRANT_KEY_CONTROL_REF, "%u",
				    vg->ctrl_ref);
	if (!ret)
		ret = xenbus_printf(XBT_NIL, node,
				    VIRTIO_GRANT_KEY_EVENT_CHANNEL, "%u",
				    vg->ctrl_port);
	if (ret) {
		dev_err(&vg->dev, "cannot write to xenstore: %d\n", ret);
		vg_free_control(vg);
		return ret;
	}
	vg->phase = VG_OFFERED;
	xenbus_switch_state(vg->xdev, XenbusStateInitialised);
	return 0;
}

/* Takes the virtio device away, if there is one. */
static void vg_unregister(struct vg_device *vg)
{
	struct virtio_msg_device *vmdev = vg->vmdev;

	if (!vmdev)
		return;
	/* Until it returns, vg_break() may have to help it along. */
	virtio_msg_unregister(vmdev);
	mutex_lock(&vg->vmdev_lock);
	vg->vmdev = NULL;
	mutex_unlock(&vg->vmdev_lock);
	virtio_msg_put(vmdev);
}

static int vg_register(struct vg_device *vg)
{
	struct virtio_msg_device *vmdev;
	int ret;

	vmdev = virtio_msg_create(&vg->dev, &vg_bus_ops, vg);
	if (!vmdev)
		return -ENOMEM;
	ret = virtio_msg_identify(vmdev);
	if (ret) {
		virtio_msg_put(vmdev);
		return ret;
	}
	vg->dma.poison_status = vmdev->vdev.id.device == VIRTIO_ID_BLOCK;

	mutex_lock(&vg->vmdev_lock);
	vg->vmdev = vmdev;
	mutex_unlock(&vg->vmdev_lock);
	ret = virtio_msg_register(vmdev);
	if (ret) {
		mutex_lock(&vg->vmdev_lock);
		vg->vmdev = NULL;
		mutex_unlock(&vg->vmdev_lock);
		virtio_msg_put(vmdev);
	}
	return ret;
}

/* Starts closing from our side: the backend is to let go. */
static void vg_close(struct vg_device *vg)
{
	vg->phase = VG_CLOSING;
	vg->closing_since = 0;
	vg_close_overdue(vg);
	xenbus_switch_state(vg->xdev, XenbusStateClosing);
	mod_delayed_work(vg_workqueue, &vg->work, VG_CLOSE_TIMEOUT * HZ);
}

/* The backend has let go, or will never: free what is left. */
static void vg_closed(struct vg_device *vg)
{
	vg_unregister(vg);
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	xenbus_switch_state(vg->xdev, XenbusStateClosed);
}

/* Section 3.3, step 5; or the same after a resume, with the device that was. */
static void vg_connected(struct vg_device *vg)
{
	int ret = 0;

	if (vg->vmdev) {
		ret = virtio_msg_identify(vg->vmdev);
		if (!ret)
			ret = virtio_msg_restore(vg->vmdev);
		if (ret) {
			dev_notice(&vg->dev,
				   "device is not restored (%d), but made anew\n",
				   ret);
			vg_unregister(vg);
		}
	}
	if (!vg->vmdev)
		ret = vg_register(vg);
	if (ret) {
		dev_err(&vg->dev, "no device: %d\n", ret);
		vg_close(vg);
		return;
	}
	vg->phase = VG_LIVE;
	xenbus_switch_state(vg->xdev, XenbusStateConnected);
}

/* VG_IDLE: is there a backend for us? */
static void vg_idle(struct vg_device *vg, enum xenbus_state backend)
{
	unsigned int version = vg_backend_version(vg);

	/* Not ours, or not ready to say so. */
	if (!version)
		return;

	if (vg->xdev->state == XenbusStateClosed) {
		if (backend != XenbusStateInitWait &&
		    !(vg->reconnect && backend == XenbusStateClosed))
			return;
		vg->reconnect = false;
		xenbus_switch_state(vg->xdev, XenbusStateInitialising);
	}

	switch (backend) {
	case XenbusStateInitWait:
		vg_offer(vg, version);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		/* It has the page of a kernel that is no more. */
		dev_info(&vg->dev, "backend is connected to an earlier kernel\n");
		vg->reconnect = true;
		vg_close(vg);
		break;
	case XenbusStateClosed:
		vg_report_error(vg);
		break;
	default:
		break;
	}
}

static void vg_work(struct work_struct *work)
{
	struct vg_device *vg = container_of(to_delayed_work(work),
					    struct vg_device, work);
	enum xenbus_state backend;

	mutex_lock(&vg->life);
	if (vg->pm_frozen)
		goto out;

	backend = vg_backend_state(vg);
	switch (vg->phase) {
	case VG_IDLE:
		vg_idle(vg, backend);
		break;
	case VG_OFFERED:
		if (backend == XenbusStateConnected) {
			vg_connected(vg);
			/* Its state may have changed meanwhile. */
			mod_delayed_work(vg_workqueue, &vg->work, 0);
		} else if (vg_is_leaving(vg, backend)) {
			vg_report_error(vg);
			vg_break(vg, true);
			vg_closed(vg);
		}
		break;
	case VG_LIVE:
		if (backend == XenbusStateClosing && !vg_close_overdue(vg)) {
			mod_delayed_work(vg_workqueue, &vg->work, HZ);
		} else if (vg_is_leaving(vg, backend)) {
			vg_report_error(vg);
			vg_break(vg, true);
			vg_closed(vg);
			mod_delayed_work(vg_workqueue, &vg->work, 0);
		} else if (vg->vmdev->frozen) {
			/* A suspend was cancelled. */
			vg->phase = VG_OFFERED;
			mod_delayed_work(vg_workqueue, &vg->work, 0);
		}
		break;
	case VG_CLOSING:
		if (vg_has_let_go(backend) || vg_close_overdue(vg)) {
			vg_closed(vg);
			mod_delayed_work(vg_workqueue, &vg->work, 0);
		}
		break;
	}
out:
	mutex_unlock(&vg->life);
}

/* ---- xenbus -------------------------------------------------------------- */

static void vg_backend_changed(struct xenbus_device *xdev,
			       enum xenbus_state state)
{
	struct vg_device *vg = dev_get_drvdata(&xdev->dev);

	if (!vg)
		return;
	dev_dbg(&vg->dev, "backend is %s\n", xenbus_strstate(state));

	/* @phase may be read without @life: only a hint is taken from it. */
	if (vg_is_leaving(vg, state) && (READ_ONCE(vg->phase) == VG_OFFERED ||
				     READ_ONCE(vg->phase) == VG_LIVE))
		vg_give_up(vg);
	mod_delayed_work(vg_workqueue, &vg->work, 0);
}

static void vg_release(struct device *dev)
{
	struct vg_device *vg = to_vg(dev);

	vg_dma_exit(&vg->dma);
	kfree(vg);
}

static int vg_pm_freeze(struct device *dev)
{
	struct vg_device *vg = to_vg(dev);
	int ret = 0;

	flush_delayed_work(&vg->work);
	mutex_lock(&vg->life);
	/*
	 * A driver's freeze waits for its requests, without end: better no
	 * suspend than a guest that hangs in it.
	 */
	if (vg->phase == VG_LIVE && !vg->vmdev->frozen &&
	    !READ_ONCE(vg->dead)) {
		ret = vg_ping(vg);
		if (!ret)
			ret = virtio_msg_freeze(vg->vmdev);
	}
	vg->pm_frozen = !ret;
	mutex_unlock(&vg->life);
	return ret;
}

static int vg_pm_thaw(struct device *dev)
{
	struct vg_device *vg = to_vg(dev);

	mutex_lock(&vg->life);
	vg->pm_frozen = false;
	mutex_unlock(&vg->life);
	mod_delayed_work(vg_workqueue, &vg->work, 0);
	return 0;
}

static const struct dev_pm_ops vg_pm_ops = {
	.freeze = vg_pm_freeze,
	.thaw = vg_pm_thaw,
	.restore = vg_pm_thaw,
};

static const struct device_type vg_device_type = {
	.name = "virtio-grant",
	.release = vg_release,
	.pm = pm_sleep_ptr(&vg_pm_ops),
};

/*
 * The guest was resumed in a new domain, where nothing is granted or bound any
 * more (section 7.2). The virtio device is frozen; @work restores it when the
 * new backend is there.
 */
static int vg_resume(struct xenbus_device *xdev)
{
	struct vg_device *vg = dev_get_drvdata(&xdev->dev);

	cancel_delayed_work_sync(&vg->gone);
	mutex_lock(&vg->life);
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	mutex_unlock(&vg->life);
	return 0;
}

static int vg_probe(struct xenbus_device *xdev,
		    const struct xenbus_device_id *id)
{
	struct vg_device *vg;
	int ret;

	vg = kzalloc(sizeof(*vg), GFP_KERNEL);
	if (!vg)
		return -ENOMEM;
	vg->xdev = xdev;
	vg->reconnect = true;
	vg->dead = true;
	INIT_DELAYED_WORK(&vg->work, vg_work);
	INIT_DELAYED_WORK(&vg->gone, vg_gone_work);
	INIT_WORK(&vg->event, vg_event_work);
	mutex_init(&vg->life);
	mutex_init(&vg->vmdev_lock);
	mutex_init(&vg->call_lock);
	spin_lock_init(&vg->ring_lock);
	init_waitqueue_head(&vg->wait);

	device_initialize(&vg->dev);
	vg->dev.parent = &xdev->dev;
	vg->dev.type = &vg_device_type;
	vg->dev.dma_mask = &vg->dma_mask;
	ret = vg_dma_init(&vg->dma, &vg->dev, vg_dma_fault);
	if (!ret)
		ret = dev_set_name(&vg->dev, "grant-%s", dev_name(&xdev->dev));
	if (!ret)
		ret = device_add(&vg->dev);
	if (ret) {
		put_device(&vg->dev);
		return ret;
	}

	dev_set_drvdata(&xdev->dev, vg);
	/* xenbus calls vg_backend_changed() when it has set its watch. */
	return 0;
}

/**
 * vg_await_closed() - wait until the backend has let go
 * @vg: the device
 *
 * By looking: xenbus has stopped watching when it removes a device.
 */
static void vg_await_closed(struct vg_device *vg)
{
	unsigned long deadline = jiffies + VG_CLOSE_TIMEOUT * HZ;
	enum xenbus_state state;

	for (;;) {
		state = vg_backend_state(vg);
		if (vg_has_let_go(state))
			return;
		if (time_after(jiffies, deadline))
			break;
		msleep(20);
	}
	dev_warn(&vg->dev, "backend stays %s\n", xenbus_strstate(state));
}

/*
 * The module is unloaded, the device is unbound, or it was taken away. In the
 * first two cases it may be in use, and its requests will be answered; unless
 * the backend is no more, which a ping shows.
 */
static void vg_remove(struct xenbus_device *xdev)
{
	struct vg_device *vg = dev_get_drvdata(&xdev->dev);
	bool ours;

	WRITE_ONCE(vg->removing, true);
	mod_delayed_work(vg_workqueue, &vg->gone, HZ);
	if (vg_is_leaving(vg, vg_backend_state(vg))) {
		vg_break(vg, false);
		if (READ_ONCE(vg->phase) != VG_IDLE)
			vg_await_closed(vg);
		vg_break(vg, true);
	} else if (READ_ONCE(vg->phase) == VG_LIVE && vg_ping(vg)) {
		vg_break(vg, true);
	}
	cancel_delayed_work_sync(&vg->work);

	mutex_lock(&vg->life);
	ours = vg->phase != VG_IDLE;
	vg_unregister(vg);
	if (ours) {
		xenbus_switch_state(xdev, XenbusStateClosing);
		vg_await_closed(vg);
	}
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	mutex_unlock(&vg->life);

	WRITE_ONCE(vg->removing, false);
	cancel_delayed_work_sync(&vg->gone);
	cancel_work_sync(&vg->event);
	cancel_delayed_work_sync(&vg->work);
	if (ours)
		xenbus_switch_state(xdev, XenbusStateClosed);
	dev_set_drvdata(&xdev->dev, NULL);
	device_unregister(&vg->dev);
}

static const struct xenbus_device_id vg_ids[] = {
	{ VIRTIO_GRANT_XENBUS_TYPE },
	{ VIRTIO_GRANT_XENBUS_TYPE_DISK },
	{ "" }
};

static struct xenbus_driver vg_driver = {
	.name = KBUILD_MODNAME,
	/* Closed only where it is ours: vg_remove() does that. */
	.allow_rebind = true,
	.not_essential = true,
	.probe = vg_probe,
	.remove = vg_remove,
	.resume = vg_resume,
	.otherend_changed = vg_backend_changed,
};

static int __init vg_init(void)
{
	int ret;

	if (!xen_domain() || !xen_has_pv_devices())
		return -ENODEV;

	vg_workqueue = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!vg_workqueue)
		return -ENOMEM;

	/*
	 * Registering waits until every device that the driver binds is
	 * connected, for minutes; one that is not ours never will be. So the
	 * driver gets its devices afterwards.
	 */
	ret = xenbus_register_frontend(&vg_driver);
	if (ret)
		goto fail;
	vg_driver.ids = vg_ids;
	ret = driver_attach(&vg_driver.driver);
	if (ret)
		goto unregister;
	return 0;

unregister:
	xenbus_unregister_driver(&vg_driver);
fail:
	destroy_workqueue(vg_workqueue);
	return ret;
}
module_init(vg_init);

static void __exit vg_exit(void)
{
	xenbus_unregister_driver(&vg_driver);
	destroy_workqueue(vg_workqueue);
}
module_exit(vg_exit);

MODULE_DESCRIPTION("virtio devices over Xen grant tables and event channels");
MODULE_AUTHOR("The vgrant authors");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:" VIRTIO_GRANT_XENBUS_TYPE);
MODULE_ALIAS("xen:" VIRTIO_GRANT_XENBUS_TYPE_DISK);
