// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_module_msg.c - the guest's transport, against a backend and drivers that do their worst
 *
 * virtio_msg.c is compiled with tests/rigs/kernel in place of a kernel's headers. The bus is a
 * function here, which answers as a good device does until a test says otherwise; the driver is a
 * table of functions. What sleeps with interrupts off, or touches a queue's interrupt when there is
 * none, fails the test at once. How all this does in a real kernel is for tests/xen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/rigs/kernel/core.h"

#include "frontend-glue/linux/virtio_msg.c"

/* ---- Linux ------------------------------------------------------------------------ */

enum { IRQ = 100, QUEUES = 3, CONFIG = 600 };

unsigned int fake_cpu;
unsigned long jiffies;
bool fake_irqs_off;
int fake_module;
static char tasks[2];
struct task_struct *fake_task;
static unsigned int disabled[IRQ + QUEUES], said, failed_queues;
static const struct cpumask *hint[IRQ + QUEUES];
static struct virtio_driver *driver;

void fake_may_sleep(void)
{
	assert_false(fake_irqs_off);
}

void fake_say(const struct device *dev, const char *text, ...)
{
	(void)dev;
	(void)text;
	said++;
}

/* A queue's interrupt; one of no queue is a fault that a kernel would stop for. */
static unsigned int *irq_of(unsigned int irq)
{
	assert_in_range(irq, IRQ, IRQ + QUEUES - 1);
	return &disabled[irq];
}

void synchronize_irq(unsigned int irq)
{
	irq_of(irq);
	fake_may_sleep();
}

void disable_irq(unsigned int irq)
{
	fake_may_sleep();
	(*irq_of(irq))++;
}

void enable_irq(unsigned int irq)
{
	assert_int_not_equal(*irq_of(irq), 0);
	(*irq_of(irq))--;
}

void irq_update_affinity_hint(unsigned int irq, const struct cpumask *m)
{
	irq_of(irq);
	hint[irq] = m;
}

int irq_set_affinity_and_hint(unsigned int irq, const struct cpumask *m)
{
	irq_update_affinity_hint(irq, m);
	return 0;
}

void vring_transport_features(struct virtio_device *vdev)
{
	__virtio_clear_bit(vdev, VIRTIO_F_RING_RESET); /* as one that does not know it */
}

struct virtqueue *vring_create_virtqueue(unsigned int index, unsigned int num, unsigned int align,
					 struct virtio_device *vdev, bool weak, bool may_reduce,
					 bool ctx, bool (*notify)(struct virtqueue *vq),
					 vq_callback_t *callback, const char *name)
{
	struct virtqueue *vq = calloc(1, sizeof(*vq));

	(void)align, (void)weak, (void)may_reduce, (void)ctx, (void)notify;
	fake_may_sleep();
	assert_non_null(vq);
	*vq = (struct virtqueue){
		.callback = callback, .name = name, .vdev = vdev, .index = index, .size = num
	};
	list_add(&vq->list, &vdev->vqs);
	return vq;
}

void vring_del_virtqueue(struct virtqueue *vq)
{
	list_del(&vq->list);
	free(vq);
}

void virtio_break_device(struct virtio_device *vdev)
{
	struct virtqueue *vq;

	assert_non_null(vdev->vqs.next); /* its list is there */
	list_for_each_entry(vq, &vdev->vqs, list) vq->broken = true;
}

void virtio_msg_fail_queue(struct virtqueue *vq)
{
	assert_true(vq->broken);
	failed_queues++;
}

void get_device(struct device *dev)
{
	dev->references++;
}

void put_device(struct device *dev)
{
	assert_int_not_equal(dev->references, 0);
	if (--dev->references == 0)
		dev->release(dev);
}

static void tell_driver(struct virtio_device *vdev)
{
	fake_irqs_off = true;
	if (driver && driver->config_changed)
		driver->config_changed(vdev);
	fake_irqs_off = false;
	vdev->change_pending = false;
}

void virtio_config_changed(struct virtio_device *vdev)
{
	if (vdev->core_enabled)
		tell_driver(vdev);
	else
		vdev->change_pending = true;
}

static void core_enable(struct virtio_device *vdev)
{
	vdev->core_enabled = true;
	if (vdev->change_pending)
		tell_driver(vdev);
}

int register_virtio_device(struct virtio_device *vdev)
{
	int ret;

	vdev->dev.references = 1;
	INIT_LIST_HEAD(&vdev->vqs);
	vdev->config->reset(vdev);
	vdev->features = vdev->config->get_features(vdev);
	if (!driver)
		return 0;
	vdev->dev.driver = &driver->driver;
	ret = vdev->config->finalize_features(vdev);
	if (ret == 0)
		ret = driver->probe(vdev);
	if (ret == 0)
		core_enable(vdev);
	else
		vdev->dev.driver = NULL;
	return 0; /* a driver that fails does not fail the device */
}

static struct notifier_block *listener; /* of the bus */

int bus_register_notifier(const struct bus_type *on, struct notifier_block *nb)
{
	(void)on;
	assert_null(listener);
	listener = nb;
	return 0;
}

int bus_unregister_notifier(const struct bus_type *on, struct notifier_block *nb)
{
	(void)on;
	assert_ptr_equal(listener, nb);
	listener = NULL;
	return 0;
}

/* As sysfs, the end of the driver's module, or of the device does. */
static void unbind(struct device *dev)
{
	if (!dev->driver)
		return;
	listener->notifier_call(listener, BUS_NOTIFY_UNBIND_DRIVER, dev);
	driver->remove(dev_to_virtio(dev));
	dev->driver = NULL;
	listener->notifier_call(listener, BUS_NOTIFY_UNBOUND_DRIVER, dev);
}

void unregister_virtio_device(struct virtio_device *vdev)
{
	unbind(&vdev->dev);
	put_device(&vdev->dev);
}

int virtio_device_freeze(struct virtio_device *vdev)
{
	vdev->core_enabled = false;
	return vdev->dev.driver && driver->freeze ? driver->freeze(vdev) : 0;
}

int virtio_device_restore(struct virtio_device *vdev)
{
	int ret;

	vdev->config->reset(vdev);
	if (!vdev->dev.driver)
		return 0;
	ret = vdev->config->finalize_features(vdev);
	if (ret == 0 && driver->restore)
		ret = driver->restore(vdev);
	if (ret == 0)
		core_enable(vdev);
	return ret;
}

/* ---- the bus, and a good device behind it -------------------------------------------- */

static struct {
	u8 config[CONFIG];
	u32 generation, status;
	u32 size[QUEUES]; /* 0: not set */
	unsigned int asked[256], resets, resets_before;
	bool dead;    /* answers nothing any more */
	bool moving;  /* each answer about the configuration is of a new generation */
	bool lasting; /* the driver keeps mappings */
	unsigned int leaving, left;
	int cut;     /* bytes that its responses lack */
	u8 event_at; /* a message, before whose response the device sends an event */
	struct virtio_msg_device *vmdev;
} device;

static int answer(struct virtio_msg_buf *msg, u8 id)
{
	struct virtio_msg_get_config *get = (void *)msg->payload;
	struct virtio_msg_config *config = (void *)msg->payload;
	struct virtio_msg_vqueue *q = (void *)msg->payload;
	struct virtio_msg_status *status = (void *)msg->payload;
	struct virtio_msg_features *f = (void *)msg->payload;
	struct virtio_msg_device_info_resp *info = (void *)msg->payload;
	u32 offset, size;

	switch (id) {
	case VIRTIO_MSG_GET_DEVICE_INFO:
		info->device_id = 36;
		info->vendor_id = 1;
		info->config_size = CONFIG;
		info->max_vqs = QUEUES;
		return sizeof(*info);
	case VIRTIO_MSG_GET_DEVICE_FEATURES:
		((unsigned int *)(f + 1))[0] = 0;
		((unsigned int *)(f + 1))[1] = 1 | 1 << 1 | 1 << 8; /* 32, 33, 40 */
		return sizeof(*f) + 8;
	case VIRTIO_MSG_GET_CONFIG:
		offset = get->offset;
		size = get->size;
		assert_true(offset <= CONFIG && size <= CONFIG - offset);
		device.generation += device.moving;
		memcpy(config + 1, device.config + offset, size);
		config->generation = device.generation;
		config->offset = offset;
		config->size = size;
		return (int)(sizeof(*config) + size);
	case VIRTIO_MSG_SET_CONFIG:
		device.generation += device.moving;
		if (config->generation != device.generation)
			config->size = 0;
		else
			memcpy(device.config + config->offset, config + 1, config->size);
		config->generation = device.generation;
		return sizeof(*config);
	case VIRTIO_MSG_SET_DEVICE_STATUS:
		device.status = status->status;
		if (!device.status) {
			device.resets++;
			memset(device.size, 0, sizeof(device.size));
		}
		return sizeof(*status);
	case VIRTIO_MSG_GET_DEVICE_STATUS:
		status->status = device.status;
		return sizeof(*status);
	case VIRTIO_MSG_SET_VQUEUE:
		device.size[q->index] = q->size;
		return 0;
	case VIRTIO_MSG_RESET_VQUEUE:
		device.size[q->index] = 0;
		return 0;
	case VIRTIO_MSG_GET_VQUEUE:
		assert_true(q->index < QUEUES);
		q->max_size = 64;
		q->size = device.size[q->index];
		return sizeof(*q);
	default:
		return 0;
	}
}

static int transfer(struct virtio_msg_device *vmdev, struct virtio_msg_buf *msg)
{
	u8 id = msg->header.msg_id;
	int len;

	fake_may_sleep();
	device.asked[id]++;
	if (device.dead)
		return -ETIMEDOUT;
	if (id == device.event_at) {
		device.event_at = 0;
		device.generation++;
		virtio_msg_config_event(vmdev, device.status, device.generation);
	}
	len = answer(msg, id) - device.cut;
	msg->header.msg_size = (u16)(sizeof(msg->header) + (len > 0 ? len : 0));
	return 0;
}

static int prepare(struct virtio_msg_device *vmdev)
{
	(void)vmdev;
	return 0;
}

static int queue_open(struct virtio_msg_device *vmdev, struct virtqueue *vq)
{
	(void)vmdev;
	vq->priv = &disabled[IRQ + vq->index];
	return 0;
}

static void queue_close(struct virtio_msg_device *vmdev, struct virtqueue *vq)
{
	(void)vmdev;
	assert_null(hint[IRQ + vq->index]);
	vq->priv = NULL;
}

static int queue_irq(struct virtqueue *vq)
{
	assert_non_null(vq->priv); /* of a queue with no device there is none */
	return IRQ + (int)vq->index;
}

static bool lasting(struct virtio_msg_device *vmdev)
{
	(void)vmdev;
	return device.lasting;
}

static void leave(struct virtio_msg_device *vmdev)
{
	(void)vmdev;
	device.leaving++;
	device.resets_before = device.resets;
}

static void left(struct virtio_msg_device *vmdev)
{
	device.left++;
	assert_int_equal(device.left, device.leaving);
	/* Between the two the driver has reset the device, if it was there. */
	assert_true(vmdev->gone || device.dead || device.resets > device.resets_before);
}

static const struct virtio_msg_bus_ops bus = { .prepare = prepare,
					       .transfer = transfer,
					       .queue_open = queue_open,
					       .queue_close = queue_close,
					       .queue_irq = queue_irq,
					       .lasting = lasting,
					       .leave = leave,
					       .left = left };

/* ---- a driver, as virtio_can and virtio_net are ----------------------------------------- */

static struct {
	unsigned int callbacks[QUEUES], changes;
	u16 read_in_change; /* what config_changed() saw at offset 4 */
	bool before_ok;	    /* a callback before DRIVER_OK */
	bool shy;	    /* probe() does not set DRIVER_OK */
	struct virtqueue *vq[QUEUES];
} drv;

static void called_back(struct virtqueue *vq)
{
	assert_true(fake_irqs_off);
	assert_int_equal(disabled[IRQ + vq->index], 1);
	drv.callbacks[vq->index]++;
}

static int drv_queues(struct virtio_device *vdev)
{
	struct virtqueue_info info[QUEUES] = { { "rx", called_back, false },
					       { "tx", called_back, false },
					       { "ctrl", NULL, false } };
	struct irq_affinity spread = { 0, 1 };

	return vdev->config->find_vqs(vdev, QUEUES, drv.vq, info, &spread);
}

static int drv_probe(struct virtio_device *vdev)
{
	int ret = drv_queues(vdev);

	if (ret == 0 && !drv.shy)
		vdev->config->set_status(vdev, VIRTIO_CONFIG_S_DRIVER_OK);
	return ret;
}

static void drv_remove(struct virtio_device *vdev)
{
	vdev->config->reset(vdev);
	vdev->config->del_vqs(vdev);
}

static int drv_freeze(struct virtio_device *vdev)
{
	drv_remove(vdev);
	return 0;
}

/* As virtnet_restore_up() does: the queues' processors are set anew. */
static int drv_restore(struct virtio_device *vdev)
{
	struct cpumask one = { 1 };
	int ret = drv_probe(vdev);

	for (unsigned int q = 0; ret == 0 && q < QUEUES; q++) {
		vdev->config->set_vq_affinity(drv.vq[q], &one);
		vdev->config->set_vq_affinity(drv.vq[q], NULL);
	}
	return ret;
}

static void drv_changed(struct virtio_device *vdev)
{
	drv.changes++;
	vdev->config->get(vdev, 4, &drv.read_in_change, 2);
}

static struct virtio_driver whole = { .probe = drv_probe,
				      .remove = drv_remove,
				      .config_changed = drv_changed,
				      .freeze = drv_freeze,
				      .restore = drv_restore };
static struct virtio_driver rigid = { .probe = drv_probe, .remove = drv_remove };

/* A device that is registered, with its driver. */
static struct virtio_msg_device *begin(struct virtio_driver *with)
{
	struct virtio_msg_device *vmdev;
	static struct device parent;

	memset(&device, 0, sizeof(device));
	memset(&drv, 0, sizeof(drv));
	memset(disabled, 0, sizeof(disabled));
	memset(hint, 0, sizeof(hint));
	said = failed_queues = 0;
	fake_irqs_off = false;
	fake_task = (void *)&tasks[0];
	driver = with;
	vmdev = virtio_msg_create(&parent, &bus, NULL);
	assert_non_null(vmdev);
	device.vmdev = vmdev;
	assert_int_equal(virtio_msg_identify(vmdev), 0);
	return vmdev;
}

static void end(struct virtio_msg_device *vmdev)
{
	virtio_msg_unregister(vmdev);
	virtio_msg_put(vmdev);
	for (unsigned int q = 0; q < QUEUES; q++)
		assert_int_equal(disabled[IRQ + q], 0);
}

/* ---- configuration --------------------------------------------------------------------- */

/* Told at once, in the bus's task: the read is served from what was read before. */
static void test_change(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	device.config[4] = 7;
	virtio_msg_config_event(vmdev, device.status, ++device.generation);
	assert_int_equal(drv.changes, 1);
	assert_int_equal(drv.read_in_change, 7);
	end(vmdev);
}

/* The event comes before probe(), or during restore(): the core tells later, with interrupts off. */
static void test_change_put_off(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);

	(void)state;
	device.config[4] = 9;
	device.event_at = VIRTIO_MSG_SET_DEVICE_STATUS;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	assert_int_equal(drv.changes, 1);
	assert_int_equal(drv.read_in_change, 9);

	vmdev->vdev.core_enabled = false;
	device.config[4] = 11;
	virtio_msg_config_event(vmdev, device.status, ++device.generation);
	assert_int_equal(drv.changes, 1);
	fake_task = (void *)&tasks[1];
	core_enable(&vmdev->vdev);
	assert_int_equal(drv.changes, 2);
	assert_int_equal(drv.read_in_change, 11);
	end(vmdev);
}

/* A read of several messages, of a device that changes its configuration with each: it has an end. */
static void test_moving_generation(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	u8 all[CONFIG];

	(void)state;
	assert_true(CONFIG > VM_CONFIG_CHUNK);
	assert_int_equal(virtio_msg_register(vmdev), 0);
	memset(device.config, 0x5a, CONFIG);
	vmdev->vdev.config->get(&vmdev->vdev, 0, all, CONFIG);
	assert_memory_equal(all, device.config, CONFIG);
	device.moving = true;
	device.asked[VIRTIO_MSG_GET_CONFIG] = 0;
	vmdev->vdev.config->get(&vmdev->vdev, 0, all, CONFIG);
	assert_in_range(device.asked[VIRTIO_MSG_GET_CONFIG], 2, 64);
	assert_int_equal(all[0], 0);
	assert_int_equal(said, 1);
	/* A write of a field is tried some times, and given up. */
	device.asked[VIRTIO_MSG_SET_CONFIG] = 0;
	vmdev->vdev.config->set(&vmdev->vdev, 4, all, 2);
	assert_in_range(device.asked[VIRTIO_MSG_SET_CONFIG], 2, 8);
	assert_int_equal(device.config[4], 0x5a);
	device.moving = false;
	vmdev->vdev.config->set(&vmdev->vdev, 4, all, 2);
	assert_int_equal(device.config[4], 0);
	end(vmdev);
}

/* Past the end, or from a device that says less than it must: zeroes, and nothing else. */
static void test_short_answers(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	u32 got = 1;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	memset(device.config, 0xff, CONFIG);
	vmdev->vdev.config->get(&vmdev->vdev, CONFIG - 2, &got, 4);
	assert_int_equal(got, 0);
	got = 1;
	vmdev->vdev.config->get(&vmdev->vdev, ~0u, &got, 4);
	assert_int_equal(got, 0);
	for (device.cut = 1; device.cut < 40; device.cut++) {
		got = 1;
		vmdev->vdev.config->get(&vmdev->vdev, 0, &got, 4);
		assert_int_equal(got, 0);
		assert_int_equal(vmdev->vdev.config->get_features(&vmdev->vdev), 0);
	}
	device.cut = 0;
	end(vmdev);
}

/* ---- a device that is gone --------------------------------------------------------------- */

static void test_break_wakes(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	u8 byte = 1;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	virtio_msg_break(vmdev);
	for (unsigned int q = 0; q < QUEUES; q++) {
		assert_true(drv.vq[q]->broken);
		assert_int_equal(drv.callbacks[q], drv.vq[q]->callback ? 1 : 0);
	}
	/* Nothing is asked of it any more; what cannot fail has a harmless end. */
	memset(device.asked, 0, sizeof(device.asked));
	vmdev->vdev.config->get(&vmdev->vdev, 0, &byte, 1);
	assert_int_equal(byte, 0);
	vmdev->vdev.config->set(&vmdev->vdev, 0, &byte, 1);
	vmdev->vdev.config->set_status(&vmdev->vdev, 3);
	assert_int_equal(vmdev->vdev.config->get_status(&vmdev->vdev), 3);
	virtio_msg_fail_requests(vmdev);
	assert_int_equal(failed_queues, QUEUES);
	end(vmdev);
	for (unsigned int i = 0; i < 256; i++)
		assert_int_equal(device.asked[i], 0);
}

/* No callback before DRIVER_OK: the driver is not ready for it. */
static void test_break_early(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);

	(void)state;
	drv.shy = true;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	virtio_msg_break(vmdev);
	assert_int_equal(drv.callbacks[0] + drv.callbacks[1], 0);
	end(vmdev);

	/* Nor before it is registered, when its lists are not there. */
	vmdev = begin(&whole);
	virtio_msg_break(vmdev);
	virtio_msg_fail_requests(vmdev);
	vmdev->vdev.config->set_status(&vmdev->vdev, VIRTIO_CONFIG_S_FAILED);
	virtio_msg_config_event(vmdev, VIRTIO_CONFIG_S_NEEDS_RESET, 1);
	virtio_msg_put(vmdev);
}

/* It says that we broke its rules, again and again: one reset, and its requests end. */
static void test_needs_reset(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	unsigned int resets;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	resets = device.resets;
	virtio_msg_config_event(vmdev, VIRTIO_CONFIG_S_NEEDS_RESET, 1);
	assert_int_equal(device.resets, resets + 1);
	assert_int_equal(failed_queues, QUEUES);
	assert_int_equal(drv.callbacks[0], 1);
	assert_int_equal(drv.changes, 0);
	/* It does not answer that reset: it may still write, and nothing of it is given back. */
	failed_queues = 0;
	device.dead = true;
	virtio_msg_config_event(vmdev, VIRTIO_CONFIG_S_NEEDS_RESET, 2);
	assert_int_equal(failed_queues, 0);
	device.dead = false;
	end(vmdev);
}

/* ---- suspend -------------------------------------------------------------------------------- */

static void test_restore(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	assert_int_equal(virtio_msg_freeze(vmdev), 0);
	assert_int_equal(device.size[0], 0);
	/* A frozen driver is told nothing. */
	virtio_msg_config_event(vmdev, 0, 5);
	virtio_msg_config_event(vmdev, VIRTIO_CONFIG_S_NEEDS_RESET, 6);
	assert_int_equal(drv.changes, 0);
	assert_int_equal(virtio_msg_restore(vmdev), 0);
	assert_int_equal(device.size[0], 64);
	virtio_msg_config_event(vmdev, device.status, 7);
	assert_int_equal(drv.changes, 1);
	end(vmdev);
}

/* Its device is gone when the guest comes back: it is restored with nothing behind, and removed. */
static void test_parted(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	unsigned int asked = 0;

	(void)state;
	memset(device.config, 0x33, CONFIG);
	assert_int_equal(virtio_msg_register(vmdev), 0);
	assert_int_equal(virtio_msg_freeze(vmdev), 0);
	device.dead = true;
	assert_int_not_equal(virtio_msg_restore(vmdev), 0);
	memset(device.asked, 0, sizeof(device.asked));
	said = 0;
	virtio_msg_unregister(
		vmdev); /* queue_irq() asserts that no queue without a device is asked */
	for (unsigned int i = 0; i < 256; i++)
		asked += device.asked[i];
	assert_int_equal(asked, 0);
	assert_int_equal(said, 0); /* restore() succeeded */
	assert_int_equal(drv.callbacks[0], 0);
	virtio_msg_put(vmdev);
}

/* Frozen, with buffers still mapped that mean nothing after it: a new device, not this one again. */
static void test_lasting(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	device.lasting = true;
	assert_int_equal(virtio_msg_freeze(vmdev), 0);
	assert_int_equal(virtio_msg_restore(vmdev), -ESTALE);
	end(vmdev);
}

/* The bus hears of a driver's removal, whoever does it, and of no other device's. */
static void test_leaves(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	struct device other = { 0 };

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	listener->notifier_call(listener, BUS_NOTIFY_UNBIND_DRIVER, &other);
	assert_int_equal(device.leaving, 0);
	unbind(&vmdev->vdev.dev);
	assert_int_equal(device.left, 1);
	end(vmdev);
	assert_int_equal(device.left, 1);
	assert_null(listener);

	vmdev = begin(&whole);
	assert_int_equal(virtio_msg_register(vmdev), 0);
	end(vmdev);
	assert_int_equal(device.left, 1);
}

/* A driver that cannot be frozen: its requests end, and it gets a new device. */
static void test_stale(void **state)
{
	struct virtio_msg_device *vmdev = begin(&rigid);
	unsigned int resets;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	resets = device.resets;
	assert_int_equal(virtio_msg_freeze(vmdev), 0);
	assert_int_equal(device.resets, resets + 1);
	assert_int_equal(failed_queues, QUEUES);
	assert_int_equal(drv.callbacks[0], 1);
	assert_int_equal(virtio_msg_restore(vmdev), -ESTALE);
	end(vmdev);
}

/* ---- queues ----------------------------------------------------------------------------------- */

static void test_queue_reset(void **state)
{
	struct virtio_msg_device *vmdev = begin(&whole);
	const struct virtio_config_ops *c = vmdev->vdev.config;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	assert_int_equal(c->enable_vq_after_reset(drv.vq[1]), -EBUSY);
	assert_int_equal(c->disable_vq_and_reset(drv.vq[1]), 0);
	assert_int_equal(device.size[1], 0);
	assert_true(drv.vq[1]->reset);
	assert_int_equal(c->enable_vq_after_reset(drv.vq[1]), 0);
	assert_int_equal(device.size[1], 64);
	/* The device does not take it back: it stays reset. */
	assert_int_equal(c->disable_vq_and_reset(drv.vq[1]), 0);
	device.cut = 8;
	assert_int_not_equal(c->enable_vq_after_reset(drv.vq[1]), 0);
	assert_true(drv.vq[1]->reset);
	device.cut = 0;
	end(vmdev);
}

/* A device that refuses the second queue: the first is let go of before its ring is freed. */
static void test_queue_refused(void **state)
{
	struct virtio_msg_device *vmdev = begin(NULL);
	struct virtqueue *vqs[QUEUES + 1];
	struct virtqueue_info info[QUEUES + 1] = {
		{ "a", called_back, 0 }, { "b", NULL, 0 }, { "c", NULL, 0 }, { "d", NULL, 0 }
	};
	unsigned int resets;

	(void)state;
	assert_int_equal(virtio_msg_register(vmdev), 0);
	resets = device.resets;
	assert_int_equal(vmdev->vdev.config->find_vqs(&vmdev->vdev, QUEUES + 1, vqs, info, NULL),
			 -ENOENT);
	assert_int_equal(device.resets, resets + 1);
	assert_true(list_empty(&vmdev->vdev.vqs));
	end(vmdev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_change_put_off),
		cmocka_unit_test(test_moving_generation),
		cmocka_unit_test(test_short_answers),
		cmocka_unit_test(test_break_wakes),
		cmocka_unit_test(test_break_early),
		cmocka_unit_test(test_needs_reset),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_parted),
		cmocka_unit_test(test_lasting),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_queue_reset),
		cmocka_unit_test(test_queue_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
