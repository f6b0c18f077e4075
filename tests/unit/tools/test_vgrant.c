// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vgrant.c - the command line, as a user meets it: words, tables, exit codes
 *
 * The vgrant that was built beside this test is run against a control socket
 * with devices made up here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/capture.h"
#include "backend/base/container.h"
#include "backend/control/control.h"
#include "tests/rigs/tool_rig.h"

/* ---- a daemon with two guests ------------------------------------------- */

static bool attached, detached;
static char image_config[128]; /* of a disk that is there */

static void do_list(void *ctx, struct vg_control_req *req, const char *guest)
{
	struct vg_control_queue queues[] = { { .index = 0, .size = 256, .running = true },
					     { .index = 1, .size = 128, .packed = true } };
	struct vg_control_device dev = {
		.guest = "web",
		.domid = 7,
		.kind = "virtio",
		.id = 64,
		.type = "blk",
		.virtio_id = 2,
		.state = VG_CONTROL_CONNECTED,
		.config = "blk,target=/srv/web.img",
		.file = "/etc/xen/web.cfg",
		.queues = queues,
		.n_queues = 2,
		.stats = { .requests = 1234, .bytes_read = 1288490189, .bytes_written = 512 },
		.hyper = { .copy_calls = 77,
			   .copied_bytes = 1 << 20,
			   .maps = 3,
			   .mapped_pages = 259 },
		.worker = 4321,
		.uptime_ns = 192500000000,
		.detail = "cache=on",
	};
	struct vg_control_device bad = {
		.guest = "db\x1b[31m",
		.domid = 8,
		.kind = "virtio_disk",
		.id = 51712,
		.type = "blk",
		.state = VG_CONTROL_FAILED,
		.config = "blk",
		.origin = VG_CONTROL_FROM_DISK,
		.error = "/srv/db cannot be opened: No such file",
	};

	(void)ctx;
	if (!guest) /* not in the order that people want */
		vg_control_list_add(req, &bad);
	if (!detached && (!guest || vg_control_is_guest(guest, "web", 7)))
		vg_control_list_add(req, &dev);
	if (guest && vg_control_is_guest(guest, "cards", 9)) {
		struct vg_control_device card = {
			.guest = "cards",
			.domid = 9,
			.kind = "virtio",
			.id = 64,
			.type = "net",
			.origin = VG_CONTROL_FROM_LIBVIRT,
			.config = "net,bridge=br0",
			.detail = "vif9.64=up 00:16:3e:01:02:03 mtu=1500 pairs=1/1",
		};

		vg_control_list_add(req, &card);
		card.id = 65;
		card.config = "net,tap=mine,mac=00:16:3e:00:00:01";
		card.detail = NULL;
		vg_control_list_add(req, &card);
		card.id = 67;
		card.config = "net,script=vgrant-openvswitch,bridge=ovs0.5:6,mac=00:16:3e:00:00:03";
		vg_control_list_add(req, &card);
		card.id = 69;
		card.config = "net,bridge=ovs1.5:6,mac=00:16:3e:00:00:05";
		vg_control_list_add(req, &card);
		card.id = 70;
		card.config = "net,macvtap=eth7,mac=00:16:3e:00:00:06";
		card.detail = "vif9.70=up 00:16:3e:00:00:06 mtu=1500 pairs=1/1";
		vg_control_list_add(req, &card);
		card.detail = NULL;
		card.id = 68;
		card.config = "net,script=vgrant-route,ip=10.0.0.2,mac=00:16:3e:00:00:04";
		vg_control_list_add(req, &card);
		dev.id = 66;
		dev.config = image_config;
		vg_control_list_add(req, &dev);
	}
	if (guest && vg_control_is_guest(guest, "slow", 11)) {
		dev.guest = "slow";
		dev.domid = 11;
		dev.error = "/srv/web.img fails: Input/output error";
		dev.offered = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(9) | VG_FEATURE(13);
		dev.negotiated = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(9);
		dev.restarts = 2;
		dev.stats.errors = 3;
		dev.stats.faults = 1;
		dev.stats.failed[VG_FAILED_IO] = 2;
		dev.stats.failed[VG_FAILED_SPACE] = 1;
		dev.stats.kicks = 617;
		dev.stats.latency[VG_OP_READ] =
			(struct vg_latency){ .ns = 200000000,
					     .count = { [7] = 800, [8] = 199, [23] = 1 } };
		vg_control_list_add(req, &dev);
		dev.id = 65;
		dev.state = VG_CONTROL_WAITING;
		dev.error = NULL;
		vg_control_list_add(req, &dev);
	}
	if (guest && vg_control_is_guest(guest, "screens", 10)) {
		struct vg_control_device gpu = {
			.guest = "screens",
			.domid = 10,
			.kind = "virtio",
			.id = 64,
			.type = "gpu",
			.config = "gpu,heads=2",
			.detail = "shows=nothing+nothing display=yes vnc=127.0.0.1:5903 viewers=0",
		};

		vg_control_list_add(req, &gpu);
		gpu.config = "gpu";
		gpu.detail = "shows=nothing display=yes vnc=/run/vnc viewers=0";
		vg_control_list_add(req, &gpu);
		gpu.detail = "shows=nothing display=yes vnc=off";
		vg_control_list_add(req, &gpu);
		gpu.detail = "its display: vnc=nowhere: it is no place";
		vg_control_list_add(req, &gpu);
	}
	if (attached && (!guest || vg_control_is_guest(guest, "web", 7))) {
		dev.id = 65;
		dev.state = VG_CONTROL_WAITING;
		vg_control_list_add(req, &dev);
	}
	vg_control_ok(req);
}

static void do_attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	struct vg_err err;

	(void)ctx;
	if (strcmp(guest, "web") != 0 || strcmp(spec, "rng") != 0) {
		vg_control_fail(req, vg_fail(&err, -ENOENT, "there is no guest '%s'", guest), &err);
		return;
	}
	attached = true;
	vg_control_add_uint(req, "id", 65);
	vg_control_ok(req);
}

static void do_detach(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	(void)ctx;
	detached = t->id == 64;
	vg_control_ok(req);
}

static void do_set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		   const char *key, const char *value)
{
	struct vg_err err;

	(void)ctx, (void)t;
	if (strcmp(key, "rate") == 0 && strcmp(value, "a=b") == 0)
		vg_control_ok(req);
	else
		vg_control_fail(req, vg_fail(&err, -EINVAL, "no key %s", key), &err);
}

static void do_trace(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	(void)ctx, (void)t;
	vg_control_line(req, "(1.0) can0 123#00");
	vg_control_line(req, "(1.1) can0 123#01");
	vg_control_ok(req);
}

/* Two packets, of which the first is cut short, and some that do not concern us. */
static void do_capture(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		       int fd)
{
	struct {
		struct vg_capture_head head;
		char data[8];
	} m = { .head = { .ns = 1234567890123456789, .link = VG_CAPTURE_ETHERNET, .len = 100 },
		.data = "abcdefg" };
	struct vg_err err;

	(void)ctx;
	if (fd < 0 || t->id != 64) {
		vg_control_fail(req, vg_fail(&err, -ENOENT, "there is no device %u", t->id), &err);
	} else {
		send(fd, &m, sizeof(m), 0);
		m.head.len = 1;
		m.head.lost = 3;
		m.data[0] = 'X';
		send(fd, &m, sizeof(m.head) + 1, 0);
		send(fd, "short", 5, 0);
		m.head = (struct vg_capture_head){ .link = 77, .lost = 4 };
		send(fd, &m, sizeof(m), 0);
		vg_control_ok(req);
	}
	if (fd >= 0)
		close(fd);
}

static void do_show_config(void *ctx, FILE *f)
{
	(void)ctx;
	fprintf(f, "[daemon]\n");
}

static const struct vg_control_ops ops = {
	.list = do_list,
	.attach = do_attach,
	.detach = do_detach,
	.set = do_set,
	.trace = do_trace,
	.capture = do_capture,
	.show_config = do_show_config,
};

static int write_image(void)
{
	char image[96];
	int fd, ret;

	snprintf(image, sizeof(image), "%s/image", dir);
	fd = open(image, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ret = fd < 0 ? -1 : ftruncate(fd, 1 << 20);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int make_dir(void **state)
{
	(void)state;
	if (tool_begin(&ops) < 0)
		return -1;
	snprintf(image_config, sizeof(image_config), "blk,target=%s/image", dir);
	return write_image();
}

static int remove_dir(void **state)
{
	(void)state;
	return tool_end();
}

/* ---- tests -------------------------------------------------------------- */

static void without_a_daemon_it_says_what_to_do(void **state)
{
	(void)state;
	assert_int_equal(run("list"), 3);
	assert_out("vgrantd is not running (nobody listens at ");
	assert_out("systemctl start vgrantd");
	assert_int_equal(run("version"), 3);
	assert_out("vgrant ");
}

static void wrong_usage_is_told(void **state)
{
	(void)state;
	assert_int_equal(run(""), 2);
	assert_out("no command given");
	assert_int_equal(run("dance"), 2);
	assert_out("there is no command 'dance'; `vgrant help` lists them");
	assert_int_equal(run("list --jason"), 2);
	assert_int_equal(run("list a b"), 2);
	assert_out("usage: vgrant list [GUEST]");
	assert_int_equal(run("attach web"), 2);
	assert_int_equal(run("detach --json web 0"), 2);
	assert_out("detach takes no option -j");
	assert_int_equal(run("set web 0 rate"), 2);
	assert_out("'rate' should be KEY=VALUE");
	assert_int_equal(run("help nonsense"), 2);
}

static void help_needs_no_daemon(void **state)
{
	(void)state;
	assert_int_equal(run("help"), 0);
	assert_out("attach GUEST DEVICE");
	assert_out("  rng ");
	assert_int_equal(run("help list"), 0);
	assert_out("--json");
	assert_int_equal(run("list --help"), 0);
	assert_out("usage: vgrant list [GUEST]");
	assert_int_equal(run("help rng"), 0);
	assert_out("vgrant = [ 'rng' ]");
	assert_out("Keys of every device:");
	assert_int_equal(run("--version"), 0);
}

static void the_table_is_aligned(void **state)
{
	(void)state;
	assert_int_equal(run("list"), 0);
	assert_string_equal(
		out,
		"GUEST                   ID  TYPE  STATE      QUEUES    REQUESTS     READ  WRITTEN"
		"  ERRORS     UP  CONFIG\n"
		"web                     64  blk   connected  1/2 x256      1234  1.2 GiB    512 B"
		"       0  3m12s  target=/srv/web.img\n"
		"db?[31m  virtio_disk/51712  blk   failed     -                0      0 B      0 B"
		"       0     0s\n"
		"         /srv/db cannot be opened: No such file\n");
	/* Once for all devices of a guest. */
	assert_int_equal(run("list cards"), 0);
	assert_out("\ncards: from libvirt's metadata, which counts before a file of xl's\n");
	assert_null(strstr(strstr(out, "cards: from") + 1, "cards: from"));
}

static void list_has_forms_for_programs_and_for_the_curious(void **state)
{
	struct json_object *obj;

	(void)state;
	assert_int_equal(run("list --brief"), 0);
	assert_string_equal(out, "web\tvirtio/64\tblk\tconnected\n"
				 "db?[31m\tvirtio_disk/51712\tblk\tfailed\n");
	assert_int_equal(run("list --json web"), 0);
	obj = json_tokener_parse(out);
	assert_non_null(obj);
	assert_int_equal(json_object_object_length(obj), 1);
	json_object_put(obj);
	assert_schema("list");
	assert_int_equal(run("list -v web"), 0);
	assert_out("web (domain 7), device virtio/64: blk, connected; here for 3m12s");
	assert_out("origin     config /etc/xen/web.cfg");
	assert_out("xen        77 grant copies of 1.0 MiB, 3 maps of 259 pages");
	assert_out("queue 0    running, split of 256");
	assert_out("queue 1    stopped, packed of 128");
	assert_out("device     cache=on");
	assert_int_equal(run("list nobody"), 1);
	assert_out("vgrantd has no device of a guest nobody");
}

static void a_device_in_sentences(void **state)
{
	(void)state;
	assert_int_equal(run("show slow 64"), 0);
	assert_out("Device virtio/64 of slow (domain 11): blk, connected, here for 3m12s.\n"
		   "  WRONG: /srv/web.img fails: Input/output error.\n"
		   "  A driver uses it.\n"
		   "  Settings: blk,target=/srv/web.img\n"
		   "    from the guest's xl configuration /etc/xen/web.cfg\n"
		   "  The device says: cache=on\n"
		   "  Its worker is process 4321; 2 before it died, and vgrantd's log says how.\n"
		   "  The driver uses VERSION_1 BLK_FLUSH.\n"
		   "  It was offered, and does not use, BLK_DISCARD.\n"
		   "  Queue 0 runs: split, 256 entries; ");
	assert_out("  It has done 1234 requests: 1.2 GiB read, 512 B written. 3 ended with an "
		   "error. Of "
		   "them: 2 I/O errors, 1 for want of space.\n"
		   "  WRONG: the guest broke the rules 1 time; vgrantd's log says how.\n");
	assert_out("  A request costs 0.50 kicks, 0.00 interrupts and 0.00 hypercalls; Xen copied "
		   "1.0 MiB.\n");
	assert_out("  How long each read took: 200 us on average of 1000.\n"
		   "    <  128 us |########################################| 800\n"
		   "    <  256 us |##########                              | 199\n"
		   "    <  512 us |                                        | 0\n");
	assert_out("    >    4 s  |#                                       | 1\n");
	assert_not_out("virtio/65");
	assert_int_equal(run("show slow"), 0);
	assert_out("\n\nDevice virtio/65 of slow");
	assert_out("no driver of the guest's has connected");
	assert_int_equal(run("show --json slow virtio/65"), 0);
	assert_schema("list");
	assert_out("\"virtio/65\"");
	assert_not_out("\"virtio/64\"");
	assert_int_equal(run("show slow 99"), 1);
	assert_out("slow has no device 99: vgrant list shows what there is");
	assert_int_equal(run("show nobody"), 1);
	assert_out("nobody has no device: vgrant list");
	assert_int_equal(run("show"), 2);
}

static void write_file(const char *name, const char *text)
{
	char file[128];
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* See unit/completion.bash. */
static void completion_in_bash_and_zsh(void **state)
{
	const char *build = getenv("VGRANT_BUILD");
	char cmd[PATH_MAX], script[PATH_MAX + 128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "%s/bin", dir);
	assert_int_equal(mkdir(cmd, 0755), 0);
	snprintf(script, sizeof(script), "#!/bin/sh\nexec %s -s %s \"$@\"\n", vgrant, path);
	write_file("bin/vgrant", script);
	snprintf(cmd, sizeof(cmd),
		 "chmod 755 %s/bin/vgrant && PATH=%s/bin:$PATH %s/../../tests/unit/completion.bash",
		 dir, dir, build ? build : "build/asan");
	assert_int_equal(system(cmd), 0);
}

/*
 * What vgrant(8) says of exit statuses: 0 done, 1 refused or failed, 2 wrong usage, 3 no vgrantd. Of
 * every command, without a vgrantd and with wrong arguments; what else fails has its own tests.
 */
static void exit_statuses(void **state)
{
	static const struct {
		const char *args;
		int status; /* without a vgrantd */
	} commands[] = {
		{ "list", 3 },
		{ "show web", 3 },
		{ "top --once", 3 },
		{ "events", 3 },
		{ "attach web rng", 3 },
		{ "detach web 64", 3 },
		{ "set web 64 a=b", 3 },
		{ "resize web 64 1G", 3 },
		{ "trace web 64", 3 },
		{ "capture web 64", 3 },
		{ "console web", 3 },
		{ "domblklist web", 3 },
		{ "domblkinfo web 64", 3 },
		{ "domiflist web", 3 },
		{ "domdisplay web", 3 },
		{ "screenshot web -", 3 },
		{ "metrics", 3 },
		{ "show-config", 3 },
		{ "log-level debug", 3 },
		{ "shutdown", 3 },
		{ "version", 3 },
		{ "help", 0 },
		{ "schema", 0 },
		{ "check /nonexistent", 1 },
		{ "convert /nonexistent", 1 },
	};
	char args[64];

	(void)state;
	for (size_t i = 0; i < COUNT(commands); i++) {
		if (run(commands[i].args) != commands[i].status)
			fail_msg("vgrant %s does not end with %d: %s", commands[i].args,
				 commands[i].status, out);
		/* One more option than there is, and more arguments than any command takes. */
		snprintf(args, sizeof(args), "%.*s --nonsense", (int)strcspn(commands[i].args, " "),
			 commands[i].args);
		assert_int_equal(run(args), 2);
		snprintf(args, sizeof(args), "%.*s a b c d e f g -j -b",
			 (int)strcspn(commands[i].args, " "), commands[i].args);
		assert_int_equal(run(args), 2);
	}
}

static void disks_in_virshs_columns(void **state)
{
	(void)state;
	assert_int_equal(run("domblklist web"), 0);
	assert_string_equal(out, " Target      Source\n"
				 "---------------------------\n"
				 " virtio/64   /srv/web.img\n");
	assert_int_equal(run("domblklist"), 2);
}

static void cards_in_virshs_columns(void **state)
{
	(void)state;
	assert_int_equal(run("domiflist cards"), 0);
	assert_string_equal(out, " Interface   Type       Source   Model    MAC\n"
				 "-------------------------------------------------------------\n"
				 " vif9.64     bridge     br0      virtio   00:16:3e:01:02:03\n"
				 " -           ethernet   -        virtio   00:16:3e:00:00:01\n"
				 " -           bridge     ovs0     virtio   00:16:3e:00:00:03\n"
				 " -           bridge     ovs1     virtio   00:16:3e:00:00:05\n"
				 " vif9.70     direct     eth7     virtio   00:16:3e:00:00:06\n"
				 " -           ethernet   -        virtio   00:16:3e:00:00:04\n");
	assert_int_equal(run("domiflist web"), 0);
	assert_string_equal(out, " Interface   Type   Source   Model   MAC\n"
				 "------------------------------------------\n");
}

static void displays_as_virsh_has_them(void **state)
{
	(void)state;
	assert_int_equal(run("domdisplay screens"), 0);
	assert_string_equal(out, "vnc://127.0.0.1:3\n"
				 "vnc://127.0.0.1:4\n"
				 "vnc+unix:///run/vnc\n");
	assert_int_equal(run("domdisplay web"), 1);
	assert_out("web has no GPU that is shown");
}

static void sizes_of_a_disk(void **state)
{
	char image[96], command[128];

	(void)state;
	snprintf(image, sizeof(image), "%s/image", dir);
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "domblkinfo cards %s", i ? image : "virtio/66");
		assert_int_equal(run(command), 0);
		assert_string_equal(out, "Capacity:       1048576\n"
					 "Allocation:     0\n"
					 "Physical:       1048576\n");
	}
	assert_int_equal(run("domblkinfo cards virtio/64"), 1); /* a network card */
	assert_out("cards has no disk virtio/64");
	assert_int_equal(run("domblkinfo web 64"), 1);
	assert_out("/srv/web.img: No such file or directory");
	assert_int_equal(run("domblkinfo web 99"), 1);
	assert_out("web has no disk 99");
}

static void a_disk_becomes_larger(void **state)
{
	char image[96], command[160];
	struct stat st;

	(void)state;
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(command, sizeof(command), "resize cards %s 2M", image);
	assert_int_equal(run(command), 0);
	assert_int_equal(stat(image, &st), 0);
	assert_int_equal(st.st_size, 2 << 20);
	assert_int_equal(run("resize cards virtio/66 2M"), 0); /* it is so already */
	assert_int_equal(run("resize cards virtio/66 1M"), 1);
	assert_out("cannot become smaller");
	assert_int_equal(run("resize cards virtio/66 3000000"), 2);
	assert_out("multiple of 4096");
	assert_int_equal(run("resize cards virtio/66 large"), 2);
	assert_out("SIZE must be a number of bytes");
	assert_int_equal(run("resize cards virtio/64 2M"), 1);
	assert_out("cards has no disk virtio/64");
	assert_int_equal(run("resize web 64 2M"), 1);
	assert_out("/srv/web.img: No such file or directory");
	assert_int_equal(stat(image, &st), 0);
	assert_int_equal(st.st_size, 2 << 20);
}

static void attach_waits_for_the_device_to_be_opened(void **state)
{
	(void)state;
	assert_int_equal(run("attach web rng"), 0);
	assert_out("device 65 of web: waiting");
	assert_int_equal(run("attach nobody rng"), 1);
	assert_out("vgrant: there is no guest 'nobody'");
}

static void detach_waits_for_the_device_to_go(void **state)
{
	(void)state;
	assert_int_equal(run("detach web 64"), 0);
	assert_string_equal(out, "");
	assert_int_equal(run("detach web x"), 1);
	assert_out("as `vgrant list` shows them");
}

static void other_commands_reach_the_daemon(void **state)
{
	(void)state;
	assert_int_equal(run("set web 0 rate=a=b"), 0);
	assert_int_equal(run("set web 0 colour=red"), 1);
	assert_out("no key colour");
	assert_int_equal(run("trace web 0"), 0);
	assert_string_equal(out, "(1.0) can0 123#00\n(1.1) can0 123#01\n");
	assert_int_equal(run("show-config"), 0);
	assert_string_equal(out, "[daemon]\n");
	assert_int_equal(run("version"), 0);
	assert_out("vgrantd 9.9");
	assert_int_equal(run("log-level debug"), 1);
	assert_out("this vgrantd cannot do that");
}

static void a_full_disk_is_no_success(void **state)
{
	(void)state;
	assert_int_equal(run("list --json >/dev/full"), 1);
}

static void an_ordinary_user_is_told_why_not(void **state)
{
	char cmd[8192];

	(void)state;
	if (geteuid() != 0)
		skip();
	/* The test's folder is closed to others: no permission to connect. */
	snprintf(cmd, sizeof(cmd),
		 "cp %s %s/v && chmod 711 %s && setpriv --reuid 65534 --clear-groups %s/v -s %s "
		 "list "
		 ">%s/out 2>&1",
		 vgrant, dir, dir, dir, path, dir);
	assert_int_equal(WEXITSTATUS(system(cmd)), 3);
	assert_int_equal(run("help"), 0);
	snprintf(cmd, sizeof(cmd), "grep -q 'only root may talk to vgrantd' %s/out", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(chmod(path, 0600), 0);
	snprintf(cmd, sizeof(cmd),
		 "setpriv --reuid 65534 --clear-groups %s/v -s %s list >%s/out 2>&1", dir, path,
		 dir);
	assert_int_equal(WEXITSTATUS(system(cmd)), 3);
	snprintf(cmd, sizeof(cmd), "grep -q 'you may not talk to vgrantd' %s/out", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(chmod(path, 0666), 0);
}

static int check(const char *text)
{
	char args[128];

	write_file("x.cfg", text);
	snprintf(args, sizeof(args), "check %s/x.cfg", dir);
	return run(args);
}

static void check_finds_mistakes(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "vgrant = [ 'rng' ]\n", "mistake: it has no name" },
		{ "name='x'\nvgrant = [ 'warp' ]\n", "there is no device \"warp\"; there are " },
		{ "name='x'\nvgrant = [ 'rng,x' ]\n", "rng has no key \"x\"" },
		{ "name='x'\nvgrant = [ 'blk' ]\n", "blk needs target=" },
		{ "name='x'\nvgrant = [ 'blk,target=/tmp' ]\n", "/tmp is a folder" },
		{ "name='x'\nvgrant = [ 'blk,target=/n,readonly', 'blk,target=/n' ]\n",
		  "/n stands in two vgrant entries" },
		{ "name='x'\nvgrant = [ 'rng,id=0' ]\nvirtio = [ 'type=virtio,device2,"
		  "transport=mmio' ]\n",
		  "which is another device" },
		{ "name='x'\nvirtio = [ 'type=virtio,device2,target=/x' ]\n",
		  "xl knows no \"target\"" },
		{ "name='x\n", "config parsing error" },
		{ "name='x'\nvgrant = [ 'rng',\n  'blk,readonly,target=d.img' ]\n",
		  "x.cfg:3:17: mistake: vgrant entry 'blk,readonly,target=d.img': target must be a "
		  "path" },
		{ "name='x'\nvgrant = [ 'blk,target=~/d.img' ]\n", "x.cfg:2:17: mistake" },
		{ "name='x'\nvgrant = [ 'blk,target=$HOME/d.img' ]\n",
		  "what the variable stands for" },
		{ "name='x'\nvgrant = [ 'blk,target=phy:/dev/x' ]\n", "xl's phy:" },
		{ "name='x'\nvgrant = [ 'blk,target=file:/x' ]\n", "xl's file:" },
		{ "name='x'\nvgrant = [ 'net,ip=10.0.0.2+web' ]\n", "ip=: \"web\" is no address" },
		{ "name='x'\nvgrant = [ 'net,mac=01:16:3e:00:00:01' ]\n", "multicast" },
		{ "name='x'\nvgrant = [ 'net,rate=fast' ]\n", "rate=fast" },
		{ "name='x'\nvgrant = [ 'gpu,mode=800x600+640x480' ]\n",
		  "mode=800x600+640x480 names 2 heads" },
		{ "name='x'\nvgrant = [ 'gpu,vnc=nowhere' ]\n",
		  "x.cfg:2:17: mistake: vgrant entry 'gpu,vnc=nowhere': vnc=nowhere: it is off, " },
		{ "name='x'\nvgrant = [ 'input,kind=mouse' ]\n",
		  "kind=mouse: it is keyboard, tablet or touch" },
		{ "name='x'\nvgrant = [ 'rng' ]\n# more\nvgrant = [ 'rng' ]\n",
		  "x.cfg:4:1: mistake: a second list vgrant = [...] replaces the one in line 2" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (check(bad[i].text) != 1)
			fail_msg("no mistake found: %s", bad[i].text);
		assert_out(bad[i].says);
	}
	assert_int_equal(run("check /nothing"), 1);
	assert_out("/nothing cannot be opened");
}

/* For programs: the same, each finding with its place. */
static void check_speaks_json(void **state)
{
	struct json_object *obj, *files, *one, *findings, *f;
	char args[400];

	(void)state;
	write_file("x.cfg", "name='x'\nvgrant = [ 'rng',\n  'warp' ]\n");
	write_file("d.xml", "<domain><name>web</name></domain>");
	snprintf(args, sizeof(args), "check --json %s/x.cfg %s/d.xml /nothing", dir, dir);
	assert_int_equal(run(args), 1);
	assert_schema("check");
	obj = json_tokener_parse(out);
	files = json_object_object_get(obj, "files");
	assert_int_equal(json_object_array_length(files), 3);
	one = json_object_array_get_idx(files, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(one, "guest")), "x");
	assert_int_equal(json_object_get_int(json_object_object_get(one, "devices")), 2);
	findings = json_object_object_get(one, "findings");
	assert_int_equal(json_object_array_length(findings), 2);
	f = json_object_array_get_idx(findings, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(f, "level")), "mistake");
	assert_int_equal(json_object_get_int(json_object_object_get(f, "line")), 3);
	assert_int_equal(json_object_get_int(json_object_object_get(f, "column")), 4);
	f = json_object_array_get_idx(findings, 1);
	assert_string_equal(json_object_get_string(json_object_object_get(f, "level")), "warning");
	assert_null(json_object_object_get(f, "line"));
	one = json_object_array_get_idx(files, 2);
	assert_null(json_object_object_get(one, "guest"));
	findings = json_object_object_get(one, "findings");
	f = json_object_array_get_idx(findings, 0);
	assert_non_null(strstr(json_object_get_string(json_object_object_get(f, "text")),
			       "/nothing cannot be opened"));
	json_object_put(obj);
	assert_int_equal(check("name='x'\nvgrant = [ 'rng' ]\n"), 0);
	assert_out("guest x, 1 device: ");
	assert_out("restored, or come from another host, it has none");
}

/* ---- libvirt's XML ------------------------------------------------------ */

static void check_reads_libvirts_xml(void **state)
{
	char args[256];

	(void)state;
	write_file("d.xml", "<domain>\n <name>web</name>\n <metadata>\n"
			    "  <v:devices xmlns:v='urn:vgrant:devices:1'>\n"
			    "   <v:rng/>\n"
			    "   <v:blk readonly='1'\n          target='~/x'/>\n"
			    "   <v:turbine/>\n"
			    "  </v:devices>\n </metadata>\n</domain>\n");
	snprintf(args, sizeof(args), "check %s/d.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out(
		"/d.xml:7:11: mistake: vgrant entry 'blk,readonly=1,target=~/x': target must be a");
	assert_out("/d.xml:8:4: mistake: vgrant entry 'turbine': there is no device \"turbine\"");
	assert_out("guest web, 3 devices: 2 mistakes");
	snprintf(args, sizeof(args), "check - <%s/d.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out("standard input:8:4: mistake");
	write_file("e.xml", "<domain>\n<name>web</nam>");
	snprintf(args, sizeof(args), "check %s/e.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out("/e.xml:2:");
	write_file("n.xml", "<domain><name>web</name></domain>");
	snprintf(args, sizeof(args), "check %s/n.xml", dir);
	assert_int_equal(run(args), 0);
	assert_out("nothing to do for this guest");
}

/* What devices stand on is looked for: here it may be missing; where the guest starts, it may not. */
static void check_looks_for_what_devices_need(void **state)
{
	char args[256], cfg[512];
	bool installed = access("/usr/libexec/virtiofsd", X_OK) == 0 ||
			 access("/usr/lib/qemu/virtiofsd", X_OK) == 0;
	const char *why = installed
				  ? "on this machine dir=/nonexistent/dir is no folder"
				  : "on this machine virtiofsd is not installed: Debian's package";

	(void)state;
	write_file("n.cfg", "name = 'w'\n"
			    "vgrant = [ 'fs,dir=/nonexistent/dir,tag=x',\n"
			    " 'input,evdev=/nonexistent/event',\n"
			    " 'can,interface=can-none',\n"
			    " 'fs,dir=/nonexistent/there,tag=y,backend=other',\n"
			    " 'blk,target=/nonexistent/x.qcow2' ]\n");
	snprintf(args, sizeof(args), "check %s/n.cfg", dir);
	assert_int_equal(run(args), 0);
	assert_out("n.cfg:2:13: warning: vgrant entry 'fs,dir=/nonexistent/dir,tag=x': on this "
		   "machine ");
	assert_out(why);
	assert_out("n.cfg:3:3: warning: vgrant entry 'input,evdev=/nonexistent/event': on this "
		   "machine "
		   "/nonexistent/event: No such file");
	assert_out("can-none yet: the device waits for it");
	assert_out("on this machine /nonexistent/x.qcow2: No such file");
	assert_not_out("cannot be found");
	assert_not_out("/nonexistent/there");
	snprintf(cfg, sizeof(cfg),
		 "<domain><name>web</name><metadata><v:devices xmlns:v='urn:vgrant:devices:1'>"
		 "<v:can interface='can-none'/><v:fs dir='/nonexistent/dir' "
		 "tag='x'/></v:devices></metadata></domain>");
	write_file("n.xml", cfg);
	snprintf(args, sizeof(args), "libvirt-hook web prepare begin - <%s/n.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out(why);
	assert_out("warning: vgrant entry 'can,interface=can-none'");
}

/* xl to XML to xl to XML: the same twice. */
static void convert_goes_both_ways(void **state)
{
	static char first[sizeof(out)], second[sizeof(out) + 32];
	char args[256];

	(void)state;
	write_file("c.cfg",
		   "name = \"w\"\n"
		   "vgrant = [ 'blk,target=/a\\\\,b\"c', \"blk,target=/it's <&>\", 'rng' ]\n");
	snprintf(args, sizeof(args), "convert %s/c.cfg", dir);
	assert_int_equal(run(args), 0);
	assert_out("  <vgrant:blk target='/a,b\"c'/>\n");
	assert_out("  <vgrant:blk target='/it&apos;s &lt;&amp;>'/>\n");
	assert_out("  <vgrant:rng/>\n");
	snprintf(first, sizeof(first), "%s", out);
	write_file("c.xml", first);
	snprintf(args, sizeof(args), "convert %s/c.xml", dir);
	assert_int_equal(run(args), 0);
	snprintf(second, sizeof(second), "name = 'w'\n%s", out);
	write_file("c2.cfg", second);
	snprintf(args, sizeof(args), "convert %s/c2.cfg", dir);
	assert_int_equal(run(args), 0);
	assert_string_equal(out, first);
	write_file("bad.cfg", "name = 'w'\nvgrant = [ 'rng',\n  'blk,,' ]\n");
	snprintf(args, sizeof(args), "convert %s/bad.cfg", dir);
	assert_int_equal(run(args), 1);
	assert_out("/bad.cfg:3:4: vgrant entry 'blk,,'");
	assert_int_equal(run("schema"), 0);
	assert_out("<element name=\"rng\">");
}

/* libvirt's hook: passes what is well and all but `prepare`, and says what is not. */
static void hook_refuses_what_cannot_work(void **state)
{
	char args[256];

	(void)state;
	write_file("h.xml", "<domain><name>web</name><metadata>"
			    "<v:devices xmlns:v='urn:vgrant:devices:1'>"
			    "<v:blk target='/nonexistent/x.img'/></v:devices></metadata></domain>");
	snprintf(args, sizeof(args), "libvirt-hook web prepare begin - <%s/h.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out("/nonexistent/x.img: No such file or directory");
	snprintf(args, sizeof(args), "libvirt-hook web migrate begin - <%s/h.xml", dir);
	assert_int_equal(run(args), 1);
	assert_out("/nonexistent/x.img: No such file or directory");
	snprintf(args, sizeof(args), "libvirt-hook web reconnect begin - <%s/h.xml", dir);
	assert_int_equal(run(args), 0);
	write_file("h.xml", "<domain><name>web</name><metadata>"
			    "<v:devices xmlns:v='urn:vgrant:devices:1'><v:rng/></v:devices>"
			    "</metadata></domain>");
	snprintf(args, sizeof(args), "libvirt-hook web prepare begin - <%s/h.xml", dir);
	assert_int_equal(run(args), 0);
	write_file("h.xml", "<domain><name>web</name><metadata/></domain>");
	assert_int_equal(run(args), 0);
	write_file("h.xml", "<domain><name>web</name>");
	assert_int_equal(run(args), 1);
}

/* The other host is asked, with what xl would take to reach it; xl runs only if it says yes. */
static void migrate_asks_first(void **state)
{
	static const struct {
		const char *answer; /* of the other host: a shell's words */
		int code;
		const char *says;
	} cases[] = {
		{ "exit 0", 0, "[xl migrate -s " },
		{ "echo no such image; exit 1", 1,
		  "hostb does not take the guest, which runs on here" },
		{ "exit 2", 1, "hostb has no vgrant that can be asked: install" },
		{ "exit 127", 1, "hostb has no vgrant that can be asked: install" },
		{ "exit 255", 1, "hostb was not reached; the guest runs on here" },
		{ "kill -9 $$", 1, "hostb does not take the guest, which runs on here" },
	};
	char args[512], script[8192], was[4096];

	(void)state;
	snprintf(was, sizeof(was), "%s", getenv("PATH"));
	snprintf(script, sizeof(script), "%s:%s", dir, was);
	setenv("PATH", script, 1);
	write_file("xl", "#!/bin/sh\necho \"[xl $*]\"\n");
	for (unsigned i = 0; i < COUNT(cases); i++) {
		snprintf(script, sizeof(script), "#!/bin/sh\necho \"[$*]\"\ncat\n%s\n",
			 cases[i].answer);
		write_file("shell", script);
		snprintf(script, sizeof(script), "chmod 700 %s/shell %s/xl", dir, dir);
		assert_int_equal(system(script), 0);
		snprintf(args, sizeof(args), "migrate web hostb -- -s %s/shell", dir);
		assert_int_equal(run(args), cases[i].code);
		assert_out("[hostb vgrant accept]");
		assert_out("\"guest\": \"web\"");
		assert_out("{ \"id\": 64, \"type\": \"blk\", \"virtio_id\": 2, "
			   "\"config\": \"blk,target=\\/srv\\/web.img\", \"features\": \"0x0\" }");
		assert_out(cases[i].says);
		if (cases[i].code)
			assert_not_out("[xl");
	}
	/* Without devices of ours there is nothing to ask; and a host there must be. */
	assert_int_equal(run("migrate none hostb -- --live"), 0);
	assert_out("[xl migrate --live none hostb]");
	assert_int_equal(run("migrate web hostb -- -s ''"), 2);
	assert_int_equal(run("migrate web '' "), 2);
	assert_int_equal(run("migrate web"), 2);
	assert_not_out("[xl");
	setenv("PATH", was, 1);
}

/* A guest of libvirt's goes by virsh, with its XML in the question; asking alone moves nobody. */
static void migrate_of_libvirts_guests(void **state)
{
	char script[8192], was[4096];

	(void)state;
	snprintf(was, sizeof(was), "%s", getenv("PATH"));
	snprintf(script, sizeof(script), "%s:%s", dir, was);
	setenv("PATH", script, 1);
	write_file("ssh", "#!/bin/sh\necho \"[$*]\"\ncat\n");
	write_file("virsh", "#!/bin/sh\n[ \"$3\" != dumpxml ] || exec echo \"<domain $*>\"\necho "
			    "\"[virsh $*]\"\n");
	snprintf(script, sizeof(script), "chmod 700 %s/ssh %s/virsh", dir, dir);
	assert_int_equal(system(script), 0);
	assert_int_equal(run("migrate cards hostb -- --persistent"), 0);
	assert_out("[hostb vgrant accept]");
	assert_out("\"xml\": \"<domain -c xen:\\/\\/\\/system dumpxml --migratable cards>");
	assert_out("[virsh -c xen:///system migrate --live cards xen+ssh://hostb/system "
		   "--persistent]");
	assert_int_equal(run("migrate --ask cards hostb"), 0);
	assert_out("hostb takes cards\n");
	assert_not_out("[virsh");
	write_file("ssh", "#!/bin/sh\ncat >/dev/null\nexit 1\n");
	assert_int_equal(run("migrate cards hostb"), 1);
	assert_out("hostb does not take the guest, which runs on here");
	assert_not_out("[virsh");
	write_file("virsh", "#!/bin/sh\necho '[virsh]'\nexit 1\n");
	assert_int_equal(run("migrate cards hostb"), 1);
	assert_out("cards is a guest of libvirt's, and virsh does not say what it is");
	assert_not_out("does not take");
	setenv("PATH", was, 1);
}

/* What is asked may come from another version, or from no vgrant at all. */
static void accept_reads_what_is_asked(void **state)
{
	static const struct {
		const char *question, *says;
	} cases[] = {
		{ "", "not what `vgrant migrate` asks" },
		{ "{", "not what `vgrant migrate` asks" },
		{ "[]", "not what `vgrant migrate` asks" },
		{ "{\"format\":1,\"devices\":[]}", "not what `vgrant migrate` asks" },
		{ "{\"format\":1,\"guest\":\"x\",\"devices\":{}}",
		  "not what `vgrant migrate` asks" },
		{ "{\"format\":2,\"guest\":\"x\",\"devices\":[]}", "a later version of vgrant" },
		{ "{\"guest\":\"x\",\"devices\":[]}", "a later version of vgrant" },
		{ "{\"format\":1,\"guest\":\"web\",\"devices\":[]}",
		  "a guest web is here already" },
		{ "{\"format\":1,\"guest\":\"nobody\",\"devices\":[1,{\"id\":-1}]}",
		  "its devices are not known here; copy its configuration" },
	};
	char args[256];

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		write_file("q", cases[i].question);
		snprintf(args, sizeof(args), "accept <%s/q", dir);
		assert_int_equal(run(args), 1);
		assert_out(cases[i].says);
	}
}

#define OURS(devices) "<v:devices xmlns:v='urn:vgrant:devices:1'>" devices "</v:devices>"

/* What a driver has agreed to elsewhere is to be had here, or the guest is not taken: it would lose the device. */
static void accept_compares(void **state)
{
	static const struct {
		const char *keys;     /* of the disk, here */
		const char *features; /* that its driver uses, there */
		const char *config;   /* there */
		const char *says;     /* NULL: it is taken */
	} cases[] = {
		{ "", "0x700000200", "", NULL },
		{ "", "0x2200", "", NULL }, /* with BLK_DISCARD */
		{ "discard='0'", "0x2200", "",
		  "the guest's driver uses BLK_DISCARD, which the device would not offer here" },
		{ "discard='0'", "0x200", "", NULL },
		{ "cache='writethrough'", "0x2200", "", "uses BLK_FLUSH, which" },
		{ "", "0x8000000000042200", "",
		  "uses 18, 63, which the device would not offer here" },
		{ "queues='4'", "0x200", "", "queues is '4' here, and '1' where the guest is" },
		{ "queues='4'", "0x1200", ",queues=4", NULL },
		{ "packed='no'", "0x200", ",packed=1", "packed is '0' here, and '1' where" },
		{ "readonly='1'", "0x200", "", "readonly is '1' here, and '0' where" },
		{ "", "0x200", ",colour=red", NULL },
		{ "", "no number", "blk,,,", NULL },
	};
	char args[256], text[2048];

	(void)state;
	snprintf(text, sizeof(text), "truncate -s 1M %s/moving.img", dir);
	assert_int_equal(system(text), 0);
	for (unsigned i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text),
			 "{\"format\":1,\"guest\":\"newcomer\",\"devices\":[{\"id\":64,\"type\":"
			 "\"blk\","
			 "\"virtio_id\":2,\"config\":\"blk,target=/"
			 "x%s\",\"features\":\"%s\",\"size\":1048576}],"
			 "\"xml\":\"<domain><name>newcomer</name><metadata>" OURS(
				 "<v:blk target='%s/moving.img' id='64' %s/>") "</metadata></"
									       "domain>\"}",
			 cases[i].config, cases[i].features, dir, cases[i].keys);
		write_file("q", text);
		snprintf(args, sizeof(args), "accept <%s/q", dir);
		assert_int_equal(run(args), cases[i].says ? 1 : 0);
		if (cases[i].says)
			assert_out(cases[i].says);
		else
			assert_string_equal(out, "");
	}
	write_file("q", "{\"format\":1,\"guest\":\"x\",\"devices\":[],\"xml\":\"<domain>\"}");
	assert_int_equal(run(args), 1);
	assert_out("the domain's XML:1:");
}

/* Whatever is wrong with metadata, the one who has it checked and the one who starts the guest are told. */
static void bad_metadata_is_told(void **state)
{
	static const struct {
		const char *metadata, *says;
	} bad[] = {
		{ OURS("<v:rng>"), ":1:" },
		{ OURS("<v:rng/>words"), "there is text among the devices" },
		{ OURS("<v:rng colour='red'/>"), "has no key \"colour\"" },
		{ OURS("<v:rng w:packed='1' xmlns:w='urn:w'/>"),
		  "its attribute w:packed is of another namespace" },
		{ OURS("<v:rng id='7'/><v:rng id='7'/>"), "id=7 is taken by the entry 'rng,id=7'" },
		{ OURS("<v:rng/>") OURS("<v:rng/>"), "there is a second <devices> of ours" },
		{ OURS("<v:rng/>") "<w:devices xmlns:w='urn:vgrant:devices:2'/>",
		  "the namespace urn:vgrant:devices:2 is of another version of vgrant" },
		{ OURS("<rng/>"), "<rng> is of another namespace than urn:vgrant:devices:1" },
		{ OURS("<v:turbine/>"), "there is no device \"turbine\"; there are " },
	};
	char args[256], text[512];

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(text, sizeof(text),
			 "<domain><name>web</name><metadata>%s</metadata></domain>",
			 bad[i].metadata);
		write_file("b.xml", text);
		snprintf(args, sizeof(args), "check %s/b.xml", dir);
		assert_int_equal(run(args), 1);
		assert_out(bad[i].says);
		snprintf(args, sizeof(args), "libvirt-hook web prepare begin - <%s/b.xml", dir);
		assert_int_equal(run(args), 1);
		assert_out(bad[i].says);
	}
}

static void hook_needs_the_daemon(void **state)
{
	char args[256];

	(void)state;
	write_file("h.xml", "<domain><name>web</name><metadata>"
			    "<v:devices xmlns:v='urn:vgrant:devices:1'><v:rng/></v:devices>"
			    "</metadata></domain>");
	snprintf(args, sizeof(args), "libvirt-hook web prepare begin - <%s/h.xml", dir);
	assert_int_equal(run(args), 3);
	assert_out("vgrantd is not running");
}

static void check_passes_what_is_right(void **state)
{
	(void)state;
	assert_int_equal(check("name='x'\nvgrant = [ 'rng' ]\nvgrant += [ 'rng' ]\n"), 0);
	assert_int_equal(check("name='x'\nvgrant = [ 'blk,target=/dev/null', 'rng' ]\n"
			       "virtio = [ 'type=virtio,device4,transport=mmio' ]\n"),
			 0);
	assert_out("x.cfg: guest x, 2 devices: no mistakes");
	assert_int_equal(check("name='x'\nvgrant = [ 'blk,target=/nothing/here' ]\n"), 0);
	assert_out("warning: vgrant entry 'blk,target=/nothing/here': on this machine");
	assert_int_equal(check("name='x'\n"), 0);
	assert_out("warning: it has no vgrant");
}

/* An image of another format: a warning, which format=raw silences. */
/* What `vgrant check` says of @text on a Xen that was built and started so; NULL: that Xen does not tell. */
static void check_on_xen(const char *config, const char *command_line, const char *text)
{
	char real[sizeof(vgrant)], name[64];

	snprintf(real, sizeof(real), "%s", vgrant);
	snprintf(vgrant + strlen(vgrant), sizeof(vgrant) - strlen(vgrant), "-fake");
	setenv("FAKE_XEN_DIR", dir, 1);
	if (config)
		write_file("config", config);
	if (command_line)
		write_file("commandline", command_line);
	assert_int_equal(check(text), 0);
	unsetenv("FAKE_XEN_DIR");
	snprintf(name, sizeof(name), "%s/config", dir);
	unlink(name);
	snprintf(name, sizeof(name), "%s/commandline", dir);
	unlink(name);
	snprintf(vgrant, sizeof(vgrant), "%s", real);
}

#define ARM_DEBIAN                                                                  \
	"CONFIG_ARM_64=y\nCONFIG_ARM=y\n# CONFIG_EXPERT is not set\nCONFIG_XSM=y\n" \
	"CONFIG_XSM_FLASK=y\nCONFIG_XSM_SILO=y\nCONFIG_XSM_SILO_DEFAULT=y\n"

static void check_knows_a_xen_without_ioreq_servers(void **state)
{
	static const char virtio[] =
		"name='x'\nvgrant = [ 'rng' ]\n"
		"virtio = [ \"type=virtio,device4,transport=mmio,grant_usage=1\" ]\n";
	static const char disk[] = "name='x'\nvgrant = [ 'rng' ]\ndisk = [ '/dev/a,raw,xvda',\n"
				   " 'vdev=xvdb,specification=virtio,target=/dev/b' ]\n";

	(void)state;
	check_on_xen(ARM_DEBIAN, "xsm=dummy", virtio);
	assert_out("x.cfg:3:13: warning: virtio entry "
		   "'type=virtio,device4,transport=mmio,grant_usage=1': "
		   "this machine's Xen has no IOREQ server");
	check_on_xen(ARM_DEBIAN, "", disk);
	assert_out("x.cfg:4:3: warning: disk entry 'vdev=xvdb,specification=virtio,target=/dev/b': "
		   "this machine's Xen has no IOREQ server");
	check_on_xen(ARM_DEBIAN "CONFIG_IOREQ_SERVER=y\n", "", virtio);
	assert_not_out("IOREQ");
	/* On x86 xl makes no device tree. */
	check_on_xen("CONFIG_X86=y\n", "", virtio);
	assert_not_out("IOREQ");
}

static void check_knows_silo(void **state)
{
	static const char text[] = "name='x'\nvgrant = [ 'rng',\n 'rng,backend=storage' ]\n";
	static const char warns[] =
		"x.cfg:3:3: warning: vgrant entry 'rng,backend=storage': this machine's "
		"Xen runs with XSM's SILO";

	(void)state;
	check_on_xen(ARM_DEBIAN, "console=dtuart", text);
	assert_out(warns);
	check_on_xen(ARM_DEBIAN, "xsm=dummy xsm=silo", text);
	assert_out(warns);
	check_on_xen(ARM_DEBIAN, "console=dtuart xsm=dummy", text);
	assert_not_out("SILO");
	check_on_xen(ARM_DEBIAN, "xsm=flask", text);
	assert_not_out("SILO");
	check_on_xen("CONFIG_X86=y\nCONFIG_XSM=y\nCONFIG_XSM_SILO=y\n", "", text);
	assert_not_out("SILO");
	check_on_xen("CONFIG_X86=y\nCONFIG_XSM=y\nCONFIG_XSM_SILO=y\n", "xsm=silo", text);
	assert_out(warns);
	check_on_xen(ARM_DEBIAN, "",
		     "name='x'\nvgrant = [ 'rng,backend=0', 'rng,backend=Domain-0' ]\n");
	assert_not_out("SILO");
	/* A node of xl's counts where the entry names no backend. */
	check_on_xen(ARM_DEBIAN, "",
		     "name='x'\nvgrant = [ 'rng' ]\nvirtio = [ 'type=virtio,device4,"
		     "transport=mmio,backend=storage' ]\n");
	assert_out("for backend=storage add xsm=dummy");
}

static void check_says_what_it_cannot_know(void **state)
{
	(void)state;
	check_on_xen(ARM_DEBIAN, NULL, "name='x'\nvgrant = [ 'rng,backend=storage' ]\n");
	assert_out("where it was built so (Debian's is)");
	check_on_xen(NULL, NULL, "name='x'\nvgrant = [ 'rng,backend=storage' ]\n");
#if defined(__aarch64__)
	assert_out("where it was built so (Debian's is)");
#else
	assert_not_out("SILO");
#endif
}

static void check_looks_at_images(void **state)
{
	char image[PATH_MAX], text[PATH_MAX + 128];
	FILE *f = fopen("disk.img", "w");

	(void)state;
	assert_non_null(f);
	assert_int_equal(fwrite("QFI\xfb", 1, 4, f), 4);
	fclose(f);
	assert_non_null(realpath("disk.img", image));
	snprintf(text, sizeof(text), "name='x'\nvgrant = [ 'blk,target=%s' ]\n", image);
	assert_int_equal(check(text), 0);
	assert_out("looks like qcow2");
	snprintf(text, sizeof(text), "name='x'\nvgrant = [ 'blk,target=%s,format=raw' ]\n", image);
	assert_int_equal(check(text), 0);
	assert_out("no mistakes");
	assert_null(strstr(out, "looks like"));
	/* Its name, or its format, says what it is. */
	snprintf(text, sizeof(text), "name='x'\nvgrant = [ 'blk,target=%s,format=qcow2' ]\n",
		 image);
	assert_int_equal(check(text), 0);
	assert_out("no mistakes");
	assert_int_equal(rename("disk.img", "disk.qcow2"), 0);
	assert_non_null(realpath("disk.qcow2", image));
	snprintf(text, sizeof(text), "name='x'\nvgrant = [ 'blk,target=%s' ]\n", image);
	assert_int_equal(check(text), 0);
	assert_out("no mistakes");
	assert_null(strstr(out, "looks like"));
	snprintf(text, sizeof(text), "name='x'\nvgrant = [ 'blk,target=%s,iops=5' ]\n", image);
	assert_int_equal(check(text), 1);
	assert_out("iops= is for raw images");
}

/* What it says of devices that vgrantd lists; all else is for test_doctor.c. */
static void doctor_reads_the_list(void **state)
{
	(void)state;
	attached = detached = false;
	assert_int_equal(run("doctor"), 1);
	assert_out("device virtio_disk/51712 of db?[31m: /srv/db cannot be opened: No such file; "
		   "the guest "
		   "does not have it. Mend: mend that, then: systemctl reload vgrantd");
	assert_not_out("no driver of the guest's");
	/* It was there for 192 s, like the others. */
	assert_int_equal(run("attach web rng"), 0);
	assert_int_equal(run("doctor"), 1);
	assert_out("device virtio/65 of web: no driver of the guest's has connected for 3m12s; the "
		   "guest does "
		   "not have it. Mend: in the guest: modprobe virtio_grant");
	assert_out("the vgrantd that runs is 9.9, and vgrant is ");
}

/* As pcap-savefile(5) has it. */
static void packets_make_a_file(void **state)
{
	static const uint32_t head[] = { 0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, 1 };
	static const uint32_t first[] = { 1234567890, 123456789, 8, 100 };
	static const uint32_t second[] = { 1234567890, 123456789, 1, 1 };
	unsigned char bytes[128];
	char cmd[128];
	size_t n;
	FILE *f;

	(void)state;
	snprintf(cmd, sizeof(cmd), "capture web 64 %s/pcap", dir);
	assert_int_equal(run(cmd), 0);
	assert_out("2 packets captured, 7 lost");
	snprintf(cmd, sizeof(cmd), "%s/pcap", dir);
	f = fopen(cmd, "re");
	assert_non_null(f);
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	assert_int_equal(n, 24 + 16 + 8 + 16 + 1);
	assert_memory_equal(bytes, head, 24);
	assert_memory_equal(bytes + 24, first, 16);
	assert_memory_equal(bytes + 40, "abcdefg", 8);
	assert_memory_equal(bytes + 48, second, 16);
	assert_int_equal(bytes[64], 'X');
	assert_int_equal(run("capture web 64 | grep -c abcdefg"), 0);
	assert_int_equal(run("capture web 65 /dev/null"), 1);
	assert_out("there is no device 65");
	assert_int_equal(run("capture web 64 /dev/full"), 1);
	assert_out("/dev/full cannot be written");
	assert_int_equal(run("capture web 64 /nowhere/at/all"), 1);
	assert_out("/nowhere/at/all cannot be written");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_daemon_it_says_what_to_do),
		cmocka_unit_test(wrong_usage_is_told),
		cmocka_unit_test(help_needs_no_daemon),
		cmocka_unit_test(check_finds_mistakes),
		cmocka_unit_test(check_speaks_json),
		cmocka_unit_test(check_reads_libvirts_xml),
		cmocka_unit_test(check_looks_for_what_devices_need),
		cmocka_unit_test(convert_goes_both_ways),
		cmocka_unit_test(check_passes_what_is_right),
		cmocka_unit_test(check_knows_a_xen_without_ioreq_servers),
		cmocka_unit_test(check_knows_silo),
		cmocka_unit_test(check_says_what_it_cannot_know),
		cmocka_unit_test(check_looks_at_images),
		cmocka_unit_test(hook_needs_the_daemon),
		SERVED(hook_refuses_what_cannot_work),
		SERVED(migrate_asks_first),
		SERVED(migrate_of_libvirts_guests),
		SERVED(accept_reads_what_is_asked),
		SERVED(accept_compares),
		SERVED(bad_metadata_is_told),
		SERVED(the_table_is_aligned),
		SERVED(a_device_in_sentences),
		SERVED(completion_in_bash_and_zsh),
		cmocka_unit_test(exit_statuses),
		SERVED(disks_in_virshs_columns),
		SERVED(cards_in_virshs_columns),
		SERVED(displays_as_virsh_has_them),
		SERVED(sizes_of_a_disk),
		SERVED(a_disk_becomes_larger),
		SERVED(list_has_forms_for_programs_and_for_the_curious),
		SERVED(attach_waits_for_the_device_to_be_opened),
		SERVED(doctor_reads_the_list),
		SERVED(detach_waits_for_the_device_to_go),
		SERVED(other_commands_reach_the_daemon),
		SERVED(packets_make_a_file),
		SERVED(a_full_disk_is_no_success),
		SERVED(an_ordinary_user_is_told_why_not),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
