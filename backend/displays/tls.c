// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tls.c - see tls.h
 *
 * libvncserver's server speaks no TLS to viewers. So between a viewer and the process with that library
 * stands another one, which has the key and two sockets:
 *
 *	viewer ---- TLS ---- this ---- RFB ---- displays/vnc.c
 *
 * A viewer comes in one of two ways:
 *
 *  VeNCrypt   ("VeNCrypt" of the community's RFB protocol, version 0.2; security type 19) The versions are
 *	       told in the clear; TLS is all that is offered; then comes what the other side asks for,
 *	       a password or nothing, within TLS.
 *  at once    It begins with TLS, as a browser does (wss://), or a tunnel: all is within.
 *
 * The other side is told the viewer's version and which security type is meant, and from then on bytes
 * are passed, of which none is looked at. What a stranger sends is parsed by GnuTLS, and, before TLS, as
 * four messages of fixed sizes.
 */
#include "backend/displays/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/displays/listen.h"

enum {
	PATIENCE_S = 20, /* from a connection to the end of TLS' handshake; as libvncserver's */
	HELLO_MS = 150,	 /* for who begins with TLS: others wait for us */
	VERSION = 12,	 /* "RFB 003.008\n" */
	PASSED = 16384,	 /* a record of TLS */
	FILE_MAX = 256 << 10, /* of certificates, or of a key */
	TLS_HANDSHAKE = 22,   /* RFC 8446, 5.1: the first byte of who begins */
};

/* RFC 6143, 7.2; RFB protocol, "VeNCrypt". */
enum {
	SEC_NONE = 1,
	SEC_VNC = 2,
	SEC_VENCRYPT = 19,
	TLS_NONE = 257,
	TLS_VNC = 258,
	X509_NONE = 260,
	X509_VNC = 261,
};

struct vg_tls {
	bool anon;
	gnutls_anon_server_credentials_t anon_cred;
	gnutls_certificate_credentials_t cert;
	gnutls_priority_t priority;
};

/* ---- certificates ------------------------------------------------------------------- */

/* A whole file. Return: 0, or negative errno; *@out is to be freed. */
static int read_file(const char *path, gnutls_datum_t *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), ret = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	*out = (gnutls_datum_t){ 0 };
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		ret = -EINVAL;
	else if (st.st_size > FILE_MAX)
		ret = -EFBIG;
	out->data = ret == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	while (out->data &&
	       (n = read(fd, out->data + out->size, (size_t)st.st_size - out->size)) > 0)
		out->size += (unsigned)n;
	close(fd);
	return ret < 0 ? ret : out->data ? 0 : -ENOMEM;
}

static void forget_file(gnutls_datum_t *d)
{
	if (d->data)
		explicit_bzero(d->data, d->size);
	free(d->data);
	d->data = NULL;
}

static int load_files(struct vg_tls *t, const char *folder, struct vg_err *err)
{
	static const char *const names[] = { "server-cert.pem", "server-key.pem" };
	gnutls_datum_t files[2] = { 0 };
	int ret = 0;

	for (unsigned i = 0; i < 2 && ret == 0; i++) {
		char path[300];

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, names[i]) >= sizeof(path))
			ret = -ENAMETOOLONG;
		else
			ret = read_file(path, &files[i]);
		if (ret < 0)
			vg_fail(err, ret, "vnc-tls=%.150s: %s cannot be read: %s", folder, names[i],
				strerror(-ret));
	}
	if (ret == 0) {
		ret = gnutls_certificate_set_x509_key_mem(t->cert, &files[0], &files[1],
							  GNUTLS_X509_FMT_PEM);
		if (ret < 0)
			ret = vg_fail(err, -EINVAL,
				      "vnc-tls=%.150s: certificate and key are no use: %.60s",
				      folder, gnutls_strerror(ret));
	}
	forget_file(&files[0]);
	forget_file(&files[1]);
	return ret;
}

int vg_tls_load(const char *value, struct vg_tls **out, struct vg_err *err)
{
	struct vg_tls *t = calloc(1, sizeof(*t));
	int ret = vg_listen_check_tls(value, err);

	if (!t)
		return vg_fail(err, -ENOMEM, "out of memory");
	t->anon = ret == 0 && strcmp(value, "anon") == 0;
	/* Nobody is anonymous in TLS 1.3. */
	if (ret == 0 &&
	    (gnutls_priority_init(&t->priority,
				  t->anon ? "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ANON-ECDH:"
					    "+ANON-DH"
					  : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
				  NULL) < 0 ||
	     gnutls_anon_allocate_server_credentials(&t->anon_cred) < 0 ||
	     gnutls_certificate_allocate_credentials(&t->cert) < 0 ||
	     gnutls_anon_set_server_known_dh_params(t->anon_cred, GNUTLS_SEC_PARAM_MEDIUM) < 0))
		ret = vg_fail(err, -ENOMEM, "vnc-tls: GnuTLS cannot be set up");
	if (ret == 0 && !t->anon)
		ret = load_files(t, value, err);
	if (ret == 0)
		*out = t;
	else
		vg_tls_free(t);
	return ret;
}

void vg_tls_free(struct vg_tls *t)
{
	if (!t)
		return;
	if (t->cert)
		gnutls_certificate_free_credentials(t->cert);
	if (t->anon_cred)
		gnutls_anon_free_server_credentials(t->anon_cred);
	if (t->priority)
		gnutls_priority_deinit(t->priority);
	free(t);
}

/* ---- before TLS ------------------------------------------------------------------------ */

/* Of one viewer. */
struct link {
	int client, server;
	int64_t deadline;
	gnutls_session_t session;
	bool password;
};

/* Until @fd is ready for @events, or patience is over. Return: whether it is. */
static bool await(const struct link *l, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left;
	int ret;

	do {
		left = (l->deadline - vg_now_ns()) / (NS_PER_S / 1000);
		if (left <= 0)
			return false;
		ret = poll(&p, 1, (int)left);
	} while (ret < 0 && errno == EINTR);
	return ret == 1;
}

static bool get(const struct link *l, int fd, void *to, size_t n)
{
	uint8_t *at = to;

	while (n) {
		ssize_t done = await(l, fd, POLLIN) ? read(fd, at, n) : 0;

		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (done <= 0)
			return false;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

static bool put(const struct link *l, int fd, const void *from, size_t n)
{
	const uint8_t *at = from;

	while (n) {
		ssize_t done = await(l, fd, POLLOUT) ? write(fd, at, n) : 0;

		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (done <= 0)
			return false;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

static bool put_byte(const struct link *l, int fd, uint8_t byte)
{
	return put(l, fd, &byte, 1);
}

/* Whether it begins with TLS; others wait for what we say. Without taking the byte. */
static bool begins_with_tls(const struct link *l)
{
	struct pollfd p = { .fd = l->client, .events = POLLIN };
	uint8_t first;

	return poll(&p, 1, HELLO_MS) == 1 && recv(l->client, &first, 1, MSG_PEEK) == 1 &&
	       first == TLS_HANDSHAKE;
}

/* Our versions, the security type, VeNCrypt's own. Return: whether TLS comes next; @version: the
 * viewer's. */
static bool agree(const struct link *l, const struct vg_tls *t, char version[VERSION])
{
	const uint32_t only =
		t->anon ? (l->password ? TLS_VNC : TLS_NONE) : (l->password ? X509_VNC : X509_NONE);
	const uint8_t types[] = { 1, SEC_VENCRYPT }, ours[] = { 0, 2 },
		      subtypes[] = { 0, 1, 0, 0, (uint8_t)(only >> 8), (uint8_t)only };
	uint8_t type, theirs[2], chosen[4];

	if (!put(l, l->client, "RFB 003.008\n", VERSION) || !get(l, l->client, version, VERSION) ||
	    (memcmp(version, "RFB 003.008\n", VERSION) != 0 &&
	     memcmp(version, "RFB 003.007\n", VERSION) != 0))
		return false;
	if (!put(l, l->client, types, sizeof(types)) || !get(l, l->client, &type, 1) ||
	    type != SEC_VENCRYPT)
		return false;
	if (!put(l, l->client, ours, sizeof(ours)) || !get(l, l->client, theirs, sizeof(theirs)))
		return false;
	if (memcmp(theirs, ours, sizeof(ours)) != 0) {
		put_byte(l, l->client, 255);
		return false;
	}
	/* Its version will do; one subtype. */
	if (!put(l, l->client, subtypes, sizeof(subtypes)) ||
	    !get(l, l->client, chosen, sizeof(chosen)))
		return false;
	if (memcmp(chosen, subtypes + 2, sizeof(chosen)) != 0) {
		put_byte(l, l->client, 0);
		return false;
	}
	return put_byte(l, l->client, 1);
}

/* What the viewer would have said to the other side, had it heard it. */
static bool speak_for(const struct link *l, const char version[VERSION])
{
	uint8_t n, types[255];
	char theirs[VERSION];

	return get(l, l->server, theirs, sizeof(theirs)) && put(l, l->server, version, VERSION) &&
	       get(l, l->server, &n, 1) && n && get(l, l->server, types, n) &&
	       put_byte(l, l->server, l->password ? SEC_VNC : SEC_NONE);
}

/* ---- TLS ---------------------------------------------------------------------------------- */

/* By read(2) and write(2): GnuTLS would use sendmsg(2), which the sandbox has not. */
static ssize_t push(gnutls_transport_ptr_t p, const void *from, size_t n)
{
	return write(((struct link *)p)->client, from, n);
}

static ssize_t pull(gnutls_transport_ptr_t p, void *to, size_t n)
{
	return read(((struct link *)p)->client, to, n);
}

static int pull_timeout(gnutls_transport_ptr_t p, unsigned ms)
{
	struct pollfd f = { .fd = ((struct link *)p)->client, .events = POLLIN };

	return poll(&f, 1, (int)ms);
}

static bool shake_hands(struct link *l, struct vg_tls *t)
{
	int ret;

	if (gnutls_init(&l->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
		l->session = NULL;
		return false;
	}
	gnutls_transport_set_ptr(l->session, l);
	gnutls_transport_set_push_function(l->session, push);
	gnutls_transport_set_pull_function(l->session, pull);
	gnutls_transport_set_pull_timeout_function(l->session, pull_timeout);
	gnutls_handshake_set_timeout(l->session, GNUTLS_INDEFINITE_TIMEOUT);
	if (gnutls_priority_set(l->session, t->priority) < 0 ||
	    (t->anon ? gnutls_credentials_set(l->session, GNUTLS_CRD_ANON, t->anon_cred)
		     : gnutls_credentials_set(l->session, GNUTLS_CRD_CERTIFICATE, t->cert)) < 0)
		return false;
	while ((ret = gnutls_handshake(l->session)) < 0 && !gnutls_error_is_fatal(ret)) {
		if ((ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED) &&
		    !await(l, l->client,
			   gnutls_record_get_direction(l->session) ? POLLOUT : POLLIN))
			return false;
	}
	if (ret < 0)
		vg_debug("VNC: no TLS with a viewer: %s", gnutls_strerror(ret));
	return ret == 0;
}

struct bytes {
	uint8_t at[PASSED];
	size_t from, n; /* those that wait */
};

static bool is_again(ssize_t ret)
{
	return ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED;
}

/* Return: false: one of them has hung up, or breaks TLS. */
static bool from_client(struct link *l, struct bytes *up)
{
	ssize_t n;

	if (!up->n) {
		n = gnutls_record_recv(l->session, up->at, sizeof(up->at));
		if (n <= 0)
			return n < 0 && (is_again(n) || !gnutls_error_is_fatal((int)n)) &&
			       n != GNUTLS_E_REHANDSHAKE;
		up->from = 0;
		up->n = (size_t)n;
	}
	n = write(l->server, up->at + up->from, up->n);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	up->from += (size_t)n;
	up->n -= (size_t)n;
	return true;
}

static bool from_server(struct link *l, struct bytes *down)
{
	ssize_t n;

	if (!down->n) {
		n = read(l->server, down->at, sizeof(down->at));
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		down->from = 0;
		down->n = (size_t)n;
	}
	n = gnutls_record_send(l->session, down->at + down->from, down->n);
	if (n < 0)
		return is_again(n);
	down->from += (size_t)n;
	down->n -= (size_t)n;
	return true;
}

static void pass(struct link *l)
{
	static struct bytes up, down;
	struct pollfd p[2] = { { .fd = l->client }, { .fd = l->server } };

	for (;;) {
		/* What GnuTLS has taken already wakes nobody. */
		bool more = !up.n && gnutls_record_check_pending(l->session);

		p[0].events = (short)((up.n ? 0 : POLLIN) | (down.n ? POLLOUT : 0));
		p[1].events = (short)((down.n ? 0 : POLLIN) | (up.n ? POLLOUT : 0));
		if (poll(p, 2, more ? 0 : -1) < 0 && errno != EINTR)
			return;
		if ((more || up.n || p[0].revents) && !from_client(l, &up))
			return;
		if ((down.n || p[1].revents) && !from_server(l, &down))
			return;
	}
}

void vg_tls_not_waiting(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void vg_tls_serve(struct vg_tls *t, int client, int server, bool password)
{
	struct link l = { .client = client,
			  .server = server,
			  .deadline = vg_now_ns() + PATIENCE_S * NS_PER_S,
			  .password = password };
	char version[VERSION];
	bool at_once;

	/* Without a certificate a browser would not want it. */
	at_once = begins_with_tls(&l);
	if ((at_once || agree(&l, t, version)) && shake_hands(&l, t) &&
	    (at_once || speak_for(&l, version)))
		pass(&l);
	if (l.session)
		gnutls_deinit(l.session);
}
