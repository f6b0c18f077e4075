// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * params.c - see params.h
 *
 * The text is copied once into out->text, unescaped in place, and cut with NUL
 * bytes; keys and values are pointers into that copy. Unescaping only shortens,
 * so the copy never outgrows the original:
 *
 *	blk, target=/a\,b, readonly      what the user wrote
 *	blk\0target\0/a,b\0readonly\0    out->text
 *
 * Blanks around a word, a key or a value do not count, so that people may put
 * one after a comma. A control character stands nowhere: the text goes into
 * logs, terminals and xenstore.
 */
#include "backend/base/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/number.h"

/* An own number of a device stays below the numbers that xl gives to disks (hda is 768), so that
 * one number names one device of a guest, whatever its node's type is. */
#define DEVICE_ID_MAX 255

const struct vg_param_def vg_common_params[] = {
	{
		.key = "backend",
		.kind = VG_PARAM_STRING,
		.help = "domain that serves the device, by name or number; default: this one",
	},
	{
		.key = "id",
		.kind = VG_PARAM_UINT,
		.max = DEVICE_ID_MAX,
		.help = "number of the device in the guest; default: the first free one from 64 on",
	},
	{
		.key = "packed",
		.kind = VG_PARAM_BOOL,
		.fallback = "1",
		.help = "offer packed rings; 0: the driver has to use split ones",
	},
	{
		.key = "cpus",
		.kind = VG_PARAM_STRING,
		.help = "processors of this domain that serve the device: 0-1+3; default: any",
	},
	{
		.key = "nice",
		.kind = VG_PARAM_STRING,
		.fallback = "0",
		.help = "how readily its worker runs, from -20, most, to 19",
	},
	{
		.key = "sched",
		.kind = VG_PARAM_STRING,
		.fallback = "other",
		.help = "its worker's scheduling class: other, batch or idle",
	},
	{ .key = NULL },
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

static bool is_word(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if (!is_word_char(*s))
			return false;
	}
	return true;
}

/* Where the reader stands: source, and the copy that it writes. */
struct cursor {
	const char *in;
	char *out;
};

/*
 * Copy one word up to an unescaped comma, an unescaped '=' if @stop_at_equals, or the end;
 * unescape it, drop blanks around it, and end it with NUL. @c->in is left at what stopped it.
 * Return: the copy, or NULL with a sentence.
 */
static char *take(struct cursor *c, bool stop_at_equals, struct vg_err *err)
{
	char *start = c->out;
	char *end = start; /* behind the last character that is no bare blank */

	while (is_blank(*c->in))
		c->in++;
	while (*c->in && *c->in != ',' && !(stop_at_equals && *c->in == '=')) {
		bool bare = is_blank(*c->in);

		if ((unsigned char)*c->in < 0x20 || *c->in == 0x7f) {
			if (!bare) {
				vg_fail(err, 0, "a control character (0x%02x) stands in it",
					(unsigned)(unsigned char)*c->in);
				return NULL;
			}
		} else if (*c->in == '\\') {
			c->in++;
			if (*c->in != ',' && *c->in != '\\') {
				vg_fail(err, 0,
					"a backslash must be followed by a comma or a backslash; "
					"write \"\\\\\" for a backslash");
				return NULL;
			}
		}
		*c->out++ = *c->in++;
		if (!bare)
			end = c->out;
	}
	*end = '\0';
	c->out = end + 1;
	return start;
}

static int take_pair(struct cursor *c, struct vg_params *out, struct vg_err *err)
{
	const char *key, *value = "1";

	key = take(c, true, err);
	if (!key)
		return -EINVAL;
	if (*c->in == '=') {
		c->in++;
		value = take(c, false, err);
		if (!value)
			return -EINVAL;
	}
	if (!*key)
		return vg_fail(err, -EINVAL,
			       "there is nothing before a comma, an equals sign or the end where a "
			       "key should stand");
	if (!is_word(key))
		return vg_fail(err, -EINVAL,
			       "\"%.64s\" cannot be a key; keys are letters, digits, '-', '_'",
			       key);
	for (unsigned i = 0; i < out->n; i++) {
		if (strcmp(out->p[i].key, key) == 0)
			return vg_fail(err, -EINVAL, "\"%.64s\" stands in it twice", key);
	}
	if (out->n == VG_PARAMS_MAX)
		return vg_fail(err, -E2BIG, "it has more than %d keys", VG_PARAMS_MAX);
	out->p[out->n].key = key;
	out->p[out->n].value = value;
	out->n++;
	return 0;
}

int vg_params_parse(const char *spec, struct vg_params *out, struct vg_err *err)
{
	struct cursor c = { .in = spec, .out = out->text };
	const char *device;
	int ret;

	out->n = 0;
	out->device[0] = '\0';
	/* A key alone needs no more room than it has: its value "1" is no copy. */
	if (strlen(spec) >= sizeof(out->text))
		return vg_fail(err, -E2BIG, "it is longer than %zu characters",
			       sizeof(out->text) - 1);
	device = take(&c, true, err);
	if (!device)
		return -EINVAL;
	if (!*device)
		return vg_fail(err, -EINVAL,
			       "the device's name must come first, as in \"blk,target=/disk.img\"");
	if (*c.in == '=' || !is_word(device))
		return vg_fail(
			err, -EINVAL,
			"\"%.64s\" cannot be the device's name, which must come first, as in "
			"\"blk,target=/disk.img\"",
			device);
	if (strlen(device) >= sizeof(out->device))
		return vg_fail(err, -E2BIG, "\"%.40s...\" is too long for a device's name", device);
	memcpy(out->device, device, strlen(device) + 1);
	while (*c.in == ',') {
		c.in++;
		ret = take_pair(&c, out, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ",key=value" behind what is in @out, the value escaped. */
static int append(char *out, size_t size, const char *key, const char *value)
{
	size_t n = strlen(out);
	int len = snprintf(out + n, size - n, ",%s=", key);

	if (len < 0 || (size_t)len >= size - n)
		return -E2BIG;
	for (n += (size_t)len; *value; value++) {
		bool escape = *value == ',' || *value == '\\';

		if (n + escape + 2 > size)
			return -E2BIG;
		if (escape)
			out[n++] = '\\';
		out[n++] = *value;
	}
	out[n] = '\0';
	return 0;
}

/* Whether parsing would give back @value: blanks around it would not count, control characters not do. */
static bool can_stand(const char *value)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)value[i] < 0x20 && !is_blank(value[i])) || value[i] == 0x7f)
			return false;
	}
	return !len || (!is_blank(value[0]) && !is_blank(value[len - 1]));
}

int vg_params_replace(const char *spec, const char *key, const char *value, char *out, size_t size)
{
	struct vg_params p;
	bool found = false;
	int ret = is_word(key) && can_stand(value) ? vg_params_parse(spec, &p, NULL) : -EINVAL;

	if (ret == 0 && (size_t)snprintf(out, size, "%s", p.device) >= size)
		ret = -E2BIG;
	for (unsigned i = 0; ret == 0 && i < p.n; i++) {
		bool this = strcmp(p.p[i].key, key) == 0;

		found |= this;
		ret = append(out, size, p.p[i].key, this ? value : p.p[i].value);
	}
	if (ret == 0 && !found)
		ret = append(out, size, key, value);
	return ret;
}

/* ---- values ------------------------------------------------------------- */

static int parse_bool(const char *s, bool *out)
{
	static const char *const words[][2] = {
		{ "0", "1" },
		{ "no", "yes" },
		{ "off", "on" },
		{ "false", "true" },
	};

	for (unsigned i = 0; i < COUNT(words); i++) {
		for (int b = 0; b < 2; b++) {
			if (strcmp(s, words[i][b]) == 0) {
				*out = b;
				return 0;
			}
		}
	}
	return -EINVAL;
}

/* Decimal, or hexadecimal behind 0x. @end: behind the last digit. */
static int parse_digits(const char *s, const char **end, uint64_t *out)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');

	return vg_digits(hex ? s + 2 : s, hex ? 16 : 10, end, out);
}

static int parse_uint(const char *s, uint64_t *out)
{
	const char *end;
	int ret = parse_digits(s, &end, out);

	return ret == 0 && *end ? -EINVAL : ret;
}

static int parse_size(const char *s, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *end, *suffix;
	int ret = parse_digits(s, &end, out);
	uint64_t unit;

	if (ret < 0 || !*end)
		return ret;
	suffix = strchr(suffixes, *end & ~0x20); /* either case */
	if (!suffix || !*suffix || end[1])
		return -EINVAL;
	unit = 1ULL << (10 * (suffix - suffixes + 1));
	return __builtin_mul_overflow(*out, unit, out) ? -ERANGE : 0;
}

/* The largest number that @def allows; a table that names no maximum sets none. */
static uint64_t max_of(const struct vg_param_def *def)
{
	return def->max ? def->max : UINT64_MAX;
}

static int check_number(const struct vg_param_def *def, const char *value, struct vg_err *err)
{
	bool size = def->kind == VG_PARAM_SIZE;
	uint64_t v = 0;
	int ret = size ? parse_size(value, &v) : parse_uint(value, &v);

	if (ret == -EINVAL)
		return vg_fail(err, -EINVAL, "%s must be a number%s, not \"%.64s\"", def->key,
			       size ? " of bytes, perhaps with K, M, G or T" : "", value);
	if (ret == 0 && v >= def->min && v <= max_of(def))
		return 0;
	if (max_of(def) == UINT64_MAX)
		return vg_fail(err, -EINVAL, "%s must be at least %llu%s; it is \"%.64s\"",
			       def->key, (unsigned long long)def->min, size ? " bytes" : "", value);
	return vg_fail(err, -EINVAL, "%s must be from %llu to %llu%s; it is \"%.64s\"", def->key,
		       (unsigned long long)def->min, (unsigned long long)def->max,
		       size ? " bytes" : "", value);
}

static int check_value(const struct vg_param_def *def, const char *value, struct vg_err *err)
{
	bool b;

	switch (def->kind) {
	case VG_PARAM_STRING:
	case VG_PARAM_PATH:
	case VG_PARAM_PLACE:
		if (def->required && !*value)
			return vg_fail(err, -EINVAL, "%s must not be empty", def->key);
		return 0;
	case VG_PARAM_BOOL:
		if (parse_bool(value, &b) < 0)
			return vg_fail(err, -EINVAL,
				       "%s must be 1 or 0 (yes or no, on or off), not \"%.64s\"",
				       def->key, value);
		return 0;
	case VG_PARAM_UINT:
	case VG_PARAM_SIZE:
		return check_number(def, value, err);
	}
	return vg_fail(err, -EINVAL, "%s is of no known kind: a fault of vgrant itself", def->key);
}

static const struct vg_param_def *find_def(const struct vg_param_def *defs, const char *key)
{
	for (; defs && defs->key; defs++) {
		if (strcmp(defs->key, key) == 0)
			return defs;
	}
	return NULL;
}

/* "target, readonly, ..."; @buf is cut at a whole key when it is too small. */
static void list_keys(const struct vg_param_def *defs, const struct vg_param_def *common, char *buf,
		      size_t len)
{
	const struct vg_param_def *const tables[] = { defs, common };
	size_t used = 0;

	buf[0] = '\0';
	for (int t = 0; t < 2; t++) {
		for (const struct vg_param_def *d = tables[t]; d && d->key; d++) {
			if (used + strlen(d->key) + 8 > len) {
				memcpy(buf + used, ", ...", sizeof(", ..."));
				return;
			}
			used += (size_t)sprintf(buf + used, "%s%s", used ? ", " : "", d->key);
		}
	}
}

int vg_params_check(const struct vg_params *p, const struct vg_param_def *defs,
		    const struct vg_param_def *common, struct vg_err *err)
{
	const struct vg_param_def *const tables[] = { defs, common };
	char keys[140];

	for (unsigned i = 0; i < p->n; i++) {
		const struct vg_param_def *def = find_def(defs, p->p[i].key);
		int ret;

		if (!def)
			def = find_def(common, p->p[i].key);
		if (!def) {
			list_keys(defs, common, keys, sizeof(keys));
			return vg_fail(err, -EINVAL, "%s has no key \"%.40s\"; it has %s",
				       p->device, p->p[i].key, keys[0] ? keys : "none");
		}
		ret = check_value(def, p->p[i].value, err);
		if (ret < 0)
			return ret;
	}
	for (int t = 0; t < 2; t++) {
		for (const struct vg_param_def *d = tables[t]; d && d->key; d++) {
			if (d->required && !vg_params_str(p, NULL, d->key))
				return vg_fail(err, -EINVAL, "%s needs %s= (%s)", p->device, d->key,
					       d->help ? d->help : "no default");
		}
	}
	return 0;
}

int vg_params_one(const char *device, const char *key, const char *value,
		  const struct vg_param_def *defs, struct vg_params *out, struct vg_err *err)
{
	if (strlen(value) >= sizeof(out->text))
		return vg_fail(err, -E2BIG, "%s=... is too long", key);
	memset(out, 0, sizeof(*out));
	snprintf(out->device, sizeof(out->device), "%s", device);
	memcpy(out->text, value, strlen(value) + 1);
	out->p[0].key = key;
	out->p[0].value = out->text;
	out->n = 1;
	return vg_params_check(out, defs, NULL, err);
}

const char *vg_params_str(const struct vg_params *p, const struct vg_param_def *defs,
			  const char *key)
{
	const struct vg_param_def *def;

	for (unsigned i = 0; i < p->n; i++) {
		if (strcmp(p->p[i].key, key) == 0)
			return p->p[i].value;
	}
	def = find_def(defs, key);
	return def ? def->fallback : NULL;
}

bool vg_params_bool(const struct vg_params *p, const struct vg_param_def *defs, const char *key)
{
	const char *s = vg_params_str(p, defs, key);
	bool b = false;

	return s && parse_bool(s, &b) == 0 && b;
}

uint64_t vg_params_uint(const struct vg_params *p, const struct vg_param_def *defs, const char *key)
{
	const struct vg_param_def *def = find_def(defs, key);
	const char *s = vg_params_str(p, defs, key);
	uint64_t v = 0;
	int ret = -EINVAL;

	if (s)
		ret = def && def->kind == VG_PARAM_SIZE ? parse_size(s, &v) : parse_uint(s, &v);
	return ret == 0 ? v : 0;
}

/* What people write who are used to a shell, or to xl's disk = [...], is told in their words. */
static int check_path(const struct vg_param_def *def, const char *value, struct vg_err *err)
{
	size_t prefix = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789");

	if (!value[0] || value[0] == '/')
		return 0;
	if (def->kind == VG_PARAM_PLACE &&
	    (strstr(value, "://") || strncmp(value, "rbd:", 4) == 0 ||
	     strncmp(value, "vdpa:/", 6) == 0))
		return 0;
	if (value[0] == '~' || value[0] == '$')
		return vg_fail(
			err, -EINVAL,
			"%s must be a path that begins with a slash, not \"%.64s\": no shell "
			"reads it, so write out what %s stands for",
			def->key, value, value[0] == '~' ? "~" : "the variable");
	if (prefix && value[prefix] == ':')
		return vg_fail(
			err, -EINVAL,
			"%s must be a path that begins with a slash, not \"%.64s\": there are no "
			"prefixes such as xl's %.*s: for a disk, write the path alone",
			def->key, value, (int)prefix, value);
	return vg_fail(
		err, -EINVAL,
		"%s must be a path that begins with a slash, not \"%.64s\": vgrantd does not "
		"run in the folder that it was written in",
		def->key, value);
}

int vg_params_check_paths(const struct vg_params *p, const struct vg_param_def *defs,
			  struct vg_err *err)
{
	int ret = 0;

	for (; ret == 0 && defs && defs->key; defs++) {
		const char *value = vg_params_str(p, NULL, defs->key);

		if (value && (defs->kind == VG_PARAM_PATH || defs->kind == VG_PARAM_PLACE))
			ret = check_path(defs, value, err);
	}
	return ret;
}
