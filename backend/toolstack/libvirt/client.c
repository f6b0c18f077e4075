// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * client.c - see client.h
 *
 * One thread, in libvirt's own event loop, which also watches vgrantd's socket. A
 * call may wait for libvirtd; vgrantd does not wait for us. libvirt's keepalive
 * ends a connection whose peer is silent, and with it the call that waits.
 *
 *	connected    all domains are told, and from then on each that an event names
 *	closed       tried again every second; what was told stays told
 *
 * A domain is told as it counts now: its running definition while it runs, else
 * the one that the next start takes. Our element alone is asked for, not the whole
 * XML; but of a transient domain that is being created that is all there is.
 */
#include "backend/toolstack/libvirt/client.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/toolstack/libvirt/domxml.h"
#include "backend/toolstack/libvirt/msg.h"
#include "backend/virtio/device.h"

enum {
	AGAIN_MS = 1000, /* between attempts to connect */
	ALIVE_S = 5,
	ALIVE_COUNT = 3, /* of keepalive: silent for 20 s, and it is over */
};

struct client {
	int sock;
	const char *uri;
	virConnectPtr conn; /* NULL: none */
	int events[2];	    /* callback ids, or -1 */
	int timer;
	bool closed;	/* conn is dead; it is let go of outside its own callbacks */
	char told[200]; /* why there is no connection, as it was told last; "": there is one */
	bool over;
	/* Numbers to be written into one domain's running definition. */
	struct {
		char uuid[40];
		unsigned n;
		struct {
			char spec[VG_PARAMS_LEN];
			unsigned number;
		} of[VG_XL_DEVICES_MAX];
	} numbers;
};

/* ---- to vgrantd ----------------------------------------------------------------- */

static void say(struct client *c, struct vg_virt_msg *m)
{
	/* vgrantd reads in every turn of its loop: if it does not, there is nobody left to speak to. */
	if (vg_virt_send(c->sock, m, true) < 0)
		c->over = true;
}

static const char *why(void)
{
	const char *text = virGetLastErrorMessage();

	return text && *text ? text : "it does not say why";
}

static void say_state(struct client *c, int error, const char *text)
{
	struct vg_virt_msg m = { .type = VG_VIRT_STATE, .error = error };

	snprintf(m.text, sizeof(m.text), "%s", text);
	say(c, &m);
}

/* Once, unless there is another reason now: the first is seldom what somebody has to mend. */
static void say_lost(struct client *c, const char *why)
{
	if (strncmp(c->told, why, sizeof(c->told) - 1) == 0)
		return;
	snprintf(c->told, sizeof(c->told), "%s", why);
	say_state(c, -ENOTCONN, why);
}

static void quiet(void *ctx, virErrorPtr error)
{
	(void)ctx, (void)error; /* it is asked for where it matters */
}

static uint16_t virtio_id_of(const char *device)
{
	const struct vg_device_ops *ops = vg_device_find(device);

	return ops ? ops->virtio_id : 0;
}

/* ---- a domain's metadata --------------------------------------------------------- */

/*
 * @flags: VIR_DOMAIN_AFFECT_*
 * Return: 0, with *@out NULL when there is none; or negative errno with a sentence.
 */
static int read_metadata(virDomainPtr dom, unsigned flags, struct vg_domxml **out,
			 struct vg_err *err)
{
	char *xml = virDomainGetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, VG_DOMXML_URI, flags);
	int code = xml ? VIR_ERR_OK : virGetLastErrorCode(), ret;
	const char *where = "metadata";

	*out = NULL;
	if (code == VIR_ERR_NO_DOMAIN_METADATA)
		return 0;
	/* A transient domain that does not run yet has, for libvirt, neither a live nor another definition. */
	if (code == VIR_ERR_OPERATION_INVALID && flags == VIR_DOMAIN_AFFECT_CURRENT) {
		where = "its XML";
		xml = virDomainGetXMLDesc(dom, 0);
	}
	if (!xml)
		return vg_fail(err, -EIO, "libvirt does not give the metadata of %s: %s",
			       virDomainGetName(dom), why());
	ret = vg_domxml_parse(where, xml, strlen(xml), out, err);
	free(xml);
	if (ret == 0 && !(*out)->ours) {
		vg_domxml_free(*out);
		*out = NULL;
	} else if (ret == 0) {
		vg_xlconf_match((*out)->conf, virtio_id_of);
	}
	return ret;
}

static void say_device(struct client *c, const char *uuid, const struct vg_xl_device *d)
{
	struct vg_virt_msg m = { .type = VG_VIRT_DEVICE };

	snprintf(m.uuid, sizeof(m.uuid), "%s", uuid);
	snprintf(m.text, sizeof(m.text), "%s", d->err.text);
	snprintf(m.device.spec, sizeof(m.device.spec), "%s", d->spec);
	snprintf(m.device.backend, sizeof(m.device.backend), "%s", d->backend ? d->backend : "");
	m.device.line = d->place.line;
	m.device.number = d->number;
	m.device.has_id = d->id >= 0;
	say(c, &m);
}

/* Return: whether it was told. */
static bool tell(struct client *c, virDomainPtr dom)
{
	struct vg_virt_msg m = { .type = VG_VIRT_GUEST };
	struct vg_domxml *x = NULL;
	char uuid[VIR_UUID_STRING_BUFLEN];
	struct vg_err err = { "" };
	int ret, active;

	if (virDomainGetUUIDString(dom, uuid) < 0)
		return false;
	active = virDomainIsActive(dom);
	ret = read_metadata(dom, VIR_DOMAIN_AFFECT_CURRENT, &x, &err);
	/* What could not be asked stays as it was told. */
	if (active < 0 || (ret < 0 && ret != -EINVAL && ret != -EFBIG))
		return false;
	snprintf(m.uuid, sizeof(m.uuid), "%s", uuid);
	snprintf(m.guest.name, sizeof(m.guest.name), "%s", virDomainGetName(dom));
	snprintf(m.text, sizeof(m.text), "%s", err.text);
	m.error = ret;
	m.guest.active = (uint32_t)active;
	m.guest.passing = !active && virDomainIsPersistent(dom) == 0;
	m.guest.ours = x != NULL || ret < 0;
	m.guest.n_devices = x ? x->conf->n_devices : 0;
	if (x && x->conf->dropped)
		snprintf(m.text, sizeof(m.text), "it has %u entries too many: a guest may have %d",
			 x->conf->dropped, VG_XL_DEVICES_MAX);
	say(c, &m);
	for (unsigned i = 0; x && i < x->conf->n_devices; i++)
		say_device(c, uuid, &x->conf->devices[i]);
	vg_domxml_free(x);
	return true;
}

/* ---- events ------------------------------------------------------------------------ */

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *ctx)
{
	struct vg_virt_msg m = { .type = VG_VIRT_GONE };
	struct client *c = ctx;

	(void)conn, (void)detail;
	/* A domain that runs is told until it ends, whether or not it is defined. */
	if ((event == VIR_DOMAIN_EVENT_UNDEFINED || event == VIR_DOMAIN_EVENT_STOPPED) &&
	    virDomainIsActive(dom) != 1 && virDomainIsPersistent(dom) != 1) {
		if (virDomainGetUUIDString(dom, m.uuid) == 0)
			say(c, &m);
		return 0;
	}
	tell(c, dom);
	return 0;
}

static void on_metadata(virConnectPtr conn, virDomainPtr dom, int type, const char *uri, void *ctx)
{
	(void)conn;
	if (type == VIR_DOMAIN_METADATA_ELEMENT && uri && strcmp(uri, VG_DOMXML_URI) == 0)
		tell(ctx, dom);
}

static void on_closed(virConnectPtr conn, int reason, void *ctx)
{
	struct client *c = ctx;

	(void)conn, (void)reason;
	c->closed = true;
	virEventUpdateTimeout(c->timer, 0);
}

/* ---- the connection ---------------------------------------------------------------- */

static void disconnect(struct client *c)
{
	if (!c->conn)
		return;
	for (unsigned i = 0; i < COUNT(c->events); i++) {
		if (c->events[i] >= 0)
			virConnectDomainEventDeregisterAny(c->conn, c->events[i]);
	}
	virConnectUnregisterCloseCallback(c->conn, on_closed);
	virConnectClose(c->conn);
	c->conn = NULL;
}

static bool listen_to(struct client *c)
{
	c->events[0] =
		virConnectDomainEventRegisterAny(c->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
						 VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), c, NULL);
	c->events[1] =
		virConnectDomainEventRegisterAny(c->conn, NULL, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
						 VIR_DOMAIN_EVENT_CALLBACK(on_metadata), c, NULL);
	return c->events[0] >= 0 && c->events[1] >= 0;
}

/* All that there are. What happens meanwhile comes as an event after it. */
static bool tell_all(struct client *c)
{
	struct vg_virt_msg m = { .type = VG_VIRT_SYNCED };
	virDomainPtr *list = NULL;
	int n = virConnectListAllDomains(c->conn, &list, 0);

	for (int i = 0; i < n; i++) {
		tell(c, list[i]);
		virDomainFree(list[i]);
	}
	free(list);
	if (n >= 0)
		say(c, &m);
	return n >= 0;
}

static void connect_again(struct client *c)
{
	c->closed = false;
	c->conn = virConnectOpen(c->uri);
	if (c->conn) {
		/* What has no wire, such as libvirt's own test driver, knows neither of these. */
		(void)virConnectSetKeepAlive(c->conn, ALIVE_S, ALIVE_COUNT);
		(void)virConnectRegisterCloseCallback(c->conn, on_closed, c, NULL);
		c->told[0] = '\0';
		say_state(c, 0, c->uri);
		if (listen_to(c) && tell_all(c))
			return;
	}
	say_lost(c, why());
	disconnect(c);
	virEventUpdateTimeout(c->timer, AGAIN_MS);
}

static void on_timer(int timer, void *ctx)
{
	struct client *c = ctx;

	virEventUpdateTimeout(timer, -1);
	if (c->conn && !c->closed)
		return;
	if (c->conn) {
		say_lost(c, "libvirtd has closed the connection");
		disconnect(c);
	}
	connect_again(c);
}

/* Whose guest is it? What cannot be told is not libvirt's: a GUEST or a GONE has to come. */
static void on_who(struct client *c, const struct vg_virt_msg *m)
{
	struct vg_virt_msg answer = { .type = VG_VIRT_GONE };
	virDomainPtr dom = c->conn ? virDomainLookupByUUIDString(c->conn, m->uuid) : NULL;
	bool told = dom && tell(c, dom);

	if (dom)
		virDomainFree(dom);
	if (told)
		return;
	memcpy(answer.uuid, m->uuid, sizeof(answer.uuid));
	say(c, &answer);
}

/* ---- changes --------------------------------------------------------------------------- */

static virDomainPtr find_domain(struct client *c, const struct vg_virt_msg *m)
{
	virDomainPtr dom;

	if (m->uuid[0])
		return virDomainLookupByUUIDString(c->conn, m->uuid);
	dom = virDomainLookupByName(c->conn, m->change.guest);
	return dom ? dom : virDomainLookupByUUIDString(c->conn, m->change.guest);
}

static void take_numbers(uint8_t taken[32], const struct vg_domxml *x)
{
	for (unsigned i = 0; x && i < x->conf->n_devices; i++) {
		unsigned n = x->conf->devices[i].number;

		if (n < 256)
			taken[n / 8] |= (uint8_t)(1u << n % 8);
	}
}

static int find_device(const struct vg_domxml *x, unsigned id)
{
	for (unsigned i = 0; x && i < x->conf->n_devices; i++) {
		if (x->conf->devices[i].number == id)
			return (int)i;
	}
	return -ENOENT;
}

/* The entries of @x as they are to be: @specs points into it, or to @room. Return: how many, or negative errno. */
static int edit(const struct vg_domxml *x, const struct vg_virt_msg *m, unsigned id,
		const char **specs, char room[VG_XL_DEVICES_MAX + 1][VG_PARAMS_LEN],
		struct vg_err *err)
{
	unsigned n_old = x ? x->conf->n_devices : 0, n = 0;
	int at = find_device(x, id);
	struct vg_params p;

	if (m->change.op != VG_VIRT_ATTACH && at < 0)
		return vg_fail(err, -ENOENT, "there is no device %u in the metadata", id);
	if (m->change.op == VG_VIRT_ATTACH && at >= 0)
		return vg_fail(err, -EEXIST, "there is a device %u in the metadata already", id);
	if (m->change.op == VG_VIRT_ATTACH && n_old == VG_XL_DEVICES_MAX)
		return vg_fail(err, -ENOSPC, "a guest may have %d devices", VG_XL_DEVICES_MAX);
	for (unsigned i = 0; i < n_old; i++) {
		const struct vg_err *wrong = &x->conf->devices[i].err;

		/* Not all that was written can be written again. */
		if (wrong->text[0] && (m->change.op != VG_VIRT_DETACH || (int)i != at))
			return vg_fail(
				err, -EINVAL,
				"the metadata has a mistake, to be mended first (virsh edit): %s",
				wrong->text);
	}
	if (x && x->conf->dropped)
		return vg_fail(
			err, -EINVAL,
			"the metadata has %u entries too many, to be mended first (virsh edit)",
			x->conf->dropped);
	/* Numbers are written out: what goes must not renumber what stays. */
	for (unsigned i = 0; i < n_old; i++) {
		const struct vg_xl_device *d = &x->conf->devices[i];
		char number[16];

		if (m->change.op == VG_VIRT_DETACH && (int)i == at)
			continue;
		snprintf(number, sizeof(number), "%u", d->number);
		if (vg_params_replace(d->spec, "id", number, room[n], VG_PARAMS_LEN) < 0)
			snprintf(room[n], VG_PARAMS_LEN, "%s", d->spec);
		if (m->change.op == VG_VIRT_SET && (int)i == at) {
			char now[VG_PARAMS_LEN];
			const struct vg_device_ops *ops = vg_device_find(d->params.device);
			int ret = vg_params_parse(m->change.spec, &p, err);

			memcpy(now, room[n], sizeof(now));
			if (ret == 0)
				ret = vg_params_replace(now, p.p[0].key, p.p[0].value, room[n],
							VG_PARAMS_LEN);
			if (ret == 0)
				ret = vg_params_parse(room[n], &p, err);
			if (ret == 0 && ops)
				ret = vg_params_check(&p, ops->params, vg_common_params, err);
			if (ret < 0)
				return ret;
		}
		specs[n] = room[n];
		n++;
	}
	if (m->change.op == VG_VIRT_ATTACH) {
		char number[16];

		snprintf(number, sizeof(number), "%u", id);
		if (vg_params_replace(m->change.spec, "id", number, room[n], VG_PARAMS_LEN) < 0)
			return vg_fail(err, -E2BIG, "the entry is too long");
		specs[n] = room[n];
		n++;
	}
	return (int)n;
}

static int write_metadata(virDomainPtr dom, unsigned flags, const char *const *specs, unsigned n,
			  struct vg_err *err)
{
	char *text = NULL;
	size_t len = 0;
	unsigned bad;
	FILE *out = open_memstream(&text, &len);
	int ret;

	if (!out)
		return vg_fail(err, -ENOMEM, "out of memory");
	ret = vg_domxml_print(out, specs, n, false, &bad, err);
	fclose(out);
	if (ret == 0 && virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, text,
					     VG_DOMXML_PREFIX, VG_DOMXML_URI, flags) < 0)
		ret = vg_fail(err, -EIO, "libvirt did not take it: %s", why());
	free(text);
	return ret;
}

/* One of the two definitions. @write: false: only see whether it can be done */
static int change_one(virDomainPtr dom, unsigned flags, const struct vg_virt_msg *m, unsigned id,
		      bool write, struct vg_err *err)
{
	char(*room)[VG_PARAMS_LEN] = calloc(VG_XL_DEVICES_MAX + 1, VG_PARAMS_LEN);
	const char *specs[VG_XL_DEVICES_MAX + 1];
	struct vg_domxml *x = NULL;
	int ret =
		room ? read_metadata(dom, flags, &x, err) : vg_fail(err, -ENOMEM, "out of memory");

	if (ret == 0)
		ret = edit(x, m, id, specs, room, err);
	if (ret >= 0 && write)
		ret = write_metadata(dom, flags, specs, (unsigned)ret, err);
	vg_domxml_free(x);
	free(room);
	return ret < 0 ? ret : 0;
}

/* A number for a device to be attached, that neither definition has, nor vgrantd. */
static int choose_number(virDomainPtr dom, unsigned scope, const struct vg_virt_msg *m,
			 struct vg_err *err)
{
	uint8_t taken[sizeof(m->change.taken)];
	struct vg_params p;
	int ret = vg_params_parse(m->change.spec, &p, err);

	if (ret < 0)
		return ret;
	if (vg_params_str(&p, NULL, "id"))
		return (int)vg_params_uint(&p, vg_common_params, "id");
	memcpy(taken, m->change.taken, sizeof(taken));
	for (unsigned bit = VIR_DOMAIN_AFFECT_LIVE; bit <= VIR_DOMAIN_AFFECT_CONFIG; bit <<= 1) {
		struct vg_domxml *x = NULL;

		if (!(scope & bit))
			continue;
		ret = read_metadata(dom, bit, &x, err);
		if (ret < 0)
			return ret;
		take_numbers(taken, x);
		vg_domxml_free(x);
	}
	for (unsigned n = VG_XL_FIRST_NUMBER; n < 256; n++) {
		if (!(taken[n / 8] & 1u << n % 8))
			return (int)n;
	}
	return vg_fail(err, -ENOSPC, "no number is free");
}

/* What libvirt calls @scope, of a domain that may be running. Return: the flags, or negative errno. */
static int flags_of(virDomainPtr dom, uint32_t scope, struct vg_err *err)
{
	int active = virDomainIsActive(dom), flags = 0;

	if (active < 0)
		return vg_fail(err, -EIO, "libvirt does not say whether %s runs: %s",
			       virDomainGetName(dom), why());
	if (!scope)
		return active ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG;
	if ((scope & VG_VIRT_LIVE) && !active)
		return vg_fail(err, -EINVAL, "%s does not run: leave --live away",
			       virDomainGetName(dom));
	if ((scope & VG_VIRT_CONFIG) && virDomainIsPersistent(dom) != 1)
		return vg_fail(err, -EINVAL,
			       "%s is transient, so there is no --config of it: virsh define makes "
			       "one",
			       virDomainGetName(dom));
	if (scope & VG_VIRT_LIVE)
		flags |= VIR_DOMAIN_AFFECT_LIVE;
	if (scope & VG_VIRT_CONFIG)
		flags |= VIR_DOMAIN_AFFECT_CONFIG;
	return flags;
}

/* Both are looked at before one is written: nothing is half done. Return: the id, or negative errno. */
static int change(struct client *c, virDomainPtr dom, const struct vg_virt_msg *m,
		  struct vg_err *err)
{
	static const unsigned bits[] = { VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG };
	int flags = flags_of(dom, m->change.scope, err);
	int id = flags, ret;

	if (flags >= 0)
		id = m->change.op == VG_VIRT_ATTACH ? choose_number(dom, (unsigned)flags, m, err)
						    : (int)m->change.id;
	ret = id < 0 ? id : 0;
	for (unsigned step = 0; ret == 0 && step < (m->change.only_look ? 1 : 2) * COUNT(bits);
	     step++) {
		unsigned bit = bits[step % COUNT(bits)];

		if ((unsigned)flags & bit)
			ret = change_one(dom, bit, m, (unsigned)id, step >= COUNT(bits), err);
	}
	if (id >= 0 && !m->change.only_look)
		tell(c, dom);
	return ret < 0 ? ret : id;
}

static void on_change(struct client *c, const struct vg_virt_msg *m)
{
	struct vg_virt_msg answer = { .type = VG_VIRT_DONE, .request = m->request };
	struct vg_err err = { "" };
	virDomainPtr dom = c->conn ? find_domain(c, m) : NULL;
	int ret;

	if (!c->conn)
		ret = vg_fail(&err, -ENOTCONN, "libvirtd cannot be reached");
	else if (!dom)
		ret = vg_fail(&err, -ENOENT, "libvirt has no domain '%s'",
			      m->uuid[0] ? m->uuid : m->change.guest);
	else
		ret = change(c, dom, m, &err);
	if (dom)
		virDomainFree(dom);
	answer.error = ret < 0 ? ret : 0;
	answer.change.id = ret < 0 ? 0 : (uint32_t)ret;
	snprintf(answer.text, sizeof(answer.text), "%s", err.text);
	say(c, &answer);
}

/* ---- numbers ---------------------------------------------------------------------------- */

/* The device that is to get number @k, which it may not have. */
static int unnumbered(const struct client *c, unsigned k, const struct vg_domxml *x, const int *ids)
{
	for (unsigned i = 0; i < x->conf->n_devices; i++) {
		if (x->conf->devices[i].id == (int)c->numbers.of[k].number)
			return -EEXIST;
	}
	for (unsigned i = 0; i < x->conf->n_devices; i++) {
		const struct vg_xl_device *d = &x->conf->devices[i];

		if (d->id < 0 && ids[i] < 0 && !d->err.text[0] &&
		    strcmp(d->spec, c->numbers.of[k].spec) == 0)
			return (int)i;
	}
	return -ENOENT;
}

/* What has changed since vgrantd saw it has led to an event, which leads to new numbers. */
static void write_numbers(struct client *c, virDomainPtr dom)
{
	int ids[VG_XL_DEVICES_MAX], n = 0;
	struct vg_domxml *x = NULL;
	struct vg_err err;
	char *text = NULL;

	memset(ids, -1, sizeof(ids));
	if (read_metadata(dom, VIR_DOMAIN_AFFECT_LIVE, &x, &err) < 0 || !x)
		return;
	for (unsigned k = 0; k < c->numbers.n; k++) {
		int i = unnumbered(c, k, x, ids);

		if (i < 0)
			continue;
		ids[i] = (int)c->numbers.of[k].number;
		n++;
	}
	if (n)
		text = vg_domxml_number(x, ids);
	if (text && virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, text, VG_DOMXML_PREFIX,
					 VG_DOMXML_URI, VIR_DOMAIN_AFFECT_LIVE) < 0)
		vg_warn("the numbers of the devices of %s are not in its metadata: libvirt did not "
			"take them: %s",
			virDomainGetName(dom), why());
	free(text);
	vg_domxml_free(x);
}

/* All that came. A domain that is still being started is locked by that; its start leads to them again. */
static void flush_numbers(struct client *c)
{
	virDomainPtr dom = c->numbers.n && c->conn
				   ? virDomainLookupByUUIDString(c->conn, c->numbers.uuid)
				   : NULL;

	if (dom && virDomainIsActive(dom) == 1)
		write_numbers(c, dom);
	if (dom)
		virDomainFree(dom);
	c->numbers.n = 0;
}

static void on_number(struct client *c, const struct vg_virt_msg *m)
{
	if (c->numbers.n == VG_XL_DEVICES_MAX || strcmp(c->numbers.uuid, m->uuid) != 0)
		flush_numbers(c);
	memcpy(c->numbers.uuid, m->uuid, sizeof(m->uuid));
	memcpy(c->numbers.of[c->numbers.n].spec, m->device.spec, sizeof(m->device.spec));
	c->numbers.of[c->numbers.n++].number = m->device.number;
}

/* ---- from vgrantd ------------------------------------------------------------------------ */

static void on_vgrantd(int watch, int fd, int events, void *ctx)
{
	struct client *c = ctx;
	struct vg_virt_msg m;
	int ret;

	(void)watch, (void)events;
	while ((ret = vg_virt_recv(fd, &m)) == 1) {
		if (m.type == VG_VIRT_CHANGE)
			on_change(c, &m);
		else if (m.type == VG_VIRT_WHO)
			on_who(c, &m);
		else if (m.type == VG_VIRT_NUMBER)
			on_number(c, &m);
	}
	flush_numbers(c);
	if (ret != -EAGAIN)
		c->over = true;
}

/* ---- life ------------------------------------------------------------------------------- */

int vg_virt_client(int sock, const char *uri)
{
	struct client c = { .sock = sock, .uri = uri, .events = { -1, -1 } };
	struct vg_virt_msg hello = { .type = VG_VIRT_HELLO };

	virSetErrorFunc(NULL, quiet);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
		vg_error("libvirt's library cannot be used: %s", why());
		return EXIT_FAILURE;
	}
	c.timer = virEventAddTimeout(0, on_timer, &c, NULL);
	if (c.timer < 0 ||
	    virEventAddHandle(sock, VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP, on_vgrantd,
			      &c, NULL) < 0) {
		vg_error("libvirt's event loop cannot be used: %s", why());
		return EXIT_FAILURE;
	}
	say(&c, &hello);
	while (!c.over && virEventRunDefaultImpl() == 0)
		;
	disconnect(&c);
	return EXIT_SUCCESS;
}
