/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls.h - viewers that are spoken to in secret: TLS, with GnuTLS
 */
#ifndef VG_TLS_H
#define VG_TLS_H

#include <stdbool.h>

#include "backend/base/log.h"

struct vg_tls;

/**
 * vg_tls_load - read certificate and key; with privileges
 * @value: of "vnc-tls": "anon", or the folder of server-cert.pem and server-key.pem
 * @out: to be freed with vg_tls_free()
 *
 * Return: 0, or negative errno with a sentence.
 */
int vg_tls_load(const char *value, struct vg_tls **out, struct vg_err *err);

/** vg_tls_free - and overwrite the key. NULL is allowed. */
void vg_tls_free(struct vg_tls *tls);

/** vg_tls_not_waiting - so that reads and writes of @fd do not wait */
void vg_tls_not_waiting(int fd);

/**
 * vg_tls_serve - stand between a viewer and who serves it, until one of them hangs up
 * @client: the viewer's connection
 * @server: a socket whose other end speaks RFB as a server does, without TLS
 * @password: it asks for one
 *
 * A viewer must agree to TLS, by VeNCrypt, or by beginning with it, before it reaches @server. Both
 * sockets are not waiting; but it waits itself: the process is there for this viewer alone.
 */
void vg_tls_serve(struct vg_tls *tls, int client, int server, bool password);

#endif /* VG_TLS_H */
