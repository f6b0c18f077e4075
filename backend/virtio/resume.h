/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resume.h - a queue takes up the in-flight record of a predecessor
 */
#ifndef VG_VIRTQUEUE_RESUME_H
#define VG_VIRTQUEUE_RESUME_H

#include "backend/virtio/int.h"

/**
 * vg_rec_start - begin with @rec, or carry on from it: sets where the ring stands and vq->resub
 *
 * Return: 0; -EINVAL: the record makes no sense; -ENOMEM. @err gets a sentence.
 */
int vg_rec_start(struct vg_vq *vq, void *rec, struct vg_err *err);

#endif /* VG_VIRTQUEUE_RESUME_H */
