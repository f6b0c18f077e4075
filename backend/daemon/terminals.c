// SPDX-License-Identifier: GPL-2.0-or-later
/* terminals.c - see terminals.h */
#include "backend/daemon/terminals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "backend/worker/ipc.h"

enum { COLUMNS = 80, ROWS = 24 };

/* Opened and closed once: from then on the device's side can tell that nobody has it open (POLLHUP). */
static int prepare(const char *path)
{
	const struct winsize w = { .ws_col = COLUMNS, .ws_row = ROWS };
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC), ret = 0;
	struct termios t;

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &t) < 0) {
		ret = -errno;
	} else {
		cfmakeraw(&t);
		if (tcsetattr(fd, TCSANOW, &t) < 0 || ioctl(fd, TIOCSWINSZ, &w) < 0)
			ret = -errno;
	}
	close(fd);
	return ret;
}

/* Return: the device's side, or negative errno. */
static int make(char *path, size_t size)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		return -errno;
	ret = grantpt(fd) < 0 || unlockpt(fd) < 0 ? -errno : -ptsname_r(fd, path, size);
	if (ret == 0)
		ret = prepare(path);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

void vg_terminals_init(struct vg_terminals *all)
{
	memset(all, 0, sizeof(*all));
	all->memory = -1;
}

void vg_terminals_free(struct vg_terminals *all)
{
	for (unsigned i = 0; i < all->n; i++)
		close(all->t[i].device);
	if (all->memory >= 0)
		close(all->memory);
	vg_terminals_init(all);
}

static bool is_as(const struct vg_terminals *all, unsigned n,
		  char names[VG_TERMINALS][VG_TERMINAL_NAME])
{
	bool same = all->n == n;

	for (unsigned i = 0; same && i < n; i++)
		same = strcmp(all->t[i].name, names[i]) == 0;
	return same;
}

/* Of @size bytes, which nobody can change: whoever maps it relies on that. */
static int make_memory(size_t size)
{
	int fd = memfd_create("vgrant-terminals", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* All of @fresh, as @old has them or anew. Those that both have are @fresh's then. */
static int make_all(struct vg_terminals *fresh, struct vg_terminals *old, unsigned n,
		    char names[VG_TERMINALS][VG_TERMINAL_NAME])
{
	for (unsigned i = 0; i < n; i++) {
		int fd = -1;

		memcpy(fresh->t[i].name, names[i], VG_TERMINAL_NAME);
		for (unsigned k = 0; fd < 0 && k < old->n; k++) {
			if (strcmp(old->t[k].name, names[i]) != 0)
				continue;
			memcpy(fresh->t[i].path, old->t[k].path, sizeof(fresh->t[i].path));
			fd = fcntl(old->t[k].device, F_DUPFD_CLOEXEC, 0);
			if (fd < 0)
				return -errno;
		}
		if (fd < 0)
			fd = make(fresh->t[i].path, sizeof(fresh->t[i].path));
		if (fd < 0)
			return fd;
		fresh->t[i].device = fd;
		fresh->n++;
	}
	return 0;
}

int vg_terminals_make(struct vg_terminals *all, const char *spec, struct vg_err *err)
{
	char names[VG_TERMINALS][VG_TERMINAL_NAME];
	const struct vg_device_ops *ops;
	struct vg_terminals fresh;
	struct vg_params params;
	unsigned n = 0;
	int ret;

	/* What is wrong with it the worker says. */
	if (vg_params_parse(spec, &params, NULL) < 0)
		return 0;
	ops = vg_device_find(params.device);
	if (ops && ops->terminals)
		n = ops->terminals(&params, names);
	if (is_as(all, n, names))
		return 0;
	vg_terminals_init(&fresh);
	ret = make_all(&fresh, all, n, names);
	if (ret == 0 && n && ops->memory_size) {
		fresh.memory = make_memory(n * ops->memory_size);
		ret = fresh.memory < 0 ? fresh.memory : 0;
	}
	if (ret < 0) {
		vg_terminals_free(&fresh);
		return vg_fail(err, ret, "no pseudo-terminal can be made: %s", strerror(-ret));
	}
	vg_terminals_free(all);
	*all = fresh;
	return 0;
}

int vg_terminals_give(const struct vg_terminals *all, int sock)
{
	struct vg_ipc m = { .type = VG_IPC_MEMORY };
	int ret = all->memory >= 0 ? vg_ipc_send(sock, &m, all->memory) : 0;

	m.type = VG_IPC_TERMINAL;
	for (unsigned i = 0; ret == 0 && i < all->n; i++) {
		m.terminal.index = i;
		ret = vg_ipc_send(sock, &m, all->t[i].device);
	}
	return ret;
}

void vg_terminals_text(const struct vg_terminals *all, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < all->n && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s=%s", i ? " " : "",
				       all->t[i].name, all->t[i].path);
}
