/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attacks.h - what a malicious guest does to a live connection, by name
 *
 * Theory of operation
 * -------------------
 * Each attack is a function on a disk that is connected and idle: it does
 * its worst, then proves that the guest lost no more than its own device at
 * most, and that a reset (or a new connection) brings that device back: data
 * is written, read back and compared. It stands on vgrant_driver.h and xen.h
 * alone, so that the same attacks run
 *
 *	on tests/fakes/xen	tests/unit/ports/test_attacks.c
 *	on real Xen		the program `hostile` in a guest, tests/xen/t/46-attacks.t
 *
 * What the victims of an attack saw (another guest's load, the daemon, what
 * dom0 holds) is for those who run it to check.
 *
 * Attacks have groups, each meant for a disk of its own: the backend slows down
 * who connects more than 60 times a minute.
 */
#ifndef DRV_ATTACKS_H
#define DRV_ATTACKS_H

#include "tests/driver/vblk.h"
#include "tests/driver/vgrant_driver.h"

/** struct attack_on - a disk under attack */
struct attack_on {
	struct drv_xen *xen;
	unsigned int id; /* of the virtio device */
	unsigned int ms; /* for how long a storm lasts; loops repeat more with it */
	struct drv_dev *dev;
	struct drv_blk blk;
	unsigned int turn; /* of verified writes: place and pattern follow from it */
	char why[256];	   /* what was wrong; empty: nothing */
	char note[256];	   /* a figure for people; may be empty */
};

/** struct attack - one row of the list of what a backend must survive */
struct attack {
	const char *group; /* "grants", "rings", "control", "life" */
	const char *name;
	const char *row;
	/* on a connected, idle disk (queue 0 is up, split, 64); 0, or -1 with @why */
	int (*run)(struct attack_on *a);
};

extern const struct attack attacks[];
extern const unsigned int n_attacks;

/** attack_find() - by name; NULL: none */
const struct attack *attack_find(const char *name);

/**
 * attack_run() - connect, attack, see that the disk works, disconnect
 * @xen, @id: which disk
 * @ms: for how long a storm lasts
 * @a: filled in; why and note are the result's words
 *
 * Whatever state the device is in from before. Return: 0, or -1 with a->why.
 */
int attack_run(const struct attack *attack, struct drv_xen *xen, unsigned int id, unsigned int ms,
	       struct attack_on *a);

/** attack_siege() - attack until killed: never disconnects; returns only if it cannot begin */
int attack_siege(struct drv_xen *xen, unsigned int id, struct attack_on *a);

/** attack_vanish() - leave requests in flight and a pool announced; the caller dies then */
int attack_vanish(struct drv_xen *xen, unsigned int id, struct attack_on *a);

/** attack_park() - stop the device by a broken ring, or @control: page; and leave it so */
int attack_park(struct drv_xen *xen, unsigned int id, bool control, struct attack_on *a);

/* ---- for the attacks themselves (attacks*.c) ----------------------------------- */

#define NO_PACKED   (~(1ull << VIRTIO_F_RING_PACKED))
#define NEEDS_RESET 0x40

/** at_fail() - say what was wrong; Return: -1 */
int at_fail(struct attack_on *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define MUST(cond, ...)                                 \
	do {                                            \
		if (!(cond))                            \
			return at_fail(a, __VA_ARGS__); \
	} while (0)

/** at_connect() - to Connected, from any state */
int at_connect(struct attack_on *a);

/** at_up() - negotiate and start queue 0 */
int at_up(struct attack_on *a, uint64_t features, unsigned int size);

/** at_works() - write a page, read it back, compare */
int at_works(struct attack_on *a);

enum at_outcome { AT_USED = 1, AT_STOPPED };

/** at_outcome() - wait for a used chain, or NEEDS_RESET; Return: which, or -1 */
int at_outcome(struct attack_on *a, struct drv_used *used, const char *what);

/** at_stopped() - the device says NEEDS_RESET, by event and by status; then at_again() */
int at_stopped(struct attack_on *a, const char *what);

/** at_again() - reset, start again as at first, see that it works */
int at_again(struct attack_on *a, const char *what);

/** at_gets_back() - the connection was ended: Closed, with a sentence; then a new one works */
int at_gets_back(struct attack_on *a, const char *what);

/** at_pause() - milliseconds */
void at_pause(unsigned int ms);

/** at_now() - milliseconds of the monotonic clock */
int64_t at_now(void);

/* grants */
int attack_grant_unknown(struct attack_on *a);
int attack_grant_revoked(struct attack_on *a);
int attack_grant_readonly(struct attack_on *a);
int attack_grant_foreign(struct attack_on *a);
int attack_grant_hole(struct attack_on *a);
int attack_grant_batch(struct attack_on *a);
int attack_grant_header(struct attack_on *a);
int attack_grant_race(struct attack_on *a);
int attack_map_slots(struct attack_on *a);
int attack_pool_churn(struct attack_on *a);
/* rings */
int attack_ring_address(struct attack_on *a);
int attack_ring_overlap(struct attack_on *a);
int attack_ring_split(struct attack_on *a);
int attack_ring_packed(struct attack_on *a);
int attack_ring_twice(struct attack_on *a);
int attack_ring_used(struct attack_on *a);
int attack_flip_split(struct attack_on *a);
int attack_flip_packed(struct attack_on *a);
int attack_flip_siege(struct attack_on *a);
int attack_break_ring(struct attack_on *a);
/* control */
int attack_control_offer(struct attack_on *a);
int attack_control_revoked(struct attack_on *a);
int attack_control_index(struct attack_on *a);
int attack_control_own(struct attack_on *a);
int attack_control_message(struct attack_on *a);
int attack_control_silent(struct attack_on *a);
int attack_control_flood(struct attack_on *a);
int attack_kick_nothing(struct attack_on *a);
int attack_storm_queue(struct attack_on *a);
int attack_storm_control(struct attack_on *a);
/* life */
int attack_xenstore_keys(struct attack_on *a);
int attack_xenstore_states(struct attack_on *a);
int attack_xenstore_flood(struct attack_on *a);
int attack_reconnect(struct attack_on *a);

#endif /* DRV_ATTACKS_H */
