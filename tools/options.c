// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * options.c - the options of `vgrant`, in one table
 *
 * A command names the letters of those that it takes; -s, -h and -V go with each.
 */
#include <getopt.h>
#include <string.h>

#include "backend/base/container.h"
#include "tools/vgrant.h"

static const struct {
	char letter;
	const char *name, *arg, *help;
} options[] = {
	{ 'j', "json", NULL, "print JSON" },
	{ 'b', "brief", NULL, "list: print GUEST, NAME, TYPE, STATE, separated by tabs" },
	{ 'v', "verbose", NULL, "list: print all that is known of each device" },
	{ 'i', "interval", "SECONDS", "top: between two looks, 0.1 to 3600; default: 2" },
	{ 'n', "batch", "N", "top: print N looks, for scripts and logs, and end" },
	{ '1', "once", NULL, "top: the same as --batch 1" },
	{ 'k', "sort", "KEY",
	  "top: by guest, requests, bytes, latency, depth, kicks, hypercalls or errors" },
	{ 'l', "live", NULL, "of a libvirt domain: the one that runs" },
	{ 'c', "config", NULL, "of a libvirt domain: what its next start takes" },
	{ 'g', "guest", "GUEST", "events: of this one's devices alone" },
	{ 't', "timeout", "SECONDS", "events: end after so long" },
	{ 'a', "ask", NULL, "migrate: ask the other host, and leave the guest here" },
	{ 's', "socket", "PATH", "vgrantd's control socket; default: as vgrantd.conf says" },
	{ 'h', "help", NULL, "explain, and do nothing" },
	{ 'V', "version", NULL, "print vgrant's own version" },
};

enum { N_OPTIONS = COUNT(options) };

_Static_assert((int)N_OPTIONS < (int)VGRANT_LETTERS,
	       "struct vgrant_line has room for each option once");

bool vgrant_is_common(char letter)
{
	return letter == 's' || letter == 'h' || letter == 'V';
}

void vgrant_print_option_help(const char *letters)
{
	for (int i = 0; i < N_OPTIONS; i++) {
		char name[32];

		if (!vgrant_is_common(options[i].letter) && !strchr(letters, options[i].letter))
			continue;
		snprintf(name, sizeof(name), "--%s%s%s", options[i].name, options[i].arg ? " " : "",
			 options[i].arg ? options[i].arg : "");
		printf("  -%c, %-20s %s\n", options[i].letter, name, options[i].help);
	}
}

static void take_option(struct vgrant_line *p, char letter)
{
	if (!strchr(p->used, letter))
		p->used[strlen(p->used)] = letter;
	switch (letter) {
	case 'j':
		p->opt.json = true;
		break;
	case 'b':
		p->opt.brief = true;
		break;
	case 'v':
		p->opt.verbose = true;
		break;
	case 'l':
		p->opt.live = true;
		break;
	case 'c':
		p->opt.config = true;
		break;
	case 'i':
		p->opt.interval = optarg;
		break;
	case 'n':
		p->opt.batch = optarg;
		break;
	case '1':
		p->opt.once = true;
		break;
	case 'k':
		p->opt.sort = optarg;
		break;
	case 'g':
		p->opt.guest = optarg;
		break;
	case 't':
		p->opt.timeout = optarg;
		break;
	case 'a':
		p->opt.ask = true;
		break;
	case 's':
		p->opt.socket = optarg;
		break;
	case 'h':
		p->help = true;
		break;
	default:
		p->version = true;
	}
}

int vgrant_parse(int *argc, char ***argv, struct vgrant_line *p)
{
	struct option table[N_OPTIONS + 1] = { 0 };
	char letters[2 * N_OPTIONS + 1] = "";
	int c;

	for (int i = 0; i < N_OPTIONS; i++) {
		table[i].name = options[i].name;
		table[i].has_arg = options[i].arg ? required_argument : no_argument;
		table[i].val = (unsigned char)options[i].letter;
		sprintf(letters + strlen(letters), "%c%s", options[i].letter,
			options[i].arg ? ":" : "");
	}
	while ((c = getopt_long(*argc, *argv, letters, table, NULL)) != -1) {
		if (c == '?')
			return VGRANT_USAGE;
		take_option(p, (char)c);
	}
	*argc -= optind;
	*argv += optind;
	return VGRANT_OK;
}
