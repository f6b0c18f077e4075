// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * check.c - `vgrant check FILE...`: what vgrantd will make of a guest's configuration
 *
 * Needs no daemon, no Xen and no rights; in a dom0, root is told more. A mistake is what would keep a device or
 * the guest from working, wherever it is started; a warning is what may be right
 * on another machine, or in the user's mind. A file may be an xl configuration, or
 * the XML of a libvirt domain.
 *
 * With --json it is an object, for editors and whatever puts configurations where they belong.
 *
 * libvirt's hook (hook.c) asks the same of a domain that starts here and now.
 */
#include <errno.h>
#include <json-c/json.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/virtio/device.h"
#include "backend/base/schedule.h"
#include "backend/daemon/settings.h"
#include "backend/images/image.h"
#include "backend/toolstack/hypervisor.h"
#include "backend/toolstack/libvirt/domxml.h"
#include "backend/toolstack/xlconf.h"
#include "backend/toolstack/xlhost.h"
#include "tools/vgrant.h"

/* What was found in one file. */
struct findings {
	const char *file;
	FILE *out;
	struct json_object *list; /* they are added to it; NULL: they go to @tell or @out */
	void (*tell)(void *ctx, const char *what); /* NULL: they go to @out */
	void *tell_ctx;
	const struct vg_domxml *xml; /* NULL: it is an xl configuration */
	bool here; /* the guest is to be started here and now: what is missing is a mistake */
	struct vg_hypervisor hv;  /* of this machine */
	struct vg_xl_place place; /* of what is being looked at; line 0: not known */
	unsigned mistakes, warnings;
};

static void mistake(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warning(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_finding(const struct findings *f, const char *word, const char *text)
{
	struct json_object *finding = json_object_new_object();

	json_object_object_add(finding, "level", json_object_new_string(word));
	if (f->place.line) {
		json_object_object_add(finding, "line", json_object_new_uint64(f->place.line));
		json_object_object_add(finding, "column", json_object_new_uint64(f->place.column));
	}
	json_object_object_add(finding, "text", json_object_new_string(vgrant_printable(text)));
	json_object_array_add(f->list, finding);
}

__attribute__((format(printf, 3, 0))) static void tell(const struct findings *f, const char *word,
						       const char *fmt, va_list ap)
{
	char text[1024], place[32] = "", what[PATH_MAX + sizeof(text)];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (f->place.line)
		snprintf(place, sizeof(place), ":%u:%u", f->place.line, f->place.column);
	snprintf(what, sizeof(what), "%s%s: %s%s%s", f->file, place, f->tell ? "" : word,
		 f->tell ? "" : ": ", vgrant_printable(text));
	if (f->list)
		add_finding(f, word, text);
	else if (f->tell)
		f->tell(f->tell_ctx, what);
	else
		fprintf(f->out, "%s\n", what);
}

static void mistake(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(f, "mistake", fmt, ap);
	va_end(ap);
	f->mistakes++;
}

static void warning(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(f, "warning", fmt, ap);
	va_end(ap);
	f->warnings++;
}

static uint16_t virtio_id_of(const char *device)
{
	const struct vg_device_ops *ops = vg_device_find(device);

	return ops ? ops->virtio_id : 0;
}

/* "blk, rng" */
static const char *device_names(void)
{
	static char text[256];
	size_t used = 0;

	for (size_t i = 0; vg_devices[i] && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? ", " : "",
					 vg_devices[i]->name);
	return text;
}

/* What looks like another format is served as it is: rarely what was meant. */
static void check_format(struct findings *f, const struct vg_xl_device *d, const char *target)
{
	bool raw = vg_device_of(&d->params) == vg_device_find("blk");
	const char *name = vg_params_str(&d->params, NULL, "format") || !raw
				   ? NULL
				   : vg_image_guess_file(target);

	if (name)
		warning(f,
			"vgrant entry '%.120s': %s looks like %s, and would be served as a raw "
			"disk, headers and all: format=qcow2 (vhdx, vmdk, vhd, vdi) in the entry "
			"says what it is, and format=raw that it is right as it is",
			d->spec, target, name);
}

/* What is missing here may be there on another machine, unless the guest is to be started on this one. */
__attribute__((format(printf, 3, 4))) static void
missing(struct findings *f, const struct vg_xl_device *d, const char *fmt, ...)
{
	char text[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(f->here ? mistake : warning)(f, "vgrant entry '%.120s': on this machine %s", d->spec,
				      text);
}

/* A file that a device stands on should be here, unless another domain serves the device. */
static void check_target(struct findings *f, const struct vg_xl_device *d)
{
	const char *target = vg_params_str(&d->params, NULL, "target");
	const char *evdev = vg_params_str(&d->params, NULL, "evdev");
	struct stat st;

	if (d->backend)
		return;
	if (evdev && stat(evdev, &st) < 0)
		missing(f, d, "%s: %s", evdev, strerror(errno));
	if (!target || target[0] != '/')
		return;
	if (stat(target, &st) < 0)
		missing(f, d, "%s: %s", target, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		mistake(f, "vgrant entry '%.120s': %s is a folder", d->spec, target);
	else
		check_format(f, d, target);
}

/* So should the program that serves it, and what that needs. */
static void check_daemon(struct findings *f, const struct vg_device_ops *ops,
			 const struct vg_xl_device *d)
{
	static struct vg_daemon daemon;
	char spec[VG_PARAMS_LEN];
	const char *target = vg_params_str(&d->params, NULL, "target");
	struct vg_params params;
	struct vg_err err;

	if (!ops->daemon || d->backend || (target && target[0] == '/' && access(target, F_OK) < 0))
		return;
	/* A socket is what vgrantd adds. */
	snprintf(spec, sizeof(spec), "%s%s", d->spec,
		 vg_params_str(&d->params, NULL, "socket") ? "" : ",socket=/");
	if (vg_params_parse(spec, &params, NULL) == 0 && ops->daemon(&params, &daemon, &err) < 0)
		missing(f, d, "%s", err.text);
}

/* "ovs0.5:10" is VLAN 5 of ovs0; and br0.100 may be a bridge. */
static bool is_interface(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/net/%s", name);
	if (access(path, F_OK) == 0)
		return true;
	snprintf(path, sizeof(path), "/sys/class/net/%.*s", (int)strcspn(name, ".:"), name);
	return access(path, F_OK) == 0;
}

/* What a network card is put on should be here, where the guest is to be started. A script knows itself. */
static void check_link(struct findings *f, const struct vg_xl_device *d)
{
	static const char *const keys[] = { "tap", "macvtap", "bridge" };
	const char *name = NULL;
	char bridge[64];

	if (!f->here || d->backend || strcmp(d->params.device, "net") != 0 ||
	    vg_params_str(&d->params, NULL, "script"))
		return;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !name; i++)
		name = vg_params_str(&d->params, NULL, keys[i]);
	if (!name) {
		vg_xl_default_bridge(NULL, bridge, sizeof(bridge));
		name = bridge;
	}
	if (*name && !is_interface(name))
		mistake(f, "vgrant entry '%.120s': on this machine there is no %.60s", d->spec,
			name);
}

/* The device is there without, and waits. */
static void check_can(struct findings *f, const struct vg_xl_device *d)
{
	const char *name = vg_params_str(&d->params, NULL, "interface");

	if (name && !d->backend && strcmp(d->params.device, "can") == 0 && !is_interface(name))
		warning(f,
			"vgrant entry '%.120s': on this machine there is no %.60s yet: the device "
			"waits for it",
			d->spec, name);
}

/* A sentence about a value begins with its key: point to that in the entry. */
static void point_to_key(struct findings *f, const struct vg_xlconf *conf,
			 const struct vg_xl_device *d, const char *sentence)
{
	size_t len = strcspn(sentence, " =");
	const char *p = d->spec;

	if (f->xml) {
		f->place =
			vg_domxml_key_place(f->xml, (unsigned)(d - conf->devices), sentence, len);
		return;
	}
	while ((p = strchr(p, ',')) != NULL) {
		p++;
		if (strncmp(p, sentence, len) == 0 && p[len] == '=')
			f->place.column += (unsigned)(p - d->spec);
	}
}

static void check_device(struct findings *f, const struct vg_xlconf *conf,
			 const struct vg_xl_device *d)
{
	const struct vg_device_ops *ops;
	struct vg_err err;

	if (d->err.text[0]) {
		mistake(f, "%s", d->err.text);
		return;
	}
	ops = vg_device_of(&d->params);
	if (!ops) {
		mistake(f, "vgrant entry '%.120s': there is no device \"%s\"; there are %s",
			d->spec, d->params.device, device_names());
		return;
	}
	if (vg_params_check(&d->params, ops->params, vg_common_params, &err) < 0 ||
	    vg_params_check_paths(&d->params, ops->params, &err) < 0 ||
	    vg_schedule_check(&d->params, &err) < 0 ||
	    (ops->check && ops->check(&d->params, &err) < 0)) {
		if (f->place.line)
			point_to_key(f, conf, d, err.text);
		mistake(f, "vgrant entry '%.120s': %s; see `vgrant help %s`", d->spec, err.text,
			ops->name);
		return;
	}
	check_target(f, d);
	check_daemon(f, ops, d);
	check_link(f, d);
	check_can(f, d);
}

static bool is_said(const struct vg_xl_device *d, const char *key)
{
	const struct vg_device_ops *ops = vg_device_find(d->params.device);
	return ops && vg_params_bool(&d->params, ops->params, key);
}

/* Two devices of one guest that write one image destroy it. */
static void check_shared(struct findings *f, const struct vg_xlconf *conf)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		const struct vg_xl_device *a = &conf->devices[i];
		const char *target = vg_params_str(&a->params, NULL, "target");

		for (unsigned k = 0; target && k < i; k++) {
			const struct vg_xl_device *b = &conf->devices[k];
			const char *other = vg_params_str(&b->params, NULL, "target");

			if (other && strcmp(other, target) == 0 &&
			    !(is_said(a, "readonly") && is_said(b, "readonly")) &&
			    !(is_said(a, "shareable") && is_said(b, "shareable")))
				mistake(f,
					"%s stands in two vgrant entries, of which one may write",
					target);
		}
	}
}

static const struct vg_xl_device *adopter_of(const struct vg_xlconf *conf, unsigned virtio)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (conf->devices[i].virtio == (int)virtio)
			return &conf->devices[i];
	}
	return NULL;
}

/*
 * libxl_arm.c puts each such device into the guest's device tree, with registers that an IOREQ
 * server is to answer for. Where there is none, reading them is an abort for the guest's kernel.
 */
static void check_ioreq(struct findings *f, const char *what, const char *spec)
{
	if (!f->hv.arm || f->hv.ioreq == VG_YES)
		return;
	warning(f,
		"%s entry '%.120s': %s has no IOREQ server, so that nobody answers for the device "
		"that xl puts into the guest's device tree, and the guest's kernel dies when it "
		"loads virtio_mmio: take the entry out, vgrant = [ ... ] does without it",
		what, spec,
		f->hv.ioreq == VG_NO ? "this machine's Xen"
				     : "Xen for Arm, unless built with CONFIG_IOREQ_SERVER,");
}

/* Xen, xsm/silo.c: of two domains that share a page, one must be the control domain. */
static void check_silo(struct findings *f, const struct vg_xlconf *conf,
		       const struct vg_xl_device *d)
{
	const char *backend = d->backend;

	if (!backend && d->virtio >= 0)
		backend = conf->virtios[d->virtio].backend;
	if (!backend || !backend[0] || strcmp(backend, "0") == 0 ||
	    strcmp(backend, "Domain-0") == 0)
		return;
	if (f->hv.silo == VG_YES)
		(f->here ? mistake : warning)(
			f,
			"vgrant entry '%.120s': this machine's Xen runs with XSM's SILO, which "
			"lets guests share memory with dom0 only: for backend=%.40s add xsm=dummy "
			"to Xen's command line",
			d->spec, backend);
	else if (f->hv.silo == VG_UNKNOWN && f->hv.arm)
		warning(f,
			"vgrant entry '%.120s': Xen for Arm runs with XSM's SILO where it was "
			"built so (Debian's is), and then guests share memory with dom0 only: for "
			"backend=%.40s Xen's command line needs xsm=dummy",
			d->spec, backend);
}

static void check_virtio(struct findings *f, const struct vg_xlconf *conf, unsigned i)
{
	const struct vg_xl_virtio *v = &conf->virtios[i];
	const struct vg_xl_device *d = adopter_of(conf, i);
	const char *backend = v->backend[0] ? v->backend : "0";

	if (v->err.text[0])
		mistake(f, "%s", v->err.text);
	else if (!d)
		warning(f,
			"virtio entry '%.120s': no vgrant entry is of that device, so vgrantd "
			"will not serve it",
			v->spec);
	else if (d->backend && strcmp(d->backend, backend) != 0)
		warning(f,
			"virtio entry '%.100s' says backend %s, but the vgrant entry '%.100s', "
			"which takes its node, says %s; the node's counts",
			v->spec, backend, d->spec, d->backend);
}

/* Anywhere a file is found while the xl runs that was told it; else in the folders of the settings. */
static void check_place(struct findings *f, const char *path)
{
	static struct vg_settings settings;
	char real[PATH_MAX], dir[PATH_MAX];
	const char *base;

	(void)vg_settings_load(&settings, NULL, NULL);
	if (!realpath(path, real))
		return;
	base = strrchr(real, '/');
	if (!base)
		return;
	for (const char **d = settings.config_dirs; *d; d++) {
		if (realpath(*d, dir) && strlen(dir) == (size_t)(base - real) &&
		    strncmp(dir, real, strlen(dir)) == 0)
			return;
	}
	warning(f,
		"a guest made from here has its devices; restored, or come from another host, it "
		"has none, unless a link in %s leads here, or config-dirs in vgrantd.conf names "
		"the folder",
		settings.config_dirs[0] ? settings.config_dirs[0] : "one of its folders");
}

/* What both kinds of file have. */
static void check_devices(struct findings *f, struct vg_xlconf *conf)
{
	if (conf->dropped)
		mistake(f, "it has %u entries too many: a guest may have %d", conf->dropped,
			VG_XL_DEVICES_MAX);
	vg_xlconf_match(conf, virtio_id_of);
	vg_hypervisor_ask(&f->hv);
	for (unsigned i = 0; i < conf->n_devices; i++) {
		f->place = conf->devices[i].place;
		check_device(f, conf, &conf->devices[i]);
		f->place = conf->devices[i].place;
		check_silo(f, conf, &conf->devices[i]);
	}
	f->place = (struct vg_xl_place){ 0, 0 };
	check_shared(f, conf);
}

static void check_conf(struct findings *f, struct vg_xlconf *conf)
{
	if (!conf->name[0])
		mistake(f, "it has no name = \"...\", by which xl and vgrantd know the guest");
	if (!conf->n_devices)
		warning(f,
			"it has no vgrant = [ ... ], so vgrantd has nothing to do for this guest");
	if (conf->vgrant_again.line) {
		f->place = conf->vgrant_again;
		mistake(f,
			"a second list vgrant = [...] replaces the one in line %u, whose devices "
			"the "
			"guest does not get: make one of them, or write +=",
			conf->vgrant.line);
		f->place = (struct vg_xl_place){ 0, 0 };
	}
	check_devices(f, conf);
	for (unsigned i = 0; i < conf->n_virtios; i++) {
		f->place = conf->virtios[i].place;
		check_virtio(f, conf, i);
		check_ioreq(f, "virtio", conf->virtios[i].spec);
	}
	f->place = conf->virtio_disk_place;
	if (conf->virtio_disk)
		check_ioreq(f, "disk", conf->virtio_disk);
	f->place = (struct vg_xl_place){ 0, 0 };
	check_place(f, f->file);
}

/* @conf: NULL: it could not be read. */
static void conclude_json(const struct findings *f, const struct vg_xlconf *conf,
			  struct json_object *files)
{
	struct json_object *file = json_object_new_object();

	json_object_object_add(file, "file", json_object_new_string(vgrant_printable(f->file)));
	if (conf) {
		json_object_object_add(file, "guest",
				       json_object_new_string(vgrant_printable(conf->name)));
		json_object_object_add(file, "devices", json_object_new_uint64(conf->n_devices));
	}
	json_object_object_add(file, "findings", f->list);
	json_object_array_add(files, file);
}

static void conclude(const struct findings *f, const struct vg_xlconf *conf)
{
	printf("%s: guest %s, %u device%s: ", f->file,
	       conf->name[0] ? vgrant_printable(conf->name) : "without a name", conf->n_devices,
	       conf->n_devices == 1 ? "" : "s");
	if (f->mistakes)
		printf("%u mistake%s\n", f->mistakes, f->mistakes == 1 ? "" : "s");
	else
		printf("%s\n", f->warnings ? "no mistakes, but see the warnings" : "all is well");
}

/* The whole of it is what @why says. */
static void unreadable(struct findings *f, const char *why)
{
	f->mistakes++;
	if (f->list)
		add_finding(f, "mistake", why);
	else
		printf("%s\n", vgrant_printable(why));
}

static void check_xl(struct findings *f, struct json_object *files)
{
	struct vg_xlconf *conf = NULL;
	struct vg_err err;

	if (vg_xlconf_read(f->file, &conf, &err) < 0)
		unreadable(f, err.text);
	else
		check_conf(f, conf);
	if (files)
		conclude_json(f, conf, files);
	else if (conf)
		conclude(f, conf);
	vg_xlconf_free(conf);
}

static void check_xml(struct findings *f, struct json_object *files)
{
	struct vg_domxml *xml = NULL;
	struct vg_err err;

	if (vg_domxml_read(f->file, &xml, &err) < 0)
		unreadable(f, err.text);
	if (strcmp(f->file, "-") == 0)
		f->file = "standard input";
	f->xml = xml;
	if (xml && !xml->ours)
		warning(f, "it has no <" VG_DOMXML_PREFIX ":" VG_DOMXML_ELEMENT
			   " xmlns:" VG_DOMXML_PREFIX "='" VG_DOMXML_URI
			   "'> in its <metadata>, so vgrantd has nothing to do for this guest");
	if (xml)
		check_devices(f, xml->conf);
	if (files)
		conclude_json(f, xml ? xml->conf : NULL, files);
	else if (xml)
		conclude(f, xml->conf);
	vg_domxml_free(xml);
}

unsigned vgrant_check_here(const char *name, struct vg_domxml *xml, FILE *out)
{
	struct findings f = { .file = name, .out = out, .xml = xml, .here = true };

	check_devices(&f, xml->conf);
	return f.mistakes;
}

unsigned vgrant_check_arrival(struct vg_xlconf *conf, FILE *out)
{
	struct findings f = { .file = conf->path, .out = out, .here = true };

	check_conf(&f, conf);
	return f.mistakes;
}

void vgrant_check_running(const char *file, void (*hear)(void *ctx, const char *what), void *ctx)
{
	struct findings f = { .file = file, .tell = hear, .tell_ctx = ctx, .here = true };
	struct vg_xlconf *conf;
	struct vg_err err;

	if (vg_xlconf_read(file, &conf, &err) < 0) {
		hear(ctx, err.text);
		return;
	}
	check_conf(&f, conf);
	vg_xlconf_free(conf);
}

/* @files: gets what was found; NULL: it is printed. Return: how many mistakes. */
static unsigned check_file(const char *file, struct json_object *files)
{
	struct findings f = { .file = file,
			      .out = stdout,
			      .list = files ? json_object_new_array() : NULL };

	if (strcmp(file, "-") == 0 || vg_domxml_is(file))
		check_xml(&f, files);
	else
		check_xl(&f, files);
	return f.mistakes;
}

int vgrant_check(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *all = opt->json ? json_object_new_object() : NULL;
	struct json_object *files = all ? json_object_new_array() : NULL;
	unsigned mistakes = 0;

	for (int i = 0; i < argc; i++)
		mistakes += check_file(argv[i], files);
	if (all) {
		json_object_object_add(all, "files", files);
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(all);
	}
	return mistakes ? VGRANT_FAILED : VGRANT_OK;
}
