// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_storage.c - addresses of disks on other machines: what QEMU's block layer is told, and what is
 * refused. That it understands it: test_daemon_gateway, of_another_machine.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/devices/gateway/int.h"

static void addresses(void **state)
{
	static const struct {
		const char *target, *options;
		bool remote;
	} rows[] = {
		{ "nbd://stor/disk",
		  "driver=nbd,server.type=inet,server.host=stor,server.port=10809,export=disk,"
		  "reconnect-delay=300",
		  true },
		{ "nbd://[fd00::1]:99/a%2Cb%20c",
		  "driver=nbd,server.type=inet,server.host=fd00::1,server.port=99,export=a,,b c,"
		  "reconnect-delay=300",
		  true },
		{ "nbd://stor",
		  "driver=nbd,server.type=inet,server.host=stor,server.port=10809,export=,"
		  "reconnect-delay=300",
		  true },
		{ "nbd+unix:///d?socket=/run/n.sock",
		  "driver=nbd,server.type=unix,server.path=/run/n.sock,export=d,"
		  "reconnect-delay=300",
		  false },
		{ "nfs://filer/vol/x.img",
		  "driver=nfs,server.type=inet,server.host=filer,path=/vol/x.img", true },
		{ "iscsi://san/iqn.2026-11.org.example:t/3",
		  "driver=iscsi,transport=tcp,portal=san:3260,target=iqn.2026-11.org.example:t,"
		  "lun=3",
		  true },
		{ "iscsi://[fd00::2]:860/t/0",
		  "driver=iscsi,transport=tcp,portal=[fd00::2]:860,target=t,lun=0", true },
		{ "rbd:pool/image", "driver=rbd,pool=pool,image=image", true },
		{ "rbd:p/n/i@s", "driver=rbd,pool=p,namespace=n,image=i,snapshot=s", true },
	};
	struct vg_err err;
	char out[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(gw_storage_is(rows[i].target));
		assert_int_equal(gw_storage_is_remote(rows[i].target), rows[i].remote);
		if (gw_storage_options(rows[i].target, out, sizeof(out), &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(out, rows[i].options);
	}
	assert_false(gw_storage_is("/srv/nbd://x"));
	assert_false(gw_storage_is("nbd:x"));
}

static void no_addresses(void **state)
{
	static const char *const rows[][2] = {
		{ "nbd:///disk", "nbd://HOST" },
		{ "nbd://:1/disk", "nbd://HOST" },
		{ "nbd://h:/d", "nbd://HOST" },
		{ "nbd://h:port/d", "nbd://HOST" },
		{ "nbd://h:1234567/d", "nbd://HOST" },
		{ "nbd://[::1/d", "nbd://HOST" },
		{ "nbd://[::1]x/d", "nbd://HOST" },
		{ "nbd://h/d?x=1", "nbd://HOST" },
		{ "nbd://h/d%", "nbd://HOST" },
		{ "nbd://h/d%4", "nbd://HOST" },
		{ "nbd://h/d%zz", "nbd://HOST" },
		{ "nbd://h/d%00", "nbd://HOST" },
		{ "nbd://h/d%0a", "nbd://HOST" },
		{ "nbd+unix:///d", "?socket=/PATH" },
		{ "nbd+unix:///d?socket=run", "?socket=/PATH" },
		{ "nbd+unix://h/d?socket=/run", "?socket=/PATH" },
		{ "nfs://filer", "nfs://HOST/FOLDER/FILE" },
		{ "nfs://filer/x", "nfs://HOST/FOLDER/FILE" },
		{ "iscsi://h/t", "iscsi://HOST" },
		{ "iscsi://h/t/", "iscsi://HOST" },
		{ "iscsi://h/t/x", "iscsi://HOST" },
		{ "iscsi://h//1", "iscsi://HOST" },
		{ "rbd:pool", "rbd:POOL" },
		{ "rbd:/i", "rbd:POOL" },
		{ "rbd:p/", "rbd:POOL" },
		{ "rbd:p/i@", "rbd:POOL" },
		{ "rbd:p//i", "rbd:POOL" },
		{ "rbd:p/a/b/i", "rbd:POOL" },
		{ "sheepdog://h/x", "disks are at nbd://" },
	};
	char out[1024], host[700];
	struct vg_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (gw_storage_options(rows[i][0], out, sizeof(out), &err) != -EINVAL)
			fail_msg("%s is taken: %s", rows[i][0], out);
		if (!strstr(err.text, rows[i][1]))
			fail_msg("%s: %s", rows[i][0], err.text);
	}
	memset(host, 'h', sizeof(host));
	memcpy(host, "nbd://", 6);
	memcpy(host + sizeof(host) - 3, "/d", 3);
	assert_int_equal(gw_storage_options(host, out, sizeof(out), &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(no_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
