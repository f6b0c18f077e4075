// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tapfd.c - see tapfd.h
 *
 * Descriptors are not to block: io_uring then waits for a frame by polling, on every
 * kernel, instead of with a thread; and tun takes its short way for small frames.
 */
#include "backend/devices/net/tapfd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/base/container.h"

struct net_tapfd *net_tapfd_new(const struct net_link_ops *ops, unsigned pairs)
{
	struct net_tapfd *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->link.ops = ops;
	t->link.pairs = pairs;
	t->watcher = -1;
	for (unsigned i = 0; i < pairs; i++)
		t->link.fd[i] = -1;
	return t;
}

struct net_tapfd *net_tapfd_of(struct net_link *link)
{
	return container_of(link, struct net_tapfd, link);
}

void net_tapfd_close(struct net_link *link)
{
	struct net_tapfd *t = net_tapfd_of(link);

	if (t->watcher >= 0)
		close(t->watcher);
	for (unsigned i = 0; i < link->pairs; i++) {
		if (link->fd[i] >= 0)
			close(link->fd[i]);
	}
	free(t);
}

int net_tapfd_name(struct net_tapfd *t, const char *name, bool pattern, struct vg_err *err)
{
	if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '/') ||
	    (strchr(name, '%') && !pattern) || strpbrk(name, " \t:"))
		return vg_fail(err, -EINVAL,
			       "'%s' is no interface's name: 1 to %d characters, without blanks, "
			       "colons, slashes and %%",
			       name, IFNAMSIZ - 1);
	memcpy(t->link.name, name, strlen(name));
	return 0;
}

int net_tapfd_header(const struct net_tapfd *t, int fd, struct vg_err *err)
{
	int size = NET_HDR, little_endian = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little_endian) < 0)
		return vg_fail(err, -errno, "interface %s does not take virtio's header: %s",
			       t->link.name, strerror(errno));
	return 0;
}

void net_tapfd_ready(struct net_tapfd *t)
{
	t->active = t->link.pairs;
	/* Linux 6.2. */
	t->link.uso = net_tapfd_offloads(&t->link, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;
	net_tapfd_offloads(&t->link, 0);
}

int net_tapfd_offloads(struct net_link *link, unsigned flags)
{
	return ioctl(link->fd[0], TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0;
}

/* The kernel chooses among the queues that are attached. */
int net_tapfd_active(struct net_link *link, unsigned pairs)
{
	struct net_tapfd *t = net_tapfd_of(link);

	while (t->active != pairs) {
		bool more = t->active < pairs;
		struct ifreq ifr = { .ifr_flags = more ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		if (ioctl(link->fd[more ? t->active : t->active - 1], TUNSETQUEUE, &ifr) < 0)
			return -errno;
		if (more)
			t->active++;
		else
			t->active--;
	}
	return 0;
}
