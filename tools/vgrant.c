// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant.c - the command line: the table of commands, and the small ones themselves
 *
 * `vgrant COMMAND [OPTION...] [ARGUMENT...]`; options may stand before or after the
 * command (options.c).
 */
#include "tools/vgrant.h"

#include <json-c/json.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/log.h"
#include "backend/control/metrics.h"

/* ---- small commands ----------------------------------------------------- */

enum { WAIT_S = 10, WAIT_STEP_MS = 100 };

static void wait_a_step(void)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };

	nanosleep(&step, NULL);
}

/* The device's state now. @state is "" when it is not there. Return: an exit code. */
static int look(const struct vgrant_options *opt, const char *guest, const char *id, char *state,
		size_t state_len, char *error, size_t error_len)
{
	struct json_object *answer = NULL, *dev;
	int ret = vgrant_ask(opt, &answer, "list", VGRANT_ARGS({ "guest", guest }));

	if (ret != VGRANT_OK)
		return ret;
	dev = vgrant_find_device(vgrant_member(answer, "devices"), id);
	snprintf(state, state_len, "%s", vgrant_text(dev, "state"));
	snprintf(error, error_len, "%s", vgrant_printable(vgrant_text(dev, "error")));
	json_object_put(answer);
	return VGRANT_OK;
}

/* The member "scope" of a request; NULL: none. */
static const char *scope_of(const struct vgrant_options *opt)
{
	if (opt->live && opt->config)
		return "live,config";
	return opt->live ? "live" : opt->config ? "config" : NULL;
}

/* Ask for it, then watch until the device has been opened, or has failed to. */
static int attach(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL;
	char id[32], state[32] = "", error[1024] = "";
	int ret = vgrant_ask(opt, &answer, "attach",
			     VGRANT_ARGS({ "guest", argv[0] }, { "device", argv[1] },
					 { "scope", scope_of(opt) }));

	(void)argc;
	if (ret != VGRANT_OK)
		return ret;
	snprintf(id, sizeof(id), "%s", vgrant_text(answer, "id"));
	json_object_put(answer);
	if (opt->config && !opt->live) {
		printf("device %s of %s: from its next start on\n", id, argv[0]);
		return VGRANT_OK;
	}
	for (int i = 0; i < WAIT_S * 1000 / WAIT_STEP_MS; i++) {
		ret = look(opt, argv[0], id, state, sizeof(state), error, sizeof(error));
		if (ret != VGRANT_OK || (*state && strcmp(state, "opening") != 0))
			break;
		wait_a_step();
	}
	if (ret != VGRANT_OK)
		return ret;
	if (strcmp(state, "failed") == 0 || *error) {
		vgrant_complain("device %s of %s was made but does not work: %s", id, argv[0],
				*error ? error : "see vgrantd's log");
		return VGRANT_FAILED;
	}
	if (*state)
		printf("device %s of %s: %s\n", id, argv[0], state);
	else
		printf("device %s of %s: left to the domain that serves it\n", id, argv[0]);
	return VGRANT_OK;
}

static int detach(const struct vgrant_options *opt, int argc, char **argv)
{
	char state[32], error[1024];
	int ret = vgrant_ask(opt, NULL, "detach",
			     VGRANT_ARGS({ "guest", argv[0] }, { "id", argv[1] },
					 { "scope", scope_of(opt) }));

	(void)argc;
	if (opt->config && !opt->live)
		return ret;
	for (int i = 0; ret == VGRANT_OK && i < WAIT_S * 1000 / WAIT_STEP_MS; i++) {
		ret = look(opt, argv[0], argv[1], state, sizeof(state), error, sizeof(error));
		if (ret == VGRANT_OK && !*state)
			return VGRANT_OK;
		wait_a_step();
	}
	if (ret == VGRANT_OK) {
		vgrant_complain(
			"device %s of %s is still %s after %d s: the guest has not let go of "
			"it",
			argv[1], argv[0], state, WAIT_S);
		ret = VGRANT_FAILED;
	}
	return ret;
}

static int set(const struct vgrant_options *opt, int argc, char **argv)
{
	char *eq = strchr(argv[2], '=');

	(void)argc;
	if (!eq || eq == argv[2]) {
		vgrant_complain("'%s' should be KEY=VALUE", argv[2]);
		return VGRANT_USAGE;
	}
	*eq = '\0';
	return vgrant_ask(opt, NULL, "set",
			  VGRANT_ARGS({ "guest", argv[0] }, { "id", argv[1] }, { "key", argv[2] },
				      { "value", eq + 1 }, { "scope", scope_of(opt) }));
}

static int trace(const struct vgrant_options *opt, int argc, char **argv)
{
	const struct timeval ever = { 0 };
	int fd = vgrant_connect(opt);
	int ret;

	(void)argc;
	if (fd < 0)
		return VGRANT_NO_DAEMON;
	/* Nothing may pass for long. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ever, sizeof(ever));
	vgrant_request(fd, "trace", VGRANT_ARGS({ "guest", argv[0] }, { "id", argv[1] }), -1);
	ret = vgrant_answer(fd, NULL);
	close(fd);
	return ret;
}

static int show_config(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL;
	int ret = vgrant_ask(opt, &answer, "show-config", NULL);

	(void)argc, (void)argv;
	if (ret == VGRANT_OK)
		fputs(vgrant_text(answer, "text"), stdout);
	json_object_put(answer);
	return ret;
}

/* As vgrantd serves it where `metrics` is set; here for scripts, and files that node_exporter reads. */
static int metrics(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, argc ? argv[0] : NULL, &answer, &devices);

	if (ret == VGRANT_OK)
		vg_metrics_print(devices, stdout);
	json_object_put(answer);
	return ret;
}

static int log_level(const struct vgrant_options *opt, int argc, char **argv)
{
	(void)argc;
	return vgrant_ask(opt, NULL, "log-level", VGRANT_ARGS({ "level", argv[0] }));
}

static int do_shutdown(const struct vgrant_options *opt, int argc, char **argv)
{
	(void)argc, (void)argv;
	return vgrant_ask(opt, NULL, "shutdown", NULL);
}

/* Both, because after an upgrade they may differ. */
static int version(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL;
	int ret;

	(void)argc, (void)argv;
	printf("vgrant %s\n", VG_VERSION);
	ret = vgrant_ask(opt, &answer, "version", NULL);
	if (ret == VGRANT_OK)
		printf("vgrantd %s\n", vgrant_printable(vgrant_text(answer, "version")));
	json_object_put(answer);
	return ret;
}

static const struct vgrant_command commands[] = {
	{ "list", "[GUEST]", "show devices, of one guest or of all", 0, 1, "jbv", vgrant_list },
	{ "show", "GUEST [ID]", "all of a guest's devices, or of one, in sentences", 1, 2, "j",
	  vgrant_show },
	{ "top", "[GUEST]", "what devices do just now, a line each, again and again", 0, 1, "jin1k",
	  vgrant_top },
	{ "events", "", "what happens to devices, a line each, until Ctrl-C", 0, 0, "jgt",
	  vgrant_events },
	{ "attach", "GUEST DEVICE", "add a device, as in: attach web blk,target=/srv/x.img", 2, 2,
	  "lc", attach },
	{ "detach", "GUEST ID", "take a device away", 2, 2, "lc", detach },
	{ "set", "GUEST ID KEY=VALUE", "change a setting of a running device", 3, 3, "lc", set },
	{ "resize", "GUEST ID SIZE", "make a disk's image larger, while the guest runs or not", 3,
	  3, "", vgrant_resize },
	{ "trace", "GUEST ID", "print what passes through a device, until Ctrl-C", 2, 2, "",
	  trace },
	{ "capture", "GUEST ID [FILE]",
	  "write the packets of a network card as tcpdump reads them, until Ctrl-C", 2, 3, "",
	  vgrant_capture },
	{ "console", "GUEST [PORT]",
	  "the guest's console, or a port of it by name, on this terminal, until ^]", 1, 2, "",
	  vgrant_console },
	{ "domblklist", "GUEST", "show a guest's disks as virsh domblklist would", 1, 1, "",
	  vgrant_domblklist },
	{ "domblkinfo", "GUEST ID", "show a disk's sizes as virsh domblkinfo would", 2, 2, "",
	  vgrant_domblkinfo },
	{ "domiflist", "GUEST", "show a guest's network cards as virsh domiflist would", 1, 1, "",
	  vgrant_domiflist },
	{ "domdisplay", "GUEST", "show where a guest's pictures are, as virsh domdisplay would", 1,
	  1, "", vgrant_domdisplay },
	{ "screenshot", "GUEST FILE [HEAD]",
	  "save what a guest's screen shows as PNG (-: stdout); HEAD is 0 for the first", 2, 3, "",
	  vgrant_screenshot },
	{ "check", "FILE...",
	  "check guests' xl configurations or libvirt XML (-: stdin); needs no vgrantd", 1, 1000,
	  "j", vgrant_check },
	{ "doctor", "[GUEST]",
	  "say what is wrong with this domain, a guest or all, and how to mend it", 0, 1, "j",
	  vgrant_doctor },
	{ "migrate", "GUEST HOST [-- OPTION...]",
	  "move a guest by xl or virsh migrate, once HOST was asked whether it can have its "
	  "devices",
	  2, 40, "a", vgrant_migrate },
	{ "accept", "", "what `vgrant migrate` asks on the other host (on stdin)", 0, 0, "",
	  vgrant_accept },
	{ "convert", "FILE", "print an xl configuration's devices as libvirt metadata, or back", 1,
	  1, "", vgrant_convert },
	{ "schema", "", "print the RELAX NG schema of devices in libvirt metadata", 0, 0, "",
	  vgrant_schema },
	{ "libvirt-hook", "NAME OPERATION SUB-OPERATION EXTRA",
	  "libvirt's question whether a guest may start (its XML on stdin)", 2, 4, "",
	  vgrant_hook },
	{ "metrics", "[GUEST]", "print what devices have counted as Prometheus reads it", 0, 1, "",
	  metrics },
	{ "show-config", "", "show vgrantd's settings in effect", 0, 0, "", show_config },
	{ "log-level", "LEVEL", "make vgrantd log error, warning, info or debug lines", 1, 1, "",
	  log_level },
	{ "shutdown", "", "stop vgrantd and all devices", 0, 0, "", do_shutdown },
	{ "version", "", "show versions of vgrant and of the running vgrantd", 0, 0, "", version },
	{ "help", "[DEVICE|COMMAND]", "explain a device and its keys, or a command", 0, 1, "",
	  vgrant_help },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL },
};

/* ---- the command line ---------------------------------------------------- */

static int run(const struct vgrant_command *cmd, const struct vgrant_line *p, int argc, char **argv)
{
	char *name = (char *)(uintptr_t)cmd->name;

	if (p->help)
		return vgrant_help(&p->opt, 1, &name);
	for (const char *u = p->used; *u; u++) {
		if (!vgrant_is_common(*u) && !strchr(cmd->options, *u)) {
			vgrant_complain("%s takes no option -%c; see `vgrant help %s`", cmd->name,
					*u, cmd->name);
			return VGRANT_USAGE;
		}
	}
	if (argc < cmd->min_args || argc > cmd->max_args) {
		vgrant_complain("usage: vgrant %s%s%s", cmd->name, *cmd->args ? " " : "",
				cmd->args);
		return VGRANT_USAGE;
	}
	return cmd->run(&p->opt, argc, argv);
}

int main(int argc, char **argv)
{
	struct vgrant_line p = { .opt.commands = commands };
	int ret = vgrant_parse(&argc, &argv, &p);

	vg_log_init(VG_LOG_STDERR, VG_LOG_WARN, NULL);
	if (ret != VGRANT_OK)
		return ret;
	if (p.version) {
		printf("vgrant %s\n", VG_VERSION);
		return VGRANT_OK;
	}
	if (argc == 0 && p.help)
		return vgrant_help(&p.opt, 0, argv);
	if (argc == 0) {
		vgrant_complain("no command given; `vgrant help` lists them");
		return VGRANT_USAGE;
	}
	for (const struct vgrant_command *c = commands; c->name; c++) {
		if (strcmp(c->name, argv[0]) == 0) {
			ret = run(c, &p, argc - 1, argv + 1);
			/* A full disk or a closed pipe is no success. */
			return fflush(stdout) ? VGRANT_FAILED : ret;
		}
	}
	vgrant_complain("there is no command '%s'; `vgrant help` lists them", argv[0]);
	return VGRANT_USAGE;
}
