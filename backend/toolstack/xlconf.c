// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlconf.c - see xlconf.h
 *
 * The grammar is xl's own: libxlutil parses. What it must be kept from, since it
 * would end the whole process: a folder in place of a file (its scanner exits on a
 * read error), and NUL bytes (an assertion on the length of a string). So the file
 * is read here, bounded, and handed over as text. What libxlutil has to say goes
 * to a FILE in memory and, its first line, into our sentence.
 */
#include "backend/toolstack/xlconf.h"

#include <errno.h>
#include <fcntl.h>
#include <libxlutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/number.h"

enum {
	FILE_MAX = 1 << 20, /* bytes; xl's own examples have 5 KiB */
};

/* ---- the file ----------------------------------------------------------- */

/*
 * Read @fd whole; a newline is added, without which a comment in the last line is an error to xl.
 * Return: the text, to be freed; or NULL and *@code.
 */
static char *slurp(int fd, size_t size, size_t *len, int *code)
{
	char *buf = malloc(size + 2);
	size_t n = 0;

	*code = -ENOMEM;
	while (buf && n < size) {
		ssize_t got = read(fd, buf + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*code = -errno;
			free(buf);
			return NULL;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (!buf)
		return NULL;
	buf[n++] = '\n';
	buf[n] = '\0';
	*len = n;
	return buf;
}

/* Is the open file one that may be read? Return: 0, or negative errno with a sentence. */
static int judge(int fd, const char *path, struct stat *st, struct vg_err *err)
{
	if (fstat(fd, st) < 0)
		return vg_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st->st_mode))
		return vg_fail(err, -EINVAL, "%s is no regular file", path);
	if ((st->st_mode & S_IWOTH) || (st->st_uid != 0 && st->st_uid != geteuid()))
		return vg_fail(err, -EPERM,
			       "%s could be written by others than root, so it is not trusted: "
			       "chown root, chmod o-w",
			       path);
	if (st->st_size > FILE_MAX)
		return vg_fail(err, -EFBIG, "%s is longer than 1 MiB: no xl configuration", path);
	return 0;
}

/* Open and read what may be read. Return: the text, to be freed; or NULL, with @err and *@code. */
static char *load(const char *path, size_t *len, int *code, struct vg_err *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char *text = NULL;
	struct stat st;

	if (fd < 0) {
		*code = -errno;
		vg_fail(err, *code, "%s cannot be opened: %s", path, strerror(-*code));
		return NULL;
	}
	*code = judge(fd, path, &st, err);
	if (*code == 0) {
		text = slurp(fd, (size_t)st.st_size, len, code);
		if (!text)
			vg_fail(err, *code, "%s cannot be read: %s", path, strerror(-*code));
	}
	close(fd);
	if (!text || strlen(text) == *len)
		return text;
	free(text);
	*code = vg_fail(err, -EINVAL, "%s is no text: it has a NUL byte", path);
	return NULL;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN
#endif
#ifdef UNDER_ASAN
/* On a syntax error libxlutil forgets what it had parsed (xlu__cfg_list_mk() and others, when
 * ctx->err is set). look_at() parses a broken file once only, so that this stays small. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libxlutil\n";
}
#endif

/* ---- xl's grammar ------------------------------------------------------- */

/*
 * Parse @text. libxlutil's report begins with "PATH:LINE: config parsing error near ..."; its first
 * line becomes the sentence. Return: the parsed configuration, or NULL with @err and *@code.
 */
static XLU_Config *parse_text(const char *path, const char *text, size_t len, int *code,
			      struct vg_err *err)
{
	char *said = NULL;
	size_t said_len = 0;
	FILE *report = open_memstream(&said, &said_len);
	XLU_Config *cfg = report ? xlu_cfg_init(report, path) : NULL;
	int ret = cfg ? xlu_cfg_readdata(cfg, text, (int)len) : ENOMEM;

	/* What follows asks with dont_warn set, so nothing is reported after this. */
	if (report)
		fclose(report);
	*code = -ret;
	if (ret && said && *said)
		vg_fail(err, -ret, "%.*s", (int)strcspn(said, "\n"), said);
	else if (ret)
		vg_fail(err, -ret, "%s cannot be read as an xl configuration: %s", path,
			strerror(ret));
	free(said);
	if (!ret)
		return cfg;
	if (cfg)
		xlu_cfg_destroy(cfg);
	return NULL;
}

/*
 * Entry @i of the list @key, which may also be a single string.
 * Return: the text; "" for an entry that is no string; NULL past the end.
 */
static const char *list_item(XLU_Config *cfg, const char *key, unsigned i)
{
	XLU_ConfigList *list;
	const char *one;
	int n;

	if (xlu_cfg_get_list(cfg, key, &list, &n, 1) == 0) {
		if (i >= (unsigned)n)
			return NULL;
		one = xlu_cfg_get_listitem(list, (int)i);
		return one ? one : "";
	}
	if (i == 0 && xlu_cfg_get_string(cfg, key, &one, 1) == 0)
		return one;
	return NULL;
}

/* How many entries of @key to take; what is beyond is counted in @dropped. */
static unsigned list_len(XLU_Config *cfg, const char *key, unsigned *dropped)
{
	unsigned n = 0;

	while (list_item(cfg, key, n))
		n++;
	if (n > VG_XL_DEVICES_MAX) {
		*dropped += n - VG_XL_DEVICES_MAX;
		n = VG_XL_DEVICES_MAX;
	}
	return n;
}

/* ---- vgrant = [ ... ] --------------------------------------------------- */

/* Take id= and backend=, checked; the other keys are the device's and checked where it is known. */
static int read_common(struct vg_xl_device *dev, struct vg_err *why)
{
	struct vg_params common = { .n = 0 };
	int ret;

	snprintf(common.device, sizeof(common.device), "%s", dev->params.device);
	for (unsigned i = 0; i < dev->params.n; i++) {
		const char *key = dev->params.p[i].key;

		for (const struct vg_param_def *d = vg_common_params; d->key; d++) {
			if (strcmp(d->key, key) == 0)
				common.p[common.n++] = dev->params.p[i];
		}
	}
	ret = vg_params_check(&common, vg_common_params, NULL, why);
	if (ret < 0)
		return ret;
	dev->backend = vg_params_str(&common, vg_common_params, "backend");
	if (vg_params_str(&common, NULL, "id"))
		dev->id = (int)vg_params_uint(&common, vg_common_params, "id");
	return 0;
}

void vg_xlconf_read_device(struct vg_xlconf *conf, struct vg_xl_device *dev)
{
	struct vg_err why;

	dev->id = -1;
	dev->virtio = -1;
	if (vg_params_parse(dev->spec, &dev->params, &why) < 0 || read_common(dev, &why) < 0) {
		vg_fail(&dev->err, 0, "vgrant entry '%.80s': %s", dev->spec, why.text);
		dev->params.n = 0;
		return;
	}
	for (struct vg_xl_device *d = conf->devices; d < dev && dev->id >= 0; d++) {
		if (d->id == dev->id)
			vg_fail(&dev->err, 0,
				"vgrant entry '%.80s': id=%d is taken by the entry '%.60s'",
				dev->spec, dev->id, d->spec);
	}
}

/* ---- virtio = [ ... ] --------------------------------------------------- */

/* "virtio,device24" -> 0x24. xl itself allows a bare "virtio" (any device). */
static uint16_t virtio_id_of_type(const char *type)
{
	static const char prefix[] = "virtio,device";
	uint64_t id;

	if (strncmp(type, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	type += sizeof(prefix) - 1;
	return vg_number(type, 16, UINT16_MAX, &id) == 0 ? (uint16_t)id : 0;
}

static void set_virtio(struct vg_xl_virtio *v, const char *key, const char *value)
{
	if (strcmp(key, "type") == 0) {
		v->virtio_id = virtio_id_of_type(value);
		if (!v->virtio_id)
			vg_fail(&v->err, 0,
				"virtio entry '%.80s': type=%.40s names no device; write "
				"type=virtio,device<hex>, as in type=virtio,device2 for a disk",
				v->spec, value);
	} else if (strcmp(key, "backend") == 0) {
		free(v->backend);
		v->backend = strdup(value);
	} else if (strcmp(key, "transport") == 0) {
		snprintf(v->transport, sizeof(v->transport), "%.15s", value);
	} else if (strcmp(key, "grant_usage") == 0) {
		/* libxlutil's own reading, blanks and all: what xl takes it for */
		v->grant_usage = strtoul(value, NULL, 0) != 0;
	} else {
		vg_fail(&v->err, 0,
			"virtio entry '%.80s': xl knows no \"%.40s\" there and will refuse the "
			"guest; such keys belong into vgrant = [ ... ]",
			v->spec, key);
	}
}

/* Split as xl does: at commas, save that "type=virtio,..." takes the next piece, too. */
static void read_virtio(struct vg_xl_virtio *v)
{
	char *copy = strdup(v->spec);
	char *save = NULL;

	v->grant_usage = -1;
	if (!copy) {
		vg_fail(&v->err, 0, "virtio entry '%.80s': out of memory", v->spec);
		return;
	}
	for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char type[64];
		char *value;

		p += strspn(p, " ");
		value = strchr(p, '=');
		if (value)
			*value++ = '\0';
		if (value && strcmp(p, "type") == 0 && strncmp(value, "virtio", 6) == 0) {
			const char *more = strtok_r(NULL, ",", &save);

			snprintf(type, sizeof(type), "%s%s%s", value, more ? "," : "",
				 more ? more : "");
			value = type;
		}
		set_virtio(v, p, value ? value : "");
	}
	free(copy);
	if (!v->err.text[0] && strcmp(v->transport, "mmio") != 0)
		vg_fail(&v->err, 0,
			"virtio entry '%.80s': xl demands transport=mmio there (vgrant uses grants "
			"all the same)",
			v->spec);
}

/* ---- disk = [ ... ] ----------------------------------------------------- */

/* The first entry of `disk` that is one of VirtIO's, by the words of xl-disk-configuration(5). */
static const char *find_virtio_disk(XLU_Config *cfg, unsigned *at)
{
	static const char word[] = "specification=virtio";
	const char *spec;

	for (*at = 0; (spec = list_item(cfg, "disk", *at)) != NULL; (*at)++) {
		const char *p = strstr(spec, word);

		if (p && (p[sizeof(word) - 1] == ',' || !p[sizeof(word) - 1]))
			return spec;
	}
	return NULL;
}

/* ---- all of it ---------------------------------------------------------- */

static int read_lists(struct vg_xlconf *conf, XLU_Config *cfg)
{
	unsigned n = list_len(cfg, "vgrant", &conf->dropped), at;
	const char *disk;

	conf->devices = calloc(n ? n : 1, sizeof(*conf->devices));
	if (!conf->devices)
		return -ENOMEM;
	for (; conf->n_devices < n; conf->n_devices++) {
		struct vg_xl_device *dev = &conf->devices[conf->n_devices];

		dev->spec = strdup(list_item(cfg, "vgrant", conf->n_devices));
		if (!dev->spec)
			return -ENOMEM;
		vg_xlconf_read_device(conf, dev);
	}
	disk = find_virtio_disk(cfg, &at);
	if (disk && !(conf->virtio_disk = strdup(disk)))
		return -ENOMEM;
	n = list_len(cfg, "virtio", &conf->dropped);
	conf->virtios = calloc(n ? n : 1, sizeof(*conf->virtios));
	if (!conf->virtios)
		return -ENOMEM;
	for (; conf->n_virtios < n; conf->n_virtios++) {
		struct vg_xl_virtio *v = &conf->virtios[conf->n_virtios];

		v->spec = strdup(list_item(cfg, "virtio", conf->n_virtios));
		v->backend = strdup("");
		if (v->spec && v->backend)
			read_virtio(v);
		if (!v->spec || !v->backend) {
			free(v->spec);
			free(v->backend);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Are the @strings of a list its @n entries, and those that were dropped? */
static bool is_whole(const struct vg_xlconf *conf, unsigned strings, unsigned n)
{
	return strings == n || (n == VG_XL_DEVICES_MAX && strings == n + conf->dropped);
}

/* For people: where the entries stand, and whether a second list has replaced them. */
static void find_places(struct vg_xlconf *conf, XLU_Config *cfg, const char *text)
{
	struct vg_xl_place items[VG_XL_DEVICES_MAX] = { { 0, 0 } };
	struct vg_xl_list list = { .max = VG_XL_DEVICES_MAX, .items = items };
	unsigned at;

	vg_xl_find(text, "vgrant", &list);
	conf->vgrant = list.first;
	conf->vgrant_again = list.again;
	/* Something in the list is no string: who is where is not known. */
	for (unsigned i = 0; is_whole(conf, list.n, conf->n_devices) && i < conf->n_devices; i++)
		conf->devices[i].place = items[i];
	vg_xl_find(text, "virtio", &list);
	for (unsigned i = 0; is_whole(conf, list.n, conf->n_virtios) && i < conf->n_virtios; i++)
		conf->virtios[i].place = items[i];
	vg_xl_find(text, "disk", &list);
	if (find_virtio_disk(cfg, &at) && at < list.n && at < VG_XL_DEVICES_MAX)
		conf->virtio_disk_place = items[at];
}

static int read_text(const char *path, const char *text, size_t len, struct vg_xlconf **out,
		     struct vg_err *err)
{
	struct vg_xlconf *conf;
	const char *name = "", *uuid = "";
	int ret;
	XLU_Config *cfg = parse_text(path, text, len, &ret, err);

	if (!cfg)
		return ret;
	xlu_cfg_get_string(cfg, "name", &name, 1);
	xlu_cfg_get_string(cfg, "uuid", &uuid, 1);
	conf = calloc(1, sizeof(*conf));
	ret = -ENOMEM;
	if (conf) {
		conf->path = strdup(path);
		conf->name = strdup(name);
		conf->uuid = strdup(uuid);
		if (conf->path && conf->name && conf->uuid)
			ret = read_lists(conf, cfg);
		if (ret == 0)
			find_places(conf, cfg, text);
	}
	xlu_cfg_destroy(cfg);
	if (ret < 0) {
		vg_xlconf_free(conf);
		return vg_fail(err, ret, "%s: out of memory", path);
	}
	*out = conf;
	return 0;
}

/* As xl does it: what the command line sets are more lines. Return: the text, in place of @text; or NULL. */
static char *append(char *text, size_t *len, const char *const *settings)
{
	for (; text && settings && *settings; settings++) {
		size_t n = strlen(*settings);
		char *more = realloc(text, *len + n + 2);

		if (!more) {
			free(text);
			return NULL;
		}
		text = more;
		*len += (size_t)sprintf(text + *len, "%s\n", *settings);
	}
	return text;
}

int vg_xlconf_read(const char *path, struct vg_xlconf **out, struct vg_err *err)
{
	return vg_xlconf_read_with(path, NULL, out, err);
}

int vg_xlconf_read_with(const char *path, const char *const *settings, struct vg_xlconf **out,
			struct vg_err *err)
{
	size_t len;
	int ret;
	char *text = load(path, &len, &ret, err);

	if (!text)
		return ret;
	text = append(text, &len, settings);
	if (!text)
		return vg_fail(err, -ENOMEM, "%s: out of memory", path);
	ret = read_text(path, text, len, out, err);
	free(text);
	return ret;
}

void vg_xlconf_free(struct vg_xlconf *conf)
{
	if (!conf)
		return;
	/* An entry whose strdup() failed is not counted. */
	for (unsigned i = 0; i < conf->n_devices; i++)
		free(conf->devices[i].spec);
	for (unsigned i = 0; i < conf->n_virtios; i++) {
		free(conf->virtios[i].backend);
		free(conf->virtios[i].spec);
	}
	free(conf->devices);
	free(conf->virtios);
	free(conf->virtio_disk);
	free(conf->path);
	free(conf->name);
	free(conf->uuid);
	free(conf);
}

/* ---- adoption ----------------------------------------------------------- */

static bool is_adopted(const struct vg_xlconf *conf, unsigned virtio)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (conf->devices[i].virtio == (int)virtio)
			return true;
	}
	return false;
}

/* A device with id= takes the entry of that number, if there is one. */
static void match_by_id(struct vg_xlconf *conf, struct vg_xl_device *dev, uint16_t virtio_id)
{
	const struct vg_xl_virtio *v;

	if (dev->id < 0 || (unsigned)dev->id >= conf->n_virtios)
		return;
	v = &conf->virtios[dev->id];
	if (v->virtio_id == virtio_id)
		dev->virtio = dev->id;
	else
		vg_fail(&dev->err, 0,
			"vgrant entry '%.60s': id=%d is the number of xl's virtio entry '%.60s', "
			"which is another device; leave id= away, or use one from %u on",
			dev->spec, dev->id, v->spec, conf->n_virtios);
}

static void match_by_type(struct vg_xlconf *conf, struct vg_xl_device *dev, uint16_t virtio_id)
{
	for (unsigned v = 0; v < conf->n_virtios && dev->virtio < 0; v++) {
		if (conf->virtios[v].virtio_id == virtio_id && !is_adopted(conf, v))
			dev->virtio = (int)v;
	}
}

/* Is @number that of an entry of xl's, or of a device that has one already? */
static bool is_taken(const struct vg_xlconf *conf, unsigned number, const bool *numbered)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (numbered[i] && conf->devices[i].number == number)
			return true;
	}
	return number < conf->n_virtios;
}

/* Adopted nodes first, then id=, then the rest: a number that was asked for is not given away. */
static void give_numbers(struct vg_xlconf *conf)
{
	bool numbered[VG_XL_DEVICES_MAX] = { false };
	unsigned next = VG_XL_FIRST_NUMBER;

	for (int pass = 0; pass < 3; pass++) {
		for (unsigned i = 0; i < conf->n_devices; i++) {
			struct vg_xl_device *dev = &conf->devices[i];

			if (numbered[i])
				continue;
			if (pass == 0 && dev->virtio >= 0) {
				dev->number = (unsigned)dev->virtio;
			} else if (pass == 1 && dev->id >= 0 &&
				   !is_taken(conf, (unsigned)dev->id, numbered)) {
				dev->number = (unsigned)dev->id;
			} else if (pass == 2) {
				while (is_taken(conf, next, numbered))
					next++;
				dev->number = next;
			} else {
				continue;
			}
			numbered[i] = true;
		}
	}
}

void vg_xlconf_match(struct vg_xlconf *conf, uint16_t (*virtio_id_of)(const char *device))
{
	for (unsigned i = 0; i < conf->n_devices; i++)
		conf->devices[i].virtio = -1;
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < conf->n_devices; i++) {
			struct vg_xl_device *dev = &conf->devices[i];
			uint16_t virtio_id =
				dev->err.text[0] ? 0 : virtio_id_of(dev->params.device);

			if (!virtio_id)
				continue;
			if (pass == 0)
				match_by_id(conf, dev, virtio_id);
			else if (dev->id < 0)
				match_by_type(conf, dev, virtio_id);
		}
	}
	give_numbers(conf);
}
