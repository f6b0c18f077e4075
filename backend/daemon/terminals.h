/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminals.h - the pseudo-terminals of a device, and memory, which outlive its workers
 *
 * A console's client (`xl console`, `vgrant console`, an agent's host side) has a terminal open, whose
 * other side is a guest's port. They are made here, by the supervisor: a worker in its sandbox could make
 * none, and one that dies would hang up on all clients. Each worker gets the devices' sides anew, and
 * memory in which its predecessor kept what nobody has read yet.
 */
#ifndef VG_TERMINALS_H
#define VG_TERMINALS_H

#include <stddef.h>

#include "backend/virtio/device.h"

struct vg_terminals {
	unsigned n;
	int memory; /* a memfd; -1: none */
	struct {
		int device; /* its device's side */
		char name[VG_TERMINAL_NAME];
		char path[32]; /* of the other: "/dev/pts/3" */
	} t[VG_TERMINALS];
};

/** vg_terminals_init - none */
void vg_terminals_init(struct vg_terminals *all);

/**
 * vg_terminals_make - those that a device of configuration @spec is to have
 *
 * Those that are there already, by name, stay; others go. A new one is raw, has 80 columns and 24
 * rows, and nobody has it open. Return: 0, or negative errno with a sentence; nothing is changed then.
 */
int vg_terminals_make(struct vg_terminals *all, const char *spec, struct vg_err *err);

/** vg_terminals_give - to a worker that has its SETUP, over @sock. Return: 0, or negative errno. */
int vg_terminals_give(const struct vg_terminals *all, int sock);

/** vg_terminals_text - for lists: "console=/dev/pts/3 log=/dev/pts/4"; "": none */
void vg_terminals_text(const struct vg_terminals *all, char *text, size_t size);

/** vg_terminals_free - clients are hung up on */
void vg_terminals_free(struct vg_terminals *all);

#endif /* VG_TERMINALS_H */
