// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_doctor.c - `vgrant doctor`: each thing that can be wrong, made on purpose, and nothing when all is well
 *
 * The vgrant that was built beside this test, on a fake Xen with a real vgrantd and guests; the kernel's
 * files are made up, below the world's folder. What can be broken in a real dom0 is broken there, too:
 * tests/xen/t/32-doctor.t.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "backend/base/container.h"
#include "tests/rigs/daemon_rig.h"
#include "xenstore/keys.h"

static char out[1 << 16]; /* what vgrant said */
static struct json_object *said;

/* ---- the kernel's files ------------------------------------------------- */

/* A file of the world's folder, with the folders that it is in; NULL: it is removed. */
static void put(const char *name, const char *text)
{
	char cmd[512], path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_XEN_DIR"), name);
	if (!text) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	snprintf(cmd, sizeof(cmd), "mkdir -p $(dirname %s)", path);
	assert_int_equal(system(cmd), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A dom0 as it should be. */
static int begin(void **state)
{
	int ret = rig_begin(state);

	put("root/sys/hypervisor/type", "xen\n");
	put("root/dev/xen/gntdev", "");
	put("root/dev/xen/evtchn", "");
	put("root/sys/module/xen_gntdev/parameters/limit", "65536\n");
	put("root/proc/sys/kernel/io_uring_disabled", "0\n");
	put("config", "CONFIG_X86=y\n");
	put("maptrack-frames", "1024");
	return ret;
}

static int end(void **state)
{
	json_object_put(said);
	said = NULL;
	return rig_end(state);
}

/* ---- vgrant ------------------------------------------------------------- */

/* Run `vgrant-fake ARGS`; its words are in out. Return: its exit code. */
static int vgrant(struct rig *r, const char *args)
{
	char cmd[512];
	int status;
	size_t n;
	FILE *p;

	snprintf(cmd, sizeof(cmd), "%s/vgrant-fake -s %s/run/control %s 2>&1",
		 getenv("VGRANT_BUILD") ? getenv("VGRANT_BUILD") : "build/asan", r->dir, args);
	p = popen(cmd, "r");
	assert_non_null(p);
	n = fread(out, 1, sizeof(out) - 1, p);
	out[n] = '\0';
	status = pclose(p);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static size_t n_findings(void)
{
	struct json_object *findings = NULL;

	assert_true(json_object_object_get_ex(said, "findings", &findings));
	return json_object_array_length(findings);
}

/* What it said last is as configs/vgrant.schema.json has it; see unit/schema.py. */
static void as_the_schema_says(struct rig *r)
{
	const char *build = getenv("VGRANT_BUILD");
	char cmd[512], path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/said", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(strchr(out, '{'), f);
	fclose(f);
	snprintf(cmd, sizeof(cmd), "python3 %s/../../tests/unit/schema.py doctor <%s >/dev/null",
		 build ? build : "build/asan", path);
	assert_int_equal(system(cmd), 0);
}

/* `vgrant doctor --json`. Return: its exit code. */
static int doctor(struct rig *r)
{
	int ret = vgrant(r, "doctor --json");
	const char *json = strchr(out, '{');

	json_object_put(said);
	said = json ? json_tokener_parse(json) : NULL;
	if (!said)
		fail_msg("vgrant doctor says: %s", out);
	assert_int_equal(ret, n_findings() ? 1 : 0);
	as_the_schema_says(r);
	return ret;
}

static const char *member(struct json_object *obj, const char *key)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(obj, key, &value) ? json_object_get_string(value) : "";
}

/* Asserts that there is a finding of @id, whose sentence has @what and whose mend has @mend. */
static void found(const char *id, const char *what, const char *mend)
{
	struct json_object *findings = NULL;

	assert_true(json_object_object_get_ex(said, "findings", &findings));
	for (size_t i = 0; i < json_object_array_length(findings); i++) {
		struct json_object *f = json_object_array_get_idx(findings, i);

		if (strcmp(member(f, "id"), id) == 0 && strstr(member(f, "what"), what) &&
		    strstr(member(f, "mend"), mend))
			return;
	}
	fail_msg("no finding %s with \"%s\" and \"%s\" in %s", id, what, mend, out);
}

/* And no other one. */
static void found_alone(const char *id, const char *what, const char *mend)
{
	found(id, what, mend);
	if (n_findings() != 1)
		fail_msg("there are more findings than %s: %s", id, out);
}

/* ---- tests -------------------------------------------------------------- */

static void all_is_well(void **state)
{
	struct rig *r = *state;
	char args[32];

	assert_int_equal(doctor(r), 0);
	rig_connected(r, 0);
	rig_connected(r, 1);
	put("grant-frames.1", "64");
	put("grant-frames.2", "64");
	if (doctor(r))
		fail_msg("a healthy dom0 has findings: %s", out);
	assert_string_equal(member(said, "guests"), "2");
	assert_string_equal(member(said, "devices"), "2");
	assert_int_equal(vgrant(r, "doctor"), 0);
	assert_string_equal(out, "0 findings; looked at this domain, 2 guests and 2 devices\n");
	snprintf(args, sizeof(args), "doctor %u", r->guest[1].id);
	assert_int_equal(vgrant(r, args), 0);
	assert_string_equal(out, "0 findings; looked at this domain, 1 guest and 1 device\n");
	assert_int_equal(vgrant(r, "doctor nobody"), 1);
	assert_non_null(strstr(out, "there is no guest 'nobody': xl list shows those that run"));
	assert_int_equal(vgrant(r, "doctor a b"), 2);
}

static void a_finding_is_a_line(void **state)
{
	struct rig *r = *state;

	put("root/dev/xen/gntdev", NULL);
	assert_int_equal(vgrant(r, "doctor"), 1);
	assert_non_null(strstr(out,
			       "this domain: /dev/xen/gntdev is not there; no guest's memory can "
			       "be reached. Mend: boot a kernel with CONFIG_XEN_GNTDEV"));
	assert_non_null(strstr(out, "\n1 finding; looked at this domain"));
}

static void devices_of_the_kernel(void **state)
{
	struct rig *r = *state;
	char deps[400], path[256];
	struct utsname u;

	assert_int_equal(uname(&u), 0);
	snprintf(deps, sizeof(deps), "root/lib/modules/%s/modules.dep", u.release);
	put(deps, "kernel/drivers/xen/xen-evtchn.ko.xz:\n");
	put("root/dev/xen/evtchn", NULL);
	doctor(r);
	found_alone("device-missing", "/dev/xen/evtchn is not there",
		    "modprobe xen-evtchn, and put");
	put("root/dev/xen/evtchn", "");
	put("root/dev/xen/gntdev", NULL);
	doctor(r);
	found_alone("device-missing", "/dev/xen/gntdev is not there",
		    "boot a kernel with CONFIG_XEN_GNTDEV");
	/* Neither there nor missing. */
	snprintf(path, sizeof(path), "%s/root/dev/xen/gntdev", getenv("FAKE_XEN_DIR"));
	assert_int_equal(symlink(path, path), 0);
	doctor(r);
	found_alone("device-permission", "/dev/xen/gntdev cannot be opened: Too many levels",
		    "ls -l");
}

static void settings_of_the_kernel(void **state)
{
	struct rig *r = *state;

	put("root/sys/module/xen_gntdev/parameters/limit", "64\n");
	doctor(r);
	found_alone("gntdev-limit", "maps 64 grants at a time, and vgrantd may ask for 8192",
		    "echo 65536 >/sys/module/xen_gntdev/parameters/limit");
	put("root/sys/module/xen_gntdev/parameters/limit", "8192\n");
	put("root/proc/sys/kernel/io_uring_disabled", "2\n");
	doctor(r);
	found_alone("io-uring", "lets nobody use io_uring", "sysctl kernel.io_uring_disabled=0");
	put("root/proc/sys/kernel/io_uring_disabled", "1\n");
	assert_int_equal(doctor(r), 0);
}

static void xen(void **state)
{
	struct rig *r = *state;

	/* 32768 + 65536 pages of one guest; 256 mappings a frame. */
	put("maptrack-frames", "384");
	assert_int_equal(doctor(r), 0);
	put("maptrack-frames", "383");
	doctor(r);
	found_alone("maptrack",
		    "98304 pages mapped (guest-mapped-pages, guest-picture-pages), and Xen "
		    "lets a domain map 98048",
		    "gnttab_max_maptrack_frames=768");
	put("maptrack-frames", NULL);
	assert_int_equal(doctor(r), 0);
	put("root/sys/hypervisor/type", "kvm\n");
	doctor(r);
	found_alone("no-xen", "it does not run on Xen", "with Xen hypervisor");
}

static void no_xenstored(void **state)
{
	struct rig *r = *state;
	char was[256];

	/* A process of the fake without a world finds no xenstored. */
	snprintf(was, sizeof(was), "%s", getenv("FAKE_XEN_DIR"));
	setenv("FAKE_XEN_DIR", r->dir, 1);
	put("root/sys/hypervisor/type", "xen\n");
	put("root/dev/xen/gntdev", "");
	put("root/dev/xen/evtchn", "");
	doctor(r);
	setenv("FAKE_XEN_DIR", was, 1);
	found_alone("xenstored", "xenstored cannot be reached: No such file",
		    "systemctl status xenstored");
}

static void no_vgrantd(void **state)
{
	struct rig *r = *state;

	rig_guest(r, 0);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	doctor(r);
	found_alone("vgrantd", "vgrantd does not run", "systemctl start vgrantd");
	/* What its guests should have is known without it. */
	assert_string_equal(member(said, "devices"), "1");
}

static void few_descriptors(void **state)
{
	const struct rlimit few = { 40, 40 };
	struct rig *r = *state;

	assert_int_equal(prlimit(r->daemon, RLIMIT_NOFILE, &few, NULL), 0);
	doctor(r);
	found_alone("descriptors", "vgrantd may open 40 files, and its devices need up to 48",
		    "systemctl edit vgrantd");
}

static void rights_in_xenstore(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct xs_permissions none = { .id = 0, .perms = XS_PERM_NONE };
	struct xs_permissions theirs[2] = { { .id = 0, .perms = XS_PERM_NONE },
					    { .id = g->id, .perms = XS_PERM_READ } };
	struct xs_permissions anyone = { .id = 0, .perms = XS_PERM_READ };
	char path[128], what[160], mend[160];

	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/64/state", g->id);
	assert_true(xs_set_permissions(fx_xs(r->w), XBT_NULL, path, &none, 1));
	doctor(r);
	snprintf(what, sizeof(what), "domain %u may not read %s", g->id, path);
	snprintf(mend, sizeof(mend),
		 "xenstore-chmod -r /local/domain/0/backend/virtio/%u/64 n0 r%u", g->id, g->id);
	found_alone("xenstore-permission", what, mend);
	/* Who is not named has what the owner's letter says. */
	assert_true(xs_set_permissions(fx_xs(r->w), XBT_NULL, path, &anyone, 1));
	assert_int_equal(doctor(r), 0);
	assert_true(xs_set_permissions(fx_xs(r->w), XBT_NULL, path, theirs, 2));
	assert_int_equal(doctor(r), 0);
	snprintf(path, sizeof(path), "/local/domain/%u/device/virtio/64", g->id);
	assert_true(xs_set_permissions(fx_xs(r->w), XBT_NULL, path, theirs, 2));
	doctor(r);
	snprintf(what, sizeof(what), "domain %u may not write %s", g->id, path);
	snprintf(mend, sizeof(mend), "xenstore-chmod -r %s n%u r0", path, g->id);
	found_alone("xenstore-permission", what, mend);
}

static void nobody_serves(void **state)
{
	static const char *const keys[] = { VG_KEY_CONFIG, "rng", NULL };
	struct rig *r = *state;
	unsigned int storage;

	rig_domain(r, 0);
	assert_int_equal(fx_domain_create(r->w, NULL, &storage), 0);
	assert_int_equal(fx_add_device(r->w, r->guest[0].id, "virtio", 70, storage, keys), 0);
	doctor(r);
	found_alone("unserved", "nobody serves its device 70: it waits for domain ",
		    "start vgrantd in that domain");
}

static void grant_tables(void **state)
{
	struct rig *r = *state;
	char spec[400];

	rig_domain(r, 0);
	rig_image(r->guest[0].image, RIG_SECTORS, 0);
	snprintf(spec, sizeof(spec), "blk,target=%s,queues=2,queue-size=128", r->guest[0].image);
	rig_nodes(r, 0, spec);
	/* 2 x (128 + 1 + 2) + 1, and 8 of Xen's: 271. */
	put("grant-frames.1", "1");
	assert_int_equal(doctor(r), 0);
	snprintf(spec, sizeof(spec), "blk,target=%s,queues=4,queue-size=128", r->guest[0].image);
	assert_int_equal(fx_xs_write(fx_xs(r->w),
				     "/local/domain/0/backend/virtio/1/64/" VG_KEY_CONFIG, "%s",
				     spec),
			 0);
	doctor(r);
	found_alone("grants",
		    "it can grant 512 pages (max_grant_frames of 1), and its devices need 533: 64 "
		    "blk 525",
		    "max_grant_frames = 3 into its configuration");
	put("grant-frames.1", "2");
	assert_int_equal(doctor(r), 0);
	/* 1920 x 1080 pixels of 4 bytes, and as many of a second monitor. */
	assert_int_equal(fx_xs_write(fx_xs(r->w),
				     "/local/domain/0/backend/virtio/1/64/" VG_KEY_CONFIG,
				     "gpu,mode=1920x1080,heads=2"),
			 0);
	doctor(r);
	found_alone("grants", "64 gpu 4311", "max_grant_frames = 10");
	assert_int_equal(fx_xs_write(fx_xs(r->w),
				     "/local/domain/0/backend/virtio/1/64/" VG_KEY_CONFIG,
				     "net,queues=2"),
			 0);
	doctor(r);
	found_alone("grants", "64 net 1553", "max_grant_frames = 5");
}

/* What `vgrant check` finds in the file that a guest's devices are from. */
static void the_configuration(void **state)
{
	struct rig *r = *state;
	char file[160], what[300];
	FILE *f;

	rig_connected(r, 0);
	snprintf(file, sizeof(file), "%s/web.cfg", r->dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fprintf(f, "name = 'web'\nvgrant = [ 'blk,target=%s',\n 'rng,backend=storage' ]\n",
		r->guest[0].image);
	fclose(f);
	chmod(file, 0600);
	assert_int_equal(fx_xs_write(fx_xs(r->w),
				     "/local/domain/0/backend/virtio/1/64/" VG_KEY_FILE, "%s",
				     file),
			 0);
	put("config", "CONFIG_ARM=y\nCONFIG_XSM_SILO=y\nCONFIG_XSM_SILO_DEFAULT=y\n");
	put("commandline", "console=dtuart");
	doctor(r);
	snprintf(what, sizeof(what),
		 "%s:3:3: vgrant entry 'rng,backend=storage': this machine's Xen runs "
		 "with XSM's SILO",
		 file);
	found("configuration", what, "vgrant check ");
	found("configuration", "for backend=storage add xsm=dummy to Xen's command line", file);
	unlink(file);
	doctor(r);
	found("configuration", "No such file or directory", "vgrant check ");
}

/* Of a guest without devices only who asks about it is told why. */
static void a_guest_without_devices(void **state)
{
	const struct fx_domain_config cfg = { .name = "bare" };
	struct rig *r = *state;
	unsigned int id;

	assert_int_equal(fx_domain_create(r->w, &cfg, &id), 0);
	assert_int_equal(doctor(r), 0);
	vgrant(r, "doctor bare");
	assert_non_null(
		strstr(out, "guest bare: no file in /etc/xen/auto, /etc/xen says name = \"bare\""));
	assert_non_null(strstr(out, "1 finding; looked at this domain, 1 guest and 0 devices"));
}

static void a_device_that_failed(void **state)
{
	struct rig *r = *state;

	rig_domain(r, 0);
	rig_nodes(r, 0, "blk,target=/nothing/here");
	assert_true(rig_logs(r, "/nothing/here"));
	doctor(r);
	found_alone("device-failed", "/nothing/here", "systemctl reload vgrantd");
	vgrant(r, "doctor");
	assert_non_null(strstr(out, "device virtio/64 of "));
}

#define WITH_RIG(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(all_is_well),
		WITH_RIG(a_finding_is_a_line),
		WITH_RIG(devices_of_the_kernel),
		WITH_RIG(settings_of_the_kernel),
		WITH_RIG(xen),
		WITH_RIG(no_xenstored),
		WITH_RIG(no_vgrantd),
		WITH_RIG(few_descriptors),
		WITH_RIG(rights_in_xenstore),
		WITH_RIG(nobody_serves),
		WITH_RIG(grant_tables),
		WITH_RIG(the_configuration),
		WITH_RIG(a_guest_without_devices),
		WITH_RIG(a_device_that_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
