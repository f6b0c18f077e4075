/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * limits.h - everything that a guest can make us hold, bounded by name
 *
 * A limit here is the most, not what a guest gets: most are reached only by a
 * guest that tries. What is not in this table is bounded by the size of a ring.
 */
#ifndef VG_LIMITS_H
#define VG_LIMITS_H

#include <stdint.h>

/*
 * VIRTIO's own fields are little-endian and read as such, but records, vhost-user's messages and the
 * protocols between our processes are in this machine's order, and no Xen runs on another.
 */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vgrant is for little-endian machines: Xen runs on no other, and nobody has tried it there"
#endif

/* Descriptors of a ring on the grant port. A ring costs the host its mapping (16 bytes a
 * descriptor, of maptrack frames one in 256) and a request record each. */
#define VG_LIMIT_QUEUE_SIZE 32768u

/* Segments of one chain, indirect or not: a larger request gains nothing, and each costs a copy
 * operation. QEMU's VIRTQUEUE_MAX_SIZE is the same. */
#define VG_CHAIN_MAX 1024u

/* The largest map-from of a disk, and the largest request of Linux' virtio_blk. It bounds nothing
 * else. A chain's data may be longer: over grants what bounce memory holds (VG_LIMIT_BOUNCE_BYTES);
 * in memory that is direct it costs us nothing. */
#define VG_LIMIT_REQUEST_BYTES (4u << 20)

/* Bounce memory of one device that may be out at once; a device waits when it is used up. */
#define VG_LIMIT_BOUNCE_BYTES (64u << 20)

/* Of that, what a thread of a device has in any case, whatever its guest's budget: one that does not
 * fit at all is an I/O error. Linux gives a disk requests of up to 1280 KiB, and of 4 MiB since 6.17
 * (BLK_DEF_MAX_SECTORS_CAP), where pages lie side by side: seg_max bounds their segments alone. */
#define VG_LIMIT_BOUNCE_LEAST (4u << 20)

/* Beside that, for a device whose I/O pins its buffers (O_DIRECT): bytes that a thread of its has pinned
 * once and for all, and the largest buffer that is made of them. Eight of these are what a disk has in
 * flight that is read in large pieces. */
#define VG_LIMIT_BOUNCE_PINNED	   (512u << 10)
#define VG_LIMIT_BOUNCE_PINNED_MAX (64u << 10)

/* Buffers of a disk's queue for what its image takes only aligned (O_DIRECT), or for zeroes that must
 * be written: 2 MiB. A request uses one, slice by slice, and waits for it. */
#define VG_LIMIT_IMAGE_BOUNCES	    8u
#define VG_LIMIT_IMAGE_BOUNCE_BYTES (256u << 10)

/* 1 GiB: a discard or write-zeroes request keeps its loop's thread for that (hand.h) busy meanwhile. */
#define VG_LIMIT_DISCARD_SECTORS (1u << 21)

/* Kernel threads of one loop that run what would block (io-wq): reads and writes of files that
 * cannot wait otherwise; and the same for sockets and devices. Without a bound the kernel
 * starts four a processor for the first kind and any number for the second. */
#define VG_LIMIT_IO_THREADS	    16u
#define VG_LIMIT_IO_THREADS_UNBOUND 4u

/* Pages of all pools of a device: 32 MiB. One maptrack entry each, of 1024 frames x 256 for the
 * whole backend domain (Xen: gnttab_max_maptrack_frames). */
#define VG_LIMIT_POOL_PAGES 8192u
#define VG_LIMIT_POOLS	    16u

/* Pages of data buffers of a device that are mapped at once, 8 MiB; further data is copied. Maptrack
 * entries, again. */
#define VG_LIMIT_DATA_PAGES 2048u

/* Pages that a device holds mapped from one request to another, because a payload named them: the
 * pictures of a GPU. 128 MiB: all that a guest of Xen's can grant by default (64 frames of 512
 * references; max_grant_frames= in its configuration makes it more). Maptrack entries, again. */
#define VG_LIMIT_LONG_PAGES 32768u

/* Memory of a device's own, for what its guest makes it keep: pictures of a GPU that are no blobs. As
 * much as QEMU's. */
#define VG_LIMIT_HOST_BYTES (256u << 20)

/* A GPU's resources, and the ranges of guest memory behind all of them, counted where what lies side by
 * side is one. A successor must know them, so that they cost 12 bytes each in the record, twice. A
 * screen of 1080p in pages that lie anywhere is 2025 ranges; QEMU takes 16384 for one resource. */
#define VG_LIMIT_GPU_RESOURCES 512u
#define VG_LIMIT_GPU_RANGES    16384u

/* Entries of one ATTACH_BACKING or CREATE_BLOB, before they are put together. */
#define VG_LIMIT_GPU_ENTRIES 16384u

/* Bytes of one picture, and pixels of a side. 64 MiB: 4096 x 4096. */
#define VG_LIMIT_GPU_BYTES (64u << 20)
#define VG_LIMIT_GPU_SIDE  16384u

/* Bytes of what a GPU says that it can do in three dimensions; virglrenderer's are 1.4 to 2 KiB. */
#define VG_LIMIT_GPU_CAPSET 4096u

/* Bytes of one stream of commands (SUBMIT_3D). Mesa's are 256 KiB at most (VIRGL_MAX_CMDBUF_DWORDS);
 * QEMU's most is 4 MiB. */
#define VG_LIMIT_GPU_STREAM (4u << 20)

/* Contexts of 3D: one for each program that draws. */
#define VG_LIMIT_GPU_CONTEXTS 64u

/* Operations that a GPU's renderer has been told and has not answered; further commands stay in the
 * ring. */
#define VG_LIMIT_GPU_OPERATIONS 256u

/* Events that wait until a guest makes buffers for them available, of a keyboard or pointer. A frame
 * is two to eight; a person makes a hundred frames a second. */
#define VG_LIMIT_INPUT_EVENTS 512u

/* Ports of a console: a pty and two queues each. A guest's programs know them by name; QEMU's most is
 * 31. */
#define VG_LIMIT_CONSOLE_PORTS 16u

/* Bytes of a port's output that wait for somebody who reads them. xenconsoled keeps 1 MiB of a guest's
 * console; a screen full of text is 4 KiB. */
#define VG_LIMIT_CONSOLE_BYTES (64u << 10)

/* Viewers of a display, a process each. */
#define VG_LIMIT_VIEWERS 16u

/* Frames that wait until a CAN guest makes receive buffers available; further ones are dropped and
 * counted. 80 bytes each. A 1 Mbit/s bus brings at most 1024 in 48 ms. */
#define VG_LIMIT_CAN_RX_QUEUE 65536u

/* The kernel's buffer of a CAN socket: for a worker that does not run for a while. About 900 bytes
 * a frame with all that the kernel counts: 4600 frames, a quarter of a second at 1 Mbit/s. */
#define VG_LIMIT_CAN_SOCKET_BYTES (4 << 20)

/* Frames of a CAN guest that the host may hold before they are sent; the next ones stay in the
 * ring. Linux' virtio_can has at most 128 under way. */
#define VG_LIMIT_CAN_TX_PENDING 256u

/* Frames of a network device's queue pair that were read and wait for the guest's buffers, and bytes
 * for each: the longest frame and its header. 2.2 MiB a pair, of which small frames touch little. */
#define VG_LIMIT_NET_RX_SLOTS 33u
#define VG_LIMIT_NET_RX_BYTES (68u << 10)

/* Queues of a gateway, and bounce memory of all of them together, which its daemon has, too: 4.5 MiB for
 * each of 16, and so for the longest request of a disk's (VG_LIMIT_BOUNCE_LEAST). */
#define VG_LIMIT_GATEWAY_QUEUES 16u
#define VG_LIMIT_GATEWAY_BYTES	(72u << 20)

/* Control messages handled in one turn of the loop; the rest wait for the next: a guest that
 * floods its control page shares the worker fairly with its own queues. */
#define VG_LIMIT_MESSAGES_PER_TURN 16u

/* Devices of one guest, and of all: a process each. */
#define VG_LIMIT_DEVICES_PER_GUEST 64u
#define VG_LIMIT_DEVICES	   1024u

/* Reconnects: a frontend that connects again and again is slowed to this many a minute. */
#define VG_LIMIT_CONNECTS_PER_MINUTE 60u

/* Descriptors that a worker asks its supervisor for in its life (vg_dev_ask()): a CAN interface that
 * comes back takes one. Who asks for more is replaced, and with it goes what it holds. */
#define VG_LIMIT_ASKED 64u

/* A script that puts an interface where it belongs, and takes it away, is killed after so long; the
 * second number counts when vgrantd stops: its unit's TimeoutStopSec= is 20 s, of which workers may
 * have 10. xl gives its own scripts 40 (libxl_internal.h: LIBXL_HOTPLUG_TIMEOUT). */
#define VG_LIMIT_SCRIPT_S      20u
#define VG_LIMIT_SCRIPT_STOP_S 5u

/* A worker that dies is started again, after 0.1 s, then twice as long each time up to this. */
#define VG_LIMIT_RESTART_DELAY_S 10u

/*
 * A guest's devices together. A device may hold what the limits above allow; how much of that it
 * gets the supervisor says (daemon/budget.h), so that what [limits] of vgrantd.conf gives a guest is
 * not exceeded by all its devices.
 */
struct vg_budget {
	uint32_t pool_pages;   /* of pools, mapped; at most VG_LIMIT_POOL_PAGES */
	uint32_t data_pages;   /* of data, mapped at once; at most VG_LIMIT_DATA_PAGES */
	uint32_t long_pages;   /* that payloads named; at most VG_LIMIT_LONG_PAGES */
	uint64_t bounce_bytes; /* out at once; at most VG_LIMIT_BOUNCE_BYTES */
	uint64_t host_bytes;   /* of the device's own; at most VG_LIMIT_HOST_BYTES */
};

/* The budget of a device that is its guest's only one. */
#define VG_BUDGET_ALL                                                                     \
	{                                                                                 \
		.pool_pages = VG_LIMIT_POOL_PAGES, .data_pages = VG_LIMIT_DATA_PAGES,     \
		.long_pages = VG_LIMIT_LONG_PAGES, .bounce_bytes = VG_LIMIT_BOUNCE_BYTES, \
		.host_bytes = VG_LIMIT_HOST_BYTES,                                        \
	}

#endif /* VG_LIMITS_H */
