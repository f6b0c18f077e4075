// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate.c - `vgrant migrate GUEST HOST`, which asks that host first, by `vgrant accept` (accept.c)
 *
 * xl knows nothing of our devices: it moves a guest to a host where they cannot work, and the guest, which
 * runs there by then, waits for its disks. So the other host is asked before xl is: over the same ssh, with
 * the devices that the guest has as JSON on standard input. What keeps it from taking the guest it says
 * on stderr, one sentence each, and nothing has happened to the guest.
 *
 *	{ "format": 1, "guest": "web", "xml": "<domain ...>",
 *	  "devices": [ { "id": 64, "type": "blk", "virtio_id": 2, "config": "blk,target=/srv/web.img",
 *	                 "features": "0x130006e76", "size": 4194304 } ] }
 *
 * A size, in bytes, is that of what a disk lies on, where this host can tell; features are those that the
 * driver uses. A host that is asked in a format that it does not know, or that does not know the command, is
 * of an older version, and is not gone to.
 *
 * A guest of libvirt's goes by `virsh migrate`, and its XML with the question, from `virsh dumpxml`. libvirt's
 * hook refuses it on the other host, too (hook.c), but libvirt does not tell virsh why.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/params.h"
#include "tools/vgrant.h"

enum {
	SHELL_NOT_FOUND = 127, /* sh(1): there is no such command */
	SSH_FAILED = 255,      /* ssh(1) */
};

#define LIBVIRT "xen:///system"

/* ---- the question ---------------------------------------------------------- */

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

static void add_text(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

static struct json_object *device_of(struct json_object *dev)
{
	struct json_object *d = json_object_new_object();

	json_object_object_add(d, "id", json_object_new_int64((int64_t)vgrant_number(dev, "id")));
	add_text(d, "type", vgrant_text(dev, "type"));
	json_object_object_add(d, "virtio_id",
			       json_object_new_int64((int64_t)vgrant_number(dev, "virtio_id")));
	add_text(d, "config", vgrant_text(dev, "config"));
	add_text(d, "features", vgrant_text(vgrant_member(dev, "features"), "negotiated"));
	add_size(d, dev);
	return d;
}

/* To be freed by the caller. */
static struct json_object *question(struct json_object *devices)
{
	struct json_object *q = json_object_new_object(), *list = json_object_new_array();
	size_t n = json_object_array_length(devices);

	json_object_object_add(q, "format", json_object_new_int(VGRANT_QUESTION_FORMAT));
	json_object_object_add(
		q, "guest",
		json_object_new_string(
			n ? vgrant_text(json_object_array_get_idx(devices, 0), "guest") : ""));
	json_object_object_add(q, "devices", list);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, device_of(json_object_array_get_idx(devices, i)));
	return q;
}

/* Are they from libvirt's metadata? Then all are. */
static bool is_libvirts(struct json_object *devices)
{
	return json_object_array_length(devices) &&
	       strcmp(vgrant_text(json_object_array_get_idx(devices, 0), "origin"), "libvirt") == 0;
}

/* What virsh prints is read to its end, or to what no question may be longer than. */
static int add_xml(struct json_object *q, const char *guest)
{
	char *text = calloc(1, VGRANT_QUESTION_MAX);
	int ends[2], status = -1;
	FILE *from;
	pid_t pid;

	if (!text || pipe(ends) < 0) {
		free(text);
		return VGRANT_FAILED;
	}
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execlp("virsh", "virsh", "-c", LIBVIRT, "dumpxml", "--migratable", guest,
		       (char *)NULL);
		_exit(SHELL_NOT_FOUND);
	}
	close(ends[1]);
	from = fdopen(ends[0], "r");
	if (from) {
		text[fread(text, 1, VGRANT_QUESTION_MAX - 1, from)] = '\0';
		fclose(from);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		vgrant_complain("%s is a guest of libvirt's, and virsh does not say what it is; "
				"the guest runs on "
				"here",
				vgrant_printable(guest));
		free(text);
		return VGRANT_FAILED;
	}
	add_text(q, "xml", text);
	free(text);
	return VGRANT_OK;
}

/* ---- asking, and going -------------------------------------------------------- */

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

/* The words @before, of the command line, and @after, as a program. Does not return, unless in vain. */
static int run(const char *const *before, const char *const *after, int argc, char **argv)
{
	const char **words = calloc((size_t)argc + 10, sizeof(*words)), **w = words;

	if (!words)
		return VGRANT_FAILED;
	while (*before)
		*w++ = *before++;
	for (int i = 0; i < argc; i++)
		*w++ = argv[i];
	while (*after)
		*w++ = *after++;
	execvp(words[0], (char *const *)(uintptr_t)words);
	vgrant_complain("%s cannot be run: %s", words[0], strerror(errno));
	free(words);
	return VGRANT_FAILED;
}

static int run_xl(const char *guest, const char *host, int argc, char **argv)
{
	return run((const char *const[]){ "xl", "migrate", NULL },
		   (const char *const[]){ guest, host, NULL }, argc, argv);
}

static int run_virsh(const char *guest, const char *host, int argc, char **argv)
{
	char *uri;
	int ret;

	if (asprintf(&uri, "xen+ssh://%s/system", host) < 0)
		return VGRANT_FAILED;
	ret = run((const char *const[]){ "virsh", "-c", LIBVIRT, "migrate", "--live", guest, uri,
					 NULL },
		  (const char *const[]){ NULL }, argc, argv);
	free(uri);
	return ret;
}

/* Return: VGRANT_OK: @host takes the guest; another code after a sentence. */
static int ask_for(const char *guest, const char *host, const char *shell,
		   struct json_object *devices)
{
	struct json_object *q;
	int ret = VGRANT_OK;

	if (host[0] == '-' || !host[0] || !*shell) {
		vgrant_complain("'%s' is no host that can be asked, as by ssh(1); options of xl "
				"migrate stand behind --",
				host);
		return VGRANT_USAGE;
	}
	/* Without devices of ours there is nothing to ask. */
	if (!json_object_array_length(devices))
		return VGRANT_OK;
	q = question(devices);
	if (is_libvirts(devices))
		ret = add_xml(q, guest);
	if (ret == VGRANT_OK)
		ret = ask(shell, host, q);
	json_object_put(q);
	return ret;
}

int vgrant_migrate(const struct vgrant_options *opt, int argc, char **argv)
{
	const char *guest = argv[0], *host = argv[1], *shell;
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, guest, &answer, &devices);
	bool libvirts = false;

	if (ret == VGRANT_OK) {
		libvirts = is_libvirts(devices);
		shell = libvirts ? "ssh" : shell_of(argc - 2, argv + 2);
		ret = ask_for(guest, host, shell, devices);
	}
	json_object_put(answer);
	if (ret != VGRANT_OK || opt->ask) {
		if (ret == VGRANT_OK)
			printf("%s takes %s\n", host, vgrant_printable(guest));
		return ret;
	}
	return (libvirts ? run_virsh : run_xl)(guest, host, argc - 2, argv + 2);
}
