// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrantd.c - the program: options, settings, and which of its two parts it is
 *
 * Started by a person or by systemd it is the supervisor; it starts itself with
 * --worker for each device.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/control/exporter.h"
#include "backend/daemon/settings.h"
#include "backend/daemon/child.h"
#include "backend/devices/gateway/vhost.h"
#include "backend/devices/net/macvtap.h"
#include "backend/worker/socket_worker.h"
#include "backend/daemon/supervisor.h"
#include "backend/worker/grant_worker.h"
#include "backend/worker/keeper.h"
#include "backend/worker/vhost_worker.h"

enum { EXIT_USAGE = 2 };

static void usage(FILE *out)
{
	fprintf(out, "usage: vgrantd [OPTION...]\n"
		     "Serve VirtIO devices to Xen guests over grant tables.\n"
		     "\n"
		     "  -c, --config FILE     settings (default " VG_SETTINGS_FILE ")\n"
		     "  -o, --set KEY=VALUE   one setting, over the file's; may be repeated\n"
		     "  -s, --syslog          log to syslog (same as -o log-target=syslog)\n"
		     "  -v, --verbose         log more (same as -o log-level=debug)\n"
		     "  -h, --help            this text, and all settings\n"
		     "  -V, --version\n"
		     "\n"
		     "Settings, as in the file:\n\n");
	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++)
		fprintf(out, "  %s.%s = %s\n        %s\n", k->section, k->key, k->fallback,
			k->help);
	fprintf(out,
		"\nDevices are configured in the guests' xl configurations: see vgrant.conf(5).\n");
}

static int set_option(struct vg_settings *settings, char *text, struct vg_err *err)
{
	char *eq = strchr(text, '=');

	if (!eq)
		return vg_fail(err, -EINVAL, "--set wants KEY=VALUE, not '%s'", text);
	*eq = '\0';
	return vg_settings_set(settings, text, eq + 1, err);
}

/* Two rounds: the file must be read before the options that go over it. */
static int parse(int argc, char **argv, struct vg_settings *settings, bool file_round,
		 const char **file, struct vg_err *err)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "set", required_argument, NULL, 'o' },
		{ "syslog", no_argument, NULL, 's' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int ret = 0;
	int c;

	optind = 1;
	while (ret == 0 && (c = getopt_long(argc, argv, "c:o:svhV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			*file = optarg;
			break;
		case 'o':
			if (!file_round)
				ret = set_option(settings, optarg, err);
			break;
		case 's':
			settings->log_target = VG_LOG_SYSLOG;
			break;
		case 'v':
			settings->log_level = VG_LOG_DEBUG;
			break;
		case 'h':
			usage(stdout);
			exit(EXIT_SUCCESS);
		case 'V':
			printf("vgrantd %s\n", VG_VERSION);
			exit(EXIT_SUCCESS);
		default:
			exit(EXIT_USAGE);
		}
	}
	if (ret == 0 && optind < argc)
		ret = vg_fail(err, -EINVAL, "'%s' is not understood: see --help", argv[optind]);
	return ret;
}

/* A reload that is asked for at once waits for the supervisor's loop, and does not end us. */
static void hold_hangup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	static struct vg_settings settings;
	struct vg_err err = { "" };
	const char *file = NULL;
	int ret;

	if (argc == 2 && strcmp(argv[1], "--worker") == 0)
		return vg_grant_worker_main(VG_CHILD_SOCK);
	if (argc == 2 && strcmp(argv[1], "--socket-worker") == 0)
		return vg_socket_worker_main(VG_CHILD_SOCK, VG_CHILD_EXTRA);
	if (argc == 2 && strcmp(argv[1], "--metrics") == 0)
		return vg_exporter_main(VG_CHILD_SOCK, VG_CHILD_EXTRA);
	if (argc == 2 && strcmp(argv[1], "--daemon") == 0)
		return vg_keeper_main(VG_CHILD_SOCK);
	if (argc == 4 && strcmp(argv[1], NET_MACVTAP_REMOVE) == 0)
		return net_macvtap_main(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], VG_VHOST) == 0)
		return vg_vhost_worker_main(argv[2], argv[3]);
	hold_hangup();
	/* What whoever started us left open is for no worker. */
	close_range(VG_CHILD_SOCK, ~0U, CLOSE_RANGE_CLOEXEC);
	vg_settings_defaults(&settings);
	ret = parse(argc, argv, &settings, true, &file, &err);
	if (ret == 0)
		ret = vg_settings_load(&settings, file, &err);
	if (ret == 0)
		ret = parse(argc, argv, &settings, false, &file, &err);
	if (ret < 0) {
		fprintf(stderr, "vgrantd: %s\n", err.text);
		return EXIT_USAGE;
	}
	vg_log_init(settings.log_target, settings.log_level, NULL);
	ret = vg_super_run(&settings, &err);
	if (ret < 0) {
		vg_error("%s", err.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
