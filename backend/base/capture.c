// SPDX-License-Identifier: GPL-2.0-or-later
/* capture.c - see capture.h */
#include "backend/base/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"

static void forget(struct vg_capture *c, unsigned i)
{
	close(c->to[i].fd);
	c->to[i] = c->to[--c->n];
	if (!c->n) {
		free(c->message);
		c->message = NULL;
	}
}

/* Nobody says that a listener hung up; without packets one would never know. */
static void forget_gone(struct vg_capture *c)
{
	char byte;

	for (unsigned i = 0; i < c->n;) {
		if (recv(c->to[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			forget(c, i);
		else
			i++;
	}
}

int vg_capture_add(struct vg_capture *c, int fd)
{
	int ret = 0;

	forget_gone(c);
	if (c->n == VG_CAPTURE_MAX) {
		ret = -EBUSY;
	} else if (!c->message) {
		c->message = malloc(sizeof(struct vg_capture_head) + VG_CAPTURE_BYTES);
		if (!c->message)
			ret = -ENOMEM;
	}
	if (ret < 0) {
		close(fd);
		return ret;
	}
	c->to[c->n].fd = fd;
	c->to[c->n].lost = 0;
	c->n++;
	return 0;
}

/* Put the packet together. Return: bytes that are kept; @len: that there are. */
static size_t gather(uint8_t *to, const struct iovec *iov, unsigned n, size_t skip, size_t *len)
{
	size_t kept = 0;

	*len = 0;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *from = iov[i].iov_base;
		size_t part = iov[i].iov_len, room = VG_CAPTURE_BYTES - kept;

		if (part <= skip) {
			skip -= part;
			continue;
		}
		from += skip;
		part -= skip;
		skip = 0;
		*len += part;
		if (part > room)
			part = room;
		memcpy(to + kept, from, part);
		kept += part;
	}
	return kept;
}

void vg_capture_packet(struct vg_capture *c, uint32_t link, const struct iovec *iov, unsigned n,
		       size_t skip)
{
	struct vg_capture_head head = { .link = link };
	struct timespec now;
	size_t kept, len;

	clock_gettime(CLOCK_REALTIME, &now);
	head.ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	kept = gather(c->message + sizeof(head), iov, n, skip, &len);
	head.len = (uint32_t)len;
	for (unsigned i = 0; i < c->n;) {
		head.lost = c->to[i].lost;
		memcpy(c->message, &head, sizeof(head));
		if (send(c->to[i].fd, c->message, sizeof(head) + kept,
			 MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
			c->to[i].lost = 0;
		} else if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR ||
			   errno == EMSGSIZE) {
			c->to[i].lost++;
		} else {
			forget(c, i);
			continue;
		}
		i++;
	}
}

void vg_capture_close(struct vg_capture *c)
{
	while (c->n)
		forget(c, c->n - 1);
}
