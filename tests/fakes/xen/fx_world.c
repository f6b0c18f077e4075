/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_world.c - making, opening and locking a fake Xen world
 *
 * A world is a directory (fake_xen.h). Its shared file is mapped once in each
 * process; library handles and the test's own struct fx_world share that
 * mapping by reference count. Guests map their memory a second time, so that
 * a thread sanitizer never mistakes the guest's view for the backend's.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t worlds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fx_world *worlds;

unsigned int fxi_self(void)
{
	const char *s = getenv("FAKE_XEN_DOMID");

	return s ? (unsigned int)strtoul(s, NULL, 10) : 0;
}

/* ---- the lock ------------------------------------------------------------- */

/*
 * fxi_recover() - rebuild what a process that died in the middle left behind
 *
 * The maptrack entries are the truth for grants; a port is interdomain only
 * if its peer says so too.
 */
static void fxi_recover(struct fx_world *w)
{
	struct fx_shm *s = w->shm;
	unsigned int i, j;

	for (i = 0; i < FX_MAX_DOMAINS; i++) {
		struct fxi_dom *d = &s->dom[i];

		if (d->state == FXI_DOM_FREE)
			continue;
		d->pinned = d->mapped = 0;
		for (j = 0; j < FX_MAX_GRANTS; j++)
			d->grant[j].maps = d->grant[j].writers = 0;
	}
	s->map_free = 0;
	for (i = s->maps_used; i-- > 0;) {
		struct fxi_map *m = &s->map[i];
		struct fxi_grant *g = &s->dom[m->granter].grant[m->ref];

		if (!m->valid) {
			m->next_free = s->map_free;
			s->map_free = i + 1;
			continue;
		}
		g->maps++;
		g->writers += !m->ro;
		s->dom[m->granter].pinned++;
		s->dom[m->mapper].mapped++;
	}
	for (i = 0; i < FX_MAX_DOMAINS; i++) {
		struct fxi_dom *d = &s->dom[i];

		for (j = 1; d->state == FXI_DOM_ALIVE && j < fxi_port_max(d); j++) {
			struct fxi_port *p = &d->port[j];
			struct fxi_dom *r;

			if (p->state != FX_PORT_INTERDOMAIN)
				continue;
			r = fxi_dom(w, p->remote);
			if (!r || r->port[p->remote_port].state != FX_PORT_INTERDOMAIN ||
			    r->port[p->remote_port].remote != d->domid ||
			    r->port[p->remote_port].remote_port != j)
				p->state = FX_PORT_CLOSED;
		}
	}
}

void fxi_lock(struct fx_world *w)
{
	int rc = pthread_mutex_lock(&w->shm->lock);

	if (rc == EOWNERDEAD) {
		fxi_recover(w);
		rc = pthread_mutex_consistent(&w->shm->lock);
	}
	if (rc) {
		fprintf(stderr, "fake-xen: cannot lock %s: %s\n", w->dir, strerror(rc));
		abort();
	}
}

void fxi_unlock(struct fx_world *w)
{
	pthread_mutex_unlock(&w->shm->lock);
}

/* ---- domains -------------------------------------------------------------- */

struct fxi_dom *fxi_dom(struct fx_world *w, unsigned int domid)
{
	unsigned int i;

	if (domid == FXI_DOMID_SELF)
		domid = fxi_self();
	for (i = 0; i < FX_MAX_DOMAINS; i++)
		if (w->shm->dom[i].state == FXI_DOM_ALIVE && w->shm->dom[i].domid == domid)
			return &w->shm->dom[i];
	return NULL;
}

unsigned int fxi_slot(const struct fx_world *w, const struct fxi_dom *d)
{
	return (unsigned int)(d - w->shm->dom);
}

uint64_t fxi_mem_off(unsigned int slot, uint32_t pfn)
{
	return FXI_MEM_BASE + slot * FXI_MEM_BYTES + (uint64_t)pfn * FX_PAGE_SIZE;
}

void fxi_dom_put(struct fx_world *w, struct fxi_dom *d)
{
	if (d->state != FXI_DOM_DEAD || d->pinned || d->mapped)
		return;
	/* Its pages go back to being a hole; a window on them reads zeroes. */
	fallocate(w->shmfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  (off_t)fxi_mem_off(fxi_slot(w, d), 0), (off_t)FXI_MEM_BYTES);
	d->state = FXI_DOM_FREE;
}

uint8_t *fxi_window(struct fx_world *w, unsigned int slot)
{
	uint8_t *p;

	pthread_mutex_lock(&w->cache_lock);
	p = w->mem[slot];
	if (!p) {
		p = mmap(NULL, FXI_MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			 w->shmfd, (off_t)fxi_mem_off(slot, 0));
		if (p == MAP_FAILED)
			p = NULL;
		w->mem[slot] = p;
	}
	pthread_mutex_unlock(&w->cache_lock);
	return p;
}

/* ---- counters and faults -------------------------------------------------- */

int fxi_fault(struct fxi_dom *d, enum fx_op op, int dflt)
{
	struct fxi_fault *f = &d->fault[op];

	if (!f->count)
		return 0;
	if (f->skip) {
		f->skip--;
		return 0;
	}
	f->count--;
	return f->status ? f->status : dflt;
}

void fxi_count(struct fxi_dom *d, enum fx_op op, unsigned int hypercalls, unsigned int items,
	       unsigned int failed)
{
	d->stats.calls[op]++;
	d->stats.hypercalls[op] += hypercalls;
	d->stats.items[op] += items;
	d->stats.failed[op] += failed;
}

void fx_stats(struct fx_world *w, unsigned int domid, struct fx_stats *out)
{
	struct fxi_dom *d;
	unsigned int i;

	memset(out, 0, sizeof(*out));
	fxi_lock(w);
	fxi_reap(w);
	d = fxi_dom(w, domid);
	if (d) {
		*out = d->stats;
		out->mapped = d->mapped;
		out->ports = out->bound = 0;
		for (i = 1; i < fxi_port_max(d); i++) {
			out->ports += d->port[i].state != FX_PORT_CLOSED;
			out->bound += d->port[i].state == FX_PORT_INTERDOMAIN;
		}
		out->handles = 0;
		for (i = 0; i < FX_MAX_HANDLES; i++)
			out->handles += w->shm->handle[i].kind != FXI_FREE &&
					w->shm->handle[i].domid == domid;
	}
	fxi_unlock(w);
}

void fx_stats_reset(struct fx_world *w, unsigned int domid)
{
	struct fxi_dom *d;

	fxi_lock(w);
	d = fxi_dom(w, domid);
	if (d)
		memset(&d->stats, 0, sizeof(d->stats));
	fxi_unlock(w);
}

void fx_inject(struct fx_world *w, unsigned int domid, enum fx_op op, const struct fx_fault *fault)
{
	struct fxi_dom *d;

	fxi_lock(w);
	d = fxi_dom(w, domid);
	if (d)
		d->fault[op] = (struct fxi_fault){ fault->skip, fault->count, fault->status };
	fxi_unlock(w);
}

void fx_xs_delay(struct fx_world *w, unsigned int us)
{
	__atomic_store_n(&w->shm->xs_delay_us, us, __ATOMIC_RELAXED);
}

void fx_gntdev_stock(struct fx_world *w, bool stock)
{
	__atomic_store_n(&w->shm->gntdev_stock, stock, __ATOMIC_RELAXED);
}

void fx_xs_conflict(struct fx_world *w, unsigned int n)
{
	__atomic_store_n(&w->shm->xs_conflict, n, __ATOMIC_RELAXED);
}

/* ---- opening -------------------------------------------------------------- */

static void world_free(struct fx_world *w)
{
	unsigned int i;

	for (i = 0; i < FX_MAX_DOMAINS; i++)
		if (w->mem[i])
			munmap(w->mem[i], FXI_MEM_BYTES);
	for (i = 0; i < FX_MAX_HANDLES; i++)
		if (w->fifo[i].fd >= 0)
			close(w->fifo[i].fd);
	if (w->shm)
		munmap(w->shm, FXI_MEM_BASE);
	if (w->lockfd >= 0)
		close(w->lockfd);
	if (w->shmfd >= 0)
		close(w->shmfd);
	if (w->dirfd >= 0)
		close(w->dirfd);
	pthread_mutex_destroy(&w->cache_lock);
	free(w);
}

/* world_open() - map a world that exists, or (@create) make its files */
static struct fx_world *world_open(const char *dir, bool create)
{
	int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
	struct fx_world *w = calloc(1, sizeof(*w));
	unsigned int i;
	int err;

	if (!w)
		return NULL;
	w->refs = 1;
	w->lifeline = w->lockfd = w->shmfd = -1;
	for (i = 0; i < FX_MAX_HANDLES; i++)
		w->fifo[i].fd = -1;
	pthread_mutex_init(&w->cache_lock, NULL);
	w->dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	if (w->dirfd < 0)
		goto fail;
	if (snprintf(w->dir, sizeof(w->dir), "%s", dir) >= (int)sizeof(w->dir)) {
		errno = ENAMETOOLONG;
		goto fail;
	}
	w->shmfd = openat(w->dirfd, "world", flags, 0600);
	if (w->shmfd < 0)
		goto fail;
	w->lockfd = openat(w->dirfd, "locks", flags, 0600);
	if (w->lockfd < 0)
		goto fail;
	if (create && ftruncate(w->shmfd, (off_t)fxi_mem_off(FX_MAX_DOMAINS, 0)))
		goto fail;
	w->shm = mmap(NULL, FXI_MEM_BASE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		      w->shmfd, 0);
	if (w->shm == MAP_FAILED) {
		w->shm = NULL;
		goto fail;
	}
	if (!create && __atomic_load_n(&w->shm->magic, __ATOMIC_ACQUIRE) != FXI_MAGIC) {
		errno = ENOENT;
		goto fail;
	}
	return w;
fail:
	err = errno;
	world_free(w);
	errno = err;
	return NULL;
}

/* world_get() - a reference to the world in @dir, mapping it if need be */
static struct fx_world *world_get(const char *dir)
{
	struct fx_world *w;

	pthread_mutex_lock(&worlds_lock);
	for (w = worlds; w; w = w->next)
		if (!strcmp(w->dir, dir))
			break;
	if (w) {
		w->refs++;
	} else {
		w = world_open(dir, false);
		if (w) {
			w->next = worlds;
			worlds = w;
		}
	}
	pthread_mutex_unlock(&worlds_lock);
	return w;
}

struct fx_world *fxi_world_get(void)
{
	const char *dir = getenv("FAKE_XEN_DIR");

	if (!dir) {
		errno = ENOENT;
		return NULL;
	}
	return world_get(dir);
}

void fxi_world_put(struct fx_world *w)
{
	struct fx_world **p;

	pthread_mutex_lock(&worlds_lock);
	if (--w->refs == 0) {
		for (p = &worlds; *p; p = &(*p)->next) {
			if (*p == w) {
				*p = w->next;
				break;
			}
		}
		world_free(w);
	}
	pthread_mutex_unlock(&worlds_lock);
}

int fx_world_attach(const char *dir, struct fx_world **out)
{
	struct fx_world *w = dir ? world_get(dir) : fxi_world_get();

	if (!w)
		return -errno;
	*out = w;
	return 0;
}

/* drop_xs() - close the world's own xenstore connection */
static void drop_xs(struct fx_world *w)
{
	struct xs_handle *xs = w->xs;

	w->xs = NULL;
	xs_close(xs);
}

void fx_world_detach(struct fx_world *w)
{
	drop_xs(w);
	fxi_world_put(w);
}

const char *fx_world_dir(const struct fx_world *w)
{
	return w->dir;
}

struct xs_handle *fx_xs(struct fx_world *w)
{
	if (!w->xs)
		w->xs = fxi_xs_open_as(w, 0);
	return w->xs;
}

/* ---- making --------------------------------------------------------------- */

/* shm_init() - the lock and domain 0 */
static int shm_init(struct fx_shm *s)
{
	pthread_mutexattr_t attr;
	int rc;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	rc = -pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	if (rc)
		return rc;
	s->next_domid = 1;
	s->dom[0].state = FXI_DOM_ALIVE;
	s->dom[0].domid = 0;
	s->dom[0].pages = FX_MAX_PAGES;
	__atomic_store_n(&s->magic, FXI_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

static int listen_at(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/xenstore", dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 128)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* world_remove() - remove the files of a world; what is open lives on */
static void world_remove(struct fx_world *w)
{
	unsigned int i;
	char name[32];

	for (i = 0; i < FX_MAX_HANDLES; i++) {
		if (!w->shm->handle[i].gen)
			continue;
		snprintf(name, sizeof(name), "evtchn.%u", i);
		unlinkat(w->dirfd, name, 0);
	}
	unlinkat(w->dirfd, "xenstore", 0);
	unlinkat(w->dirfd, "locks", 0);
	unlinkat(w->dirfd, "world", 0);
	rmdir(w->dir);
}

/* daemon_main() - the child that is xenstored; never returns */
__attribute__((noreturn)) static void daemon_main(struct fx_world *w, int listen_fd, int lifeline)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int fd;

	prctl(PR_SET_NAME, "fakexend");
	signal(SIGINT, SIG_IGN); /* the test decides */
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	for (fd = 3; fd < 1024; fd++) /* do not keep the test's pipes open */
		if ((int)fd != listen_fd && (int)fd != lifeline && (int)fd != w->dirfd &&
		    (int)fd != w->shmfd && (int)fd != w->lockfd)
			close((int)fd);
	fxi_xenstored(w, listen_fd, lifeline);
	world_remove(w);
	_exit(0);
}

int fx_world_start(const char *dir, struct fx_world **out)
{
	char tmp[] = "/dev/shm/fake-xen.XXXXXX", tmp2[] = "/tmp/fake-xen.XXXXXX";
	int life[2], listen_fd, rc;
	struct fx_world *w;
	pid_t pid;

	if (!dir) {
		dir = mkdtemp(tmp);
		if (!dir)
			dir = mkdtemp(tmp2);
		if (!dir)
			return -errno;
	} else if (mkdir(dir, 0700) && errno != EEXIST) {
		return -errno;
	}
	w = world_open(dir, true);
	if (!w)
		return -errno;
	rc = shm_init(w->shm);
	listen_fd = rc ? rc : listen_at(dir);
	if (listen_fd < 0 || pipe2(life, O_CLOEXEC)) {
		rc = listen_fd < 0 ? listen_fd : -errno;
		goto fail;
	}
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(life[0]);
		close(life[1]);
		close(listen_fd);
		goto fail;
	}
	if (!pid) {
		close(life[1]);
		daemon_main(w, listen_fd, life[0]);
	}
	close(listen_fd);
	close(life[0]);
	w->daemon = w->shm->daemon = pid;
	w->lifeline = life[1];
	setenv("FAKE_XEN_DIR", w->dir, 1);
	pthread_mutex_lock(&worlds_lock);
	w->next = worlds;
	worlds = w;
	pthread_mutex_unlock(&worlds_lock);
	*out = w;
	return 0;
fail:
	world_remove(w);
	world_free(w);
	return rc;
}

void fx_world_stop(struct fx_world *w)
{
	if (!w)
		return;
	drop_xs(w);
	if (w->daemon) {
		kill(w->daemon, SIGTERM);
		waitpid(w->daemon, NULL, 0);
		w->daemon = 0;
	}
	close(w->lifeline);
	world_remove(w);
	fxi_world_put(w);
}
