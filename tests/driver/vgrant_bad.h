/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_bad.h - what no frontend should say, for those that say it
 *
 * Shared by the attacks (attacks.h), which run on real Xen as well, and by unit
 * tests that look at the same with the fake host's eyes.
 */
#ifndef DRV_VGRANT_BAD_H
#define DRV_VGRANT_BAD_H

#include "tests/driver/vgrant_driver.h"

/* Size and addresses of a queue that no device may run. */
struct drv_bad_queue {
	uint32_t size;
	uint64_t desc, driver, device;
	const char *what;
};

enum { DRV_BAD_QUEUES = 19 };

/**
 * drv_bad_queues() - all of them
 * @at: address of 8 pages that are granted for reading and writing
 * @ro: address of a page at least that is granted for reading only
 */
void drv_bad_queues(uint64_t at, uint64_t ro, struct drv_bad_queue bad[DRV_BAD_QUEUES]);

/** drv_dev_put() - write any text to a key of the frontend; NULL removes it */
int drv_dev_put(struct drv_dev *dev, const char *name, const char *text);

/**
 * drv_dev_odd_state() - write the next of a row of states: in no order, and now and then none
 * @seed: of the row; what the last call returned
 * @pause: receives whether to pause now, and for what share: 0: no; 1 to 3
 *
 * Return: the seed for the next call.
 */
unsigned int drv_dev_odd_state(struct drv_dev *dev, unsigned int seed, unsigned int *pause);

#endif /* DRV_VGRANT_BAD_H */
