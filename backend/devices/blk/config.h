/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config.h - the configuration of a disk and the zones of one, VIRTIO 1.3 sections 5.2.3 to 5.2.6
 *
 * What <linux/virtio_blk.h> has of these depends on the kernel's version: erasing came with 5.16,
 * zones with 6.3.
 */
#ifndef VG_BLK_CONFIG_H
#define VG_BLK_CONFIG_H

#include <linux/virtio_blk.h>
#include <stdint.h>

enum {
	BLK_F_LIFETIME = 15,
	BLK_F_SECURE_ERASE = 16,
	BLK_F_ZONED = 17,
};

/* Requests, 5.2.6 */
enum {
	BLK_T_GET_LIFETIME = 10,
	BLK_T_SECURE_ERASE = 14,
	BLK_T_ZONE_APPEND = 15,
	BLK_T_ZONE_REPORT = 16,
	BLK_T_ZONE_OPEN = 18,
	BLK_T_ZONE_CLOSE = 20,
	BLK_T_ZONE_FINISH = 22,
	BLK_T_ZONE_RESET = 24,
	BLK_T_ZONE_RESET_ALL = 26,
};

/* Status of requests to zones, 5.2.6 */
enum {
	BLK_S_ZONE_INVALID_CMD = 3,
	BLK_S_ZONE_UNALIGNED_WP = 4,
	BLK_S_ZONE_OPEN_RESOURCE = 5,
	BLK_S_ZONE_ACTIVE_RESOURCE = 6,
};

enum { BLK_Z_NONE = 0, BLK_Z_HM = 1 }; /* zoned.model */

/* 5.2.4; little-endian */
struct blk_config {
	uint64_t capacity; /* sectors of 512 bytes */
	uint32_t size_max;
	uint32_t seg_max;
	struct {
		uint16_t cylinders;
		uint8_t heads, sectors;
	} geometry;
	uint32_t blk_size;
	struct {
		uint8_t physical_block_exp, alignment_offset;
		uint16_t min_io_size;
		uint32_t opt_io_size;
	} topology;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	uint32_t max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
	struct {
		uint32_t zone_sectors, max_open_zones, max_active_zones, max_append_sectors;
		uint32_t write_granularity; /* bytes */
		uint8_t model, unused2[3];
	} zoned;
};

_Static_assert(sizeof(struct blk_config) == 96, "5.2.4 has no gaps");

/* GET_LIFETIME's answer, 5.2.6: as JEDEC's eMMC has it (EXT_CSD, PRE_EOL_INFO and so on); 0: not known. */
struct blk_lifetime {
	uint16_t pre_eol_info, device_lifetime_est_typ_a, device_lifetime_est_typ_b;
};

/* ZONE_REPORT's answer, 5.2.6 */
struct blk_report_head {
	uint64_t nr_zones;
	uint8_t reserved[56];
};

struct blk_report_zone {
	uint64_t z_cap, z_start, z_wp; /* sectors */
	uint8_t z_type, z_state;
	uint8_t reserved[38];
};

_Static_assert(sizeof(struct blk_report_head) == 64 && sizeof(struct blk_report_zone) == 64,
	       "as in 5.2.6");

#endif /* VG_BLK_CONFIG_H */
