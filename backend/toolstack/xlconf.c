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

#include <ctype.h>
#include <dirent.h>
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
	NAMES_MAX = 4096,   /* files looked at in one folder */
	TOLD_MAX = 64,	    /* complaints remembered */
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

int vg_xlconf_read(const char *path, struct vg_xlconf **out, struct vg_err *err)
{
	size_t len;
	int ret;
	char *text = load(path, &len, &ret, err);

	if (!text)
		return ret;
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

/* ---- finding a guest's file --------------------------------------------- */

/* Complaints made, each about one state of one file. One thread reads configurations. */
static struct told {
	dev_t dev;
	ino_t ino;
	struct timespec mtime, ctime;
	int what; /* TOLD_*; 0: unused */
} told[TOLD_MAX];
static unsigned told_next;

static bool was_told(const struct stat *st, int what)
{
	for (unsigned i = 0; i < TOLD_MAX; i++) {
		const struct told *t = &told[i];

		if (t->what == what && t->dev == st->st_dev && t->ino == st->st_ino &&
		    memcmp(&t->mtime, &st->st_mtim, sizeof(t->mtime)) == 0 &&
		    memcmp(&t->ctime, &st->st_ctim, sizeof(t->ctime)) == 0)
			return true;
	}
	return false;
}

static void remember_told(const struct stat *st, int what)
{
	told[told_next++ % TOLD_MAX] =
		(struct told){ st->st_dev, st->st_ino, st->st_mtim, st->st_ctim, what };
}

enum { TOLD_BROKEN = 1, TOLD_TWICE = 2 };

/* Xen's own settings, which lie in /etc/xen beside the guests'. */
static bool is_xens_own(const char *name)
{
	static const char *const names[] = { "xl.conf", "oxenstored.conf", "xenstored.conf",
					     "cpupool" };

	for (unsigned i = 0; i < COUNT(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool is_leftover(const char *name)
{
	static const char *const ends[] = { "~", ".bak", ".old", ".orig", ".swp", ".sxp" };
	static const char *const parts[] = { ".dpkg-", ".rpm", ".ucf-" };
	size_t len = strlen(name);

	if (name[0] == '.' || is_xens_own(name))
		return true;
	for (unsigned i = 0; i < COUNT(ends); i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strcmp(name + len - n, ends[i]) == 0)
			return true;
	}
	for (unsigned i = 0; i < COUNT(parts); i++) {
		if (strstr(name, parts[i]))
			return true;
	}
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of @dir that are worth a look, sorted. Return: how many, or -ENOMEM. */
static int list_dir(const char *dir, char **names)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d) {
		vg_debug("%s cannot be searched for guests' configurations: %s", dir,
			 strerror(errno));
		return 0;
	}
	while ((e = readdir(d))) {
		if (e->d_type != DT_REG && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN)
			continue;
		if (is_leftover(e->d_name))
			continue;
		if (n == NAMES_MAX) {
			vg_warn("%s has more than %d files: the rest is not searched for guests' "
				"configurations",
				dir, NAMES_MAX);
			break;
		}
		names[n] = strdup(e->d_name);
		if (!names[n])
			break;
		n++;
	}
	closedir(d);
	qsort(names, (size_t)n, sizeof(*names), by_bytes);
	return n;
}

/* What a search has come to. */
struct search {
	const char *name;
	size_t name_len;  /* without "--incoming" */
	const char *uuid; /* or NULL */
	struct vg_xlconf *found;
	bool by_uuid; /* found is */
	struct stat found_st;
	int ret;				    /* -ENOMEM ends it */
	void (*broken)(void *ctx, const char *why); /* is told, instead of the log; or NULL */
	void *broken_ctx;
};

/* As libxl reads them: case and dashes do not matter. */
static bool is_uuid(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, "-");
		b += strspn(b, "-");
		if (!*a || tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return !*a && !*b;
	}
}

/* A uuid says more than a name: what was found by one gives way. Return: is @conf what is looked for? */
static bool is_wanted(struct search *s, const struct vg_xlconf *conf)
{
	bool by_uuid = s->uuid && conf->uuid[0] && is_uuid(conf->uuid, s->uuid);
	bool by_name =
		strlen(conf->name) == s->name_len && strncmp(conf->name, s->name, s->name_len) == 0;

	if (by_uuid && !s->by_uuid) {
		vg_xlconf_free(s->found);
		s->found = NULL;
		s->by_uuid = true;
	}
	return by_uuid || (by_name && !s->by_uuid);
}

static void look_at(struct search *s, const char *path)
{
	struct vg_xlconf *conf = NULL;
	struct vg_err why;
	struct stat st;
	int ret;

	/* Folders behind links, and files that are gone by now, are nobody's mistake. */
	if (stat(path, &st) < 0 || S_ISDIR(st.st_mode) || was_told(&st, TOLD_BROKEN))
		return;
	ret = vg_xlconf_read(path, &conf, &why);
	if (ret == -ENOMEM) {
		s->ret = ret;
		return;
	}
	if (!conf) {
		remember_told(&st, TOLD_BROKEN);
		if (s->broken)
			s->broken(s->broken_ctx, why.text);
		else
			vg_warn("passed over in the search for guests' configurations: %s",
				why.text);
		return;
	}
	if (!is_wanted(s, conf)) {
		vg_xlconf_free(conf);
		return;
	}
	if (!s->found) {
		s->found = conf;
		s->found_st = st;
		return;
	}
	if ((st.st_dev != s->found_st.st_dev || st.st_ino != s->found_st.st_ino) &&
	    !was_told(&st, TOLD_TWICE)) {
		remember_told(&st, TOLD_TWICE);
		vg_warn("%s and %s both say %s = \"%s\": the first counts; change that in "
			"one, or move the other elsewhere",
			s->found->path, path, s->by_uuid ? "uuid" : "name",
			s->by_uuid ? conf->uuid : conf->name);
	}
	vg_xlconf_free(conf);
}

static void search_dir(struct search *s, const char *dir)
{
	char **names = calloc(NAMES_MAX, sizeof(*names));
	int n;

	if (!names) {
		s->ret = -ENOMEM;
		return;
	}
	n = list_dir(dir, names);
	if (n < 0)
		s->ret = n;
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (s->ret == 0 && asprintf(&path, "%s/%s", dir, names[i]) < 0)
			s->ret = -ENOMEM;
		if (s->ret == 0)
			look_at(s, path);
		free(path);
		free(names[i]);
	}
	free(names);
}

/* "/etc/xen/auto, /etc/xen" for a sentence */
static const char *dirs_text(const char *const *dirs, char *buf, size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	for (; *dirs && used < len; dirs++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s", used ? ", " : "", *dirs);
	return buf;
}

size_t vg_xlconf_name_len(const char *name)
{
	static const char incoming[] = "--incoming";
	size_t len = strlen(name), n = sizeof(incoming) - 1;

	return len > n && strcmp(name + len - n, incoming) == 0 ? len - n : len;
}

int vg_xlconf_find(const char *const *dirs, const char *name, const char *uuid,
		   struct vg_xlconf **out, struct vg_err *err)
{
	struct search s = { .name = name,
			    .name_len = vg_xlconf_name_len(name),
			    .uuid = uuid && *uuid ? uuid : NULL };
	char where[120];

	if (s.name_len == 0)
		return vg_fail(err, -ENOENT, "the guest has no name");
	for (const char *const *d = dirs; *d && s.ret == 0; d++)
		search_dir(&s, *d);
	if (s.ret < 0) {
		vg_xlconf_free(s.found);
		return vg_fail(err, s.ret, "out of memory");
	}
	if (!s.found)
		return vg_fail(err, -ENOENT, "no file in %s says name = \"%.*s\"",
			       dirs_text(dirs, where, sizeof(where)), (int)s.name_len, name);
	*out = s.found;
	return 0;
}

/* ---- adoption ----------------------------------------------------------- */

void vg_xlconf_broken(const char *const *dirs, void (*tell)(void *ctx, const char *why), void *ctx)
{
	/* A name that no file has. */
	struct search s = { .name = "/", .name_len = 1, .broken = tell, .broken_ctx = ctx };

	for (const char *const *d = dirs; *d && s.ret == 0; d++)
		search_dir(&s, *d);
	vg_xlconf_free(s.found);
}

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
