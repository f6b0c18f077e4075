// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * msg.c - see msg.h
 */
#include "backend/toolstack/libvirt/msg.h"

#include <errno.h>
#include <sys/socket.h>

int vg_virt_send(int sock, struct vg_virt_msg *m, bool wait)
{
	ssize_t n;

	m->version = VG_VIRT_VERSION;
	do
		n = send(sock, m, sizeof(*m), MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int vg_virt_recv(int sock, struct vg_virt_msg *m)
{
	ssize_t n;

	do
		n = recv(sock, m, sizeof(*m), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(*m) || m->version != VG_VIRT_VERSION)
		return -EPROTO;
	m->uuid[sizeof(m->uuid) - 1] = '\0';
	m->text[sizeof(m->text) - 1] = '\0';
	switch (m->type) {
	case VG_VIRT_GUEST:
		m->guest.name[sizeof(m->guest.name) - 1] = '\0';
		break;
	case VG_VIRT_DEVICE:
	case VG_VIRT_NUMBER:
		m->device.backend[sizeof(m->device.backend) - 1] = '\0';
		m->device.spec[sizeof(m->device.spec) - 1] = '\0';
		break;
	case VG_VIRT_CHANGE:
		m->change.guest[sizeof(m->change.guest) - 1] = '\0';
		m->change.spec[sizeof(m->change.spec) - 1] = '\0';
		break;
	default:
		break;
	}
	return 1;
}
