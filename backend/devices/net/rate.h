/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rate.h - how much a guest may send
 */
#ifndef VG_NET_RATE_H
#define VG_NET_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/base/log.h"

/* Shared by all contexts. Zero: no limit. */
struct net_rate {
	_Atomic uint64_t bytes; /* a second; 0: no limit */
	_Atomic int64_t burst;	/* ns worth of bytes that may be sent at once */
	_Atomic int64_t due;	/* ns: what was sent so far is paid for by then */
};

/**
 * net_rate_set - as xl's vif= has it (xl-network-configuration(5)): "10Mb/s", "500KB/s@20ms"
 *
 * b is bits, B bytes; K, M, G are powers of 1000; what follows @ is over how long it is averaged, in
 * s, ms or us, 50 ms if it is not said. "0": no limit.
 * Return: 0, or -EINVAL with a sentence; @r is as before then.
 */
int net_rate_set(struct net_rate *r, const char *text, struct vg_err *err);

/** net_rate_on - whether there is a limit: else the time need not be asked for */
static inline bool net_rate_on(const struct net_rate *r)
{
	return atomic_load_explicit(&r->bytes, memory_order_relaxed) != 0;
}

/** net_rate_wait - for how many ns nothing may be sent; 0: go on */
int64_t net_rate_wait(const struct net_rate *r, int64_t now);

/** net_rate_take - @bytes were sent */
void net_rate_take(struct net_rate *r, uint64_t bytes, int64_t now);

#endif /* VG_NET_RATE_H */
