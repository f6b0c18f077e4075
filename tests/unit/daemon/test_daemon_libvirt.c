/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_daemon_libvirt.c - vgrantd, vgrant-libvirt and libvirt's own test driver
 *
 * test:///FILE is a libvirt in memory, within vgrant-libvirt: it has the domains of FILE when that
 * starts, keeps metadata and sends events. Its domain `web` and a guest of tests/fakes/xen have one
 * uuid, as a domain of libvirt's and Xen's have. What libvirt's Xen driver does is for tests/xen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rigs/daemon_rig.h"

#define UUID "12340000-0000-0000-0000-000000000000"

static const uint8_t uuid[16] = { 0x12, 0x34 };

/* ---- a libvirt with one domain ---------------------------------------------------- */

static char uri[160];
static const char *metadata; /* of the domain */

static void write_node(const char *dir)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/node.xml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"<node><domain type='test'><name>web</name><uuid>" UUID "</uuid>"
		"<metadata>%s</metadata><memory>8192</memory><os><type>hvm</type></os></domain>"
		"</node>\n",
		metadata);
	fclose(f);
	snprintf(uri, sizeof(uri), "test://%s/node.xml", dir);
}

static int begin_with(void **state, const char *text)
{
	struct rig *r;
	int ret = rig_begin(state);

	if (ret)
		return ret;
	/* Its folder is known now: the daemon starts anew with a libvirt in it. */
	r = *state;
	rig_daemon_stop(r, SIGTERM);
	metadata = text;
	write_node(r->dir);
	rig_libvirt = uri;
	rig_daemon_start(r);
	rig_daemon_ready(r);
	return 0;
}

#define OURS(devices) "<v:devices xmlns:v='urn:vgrant:devices:1'>" devices "</v:devices>"

static int begin(void **state)
{
	return begin_with(state, OURS("<v:rng/><v:rng packed='on'/><v:rng id='70' packed='0'/>"));
}

static int begin_empty(void **state)
{
	return begin_with(state, "");
}

static int begin_wrong(void **state)
{
	return begin_with(state, OURS("<v:rng/>text"));
}

static int begin_mistaken(void **state)
{
	return begin_with(state, OURS("<v:rng/><v:rng colour='red'/><v:turbine/><v:rng id='70'/>"
				      "<v:rng id='70'/>"));
}

static int end(void **state)
{
	rig_libvirt = "off";
	return rig_end(state);
}

/* ---- what there is ------------------------------------------------------------------ */

static char *key(struct rig *r, unsigned int guest, unsigned int id, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u/%s", guest, id, name);
	return fx_xs_read(fx_xs(r->w), path);
}

/* becomes() - the key has @value within some seconds; NULL: it goes */
static void becomes(struct rig *r, unsigned int guest, unsigned int id, const char *name,
		    const char *value)
{
	char *now = NULL;

	for (int i = 0; i < 1000; i++, usleep(10000)) {
		free(now);
		now = key(r, guest, id, name);
		if (value ? now && strcmp(now, value) == 0 : !now) {
			free(now);
			return;
		}
	}
	fail_msg("%u/%u/%s is '%s', not '%s'", guest, id, name, now ? now : "nothing",
		 value ? value : "nothing");
}

static void logged(struct rig *r, const char *text)
{
	for (int i = 0; i < 1000 && !rig_logged(r, text); i++)
		usleep(10000);
	if (!rig_logged(r, text))
		fail_msg("not logged: %s", text);
}

/* A file of xl's that names the guest, too. */
static void write_xl(struct rig *r)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/xen/web.cfg", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("name = 'web'\nvgrant = [ 'rng,id=90' ]\n", f);
	fclose(f);
}

static unsigned int guest(struct rig *r, bool same_uuid)
{
	const struct fx_domain_config cfg = { .name = "web", .uuid = same_uuid ? uuid : NULL };
	unsigned int id;

	assert_int_equal(fx_domain_create(r->w, &cfg, &id), 0);
	return id;
}

static void answers(struct rig *r, const char *request, const char *part)
{
	const char *answer = rig_ask(r, request);

	if (!strstr(answer, part))
		fail_msg("%s: %s", request, answer);
}

#define ATTACH(device, scope) \
	"{\"cmd\":\"attach\",\"guest\":\"web\",\"device\":\"" device "\"" scope "}"
#define DETACH(id, scope) "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"" id "\"" scope "}"
#define LIVE		  ",\"scope\":\"live\""
#define CONFIG		  ",\"scope\":\"config\""
#define BOTH		  ",\"scope\":\"live,config\""

/* The next event of a device of the guest's that is not of @fd's past: @what, of device @id. */
static void hears(int fd, const char *what, unsigned int id)
{
	char event[64], name[64];
	const char *got = rig_line(fd);

	snprintf(event, sizeof(event), "\"event\":\"%s\"", what);
	snprintf(name, sizeof(name), "\"name\":\"virtio/%u\"", id);
	if (!strstr(got, event) || !strstr(got, name))
		fail_msg("no %s of %u: %s", what, id, got);
}

/* ---- tests ------------------------------------------------------------------------------ */

/* The domain's metadata becomes nodes; it counts before a file of xl's of the same name. */
static void metadata_becomes_nodes(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	write_xl(r);
	logged(r, "libvirt: connected to");
	id = guest(r, true);
	becomes(r, id, 64, "vgrant-config", "rng");
	becomes(r, id, 70, "vgrant-config", "rng,id=70,packed=0");
	becomes(r, id, 64, "vgrant-origin", "libvirt");
	becomes(r, id, 64, "vgrant-file", "libvirt's metadata of web");
	assert_null(key(r, id, 90, "vgrant-config"));
	becomes(r, id, 64, "state", "2");
}

/* Its file came late: a SIGHUP has it found, and what is in it is plugged into a guest that runs. */
static void a_file_that_comes_late(void **state)
{
	struct rig *r = *state;
	int fd = rig_listens(r, 0);
	unsigned int id;

	logged(r, "libvirt: connected to");
	id = guest(r, false);
	logged(r, "says name = \"web\"");
	write_xl(r);
	kill(r->daemon, SIGHUP);
	becomes(r, id, 90, "vgrant-config", "rng,id=90");
	hears(fd, "plugged", 90);
	close(fd);
}

/* A guest of that name that is not libvirt's is configured by its file. */
static void another_of_that_name(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	write_xl(r);
	logged(r, "libvirt: connected to");
	id = guest(r, false);
	becomes(r, id, 90, "vgrant-config", "rng,id=90");
	becomes(r, id, 90, "vgrant-origin", "config");
	assert_null(key(r, id, 64, "vgrant-config"));
}

/* libvirt has the domain, and no metadata of ours: the file counts, as before libvirt was asked. */
static void without_metadata(void **state)
{
	struct rig *r = *state;

	write_xl(r);
	logged(r, "libvirt: connected to");
	becomes(r, guest(r, true), 90, "vgrant-config", "rng,id=90");
}

/* What is wrong as a whole is told, gives no devices, and hides no file. */
static void wrong_metadata(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	write_xl(r);
	logged(r, "libvirt: connected to");
	id = guest(r, true);
	logged(r, "there is text among the devices");
	answers(r, ATTACH("rng", LIVE), "there is text among the devices");
	answers(r, ATTACH("rng", CONFIG), "there is text among the devices");
	assert_null(key(r, id, 64, "vgrant-config"));
	assert_null(key(r, id, 90, "vgrant-config"));
}

/* An entry that is wrong is a device that failed, with the reason; none is lost when another changes. */
static void wrong_entries(void **state)
{
	struct rig *r = *state;
	unsigned int id;
	const char *list;

	logged(r, "libvirt: connected to");
	id = guest(r, true);
	becomes(r, id, 64, "state", "2");
	becomes(r, id, 70, "state", "2");
	logged(r, "id=70 is taken by the entry");
	for (int i = 0; i < 1000; i++, usleep(10000)) {
		list = rig_ask(r, "{\"cmd\":\"list\"}");
		if (strstr(list, "no key") && strstr(list, "there is no device"))
			break;
	}
	assert_non_null(strstr(list, "colour"));
	assert_non_null(strstr(list, "turbine"));
	answers(r, ATTACH("rng", LIVE), "id=70 is taken by the entry");
	answers(r, ATTACH("rng", CONFIG), "virsh edit");
	answers(r, DETACH("64", LIVE), "id=70 is taken by the entry");
	becomes(r, id, 64, "online", "1");
}

/* The guest was there before the daemon, and before libvirt: found when libvirt has told. */
static void the_guest_was_first(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	rig_daemon_stop(r, SIGTERM);
	id = guest(r, true);
	rig_daemon_start(r);
	becomes(r, id, 64, "vgrant-config", "rng");
	becomes(r, id, 70, "vgrant-config", "rng,id=70,packed=0");
}

/* What `vgrant` changes of libvirt's guest goes into libvirt's metadata, and comes back from there. */
static void changes_go_through_libvirt(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	logged(r, "libvirt: connected to");
	id = guest(r, true);
	becomes(r, id, 70, "state", "2");
	answers(r, ATTACH("rng,packed=0", LIVE), "\"id\":66}");
	becomes(r, id, 66, "vgrant-origin", "libvirt");
	becomes(r, id, 66, "vgrant-config", "rng,packed=0,id=66");
	/* Without a scope it is the same; numbers do not move when one goes. */
	answers(r, ATTACH("rng", ""), "\"id\":67}");
	becomes(r, id, 67, "vgrant-origin", "libvirt");
	answers(r, DETACH("64", ""), "\"ok\":true");
	becomes(r, id, 64, "vgrant-config", NULL);
	answers(r, DETACH("66", LIVE), "\"ok\":true");
	becomes(r, id, 66, "vgrant-config", NULL);
	becomes(r, id, 67, "vgrant-config", "rng,id=67");
	/* The next start's: has 64 still, and does not touch what runs. */
	answers(r, ATTACH("rng,id=80", CONFIG), "\"id\":80}");
	answers(r, ATTACH("rng,id=80", CONFIG), "there is a device 80 in the metadata already");
	assert_null(key(r, id, 80, "vgrant-config"));
	answers(r,
		"{\"cmd\":\"set\",\"guest\":\"web\",\"id\":\"80\",\"key\":\"packed\",\"value\":"
		"\"0\"" CONFIG "}",
		"\"ok\":true");
	answers(r,
		"{\"cmd\":\"set\",\"guest\":\"web\",\"id\":\"80\",\"key\":\"colour\",\"value\":"
		"\"0\"" CONFIG "}",
		"has no key");
	answers(r, DETACH("64", CONFIG), "\"ok\":true");
	answers(r, DETACH("64", CONFIG), "there is no device 64 in the metadata");
	/* The one behind it has the number that it had. */
	answers(r, DETACH("65", CONFIG), "\"ok\":true");
	becomes(r, id, 65, "online", "1");
	/* In one of the two it is not: then neither is changed. */
	answers(r, DETACH("67", BOTH), "there is no device 67 in the metadata");
	becomes(r, id, 67, "online", "1");
	answers(r, ATTACH("rng", BOTH), "\"ok\":true");
}

#define SET(id, key, value, scope)                                            \
	"{\"cmd\":\"set\",\"guest\":\"web\",\"id\":\"" id "\",\"key\":\"" key \
	"\",\"value\":\"" value "\"" scope "}"

/* What comes into the metadata of a guest that runs is plugged, also when it had none; what it had is made. */
static void events_say_what_is_plugged(void **state)
{
	struct rig *r = *state;
	int fd = rig_listens(r, 0);
	unsigned int id;

	logged(r, "libvirt: connected to");
	id = guest(r, true);
	if (*metadata) {
		hears(fd, "made", 64);
		hears(fd, "made", 65);
		hears(fd, "made", 70);
	} else {
		logged(r, "none of our metadata");
	}
	answers(r, ATTACH("rng,id=80", LIVE), "\"id\":80}");
	hears(fd, "plugged", 80);
	answers(r, DETACH("80", LIVE), "\"ok\":true");
	hears(fd, "unplugged", 80);
	becomes(r, id, 80, "state", NULL);
	close(fd);
}

/* A setting goes to the device and into the metadata, or to neither. The bus is tests/fakes/can. */
static void settings_go_through_libvirt(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	logged(r, "libvirt: connected to");
	id = guest(r, true);
	becomes(r, id, 70, "state", "2");
	answers(r, ATTACH("can,interface=can0,id=80", BOTH), "\"id\":80}");
	answers(r, ATTACH("can,interface=can0,id=81", LIVE), "\"id\":81}");
	becomes(r, id, 80, "state", "2");
	becomes(r, id, 81, "state", "2");
	answers(r, SET("80", "tx-rate", "7", LIVE), "\"ok\":true");
	answers(r, "{\"cmd\":\"list\"}", "tx-rate=7");
	answers(r, SET("80", "tx-rate", "8", BOTH), "\"ok\":true");
	answers(r, "{\"cmd\":\"list\"}", "tx-rate=8");
	answers(r, SET("81", "tx-rate", "9", ""), "\"ok\":true");
	answers(r, "{\"cmd\":\"list\"}", "tx-rate=9");
	/* The next start's has no 81, and the device takes no other interface. */
	answers(r, SET("81", "tx-rate", "10", BOTH), "no device 81 in the metadata");
	answers(r, SET("80", "interface", "can1", BOTH), "cannot be changed while running");
	answers(r, SET("80", "colour", "red", LIVE), "has no key");
	assert_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "tx-rate=10"));
	assert_null(strstr(rig_ask(r, "{\"cmd\":\"list\"}"), "can1"));
	/* A change of other devices leaves what was set as it is. */
	answers(r, DETACH("81", LIVE), "\"ok\":true");
	becomes(r, id, 81, "vgrant-config", NULL);
	answers(r, "{\"cmd\":\"list\"}", "tx-rate=8");
	assert_false(rig_logged(r, "next start"));
}

/* A device without id= is known by the number that it got, which is not that of its place here. */
static void devices_keep_their_numbers(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	rig_daemon_stop(r, SIGTERM);
	rig_libvirt = "off";
	rig_daemon_start(r);
	rig_daemon_ready(r);
	id = guest(r, true);
	answers(r, ATTACH("rng", ""), "\"id\":64}");
	rig_daemon_stop(r, SIGTERM);
	rig_libvirt = uri;
	rig_daemon_start(r);
	becomes(r, id, 65, "vgrant-config", "rng");
	becomes(r, id, 66, "vgrant-config", "rng,packed=on");
	becomes(r, id, 66, "state", "2");
	/* They are written once libvirt has been told. */
	for (int i = 0; i < 1000 && !strstr(rig_ask(r, DETACH("66", LIVE)), "\"ok\":true"); i++)
		usleep(10000);
	becomes(r, id, 66, "vgrant-config", NULL);
	becomes(r, id, 65, "online", "1");
	answers(r, DETACH("65", LIVE), "\"ok\":true");
	becomes(r, id, 65, "vgrant-config", NULL);
	becomes(r, id, 64, "online", "1");
}

/* What cannot be is refused, before anything is changed. */
static void changes_that_are_refused(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	write_xl(r);
	logged(r, "libvirt: connected to");
	answers(r, ATTACH("rng", BOTH), "\"id\":"); /* it runs for libvirt */
	answers(r, ATTACH("turbine", LIVE), "there is no device 'turbine'");
	answers(r, ATTACH("rng", ",\"scope\":\"dead\""), "a scope is one of");
	answers(r, "{\"cmd\":\"attach\",\"guest\":\"db\",\"device\":\"rng\"" CONFIG "}",
		"libvirt has no domain db");
	/* The guest that runs under that name is not libvirt's. */
	id = guest(r, false);
	becomes(r, id, 90, "vgrant-origin", "config");
	answers(r, ATTACH("rng", CONFIG), "from its xl configuration");
	answers(r, ATTACH("rng", ""), "\"id\":64}");
	becomes(r, id, 64, "vgrant-origin", "attach");
}

/* The process that speaks to libvirt dies: devices stay, it is started again, and nothing is doubled. */
static void its_process_dies(void **state)
{
	struct rig *r = *state;
	unsigned int id;
	char cmd[256], *was, *now;

	logged(r, "libvirt: connected to");
	id = guest(r, true);
	becomes(r, id, 70, "state", "2");
	was = key(r, id, 70, "vgrant-config");
	snprintf(cmd, sizeof(cmd), "kill -9 $(pgrep -P %d vgrant-libvirt)", r->daemon);
	assert_int_equal(system(cmd), 0);
	logged(r, "vgrant-libvirt has ended and is started again");
	for (int i = 0; i < 500; i++, usleep(10000)) {
		snprintf(cmd, sizeof(cmd), "pgrep -P %d vgrant-libvirt >/dev/null", r->daemon);
		if (system(cmd) == 0)
			break;
	}
	assert_int_equal(system(cmd), 0);
	now = key(r, id, 70, "vgrant-config");
	assert_string_equal(now, was);
	assert_null(key(r, id, 66, "vgrant-config"));
	free(was);
	free(now);
}

/* It dies before it has said a word, as one without its library does: it is not given up for that. */
static void its_process_dies_young(void **state)
{
	struct rig *r = *state;
	char cmd[512];

	rig_daemon_stop(r, SIGTERM);
	rig_daemon_start(r);
	/* One that was faster is killed all the same, and so is the next. */
	snprintf(cmd, sizeof(cmd),
		 "for i in $(seq 5000); do pkill -9 -P %d vgrant-libvirt; "
		 "grep -q 'vgrant-libvirt has ended without a word' %s && exit; done; exit 1",
		 r->daemon, r->log);
	assert_int_equal(system(cmd), 0);
	logged(r, "libvirt: connected to");
	becomes(r, guest(r, true), 70, "state", "2");
}

/* libvirt hangs: vgrantd does not; a change is given up in the end, and what was known counts. */
static void libvirt_hangs(void **state)
{
	struct rig *r = *state;
	unsigned int id;
	char cmd[256];
	struct timespec a, b;

	logged(r, "libvirt: connected to");
	snprintf(cmd, sizeof(cmd), "kill -STOP $(pgrep -P %d vgrant-libvirt)", r->daemon);
	assert_int_equal(system(cmd), 0);
	id = guest(r, true);
	becomes(r, id, 70, "state", "2");
	clock_gettime(CLOCK_MONOTONIC, &a);
	answers(r, ATTACH("rng", LIVE), "libvirt has not answered for 10 s");
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true(b.tv_sec - a.tv_sec >= 9); /* it did wait */
	answers(r, "{\"cmd\":\"list\"}", "libvirt's metadata of web");
	/* It is well again: what was asked comes after all, once. */
	snprintf(cmd, sizeof(cmd), "kill -CONT $(pgrep -P %d vgrant-libvirt)", r->daemon);
	assert_int_equal(system(cmd), 0);
	becomes(r, id, 66, "vgrant-config", "rng,id=66");
	assert_null(key(r, id, 67, "vgrant-config"));
}

/* A driver that a libvirt does not have: told once, and the daemon serves. */
static void libvirt_is_not_there(void **state)
{
	struct rig *r = *state;
	unsigned int id;

	rig_daemon_stop(r, SIGTERM);
	rig_libvirt = "test:///nonexistent/node.xml";
	rig_daemon_start(r);
	rig_daemon_ready(r);
	write_xl(r);
	logged(r, "libvirt: not connected");
	id = guest(r, true);
	becomes(r, id, 90, "vgrant-config", "rng,id=90");
	/* What is for libvirt alone says what keeps it, in libvirt's words. */
	answers(r, "{\"cmd\":\"attach\",\"guest\":\"db\",\"device\":\"rng\"" CONFIG "}",
		"libvirt cannot be reached: ");
	answers(r, "{\"cmd\":\"attach\",\"guest\":\"db\",\"device\":\"rng\"" CONFIG "}",
		"nonexistent/node.xml");
	answers(r, "{\"cmd\":\"detach\",\"guest\":\"db\",\"id\":\"64\"" CONFIG "}",
		"libvirt cannot be reached: ");
	answers(r,
		"{\"cmd\":\"set\",\"guest\":\"db\",\"id\":\"64\",\"key\":\"packed\",\"value\":"
		"\"0\"" CONFIG "}",
		"libvirt cannot be reached: ");
}

int main(void)
{
#define T(f, b) cmocka_unit_test_setup_teardown(f, b, end)
	const struct CMUnitTest tests[] = {
		T(metadata_becomes_nodes, begin),	T(another_of_that_name, begin),
		T(a_file_that_comes_late, begin_empty), T(without_metadata, begin_empty),
		T(wrong_metadata, begin_wrong),		T(wrong_entries, begin_mistaken),
		T(the_guest_was_first, begin),		T(its_process_dies, begin),
		T(libvirt_is_not_there, begin),		T(libvirt_hangs, begin),
		T(its_process_dies_young, begin),	T(changes_go_through_libvirt, begin),
		T(events_say_what_is_plugged, begin),	T(events_say_what_is_plugged, begin_empty),
		T(settings_go_through_libvirt, begin),	T(changes_that_are_refused, begin),
		T(devices_keep_their_numbers, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
