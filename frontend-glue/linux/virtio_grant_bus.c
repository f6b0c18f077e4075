// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_bus.c - virtio devices from another Xen domain, over grants
 *
 * virtio-grant is a virtio-msg bus: xenbus finds devices, a shared page with
 * its own event channel carries messages, each virtqueue has an event channel,
 * grants name memory. xenstore/PROTOCOL.md is the specification; "section"
 * below is one of its sections. This file is the life of a device. Others:
 *
 *	virtio_grant_ctrl.c	how messages travel
 *	virtio_grant_queue.c	how virtqueues notify
 *	virtio_grant_dma.c	how memory is granted
 *	virtio_grant_size.c	how large a pool is
 *	virtio_msg.c		what messages mean
 *
 * Whose device it is. The xenbus device types say "virtio", not "over grants".
 * We bind all devices of the types, and watch; only the backend's key
 * virtio-grant-version makes us touch one. A device without it keeps its state
 * and keys, whatever happens to this module.
 *
 * Devices. xenbus device -> our own device (struct vg_device's @dev) -> virtio
 * device. The one in the middle has the DMA operations, and the suspend and
 * resume callbacks that xenbus drivers lack: their bus has none to call when a
 * suspend was cancelled. It is a platform device, as that of virtio-mmio is,
 * because programs look at what a virtio device lies on: libdrm takes a bus that
 * it does not know for PCI, so that Mesa would find no card, and udev has no
 * names by path for disks there. It never has a driver.
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
 *	@again	after a resume: the toolstack has not made our nodes yet.
 *	@grow, @idle	the size of the pool (virtio_grant_size.c).
 *
 * @life is held by @work and by everybody who does the same things; @vmdev_lock
 * only while @vmdev is used or changed. Neither is taken in interrupts.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <uapi/linux/virtio_ids.h>
#include <xen/platform_pci.h>
#include <xen/page.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "virtio_grant_bus.h"

static bool trusted = true;
module_param(trusted, bool, 0444);
MODULE_PARM_DESC(trusted,
		 "N: share only the bytes of buffers with backends; default Y");

#define VG_CLOSE_TIMEOUT 10 /* seconds from Closing to Closed */

/*
 * @work registers and unregisters devices, and waits for what their drivers wait
 * for. @gone and @event end the requests of a dead device: swap may be on it, so
 * there is always a thread for them, and they wait for nobody who needs memory.
 */
struct workqueue_struct *vg_workqueue;
struct workqueue_struct *vg_rescue;

static struct vg_device *to_vg(struct device *dev)
{
	return container_of(dev_get_drvdata(dev), struct vg_device, dma);
}

/* ---- what the backend says in xenstore ----------------------------------- */

/* xenbus's own function for this has had two signatures. */
enum xenbus_state vg_backend_state(struct vg_device *vg)
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
	       state == XenbusStateInitialising || state == XenbusStateInitWait;
}

/* Is this the end of a connection that was offered, or is in use? */
bool vg_is_leaving(struct vg_device *vg, enum xenbus_state state)
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
		dev_warn(&vg->xdev->dev, "backend's " VIRTIO_GRANT_KEY_VERSION
					 " is no version\n");
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

/* ---- work that ends things ----------------------------------------------- */

static void vg_dma_fault(struct vg_dma *dma)
{
	vg_give_up(container_of(dma, struct vg_device, dma));
}

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
	struct vg_device *vg =
		container_of(to_delayed_work(work), struct vg_device, gone);
	enum xenbus_state state = vg_backend_state(vg);
	bool again = READ_ONCE(vg->removing);

	if (READ_ONCE(vg->dead) || vg_is_leaving(vg, state)) {
		again = state == XenbusStateClosing && !vg_close_overdue(vg);
		vg_break(vg, !again);
	}
	if (again)
		mod_delayed_work(vg_rescue, &vg->gone, HZ);
}

/* ---- work that moves a device along -------------------------------------- */

/*
 * xenstored lets a guest have ten transactions at a time (its default quota), and
 * xenbus needs one for each change of a state. Many devices that come or go
 * together take turns.
 */
static DEFINE_MUTEX(vg_transactions);

static void vg_switch_state(struct vg_device *vg, enum xenbus_state state)
{
	mutex_lock(&vg_transactions);
	xenbus_switch_state(vg->xdev, state);
	mutex_unlock(&vg_transactions);
}

/*
 * Our state Initialising, and xenbus. Since Linux 7.0 xenbus takes a node that
 * says Initialising, while the device's @state does not, for a new instance of
 * the device: it removes the one it knows ("state reset occurred, reconnecting"),
 * then looks for the other, and sees none if the node meanwhile says anything else.
 * Nobody would ever use that device again. It looks, in its one thread, whenever
 * anything below the node was written, first at the node, later at @state
 * (xenbus_dev_changed). So:
 *
 *  - @state becomes Initialising before the node does,
 *  - and stays so until xenbus's thread is known to have ended any look that it
 *    began before the node said Initialised: until that thread has told us that
 *    the backend, which waited for this, is Connected (@heard).
 *  - xenbus_switch_state() writes the node first: not for this state.
 */

/* Closed to Initialising: the device is wanted again. */
static int vg_start_anew(struct vg_device *vg)
{
	struct xenbus_device *xdev = vg->xdev;
	enum xenbus_state was = xdev->state;
	int ret;

	xdev->state = XenbusStateInitialising;
	ret = xenbus_printf(XBT_NIL, xdev->nodename, "state", "%d",
			    XenbusStateInitialising);
	if (ret) {
		dev_err(vg->dev, "cannot write to xenstore: %d\n", ret);
		xdev->state = was;
	}
	return ret;
}

/*
 * All keys and the state Initialised at once: fewer looks of xenbus, and a backend
 * that sees all or nothing. @state: see above.
 */
static int vg_publish(struct vg_device *vg, const char *node,
		      unsigned int version)
{
	struct xenbus_transaction xbt;
	int ret;

	mutex_lock(&vg_transactions);
	do {
		ret = xenbus_transaction_start(&xbt);
		if (ret)
			break;
		ret = xenbus_printf(xbt, node, VIRTIO_GRANT_KEY_VERSION, "%u",
				    version);
		if (!ret)
			ret = xenbus_printf(xbt, node,
					    VIRTIO_GRANT_KEY_CONTROL_REF, "%u",
					    vg->ctrl_ref);
		if (!ret)
			ret = xenbus_printf(xbt, node,
					    VIRTIO_GRANT_KEY_EVENT_CHANNEL,
					    "%u", vg->ctrl_port);
		if (!ret)
			ret = xenbus_printf(xbt, node, "state", "%d",
					    XenbusStateInitialised);
		if (ret) {
			xenbus_transaction_end(xbt, 1);
			break;
		}
		ret = xenbus_transaction_end(xbt, 0);
	} while (ret == -EAGAIN);
	mutex_unlock(&vg_transactions);
	return ret;
}

/* Section 3.3, step 3. */
static int vg_offer(struct vg_device *vg, unsigned int version)
{
	const char *node = vg->xdev->nodename;
	bool alone;
	int ret;

	alone = !xenbus_read_unsigned(node, VIRTIO_GRANT_KEY_TRUSTED, 1);
	vg_dma_connect(&vg->dma, vg->xdev->otherend_id, trusted && !alone);
	vg->closing_since = 0;
	vg->reconnect = false;
	WRITE_ONCE(vg->heard, false);
	ret = vg_make_control(vg);
	if (ret) {
		dev_err_ratelimited(vg->dev, "no control page: %d\n", ret);
		return ret;
	}

	ret = vg_publish(vg, node, version);
	if (ret) {
		dev_err_ratelimited(vg->dev, "cannot write to xenstore: %d\n",
				    ret);
		vg_free_control(vg);
		return ret;
	}
	vg->phase = VG_OFFERED;
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

	vmdev = virtio_msg_create(vg->dev, &vg_bus_ops, vg);
	if (!vmdev)
		return -ENOMEM;
	ret = virtio_msg_identify(vmdev);
	if (ret) {
		virtio_msg_put(vmdev);
		return ret;
	}
	vg_size_begin(vg, vmdev->vdev.id.device);
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
	vg_switch_state(vg, XenbusStateClosing);
	mod_delayed_work(vg_workqueue, &vg->work, VG_CLOSE_TIMEOUT * HZ);
}

/* The backend has let go, or will never: free what is left. */
static void vg_closed(struct vg_device *vg)
{
	vg_unregister(vg);
	vg_size_end(vg);
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	vg_switch_state(vg, XenbusStateClosed);
}

/* Section 3.3, step 5; or the same after a resume, with the device that was. */
static void vg_connected(struct vg_device *vg)
{
	int ret = 0;

	/* One that was not frozen has nothing that could be restored. */
	if (vg->vmdev && !vg->vmdev->frozen)
		vg_unregister(vg);
	if (vg->vmdev) {
		ret = virtio_msg_identify(vg->vmdev);
		if (!ret && !vg->vmdev->stale)
			vg_size_begin(vg, vg->vmdev->vdev.id.device);
		if (!ret)
			ret = virtio_msg_restore(vg->vmdev);
		if (ret) {
			dev_notice(vg->dev, "device is made anew: %d\n", ret);
			vg_unregister(vg);
		}
	}
	if (!vg->vmdev)
		ret = vg_register(vg);
	if (ret) {
		dev_err(vg->dev, "no device: %d\n", ret);
		vg_close(vg);
		return;
	}
	vg->phase = VG_LIVE;
	vg_switch_state(vg, XenbusStateConnected);
}

/*
 * A driver that could not be frozen gets a new device when the backend is there.
 * The one that it has, whose queues are broken, goes as soon as the guest runs
 * again: Linux' virtio-gpu warns of each command that finds no way.
 */
static void vg_part_stale(struct vg_device *vg)
{
	if (vg->phase == VG_IDLE && vg->vmdev && vg->vmdev->stale)
		vg_unregister(vg);
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
		if (vg_start_anew(vg))
			return;
	}

	switch (backend) {
	case XenbusStateInitWait:
		/* Short of memory, or of room in xenstore: for now. */
		if (vg_offer(vg, version))
			mod_delayed_work(vg_workqueue, &vg->work, HZ);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		/* It has the page of a kernel that is no more. */
		dev_info(vg->dev,
			 "backend is connected to an earlier kernel\n");
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
	struct vg_device *vg =
		container_of(to_delayed_work(work), struct vg_device, work);
	enum xenbus_state backend;

	mutex_lock(&vg->life);
	if (vg->pm_frozen)
		goto out;

	backend = vg_backend_state(vg);
	switch (vg->phase) {
	case VG_IDLE:
		vg_part_stale(vg);
		vg_idle(vg, backend);
		break;
	case VG_OFFERED:
		if (backend == XenbusStateConnected) {
			/* vg_backend_changed() is about to bring us back. */
			if (!READ_ONCE(vg->heard))
				break;
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
	dev_dbg(vg->dev, "backend is %s\n", xenbus_strstate(state));

	if (state == XenbusStateConnected)
		WRITE_ONCE(vg->heard, true);
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
	vg->release(dev);
	kfree(vg);
	module_put(THIS_MODULE);
}

/* The toolstack wrote our node's key "backend". In xenbus's thread. */
static void vg_backend_named(struct xenbus_watch *watch, const char *path,
			     const char *token)
{
	struct vg_device *vg =
		container_of(watch, struct vg_device, backend_watch);

	mod_delayed_work(vg_workqueue, &vg->again, 0);
}

static void vg_watch_backend(struct vg_device *vg)
{
	if (vg->backend_watch.node)
		return;
	vg->backend_watch.callback = vg_backend_named;
	vg->backend_watch.node =
		kasprintf(GFP_KERNEL, "%s/backend", vg->xdev->nodename);
	if (vg->backend_watch.node &&
	    register_xenbus_watch(&vg->backend_watch)) {
		kfree(vg->backend_watch.node);
		vg->backend_watch.node = NULL;
	}
}

static void vg_unwatch_backend(struct vg_device *vg)
{
	if (!vg->backend_watch.node)
		return;
	unregister_xenbus_watch(&vg->backend_watch);
	kfree(vg->backend_watch.node);
	vg->backend_watch.node = NULL;
}

static int vg_pm_freeze(struct device *dev)
{
	struct vg_device *vg = to_vg(dev);
	int ret = 0;

	cancel_delayed_work_sync(&vg->again);
	vg_unwatch_backend(vg);
	cancel_delayed_work_sync(&vg->again);
	flush_delayed_work(&vg->work);
	mutex_lock(&vg->life);
	vg_size_hold(vg, true);
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
	if (ret) {
		vg_size_hold(vg, false);
		/* Who wanted to save the guest sees nothing of its log. */
		xenbus_printf(XBT_NIL, vg->xdev->nodename,
			      VIRTIO_GRANT_KEY_REFUSED, "%u", ++vg->pm_refused);
	}
	mutex_unlock(&vg->life);
	return ret;
}

static void vg_thaw(struct vg_device *vg)
{
	mutex_lock(&vg->life);
	vg->pm_frozen = false;
	mutex_unlock(&vg->life);
	mod_delayed_work(vg_workqueue, &vg->work, 0);
}

/* Are the nodes there that xenbus looks for when it resumes a device? */
static bool vg_has_backend(struct xenbus_device *xdev)
{
	char *path = xenbus_read(XBT_NIL, xdev->nodename, "backend", NULL);
	bool found;

	if (XENBUS_IS_ERR_READ(path))
		return false;
	found = xenbus_exists(XBT_NIL, path, "state");
	kfree(path);
	return found;
}

/*
 * xenbus looks for the backend of a resumed device once. A toolstack that makes
 * the nodes when it sees the guest run is too late for that: so have it look
 * again when they are there. The device stays frozen meanwhile. Our node has
 * a watch; the backend's may be written later, and has no known path before, so
 * there is a look now and then as well.
 */
static void vg_again_work(struct work_struct *work)
{
	struct vg_device *vg =
		container_of(to_delayed_work(work), struct vg_device, again);
	struct device *dev = &vg->xdev->dev;

	mutex_lock(&vg->life);
	vg_part_stale(vg);
	mutex_unlock(&vg->life);
	/* vg_remove(), which waits for this work, holds the lock. */
	if (device_trylock(dev)) {
		if (!vg->xdev->otherend && vg_has_backend(vg->xdev))
			dev->bus->pm->restore(dev);
		device_unlock(dev);
	}
	if (vg->xdev->otherend) {
		vg_unwatch_backend(vg);
		vg_thaw(vg);
	} else if (!READ_ONCE(vg->removing)) {
		vg_watch_backend(vg);
		mod_delayed_work(vg_workqueue, &vg->again, HZ);
	}
}

/* A suspend was cancelled, or the guest was restored. */
static int vg_pm_thaw(struct device *dev)
{
	struct vg_device *vg = to_vg(dev);

	if (!vg->xdev->otherend) {
		dev_notice(dev, "restored before its backend; waits for it\n");
		mod_delayed_work(vg_workqueue, &vg->again, 0);
		return 0;
	}
	vg_thaw(vg);
	return 0;
}

/*
 * Only what Xen does when it suspends a guest: no S3, where a guest sleeps with
 * its memory in place, and no image that the guest writes by itself (S4).
 */
static const struct dev_pm_ops vg_pm_ops = {
	.freeze = vg_pm_freeze,
	.thaw = vg_pm_thaw,
	.restore = vg_pm_thaw,
};

/*
 * What a device asked of Xen and of its pool since it is there, in sysfs below
 * the xenbus device, in grant-virtio-<id>.
 */
#define VG_ATTR(name, value)                                                   \
	static ssize_t name##_show(struct device *dev,                         \
				   struct device_attribute *attr, char *buf)   \
	{                                                                      \
		struct vg_device *vg = to_vg(dev);                             \
		return sysfs_emit(buf, "%llu\n", (unsigned long long)(value)); \
	}                                                                      \
	static DEVICE_ATTR_RO(name)

/* What all processors counted. */
u64 vg_sum(u64 __percpu *count)
{
	unsigned int cpu;
	u64 sum = 0;

	for_each_possible_cpu(cpu)
		sum += *per_cpu_ptr(count, cpu);
	return sum;
}

VG_ATTR(kicks, vg_sum(&vg->counts->kicks));
VG_ATTR(interrupts, vg_sum(&vg->counts->interrupts));
VG_ATTR(granted, vg_sum(&vg->dma.counts->granted));
VG_ATTR(pooled, vg_sum(&vg->dma.counts->pooled));
VG_ATTR(pool_full, vg_sum(&vg->dma.counts->pool_full));
VG_ATTR(pool_pages, READ_ONCE(vg->dma.pool.pages));
VG_ATTR(bounced, vg_sum(&vg->dma.counts->bounced));
VG_ATTR(bounce_full, vg_sum(&vg->dma.counts->bounce_full));
VG_ATTR(bounce_pages, READ_ONCE(vg->dma.bounce.pages));
VG_ATTR(refs_missed, atomic64_read(&vg->dma.refs.missed));
VG_ATTR(refs_idle, READ_ONCE(vg->dma.refs.runs.refs));

static struct attribute *vg_attrs[] = {
	&dev_attr_kicks.attr,
	&dev_attr_interrupts.attr,
	&dev_attr_granted.attr,
	&dev_attr_pooled.attr,
	&dev_attr_pool_full.attr,
	&dev_attr_pool_pages.attr,
	&dev_attr_bounced.attr,
	&dev_attr_bounce_full.attr,
	&dev_attr_bounce_pages.attr,
	&dev_attr_refs_missed.attr,
	&dev_attr_refs_idle.attr,
	NULL, /* and a comma, so that each keeps its line */
};
ATTRIBUTE_GROUPS(vg);

static const struct device_type vg_device_type = {
	.name = "virtio-grant",
	.groups = vg_groups,
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
	/* Given up before it could be frozen, and @gone had not run yet. */
	if (vg->vmdev && !vg->vmdev->frozen)
		vg_break(vg, true);
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	/*
	 * xenbus says Closing when it finds no backend (xenbus_dev_fatal()): in
	 * our node, if the toolstack has made that just between the two.
	 */
	if (xenbus_read_unsigned(xdev->nodename, "state", 0) ==
	    XenbusStateClosing)
		vg_start_anew(vg);
	mutex_unlock(&vg->life);
	return 0;
}

/**
 * vg_make_device() - make @dev, which nobody sees yet
 * @vg: the device; once this has succeeded, the last put of @dev frees it
 *
 * Its name is not one of a driver's, and is no other device's, as xenbus's is not.
 *
 * Return: 0 or -ENOMEM.
 */
static int vg_make_device(struct vg_device *vg)
{
	struct platform_device *pdev;
	char *name;

	name = kasprintf(GFP_KERNEL, "grant-%s", dev_name(&vg->xdev->dev));
	if (!name)
		return -ENOMEM;
	pdev = platform_device_alloc(name, PLATFORM_DEVID_NONE);
	kfree(name);
	if (!pdev)
		return -ENOMEM;

	/* Until vg_release(): @dev may outlive the xenbus device. */
	__module_get(THIS_MODULE);
	vg->dev = &pdev->dev;
	vg->dev->parent = &vg->xdev->dev;
	vg->dev->type = &vg_device_type;
	vg->release = vg->dev->release;
	vg->dev->release = vg_release;
	return 0;
}

static int vg_add_device(struct vg_device *vg)
{
	int ret;

	ret = vg_dma_init(&vg->dma, vg->dev, vg_dma_fault, vg_size_full);
	if (ret)
		return ret;
	/*
	 * Managed, though nothing else is: a device that has resources is not
	 * probed, so that no driver_override can give it a driver, whose end
	 * would take away the driver data that the DMA operations are found by.
	 */
	vg->counts = devm_alloc_percpu(vg->dev, struct vg_counts);
	if (!vg->counts)
		return -ENOMEM;
	/* Drivers ask for limits before they make queues. */
	ret = vg_dma_attach(&vg->dma);
	if (ret)
		return ret;
	return platform_device_add(to_platform_device(vg->dev));
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
	INIT_DELAYED_WORK(&vg->again, vg_again_work);
	INIT_WORK(&vg->event, vg_event_work);
	vg_size_init(vg);
	mutex_init(&vg->life);
	mutex_init(&vg->vmdev_lock);
	mutex_init(&vg->call_lock);
	spin_lock_init(&vg->ring_lock);
	init_waitqueue_head(&vg->wait);

	ret = vg_make_device(vg);
	if (ret) {
		kfree(vg);
		return ret;
	}
	ret = vg_add_device(vg);
	if (ret) {
		put_device(vg->dev);
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
	dev_warn(vg->dev, "backend stays %s\n", xenbus_strstate(state));
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
	cancel_delayed_work_sync(&vg->again);
	vg_unwatch_backend(vg);
	cancel_delayed_work_sync(&vg->again);
	mod_delayed_work(vg_rescue, &vg->gone, HZ);
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
		vg_switch_state(vg, XenbusStateClosing);
		vg_await_closed(vg);
	}
	vg_size_end(vg);
	vg_free_control(vg);
	vg->phase = VG_IDLE;
	mutex_unlock(&vg->life);

	WRITE_ONCE(vg->removing, false);
	cancel_delayed_work_sync(&vg->gone);
	cancel_work_sync(&vg->event);
	vg_size_exit(vg);
	cancel_delayed_work_sync(&vg->work);
	if (ours)
		vg_switch_state(vg, XenbusStateClosed);
	dev_set_drvdata(&xdev->dev, NULL);
	platform_device_unregister(to_platform_device(vg->dev));
}

static const struct xenbus_device_id vg_ids[] = {
	{ VIRTIO_GRANT_XENBUS_TYPE }, { VIRTIO_GRANT_XENBUS_TYPE_DISK }, { "" }
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
	/*
	 * Grants are of 4 KiB. With larger pages the arithmetic of mappings would
	 * be another one, which nobody has run.
	 */
	if (PAGE_SIZE != XEN_PAGE_SIZE) {
		pr_err(KBUILD_MODNAME
		       ": this kernel's pages have %lu KiB, and the driver needs such of 4 KiB\n",
		       PAGE_SIZE / SZ_1K);
		return -EOPNOTSUPP;
	}

	vg_workqueue = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!vg_workqueue)
		return -ENOMEM;
	vg_rescue = alloc_workqueue(KBUILD_MODNAME "-gone",
				    WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!vg_rescue) {
		ret = -ENOMEM;
		goto destroy;
	}

	/*
	 * Registering waits until every device that the driver binds is
	 * connected, for minutes; one that is not ours never will be. So the
	 * driver gets its devices afterwards.
	 */
	ret = xenbus_register_frontend(&vg_driver);
	if (ret)
		goto destroy_rescue;
	vg_driver.ids = vg_ids;
	ret = driver_attach(&vg_driver.driver);
	if (ret)
		goto unregister;
	return 0;

unregister:
	xenbus_unregister_driver(&vg_driver);
destroy_rescue:
	destroy_workqueue(vg_rescue);
destroy:
	destroy_workqueue(vg_workqueue);
	vg_refs_fini();
	return ret;
}
module_init(vg_init);

static void __exit vg_exit(void)
{
	xenbus_unregister_driver(&vg_driver);
	destroy_workqueue(vg_rescue);
	destroy_workqueue(vg_workqueue);
	vg_refs_fini();
	/* The last release may be on its way out of our text. */
	synchronize_rcu_tasks();
}
module_exit(vg_exit);

MODULE_DESCRIPTION("virtio devices over Xen grant tables and event channels");
MODULE_AUTHOR("The vgrant authors");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:" VIRTIO_GRANT_XENBUS_TYPE);
MODULE_ALIAS("xen:" VIRTIO_GRANT_XENBUS_TYPE_DISK);
