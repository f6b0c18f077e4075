// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * place.c - what a network device's configuration leaves open and its place decides,
 * in the supervisor
 *
 *	mac=	  in Xen's range (00:16:3e, and a fourth number below 80), made of the guest's name
 *		  and the device's number: the same each time the guest starts, on whichever host
 *	vifname=  vifDOMAIN.NUMBER, as Xen's own tools name interfaces
 *	bridge=	  what xl.conf says: vif.default.bridge; a macvtap has none
 *	script=	  vgrant-openvswitch, where the bridge is one of Open vSwitch
 *	place=	  whose device it is, for a script that asks: DOMAIN/NUMBER/NAME
 *
 * A device of no Xen guest has a name, too (of its socket), and gets an address alone.
 */
#include "backend/devices/net/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a, with the mixing of MurmurHash3 behind it: short names differ in all bits. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

void net_place_mac(const char *guest, uint32_t id, char text[18])
{
	char seed[300];
	uint64_t h;

	snprintf(seed, sizeof(seed), "%s/%u", guest, id);
	h = hash(seed);
	snprintf(text, 18, "00:16:3e:%02x:%02x:%02x", (unsigned)(h & 0x7f),
		 (unsigned)(h >> 8 & 0xff), (unsigned)(h >> 16 & 0xff));
}

static bool said(const struct vg_params *params, const char *key)
{
	for (unsigned i = 0; i < params->n; i++) {
		if (strcmp(params->p[i].key, key) == 0)
			return true;
	}
	return false;
}

static int add(char *spec, size_t size, const char *key, const char *value)
{
	char next[VG_PARAMS_LEN];
	int ret = vg_params_replace(spec, key, value, next, sizeof(next));

	if (ret == 0 && strlen(next) >= size)
		ret = -E2BIG;
	if (ret == 0)
		memcpy(spec, next, strlen(next) + 1);
	return ret;
}

/* One that forwards by itself (datapath_type=netdev) has a TAP; what else is a TAP is no bridge, and
 * the script says so. */
static bool is_ovs(const char *name, int (*kind)(const char *name, char kind[NET_HOST_KIND]))
{
	char text[NET_HOST_KIND];

	return kind(name, text) == 0 &&
	       (strcmp(text, "openvswitch") == 0 || strcmp(text, "tun") == 0);
}

bool net_place_on_ovs(const char *bridge, int (*kind)(const char *name, char kind[NET_HOST_KIND]))
{
	size_t len = strcspn(bridge, ".:");
	char text[NET_HOST_KIND], name[IFNAMSIZ];

	/* Interfaces' names have dots, and no colons. */
	if (strchr(bridge, ':'))
		return true;
	if (kind(bridge, text) == 0 || !bridge[len] || len >= sizeof(name) ||
	    strspn(bridge + len + 1, "0123456789") != strlen(bridge + len + 1))
		return is_ovs(bridge, kind);
	snprintf(name, sizeof(name), "%.*s", (int)len, bridge);
	return is_ovs(name, kind);
}

/* Its bridge, or that of its place. Return: whether it is one for which we know the script. */
static bool needs_script(const struct vg_params *params, const char *bridge)
{
	if (said(params, "script") || said(params, "macvtap") || said(params, "tap"))
		return false;
	if (said(params, "bridge"))
		bridge = vg_params_str(params, NULL, "bridge");
	return bridge && *bridge && net_place_on_ovs(bridge, net_host_kind);
}

int net_complete(const struct vg_params *params, const struct vg_place *place, char *spec,
		 size_t size)
{
	bool made = place->domid != UINT32_MAX && !said(params, "tap");
	bool bridged = made && !said(params, "macvtap"), script;
	char text[32], whose[300];
	int ret = 0;

	if (place->guest && !said(params, "mac")) {
		net_place_mac(place->guest, place->id, text);
		ret = add(spec, size, "mac", text);
	}
	if (ret == 0 && made && !said(params, "vifname")) {
		snprintf(text, sizeof(text), "vif%u.%u", place->domid, place->id);
		ret = add(spec, size, "vifname", text);
	}
	if (ret == 0 && bridged && place->bridge && !said(params, "bridge"))
		ret = add(spec, size, "bridge", place->bridge);
	script = needs_script(params, bridged ? place->bridge : NULL);
	if (ret == 0 && script)
		ret = add(spec, size, "script", NET_OVS_SCRIPT);
	if (ret == 0 && (script || said(params, "script"))) {
		if (place->domid == UINT32_MAX)
			snprintf(whose, sizeof(whose), "/%u/%s", place->id,
				 place->guest ? place->guest : "");
		else
			snprintf(whose, sizeof(whose), "%u/%u/%s", place->domid, place->id,
				 place->guest ? place->guest : "");
		ret = add(spec, size, "place", whose);
	}
	return ret;
}
