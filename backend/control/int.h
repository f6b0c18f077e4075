/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - what the files of the control socket share; private to control*.c
 *
 * control.c has the socket and whose turn it is; commands.c has requests, commands
 * and answers; client.c has a client's bytes; json.c has the words. Each calls only
 * those after it. control.c explains how they play together.
 */
#ifndef VG_CONTROL_INT_H
#define VG_CONTROL_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "backend/control/control.h"

struct json_object;

enum {
	CLIENTS_MAX = 64,	/* of people and scripts; one more is told so */
	REQUEST_MAX = 16384,	/* bytes of a line: VG_PARAMS_LEN, each byte escaped as \u00xx */
	ANSWER_MAX = 8 << 20,	/* bytes of an answer: VG_LIMIT_DEVICES of some KiB each */
	STREAM_MAX = 256 << 10, /* unsent bytes of a stream beyond which lines are dropped */
	SLOW_S = 10,	  /* for a line to become whole, and for some of an answer to be taken */
	IDLE_S = 60,	  /* without any request */
	ROUNDS = 8,	  /* of epoll_wait() in one turn of the loop */
	LINES = 8,	  /* of one client in one round */
	GROUPS_MAX = 256, /* supplementary groups looked at */
};

struct vg_client {
	struct vg_client *next;
	struct vg_control *control;
	int fd;		   /* -1: dropped, to be freed by vg_client_reap() */
	bool may_change;   /* root, or our own user */
	bool kept;	   /* of ours: it may be silent */
	bool no_more;	   /* it sends nothing more, or is to be closed when its answer is sent */
	int passed;	   /* a descriptor that came with what is in in, or -1 */
	uint32_t interest; /* EPOLL* it is registered with */
	struct vg_control_req *req; /* under way, or NULL */
	int64_t since;		    /* of the last step: connected, a line done, bytes sent */
	char *out;		    /* unsent answer */
	size_t out_len, out_sent;
	size_t in_len;
	char in[REQUEST_MAX];
};

struct vg_control_req {
	struct vg_control_req *next, **pprev; /* of control->requests */
	struct vg_client *client;	      /* NULL: gone */
	struct json_object *answer, *devices;
	unsigned scope;	  /* VG_CONTROL_LIVE, VG_CONTROL_CONFIG */
	bool of_events;	  /* it streams them */
	uint64_t dropped; /* lines of the stream since the last one that was sent */
	void (*gone)(void *arg);
	void *gone_arg;
};

struct vg_control {
	struct vg_loop *loop;
	struct vg_control_config cfg;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int lock_fd, listen_fd, epoll_fd;
	bool bound;		/* the socket is ours to remove */
	bool listening;		/* false: out of descriptors, until the next second */
	struct vg_watch watch;	/* of epoll_fd */
	struct vg_timer again;	/* more to do than one turn should */
	struct vg_timer second; /* deadlines; runs while there are clients */
	struct vg_client *clients;
	unsigned n_clients; /* that are not dropped */
	struct vg_control_req *requests;
};

/* ---- client.c ---- */

static inline bool vg_client_unsent(const struct vg_client *client)
{
	return client->out_sent < client->out_len;
}

/** vg_client_send - queue @obj as a line, to be sent by the loop; borrowed */
void vg_client_send(struct vg_client *client, struct json_object *obj);

/** vg_client_send_error - queue a refusal; @code is a negative errno */
void vg_client_send_error(struct vg_client *client, int code, const char *text);

/** vg_client_set_interest - after something changed for which a client is waited */
void vg_client_set_interest(struct vg_client *client);

/** vg_client_flush - send what the socket takes now; drops a client that is gone */
void vg_client_flush(struct vg_client *client);

/** vg_client_read - append to client->in what is there; drops a client that is gone */
void vg_client_read(struct vg_client *client);

/** vg_client_drop - close and forget, but for the memory, which vg_client_reap() frees */
void vg_client_drop(struct vg_client *client);

/** vg_client_reap - free those that were dropped */
void vg_client_reap(struct vg_control *c);

/* ---- commands.c ---- */

/** vg_control_handle_line - a client's request, NUL-terminated */
void vg_control_handle_line(struct vg_client *client, const char *line, size_t len);

/** vg_control_caught_up - all that was queued for @req's client is sent: tell it what it missed */
void vg_control_caught_up(struct vg_control_req *req);

/** vg_control_req_free - forget a request, unfinished or not */
void vg_control_req_free(struct vg_control_req *req);

#endif /* VG_CONTROL_INT_H */
