// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tidy.c - see tidy.h
 *
 *	vg_tidy_new        vg_tidy_run          the device says so        it ended, or was killed
 *	----------> HELD ---------------> DUE -------------------> RUNNING --------------> (freed)
 *	   note                            | the interface does not go: it is not ours        no note
 *	                                   +-----------------------------------------------> (freed)
 *
 * The note has the configuration, NUL-terminated, and nothing else: from that the device makes the
 * same command again.
 */
#include "backend/daemon/tidy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/command.h"
#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/virtio/device.h"

enum { AGAIN_MS = 50 };

#define SUFFIX ".tidy"

enum phase { HELD, DUE, RUNNING };

struct vg_tidy {
	struct vg_tidy *next; /* of all->first */
	struct vg_tidies *all;
	enum phase phase;
	char spec[VG_PARAMS_LEN];
	char name[sizeof(((struct vg_command *)0)->name)];
	int64_t due_ns;
	unsigned late_s; /* it was killed since it had run for so long; 0: it was not */
	struct vg_command command;
	struct vg_command_run run;
	struct vg_watch watch; /* of what it says */
	struct vg_timer timer; /* ask again; or the end of its time */
};

/* ---- notes -------------------------------------------------------------- */

static void note_name(const struct vg_tidy *t, char *buf, size_t len)
{
	snprintf(buf, len, "%s" SUFFIX, t->name);
}

static int write_note(const struct vg_tidy *t, struct vg_err *err)
{
	size_t len = strlen(t->spec) + 1;
	char name[64];
	int fd, ret = 0;

	if (t->all->dir < 0)
		return 0;
	note_name(t, name, sizeof(name));
	fd = openat(t->all->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, t->spec, len) != (ssize_t)len)
		ret = errno ? -errno : -ENOSPC;
	if (fd >= 0)
		close(fd);
	return ret < 0 ? vg_fail(err, ret, "%s in the runtime folder cannot be written: %s", name,
				 strerror(-ret))
		       : 0;
}

static void remove_note(const struct vg_tidy *t)
{
	char name[64];

	note_name(t, name, sizeof(name));
	if (t->all->dir >= 0)
		unlinkat(t->all->dir, name, 0);
}

/* ---- life --------------------------------------------------------------- */

/* @t is in no list any more. */
static void dispose(struct vg_tidy *t)
{
	vg_loop_timer_stop(&t->timer);
	vg_loop_unwatch(&t->watch);
	if (t->run.fd >= 0)
		close(t->run.fd);
	free(t);
}

static void forget(struct vg_tidy *t)
{
	struct vg_tidy **p = &t->all->first;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	dispose(t);
}

static void done(struct vg_tidy *t)
{
	struct vg_tidies *all = t->all;

	remove_note(t);
	forget(t);
	if (all->ended)
		all->ended(all);
}

static unsigned limit_s(const struct vg_tidies *all)
{
	return all->stopping ? VG_LIMIT_SCRIPT_STOP_S : VG_LIMIT_SCRIPT_S;
}

/* What the device says of it. Return: of vg_device_ops.afterwards. */
static int ask(struct vg_tidy *t, bool ended, struct vg_err *err)
{
	struct vg_params params;
	const struct vg_device_ops *ops;

	if (vg_params_parse(t->spec, &params, NULL) < 0)
		return 0;
	ops = vg_device_find(params.device);
	return ops && ops->afterwards ? ops->afterwards(&params, ended, &t->command, err) : 0;
}

static void heard(struct vg_watch *w, unsigned events)
{
	struct vg_tidy *t = container_of(w, struct vg_tidy, watch);

	(void)events;
	if (!vg_command_hear(&t->run))
		vg_loop_unwatch(w);
}

static void attempt(struct vg_tidy *t)
{
	struct vg_tidies *all = t->all;
	struct vg_err err = { "" };
	int ret = ask(t, true, &err);

	/* The kernel closes a dead worker's descriptors a moment later, an interface's the last. */
	if (ret == -EBUSY && vg_now_ns() - t->due_ns < limit_s(all) * NS_PER_S) {
		vg_loop_timer(all->loop, &t->timer, AGAIN_MS * (NS_PER_S / 1000));
		return;
	}
	if (ret == 1)
		ret = vg_command_start(&t->command, &t->run, &err);
	if (ret < 0)
		vg_warn("%s: nothing is tidied up: %s", t->name, err.text);
	if (t->run.pid <= 0) {
		done(t);
		return;
	}
	t->phase = RUNNING;
	vg_loop_watch(all->loop, &t->watch, t->run.fd);
	vg_loop_timer(all->loop, &t->timer, limit_s(all) * NS_PER_S);
}

static void expired(struct vg_timer *timer)
{
	struct vg_tidy *t = container_of(timer, struct vg_tidy, timer);

	if (t->phase == DUE) {
		attempt(t);
		return;
	}
	t->late_s = limit_s(t->all);
	vg_command_kill(&t->run);
}

static struct vg_tidy *make(struct vg_tidies *all, const char *spec)
{
	struct vg_tidy *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	snprintf(t->spec, sizeof(t->spec), "%s", spec);
	t->all = all;
	t->run.fd = -1;
	t->watch.ready = heard;
	t->timer.expired = expired;
	t->next = all->first;
	all->first = t;
	return t;
}

/* Another of that name. */
static const struct vg_tidy *namesake(const struct vg_tidy *t)
{
	for (const struct vg_tidy *other = t->all->first; other; other = other->next) {
		if (other != t && strcmp(other->name, t->command.name) == 0)
			return other;
	}
	return NULL;
}

int vg_tidy_new(struct vg_tidies *all, const char *spec, struct vg_tidy **out, struct vg_err *err)
{
	struct vg_tidy *t = make(all, spec);
	const struct vg_tidy *other;
	int ret;

	*out = NULL;
	if (!t)
		return vg_fail(err, -ENOMEM, "out of memory");
	ret = ask(t, false, err);
	other = ret == 1 || ret == -EBUSY ? namesake(t) : NULL;
	if (other && other->phase == HELD)
		ret = vg_fail(err, -EBUSY, "interface %s is that of another device",
			      t->command.name);
	else if (other)
		ret = vg_fail(err, -EINPROGRESS,
			      "%s of what was here before is still being tidied up after",
			      t->command.name);
	memcpy(t->name, t->command.name, sizeof(t->name));
	if (ret == 1) {
		ret = write_note(t, err);
		if (ret == 0) {
			*out = t;
			return 0;
		}
	}
	forget(t);
	return ret;
}

void vg_tidy_run(struct vg_tidy *t)
{
	t->phase = DUE;
	t->due_ns = vg_now_ns();
	attempt(t);
}

void vg_tidy_drop(struct vg_tidy *t)
{
	remove_note(t);
	forget(t);
}

bool vg_tidies_reaped(struct vg_tidies *all, pid_t pid, int status)
{
	struct vg_tidy *t = all->first;
	struct vg_err err;

	while (t && (t->phase != RUNNING || t->run.pid != pid))
		t = t->next;
	if (!t)
		return false;
	vg_loop_unwatch(&t->watch);
	if (vg_command_ended(&t->command, &t->run, status, t->late_s, &err) < 0)
		vg_error("%s: %s", t->name, err.text);
	done(t);
	return true;
}

void vg_tidies_stop(struct vg_tidies *all)
{
	all->stopping = true;
	for (struct vg_tidy *t = all->first; t; t = t->next) {
		if (t->phase == RUNNING)
			vg_loop_timer(all->loop, &t->timer, limit_s(all) * NS_PER_S);
	}
}

bool vg_tidies_busy(const struct vg_tidies *all)
{
	for (const struct vg_tidy *t = all->first; t; t = t->next) {
		if (t->phase != HELD)
			return true;
	}
	return false;
}

void vg_tidies_free(struct vg_tidies *all)
{
	struct vg_tidy *t;

	while ((t = all->first) != NULL) {
		all->first = t->next;
		dispose(t);
	}
}

/* ---- of a vgrantd before ------------------------------------------------ */

static void take_over(struct vg_tidies *all, const char *file)
{
	size_t len = strlen(file) - strlen(SUFFIX);
	char spec[VG_PARAMS_LEN];
	struct vg_tidy *t;
	ssize_t n;
	int fd = openat(all->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	n = fd < 0 ? -1 : read(fd, spec, sizeof(spec));
	if (fd >= 0)
		close(fd);
	/* Cut off, as the disk was full: its worker was never started. */
	if (n <= 0 || spec[n - 1] || len >= sizeof(t->name)) {
		unlinkat(all->dir, file, 0);
		return;
	}
	t = make(all, spec);
	if (!t)
		return;
	memcpy(t->name, file, len);
	vg_tidy_run(t);
}

void vg_tidies_left(struct vg_tidies *all)
{
	int fd = all->dir < 0 ? -1 : openat(all->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dir)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len > strlen(SUFFIX) && strcmp(e->d_name + len - strlen(SUFFIX), SUFFIX) == 0)
			take_over(all, e->d_name);
	}
	closedir(dir);
}
