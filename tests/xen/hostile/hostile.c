/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile.c - a malicious guest, as a program in it
 *
 *	hostile ID GROUP|NAME|all [MS]	attack disk ID of this guest, and see that it lives on;
 *					MS: how long a storm lasts (1000)
 *	hostile ID works		connect, write, read back, disconnect
 *	hostile ID vanish		die with requests in flight
 *	hostile ID park-ring		leave the device stopped
 *	hostile ID park-control		leave the connection broken
 *	hostile ID siege		attack until killed
 *	hostile list			the attacks
 *
 * The attacks are those of tests/driver/attacks.h. The guest must not have
 * virtio_grant.ko: this program is the frontend. Prints "@ok NAME: ..." or
 * "@no NAME: ..." for each, which tests/xen/t/suite.bash turns into TAP, and
 * "@# " before what is for people.
 *
 * Linked with tests/driver/xen_real.c; with xen_fake.c it attacks the daemon on
 * a fake host.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/driver/attacks.h"

/* Nothing: what attack_run() does before and after is the test. */
static int nothing(struct attack_on *a)
{
	(void)a;
	return 0;
}

static const struct attack works = { "", "works", "a driver that behaves", nothing };

static int one(const struct attack *attack, struct drv_xen *xen, unsigned int id, unsigned int ms)
{
	struct attack_on a;
	int64_t from = at_now();
	int rc = attack_run(attack, xen, id, ms, &a);

	if (rc)
		printf("@no %s: %s: %s\n", attack->name, attack->row, a.why);
	else
		printf("@ok %s: %s\n", attack->name, attack->row);
	printf("@# %s on disk %u took %lld ms%s%s\n", attack->name, id,
	       (long long)(at_now() - from), a.note[0] ? ": " : "", a.note);
	fflush(stdout);
	return rc;
}

static int several(const char *what, struct drv_xen *xen, unsigned int id, unsigned int ms)
{
	unsigned int i, n = 0, bad = 0;

	if (!strcmp(what, "works"))
		return one(&works, xen, id, ms);
	for (i = 0; i < n_attacks; i++) {
		if (strcmp(what, "all") && strcmp(what, attacks[i].name) &&
		    strcmp(what, attacks[i].group))
			continue;
		n++;
		bad += one(&attacks[i], xen, id, ms) != 0;
	}
	if (!n)
		fprintf(stderr, "hostile: there is no attack '%s'; try hostile list\n", what);
	return n && !bad ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[2] : "";
	unsigned int id, ms, i;
	struct attack_on a = { .why = "" };
	struct drv_xen *xen;
	int rc;

	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (i = 0; i < n_attacks; i++)
			printf("%-8s %-16s %s\n", attacks[i].group, attacks[i].name,
			       attacks[i].row);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: hostile ID GROUP|NAME|all [MS], or hostile list\n");
		return 2;
	}
	id = (unsigned int)strtoul(argv[1], NULL, 10);
	ms = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : 1000;
	xen = drv_xen_open();
	if (!xen) {
		printf("@no %s: this is no guest of Xen with what it takes: %s\n", what,
		       strerror(errno));
		return 1;
	}
	if (!strcmp(what, "vanish")) {
		rc = attack_vanish(xen, id, &a);
		if (!rc)
			raise(SIGKILL);
	} else if (!strcmp(what, "siege")) {
		rc = attack_siege(xen, id, &a);
	} else if (!strcmp(what, "park-ring")) {
		rc = attack_park(xen, id, false, &a);
	} else if (!strcmp(what, "park-control")) {
		rc = attack_park(xen, id, true, &a);
	} else {
		rc = several(what, xen, id, ms);
		drv_xen_close(xen);
		return rc ? 1 : 0;
	}
	/* No goodbye: what is left open ends with the process. */
	if (rc)
		printf("@no %s: %s\n", what, a.why);
	fflush(stdout);
	_exit(rc ? 1 : 0);
}
