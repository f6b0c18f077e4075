/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * news.h - what the kernel tells of the things that devices stand on, so that no worker has to look
 */
#ifndef VG_NEWS_H
#define VG_NEWS_H

#include <stdbool.h>

#include "backend/base/loop.h"

struct vg_follower;

/* Zero is one that tells nothing. */
struct vg_news {
	struct vg_loop *loop;		      /* NULL: it tells nothing */
	struct vg_watch files, disks, links;  /* inotify(7), uevents, rtnetlink(7) */
	bool has_files, has_disks, has_links; /* which of them there are */
	struct vg_follower *first;
};

/* Whoever wants to know. Embed it; zero is one that follows nothing. Set heard. */
struct vg_follower {
	/* That which it follows may be another: look. From the loop. */
	void (*heard)(struct vg_follower *f);
	struct vg_news *news; /* NULL: it follows nothing */
	struct vg_follower *next, **pprev;
	enum vg_news_of { VG_NEWS_FILE = 1, VG_NEWS_DISKS, VG_NEWS_LINKS } of;
	int watch; /* FILE: of inotify */
};

/**
 * vg_news_open - listen to the kernel; needs no privileges
 *
 * What this kernel does not tell (inotify's instances are used up, there is no network) is left out.
 */
void vg_news_open(struct vg_news *n, struct vg_loop *loop);

/** vg_news_close - nobody may follow any more; of one that is zero: nothing */
void vg_news_close(struct vg_news *n);

/**
 * vg_news_file - follow a file, or the disks of this machine where @path is one
 *
 * Heard is whenever somebody who had the file open for writing has closed it, which is when
 * truncate(1), fallocate(1), qemu-img and `vgrant resize` have done their work, and not with each write
 * of a guest's; and whenever a disk has another size. What @f followed before it no longer does.
 * Return: whether it will be told. A file that is changed on another machine, or by truncate(2) without
 * being opened, nobody tells of: look at times.
 */
bool vg_news_file(struct vg_news *n, struct vg_follower *f, const char *path);

/** vg_news_links - follow network interfaces: one came, went or changed. Return: as vg_news_file(). */
bool vg_news_links(struct vg_news *n, struct vg_follower *f);

/** vg_news_unfollow - of one that follows nothing: nothing */
void vg_news_unfollow(struct vg_follower *f);

#endif /* VG_NEWS_H */
