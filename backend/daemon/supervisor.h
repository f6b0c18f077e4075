/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * supervisor.h - the parts of the supervisor, and what they share
 *
 *	supervisor.c  the process: its loop, signals, xenstore events, control socket
 *	toolstack.c   the toolstack's part: from a guest's xl configuration to nodes
 *	node.c        the backend's part: from a node to a worker, and its states
 *	sockets.c     devices of [vhost-user]: from a line of the settings to a worker
 *	child.c       what those two have in common: a worker process
 *	tracer.c      from a worker's trace to those who ask for it
 *
 * toolstack.c and node.c meet in xenstore alone: the first writes the key
 * VG_KEY_CONFIG into a backend node, and node.c serves every node that has it.
 * So a vgrantd in a driver domain, which has only the second part, is fed by the
 * one in dom0, and another toolstack can do as toolstack.c does.
 */
#ifndef VG_SUPERVISOR_H
#define VG_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <xenstore.h>

#include "backend/daemon/child.h"
#include "backend/control/control.h"
#include "backend/base/loop.h"
#include "backend/daemon/settings.h"
#include "backend/toolstack/xlconf.h"
#include "xenstore/xs.h"

/* Keys of a backend node that a toolstack writes (PROTOCOL.md knows nothing of them). */
#define VG_KEY_CONFIG "vgrant-config" /* "blk,target=/disk.img" */
#define VG_KEY_ORIGIN "vgrant-origin" /* a word of vg_control_origin_words[] */
#define VG_KEY_FILE   "vgrant-file"   /* the xl configuration that it is from */
#define VG_KEY_SET    "vgrant-set"    /* "blk,key=value": what `vgrant set` changed since */
#define VG_KEY_MADE   "vgrant-made"   /* "1": the nodes are ours to remove */

/* Nodes that we make are numbered from here; xl numbers its own from 0. */
#define VG_FIRST_ID VG_XL_FIRST_NUMBER

struct vg_super;
struct vg_socket_device;

/* ---- node.c ------------------------------------------------------------- */

enum vg_node_phase {
	VG_NODE_IDLE,	    /* no worker */
	VG_NODE_OPENING,    /* SETUP sent */
	VG_NODE_READY,	    /* open, not connected */
	VG_NODE_CONNECTING, /* CONNECT sent */
	VG_NODE_CONNECTED,
	VG_NODE_DISCONNECTING, /* DISCONNECT sent */
	VG_NODE_FAILED,	       /* no worker, and no reason to try again by itself */
	VG_NODE_CLOSED,	       /* taken down; waits for its nodes to go */
};

struct vg_node {
	struct vg_child c;
	struct vg_node *next; /* of super->nodes */
	struct vg_xs_pair pair;
	char file[VG_XS_PATH];
	char guest[64]; /* name */
	enum vg_control_origin origin;
	bool made;  /* remove the nodes when the device goes */
	bool dirty; /* something of it changed in xenstore */
	bool detaching;
	bool offer;    /* tried again after it failed: offer it even to a frontend that is Closed */
	bool watching; /* of the frontend's state */
	enum vg_node_phase phase;
	enum vg_xenbus_state bstate; /* what we last wrote, or found */
	struct vg_timer timer;	     /* restart, reconnect, or the end of patience */
	unsigned busy_tries;	     /* opens that found the image in use */
	unsigned connects;	     /* in the window */
	int64_t connects_since_ns;
};

/** vg_node_find - by kind, guest and number, or NULL */
struct vg_node *vg_node_find(struct vg_super *s, const char *kind, uint32_t guest, uint32_t id);

/**
 * vg_node_consider - is there a node that we should serve, and do not yet?
 *
 * Return: whether the node is (now) one of ours.
 */
bool vg_node_consider(struct vg_super *s, const char *kind, uint32_t guest, uint32_t id);

/** vg_node_sync - look at the states, take the next step; may free @n */
void vg_node_sync(struct vg_node *n);

/** vg_node_retry - try a failed device again */
void vg_node_retry(struct vg_node *n);

/** vg_node_free - forget it; xenstore is left as it is */
void vg_node_free(struct vg_node *n);

/* ---- tracer.c ----------------------------------------------------------- */

/** vg_tracer_start - `vgrant trace`: @req gets lines of @c's device until one of the two goes */
void vg_tracer_start(struct vg_child *c, struct vg_control_req *req);

/** vg_tracers_connect - @c has a new worker: it is to write lines, too */
void vg_tracers_connect(struct vg_child *c);

/** vg_tracers_end - @c goes */
void vg_tracers_end(struct vg_child *c);

/* ---- toolstack.c -------------------------------------------------------- */

struct vg_guest {
	struct vg_guest *next;
	uint32_t domid;
	char name[64];
	struct vg_xlconf *conf; /* NULL: none was found */
	bool looked;		/* for a configuration */
};

/** vg_guests_scan - look for guests that came or went; make nodes for those that came */
void vg_guests_scan(struct vg_super *s);

/** vg_guest_adopt - xl made virtio/@id for @domid: write our configuration, if there is one */
void vg_guest_adopt(struct vg_super *s, uint32_t domid, uint32_t id);

/** vg_guest_attach - `vgrant attach`. Return: the number, or negative errno with a sentence. */
int vg_guest_attach(struct vg_super *s, const char *guest, const char *spec, struct vg_err *err);

/** vg_guests_free - forget all */
void vg_guests_free(struct vg_super *s);

/* ---- supervisor.c ------------------------------------------------------- */

struct vg_super {
	struct vg_settings *settings;
	struct vg_loop *loop;
	struct xs_handle *xs; /* NULL: no Xen here; there are sockets to serve */
	uint32_t domid;	      /* ours */
	bool toolstack;	      /* toolstack.c is at work */
	bool stopping;
	int runtime_fd; /* the runtime folder */
	struct vg_sandbox sandbox;
	struct vg_child *children; /* all devices: those of nodes and of sockets */
	unsigned n_children;
	struct vg_node *nodes;
	struct vg_socket_device *sockets; /* devices of [vhost-user] */
	struct vg_guest *guests;
	struct vg_control *control;
	struct vg_watch xs_watch, signal_watch;
	struct vg_timer timer;	    /* guests whose name was not there yet; the end of a stop */
	struct vg_timer list_timer; /* the end of patience with workers that describe */
	struct vg_control_req *list_req[8];
	char *list_guest[8];
	unsigned n_lists;
};

/** vg_super_described - a worker has described itself, or died */
void vg_super_described(struct vg_super *s);

/**
 * vg_super_run - be the daemon until SIGTERM
 *
 * Return: 0, or negative errno with a sentence.
 */
int vg_super_run(struct vg_settings *settings, struct vg_err *err);

#endif /* VG_SUPERVISOR_H */
