// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_script.c - `script=` of a network device: which scripts are run, and what they are told
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/devices/devices.h"
#include "backend/devices/net/script.h"

static struct vg_command command;
static struct vg_params params;
static struct vg_err err;
static char dir[64], script[96];

static int begin(void **state)
{
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vgrant-script-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	snprintf(script, sizeof(script), "%s/script", dir);
	fd = open(script, O_WRONLY | O_CREAT, 0755);
	if (fd < 0)
		return -1;
	dprintf(fd,
		"#!/bin/sh\necho \"$@\" >%s/said\nenv | grep -v -e ^PWD= -e ^_= | sort >>%s/said\n",
		dir, dir);
	return close(fd);
}

static int end(void **state)
{
	char text[96];

	(void)state;
	snprintf(text, sizeof(text), "rm -r %s", dir);
	return system(text);
}

static void says(const char *part)
{
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void parse(const char *spec)
{
	err.text[0] = '\0';
	assert_int_equal(vg_params_parse(spec, &params, &err), 0);
}

static int make(const char *key_and_path, const char *rest)
{
	char spec[VG_PARAMS_LEN];

	snprintf(spec, sizeof(spec), "net,%s%s", key_and_path, rest);
	parse(spec);
	return net_script(&params, "add", "vif7.64", &command, &err);
}

static int make_ours(const char *rest)
{
	char text[128];

	snprintf(text, sizeof(text), "script=%s", script);
	return make(text, rest);
}

/* Whoever can write a script has root's rights. */
static void whose_it_is(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("only root can give files away\n");
		skip();
	}
	assert_int_equal(make_ours(""), 1);
	assert_int_equal(chmod(script, 0775), 0);
	assert_int_equal(make_ours(""), -EPERM);
	says("can be written by others than root");
	assert_int_equal(chmod(script, 0757), 0);
	assert_int_equal(make_ours(""), -EPERM);
	assert_int_equal(chmod(script, 0644), 0);
	assert_int_equal(make_ours(""), -EACCES);
	says("chmod +x");
	assert_int_equal(chmod(script, 0700), 0);
	assert_int_equal(make_ours(""), 1);
	assert_int_equal(chown(script, 65534, 0), 0);
	assert_int_equal(make_ours(""), -EPERM);
	says("does not belong to root");
	assert_int_equal(make("script=/tmp", ""), -EINVAL);
	says("script /tmp is no file");
}

/* A name alone is one of Xen's folder, as with xl. */
static void where_it_is(void **state)
{
	(void)state;
	assert_int_equal(make("script=no-such-script", ""), -ENOENT);
	says("/etc/xen/scripts/no-such-script: No such file");
	assert_int_equal(make("script=/no/such/script", ""), -ENOENT);
	says("script /no/such/script:");
	assert_int_equal(make("bridge=br0", ""), 0);
	assert_int_equal(make("script=", ""), 0);
}

static void is_refused(const char *spec, const char *part)
{
	parse(spec);
	assert_int_equal(vg_net.check(&params, &err), -EINVAL);
	says(part);
}

static void is_checked(void **state)
{
	(void)state;
	is_refused("net,script=sub/script", "script=sub/script is neither a path");
	is_refused("net,script=../script", "neither a path");
	is_refused("net,script=..", "neither a path");
	is_refused("net,script=/s,tap=tap0", "script= is for an interface that is made");
	is_refused("net,gatewaydev=eth0", "gatewaydev= is for a script");
	is_refused("net,macvtap=eth0,bridge=br0", "it does not go with bridge=");
	is_refused("net,macvtap=eth0,script=vif-bridge", "it does not go with script=");
	is_refused("net,macvtap=eth0,tap=tap0", "it does not go with tap=");
	is_refused("net,macvtap=", "macvtap= is no interface's name");
	is_refused("net,macvtap=a/b", "macvtap=a/b is no interface's name");
	is_refused("net,macvtap=a-name-that-is-far-too-long", "is no interface's name");
	is_refused("net,macvtap=eth0,mode=nat",
		   "mode=nat: it is bridge, vepa, private or passthru");
	is_refused("net,macvtap=eth0,mode=", "mode=: it is bridge");
	is_refused("net,mode=bridge", "mode= is for an interface of macvtap=");
	parse("net,macvtap=eth0,mode=passthru,bridge=,mtu=1400,queues=4");
	assert_int_equal(vg_net.check(&params, &err), 0);
	parse("net,script=vif-bridge");
	assert_int_equal(vg_net.check(&params, &err), 0);
	parse("net,script=/opt/s,bridge=br0.5:1:2,mtu=1400,vifname=web0,gatewaydev=eth0");
	assert_int_equal(vg_net.check(&params, &err), 0);
	parse("net,script=");
	assert_int_equal(vg_net.check(&params, &err), 0);
}

/* What the script has written down: its arguments, and its environment in order. */
static void told(const char *before, const char *after_path)
{
	char path[128], text[4096], whole[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/said", dir);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	snprintf(whole, sizeof(whole), "%sscript=%s\n%s", before, script, after_path);
	assert_string_equal(text, whole);
}

/* As libxl has it for a TAP, and with what Xen's scripts read of a vif's node. */
static void what_it_is_told(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(make_ours(",bridge=br0.5:7,mac=00:16:3e:00:00:01,mtu=1400,rate=10Mb/s,"
				   "ip=10.0.0.2+2001:db8::2,gatewaydev=eth0,place=7/64/my web"),
			 1);
	assert_string_equal(command.name, "vif7.64");
	assert_int_equal(vg_command_run(&command, 20, &err), 0);
	told("add type_if=tap\nINTERFACE=vif7.64\nLANG=C.UTF-8\n"
	     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	     "VGRANT_DEVICE=64\nVGRANT_DOMAIN=7\nVGRANT_GUEST=my web\nXENBUS_BASE_PATH=backend\n"
	     "XENBUS_PATH=backend/virtio/7/64\nXENBUS_TYPE=virtio\nbridge=br0.5:7\ndev=vif7.64\n"
	     "ip=10.0.0.2 2001:db8::2\nmac=00:16:3e:00:00:01\nmtu=1400\nnetdev=eth0\nrate=10Mb/s\n",
	     "type_if=tap\nvif=vif7.64\n");
	/* A device of no Xen guest, about which little was said. */
	assert_int_equal(make_ours(",place=/0/q"), 1);
	assert_int_equal(vg_command_run(&command, 20, &err), 0);
	told("add type_if=tap\nINTERFACE=vif7.64\nLANG=C.UTF-8\n"
	     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	     "VGRANT_DEVICE=0\nVGRANT_GUEST=q\ndev=vif7.64\nnetdev=\n",
	     "type_if=tap\nvif=vif7.64\n");
}

static int after(const char *rest, bool ended)
{
	char spec[VG_PARAMS_LEN];

	snprintf(spec, sizeof(spec), "net,script=%s,%s", script, rest);
	parse(spec);
	return net_afterwards(&params, ended, &command, &err);
}

/* Nothing is done about an interface that is there: it is not, or not yet, ours to tidy up. */
static void afterwards(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(after("vifname=nosuch0", false), 1);
	assert_int_equal(after("vifname=nosuch0", true), 1);
	assert_string_equal(command.argv[1], "remove");
	assert_string_equal(command.name, "nosuch0");
	assert_int_equal(after("vifname=lo", false), -EBUSY);
	says("an interface lo already");
	assert_string_equal(command.name, "lo");
	assert_int_equal(after("vifname=lo", true), -EBUSY);
	says("lo does not go");
	/* What the worker refuses needs nothing, and is no file's name. */
	assert_int_equal(after("vifname=a/b", false), 0);
	assert_int_equal(after("vifname=..", false), 0);
	assert_int_equal(after("vifname=a-name-that-is-far-too-long", false), 0);
	assert_int_equal(after("bridge=br0", false), 0);
	/* A macvtap does not go by itself. */
	parse("net,macvtap=eth9,vifname=nosuch0");
	assert_int_equal(net_afterwards(&params, false, &command, &err), 1);
	assert_string_equal(command.name, "nosuch0");
	assert_int_equal(net_afterwards(&params, true, &command, &err), 0);
	parse("net,macvtap=eth9,vifname=lo");
	assert_int_equal(net_afterwards(&params, false, &command, &err), -EBUSY);
	says("an interface lo already");
	assert_int_equal(net_afterwards(&params, true, &command, &err), 1);
	assert_string_equal(command.name, "lo");
	assert_string_equal(command.argv[1], "--remove-macvtap");
	assert_string_equal(command.argv[2], "lo");
	assert_string_equal(command.argv[3], "eth9");
	assert_null(command.argv[4]);
	parse("net,vifname=nosuch0");
	assert_int_equal(net_afterwards(&params, true, &command, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whose_it_is, begin, end),
		cmocka_unit_test_setup_teardown(where_it_is, begin, end),
		cmocka_unit_test_setup_teardown(is_checked, begin, end),
		cmocka_unit_test_setup_teardown(what_it_is_told, begin, end),
		cmocka_unit_test_setup_teardown(afterwards, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
