// SPDX-License-Identifier: GPL-2.0-or-later
/* hand.c - see hand.h */
#include "backend/base/hand.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct vg_hand {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct vg_hand_job *first, **last; /* under the lock, as is: */
	bool running, ending;
	void (*done)(void *owner, struct vg_hand_job *job);
	void *owner;
};

/* Return: the next job, or NULL: it is to end. */
static struct vg_hand_job *next_job(struct vg_hand *h)
{
	struct vg_hand_job *job = NULL;

	pthread_mutex_lock(&h->lock);
	while (!h->ending && !h->first)
		pthread_cond_wait(&h->news, &h->lock);
	if (!h->ending) {
		job = h->first;
		h->first = job->next;
		if (!h->first)
			h->last = &h->first;
	}
	pthread_mutex_unlock(&h->lock);
	return job;
}

static int do_job(const struct vg_hand_job *job)
{
	if (atomic_load(&job->cancelled))
		return -ECANCELED;
	return fallocate(job->fd, job->mode, (off_t)job->offset, (off_t)job->len) < 0 ? -errno : 0;
}

static void *work(void *arg)
{
	struct vg_hand *h = arg;
	struct vg_hand_job *job;

	pthread_mutex_lock(&h->lock);
	h->running = true;
	pthread_cond_broadcast(&h->news);
	pthread_mutex_unlock(&h->lock);
	while ((job = next_job(h)) != NULL) {
		job->res = do_job(job);
		h->done(h->owner, job);
	}
	return NULL;
}

int vg_hand_new(void (*done)(void *owner, struct vg_hand_job *job), void *owner,
		struct vg_hand **out)
{
	struct vg_hand *h = calloc(1, sizeof(*h));
	sigset_t all, before;
	int ret;

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->news, NULL);
	h->last = &h->first;
	h->done = done;
	h->owner = owner;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&h->thread, NULL, work, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret) {
		free(h);
		return -ret;
	}
	/* What the C library does first in a thread, no sandbox allows. */
	pthread_mutex_lock(&h->lock);
	while (!h->running)
		pthread_cond_wait(&h->news, &h->lock);
	pthread_mutex_unlock(&h->lock);
	*out = h;
	return 0;
}

void vg_hand_give(struct vg_hand *h, struct vg_hand_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&h->lock);
	*h->last = job;
	h->last = &job->next;
	pthread_cond_signal(&h->news);
	pthread_mutex_unlock(&h->lock);
}

void vg_hand_free(struct vg_hand *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_cond_signal(&h->news);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->news);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
