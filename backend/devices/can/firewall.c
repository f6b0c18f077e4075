// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * firewall.c - see can/firewall.h
 *
 * Rules compare as SocketCAN's filters do: (frame id ^ rule id) & mask == 0,
 * except that a rule for standard ids never matches an extended one, and the
 * other way round; RTR and error flags take no part.
 *
 * Limits are token buckets that hold a tenth of a second. Their units are
 * multiplied by 1e9, so that refilling is one multiplication and rounds nothing:
 * per_second x elapsed nanoseconds.
 */
#include "backend/devices/can/firewall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"

enum { BURST_PER_SECOND = 10 }; /* a bucket holds 1/10 s of its rate */

/* ---- allow lists -------------------------------------------------------- */

/* @n hexadecimal digits at @s. Return: whether they are. */
static bool hex(const char *s, size_t n, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return false;
		*out = *out << 4 | digit;
	}
	return n > 0;
}

/* One rule of @len characters, "100:7f0". */
static int parse_rule(const char *s, size_t len, struct can_rule *r, struct vg_err *err)
{
	const char *colon = memchr(s, ':', len);
	size_t id_len = colon ? (size_t)(colon - s) : len;
	size_t mask_len = colon ? len - id_len - 1 : id_len;
	uint32_t limit = id_len == 3 ? CAN_SFF_MASK : CAN_EFF_MASK;
	uint32_t id, mask = limit;

	if ((id_len != 3 && id_len != 8) || mask_len == 0 || mask_len > id_len ||
	    !hex(s, id_len, &id) || (colon && !hex(colon + 1, mask_len, &mask)))
		return vg_fail(
			err, -EINVAL,
			"'%.*s' is no rule: write ID or ID:MASK in hexadecimal, with 3 digits "
			"for standard ids and 8 for extended ones",
			len > 40 ? 40 : (int)len, s);
	if (id > limit || mask > limit)
		return vg_fail(err, -EINVAL, "'%.*s': ids and masks go up to %x", (int)len, s,
			       limit);
	r->id = (id & mask) | (id_len == 8 ? CAN_EFF_FLAG : 0);
	r->mask = mask | CAN_EFF_FLAG;
	return 0;
}

static int parse_list(const char *text, struct can_list *list, struct vg_err *err)
{
	struct can_list l = { .all = strcmp(text, "any") == 0 };

	if (!l.all && strcmp(text, "none") != 0) {
		for (const char *s = text;; s++) {
			size_t len = strcspn(s, "+");
			int ret;

			if (l.n == CAN_RULES_MAX)
				return vg_fail(err, -E2BIG, "a list has at most %d rules",
					       CAN_RULES_MAX);
			ret = parse_rule(s, len, &l.rule[l.n], err);
			if (ret < 0)
				return ret;
			l.n++;
			s += len;
			if (!*s)
				break;
		}
	}
	*list = l;
	return 0;
}

static bool allowed(const struct can_list *list, canid_t id)
{
	id &= CAN_EFF_FLAG | CAN_EFF_MASK;
	for (unsigned i = 0; i < list->n; i++) {
		if (((id ^ list->rule[i].id) & list->rule[i].mask) == 0)
			return true;
	}
	return list->all;
}

/* ---- limits ------------------------------------------------------------- */

static void bucket_set(struct can_bucket *b, uint64_t per_second, uint64_t at_least)
{
	uint64_t depth = per_second * (NS_PER_S / BURST_PER_SECOND);

	if (depth < at_least)
		depth = at_least;
	b->per_second = per_second;
	b->depth = depth;
	b->level = (int64_t)depth;
}

static bool bucket_has(struct can_bucket *b, int64_t now_ns)
{
	int64_t elapsed = now_ns - b->since_ns;

	if (!b->per_second)
		return true;
	if (elapsed > NS_PER_S)
		elapsed = NS_PER_S;
	if (elapsed > 0) {
		b->level += (int64_t)(b->per_second * (uint64_t)elapsed);
		if (b->level > (int64_t)b->depth)
			b->level = (int64_t)b->depth;
		b->since_ns = now_ns;
	}
	return b->level > 0;
}

static void bucket_take(struct can_bucket *b, uint64_t units)
{
	if (b->per_second)
		b->level -= (int64_t)(units * NS_PER_S);
}

/* Bits of @len bytes and @overhead bits, with a stuff bit after the first five and then every four. */
static uint64_t stuffed(uint64_t bits)
{
	return bits + (bits - 1) / 4;
}

uint64_t can_frame_ns(const struct can_item *item, uint32_t bitrate, uint32_t data_bitrate,
		      bool brs)
{
	bool ext = item->f.can_id & CAN_EFF_FLAG;
	uint64_t data = item->f.can_id & CAN_RTR_FLAG ? 0 : 8ull * item->f.len;
	uint64_t slow, fast;

	if (!item->fd)
		return (stuffed(34 + (ext ? 20 : 0) + data) + 13) * NS_PER_S / bitrate;
	slow = stuffed(ext ? 36 : 17) + 13;
	fast = 5 + data + (5 + data) / 4 + (item->f.len <= 16 ? 27 : 32);
	return slow * NS_PER_S / bitrate + fast * NS_PER_S / (brs ? data_bitrate : bitrate);
}

/* ---- the gate ----------------------------------------------------------- */

enum can_verdict can_firewall_pass(struct can_firewall *fw, struct can_gate *gate,
				   const struct can_item *item, int64_t now_ns)
{
	enum can_verdict v = CAN_PASS;

	if ((item->fd && !fw->fd) || ((item->f.can_id & CAN_RTR_FLAG) && !fw->rtr))
		v = CAN_REFUSED_KIND;
	else if (!allowed(&gate->allow, item->f.can_id))
		v = CAN_REFUSED_ID;
	else if (!bucket_has(&gate->frames, now_ns))
		v = CAN_REFUSED_RATE;
	else if (!bucket_has(&gate->bus_ns, now_ns))
		v = CAN_REFUSED_LOAD;
	if (v != CAN_PASS) {
		gate->refused[v]++;
		return v;
	}
	bucket_take(&gate->frames, 1);
	if (gate->bus_ns.per_second)
		bucket_take(&gate->bus_ns,
			    can_frame_ns(item, fw->bitrate, fw->data_bitrate, fw->brs));
	gate->passed++;
	return CAN_PASS;
}

uint64_t can_firewall_refused(const struct can_gate *gate)
{
	uint64_t sum = 0;

	for (unsigned v = 0; v < CAN_VERDICTS; v++)
		sum += gate->refused[v];
	return sum;
}

/* ---- settings ----------------------------------------------------------- */

static void set_rate(struct can_gate *g, uint64_t frames)
{
	g->rate = frames;
	bucket_set(&g->frames, frames, NS_PER_S);
}

static void set_load(struct can_gate *g, uint64_t percent)
{
	g->load = percent;
	bucket_set(&g->bus_ns, percent * (NS_PER_S / 100), NS_PER_S);
}

int can_firewall_init(struct can_firewall *fw, const struct vg_params *params,
		      const struct vg_param_def *defs, struct vg_err *err)
{
	int ret;

	memset(fw, 0, sizeof(*fw));
	ret = parse_list(vg_params_str(params, defs, "tx-allow"), &fw->tx.allow, err);
	if (ret == 0)
		ret = parse_list(vg_params_str(params, defs, "rx-allow"), &fw->rx.allow, err);
	if (ret < 0)
		return ret;
	set_rate(&fw->tx, vg_params_uint(params, defs, "tx-rate"));
	set_rate(&fw->rx, vg_params_uint(params, defs, "rx-rate"));
	set_load(&fw->tx, vg_params_uint(params, defs, "tx-load"));
	set_load(&fw->rx, vg_params_uint(params, defs, "rx-load"));
	fw->fd = vg_params_bool(params, defs, "fd");
	fw->rtr = vg_params_bool(params, defs, "rtr");
	return 0;
}

int can_firewall_set(struct can_firewall *fw, const char *key, const char *value,
		     struct vg_err *err)
{
	static const struct vg_param_def defs[] = { CAN_FIREWALL_PARAMS, { 0 } };
	const struct vg_param_def *d = defs;
	struct vg_params p;
	int ret;

	while (d->key && strcmp(d->key, key) != 0)
		d++;
	if (!d->key)
		return -ENOENT;
	ret = vg_params_one("can", key, value, defs, &p, err);
	if (ret < 0)
		return ret;
	if (strcmp(key, "tx-allow") == 0)
		return parse_list(value, &fw->tx.allow, err);
	if (strcmp(key, "rx-allow") == 0)
		return parse_list(value, &fw->rx.allow, err);
	if (strcmp(key, "tx-rate") == 0)
		set_rate(&fw->tx, vg_params_uint(&p, defs, key));
	else if (strcmp(key, "rx-rate") == 0)
		set_rate(&fw->rx, vg_params_uint(&p, defs, key));
	else if (strcmp(key, "tx-load") == 0)
		set_load(&fw->tx, vg_params_uint(&p, defs, key));
	else if (strcmp(key, "rx-load") == 0)
		set_load(&fw->rx, vg_params_uint(&p, defs, key));
	else if (strcmp(key, "fd") == 0)
		fw->fd = vg_params_bool(&p, defs, key);
	else
		fw->rtr = vg_params_bool(&p, defs, key);
	return 0;
}
