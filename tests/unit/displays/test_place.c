// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_place.c - on which monitor a head is shown: what configurations say, and what is none
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/displays/place.h"

static const struct vg_param_def defs[] = { VG_PLACE_PARAMS, { 0 } };
static struct vg_place_of_head places[VG_DISPLAY_HEADS];
static struct vg_err err;

static int parse(const char *keys)
{
	struct vg_params params;
	char spec[1024];

	snprintf(spec, sizeof(spec), "gpu%s", keys);
	assert_int_equal(vg_params_parse(spec, &params, &err), 0);
	err.text[0] = '\0';
	return vg_places_parse(&params, defs, places, &err);
}

static void assert_place(unsigned head, const char *card, const char *connector)
{
	assert_string_equal(places[head].card, card);
	assert_string_equal(places[head].connector, connector);
}

static void none(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse(",kms=off"), 0);
	assert_place(0, "", "");
}

static void connectors(void **state)
{
	(void)state;
	assert_int_equal(parse(",kms=HDMI-A-1"), 1);
	assert_place(0, "/dev/dri/card0", "HDMI-A-1");
	assert_place(1, "", "");
	assert_int_equal(parse(",kms=card1:DP-2+off+Virtual-1"), 3);
	assert_place(0, "/dev/dri/card1", "DP-2");
	assert_place(1, "", "");
	assert_place(2, "/dev/dri/card0", "Virtual-1");
	assert_int_equal(parse(",kms=/dev/dri/by-path/pci-0000:03:00.0-card:eDP-1"), 1);
	assert_place(0, "/dev/dri/by-path/pci-0000:03:00.0-card", "eDP-1");
	/* What is not said. */
	assert_int_equal(places[0].width, 0);
	assert_int_equal(places[0].area_width, 0);
	assert_int_equal(places[0].layer, 0);
}

static void modes_areas_layers(void **state)
{
	(void)state;
	assert_int_equal(parse(",kms=A+B+C,kms-mode=1920x1080@50+preferred+800x600,"
			       "kms-area=320x240@640:480+all,kms-layer=255+3"),
			 3);
	assert_int_equal(places[0].width, 1920);
	assert_int_equal(places[0].height, 1080);
	assert_int_equal(places[0].hz, 50);
	assert_int_equal(places[1].width, 0);
	assert_int_equal(places[2].width, 800);
	assert_int_equal(places[2].height, 600);
	assert_int_equal(places[2].hz, 0);
	assert_int_equal(places[0].area_width, 320);
	assert_int_equal(places[0].area_height, 240);
	assert_int_equal(places[0].x, 640);
	assert_int_equal(places[0].y, 480);
	assert_int_equal(places[1].area_width, 0);
	assert_int_equal(places[0].layer, 255);
	assert_int_equal(places[1].layer, 3);
	/* The last one counts for the others. */
	assert_int_equal(places[2].layer, 3);
}

static void what_is_none(void **state)
{
	static const char *const bad[] = {
		",kms=",
		",kms=+",
		",kms=HDMI-A-1+",
		",kms=card0:",
		",kms=:HDMI-A-1",
		",kms=card0/HDMI-A-1",
		",kms=/etc/passwd:HDMI-A-1",
		",kms=../mem:HDMI-A-1",
		",kms=/dev/dri/../mem:HDMI-A-1",
		",kms=a-connector-whose-name-is-longer-than-any",
		",kms=A,kms-mode=1920",
		",kms=A,kms-mode=1920x",
		",kms=A,kms-mode=0x1080",
		",kms=A,kms-mode=1920x1080@",
		",kms=A,kms-mode=1920x1080@50x",
		",kms=A,kms-mode=99999x1080",
		",kms=A,kms-mode=1920x1080@5000000000",
		",kms=A,kms-area=320x240",
		",kms=A,kms-area=320x240@1",
		",kms=A,kms-area=320x240@1:",
		",kms=A,kms-area=320x240@-1:0",
		",kms=A,kms-area=0x240@0:0",
		",kms=A,kms-area=320x240@99999:0",
		",kms=A,kms-layer=256",
		",kms=A,kms-layer=-1",
		",kms=A,kms-layer=",
		",kms=A,kms-layer=1x",
		",kms=1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+17",
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		const char *last = strrchr(bad[i], ',') + 1;

		if (parse(bad[i]) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
		/* The sentence begins with the key. */
		if (strncmp(err.text, last, strcspn(last, "=") + 1) != 0)
			fail_msg("%s: %s", bad[i], err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(connectors),
		cmocka_unit_test(modes_areas_layers),
		cmocka_unit_test(what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
