/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtqueue.h - the device side of a virtqueue, split or packed
 *
 * VIRTIO 1.3 sections 2.6 to 2.8. The device takes *chains* (what the driver
 * made available), does its work, and gives each back with the number of bytes
 * it wrote. Five verbs:
 *
 *   pop    take up to n available chains, indirect tables resolved and checked
 *   push   one chain is done (not yet visible to the driver)
 *   flush  publish what was pushed; says whether to notify the driver
 *   rearm  ask for notifications again; says whether chains came meanwhile
 *   stop   where the ring stands, so that another can go on
 *
 * Everything that the driver wrote is copied once, then checked, then used. A
 * driver that breaks the rules makes pop return -EPROTO (the ring) or -EFAULT
 * (memory that is not there); the queue then yields nothing more until it is
 * started again, and vq->fault says why in words.
 *
 * In-flight record. With one, a successor of a killed process carries on: it
 * sees again every chain that was popped and not published, in the order in
 * which they were popped, and none that was published. The record has the
 * layout of vhost-user's in-flight region (QEMU docs/interop/vhost-user.rst,
 * "Inflight I/O tracking"), so that the same code serves a vhost-user
 * front-end's region and the file that a virtio-grant worker keeps.
 */
#ifndef VG_VIRTQUEUE_H
#define VG_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/memory/guestmem.h"
#include "backend/virtio/types.h"

/**
 * vg_vq_new - map and check a ring
 * @mem: must outlive the queue
 *
 * Return: 0 and a queue in *@out, for vg_vq_free(); -EINVAL: size, alignment (VIRTIO 2.7: 16, 2, 4;
 * 2.8: 16, 4, 4) or record; -EFAULT or the like: the ring's memory is not there; -ENOMEM. @err gets
 * a sentence.
 */
int vg_vq_new(struct vg_mem *mem, const struct vg_vq_config *cfg, struct vg_vq **out,
	      struct vg_err *err);

/** vg_vq_free - unmap the ring; chains not pushed are forgotten. NULL is allowed. */
void vg_vq_free(struct vg_vq *vq);

/** vg_vq_stop - where the ring stands; chains popped and not flushed are not counted as used */
struct vg_vq_state vg_vq_stop(struct vg_vq *vq);

/**
 * vg_vq_pop - take available chains
 * @out: @max pointers; valid until the chain is pushed
 *
 * Chains of a predecessor come first. All indirect tables of the call are fetched with one batch.
 * When a broken chain follows good ones, the good ones come first and the next call fails. Fewer
 * than there are may come while VG_VQ_LONG_MAX long chains are out: pop again after a push.
 *
 * Return: how many (0: none); -EPROTO, -EFAULT: the driver broke the ring, see vg_vq_fault().
 */
int vg_vq_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max);

/** vg_vq_unpop - put back the newest popped chain, unseen; newest first when there are several */
void vg_vq_unpop(struct vg_vq *vq, struct vg_chain *c);

/**
 * vg_vq_push - @c is done; @c is gone afterwards
 * @written: bytes written to the device-writable part, from its start (VIRTIO 2.7.8)
 *
 * Its mappings must be released and its copies done. Not visible to the driver before
 * vg_vq_flush(). With IN_ORDER the engine holds it back until its elders are pushed; several chains
 * that were written in full then share one used entry.
 */
void vg_vq_push(struct vg_vq *vq, struct vg_chain *c, uint32_t written);

/**
 * vg_vq_flush - publish pushed chains, all at once
 *
 * Return: whether the driver wants a notification. After a start the first that publishes says so
 * whatever the driver's event index; a successor should notify once by itself, since its
 * predecessor may have died between the two.
 */
bool vg_vq_flush(struct vg_vq *vq);

/** vg_vq_quiet - tell the driver that no available-buffer notifications are needed for now */
void vg_vq_quiet(struct vg_vq *vq);

/**
 * vg_vq_rearm - ask for a notification at the next available chain
 *
 * Return: true when there is a chain already: pop again, no notification may come for it.
 */
bool vg_vq_rearm(struct vg_vq *vq);

/**
 * vg_vq_rearm_after - the same, for the @n-th next available chain instead, @n >= 1
 *
 * Without EVENT_IDX for the next; on a packed ring for the @n-th descriptor. No notification comes
 * while there are fewer: the caller must look by itself after a while.
 *
 * Return: true when there are as many already.
 */
bool vg_vq_rearm_after(struct vg_vq *vq, unsigned n);

/** vg_vq_disarm - take back what vg_vq_rearm() asked for; a notification may be on its way */
void vg_vq_disarm(struct vg_vq *vq);

/** vg_vq_waiting - a glance: whether vg_vq_pop() had something to do */
bool vg_vq_waiting(const struct vg_vq *vq);

/**
 * vg_vq_seen - whether the driver has taken all that was published
 *
 * As its event index tells: Linux' drivers move it when they have taken what there was.
 *
 * Return: true, too, where it cannot be known: without EVENT_IDX, or when the driver names no place.
 */
bool vg_vq_seen(const struct vg_vq *vq);

/** vg_vq_size, vg_vq_packed - descriptors of the ring, and its format */
uint32_t vg_vq_size(const struct vg_vq *vq);
bool vg_vq_packed(const struct vg_vq *vq);

/** vg_vq_inflight - chains popped and not yet pushed */
unsigned vg_vq_inflight(const struct vg_vq *vq);

/** vg_vq_fault - why the queue is broken, a sentence; NULL when it is not */
const char *vg_vq_fault(const struct vg_vq *vq);

/** vg_vq_stats - counters since vg_vq_new(); read-only */
const struct vg_vq_stats *vg_vq_stats(const struct vg_vq *vq);

/** vg_vq_inflight_size - bytes of an in-flight record for a ring of @size; 64-byte aligned */
size_t vg_vq_inflight_size(uint32_t size, bool packed);

#endif /* VG_VIRTQUEUE_H */
