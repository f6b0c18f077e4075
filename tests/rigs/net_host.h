/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_host.h - a host's network for a test's network device: a namespace with a bridge
 *
 *	nr.tp (driver) - device - interface - bridge br0 - v0 = v1 - packet socket
 *
 * Needs /dev/net/tun and the right to make a namespace; a test asks with nh_need(), which skips.
 */
#ifndef NET_HOST_H
#define NET_HOST_H

#include "tests/rigs/net_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>

static struct nr nr;
static struct nr_frame f, got;
static const char *nh_why_not; /* NULL: there is all that is needed */

static inline int sh(const char *command)
{
	return system(command);
}

/** nh_enter() - for cmocka_run_group_tests() */
static inline int nh_enter(void **state)
{
	int fd = open("/dev/net/tun", O_RDWR);

	(void)state;
	nr_ops = net_link_ops;
	if (fd < 0)
		nh_why_not = "there is no /dev/net/tun";
	else if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		nh_why_not = "no network namespace can be made";
	else if (sh("mount --make-rprivate / && mount -t sysfs none /sys && ip link set lo up && "
		    "ip link "
		    "add br0 type bridge && ip link set br0 mtu 1400 up && ip link add v0 type "
		    "veth peer "
		    "name v1 && ip link set v0 mtu 1400 master br0 up && ip link set v1 mtu 1400 "
		    "up") != 0)
		nh_why_not = "no bridge can be made";
	if (fd >= 0)
		close(fd);
	return 0;
}

static inline void nh_need(void)
{
	if (nh_why_not) {
		print_message("%s\n", nh_why_not);
		skip();
	}
}

/* A socket that has all that passes interface @name. */
static inline int listen_on(const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	assert_true(fd >= 0);
	addr.sll_ifindex = (int)if_nametoindex(name);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* The next frame of our own protocol. Return: bytes; -1: none within 2 s */
static inline ssize_t hear(int fd, struct nr_frame *frame)
{
	int64_t end = vg_now_ns() + 2 * NS_PER_S;

	while (vg_now_ns() < end) {
		ssize_t n = recv(fd, frame->data, sizeof(frame->data), MSG_DONTWAIT);

		vg_loop_turn(nr.tp.loop, false);
		if (n > 14 && frame->data[12] == 0x88 && frame->data[13] == 0xb5)
			return n;
	}
	return -1;
}

/* What the host cuts a TCP packet of the guest's, f, into, in order: @bytes behind the 54 of headers. */
static inline void hear_segments(int fd, size_t bytes)
{
	size_t heard = 0;

	while (heard < bytes) {
		int64_t end = vg_now_ns() + 2 * NS_PER_S;
		ssize_t n = -1;

		while (n < 0 && vg_now_ns() < end) {
			n = recv(fd, got.data, sizeof(got.data), MSG_DONTWAIT);
			if (n > 34 &&
			    (got.data[12] != 8 || got.data[13] || got.data[23] != IPPROTO_TCP))
				n = -1;
		}
		assert_true(n > 54);
		assert_memory_equal(got.data + 54, f.data + 54 + heard, (size_t)n - 54);
		heard += (size_t)n - 54;
	}
	assert_int_equal(heard, bytes);
}

/* A word of /sys/class/net/NAME/KEY; "" when there is none. */
static inline const char *sys(const char *name, const char *key)
{
	static char text[64];
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, key);
	text[0] = '\0';
	file = fopen(path, "r");
	if (!file)
		return text;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* The bridge hears of a carrier from a worker of the kernel's: until then it drops what comes. */
static inline void forwarding(const char *name)
{
	int64_t end = vg_now_ns() + 5 * NS_PER_S;

	while (strcmp(sys(name, "brport/state"), "3") != 0) {
		assert_true(vg_now_ns() < end);
		usleep(1000);
	}
}

/* A device of that configuration cannot be opened, and it is said why. */
static inline void refused(const char *spec, const char *says)
{
	struct vg_err err = { "" };
	struct tp tp;

	net_link_ops = nr_ops;
	assert_true(tp_try_open(&tp, TP_COPY, spec, &err) < 0);
	if (!strstr(err.text, says))
		fail_msg("%s: '%s'", spec, err.text);
}

#endif /* NET_HOST_H */
