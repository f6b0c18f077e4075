/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.h - one device of a Xen guest: from its backend node to a worker, and its states
 */
#ifndef VG_NODE_H
#define VG_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/daemon/cards.h"
#include "backend/daemon/child.h"
#include "backend/daemon/group.h"
#include "xenstore/xs.h"

struct vg_node;

/* All of them, see nodes.h. The owner fills in the first five. */
struct vg_nodes {
	struct vg_children *children;
	struct vg_xs *xs;
	uint32_t domid; /* ours */
	int runtime_fd; /* the folder of the records */
	struct vg_cards cards;
	struct vg_node *first;
};

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

/* How often something may happen that a guest provokes. */
struct vg_node_window {
	unsigned count;
	int64_t since_ns;
};

/* With one process. */
struct vg_node_group {
	struct vg_group g; /* policy NULL: there is none */
	struct vg_node *node;
};

struct vg_node {
	struct vg_child c;
	struct vg_node_group group[VG_SEATS]; /* with other processes, where the device has them */
	struct vg_screens *screens;	      /* heads on monitors of this machine; NULL: none */
	struct vg_nodes *all;
	struct vg_node *next; /* of all->first */
	struct vg_xs_pair pair;
	char *file;  /* that the configuration is from; NULL: none */
	char *guest; /* its name, or NULL: none */
	enum vg_control_origin origin;
	bool made;  /* remove the nodes when the device goes */
	bool dirty; /* something of it changed in xenstore */
	bool renamed;
	bool detaching;
	bool unplugged; /* from a guest that is there */
	bool retrying;	/* it failed and is to be tried again once its last worker has ended */
	bool offer;    /* tried again after it failed: offer it even to a frontend that is Closed */
	bool watching; /* the frontend's state, and the guest's name */
	bool inherited; /* a worker of the vgrantd before may hold it still: nothing is done before it ends */
	bool slowed; /* the guest asks too often: nothing is looked at until the timer expires */
	enum vg_node_phase phase;
	enum vg_xenbus_state bstate; /* that we are in */
	bool untold;		     /* xenstore does not say so yet, or not why */
	bool told_off;		     /* that it could not be written was logged */
	struct vg_timer timer;	     /* start, reconnect, or what a guest must see before it goes */
	struct vg_timer again;	     /* ask, or tell, xenstored again */
	struct vg_timer reminder;    /* offer it once more to a guest that does not look at it */
	unsigned reminded;	     /* how often, since the last offer */
	struct vg_node_window offers;
	uint32_t refused;	   /* suspends, as its frontend has counted */
	struct vg_ratelimit limit; /* of lines that the guest provokes */
};

/* What a backend node says beside its configuration. */
struct vg_node_traits {
	enum vg_control_origin origin;
	enum vg_xenbus_state state;
	bool made;
	bool plugged; /* its guest ran already when it was made */
	char *file;   /* or NULL; borrowed by vg_node_new() */
};

/** vg_node_record_name - the file in the runtime folder that a device's worker is known by to its successor */
void vg_node_record_name(const struct vg_xs_pair *pair, char *name, size_t len);

/** vg_node_new - serve a node. Return: 0, or -ENOMEM. */
int vg_node_new(struct vg_nodes *all, const struct vg_xs_pair *pair, const char *spec,
		const struct vg_node_traits *traits);

/** vg_node_sync - look at the states, take the next step; may free @n */
void vg_node_sync(struct vg_node *n);

/** vg_node_retry - try a failed device again; may free @n */
void vg_node_retry(struct vg_node *n);

/** vg_node_free - forget it; xenstore is left as it is */
void vg_node_free(struct vg_node *n);

#endif /* VG_NODE_H */
