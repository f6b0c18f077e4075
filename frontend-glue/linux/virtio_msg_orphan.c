// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_msg_orphan.c - end the requests of a device that died
 *
 * A virtio driver waits for its buffers for as long as the device takes. When
 * the device is gone for good, virtio_break_device() lets new requests fail,
 * but those that the device already has stay where they are; the block layer
 * waits for them with uninterruptible tasks, and virtio_blk's own removal
 * does too. So the transport ends them: it takes the buffers back from the
 * ring, and completes them as the device would have, with an error.
 *
 * What "with an error" means depends on the kind of device. Block is handled
 * here, because there a wait for a request has no other end; drivers that sleep
 * until a callback runs are woken by virtio_msg_break(). The token of a
 * buffer is the driver's part of a struct request, which ends through
 * blk_mq_complete_request(), and the status that the driver then looks at is
 * VIRTIO_MSG_POISON: the DMA operations put it there when the buffer was
 * mapped, and only a device that answered has overwritten it. (See
 * vg_dma_poison().) Other drivers get their buffers back when they detach
 * unused ones at removal.
 */
#include <linux/blk-mq.h>
#include <linux/virtio.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_msg.h"

/**
 * virtio_msg_fail_queue() - end all requests that the device had
 * @vq: a virtqueue that is broken; neither the driver nor an interrupt is
 *	working on it, and the device does not touch its memory any more
 */
void virtio_msg_fail_queue(struct virtqueue *vq)
{
	struct request_queue *q = NULL;
	unsigned int failed = 0;
	struct request *req;
	void *token;

	if (vq->vdev->id.device != VIRTIO_ID_BLOCK)
		return;

	while ((token = virtqueue_detach_unused_buf(vq))) {
		req = blk_mq_rq_from_pdu(token);
		q = req->q;
		blk_mq_complete_request(req);
		failed++;
	}
	/* The driver stops a queue when the ring is full; it is empty now. */
	if (q)
		blk_mq_start_stopped_hw_queues(q, true);
	if (failed)
		dev_warn(&vq->vdev->dev, "%s: %u requests failed\n", vq->name,
			 failed);
}
