/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * container.h - small words that every room uses
 */
#ifndef VG_CONTAINER_H
#define VG_CONTAINER_H

#include <stddef.h>
#include <stdint.h>

/**
 * container_of - the structure that @ptr is the member @member of
 *
 * Also from a pointer to const: what the owner may do with it is the owner's to know.
 */
#define container_of(ptr, type, member) ((type *)((char *)(uintptr_t)(ptr)-offsetof(type, member)))

/** COUNT - how many elements @array has; not for pointers */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NS_PER_S INT64_C(1000000000)

#endif /* VG_CONTAINER_H */
