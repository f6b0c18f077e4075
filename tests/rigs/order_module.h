/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * order_module.h - the guest's module as one of the two sides of order.h
 *
 * Its file is compiled with tests/rigs/kernel in place of a kernel's headers, and so apart from the
 * backend's.
 */
#ifndef ORDER_MODULE_H
#define ORDER_MODULE_H

#define OM_CELLS 2048 /* a page */

#include "tests/rigs/order.h"

extern struct om_event module_kick, module_interrupt;

/** module_prepare - a device whose control page is at @page, before each run */
void module_prepare(void *page);

/** module_calls - make @n requests, one after the other, and look at the answers */
void module_calls(unsigned n);

#endif /* ORDER_MODULE_H */
