// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter.c - see filter.h
 *
 * A driver that never says what it wants gets everything, as with other devices
 * (QEMU's among them): bridges in guests rely on that. Promiscuous mode is before
 * all tables, those of VLANs included.
 */
#include "backend/devices/net/filter.h"

#include <linux/if_ether.h>
#include <string.h>

void net_filter_init(struct net_filter *f, const uint8_t mac[6], bool vlans)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->mac, mac, sizeof(f->mac));
	f->promisc = true;
	f->vlans_filtered = vlans;
}

void net_filter_vlan(struct net_filter *f, uint16_t id, bool pass)
{
	uint8_t bit = (uint8_t)(1 << (id & 7));

	if (pass)
		f->vlans[id >> 3] |= bit;
	else
		f->vlans[id >> 3] &= (uint8_t)~bit;
}

static bool in_table(const uint8_t table[][6], unsigned n, const uint8_t *mac)
{
	for (unsigned i = 0; i < n; i++) {
		if (memcmp(table[i], mac, 6) == 0)
			return true;
	}
	return false;
}

bool net_filter_pass(const struct net_filter *f, const uint8_t *frame, size_t have)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (f->promisc)
		return true;
	if (f->vlans_filtered && have >= NET_ETH + NET_VLAN &&
	    (frame[12] << 8 | frame[13]) == ETH_P_8021Q) {
		unsigned id = (unsigned)(frame[14] << 8 | frame[15]) & 0xfff;

		if (!(f->vlans[id >> 3] & (1 << (id & 7))))
			return false;
	}
	if (memcmp(frame, broadcast, 6) == 0)
		return !f->nobcast;
	if (frame[0] & 1) {
		if (f->nomulti)
			return false;
		return f->allmulti || f->multi_overflow || in_table(f->multi, f->n_multi, frame);
	}
	if (f->nouni)
		return false;
	return f->alluni || f->uni_overflow || memcmp(frame, f->mac, 6) == 0 ||
	       in_table(f->uni, f->n_uni, frame);
}
