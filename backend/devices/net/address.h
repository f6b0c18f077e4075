/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * address.h - which addresses of IP a guest may send from: `ip=`
 */
#ifndef VG_NET_ADDRESS_H
#define VG_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"

enum { NET_ADDRESSES = 32 };

/* Networks; an address is one of its whole length. None: everything passes. */
struct net_addresses {
	unsigned n;
	struct {
		uint8_t bytes; /* of addr: 4 or 16 */
		uint8_t bits;  /* of them that count */
		uint8_t addr[16];
	} at[NET_ADDRESSES];
};

/**
 * net_addresses_parse - from a list as xl's vif scripts have it: "10.0.0.2 2001:db8::2 10.1.0.0/24"
 * @text: separated by blanks or plus signs; NULL or empty: none
 *
 * Return: 0, or -EINVAL with a sentence; *@out is not changed then.
 */
int net_addresses_parse(const char *text, struct net_addresses *out, struct vg_err *err);

/**
 * net_addresses_pass - may this frame be sent?
 * @mac: the guest's address
 * @frame: its first @have bytes, an Ethernet header at least; all of it, or NET_HEAD
 *
 * What is neither IP nor ARP says nothing of IP's addresses, and passes. Of what has none of the
 * list's as its sender, this does: what asks for an address (DHCP, an ARP probe, duplicate address
 * detection), and IPv6 from a link-local one, without which there is no IPv6. An answer to ARP or to
 * a neighbour's question counts as much as a sender. A guest with a list is no router for others:
 * its router advertisements and redirects do not pass. What is cut off before all of this can be
 * seen does not either.
 */
bool net_addresses_pass(const struct net_addresses *a, const uint8_t mac[6], const uint8_t *frame,
			size_t have);

#endif /* VG_NET_ADDRESS_H */
