/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rfb.h - a viewer: as much of VNC (RFC 6143) as tests need, and no library's
 *
 * Raw pixels of 0x00RRGGBB, the cursor's shape, sizes that change, keys by their place. Nothing is
 * taken for granted of what a server sends; a server that breaks the protocol is -EPROTO.
 */
#ifndef RFB_H
#define RFB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RFB_NAME = 128 };

struct rfb {
	int fd; /* -1: not connected */
	char name[RFB_NAME];
	uint32_t width, height;
	uint32_t *pixels;	   /* width * height */
	bool has_ext_keys;	   /* the server takes keys by their place */
	bool has_ext_size;	   /* and wishes for sizes */
	unsigned resizes, cursors; /* times that these came */
	uint64_t seen;		   /* pixels that came, since it was connected */
	uint32_t cursor_width, cursor_height, hot_x, hot_y;
	uint32_t cursor[64 * 64]; /* pixels; 0 where it is transparent */
};

/**
 * rfb_open - shake hands over a connected socket
 * @fd: the callee's; blocking
 * @password: NULL: the server must ask for none
 *
 * Return: 0; -EACCES: the password is wrong, or one is needed; other negative errno. rfb_close() in any case.
 */
int rfb_open(struct rfb *r, int fd, const char *password);
void rfb_close(struct rfb *r);

/** rfb_ask - ask for an update; @changed: of what has changed alone, which the server may wait for */
int rfb_ask(struct rfb *r, bool changed);

/** rfb_take - take one message of the server's. Return: 0; -ETIMEDOUT: none came; negative errno. */
int rfb_take(struct rfb *r, int timeout_ms);

/** rfb_key - by what is on it (X11's keysym), and, where the server knows that, by its place */
int rfb_key(struct rfb *r, uint32_t keysym, uint32_t scancode, bool down);
int rfb_pointer(struct rfb *r, uint32_t x, uint32_t y, uint8_t buttons);

/** rfb_wish - ask for another size */
int rfb_wish(struct rfb *r, uint16_t width, uint16_t height);

/** rfb_des - the answer to a challenge of 16 bytes, in place */
void rfb_des(uint8_t challenge[16], const char *password);

#endif /* RFB_H */
