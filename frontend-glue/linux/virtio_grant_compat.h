/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_compat.h - what differs between the kernels that we build for
 *
 * Every test of a kernel's version or of its interfaces is here, and names a
 * property that the rest of the module tests. Oldest kernel: 6.11 (struct
 * virtqueue_info). Seen to build: Debian's 6.12 and 7.3.
 */
#ifndef VIRTIO_GRANT_COMPAT_H
#define VIRTIO_GRANT_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/version.h>
#include <linux/virtio.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#error "virtio_grant needs Linux 6.11 or later"
#endif

/*
 * Rings and buffers get grant addresses from the DMA operations of the virtio
 * device's parent. Both architectures that Xen runs on select them with Xen.
 */
#ifndef CONFIG_ARCH_HAS_DMA_OPS
#error "virtio_grant needs CONFIG_ARCH_HAS_DMA_OPS"
#endif

/* 6.19: DMA operations map physical addresses, not pages. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define VG_DMA_OPS_MAP_PHYS
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

#endif /* VIRTIO_GRANT_COMPAT_H */
