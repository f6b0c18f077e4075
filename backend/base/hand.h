/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hand.h - a thread that does what would keep a loop from turning: fallocate(2)
 *
 * io_uring has that operation, too, yet of its arguments nothing can be restricted; and one that
 * keeps a file's size (FALLOC_FL_KEEP_SIZE) takes space behind its end on ext4 and XFS, whatever
 * RLIMIT_FSIZE says, until the disk is full. A system call is filtered by its mode (needs.h), and
 * one without that flag is held by the limit (fs/attr.c, inode_newsize_ok()).
 *
 * One thread is enough: the kernel lets one caller at a time change a file's blocks.
 */
#ifndef VG_HAND_H
#define VG_HAND_H

#include <stdatomic.h>
#include <stdint.h>

struct vg_hand;

/* Embed it, set the call's arguments; it must live until done() gets it. */
struct vg_hand_job {
	struct vg_hand_job *next; /* private */
	int fd, mode;
	uint64_t offset, len;  /* bytes */
	atomic_bool cancelled; /* by any thread: what has not begun is not done, -ECANCELED */
	int res;	       /* 0 or negative errno */
};

/**
 * vg_hand_new - start the thread, which takes no signals; on return system calls may be filtered
 * @done: called in that thread with each job, in their order
 *
 * Return: 0 or negative errno.
 */
int vg_hand_new(void (*done)(void *owner, struct vg_hand_job *job), void *owner,
		struct vg_hand **out);

/** vg_hand_give - have the thread do @job, after those that it has; from any thread */
void vg_hand_give(struct vg_hand *h, struct vg_hand_job *job);

/** vg_hand_free - end the thread, once the job that it is at is done; of the others nothing is heard */
void vg_hand_free(struct vg_hand *h);

#endif /* VG_HAND_H */
