/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_compat.h - what differs between the kernels that we build for
 *
 * Every test of a kernel's version or of its interfaces is here, and names a
 * property that the rest of the module tests. Oldest kernel: 6.1, Debian 12's.
 * tests/xen/kernels builds for all that Debian offers.
 */
#ifndef VIRTIO_GRANT_COMPAT_H
#define VIRTIO_GRANT_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "virtio_grant needs Linux 6.1 or later"
#endif

/*
 * Rings and buffers get grant addresses from the DMA operations of the virtio
 * device's parent. Both architectures that Xen runs on select them with Xen;
 * the symbol got the name of the first test with 6.12.
 */
#if !defined(CONFIG_ARCH_HAS_DMA_OPS) && !defined(CONFIG_DMA_OPS)
#error "virtio_grant needs a kernel with DMA operations"
#endif

/* 6.19: DMA operations map physical addresses, not pages. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define VG_DMA_OPS_MAP_PHYS
#endif

/* 6.10: alloc_pages became a macro, and the operation got another name. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define alloc_pages_op alloc_pages
#endif

/* 6.18: a mapping may be of I/O memory, which cannot be granted. */
#ifndef DMA_ATTR_MMIO
#define DMA_ATTR_MMIO 0
#endif

/* 6.17: more than 64 feature bits. */
#ifdef VIRTIO_FEATURES_BITS
#define VG_FEATURE_WORDS  VIRTIO_FEATURES_U64S
#define vg_features(vdev) ((vdev)->features_array)
#else
#define VG_FEATURE_WORDS  1
#define vg_features(vdev) (&(vdev)->features)
#endif

/* 6.4: a feature that we do not offer to drivers. */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif

/* 6.11: one array describes the queues of find_vqs(); before, three did. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#define VG_FIND_VQS_ARRAYS

struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};
#endif

#endif /* VIRTIO_GRANT_COMPAT_H */
