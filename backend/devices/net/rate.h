/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rate.h - how much a guest may send, as the user writes it
 */
#ifndef VG_NET_RATE_H
#define VG_NET_RATE_H

#include "backend/base/log.h"
#include "backend/base/rate.h"

/**
 * net_rate_set - as xl's vif= has it (xl-network-configuration(5)): "10Mb/s", "500KB/s@20ms"
 *
 * b is bits, B bytes; K, M, G are powers of 1000; what follows @ is over how long it is averaged, in
 * s, ms or us, 50 ms if it is not said. "0": no limit.
 * Return: 0, or -EINVAL with a sentence; @r is as before then.
 */
int net_rate_set(struct vg_rate *r, const char *text, struct vg_err *err);

#endif /* VG_NET_RATE_H */
