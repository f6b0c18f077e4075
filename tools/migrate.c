// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate.c - `vgrant migrate GUEST HOST`, and `vgrant accept`, which it runs on that host first
 *
 * xl knows nothing of our devices: it moves a guest to a host where they cannot work, and the guest, which
 * runs there by then, waits for its disks. So the other host is asked before xl is: over the same ssh, with
 * the devices that the guest has as JSON on standard input. What keeps it from taking the guest it says
 * on stderr, one sentence each, and nothing has happened to the guest.
 *
 *	{ "format": 1, "guest": "web",
 *	  "devices": [ { "id": 64, "type": "blk", "size": 4194304 } ] }
 *
 * A size, in bytes, is that of what a disk lies on, where this host can tell. A host that is asked in a
 * format that it does not know, or that does not know the command, is of an older version, and is not
 * gone to. For libvirt's guests, its hook asks on the other host (hook.c).
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/params.h"
#include "backend/daemon/settings.h"
#include "backend/toolstack/xlconf.h"
#include "tools/vgrant.h"

enum {
	FORMAT = 1,
	QUESTION_MAX = 1 << 20, /* bytes: some thousands of devices */
	SHELL_NOT_FOUND = 127,	/* sh(1): there is no such command */
	SSH_FAILED = 255,	/* ssh(1) */
};

/* ---- here ---------------------------------------------------------------- */

static void add_size(struct json_object *to, struct json_object *dev)
{
	uint64_t size, allocation;
	struct vg_params params;
	const char *target = NULL;

	if (vgrant_is_a(dev, "blk") &&
	    vg_params_parse(vgrant_text(dev, "config"), &params, NULL) == 0)
		target = vg_params_str(&params, NULL, "target");
	if (target && vgrant_sizes_of(target, &size, &allocation) == 0)
		json_object_object_add(to, "size", json_object_new_int64((int64_t)size));
}

/* To be freed by the caller. */
static struct json_object *question(struct json_object *devices)
{
	struct json_object *q = json_object_new_object(), *list = json_object_new_array();
	size_t n = json_object_array_length(devices);

	json_object_object_add(q, "format", json_object_new_int(FORMAT));
	json_object_object_add(
		q, "guest",
		json_object_new_string(
			n ? vgrant_text(json_object_array_get_idx(devices, 0), "guest") : ""));
	json_object_object_add(q, "devices", list);
	for (size_t i = 0; i < n; i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);
		struct json_object *d = json_object_new_object();

		json_object_object_add(d, "id",
				       json_object_new_int64((int64_t)vgrant_number(dev, "id")));
		json_object_object_add(d, "type", json_object_new_string(vgrant_text(dev, "type")));
		add_size(d, dev);
		json_object_array_add(list, d);
	}
	return q;
}

/* What xl runs, too: its option -s, or ssh. */
static const char *shell_of(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "-s", 2) != 0)
			continue;
		return argv[i][2] ? argv[i] + 2 : i + 1 < argc ? argv[i + 1] : "";
	}
	return "ssh";
}

/* Return: VGRANT_OK: it takes the guest. Else it, or we, said why. */
static int ask(const char *shell, const char *host, struct json_object *q)
{
	char *command;
	FILE *to;
	int status;

	if (asprintf(&command, "exec %s %s vgrant accept", shell, host) < 0)
		return VGRANT_FAILED;
	to = popen(command, "we");
	free(command);
	if (!to) {
		vgrant_complain("%s cannot be asked: %s", host, strerror(errno));
		return VGRANT_FAILED;
	}
	fputs(json_object_to_json_string(q), to);
	status = pclose(to);
	if (status == 0)
		return VGRANT_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SSH_FAILED)
		vgrant_complain("%s was not reached; the guest runs on here", host);
	else if (WIFEXITED(status) &&
		 (WEXITSTATUS(status) == SHELL_NOT_FOUND || WEXITSTATUS(status) == VGRANT_USAGE))
		vgrant_complain("%s has no vgrant that can be asked: install the version of this "
				"host there, or a later one; the guest runs on here",
				host);
	else
		vgrant_complain("%s does not take the guest, which runs on here", host);
	return VGRANT_FAILED;
}

/* Does not return, unless in vain. */
static int run_xl(const char *guest, const char *host, int argc, char **argv)
{
	char **words = calloc((size_t)argc + 5, sizeof(*words)), **w = words;

	if (!words)
		return VGRANT_FAILED;
	*w++ = (char *)(uintptr_t) "xl";
	*w++ = (char *)(uintptr_t) "migrate";
	for (int i = 0; i < argc; i++)
		*w++ = argv[i];
	*w++ = (char *)(uintptr_t)guest;
	*w++ = (char *)(uintptr_t)host;
	execvp(words[0], words);
	vgrant_complain("xl cannot be run: %s", strerror(errno));
	free(words);
	return VGRANT_FAILED;
}

int vgrant_migrate(const struct vgrant_options *opt, int argc, char **argv)
{
	const char *guest = argv[0], *host = argv[1], *shell = shell_of(argc - 2, argv + 2);
	struct json_object *answer = NULL, *devices, *q;
	int ret = vgrant_devices(opt, guest, &answer, &devices);

	if (ret == VGRANT_OK && (host[0] == '-' || !host[0] || !*shell)) {
		vgrant_complain("'%s' is no host that can be asked, as by ssh(1); options of xl "
				"migrate stand behind --",
				host);
		ret = VGRANT_USAGE;
	}
	if (ret == VGRANT_OK) {
		q = question(devices);
		/* Without devices of ours there is nothing to ask. */
		if (json_object_array_length(devices))
			ret = ask(shell, host, q);
		json_object_put(q);
	}
	json_object_put(answer);
	return ret == VGRANT_OK ? run_xl(guest, host, argc - 2, argv + 2) : ret;
}

/* ---- there --------------------------------------------------------------- */

static struct json_object *read_question(void)
{
	char *text = malloc(QUESTION_MAX);
	struct json_object *q = NULL;
	size_t len = text ? fread(text, 1, QUESTION_MAX - 1, stdin) : 0;

	if (text) {
		text[len] = '\0';
		q = json_tokener_parse(text);
	}
	free(text);
	if (json_object_is_type(q, json_type_object) &&
	    json_object_is_type(vgrant_member(q, "devices"), json_type_array) &&
	    vgrant_text(q, "guest")[0])
		return q;
	vgrant_complain("standard input is not what `vgrant migrate` asks");
	json_object_put(q);
	return NULL;
}

static const struct vg_xl_device *configured(const struct vg_xlconf *conf, struct json_object *dev)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (conf->devices[i].number == vgrant_number(dev, "id"))
			return &conf->devices[i];
	}
	return NULL;
}

/* One that the guest has: does it get the same here? Return: number of mistakes, which were told. */
static unsigned compare(const struct vg_xlconf *conf, struct json_object *dev)
{
	unsigned id = (unsigned)vgrant_number(dev, "id");
	uint64_t size = vgrant_number(dev, "size"), here, allocation;
	const struct vg_xl_device *d = configured(conf, dev);
	const char *target;

	if (!d || !vgrant_is_a(dev, d->params.device)) {
		vgrant_complain("%s: the guest has a device %u, %s, for which there is no vgrant "
				"entry: it would lose it here; add one, with id=%u",
				conf->path, id, vgrant_printable(vgrant_text(dev, "type")), id);
		return 1;
	}
	target = vg_params_str(&d->params, NULL, "target");
	if (!size || !target || d->backend || vgrant_sizes_of(target, &here, &allocation) < 0 ||
	    here == size)
		return 0;
	vgrant_complain(
		"%s: vgrant entry '%.120s': %s has %llu bytes here, and %llu where the guest "
		"is: that is not the same disk",
		conf->path, d->spec, target, (unsigned long long)here, (unsigned long long)size);
	return 1;
}

/* Return: VGRANT_OK, or another code when @guest is here, or nobody can tell. */
static int is_free(const struct vgrant_options *opt, const char *guest)
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, guest, &answer, &devices);

	if (ret == VGRANT_OK && json_object_array_length(devices)) {
		vgrant_complain("a guest %s is here already", vgrant_printable(guest));
		ret = VGRANT_FAILED;
	}
	json_object_put(answer);
	return ret;
}

static int accept_guest(const struct vgrant_options *opt, struct json_object *q)
{
	static struct vg_settings settings;
	struct json_object *devices = vgrant_member(q, "devices");
	const char *guest = vgrant_text(q, "guest");
	struct vg_xlconf *conf;
	struct vg_err err;
	unsigned mistakes;
	int ret;

	if (vgrant_number(q, "format") != FORMAT) {
		vgrant_complain("the guest comes from a host with a later version of vgrant: "
				"install that here first");
		return VGRANT_FAILED;
	}
	ret = is_free(opt, guest);
	if (ret != VGRANT_OK)
		return ret;
	(void)vg_settings_load(&settings, NULL, NULL);
	if (vg_xlconf_find(settings.config_dirs, guest, &conf, &err) < 0) {
		vgrant_complain("%s: its devices are not known here; copy its configuration",
				vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	mistakes = vgrant_check_arrival(conf, stderr);
	for (size_t i = 0; i < json_object_array_length(devices); i++)
		mistakes += compare(conf, json_object_array_get_idx(devices, i));
	vg_xlconf_free(conf);
	return mistakes ? VGRANT_FAILED : VGRANT_OK;
}

int vgrant_accept(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *q = read_question();
	int ret = q ? accept_guest(opt, q) : VGRANT_FAILED;

	(void)argc, (void)argv;
	json_object_put(q);
	return ret;
}
