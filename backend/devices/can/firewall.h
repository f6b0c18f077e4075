/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * firewall.h - what a guest may send to, and hear from, a CAN bus
 *
 * Two gates, one for each direction. A frame passes a gate when
 *
 *  1. its kind is allowed (FD, RTR),
 *  2. its id matches the gate's allow list,
 *  3. the gate's limits of frames a second and of bus load have room for it.
 *
 * What does not pass is refused, and counted by its reason. Refused frames do
 * not count against the limits. Everything can be changed while running.
 */
#ifndef VG_CAN_FIREWALL_H
#define VG_CAN_FIREWALL_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/devices/can/bus.h"
#include "backend/base/log.h"
#include "backend/base/params.h"

/* Rules of one list: what VG_PARAMS_LEN has room for is less. Each costs a comparison a frame. */
#define CAN_RULES_MAX 256

struct can_rule {
	canid_t id, mask; /* SocketCAN's: CAN_EFF_FLAG is always part of the mask */
};

struct can_list {
	bool all; /* no list was given: every id */
	unsigned n;
	struct can_rule rule[CAN_RULES_MAX];
};

/* A token bucket. `level` may be overdrawn by one frame, so that no limit, however small against
 * one frame's cost, lets nothing pass at all. */
struct can_bucket {
	uint64_t per_second; /* units; 0: no limit */
	uint64_t depth;	     /* units: the burst that is forgiven */
	int64_t level;	     /* units */
	int64_t since_ns;    /* vg_now_ns() of the last refill */
};

enum can_verdict {
	CAN_PASS,
	CAN_REFUSED_KIND, /* FD or RTR is not allowed */
	CAN_REFUSED_ID,
	CAN_REFUSED_RATE,
	CAN_REFUSED_LOAD,
	CAN_VERDICTS,
};

struct can_gate {
	struct can_list allow;
	uint64_t rate;		  /* frames a second; 0: no limit */
	uint64_t load;		  /* percent of the bus; 0: no limit */
	struct can_bucket frames; /* unit: frames x 1e9 */
	struct can_bucket bus_ns; /* unit: ns of bus time x 1e9 */
	uint64_t passed;
	uint64_t refused[CAN_VERDICTS]; /* by reason; [CAN_PASS] stays 0 */
};

struct can_firewall {
	struct can_gate tx, rx;		/* as the guest sees it */
	bool fd, rtr;			/* allowed at all, both ways */
	uint32_t bitrate, data_bitrate; /* bit/s, for the bus load */
	bool brs;			/* FD frames are sent with bit rate switch */
};

/* Keys of a configuration that are the firewall's: entries for the device's table of parameters. */
#define CAN_FIREWALL_PARAMS                                                                     \
	{ "tx-allow",                                                                           \
	  VG_PARAM_STRING,                                                                      \
	  false,                                                                                \
	  0,                                                                                    \
	  0,                                                                                    \
	  "any",                                                                                \
	  "ids that the guest may send: ID[:MASK] in hexadecimal, joined by '+'; 3 digits for " \
	  "standard ids, 8 for extended ones; or any, none" },                                  \
		{ "rx-allow",                                                                   \
		  VG_PARAM_STRING,                                                              \
		  false,                                                                        \
		  0,                                                                            \
		  0,                                                                            \
		  "any",                                                                        \
		  "ids that the guest may receive, written as for tx-allow" },                  \
		{ "tx-rate",                                                                    \
		  VG_PARAM_UINT,                                                                \
		  false,                                                                        \
		  0,                                                                            \
		  1000000,                                                                      \
		  "0",                                                                          \
		  "most frames a second from the guest; 0: no limit" },                         \
		{ "rx-rate",                                                                    \
		  VG_PARAM_UINT,                                                                \
		  false,                                                                        \
		  0,                                                                            \
		  1000000,                                                                      \
		  "0",                                                                          \
		  "most frames a second to the guest; 0: no limit" },                           \
		{ "tx-load",                                                                    \
		  VG_PARAM_UINT,                                                                \
		  false,                                                                        \
		  0,                                                                            \
		  100,                                                                          \
		  "0",                                                                          \
		  "most bus load that the guest may cause, percent; 0: no limit" },             \
		{ "rx-load",                                                                    \
		  VG_PARAM_UINT,                                                                \
		  false,                                                                        \
		  0,                                                                            \
		  100,                                                                          \
		  "0",                                                                          \
		  "most bus load that reaches the guest, percent; 0: no limit" },               \
		{ "fd", VG_PARAM_BOOL, false, 0, 1, "1", "allow CAN FD frames" },               \
	{                                                                                       \
		"rtr", VG_PARAM_BOOL, false, 0, 1, "1", "allow remote transmission requests"    \
	}

/**
 * can_firewall_init - from a configuration that passed vg_params_check()
 * @defs: the device's table
 *
 * bitrate, data_bitrate and brs stay the caller's to set.
 * Return: 0, or -EINVAL with a sentence.
 */
int can_firewall_init(struct can_firewall *fw, const struct vg_params *params,
		      const struct vg_param_def *defs, struct vg_err *err);

/**
 * can_firewall_set - change one of CAN_FIREWALL_PARAMS; counters stay
 *
 * Return: 0; -ENOENT: not a key of ours; -EINVAL with a sentence, nothing changed.
 */
int can_firewall_set(struct can_firewall *fw, const char *key, const char *value,
		     struct vg_err *err);

/**
 * can_firewall_pass - may @item pass @gate (fw->tx or fw->rx) at @now_ns? Counts either way.
 * @now_ns: vg_now_ns()
 */
enum can_verdict can_firewall_pass(struct can_firewall *fw, struct can_gate *gate,
				   const struct can_item *item, int64_t now_ns);

/** can_firewall_refused - all reasons together */
uint64_t can_firewall_refused(const struct can_gate *gate);

/**
 * can_frame_ns - how long a frame occupies the bus, ns
 *
 * From the start-of-frame bit to the end of the intermission, with as many stuff bits as there can
 * be: a limit of bus load is kept whatever the data. Bits, after ISO 11898-1:2015, 10.4.2 and 10.5:
 *
 *	classic  47 + 8n, of which the first 34 + 8n are stuffed; a 29-bit id adds 20 to both
 *	FD       17 (29-bit id: 36) up to the BRS bit, stuffed; then ESI, DLC and data, 5 + 8n,
 *		 stuffed, stuff count and CRC with fixed stuff bits, 27 up to 16 bytes, else 32;
 *		 and from the CRC delimiter on 13
 */
uint64_t can_frame_ns(const struct can_item *item, uint32_t bitrate, uint32_t data_bitrate,
		      bool brs);

#endif /* VG_CAN_FIREWALL_H */
