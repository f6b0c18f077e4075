/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.h - the control socket: how `vgrant` and scripts talk to vgrantd
 *
 * A Unix stream socket. A request is one JSON object on one line, an answer likewise:
 *
 *	{"cmd":"list"}                              {"ok":true,"devices":[...]}
 *	{"cmd":"list","guest":"web"}
 *	{"cmd":"attach","guest":"web","device":"blk,target=/x.img"}      {"ok":true,"id":0}
 *	{"cmd":"detach","guest":"web","id":"0"}     {"ok":false,"error":"web has no device 0","errno":2}
 *	{"cmd":"set","guest":"web","id":"0","key":"rate","value":"100"}
 *	{"cmd":"show-config"}                       {"ok":true,"text":"[daemon]\n..."}
 *	{"cmd":"log-level","level":"debug"}
 *	{"cmd":"version"}                           {"ok":true,"version":"..."}
 *	{"cmd":"shutdown"}
 *	{"cmd":"trace","guest":"web","id":"0"}      {"ok":true,"more":true,"line":"..."} ... {"ok":true}
 *	{"cmd":"events"}                            {"ok":true,"more":true,"event":{...}} ...
 *	{"cmd":"events","guest":"web"}
 *	{"cmd":"look","guest":"web","id":"64","head":"0"}  {"ok":true}
 *	{"cmd":"capture","guest":"web","id":"0"}    {"ok":true}, when the device goes
 *
 * attach, detach and set take "scope" ("live", "config" or "live,config"): of a domain of libvirt's,
 * the running one, the definition that the next start takes, or both.
 * capture comes with a descriptor (SCM_RIGHTS), of a SOCK_SEQPACKET socket that packets are sent to
 * until the connection is closed: base/capture.h.
 * "guest" is a name or a domain number; "id" is a device's number, or its name ("virtio/0"). An
 * answer ends with the line that has no "more". A connection carries one request at a time.
 * The members of an event are time (seconds since 1970, with a fraction), event (a word), guest, domid,
 * name, type, text. A line with "dropped":n and no event says that so many were lost, for the client
 * did not read; it comes as soon as the client has read what was before.
 * The members of a device are those of struct vg_control_device, see vg_control_list_add(), and view.h.
 *
 * Who may: root (and the user that vgrantd runs as) all; the socket's group list, version,
 * show-config, trace and events. To attach is to open any file with root's rights.
 */
#ifndef VG_CONTROL_H
#define VG_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"
#include "backend/control/view.h"

struct vg_control;
struct vg_control_req; /* a request that waits for its answer */

/* Which device "guest" and "id" of a request mean. */
struct vg_control_target {
	const char *guest; /* as the user wrote it; see vg_control_is_guest() */
	const char *kind;  /* NULL: any */
	unsigned id;
};

/*
 * What the supervisor does for each command; NULL: "this vgrantd cannot". Strings are borrowed for
 * the call. A handler that gets @req must finish it once, with vg_control_ok() or vg_control_fail(),
 * now or from a later turn of the loop.
 */
struct vg_control_ops {
	/* @guest: NULL: all. vg_control_list_add() for each device, then vg_control_ok(). */
	void (*list)(void *ctx, struct vg_control_req *req, const char *guest);
	/* @spec was parsed by nobody yet. Before vg_control_ok(): vg_control_add_uint(req, "id", n). */
	void (*attach)(void *ctx, struct vg_control_req *req, const char *guest, const char *spec);
	void (*detach)(void *ctx, struct vg_control_req *req, const struct vg_control_target *t);
	void (*set)(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		    const char *key, const char *value);
	/* Stream with vg_control_line() until vg_control_is_gone(). */
	void (*trace)(void *ctx, struct vg_control_req *req, const struct vg_control_target *t);
	/* Stream with vg_control_event() until vg_control_is_gone(). @guest: NULL: all. */
	void (*events)(void *ctx, struct vg_control_req *req, const char *guest);
	/* Once. @fd: a socket that came with the request, the callee's; -1: none did. */
	void (*look)(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		     unsigned head, int fd);
	/* Until vg_control_is_gone(). @fd: that came with the request, the callee's; -1: none did. */
	void (*capture)(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
			int fd);
	/* Print the settings in effect (vg_settings_print()). */
	void (*show_config)(void *ctx, FILE *out);
	void (*log_level)(void *ctx, enum vg_log_level level);
	/* Called when the answer is on its way. */
	void (*shutdown)(void *ctx);
};

struct vg_control_config {
	const char *path; /* of the socket; at most 107 bytes; its folder is made, 0755 */
	gid_t group;	  /* of the socket; (gid_t)-1: leave it */
	mode_t mode;	  /* of the socket, as in 0660 */
	const char *version;
	const struct vg_control_ops *ops; /* must outlive the control */
	void *ctx;
};

/**
 * vg_control_new - make the socket and serve it on @loop
 * @out: to be freed with vg_control_free()
 *
 * Locks "<path>.lock", so that two daemons never serve one socket; takes over the socket of one
 * that died. All descriptors are close-on-exec; the lock is not inherited by fork().
 *
 * Return: 0; -EADDRINUSE: another vgrantd is running (the sentence has its process id); -EACCES,
 * -ENAMETOOLONG or what the system said.
 */
int vg_control_new(struct vg_loop *loop, const struct vg_control_config *cfg,
		   struct vg_control **out, struct vg_err *err);

/**
 * vg_control_adopt - serve the client at the other end of @fd, which may look, and change nothing
 * @fd: of a stream socket that does not block; the callee's
 *
 * It is one of ours: it is not given up when it asks for nothing.
 */
int vg_control_adopt(struct vg_control *c, int fd);

/**
 * vg_control_free - send what can be sent at once, close all, remove the socket
 *
 * Requests that wait are told to their on_gone functions, and must not be touched after.
 */
void vg_control_free(struct vg_control *c);

/* ---- for handlers: answers ---------------------------------------------- */

/**
 * vg_control_list_add - one more device to the answer's "devices"
 *
 * Its members: guest, domid, id, name, kind, type, virtio_id, state, error, config, origin, file,
 * features {offered, negotiated: hexadecimal strings, names: words of the negotiated bits, unused: of
 * those that the driver did not take},
 * queues [{index, size, running, packed, chains, inflight, kicks, interrupts}], counters {requests,
 * errors, bytes_read, bytes_written, kicks, interrupts, faults, resets}, failed {by kind: refused,
 * unsupported, io, space, short, gone}, latency {of each operation that there was, read, write, flush,
 * other: {us of all together, buckets: see struct vg_latency}}, xen {...}, worker {pid or null, restarts},
 * uptime (seconds, with a fraction), detail.
 */
void vg_control_list_add(struct vg_control_req *req, const struct vg_control_device *dev);

/** vg_control_add_uint, vg_control_add_str - one more member of the answer */
void vg_control_add_uint(struct vg_control_req *req, const char *key, uint64_t value);
void vg_control_add_str(struct vg_control_req *req, const char *key, const char *value);

/** vg_control_ok - finish: answer that it is done; @req is gone after */
void vg_control_ok(struct vg_control_req *req);

/** vg_control_fail - finish: answer with @err; @code is a negative errno; @req is gone after */
void vg_control_fail(struct vg_control_req *req, int code, const struct vg_err *err);

/**
 * vg_control_line - send a line of text of a stream, at once
 *
 * Return: 0; -EAGAIN: the client reads too slowly, the line is dropped, and the next line says how
 * many were ("dropped":n); -EPIPE: the client is gone. The request must still be finished.
 */
int vg_control_line(struct vg_control_req *req, const char *text);

/**
 * vg_control_event - send an event of a stream, at once
 *
 * Return: as vg_control_line(). What was dropped is told once the client has read what was before, also
 * when nothing more happens; and a client that does not read for long is not given up.
 */
int vg_control_event(struct vg_control_req *req, const struct vg_control_event *event);

enum { VG_CONTROL_LIVE = 1u << 0, VG_CONTROL_CONFIG = 1u << 1 };

/** vg_control_scope - VG_CONTROL_LIVE, VG_CONTROL_CONFIG, both; 0: the client named none */
unsigned vg_control_scope(const struct vg_control_req *req);

/** vg_control_is_gone - has the client left? The request must still be finished. */
bool vg_control_is_gone(const struct vg_control_req *req);

/** vg_control_on_gone - call @gone once, when the client leaves before the request is finished */
void vg_control_on_gone(struct vg_control_req *req, void (*gone)(void *arg), void *arg);

/**
 * vg_control_is_guest - does @text (a request's guest) mean the guest @name, or number @domid?
 *
 * What is all digits is a number, as it is to xl, also when some guest is called like that.
 */
bool vg_control_is_guest(const char *text, const char *name, unsigned domid);

#endif /* VG_CONTROL_H */
