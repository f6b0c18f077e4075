// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_msg.c - the virtio-msg transport, revision 1, driver side
 *
 * Each operation of struct virtio_config_ops is one request and its response,
 * or a few. All of them may sleep, and take as long as the bus is willing to
 * wait. Nothing here is on the data path: virtqueues notify through the bus.
 *
 * What the device sends is checked before it is used: the bus checks headers,
 * this file checks lengths and values. When the device is gone (the bus called
 * virtio_msg_break(), or a request failed for good), operations return at once
 * with harmless values, since most of them cannot fail in Linux's interface.
 *
 * The "section" numbers are those of xenstore/PROTOCOL.md.
 */
#include <linux/bitops.h>
#include <linux/bottom_half.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio_grant_calc.h"
#include "virtio_grant_compat.h"
#include "virtio_msg.h"

static bool packed = true;
module_param(packed, bool, 0644);
MODULE_PARM_DESC(packed, "Use packed virtqueues if offered; default Y");

#define VM_MAX_QUEUE_SIZE     32768u /* VIRTIO 1.3, 2.6 */
#define VM_MAX_QUEUES	      65536u /* queue indices are 16 bits wide */
#define VM_MAX_CONFIG	      65536u /* bytes; far above any device's */
#define VM_SET_CONFIG_TRIES   3 /* against a moving generation */
#define VM_GET_CONFIG_TRIES   16 /* likewise; then the device is to blame */
#define VM_PARTING_QUEUE_SIZE 64 /* nothing is ever put into it */

/* Configuration bytes in one message. A multiple of 8, so no field is split. */
#define VM_CONFIG_CHUNK \
	round_down(VIRTIO_MSG_PAYLOAD - sizeof(struct virtio_msg_config), 8)

/* Messages hold their fields as they lie on the wire: little-endian. */
static u32 get32(const unsigned int *p)
{
	return le32_to_cpup((const __force __le32 *)p);
}

static void put32(unsigned int *p, u32 v)
{
	*(__force __le32 *)p = cpu_to_le32(v);
}

static void put64(unsigned long long *p, u64 v)
{
	*(__force __le64 *)p = cpu_to_le64(v);
}

static u16 get16(const unsigned short *p)
{
	return le16_to_cpup((const __force __le16 *)p);
}

static void put16(unsigned short *p, u16 v)
{
	*(__force __le16 *)p = cpu_to_le16(v);
}

static struct virtio_msg_device *to_vmdev(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_msg_device, vdev);
}

/**
 * vm_call() - one request and its response
 * @vmdev: the device
 * @id: the message
 * @msg: payload of the request; then the response
 * @req_len: bytes of payload in the request
 * @resp_len: least number of payload bytes that the response must have
 *
 * Return: bytes of payload in the response, or a negative errno.
 */
static int vm_call(struct virtio_msg_device *vmdev, u8 id,
		   struct virtio_msg_buf *msg, size_t req_len, size_t resp_len)
{
	size_t len;
	int ret;

	if (READ_ONCE(vmdev->gone))
		return -ENODEV;

	memset(&msg->header, 0, sizeof(msg->header));
	msg->header.type = VIRTIO_MSG_TYPE_REQUEST;
	msg->header.msg_id = id;
	put16(&msg->header.msg_size, sizeof(msg->header) + req_len);

	ret = vmdev->ops->transfer(vmdev, msg);
	if (ret)
		return ret;

	len = get16(&msg->header.msg_size) - sizeof(msg->header);
	if (len < resp_len) {
		dev_err_ratelimited(vmdev->vdev.dev.parent,
				    "message 0x%02x: response of %zu bytes\n",
				    id, len);
		return -EPROTO;
	}
	return len;
}

/* ---- features ------------------------------------------------------------ */

/**
 * vm_read_features() - ask for the device's feature bits
 * @vdev: the device
 * @features: VG_FEATURE_WORDS words; zero when the device does not answer
 */
static void vm_read_features(struct virtio_device *vdev, u64 *features)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	const unsigned int blocks = 2 * VG_FEATURE_WORDS;
	struct virtio_msg_buf msg = {};
	struct virtio_msg_features *f = (void *)msg.payload;
	const unsigned int *block = (void *)(f + 1);
	unsigned int i;
	int ret;

	memset(features, 0, VG_FEATURE_WORDS * sizeof(*features));
	put32(&f->index, 0);
	put32(&f->num, blocks);
	ret = vm_call(vmdev, VIRTIO_MSG_GET_DEVICE_FEATURES, &msg, sizeof(*f),
		      sizeof(*f) + blocks * sizeof(*block));
	if (ret < 0 || get32(&f->index) != 0 || get32(&f->num) != blocks) {
		dev_err(&vdev->dev, "no answer to GET_DEVICE_FEATURES: %d\n",
			ret < 0 ? ret : -EPROTO);
		return;
	}
	for (i = 0; i < blocks; i++)
		features[i / 2] |= (u64)get32(&block[i]) << (i % 2 * 32);
}

#ifdef VIRTIO_FEATURES_BITS
static void vm_get_extended_features(struct virtio_device *vdev, u64 *features)
{
	vm_read_features(vdev, features);
}
#endif

static u64 vm_get_features(struct virtio_device *vdev)
{
	u64 features[VG_FEATURE_WORDS];

	vm_read_features(vdev, features);
	return features[0];
}

/**
 * vm_finalize_features() - tell the device which features the driver accepts
 * @vdev: the device
 *
 * Return: 0, -EINVAL when the device lacks what this transport cannot do
 * without, or what the bus returned.
 */
static int vm_finalize_features(struct virtio_device *vdev)
{
	bool ring_reset = __virtio_test_bit(vdev, VIRTIO_F_RING_RESET);
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	const unsigned int blocks = 2 * VG_FEATURE_WORDS;
	struct virtio_msg_buf msg = {};
	struct virtio_msg_features *f = (void *)msg.payload;
	unsigned int *block = (void *)(f + 1);
	unsigned int i;
	int ret;

	vring_transport_features(vdev);
	/* Notifications are out of band and carry no data. */
	__virtio_clear_bit(vdev, VIRTIO_F_NOTIFICATION_DATA);
	if (!packed)
		__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	if (ring_reset)
		__virtio_set_bit(vdev, VIRTIO_F_RING_RESET);

	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1) ||
	    !__virtio_test_bit(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
		dev_err(&vdev->dev,
			"device does not offer VERSION_1 and ACCESS_PLATFORM\n");
		return -EINVAL;
	}

	put32(&f->index, 0);
	put32(&f->num, blocks);
	for (i = 0; i < blocks; i++)
		put32(&block[i], vg_features(vdev)[i / 2] >> (i % 2 * 32));
	ret = vm_call(vmdev, VIRTIO_MSG_SET_DRIVER_FEATURES, &msg,
		      sizeof(*f) + blocks * sizeof(*block), 0);
	return ret < 0 && !vmdev->parting ? ret : 0;
}

/* ---- configuration space ------------------------------------------------- */

/**
 * vm_get_chunk() - read configuration bytes with one message
 * @vmdev: the device
 * @offset: where in the configuration space, bytes
 * @buf: receives @len bytes
 * @len: at most VM_CONFIG_CHUNK
 * @generation: receives the generation of the bytes
 *
 * Return: 0 or a negative errno.
 */
static int vm_get_chunk(struct virtio_msg_device *vmdev, u32 offset, void *buf,
			u32 len, u32 *generation)
{
	struct virtio_msg_buf msg = {};
	struct virtio_msg_get_config *req = (void *)msg.payload;
	struct virtio_msg_config *resp = (void *)msg.payload;
	int ret;

	put32(&req->offset, offset);
	put32(&req->size, len);
	ret = vm_call(vmdev, VIRTIO_MSG_GET_CONFIG, &msg, sizeof(*req),
		      sizeof(*resp));
	if (ret < 0)
		return ret;
	if (get32(&resp->offset) != offset || get32(&resp->size) != len ||
	    ret < sizeof(*resp) + len)
		return -EPROTO;
	memcpy(buf, resp + 1, len);
	*generation = get32(&resp->generation);
	return 0;
}

/*
 * From config_changed(), where nothing may sleep: see virtio_msg_config_event().
 * It is called there, or later, when virtio's core had put the news off until
 * the driver's probe() or restore() was over; then in another task, but always
 * with interrupts off. And from a driver that is restored without a device: see
 * vm_part().
 */
static void vm_get_snapshot(struct virtio_msg_device *vmdev,
			    unsigned int offset, void *buf, unsigned int len)
{
	if (WARN_ON_ONCE(offset + len > sizeof(vmdev->snapshot)))
		memset(buf, 0, len);
	else
		memcpy(buf, vmdev->snapshot + offset, len);
}

/**
 * vm_get() - read from the configuration space
 * @vdev: the device
 * @offset: bytes
 * @buf: receives @len bytes; zero where the device has none or is gone
 * @len: bytes
 *
 * A read that needs several messages is repeated until all of them are of one
 * generation; the generation is then what vm_generation() returns, so that
 * Linux's own loop around a group of reads sees a change in between.
 */
static void vm_get(struct virtio_device *vdev, unsigned int offset, void *buf,
		   unsigned int len)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	u32 first = 0, generation = 0;
	unsigned int done, n, tries = 0;
	int ret = 0;

	if (offset > vmdev->config_size || len > vmdev->config_size - offset) {
		memset(buf, 0, len);
		return;
	}
	if (READ_ONCE(vmdev->in_event) == current || irqs_disabled() ||
	    vmdev->parting) {
		vm_get_snapshot(vmdev, offset, buf, len);
		return;
	}
again:
	for (done = 0; done < len; done += n) {
		n = min_t(unsigned int, len - done, VM_CONFIG_CHUNK);
		ret = vm_get_chunk(vmdev, offset + done, buf + done, n,
				   &generation);
		if (ret)
			break;
		if (!done)
			first = generation;
		if (generation != first) {
			if (++tries < VM_GET_CONFIG_TRIES)
				goto again;
			ret = -EAGAIN;
			break;
		}
	}
	if (ret) {
		memset(buf, 0, len);
		if (ret != -ENODEV)
			dev_err_ratelimited(&vdev->dev,
					    "GET_CONFIG of %u bytes at %u: %d\n",
					    len, offset, ret);
		return;
	}
	WRITE_ONCE(vmdev->generation, generation);
}

static void vm_take_snapshot(struct virtio_msg_device *vmdev)
{
	vm_get(&vmdev->vdev, 0, vmdev->snapshot,
	       min_t(u32, vmdev->config_size, sizeof(vmdev->snapshot)));
}

/**
 * vm_set() - write to the configuration space
 * @vdev: the device
 * @offset: bytes
 * @buf: @len bytes
 * @len: bytes
 *
 * The device refuses a write whose generation is not the current one, and says
 * which is. The write of a field does not depend on what was read before, so
 * it is repeated with that generation.
 */
static void vm_set(struct virtio_device *vdev, unsigned int offset,
		   const void *buf, unsigned int len)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	unsigned int done, n, tries;
	int ret;

	for (done = 0; done < len; done += n) {
		n = min_t(unsigned int, len - done, VM_CONFIG_CHUNK);
		for (tries = 0; tries < VM_SET_CONFIG_TRIES; tries++) {
			struct virtio_msg_buf msg = {};
			struct virtio_msg_config *c = (void *)msg.payload;
			u32 generation = READ_ONCE(vmdev->generation);

			put32(&c->generation, generation);
			put32(&c->offset, offset + done);
			put32(&c->size, n);
			memcpy(c + 1, buf + done, n);
			ret = vm_call(vmdev, VIRTIO_MSG_SET_CONFIG, &msg,
				      sizeof(*c) + n, sizeof(*c));
			if (ret < 0)
				return;
			WRITE_ONCE(vmdev->generation, get32(&c->generation));
			if (get32(&c->size) == n)
				break;
			if (get32(&c->generation) == generation)
				tries = VM_SET_CONFIG_TRIES;
		}
		if (tries >= VM_SET_CONFIG_TRIES) {
			dev_warn_ratelimited(&vdev->dev,
					     "%u bytes at %u are refused\n", n,
					     offset + done);
			return;
		}
	}
}

static u32 vm_generation(struct virtio_device *vdev)
{
	return READ_ONCE(to_vmdev(vdev)->generation);
}

/* ---- status -------------------------------------------------------------- */

static u8 vm_get_status(struct virtio_device *vdev)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	struct virtio_msg_buf msg = {};
	struct virtio_msg_status *s = (void *)msg.payload;

	if (vm_call(vmdev, VIRTIO_MSG_GET_DEVICE_STATUS, &msg, 0, sizeof(*s)) >=
	    0)
		vmdev->status = get32(&s->status);
	return vmdev->status;
}

/**
 * vm_write_status() - set the status, and learn what became of it
 * @vmdev: the device
 * @status: VIRTIO_CONFIG_S_*; 0 resets
 *
 * A device that is gone takes any status.
 *
 * Return: 0 or a negative errno.
 */
static int vm_write_status(struct virtio_msg_device *vmdev, u8 status)
{
	struct virtio_msg_buf msg = {};
	struct virtio_msg_status *s = (void *)msg.payload;
	int ret;

	put32(&s->status, status);
	ret = vm_call(vmdev, VIRTIO_MSG_SET_DEVICE_STATUS, &msg, sizeof(*s),
		      sizeof(*s));
	if (ret < 0) {
		vmdev->status = status;
		return ret;
	}
	vmdev->status = get32(&s->status);
	return 0;
}

static void vm_set_status(struct virtio_device *vdev, u8 status)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);

	vm_write_status(vmdev, status);
	/* With hardened notifications, DRIVER_OK un-breaks the queues. */
	if (READ_ONCE(vmdev->gone) && vmdev->started)
		virtio_break_device(vdev);
}

static void vm_synchronize_cbs(struct virtio_device *vdev)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	struct virtqueue *vq;

	list_for_each_entry(vq, &vdev->vqs, list)
		if (vq->priv)
			synchronize_irq(vmdev->ops->queue_irq(vq));
}

/**
 * vm_wake() - have drivers look at queues that are broken
 * @vmdev: a broken device; may sleep
 *
 * Breaking a queue only sets a flag. A driver that sleeps until its callback runs,
 * as virtio_can does for the answer to a control message, with the lock of all
 * of Linux's networking held, would not see it: no interrupt will come any more,
 * and one that came would not be passed on. So each callback runs once more, as
 * it would in the queue's interrupt, which is held off meanwhile. It finds no
 * buffer, and wakes whom it would wake.
 */
static void vm_wake(struct virtio_msg_device *vmdev)
{
	struct virtqueue *vq;
	unsigned int irq;

	if (!vmdev->started)
		return;

	mutex_lock(&vmdev->queue_mutex);
	list_for_each_entry(vq, &vmdev->vdev.vqs, list) {
		/* No callback before DRIVER_OK, nor after a reset. */
		if (!vq->priv || !vq->callback ||
		    !(READ_ONCE(vmdev->status) & VIRTIO_CONFIG_S_DRIVER_OK))
			continue;
		irq = vmdev->ops->queue_irq(vq);
		disable_irq(irq);
		local_bh_disable();
		if (!IS_ENABLED(CONFIG_PREEMPT_RT))
			local_irq_disable();
		vq->callback(vq);
		if (!IS_ENABLED(CONFIG_PREEMPT_RT))
			local_irq_enable();
		local_bh_enable();
		enable_irq(irq);
	}
	mutex_unlock(&vmdev->queue_mutex);
}

/**
 * vm_reset() - reset the device
 * @vdev: the device
 *
 * The response comes when the device has stopped and has unmapped everything
 * (section 5.1). No callback runs after the return.
 */
static void vm_reset(struct virtio_device *vdev)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);

	/* register_virtio_device() resets first, with its lists ready. */
	WRITE_ONCE(vmdev->started, true);
	if (!vm_write_status(vmdev, 0))
		vmdev->queues_set = false;
	vm_synchronize_cbs(vdev);
	/* vm_wake() may have seen the status from before. */
	mutex_lock(&vmdev->queue_mutex);
	mutex_unlock(&vmdev->queue_mutex);
}

/* ---- virtqueues ---------------------------------------------------------- */

/* Forgets what vm_spread() did; no interrupt has a mask as its hint any more. */
static void vm_unspread(struct virtio_msg_device *vmdev)
{
	unsigned int i;

	for (i = 0; i < vmdev->n_masks; i++)
		free_cpumask_var(vmdev->masks[i]);
	kfree(vmdev->masks);
	vmdev->masks = NULL;
	vmdev->n_masks = 0;
}

/**
 * vm_queue_max() - how large the device lets a queue be
 * @vmdev: the device
 * @index: of the queue
 *
 * Return: descriptors, -ENOENT when there is no such queue or it is in use, or
 * another negative errno.
 */
static int vm_queue_max(struct virtio_msg_device *vmdev, unsigned int index)
{
	struct virtio_msg_buf msg = {};
	struct virtio_msg_vq_index *req = (void *)msg.payload;
	struct virtio_msg_vqueue *q = (void *)msg.payload;
	u32 max;
	int ret;

	if (index >= vmdev->max_vqs)
		return -ENOENT;

	put32(&req->index, index);
	ret = vm_call(vmdev, VIRTIO_MSG_GET_VQUEUE, &msg, sizeof(*req),
		      sizeof(*q));
	if (ret < 0)
		return ret;
	if (get32(&q->index) != index)
		return -EPROTO;
	max = get32(&q->max_size);
	if (!max || get32(&q->size))
		return -ENOENT;

	max = min(max, VM_MAX_QUEUE_SIZE);
	if (!virtio_has_feature(&vmdev->vdev, VIRTIO_F_RING_PACKED))
		max = rounddown_pow_of_two(max);
	return max;
}

/**
 * vm_queue_set() - give the device a queue's addresses
 * @vmdev: the device
 * @vq: the queue; its notifications are prepared
 *
 * Only reading the queue back shows that it was accepted (section 5.1).
 *
 * Return: 0 or a negative errno.
 */
static int vm_queue_set(struct virtio_msg_device *vmdev, struct virtqueue *vq)
{
	u32 size = virtqueue_get_vring_size(vq);
	struct virtio_msg_buf msg = {};
	struct virtio_msg_vqueue *q = (void *)msg.payload;
	int ret;

	put32(&q->index, vq->index);
	put32(&q->size, size);
	put64(&q->descriptor_addr, virtqueue_get_desc_addr(vq));
	put64(&q->driver_addr, virtqueue_get_avail_addr(vq));
	put64(&q->device_addr, virtqueue_get_used_addr(vq));
	vmdev->queues_set = true;
	ret = vm_call(vmdev, VIRTIO_MSG_SET_VQUEUE, &msg, sizeof(*q), 0);
	if (ret < 0)
		return ret;

	memset(&msg, 0, sizeof(msg));
	put32(&q->index, vq->index);
	ret = vm_call(vmdev, VIRTIO_MSG_GET_VQUEUE, &msg,
		      sizeof(struct virtio_msg_vq_index), sizeof(*q));
	if (ret < 0)
		return ret;
	if (get32(&q->index) != vq->index || get32(&q->size) != size) {
		dev_err(&vmdev->vdev.dev, "%s: device refuses %u descriptors\n",
			vq->name, size);
		return -EINVAL;
	}
	return 0;
}

/**
 * vm_queue_del() - free a queue that the device has let go of
 * @vmdev: the device
 * @vq: the queue
 */
static void vm_queue_del(struct virtio_msg_device *vmdev, struct virtqueue *vq)
{
	if (vq->priv) {
		irq_update_affinity_hint(vmdev->ops->queue_irq(vq), NULL);
		vmdev->ops->queue_close(vmdev, vq);
	}
	vring_del_virtqueue(vq);
}

/**
 * vm_queue_new() - create a queue and start it
 * @vmdev: the device
 * @index: of the queue
 * @info: what the driver says of it
 *
 * Return: the queue, or an error pointer.
 */
static struct virtqueue *vm_queue_new(struct virtio_msg_device *vmdev,
				      unsigned int index,
				      const struct virtqueue_info *info)
{
	struct virtqueue *vq;
	int num, ret;

	num = vmdev->parting ? VM_PARTING_QUEUE_SIZE
			     : vm_queue_max(vmdev, index);
	if (num < 0)
		return ERR_PTR(num);

	vq = vring_create_virtqueue(index, num, SMP_CACHE_BYTES, &vmdev->vdev,
				    true, true, info->ctx, vmdev->ops->notify,
				    info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = num;
	if (vmdev->parting)
		return vq;

	ret = vmdev->ops->queue_open(vmdev, vq);
	if (!ret)
		ret = vm_queue_set(vmdev, vq);
	return ret ? ERR_PTR(ret) : vq;
}

/**
 * vm_spread() - divide the processors among the queues
 * @vmdev: the device; @queue_mutex is held
 * @nvqs: queues, of which the driver wants all but some to be spread
 * @desc: how many not, at the beginning and at the end
 *
 * blk-mq, for one, then gives each processor the queue whose interrupt comes
 * back to it. Without memory nothing is spread, and all works.
 */
static void vm_spread(struct virtio_msg_device *vmdev, unsigned int nvqs,
		      const struct irq_affinity *desc)
{
	unsigned int spread, cpu, cpus = num_possible_cpus(), nth = 0;
	struct virtqueue *vq;
	cpumask_var_t *masks;
	unsigned int i;

	if (!desc || desc->pre_vectors + desc->post_vectors >= nvqs)
		return;
	spread = nvqs - desc->pre_vectors - desc->post_vectors;
	masks = kcalloc(spread, sizeof(*masks), GFP_KERNEL);
	if (!masks)
		return;
	vmdev->masks = masks;
	vmdev->masks_first = desc->pre_vectors;
	for (i = 0; i < spread; i++) {
		if (!zalloc_cpumask_var(&masks[i], GFP_KERNEL))
			break;
		vmdev->n_masks++;
	}
	if (vmdev->n_masks < spread) {
		vm_unspread(vmdev);
		return;
	}

	for_each_possible_cpu(cpu) {
		i = vg_queue_of_cpu(nth++, cpus, spread);
		cpumask_set_cpu(cpu, masks[i]);
	}
	/* More queues than processors: some are left, beside their neighbour. */
	for (i = 1; i < spread; i++)
		if (cpumask_empty(masks[i]))
			cpumask_copy(masks[i], masks[i - 1]);
	list_for_each_entry(vq, &vmdev->vdev.vqs, list) {
		i = vq->index - vmdev->masks_first;
		if (vq->priv && i < spread)
			irq_set_affinity_and_hint(vmdev->ops->queue_irq(vq),
						  masks[i]);
	}
}

/* Frees all queues; @queue_mutex is held. */
static void vm_queues_del(struct virtio_msg_device *vmdev)
{
	struct virtqueue *vq, *next;

	/*
	 * A driver resets before it comes here, unless it failed half-way: then
	 * the device must let go of the rings first.
	 */
	if (vmdev->queues_set && !vm_write_status(vmdev, 0))
		vmdev->queues_set = false;

	list_for_each_entry_safe(vq, next, &vmdev->vdev.vqs, list)
		vm_queue_del(vmdev, vq);
	vm_unspread(vmdev);
}

static void vm_del_vqs(struct virtio_device *vdev)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);

	mutex_lock(&vmdev->queue_mutex);
	vm_queues_del(vmdev);
	mutex_unlock(&vmdev->queue_mutex);
}

static int vm_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
		       struct virtqueue *vqs[],
		       struct virtqueue_info vqs_info[],
		       struct irq_affinity *desc)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	unsigned int i, index = 0;
	int ret;

	ret = vmdev->ops->prepare(vmdev);
	if (ret)
		return ret;

	mutex_lock(&vmdev->queue_mutex);
	for (i = 0; i < nvqs; i++) {
		if (!vqs_info[i].name) {
			vqs[i] = NULL;
			continue;
		}
		vqs[i] = vm_queue_new(vmdev, index++, &vqs_info[i]);
		if (IS_ERR(vqs[i])) {
			ret = PTR_ERR(vqs[i]);
			vm_queues_del(vmdev);
			break;
		}
	}
	if (!ret)
		vm_spread(vmdev, index, desc);
	mutex_unlock(&vmdev->queue_mutex);
	if (vmdev->parting)
		virtio_break_device(vdev);
	return ret;
}

#ifdef VG_FIND_VQS_ARRAYS
static int vm_find_vqs_arrays(struct virtio_device *vdev, unsigned int nvqs,
			      struct virtqueue *vqs[],
			      vq_callback_t *callbacks[],
			      const char *const names[], const bool *ctx,
			      struct irq_affinity *desc)
{
	struct virtqueue_info *info;
	unsigned int i;
	int ret;

	info = kcalloc(nvqs, sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	for (i = 0; i < nvqs; i++) {
		info[i].name = names[i];
		info[i].callback = callbacks[i];
		info[i].ctx = ctx && ctx[i];
	}
	ret = vm_find_vqs(vdev, nvqs, vqs, info, desc);
	kfree(info);
	return ret;
}
#endif

static int vm_disable_vq_and_reset(struct virtqueue *vq)
{
	struct virtio_msg_device *vmdev = to_vmdev(vq->vdev);
	struct virtio_msg_buf msg = {};
	struct virtio_msg_vq_index *req = (void *)msg.payload;
	int ret;

	if (!virtio_has_feature(vq->vdev, VIRTIO_F_RING_RESET))
		return -ENOENT;

	put32(&req->index, vq->index);
	ret = vm_call(vmdev, VIRTIO_MSG_RESET_VQUEUE, &msg, sizeof(*req), 0);
	if (ret < 0)
		return ret;
#ifdef CONFIG_VIRTIO_HARDEN_NOTIFICATION
	__virtqueue_break(vq);
#endif
	if (vq->priv)
		synchronize_irq(vmdev->ops->queue_irq(vq));
	vq->reset = true;
	return 0;
}

static int vm_enable_vq_after_reset(struct virtqueue *vq)
{
	struct virtio_msg_device *vmdev = to_vmdev(vq->vdev);
	int ret;

	if (!vq->reset)
		return -EBUSY;

#ifdef CONFIG_VIRTIO_HARDEN_NOTIFICATION
	__virtqueue_unbreak(vq);
#endif
	/* Setting the queue starts it: all must be ready for its interrupt. */
	vq->reset = false;
	ret = vmdev->ops->queue_open(vmdev, vq);
	if (!ret)
		ret = vm_queue_set(vmdev, vq);
	if (ret)
		vq->reset = true;
	return ret;
}

static int vm_set_vq_affinity(struct virtqueue *vq,
			      const struct cpumask *cpu_mask)
{
	struct virtio_msg_device *vmdev = to_vmdev(vq->vdev);

	/* A queue without a device has no interrupt: see vm_part(). */
	if (!vq->priv)
		return 0;
	return irq_set_affinity_and_hint(vmdev->ops->queue_irq(vq), cpu_mask);
}

/* Which processors a queue serves; NULL: vm_spread() did nothing for it. */
static const struct cpumask *vm_get_vq_affinity(struct virtio_device *vdev,
						int index)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);
	unsigned int i = index - vmdev->masks_first;

	return i < vmdev->n_masks ? vmdev->masks[i] : NULL;
}

/* ---- the rest ------------------------------------------------------------ */

static const char *vm_bus_name(struct virtio_device *vdev)
{
	struct virtio_msg_device *vmdev = to_vmdev(vdev);

	return vmdev->ops->bus_name(vmdev);
}

static const struct virtio_config_ops vm_config_ops = {
	.get = vm_get,
	.set = vm_set,
	.generation = vm_generation,
	.get_status = vm_get_status,
	.set_status = vm_set_status,
	.reset = vm_reset,
#ifdef VG_FIND_VQS_ARRAYS
	.find_vqs = vm_find_vqs_arrays,
#else
	.find_vqs = vm_find_vqs,
#endif
	.del_vqs = vm_del_vqs,
	.synchronize_cbs = vm_synchronize_cbs,
	.get_features = vm_get_features,
#ifdef VIRTIO_FEATURES_BITS
	.get_extended_features = vm_get_extended_features,
#endif
	.finalize_features = vm_finalize_features,
	.bus_name = vm_bus_name,
	.set_vq_affinity = vm_set_vq_affinity,
	.get_vq_affinity = vm_get_vq_affinity,
	.disable_vq_and_reset = vm_disable_vq_and_reset,
	.enable_vq_after_reset = vm_enable_vq_after_reset,
};

/* Somebody may hold the device for longer than its driver is bound. */
static void vm_free(struct virtio_msg_device *vmdev)
{
	kfree(vmdev);
	module_put(THIS_MODULE);
}

static void vm_release(struct device *dev)
{
	vm_free(to_vmdev(dev_to_virtio(dev)));
}

/**
 * virtio_msg_create() - make a device that is not registered yet
 * @parent: parent of the virtio device; its DMA operations map rings, buffers
 * @ops: the bus
 * @bus_priv: the bus's own
 *
 * Return: the device, to be freed by virtio_msg_put(); NULL without memory.
 */
struct virtio_msg_device *
virtio_msg_create(struct device *parent, const struct virtio_msg_bus_ops *ops,
		  void *bus_priv)
{
	struct virtio_msg_device *vmdev;

	vmdev = kzalloc(sizeof(*vmdev), GFP_KERNEL);
	if (!vmdev)
		return NULL;
	__module_get(THIS_MODULE);
	vmdev->ops = ops;
	vmdev->bus_priv = bus_priv;
	vmdev->vdev.dev.parent = parent;
	vmdev->vdev.dev.release = vm_release;
	vmdev->vdev.config = &vm_config_ops;
	mutex_init(&vmdev->queue_mutex);
	return vmdev;
}

/**
 * virtio_msg_put() - let go of the creator's reference
 * @vmdev: the device; not registered (any more)
 */
void virtio_msg_put(struct virtio_msg_device *vmdev)
{
	/* register_virtio_device() gives the struct device its references. */
	if (vmdev->initialised)
		put_device(&vmdev->vdev.dev);
	else
		vm_free(vmdev);
}

/**
 * virtio_msg_identify() - ask the device what it is
 * @vmdev: the device
 *
 * Return: 0; -ENODEV when it is not what it was at an earlier call; another
 * negative errno.
 */
int virtio_msg_identify(struct virtio_msg_device *vmdev)
{
	struct virtio_msg_buf msg = {};
	struct virtio_msg_device_info_resp *r = (void *)msg.payload;
	u32 id, vendor;
	int ret;

	ret = vm_call(vmdev, VIRTIO_MSG_GET_DEVICE_INFO, &msg, 0, sizeof(*r));
	if (ret < 0)
		return ret;

	id = get32(&r->device_id);
	vendor = get32(&r->vendor_id);
	if (!id || get32(&r->max_vqs) > VM_MAX_QUEUES ||
	    get32(&r->config_size) > VM_MAX_CONFIG) {
		dev_err(vmdev->vdev.dev.parent,
			"not a virtio device: id %u, %u queues, %u configuration bytes\n",
			id, get32(&r->max_vqs), get32(&r->config_size));
		return -EPROTO;
	}
	if (vmdev->vdev.id.device && vmdev->vdev.id.device != id)
		return -ENODEV;

	vmdev->vdev.id.device = id;
	vmdev->vdev.id.vendor = vendor;
	vmdev->config_size = get32(&r->config_size);
	vmdev->max_vqs = get32(&r->max_vqs);
	return 0;
}

/*
 * A driver is removed with its device, by sysfs, or with its own module: each
 * way leads by here.
 */
static int vm_unbind(struct notifier_block *nb, unsigned long event, void *dev)
{
	struct virtio_msg_device *vmdev =
		container_of(nb, struct virtio_msg_device, unbind);

	if (dev != &vmdev->vdev.dev)
		return NOTIFY_DONE;
	if (event == BUS_NOTIFY_UNBIND_DRIVER)
		vmdev->ops->leave(vmdev);
	else if (event == BUS_NOTIFY_UNBOUND_DRIVER)
		vmdev->ops->left(vmdev);
	return NOTIFY_DONE;
}

/**
 * virtio_msg_register() - hand an identified device to its driver
 * @vmdev: the device
 *
 * The driver's probe runs in here, which may take as long as the device lets
 * it; virtio_msg_break() and virtio_msg_fail_requests() from another context
 * end that. After an error, virtio_msg_put() is all that is left to do.
 *
 * Return: 0 or a negative errno.
 */
int virtio_msg_register(struct virtio_msg_device *vmdev)
{
	int ret;

	vmdev->initialised = true;
	ret = register_virtio_device(&vmdev->vdev);
	if (ret)
		return ret;
	/* Unregistering drops one: this one is virtio_msg_put()'s. */
	get_device(&vmdev->vdev.dev);
	vmdev->unbind.notifier_call = vm_unbind;
	bus_register_notifier(vmdev->vdev.dev.bus, &vmdev->unbind);
	return 0;
}

/**
 * vm_part() - make a frozen driver ready to be removed
 * @vmdev: the device
 *
 * What a driver freed when it was frozen, it frees again when it is removed
 * (vblk->vqs of virtblk_freeze() and virtblk_remove(), for one). So it is
 * restored first, with queues that are broken from the beginning and lead
 * nowhere, and with the configuration as it was.
 */
static void vm_part(struct virtio_msg_device *vmdev)
{
	vmdev->parting = true;
	virtio_msg_break(vmdev);
#ifdef CONFIG_PM_SLEEP
	if (virtio_device_restore(&vmdev->vdev))
		dev_warn(&vmdev->vdev.dev,
			 "its driver was frozen, and is removed like this\n");
#endif
	vmdev->frozen = false;
}

/**
 * virtio_msg_unregister() - take the device from its driver
 * @vmdev: a registered device; stays valid until virtio_msg_put()
 */
void virtio_msg_unregister(struct virtio_msg_device *vmdev)
{
	if (vmdev->frozen && !vmdev->stale)
		vm_part(vmdev);
	unregister_virtio_device(&vmdev->vdev);
	bus_unregister_notifier(vmdev->vdev.dev.bus, &vmdev->unbind);
}

/* ---- what the bus reports ------------------------------------------------ */

/**
 * virtio_msg_config_event() - the device sent EVENT_CONFIG
 * @vmdev: the device; may sleep
 * @status: of the device
 * @generation: of the configuration
 *
 * virtio's core calls the driver's config_changed() under a spin lock, and some
 * drivers read the configuration there (virtio_can does), for which messages must
 * be awaited. So it is read before, and those reads are served from that.
 *
 * A device that needs a reset has stopped for a fault that it saw in us, and
 * Linux's drivers do not recover from that: its requests fail, visibly.
 */
void virtio_msg_config_event(struct virtio_msg_device *vmdev, u32 status,
			     u32 generation)
{
	if (!vmdev->started || READ_ONCE(vmdev->gone) || vmdev->frozen)
		return;

	WRITE_ONCE(vmdev->generation, generation);
	if (!(status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		vm_take_snapshot(vmdev);
		WRITE_ONCE(vmdev->in_event, current);
		virtio_config_changed(&vmdev->vdev);
		WRITE_ONCE(vmdev->in_event, NULL);
		return;
	}

	dev_err_ratelimited(&vmdev->vdev.dev,
			    "stopped: a request broke the rules, see vgrantd\n");
	virtio_break_device(&vmdev->vdev);
	vm_wake(vmdev);
	/* Answered when nothing is mapped any more. */
	if (!vm_write_status(vmdev, 0)) {
		vmdev->queues_set = false;
		virtio_msg_fail_requests(vmdev);
	}
}

/**
 * virtio_msg_break() - the device is gone, or must not be used any more
 * @vmdev: the device; may sleep. Not undone.
 */
void virtio_msg_break(struct virtio_msg_device *vmdev)
{
	WRITE_ONCE(vmdev->gone, true);
	if (!vmdev->started)
		return;
	virtio_break_device(&vmdev->vdev);
	vm_wake(vmdev);
}

/**
 * virtio_msg_fail_requests() - end the requests that the device had
 * @vmdev: a broken device that touches its memory no more; may sleep
 */
void virtio_msg_fail_requests(struct virtio_msg_device *vmdev)
{
	struct virtqueue *vq;

	if (!vmdev->started)
		return;

	mutex_lock(&vmdev->queue_mutex);
	/*
	 * Drivers add and take buffers in interrupts or under spinlocks: when
	 * those that began before the queues broke are over, nobody is left.
	 */
	vm_synchronize_cbs(&vmdev->vdev);
	synchronize_rcu();
	list_for_each_entry(vq, &vmdev->vdev.vqs, list)
		virtio_msg_fail_queue(vq);
	mutex_unlock(&vmdev->queue_mutex);
}

/* ---- suspend ------------------------------------------------------------- */

/**
 * virtio_msg_freeze() - stop the device before the guest is suspended
 * @vmdev: a registered device
 *
 * A driver that cannot be frozen loses its device, and gets it back as a new
 * one afterwards.
 *
 * Return: 0 or a negative errno, with the device as it was.
 */
int virtio_msg_freeze(struct virtio_msg_device *vmdev)
{
	struct virtio_device *vdev = &vmdev->vdev;
	struct virtio_driver *drv = NULL;
	int ret = 0;

	vm_take_snapshot(vmdev);
#ifdef CONFIG_PM_SLEEP
	if (vdev->dev.driver)
		drv = drv_to_virtio(vdev->dev.driver);
	if (!drv || (drv->freeze && drv->restore))
		ret = virtio_device_freeze(vdev);
	else
		vmdev->stale = true;
#else
	vmdev->stale = true;
#endif
	if (ret)
		return ret;
	if (vmdev->stale) {
		virtio_break_device(vdev);
		vm_wake(vmdev);
		vm_reset(vdev);
		virtio_msg_fail_requests(vmdev);
	}
	vmdev->frozen = true;
	/*
	 * virtio-gpu, and a network driver whose packets are in a program's
	 * memory, keep buffers mapped. They would use the addresses again.
	 */
	vmdev->lost = !vmdev->stale && vmdev->ops->lasting(vmdev);
	return 0;
}

/**
 * virtio_msg_restore() - start the device again after a suspend
 * @vmdev: a frozen device whose backend answers
 *
 * Return: 0; or a negative errno: then the device must be unregistered.
 */
int virtio_msg_restore(struct virtio_msg_device *vmdev)
{
	int ret = -ESTALE;

	if (vmdev->stale || vmdev->lost)
		return ret;
	vmdev->frozen = false;
#ifdef CONFIG_PM_SLEEP
	ret = virtio_device_restore(&vmdev->vdev);
#endif
	vmdev->frozen = ret;
	return ret;
}
