// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_ctrl.c - the control page of a device (PROTOCOL.md section 4)
 *
 * One page, granted read-write, carries messages both ways through two rings
 * of four slots; one event channel says that something changed in it. We send
 * one request at a time and wait for its response, for as long as a backend
 * may take to restart. The backend is not trusted: a message is copied once
 * before anything in it is looked at, and our own indices are kept here; those
 * in the page are for the backend to read.
 */
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <xen/events.h>
#include <xen/page.h>

#include "virtio_grant_bus.h"

static unsigned int timeout = 60;
module_param(timeout, uint, 0644);
MODULE_PARM_DESC(timeout,
		 "Seconds to wait for a backend that restarts; default 60");

#define VG_TIMEOUT_MIN	    30 /* seconds; section 4 */
#define VG_TIMEOUT_SHUTDOWN 5 /* seconds, when the guest goes down */

/* Messages taken in one interrupt: a backend that sends faster than we take
 * them waits for its next notification.
 */
#define VG_MESSAGES_MAX (4 * VIRTIO_GRANT_SLOTS)

/* Values in shared memory are little-endian, and change under our eyes. */
static u32 vg_load(const unsigned int *p)
{
	/* An index, before the slots that it says are filled. */
	return le32_to_cpu((__force __le32)virt_load_acquire(p));
}

static void vg_store(unsigned int *p, u32 value)
{
	/* An index, after the slots that it says are filled, or copied. */
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

/* The backend must not be used any more; in any context. */
void vg_give_up(struct vg_device *vg)
{
	WRITE_ONCE(vg->dead, true);
	wake_up(&vg->wait);
	mod_delayed_work(vg_rescue, &vg->gone, 0);
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
		queue_work(vg_rescue, &vg->event);
		return;
	}
discard:
	dev_dbg(vg->dev, "message 0x%02x of type 0x%02x discarded\n", h->msg_id,
		h->type);
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
			dev_err(vg->dev, "backend broke the control page\n");
			vg_give_up(vg);
			break;
		}
		memcpy(&msg,
		       ctrl->to_driver[vg->driver_cons % VIRTIO_GRANT_SLOTS],
		       sizeof(msg));
		/* What is looked at is the copy: no second look at the page. */
		barrier();
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

	if (vg_spurious_add(&vg->spurious, !vg_consume(vg)))
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
		dev_err(vg->dev, "backend broke the control page\n");
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
			dev_err(vg->dev, "backend does not answer\n");
			vg_give_up(vg);
			return -ETIMEDOUT;
		}
		if (wait_event_timeout(vg->wait,
				       cond(vg) || READ_ONCE(vg->dead), HZ))
			continue;
		state = vg_backend_state(vg);
		if (vg_is_leaving(vg, state)) {
			dev_dbg(vg->dev, "backend is %s\n",
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
int vg_call(struct vg_device *vg, struct virtio_msg_buf *msg)
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
int vg_bus_call(struct vg_device *vg, u8 id, void *payload, size_t len)
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
int vg_ping(struct vg_device *vg)
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
void vg_free_control(struct vg_device *vg)
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
 * vg_bind() - bind an event channel to an interrupt
 * @vg: the device
 * @port: of ours; freed after an error
 * @handler: as for request_irq()
 * @name: likewise
 * @arg: likewise
 *
 * Binding has two steps, and when the second one fails, Xen's code closes the
 * port; after the first it does not. So they are taken one by one: a port that
 * is closed twice may meanwhile be somebody else's.
 *
 * Return: the interrupt, or a negative errno.
 */
int vg_bind(struct vg_device *vg, evtchn_port_t port, irq_handler_t handler,
	    const char *name, void *arg)
{
	int irq = bind_evtchn_to_irq_lateeoi(port);

	if (irq < 0) {
		xenbus_free_evtchn(vg->xdev, port);
		return irq;
	}
	return bind_evtchn_to_irqhandler_lateeoi(port, handler, 0, name, arg);
}

/**
 * vg_make_control() - grant a fresh control page and make its event channel
 * @vg: the device, without one
 *
 * Return: 0 or a negative errno.
 */
int vg_make_control(struct vg_device *vg)
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
	memset(&vg->spurious, 0, sizeof(vg->spurious));
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
	ret = vg_bind(vg, vg->ctrl_port, vg_ctrl_interrupt, dev_name(vg->dev),
		      vg);
	if (ret < 0)
		goto fail;
	vg->ctrl_irq = ret;
	return 0;

fail:
	vg_free_control(vg);
	return ret;
}
