// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * settings.c - see settings.h
 *
 * ini.c splits lines; the table says what may stand in them.
 */
#include "backend/daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/base/number.h"
#include "backend/daemon/ini.h"

/* Domain numbers go to 0x7fef; no user's may reach (uid_t)-1. */
#define RANGE_MAX 4294900000u

#define MEMBER(m) offsetof(struct vg_settings, m), sizeof(((struct vg_settings *)0)->m)

const struct vg_setting_key vg_settings_keys[] = {
	{ "daemon", "log-target", VG_SETTING_LOG_TARGET, MEMBER(log_target), 0, 0, "stderr",
	  "where log lines go: stderr (which systemd takes to the journal) or syslog" },
	{ "daemon", "log-level", VG_SETTING_LOG_LEVEL, MEMBER(log_level), 0, 0, "info",
	  "least important lines to log: error, warning, info or debug" },
	{ "daemon", "runtime-dir", VG_SETTING_PATH, MEMBER(runtime_dir), 0, 0, VG_RUNTIME_DIR,
	  "folder of the control socket and of what lets a worker's successor carry on" },
	{ "guests", "config-dirs", VG_SETTING_PATHS, MEMBER(config_dirs_text), 0, 0,
	  "/etc/xen/auto /etc/xen",
	  "folders that are searched for guests' xl configurations, the first one first" },
	{ "guests", "libvirt", VG_SETTING_STRING, MEMBER(libvirt), 0, 0, "xen:///system",
	  "libvirt whose domains' metadata is searched, too, and before the folders; off: none" },
	{ "control", "group", VG_SETTING_STRING, MEMBER(group), 0, 0, "",
	  "group whose members may run vgrant list, top, events and trace; only root may change "
	  "anything" },
	{ "control", "mode", VG_SETTING_MODE, MEMBER(mode), 0, 0777, "0660",
	  "permissions of the control socket, octal" },
	{ "control", "metrics", VG_SETTING_METRICS, MEMBER(metrics), 1, 65535, "off",
	  "where Prometheus finds /metrics: the path of a socket, with group and mode of the "
	  "control "
	  "socket; or a port of 127.0.0.1; off: nowhere" },
	{ "worker", "user", VG_SETTING_STRING, MEMBER(user), 0, 0, "vgrant",
	  "user that workers run as once they have opened what they need; when there is no user "
	  "vgrant: nobody" },
	{ "worker", "sandbox", VG_SETTING_BOOL, MEMBER(sandbox), 0, 0, "on",
	  "off: workers keep their rights, for debugging alone" },
	{ "worker", "user-range-base", VG_SETTING_STRING, MEMBER(user_range), 0, 0,
	  "vgrant-range-base",
	  "user, or number of one, as whom workers of domain 0 would run; those of domain n run as "
	  "that "
	  "number plus n; when there is no user vgrant-range-base, or for 0: all run as user" },
	{ "limits", "devices", VG_SETTING_UINT, MEMBER(devices), 1, VG_LIMIT_DEVICES, "1024",
	  "most devices, and so worker processes, in all" },
	{ "limits", "devices-per-guest", VG_SETTING_UINT, MEMBER(devices_per_guest), 1,
	  VG_LIMIT_DEVICES_PER_GUEST, "64", "most devices of one guest" },
	{ "limits", "guest-mapped-pages", VG_SETTING_UINT, MEMBER(guest_mapped_pages), 8192, 262144,
	  "32768",
	  "most pages of one guest that its devices together hold mapped; Xen has 262144 for all "
	  "that "
	  "this domain maps, unless it was told otherwise" },
	{ "limits", "guest-bounce", VG_SETTING_UINT, MEMBER(guest_bounce_mib), 256, 1 << 20, "512",
	  "MiB of copies of one guest's data that its devices together hold at once" },
	{ "limits", "guest-picture-pages", VG_SETTING_UINT, MEMBER(guest_picture_pages), 1024,
	  262144, "65536",
	  "most pages of one guest that its GPUs hold mapped beside those, for pictures; one GPU "
	  "gets half, and no more than 32768" },
	{ "limits", "guest-picture-memory", VG_SETTING_UINT, MEMBER(guest_picture_mib), 4, 1 << 20,
	  "256", "MiB of pictures that a guest's GPUs keep copies of; one GPU gets half" },
	{ "limits", "guest-memory", VG_SETTING_UINT, MEMBER(guest_memory_mib), 64, 1 << 24, "2048",
	  "MiB of memory for all workers of one guest, page cache included; needs a control group "
	  "that "
	  "systemd gave to vgrantd" },
	/* Last: the lines of devices follow in the same section. */
	{ "vhost-user", "socket-group", VG_SETTING_STRING, MEMBER(socket_group), 0, 0, "",
	  "group of the sockets, such as that of the user that runs QEMU" },
	{ "vhost-user", "socket-mode", VG_SETTING_MODE, MEMBER(socket_mode), 0, 0777, "0600",
	  "permissions of the sockets, octal; who can write to one can use its device" },
	{ NULL, NULL, VG_SETTING_STRING, 0, 0, 0, 0, NULL, NULL },
};

/* ---- one value ---------------------------------------------------------- */

/* What a file can say: ini.c trims a value, and takes a semicolon behind a blank for a comment. */
static int check_text(const char *value, bool list, struct vg_err *err)
{
	size_t len = strlen(value);
	bool blank = true;

	for (size_t i = 0; i < len; i++) {
		if (iscntrl((unsigned char)value[i]) && !(list && value[i] == '\t'))
			return vg_fail(err, -EINVAL, "must not have control characters");
		if (blank && value[i] == ';')
			return vg_fail(err, -EINVAL,
				       "must not have a semicolon at its start or behind a blank");
		blank = isspace((unsigned char)value[i]);
	}
	if (!list && len && (blank || isspace((unsigned char)value[0])))
		return vg_fail(err, -EINVAL, "must not begin or end with a blank");
	return 0;
}

static int set_string(char *dst, size_t size, const char *value, struct vg_err *err)
{
	int ret = check_text(value, false, err);

	if (ret < 0)
		return ret;
	if (strlen(value) >= size)
		return vg_fail(err, -EINVAL, "is longer than %zu characters", size - 1);
	memcpy(dst, value, strlen(value) + 1);
	return 0;
}

static int set_bool(bool *dst, const char *value, struct vg_err *err)
{
	static const char *const words[] = { "0", "1", "no", "yes", "off", "on", "false", "true" };

	for (unsigned i = 0; i < COUNT(words); i++) {
		if (strcmp(words[i], value) == 0) {
			*dst = i % 2;
			return 0;
		}
	}
	return vg_fail(err, -EINVAL, "must be on or off, not \"%.40s\"", value);
}

/* @base: 8 or 10. */
static int parse_number(const struct vg_setting_key *key, const char *value, unsigned base,
			uint64_t *out, struct vg_err *err)
{
	uint64_t v = 0;

	if (vg_number(value, base, key->max, &v) == 0 && v >= key->min) {
		*out = v;
		return 0;
	}
	if (base == 8)
		return vg_fail(err, -EINVAL,
			       "must be octal permissions such as 0660, not \"%.40s\"", value);
	return vg_fail(err, -EINVAL, "must be a number from %llu to %llu, not \"%.40s\"",
		       (unsigned long long)key->min, (unsigned long long)key->max, value);
}

/* Cut @text in pieces, and make config_dirs point to them in a copy; nothing changes when that fails. */
static int split_dirs(struct vg_settings *s, char *text, size_t len, struct vg_err *err)
{
	const char *dirs[VG_SETTINGS_DIRS_MAX];
	unsigned n = 0;
	char *save = NULL;

	for (char *p = strtok_r(text, " \t,", &save); p; p = strtok_r(NULL, " \t,", &save)) {
		if (p[0] != '/')
			return vg_fail(err, -EINVAL,
				       "must be folders that start with a slash, not \"%.80s\"", p);
		if (n == VG_SETTINGS_DIRS_MAX)
			return vg_fail(err, -EINVAL, "names more than %d folders",
				       VG_SETTINGS_DIRS_MAX);
		dirs[n++] = p;
	}
	memcpy(s->config_dirs_text, text, len);
	for (unsigned i = 0; i < n; i++)
		s->config_dirs[i] = s->config_dirs_text + (dirs[i] - text);
	s->config_dirs[n] = NULL;
	return 0;
}

/* @append: to what is there, rather than in its place. */
static int set_dirs(struct vg_settings *s, const char *value, bool append, struct vg_err *err)
{
	char text[sizeof(s->config_dirs_text)];
	size_t used = 0;
	int ret = check_text(value, true, err);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; append && s->config_dirs[i]; i++)
		used += (size_t)sprintf(text + used, "%s ", s->config_dirs[i]);
	if (used + strlen(value) >= sizeof(text))
		return vg_fail(err, -EINVAL, "is too long: at most %zu characters in all",
			       sizeof(text) - 1);
	memcpy(text + used, value, strlen(value) + 1);
	return split_dirs(s, text, used + strlen(value) + 1, err);
}

static int set_path(char *dst, size_t size, const char *value, struct vg_err *err)
{
	if (value[0] != '/')
		return vg_fail(err, -EINVAL,
			       "must be a path that starts with a slash, not \"%.80s\"", value);
	return set_string(dst, size, value, err);
}

static int set_metrics(const struct vg_setting_key *key, char *dst, const char *value,
		       struct vg_err *err)
{
	uint64_t port = 0;
	int ret = vg_number(value, 10, key->max, &port);

	if (strcmp(value, "off") != 0 && (ret < 0 || port < key->min) && value[0] != '/')
		return vg_fail(
			err, -EINVAL,
			"must be off, a path that starts with a slash, or a port from %llu to "
			"%llu, not \"%.40s\"",
			(unsigned long long)key->min, (unsigned long long)key->max, value);
	return set_string(dst, key->size, value, err);
}

static int set_target(enum vg_log_target *dst, const char *value, struct vg_err *err)
{
	if (strcmp(value, "stderr") == 0)
		*dst = VG_LOG_STDERR;
	else if (strcmp(value, "syslog") == 0)
		*dst = VG_LOG_SYSLOG;
	else
		return vg_fail(err, -EINVAL, "must be stderr or syslog, not \"%.40s\"", value);
	return 0;
}

static int set_mode(const struct vg_setting_key *key, unsigned *dst, const char *value,
		    struct vg_err *err)
{
	uint64_t v = 0;
	int ret = parse_number(key, value, 8, &v, err);

	if (ret == 0)
		*dst = (unsigned)v;
	return ret;
}

static int set_value(struct vg_settings *s, const struct vg_setting_key *key, const char *value,
		     bool append, struct vg_err *err)
{
	void *member = (char *)s + key->offset;

	switch (key->kind) {
	case VG_SETTING_STRING:
		return set_string(member, key->size, value, err);
	case VG_SETTING_PATH:
		return set_path(member, key->size, value, err);
	case VG_SETTING_PATHS:
		return set_dirs(s, value, append, err);
	case VG_SETTING_BOOL:
		return set_bool(member, value, err);
	case VG_SETTING_UINT:
		return parse_number(key, value, 10, member, err);
	case VG_SETTING_MODE:
		return set_mode(key, member, value, err);
	case VG_SETTING_LOG_LEVEL:
		if (vg_log_level_parse(value, member) == 0)
			return 0;
		return vg_fail(err, -EINVAL, "must be error, warning, info or debug, not \"%.40s\"",
			       value);
	case VG_SETTING_LOG_TARGET:
		return set_target(member, value, err);
	case VG_SETTING_METRICS:
		return set_metrics(key, member, value, err);
	}
	return vg_fail(err, -EINVAL, "is of no known kind: a fault of vgrantd itself");
}

/* Set @key, and name it in the sentence when that fails. */
static int assign(struct vg_settings *s, const struct vg_setting_key *key, const char *value,
		  bool append, struct vg_err *err)
{
	struct vg_err why;
	int ret = set_value(s, key, value, append, &why);

	if (ret < 0)
		return vg_fail(err, ret, "%s %s", key->key, why.text);
	if (key->offset == offsetof(struct vg_settings, user))
		s->user_is_set = true;
	if (key->offset == offsetof(struct vg_settings, user_range))
		s->user_range_is_set = true;
	return 0;
}

void vg_settings_defaults(struct vg_settings *s)
{
	memset(s, 0, sizeof(*s));
	/* A default that its own table refuses would show in the unit test. */
	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++)
		(void)assign(s, k, k->fallback, false, NULL);
	s->user_is_set = s->user_range_is_set = false;
}

/* ---- keys --------------------------------------------------------------- */

/* @section: NULL: any. */
static const struct vg_setting_key *find_key(const char *section, size_t section_len,
					     const char *key)
{
	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++) {
		if (strcmp(k->key, key) != 0)
			continue;
		if (!section || (strlen(k->section) == section_len &&
				 memcmp(k->section, section, section_len) == 0))
			return k;
	}
	return NULL;
}

/* "daemon" or, when a section is unknown, all that there are */
static int fail_unknown(const char *section, const char *key, struct vg_err *err)
{
	const struct vg_setting_key *elsewhere = find_key(NULL, 0, key);
	char known[160] = "";
	size_t used = 0;

	if (!*section)
		return vg_fail(err, -EINVAL, "\"%.40s\" stands in no section; put [%s] before it",
			       key, elsewhere ? elsewhere->section : "daemon");
	if (elsewhere)
		return vg_fail(err, -EINVAL, "[%.40s] has no key \"%.40s\"; it belongs into [%s]",
			       section, key, elsewhere->section);
	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++) {
		if (strcmp(k->section, section) == 0)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
						 used ? ", " : "", k->key);
	}
	if (!used)
		return vg_fail(err, -EINVAL,
			       "there is no section [%.40s]; there are [daemon], [guests], "
			       "[control], [worker], [limits], [vhost-user]",
			       section);
	return vg_fail(err, -EINVAL, "[%.40s] has no key \"%.40s\"; it has %s", section, key,
		       known);
}

int vg_settings_set(struct vg_settings *s, const char *key, const char *value, struct vg_err *err)
{
	const char *dot = strchr(key, '.');
	const struct vg_setting_key *k =
		dot ? find_key(key, (size_t)(dot - key), dot + 1) : find_key(NULL, 0, key);

	if (!k)
		return vg_fail(err, -EINVAL,
			       "there is no setting \"%.60s\"; `vgrant show-config` lists them",
			       key);
	return assign(s, k, value, false, err);
}

/* ---- the file ----------------------------------------------------------- */

struct reading {
	struct vg_settings *s;
	uint64_t seen;	/* bit i: key i of the table stood in the file */
	int error_line; /* 0: none */
	struct vg_err error;
};

/* The first mistake is the one that is told. */
static void complain(struct reading *r, int line, const struct vg_err *err)
{
	if (r->error_line)
		return;
	r->error_line = line;
	r->error = *err;
}

static void wrong_line(void *ctx, int line, const char *why)
{
	struct vg_err err;

	vg_fail(&err, 0, "%s", why);
	complain(ctx, line, &err);
}

/* A line of [vhost-user], whose keys are names that the user chooses. */
static int add_socket(struct vg_settings *s, const char *name, const char *spec, struct vg_err *err)
{
	struct vg_settings_socket_device *d = &s->sockets[s->n_sockets];
	struct vg_params params;

	if (!name[0] ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
		    strlen(name) ||
	    strlen(name) >= sizeof(d->name))
		return vg_fail(err, -EINVAL,
			       "\"%.40s\" names no socket: letters, digits, - and _, at most %zu",
			       name, sizeof(d->name) - 1);
	for (unsigned i = 0; i < s->n_sockets; i++) {
		if (strcmp(s->sockets[i].name, name) == 0)
			return vg_fail(err, -EINVAL, "%s stands in [vhost-user] twice", name);
	}
	if (s->n_sockets == VG_SETTINGS_SOCKETS_MAX)
		return vg_fail(err, -ENOSPC, "more than %d devices in [vhost-user]",
			       VG_SETTINGS_SOCKETS_MAX);
	if (vg_params_parse(spec, &params, err) < 0)
		return -EINVAL;
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->spec, sizeof(d->spec), "%s", spec);
	s->n_sockets++;
	return 0;
}

static void got_pair(void *ctx, int line, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	const struct vg_setting_key *key = find_key(section, strlen(section), name);
	struct vg_err err;
	bool again;
	int ret;

	if (!key && strcmp(section, "vhost-user") == 0) {
		ret = add_socket(r->s, name, value, &err);
	} else if (!key) {
		ret = fail_unknown(section, name, &err);
	} else {
		again = r->seen & 1ULL << (key - vg_settings_keys);
		r->seen |= 1ULL << (key - vg_settings_keys);
		if (again && key->kind != VG_SETTING_PATHS)
			ret = vg_fail(&err, -EINVAL, "%s stands in the file twice", key->key);
		else
			ret = assign(r->s, key, value, again, &err);
	}
	if (ret < 0)
		complain(r, line, &err);
}

static int read_file(struct vg_settings *s, FILE *file, const char *path, struct vg_err *err)
{
	static const struct vg_ini_ops ops = { .pair = got_pair, .wrong = wrong_line };
	struct reading r = { .s = s };
	struct stat st;
	int ret;

	/* Not /dev/null: "no settings", and writable by anyone on every machine. */
	if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH))
		return vg_fail(err, -EPERM, "%s can be written by anyone: chmod o-w %s", path,
			       path);
	ret = vg_ini_read(file, &ops, &r);
	if (ret == -EIO)
		return vg_fail(err, ret, "%s cannot be read", path);
	if (r.error_line)
		return vg_fail(err, -EINVAL, "%s:%d: %s", path, r.error_line, r.error.text);
	return ret < 0 ? vg_fail(err, ret, "%s: out of memory", path) : 0;
}

int vg_settings_load(struct vg_settings *s, const char *path, struct vg_err *err)
{
	const char *name = path ? path : VG_SETTINGS_FILE;
	FILE *file;
	int ret;

	vg_settings_defaults(s);
	s->file = path;
	file = fopen(name, "re");
	if (!file && !path && errno == ENOENT)
		return 0;
	if (!file) {
		ret = -errno;
		return vg_fail(err, ret, "%s cannot be opened: %s", name, strerror(-ret));
	}
	ret = read_file(s, file, name, err);
	fclose(file);
	return ret;
}

/* ---- what others ask ---------------------------------------------------- */

static void print_value(const struct vg_settings *s, const struct vg_setting_key *key, FILE *out)
{
	const void *member = (const char *)s + key->offset;

	switch (key->kind) {
	case VG_SETTING_STRING:
	case VG_SETTING_PATH:
	case VG_SETTING_METRICS:
		fprintf(out, "%s", (const char *)member);
		break;
	case VG_SETTING_PATHS:
		for (unsigned i = 0; s->config_dirs[i]; i++)
			fprintf(out, "%s%s", i ? "\n  " : "", s->config_dirs[i]);
		break;
	case VG_SETTING_BOOL:
		fprintf(out, "%s", *(const bool *)member ? "on" : "off");
		break;
	case VG_SETTING_UINT:
		fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)member);
		break;
	case VG_SETTING_MODE:
		fprintf(out, "%04o", *(const unsigned *)member);
		break;
	case VG_SETTING_LOG_LEVEL:
		fprintf(out, "%s", vg_log_level_word(s->log_level));
		break;
	case VG_SETTING_LOG_TARGET:
		fprintf(out, "%s", s->log_target == VG_LOG_SYSLOG ? "syslog" : "stderr");
		break;
	}
}

void vg_settings_print(const struct vg_settings *s, FILE *out)
{
	const char *section = "";

	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++) {
		if (strcmp(section, k->section) != 0)
			fprintf(out, "%s[%s]\n", *section ? "\n" : "", k->section);
		section = k->section;
		fprintf(out, "%s = ", k->key);
		print_value(s, k, out);
		putc('\n', out);
	}
	for (unsigned i = 0; i < s->n_sockets; i++)
		fprintf(out, "%s = %s\n", s->sockets[i].name, s->sockets[i].spec);
}

void vg_settings_socket(const struct vg_settings *s, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s", s->runtime_dir, VG_CONTROL_NAME);
}

int vg_settings_worker_ids(const struct vg_settings *s, uid_t *uid, gid_t *gid, struct vg_err *err)
{
	const struct passwd *pw = getpwnam(s->user);

	if (!pw && !s->user_is_set)
		pw = getpwnam("nobody");
	if (!pw)
		return vg_fail(err, -ENOENT,
			       "there is no user \"%s\" for workers to run as; make one "
			       "(useradd --system %s), or set user in [worker]",
			       s->user, s->user);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int vg_settings_user_range(const struct vg_settings *s, uid_t *uid, struct vg_err *err)
{
	const struct passwd *pw;
	uint64_t number;
	int ret = vg_number(s->user_range, 10, RANGE_MAX, &number);

	*uid = 0;
	if (ret == 0 && number)
		*uid = (uid_t)number;
	if (ret == 0 || !s->user_range[0])
		return 0;
	pw = ret == -EINVAL ? getpwnam(s->user_range) : NULL;
	if (!pw && !s->user_range_is_set)
		return 0;
	if (!pw)
		return vg_fail(err, -ENOENT,
			       "user-range-base in [worker]: there is no user \"%s\", nor is it a "
			       "number up to %u",
			       s->user_range, RANGE_MAX);
	if (!pw->pw_uid || pw->pw_uid > RANGE_MAX)
		return vg_fail(
			err, -ERANGE,
			"user-range-base in [worker]: the user \"%s\" has the number %u, which "
			"leaves no room for guests",
			s->user_range, (unsigned)pw->pw_uid);
	*uid = pw->pw_uid;
	return 0;
}

static int find_group(const char *name, const char *where, gid_t *gid, struct vg_err *err)
{
	const struct group *gr;

	*gid = (gid_t)-1;
	if (!name[0])
		return 0;
	gr = getgrnam(name);
	if (!gr)
		return vg_fail(
			err, -ENOENT,
			"there is no group \"%s\"; make it (groupadd --system %s), or set %s", name,
			name, where);
	*gid = gr->gr_gid;
	return 0;
}

int vg_settings_group(const struct vg_settings *s, gid_t *gid, struct vg_err *err)
{
	return find_group(s->group, "group in [control]", gid, err);
}

int vg_settings_socket_group(const struct vg_settings *s, gid_t *gid, struct vg_err *err)
{
	return find_group(s->socket_group, "socket-group in [vhost-user]", gid, err);
}
