/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen.h - where a display can be looked at, as its configuration says
 */
#ifndef VG_LISTEN_H
#define VG_LISTEN_H

#include <stdint.h>

#include "backend/base/params.h"

/* Parameters of a device that has a display: for its table, before the last line. */
#define VG_DISPLAY_PARAMS                                                                         \
	{ "vnc",                                                                                  \
	  VG_PARAM_STRING,                                                                        \
	  false,                                                                                  \
	  0,                                                                                      \
	  0,                                                                                      \
	  "localhost",                                                                            \
	  "where viewers of VNC connect: an address, or one with a port, as 127.0.0.1:5907; the " \
	  "path of a Unix socket; or off. Without a port: the first from 5900 on that is free. "  \
	  "Each head but the first has the next port, or a number behind the path" },             \
		{ "password-file",                                                                \
		  VG_PARAM_PATH,                                                                  \
		  false,                                                                          \
		  0,                                                                              \
		  0,                                                                              \
		  NULL,                                                                           \
		  "file whose first line, of up to 8 bytes, viewers must know; the "              \
		  "protocol "                                                                     \
		  "does not keep it secret from who can listen in" },                             \
		{ "vnc-tls",                                                                      \
		  VG_PARAM_STRING,                                                                \
		  false,                                                                          \
		  0,                                                                              \
		  0,                                                                              \
		  NULL,                                                                           \
		  "let in those alone who speak TLS: the folder of server-cert.pem and "          \
		  "server-key.pem, or anon, which keeps secrets from who listens in, and not "    \
		  "from who stands between" },                                                    \
	{                                                                                         \
		"websocket", VG_PARAM_BOOL, false, 0, 1, "0",                                     \
			"let browsers in, by WebSocket at the same place; any page that they "    \
			"show can then connect, so that a password is wise"                       \
	}

struct vg_listen {
	int fd;		 /* -1: nobody can connect */
	uint16_t port;	 /* 0: it is no TCP port */
	char where[120]; /* for people: "127.0.0.1:5900", or a path */
};

/**
 * vg_listen_check - whether @vnc, a value of "vnc", means a place; opens nothing
 *
 * Return: 0, or negative errno with a sentence.
 */
int vg_listen_check(const char *vnc, struct vg_err *err);

/** vg_listen_check_tls - whether @value, of "vnc-tls", means something. Return: 0, or -EINVAL. */
int vg_listen_check_tls(const char *value, struct vg_err *err);

/**
 * vg_listen_open - listen for viewers of head @head
 * @vnc: value of "vnc", which is not "off"
 *
 * Return: 0, or negative errno with a sentence: the address is none, it is not ours, or is taken.
 */
int vg_listen_open(const char *vnc, unsigned head, struct vg_listen *l, struct vg_err *err);

/** vg_listen_close - a path stays, out of a sandbox's reach; the next who listens there removes it */
void vg_listen_close(struct vg_listen *l);

#endif /* VG_LISTEN_H */
