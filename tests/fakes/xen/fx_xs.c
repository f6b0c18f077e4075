/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xs.c - libxenstore
 *
 * The functions of xenstore.h over two sockets: requests and replies travel
 * on one, watch events on the other, whose descriptor xs_fileno() returns. It
 * polls readable exactly while events wait, so no reader thread is needed;
 * everything else is as in tools/libs/store:
 *
 * - requests of several threads take turns; xs_read_watch() blocks,
 *   xs_check_watch() returns NULL, EAGAIN;
 * - values come NUL-terminated, lists in one block to be freed at once;
 * - with XS_UNWATCH_FILTER events of a watch that is gone are dropped;
 * - after xentoolcore_restrict_all() every request fails, EBADF, and no event
 *   comes any more.
 */
#include "backend/base/container.h"
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

struct my_watch {
	struct my_watch *next;
	char *path, *token;
};

struct xs_handle {
	struct fxi_active active;
	struct fx_world *w;
	int fd;			    /* requests */
	int efd;		    /* events */
	bool dead;		    /* restricted */
	bool filter;		    /* XS_UNWATCH_FILTER */
	pthread_mutex_t req_lock;   /* fd */
	pthread_mutex_t event_lock; /* efd, and the two below */
	struct my_watch *watches;   /* with filter only */
};

static int connect_to(struct fx_world *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/xenstore", w->dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static bool read_all(int fd, void *data, size_t len)
{
	while (len) {
		ssize_t n = read(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!n)
				errno = EBADF;
			return false;
		}
		data = (char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

static bool send_all(int fd, struct iovec *iov, int n)
{
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = (size_t)n };

	while (mh.msg_iovlen) {
		ssize_t done = sendmsg(fd, &mh, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		while (mh.msg_iovlen && (size_t)done >= mh.msg_iov->iov_len) {
			done -= (ssize_t)mh.msg_iov->iov_len;
			mh.msg_iov++;
			mh.msg_iovlen--;
		}
		if (mh.msg_iovlen) {
			mh.msg_iov->iov_base = (char *)mh.msg_iov->iov_base + done;
			mh.msg_iov->iov_len -= (size_t)done;
		}
	}
	return true;
}

static int err_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < COUNT(xsd_errors); i++)
		if (!strcmp(xsd_errors[i].errstring, name))
			return xsd_errors[i].errnum;
	return EINVAL;
}

/*
 * talk() - one request and its reply
 * @iov: payload; iov[0] is left for the header
 *
 * Return: malloc'd reply, NUL behind it, *len bytes; NULL with errno.
 */
static void *talk(int fd, uint32_t type, xs_transaction_t t, struct iovec *iov, int n,
		  unsigned int *len)
{
	struct xsd_sockmsg hdr = { .type = type, .tx_id = t };
	char *body;
	int i;

	for (i = 1; i < n; i++)
		hdr.len += (uint32_t)iov[i].iov_len;
	if (hdr.len > XENSTORE_PAYLOAD_MAX) {
		errno = E2BIG;
		return NULL;
	}
	iov[0] = (struct iovec){ &hdr, sizeof(hdr) };
	if (!send_all(fd, iov, n) || !read_all(fd, &hdr, sizeof(hdr)))
		return NULL;
	body = malloc(hdr.len + 1);
	if (!body || !read_all(fd, body, hdr.len)) {
		free(body);
		return NULL;
	}
	body[hdr.len] = '\0';
	if (hdr.type == XS_ERROR) {
		errno = err_of(body);
		free(body);
		return NULL;
	}
	if (len)
		*len = hdr.len;
	return body;
}

static void *ask(struct xs_handle *h, uint32_t type, xs_transaction_t t, struct iovec *iov, int n,
		 unsigned int *len)
{
	void *body = NULL;

	pthread_mutex_lock(&h->req_lock);
	if (h->dead)
		errno = EBADF;
	else
		body = talk(h->fd, type, t, iov, n, len);
	pthread_mutex_unlock(&h->req_lock);
	return body;
}

/* ask_str() - a request with one string */
static void *ask_str(struct xs_handle *h, uint32_t type, xs_transaction_t t, const char *s,
		     unsigned int *len)
{
	struct iovec iov[2];

	iov[1] = (struct iovec){ (void *)(uintptr_t)s, strlen(s) + 1 };
	return ask(h, type, t, iov, 2, len);
}

static bool ok(void *body)
{
	int err = errno;
	bool rc = body;

	free(body);
	errno = err;
	return rc;
}

/* ---- opening -------------------------------------------------------------- */

static int restrict_xs(struct fxi_active *a, unsigned int domid)
{
	struct xs_handle *h = (struct xs_handle *)a;
	int fd;

	(void)domid;
	pthread_mutex_lock(&h->req_lock);
	if (!h->dead) {
		h->dead = true;
		/* Keep the descriptor's number, but nothing will come from it. */
		fd = eventfd(0, EFD_CLOEXEC);
		if (fd >= 0) {
			dup2(fd, h->efd);
			close(fd);
		}
		close(h->fd);
		h->fd = -1;
	}
	pthread_mutex_unlock(&h->req_lock);
	return 0;
}

/* identify() - say whose connection it is, and where its events go */
static bool identify(struct xs_handle *h, unsigned int domid, bool quiet)
{
	struct iovec iov[2];
	char buf[32];
	void *id;
	int n;

	n = snprintf(buf, sizeof(buf), "%u%c%s", domid, 0, quiet ? "q" : "");
	iov[1] = (struct iovec){ buf, (size_t)n + (quiet ? 1 : 0) };
	id = talk(h->fd, FXI_XS_IDENTIFY, 0, iov, 2, NULL);
	if (!id)
		return false;
	iov[1] = (struct iovec){ id, strlen(id) + 1 };
	if (!ok(talk(h->efd, FXI_XS_EVENTS, 0, iov, 2, NULL))) {
		free(id);
		return false;
	}
	free(id);
	return true;
}

static struct xs_handle *open_in(struct fx_world *w, unsigned int domid, bool quiet, bool filter)
{
	struct xs_handle *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return NULL;
	h->w = w;
	h->filter = filter;
	h->efd = -1;
	h->fd = connect_to(w);
	if (h->fd >= 0)
		h->efd = connect_to(w);
	if (h->efd < 0 || !identify(h, domid, quiet)) {
		err = errno;
		if (h->fd >= 0)
			close(h->fd);
		if (h->efd >= 0)
			close(h->efd);
		free(h);
		errno = err;
		return NULL;
	}
	pthread_mutex_init(&h->req_lock, NULL);
	pthread_mutex_init(&h->event_lock, NULL);
	h->active.restrict_cb = restrict_xs;
	return h;
}

struct xs_handle *fxi_xs_open_as(struct fx_world *w, unsigned int domid)
{
	struct xs_handle *h = open_in(w, domid, domid == 0, false);

	if (h) {
		h->w = NULL;	       /* borrowed */
		h->active.prev = NULL; /* the test's own: not to be restricted */
	}
	return h;
}

struct xs_handle *xs_open(unsigned long flags)
{
	struct fx_world *w = fxi_world_get();
	struct xs_handle *h;

	if (!w)
		return NULL;
	h = open_in(w, fxi_self(), false, flags & XS_UNWATCH_FILTER);
	if (h) {
		fxi_active_add(&h->active);
	} else {
		int err = errno;

		fxi_world_put(w);
		errno = err;
	}
	return h;
}

void xs_close(struct xs_handle *h)
{
	if (!h)
		return;
	if (h->active.prev)
		fxi_active_del(&h->active);
	if (h->fd >= 0)
		close(h->fd);
	close(h->efd);
	while (h->watches) {
		struct my_watch *m = h->watches;

		h->watches = m->next;
		free(m->path);
		free(m->token);
		free(m);
	}
	pthread_mutex_destroy(&h->req_lock);
	pthread_mutex_destroy(&h->event_lock);
	if (h->w)
		fxi_world_put(h->w);
	free(h);
}

struct xs_handle *xs_daemon_open(void)
{
	return xs_open(0);
}

struct xs_handle *xs_domain_open(void)
{
	return xs_open(0);
}

struct xs_handle *xs_daemon_open_readonly(void)
{
	return xs_open(0);
}

void xs_daemon_close(struct xs_handle *h)
{
	xs_close(h);
}

void xs_daemon_destroy_postfork(struct xs_handle *h)
{
	xs_close(h);
}

/* ---- nodes ---------------------------------------------------------------- */

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
	return ask_str(h, XS_READ, t, path, len);
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
	      unsigned int len)
{
	struct iovec iov[3];

	iov[1] = (struct iovec){ (void *)(uintptr_t)path, strlen(path) + 1 };
	iov[2] = (struct iovec){ (void *)(uintptr_t)data, len };
	return ok(ask(h, XS_WRITE, t, iov, 3, NULL));
}

bool xs_mkdir(struct xs_handle *h, xs_transaction_t t, const char *path)
{
	return ok(ask_str(h, XS_MKDIR, t, path, NULL));
}

bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
	return ok(ask_str(h, XS_RM, t, path, NULL));
}

/* vector() - strings of @len bytes as an array in one block with them */
static char **vector(const char *strings, unsigned int len, unsigned int *num)
{
	unsigned int i, n = 0;
	char **v, *copy;

	for (i = 0; i < len; i++)
		n += strings[i] == '\0';
	v = malloc((n + 1) * sizeof(*v) + len + 1);
	if (!v)
		return NULL;
	copy = (char *)&v[n + 1];
	memcpy(copy, strings, len);
	copy[len] = '\0';
	for (i = 0; i < n; i++) {
		v[i] = copy;
		copy += strlen(copy) + 1;
	}
	v[n] = NULL;
	*num = n;
	return v;
}

/* directory_part() - a directory that does not fit one message */
static char *directory_part(struct xs_handle *h, xs_transaction_t t, const char *path,
			    unsigned int *len)
{
	char gen[32] = "", off[16], *all = NULL, *p, *body;
	unsigned int used = 0, n, skip;
	struct iovec iov[3];

	for (;;) {
		snprintf(off, sizeof(off), "%u", used);
		iov[1] = (struct iovec){ (void *)(uintptr_t)path, strlen(path) + 1 };
		iov[2] = (struct iovec){ off, strlen(off) + 1 };
		body = ask(h, XS_DIRECTORY_PART, t, iov, 3, &n);
		if (!body)
			break;
		if (used && strcmp(gen, body)) { /* changed meanwhile: again */
			used = 0;
			free(body);
			continue;
		}
		snprintf(gen, sizeof(gen), "%s", body);
		skip = (unsigned int)strlen(body) + 1;
		p = realloc(all, used + n);
		if (!p)
			break;
		all = p;
		memcpy(all + used, body + skip, n - skip);
		used += n - skip;
		free(body);
		if (used && all[used - 1] == '\0' && (used == 1 || all[used - 2] == '\0')) {
			*len = used - 1;
			return all;
		}
	}
	free(body);
	free(all);
	return NULL;
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
	unsigned int len = 0;
	char *body = ask_str(h, XS_DIRECTORY, t, path, &len), **v;

	if (!body && errno == E2BIG)
		body = directory_part(h, t, path, &len);
	if (!body)
		return NULL;
	v = vector(body, len, num);
	free(body);
	return v;
}

struct xs_permissions *xs_get_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
					  unsigned int *num)
{
	unsigned int len, i, n;
	char *body = ask_str(h, XS_GET_PERMS, t, path, &len), **v;
	struct xs_permissions *p;

	if (!body)
		return NULL;
	v = vector(body, len, &n);
	free(body);
	p = v ? malloc((n + 1) * sizeof(*p)) : NULL;
	for (i = 0; p && i < n; i++) {
		p[i].id = (unsigned int)strtoul(v[i] + 1, NULL, 10);
		p[i].perms = v[i][0] == 'r'   ? XS_PERM_READ
			     : v[i][0] == 'w' ? XS_PERM_WRITE
			     : v[i][0] == 'b' ? (XS_PERM_READ | XS_PERM_WRITE)
					      : XS_PERM_NONE;
	}
	free(v);
	if (p)
		*num = n;
	return p;
}

bool xs_set_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
			struct xs_permissions *perms, unsigned int num_perms)
{
	static const char letter[4] = { 'n', 'r', 'w', 'b' };
	char buf[XENSTORE_PAYLOAD_MAX];
	struct iovec iov[3];
	size_t used = 0;
	unsigned int i;

	for (i = 0; i < num_perms; i++) {
		if (used + 16 > sizeof(buf)) {
			errno = E2BIG;
			return false;
		}
		used += (size_t)sprintf(buf + used, "%c%u", letter[perms[i].perms & 3],
					perms[i].id) +
			1;
	}
	iov[1] = (struct iovec){ (void *)(uintptr_t)path, strlen(path) + 1 };
	iov[2] = (struct iovec){ buf, used };
	return ok(ask(h, XS_SET_PERMS, t, iov, 3, NULL));
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
	char *id = ask_str(h, XS_TRANSACTION_START, XBT_NULL, "", NULL);
	xs_transaction_t t = id ? (xs_transaction_t)strtoul(id, NULL, 10) : XBT_NULL;

	free(id);
	return t;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool abort)
{
	return ok(ask_str(h, XS_TRANSACTION_END, t, abort ? "F" : "T", NULL));
}

/* ---- domains -------------------------------------------------------------- */

static char *ask_domain(struct xs_handle *h, uint32_t type, unsigned int domid)
{
	char buf[16];

	snprintf(buf, sizeof(buf), "%u", domid);
	return ask_str(h, type, XBT_NULL, buf, NULL);
}

bool xs_introduce_domain(struct xs_handle *h, unsigned int domid, unsigned long mfn,
			 unsigned int eventchn)
{
	(void)mfn;
	(void)eventchn;
	return ok(ask_domain(h, XS_INTRODUCE, domid));
}

bool xs_release_domain(struct xs_handle *h, unsigned int domid)
{
	return ok(ask_domain(h, XS_RELEASE, domid));
}

char *xs_get_domain_path(struct xs_handle *h, unsigned int domid)
{
	return ask_domain(h, XS_GET_DOMAIN_PATH, domid);
}

bool xs_is_domain_introduced(struct xs_handle *h, unsigned int domid)
{
	char *r = ask_domain(h, XS_IS_DOMAIN_INTRODUCED, domid);
	bool yes = r && r[0] == 'T';

	free(r);
	return yes;
}

bool xs_path_is_subpath(const char *parent, const char *child)
{
	size_t len = strlen(parent);

	return !strncmp(child, parent, len) && (!child[len] || child[len] == '/');
}

bool xs_restrict(struct xs_handle *h, unsigned domid)
{
	(void)h;
	(void)domid;
	return false;
}

/* ---- watches -------------------------------------------------------------- */

static bool two_strings(struct xs_handle *h, uint32_t type, const char *a, const char *b)
{
	struct iovec iov[3];

	iov[1] = (struct iovec){ (void *)(uintptr_t)a, strlen(a) + 1 };
	iov[2] = (struct iovec){ (void *)(uintptr_t)b, strlen(b) + 1 };
	return ok(ask(h, type, XBT_NULL, iov, 3, NULL));
}

static struct my_watch **find_watch(struct xs_handle *h, const char *path, const char *token)
{
	struct my_watch **p;

	for (p = &h->watches; *p; p = &(*p)->next)
		if ((!path || !strcmp((*p)->path, path)) && !strcmp((*p)->token, token))
			break;
	return p;
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
	struct my_watch *m;

	if (h->filter) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return false;
		m->path = strdup(path);
		m->token = strdup(token);
		pthread_mutex_lock(&h->event_lock);
		m->next = h->watches;
		h->watches = m;
		pthread_mutex_unlock(&h->event_lock);
	}
	return two_strings(h, XS_WATCH, path, token);
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
	struct my_watch **p, *m;

	if (h->filter) {
		pthread_mutex_lock(&h->event_lock);
		p = find_watch(h, path, token);
		m = *p;
		if (m) {
			*p = m->next;
			free(m->path);
			free(m->token);
			free(m);
		}
		pthread_mutex_unlock(&h->event_lock);
	}
	return two_strings(h, XS_UNWATCH, path, token);
}

int xs_fileno(struct xs_handle *h)
{
	return h->efd;
}

/* next_event() - read one event; @wait: block. NULL with errno */
static char **next_event(struct xs_handle *h, bool wait, unsigned int *num)
{
	struct pollfd pfd = { .fd = h->efd, .events = POLLIN };
	struct xsd_sockmsg hdr;
	char **v = NULL, *body;

	pthread_mutex_lock(&h->event_lock);
	while (!v) {
		if (poll(&pfd, 1, wait ? -1 : 0) < 0 && errno != EINTR)
			break;
		if (!(pfd.revents & POLLIN)) {
			if (wait)
				continue;
			errno = EAGAIN;
			break;
		}
		if (!read_all(h->efd, &hdr, sizeof(hdr)))
			break;
		body = malloc(hdr.len + 1);
		if (!body || !read_all(h->efd, body, hdr.len)) {
			free(body);
			break;
		}
		v = vector(body, hdr.len, num);
		free(body);
		if (v && h->filter && *num > 1 && !*find_watch(h, NULL, v[XS_WATCH_TOKEN])) {
			free(v);
			v = NULL;
		}
	}
	pthread_mutex_unlock(&h->event_lock);
	return v;
}

char **xs_read_watch(struct xs_handle *h, unsigned int *num)
{
	return next_event(h, true, num);
}

char **xs_check_watch(struct xs_handle *h)
{
	unsigned int num;

	return next_event(h, false, &num);
}
