// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * json.c - see control/json.h
 *
 * Strings that come from guests' names, files and errors may be any bytes; JSON
 * is UTF-8. 64-bit feature sets are hexadecimal strings, because many readers of
 * JSON (jq among them) keep numbers in 53 bits.
 */
#include "backend/control/json.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"

enum { DEPTH_MAX = 4 }; /* of a request: one object, with room for a list of objects to come */

const char *const vg_control_state_words[VG_CONTROL_STATES] = {
	[VG_CONTROL_OPENING] = "opening",     [VG_CONTROL_WAITING] = "waiting",
	[VG_CONTROL_CONNECTED] = "connected", [VG_CONTROL_FAILED] = "failed",
	[VG_CONTROL_CLOSING] = "closing",     [VG_CONTROL_RESTARTING] = "restarting",
};

const char *const vg_control_origin_words[VG_CONTROL_ORIGINS] = {
	[VG_CONTROL_FROM_CONFIG] = "config",   [VG_CONTROL_FROM_VIRTIO] = "xl-virtio",
	[VG_CONTROL_FROM_DISK] = "xl-disk",    [VG_CONTROL_FROM_ATTACH] = "attach",
	[VG_CONTROL_FROM_LIBVIRT] = "libvirt", [VG_CONTROL_FROM_SOCKET] = "vhost-user",
};

const char *const vg_control_event_words[VG_EVENTS] = {
	[VG_EVENT_MADE] = "made",	    [VG_EVENT_PLUGGED] = "plugged",
	[VG_EVENT_CONNECTED] = "connected", [VG_EVENT_DISCONNECTED] = "disconnected",
	[VG_EVENT_FAILED] = "failed",	    [VG_EVENT_DIED] = "died",
	[VG_EVENT_RESUMED] = "resumed",	    [VG_EVENT_RESIZED] = "resized",
	[VG_EVENT_CHANGED] = "changed",	    [VG_EVENT_UNPLUGGED] = "unplugged",
	[VG_EVENT_REMOVED] = "removed",	    [VG_EVENT_REFUSED] = "refused",
};

/* VIRTIO 1.3 section 5; CAN: 1.4. */
enum { ID_NET = 1, ID_BLK = 2, ID_CONSOLE = 3, ID_GPU = 16, ID_CAN = 36 };

/* Names of the standard's for feature bits; virtio_id 0: of every device. */
static const struct {
	unsigned virtio_id, bit;
	const char *word;
} feature_words[] = {
	{ 0, 28, "INDIRECT_DESC" },
	{ 0, 29, "EVENT_IDX" },
	{ 0, 32, "VERSION_1" },
	{ 0, 33, "ACCESS_PLATFORM" },
	{ 0, 34, "RING_PACKED" },
	{ 0, 35, "IN_ORDER" },
	{ 0, 36, "ORDER_PLATFORM" },
	{ 0, 37, "SR_IOV" },
	{ 0, 38, "NOTIFICATION_DATA" },
	{ 0, 39, "NOTIF_CONFIG_DATA" },
	{ 0, 40, "RING_RESET" },
	{ 0, 41, "ADMIN_VQ" },
	{ ID_NET, 0, "NET_CSUM" },
	{ ID_NET, 1, "NET_GUEST_CSUM" },
	{ ID_NET, 2, "NET_CTRL_GUEST_OFFLOADS" },
	{ ID_NET, 3, "NET_MTU" },
	{ ID_NET, 5, "NET_MAC" },
	{ ID_NET, 7, "NET_GUEST_TSO4" },
	{ ID_NET, 8, "NET_GUEST_TSO6" },
	{ ID_NET, 9, "NET_GUEST_ECN" },
	{ ID_NET, 10, "NET_GUEST_UFO" },
	{ ID_NET, 11, "NET_HOST_TSO4" },
	{ ID_NET, 12, "NET_HOST_TSO6" },
	{ ID_NET, 13, "NET_HOST_ECN" },
	{ ID_NET, 14, "NET_HOST_UFO" },
	{ ID_NET, 15, "NET_MRG_RXBUF" },
	{ ID_NET, 16, "NET_STATUS" },
	{ ID_NET, 17, "NET_CTRL_VQ" },
	{ ID_NET, 18, "NET_CTRL_RX" },
	{ ID_NET, 19, "NET_CTRL_VLAN" },
	{ ID_NET, 20, "NET_CTRL_RX_EXTRA" },
	{ ID_NET, 21, "NET_GUEST_ANNOUNCE" },
	{ ID_NET, 22, "NET_MQ" },
	{ ID_NET, 23, "NET_CTRL_MAC_ADDR" },
	{ ID_NET, 51, "NET_HASH_TUNNEL" },
	{ ID_NET, 52, "NET_VQ_NOTF_COAL" },
	{ ID_NET, 53, "NET_NOTF_COAL" },
	{ ID_NET, 54, "NET_GUEST_USO4" },
	{ ID_NET, 55, "NET_GUEST_USO6" },
	{ ID_NET, 56, "NET_HOST_USO" },
	{ ID_NET, 57, "NET_HASH_REPORT" },
	{ ID_NET, 59, "NET_GUEST_HDRLEN" },
	{ ID_NET, 60, "NET_RSS" },
	{ ID_NET, 61, "NET_RSC_EXT" },
	{ ID_NET, 62, "NET_STANDBY" },
	{ ID_NET, 63, "NET_SPEED_DUPLEX" },
	{ ID_BLK, 1, "BLK_SIZE_MAX" },
	{ ID_BLK, 2, "BLK_SEG_MAX" },
	{ ID_BLK, 4, "BLK_GEOMETRY" },
	{ ID_BLK, 5, "BLK_RO" },
	{ ID_BLK, 6, "BLK_BLK_SIZE" },
	{ ID_BLK, 9, "BLK_FLUSH" },
	{ ID_BLK, 10, "BLK_TOPOLOGY" },
	{ ID_BLK, 11, "BLK_CONFIG_WCE" },
	{ ID_BLK, 12, "BLK_MQ" },
	{ ID_BLK, 13, "BLK_DISCARD" },
	{ ID_BLK, 14, "BLK_WRITE_ZEROES" },
	{ ID_BLK, 15, "BLK_LIFETIME" },
	{ ID_BLK, 16, "BLK_SECURE_ERASE" },
	{ ID_BLK, 17, "BLK_ZONED" },
	{ ID_CONSOLE, 0, "CONSOLE_SIZE" },
	{ ID_CONSOLE, 1, "CONSOLE_MULTIPORT" },
	{ ID_CONSOLE, 2, "CONSOLE_EMERG_WRITE" },
	{ ID_GPU, 0, "GPU_VIRGL" },
	{ ID_GPU, 1, "GPU_EDID" },
	{ ID_GPU, 2, "GPU_RESOURCE_UUID" },
	{ ID_GPU, 3, "GPU_RESOURCE_BLOB" },
	{ ID_GPU, 4, "GPU_CONTEXT_INIT" },
	{ ID_CAN, 0, "CAN_CAN_CLASSIC" },
	{ ID_CAN, 1, "CAN_CAN_FD" },
	{ ID_CAN, 2, "CAN_RTR_FRAMES" },
	{ ID_CAN, 3, "CAN_LATE_TX_ACK" },
};

/* Length of the UTF-8 character at @s (RFC 3629), or 0. */
static size_t utf8_len(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0x80, 0x00, 0 },
		      { 0xe0, 0xc0, 0x80 },
		      { 0xf0, 0xe0, 0x800 },
		      { 0xf8, 0xf0, 0x10000 } };

	for (size_t n = 0; n < COUNT(forms); n++) {
		uint32_t c = s[0] & (unsigned char)~forms[n].mask;

		if ((s[0] & forms[n].mask) != forms[n].lead)
			continue;
		for (size_t i = 1; i <= n; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < forms[n].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 0;
		return n + 1;
	}
	return 0;
}

struct json_object *vg_json_text(const char *s)
{
	struct json_object *obj;
	char *copy = s ? strdup(s) : NULL;

	if (!copy)
		return NULL;
	for (char *p = copy; *p;) {
		size_t n = utf8_len((unsigned char *)p);

		if (n == 0) {
			*p = '?';
			n = 1;
		}
		p += n;
	}
	obj = json_object_new_string(copy);
	free(copy);
	return obj;
}

static void add(struct json_object *obj, const char *key, struct json_object *value)
{
	json_object_object_add(obj, key, value);
}

static void add_uint(struct json_object *obj, const char *key, uint64_t value)
{
	add(obj, key, json_object_new_uint64(value));
}

static bool is_word_of(size_t i, unsigned virtio_id)
{
	return !feature_words[i].virtio_id || feature_words[i].virtio_id == virtio_id;
}

const char *vg_control_feature_name(unsigned virtio_id, unsigned bit)
{
	for (size_t i = 0; i < COUNT(feature_words); i++) {
		if (is_word_of(i, virtio_id) && feature_words[i].bit == bit)
			return feature_words[i].word;
	}
	return NULL;
}

/* Names of those of @bits that have one. */
static struct json_object *names_json(unsigned virtio_id, uint64_t bits)
{
	struct json_object *names = json_object_new_array();

	for (size_t i = 0; i < COUNT(feature_words); i++) {
		if (is_word_of(i, virtio_id) && (bits & VG_FEATURE(feature_words[i].bit)))
			json_object_array_add(names, json_object_new_string(feature_words[i].word));
	}
	return names;
}

static struct json_object *features_json(const struct vg_control_device *dev)
{
	struct json_object *obj = json_object_new_object();
	char hex[24];

	snprintf(hex, sizeof(hex), "0x%" PRIx64, dev->offered);
	add(obj, "offered", json_object_new_string(hex));
	snprintf(hex, sizeof(hex), "0x%" PRIx64, dev->negotiated);
	add(obj, "negotiated", json_object_new_string(hex));
	add(obj, "names", names_json(dev->virtio_id, dev->negotiated));
	add(obj, "unused", names_json(dev->virtio_id, dev->offered & ~dev->negotiated));
	return obj;
}

static struct json_object *queues_json(const struct vg_control_device *dev)
{
	struct json_object *array = json_object_new_array();

	for (unsigned i = 0; i < dev->n_queues; i++) {
		const struct vg_control_queue *q = &dev->queues[i];
		struct json_object *obj = json_object_new_object();

		add_uint(obj, "index", q->index);
		add_uint(obj, "size", q->size);
		add(obj, "running", json_object_new_boolean(q->running));
		add(obj, "packed", json_object_new_boolean(q->packed));
		add_uint(obj, "chains", q->chains);
		add_uint(obj, "inflight", q->inflight);
		add_uint(obj, "kicks", q->kicks);
		add_uint(obj, "interrupts", q->interrupts);
		json_object_array_add(array, obj);
	}
	return array;
}

/* Counters by name: for JSON here, and for whatever shows them next. */
struct counter {
	const char *name;
	size_t offset; /* of a uint64_t */
};

static const struct counter device_counters[] = {
	{ "requests", offsetof(struct vg_dev_stats, requests) },
	{ "errors", offsetof(struct vg_dev_stats, errors) },
	{ "bytes_read", offsetof(struct vg_dev_stats, bytes_read) },
	{ "bytes_written", offsetof(struct vg_dev_stats, bytes_written) },
	{ "kicks", offsetof(struct vg_dev_stats, kicks) },
	{ "interrupts", offsetof(struct vg_dev_stats, interrupts) },
	{ "faults", offsetof(struct vg_dev_stats, faults) },
	{ "resets", offsetof(struct vg_dev_stats, resets) },
};

static const struct counter failure_counters[] = {
	{ "refused", offsetof(struct vg_dev_stats, failed[VG_FAILED_REFUSED]) },
	{ "unsupported", offsetof(struct vg_dev_stats, failed[VG_FAILED_UNSUPPORTED]) },
	{ "io", offsetof(struct vg_dev_stats, failed[VG_FAILED_IO]) },
	{ "space", offsetof(struct vg_dev_stats, failed[VG_FAILED_SPACE]) },
	{ "short", offsetof(struct vg_dev_stats, failed[VG_FAILED_SHORT]) },
	{ "gone", offsetof(struct vg_dev_stats, failed[VG_FAILED_GONE]) },
};

static const struct counter hyper_counters[] = {
	{ "copy_calls", offsetof(struct vg_hyper_stats, copy_calls) },
	{ "copy_hypercalls", offsetof(struct vg_hyper_stats, copy_hypercalls) },
	{ "copied_bytes", offsetof(struct vg_hyper_stats, copied_bytes) },
	{ "maps", offsetof(struct vg_hyper_stats, maps) },
	{ "mapped_pages", offsetof(struct vg_hyper_stats, mapped_pages) },
	{ "unmaps", offsetof(struct vg_hyper_stats, unmaps) },
	{ "pool_hits", offsetof(struct vg_hyper_stats, pool_hits) },
	{ "notifies", offsetof(struct vg_hyper_stats, notifies) },
	{ "unmasks", offsetof(struct vg_hyper_stats, unmasks) },
};

static struct json_object *counters_json(const void *stats, const struct counter *c, size_t n)
{
	struct json_object *obj = json_object_new_object();

	for (; n; n--, c++) {
		uint64_t value;

		memcpy(&value, (const char *)stats + c->offset, sizeof(value));
		add_uint(obj, c->name, value);
	}
	return obj;
}

/* Of operations that there were: {"read": {"us": 1234, "buckets": [...]}}; see struct vg_latency. */
static struct json_object *latency_json(const struct vg_dev_stats *stats)
{
	static const char *const names[VG_OPS] = { "read", "write", "flush", "other" };
	struct json_object *all = json_object_new_object();

	for (unsigned op = 0; op < VG_OPS; op++) {
		const struct vg_latency *l = &stats->latency[op];
		struct json_object *obj, *buckets = json_object_new_array();
		uint64_t n = 0;

		for (unsigned i = 0; i < VG_LATENCY_BUCKETS; i++) {
			json_object_array_add(buckets, json_object_new_uint64(l->count[i]));
			n += l->count[i];
		}
		if (!n) {
			json_object_put(buckets);
			continue;
		}
		obj = json_object_new_object();
		add_uint(obj, "us", l->ns / 1000);
		add(obj, "buckets", buckets);
		add(all, names[op], obj);
	}
	return all;
}

static struct json_object *worker_json(const struct vg_control_device *dev)
{
	struct json_object *obj = json_object_new_object();

	add(obj, "pid", dev->worker > 0 ? json_object_new_int64(dev->worker) : NULL);
	add_uint(obj, "restarts", dev->restarts);
	return obj;
}

static void add_domid(struct json_object *obj, unsigned domid)
{
	add(obj, "domid", domid == VG_CONTROL_NO_DOMAIN ? NULL : json_object_new_uint64(domid));
}

static void add_name(struct json_object *obj, const char *kind, unsigned id)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/%u", kind, id);
	add(obj, "name", vg_json_text(name));
}

/* Seconds, with thousandths. */
static void add_seconds(struct json_object *obj, const char *key, int64_t ns)
{
	char text[40];

	snprintf(text, sizeof(text), "%.3f", (double)ns / 1e9);
	add(obj, key, json_object_new_double_s((double)ns / 1e9, text));
}

struct json_object *vg_json_event(const struct vg_control_event *e)
{
	struct json_object *obj = json_object_new_object();

	add_seconds(obj, "time", e->ns);
	add(obj, "event", vg_json_text(vg_control_event_words[e->what]));
	add(obj, "guest", vg_json_text(e->guest));
	add_domid(obj, e->domid);
	add_name(obj, e->kind, e->id);
	add(obj, "type", vg_json_text(e->type));
	add(obj, "text", vg_json_text(e->text));
	return obj;
}

struct json_object *vg_json_device(const struct vg_control_device *dev)
{
	struct json_object *obj = json_object_new_object();

	add(obj, "guest", vg_json_text(dev->guest));
	add_domid(obj, dev->domid);
	add_uint(obj, "id", dev->id);
	add_name(obj, dev->kind, dev->id);
	add(obj, "kind", vg_json_text(dev->kind));
	add(obj, "type", vg_json_text(dev->type));
	add_uint(obj, "virtio_id", dev->virtio_id);
	add(obj, "state", vg_json_text(vg_control_state_words[dev->state]));
	add(obj, "error", vg_json_text(dev->error));
	add(obj, "config", vg_json_text(dev->config));
	add(obj, "origin", vg_json_text(vg_control_origin_words[dev->origin]));
	add(obj, "file", vg_json_text(dev->file));
	add(obj, "features", features_json(dev));
	add(obj, "queues", queues_json(dev));
	add(obj, "counters", counters_json(&dev->stats, device_counters, COUNT(device_counters)));
	add(obj, "failed", counters_json(&dev->stats, failure_counters, COUNT(failure_counters)));
	add(obj, "latency", latency_json(&dev->stats));
	add(obj, "xen", counters_json(&dev->hyper, hyper_counters, COUNT(hyper_counters)));
	add(obj, "worker", worker_json(dev));
	add_seconds(obj, "uptime", dev->uptime_ns);
	add(obj, "detail", vg_json_text(dev->detail));
	return obj;
}

struct json_object *vg_json_parse(const char *line, size_t len, struct vg_err *err)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
	enum json_tokener_error why;
	struct json_object *obj;

	if (!tok) {
		vg_fail(err, 0, "out of memory");
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	obj = json_tokener_parse_ex(tok, line, (int)len);
	why = json_tokener_get_error(tok);
	json_tokener_free(tok);
	if (json_object_is_type(obj, json_type_object))
		return obj;
	json_object_put(obj);
	vg_fail(err, 0, "a request must be one JSON object on one line%s%s",
		why == json_tokener_success ? "" : ": ",
		why == json_tokener_success ? "" : json_tokener_error_desc(why));
	return NULL;
}
