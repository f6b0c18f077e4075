/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_handle.c - open handles, and what happens when their process dies
 *
 * A gnttab handle locks byte N of the file "locks", an evtchn handle its own
 * FIFO, both with open-file-description locks (fcntl(2), F_OFD_SETLK): the
 * lock belongs to the open file, is inherited by fork() and kept over exec()
 * as the file is, and goes when the last descriptor or process goes. So a
 * handle is alive exactly as long as /dev/xen/gntdev would be open.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void fifo_name(char name[32], unsigned int slot)
{
	snprintf(name, 32, "evtchn.%u", slot);
}

/*
 * fifo_fd() - a descriptor of a handle's FIFO that is not the handle's own
 *
 * @own: the handle is being opened by this process
 *
 * A process that restricted a handle is about to be confined by seccomp, and
 * would be killed for opening a file. It has its own FIFOs open by then, and
 * needs no others: guests are woken by futex.
 */
static int fifo_fd(struct fx_world *w, unsigned int slot, bool own)
{
	struct fxi_fifo *f = &w->fifo[slot];
	uint32_t gen = w->shm->handle[slot].gen;
	char name[32];
	int fd;

	pthread_mutex_lock(&w->cache_lock);
	if (f->fd >= 0 && f->gen != gen) {
		close(f->fd);
		f->fd = -1;
	}
	if (f->fd < 0 && (own || !__atomic_load_n(&w->sealed, __ATOMIC_RELAXED))) {
		fifo_name(name, slot);
		f->fd = openat(w->dirfd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		f->gen = gen;
	}
	fd = f->fd;
	pthread_mutex_unlock(&w->cache_lock);
	return fd;
}

/* take_slot() - a free slot, of @kind from now on; lock held */
static int take_slot(struct fx_world *w, enum fxi_kind kind, unsigned int domid)
{
	unsigned int i;

	for (i = 0; i < FX_MAX_HANDLES; i++) {
		struct fxi_handle *h = &w->shm->handle[i];

		if (h->kind != FXI_FREE)
			continue;
		h->gen++;
		h->domid = domid;
		h->restrict_domid = FXI_NO_DOMAIN;
		h->ino = 0;
		h->kind = kind;
		return (int)i;
	}
	return -EMFILE;
}

int fxi_handle_open(struct fx_world *w, enum fxi_kind kind, unsigned int domid, bool cloexec,
		    int *fdp)
{
	struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int flags = O_RDWR | (cloexec ? O_CLOEXEC : 0);
	char name[32];
	struct stat st;
	int slot, fd, rc = 0;

	fxi_lock(w);
	fxi_reap(w);
	slot = fxi_dom(w, domid) ? take_slot(w, kind, domid) : -ENODEV;
	if (slot < 0)
		goto out;
	if (kind == FXI_GNTTAB) {
		fd = openat(w->dirfd, "locks", flags);
		lk.l_start = slot;
	} else {
		fifo_name(name, (unsigned int)slot);
		unlinkat(w->dirfd, name, 0); /* of the slot's last user */
		fd = mkfifoat(w->dirfd, name, 0600) ? -1 : openat(w->dirfd, name, flags);
	}
	if (fd < 0 || fstat(fd, &st) || fcntl(fd, F_OFD_SETLK, &lk)) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		w->shm->handle[slot].kind = FXI_FREE;
		goto out;
	}
	w->shm->handle[slot].ino = st.st_ino;
	*fdp = fd;
	if (kind == FXI_EVTCHN)
		fifo_fd(w, (unsigned int)slot, true);
out:
	fxi_unlock(w);
	return rc ? rc : slot;
}

int fxi_handle_find(struct fx_world *w, int fd)
{
	struct stat st;
	int slot = -ENOENT;
	unsigned int i;

	if (fstat(fd, &st) || !S_ISFIFO(st.st_mode))
		return -ENOENT;
	fxi_lock(w);
	for (i = 0; i < FX_MAX_HANDLES; i++)
		if (w->shm->handle[i].kind == FXI_EVTCHN && w->shm->handle[i].ino == st.st_ino)
			slot = (int)i;
	fxi_unlock(w);
	return slot;
}

bool fxi_fifo_write(struct fx_world *w, unsigned int handle, uint32_t port)
{
	int fd = fifo_fd(w, handle, false);

	return fd >= 0 && write(fd, &port, sizeof(port)) == sizeof(port);
}

/* alive() - whether anyone still holds the handle's lock */
static bool alive(struct fx_world *w, unsigned int slot)
{
	struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int fd = w->lockfd;

	if (w->shm->handle[slot].kind == FXI_EVTCHN) {
		errno = 0;
		fd = fifo_fd(w, slot, false);
		/* FIFOs are made with the world locked: without one, its maker was killed. */
		if (fd < 0)
			return errno != ENOENT;
	} else {
		lk.l_start = slot;
	}
	/* What cannot be asked counts as alive: nothing is taken from the living. */
	return fcntl(fd, F_OFD_GETLK, &lk) || lk.l_type != F_UNLCK;
}

void fxi_reap(struct fx_world *w)
{
	struct fx_shm *s = w->shm;
	unsigned int i, j;

	for (i = 0; i < FX_MAX_HANDLES; i++) {
		struct fxi_handle *h = &s->handle[i];

		if (h->kind == FXI_FREE || alive(w, i))
			continue;
		if (h->kind == FXI_EVTCHN) {
			struct fxi_dom *d = fxi_dom(w, h->domid);

			for (j = 1; d && j < fxi_port_max(d); j++)
				if (d->port[j].state != FX_PORT_CLOSED &&
				    d->port[j].owner == FXI_HANDLE && d->port[j].handle == i)
					fxi_port_close(w, d, j);
		} else {
			for (j = 0; j < s->maps_used; j++)
				if (s->map[j].valid && s->map[j].handle == i)
					fxi_map_release(w, j);
		}
		h->kind = FXI_FREE;
	}
}
