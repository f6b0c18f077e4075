// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * record.c - see record.h
 *
 * The file is sparse: an in-flight area is laid out for the largest queue that
 * the device allows, and costs memory only where a ring was used.
 */
#include "backend/ports/record.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static size_t round_up(size_t n)
{
	return (n + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* The layout serves both ring formats: the larger of the two. */
static size_t inflight_stride(uint32_t queue_size_max)
{
	size_t split = vg_vq_inflight_size(queue_size_max, false);
	size_t packed = vg_vq_inflight_size(queue_size_max, true);

	return round_up(split > packed ? split : packed);
}

int vg_record_open(int fd, uint32_t queue_size_max, struct vg_record_map *map)
{
	size_t header = round_up(sizeof(struct vg_record));
	size_t size = header;
	struct vg_record *rec;
	struct stat st;
	bool valid;

	if (queue_size_max)
		size += VG_MAX_QUEUES * inflight_stride(queue_size_max);
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((size_t)st.st_size < size && ftruncate(fd, (off_t)size) < 0)
		return -errno;
	rec = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rec == MAP_FAILED)
		return -errno;
	valid = rec->magic == VG_RECORD_MAGIC && rec->version == VG_RECORD_VERSION &&
		(!queue_size_max || rec->queue_size_max == queue_size_max);
	if (queue_size_max && !valid) {
		memset(rec, 0, sizeof(*rec));
		rec->version = VG_RECORD_VERSION;
		rec->queue_size_max = queue_size_max;
		rec->magic = VG_RECORD_MAGIC;
	}
	map->rec = rec;
	map->size = size;
	return 0;
}

void vg_record_close(struct vg_record_map *map)
{
	if (map->rec)
		munmap(map->rec, map->size);
	map->rec = NULL;
}

const struct vg_record_state *vg_record_read(const struct vg_record_map *map)
{
	return &map->rec->state[atomic_load_explicit(&map->rec->active, memory_order_acquire) & 1];
}

void vg_record_write(struct vg_record_map *map, const struct vg_record_state *state)
{
	uint32_t next = !(atomic_load_explicit(&map->rec->active, memory_order_relaxed) & 1);

	map->rec->state[next] = *state;
	atomic_store_explicit(&map->rec->active, next, memory_order_release);
}

void *vg_record_inflight(const struct vg_record_map *map, unsigned q)
{
	return (uint8_t *)map->rec + round_up(sizeof(struct vg_record)) +
	       q * inflight_stride(map->rec->queue_size_max);
}

void vg_record_fresh(struct vg_record_map *map, unsigned q)
{
	memset(vg_record_inflight(map, q), 0, inflight_stride(map->rec->queue_size_max));
}
