// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * metrics.c - see metrics.h
 *
 * Off unless the settings say otherwise: nobody should find a port open that he did not ask for, and
 * Prometheus reads no Unix socket by itself, so that one by default would serve nobody. Only an address
 * of this machine's own is taken: what is shown names guests and their disks.
 *
 * The supervisor makes the socket and keeps it, as those of [vhost-user]; whoever connects while there
 * is no process waits in the backlog.
 */
#include "backend/daemon/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/listen.h"

enum { BACKLOG = 16 };

static struct vg_metrics *of_child(const struct vg_child *c)
{
	return container_of(c, struct vg_metrics, c);
}

static void start_later(struct vg_metrics *m)
{
	vg_loop_timer(m->c.all->loop, &m->timer, vg_child_backoff(&m->c) * (NS_PER_S / 1000));
}

static void start(struct vg_metrics *m)
{
	struct vg_err err;

	if (m->c.all->stopping || vg_child_start(&m->c, "--metrics", 0, m->listen, &err) == 0)
		return;
	vg_child_say(&m->c, VG_LOG_ERR, err.text);
	start_later(m);
}

static void timer_expired(struct vg_timer *t)
{
	start(container_of(t, struct vg_metrics, timer));
}

/* It is in its sandbox: it gets a client's end of the control socket. */
static void opened(struct vg_metrics *m)
{
	const struct vg_ipc give = { .type = VG_IPC_CONTROL };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		vg_child_say(&m->c, VG_LOG_ERR, "no socket for it: it is started again");
		vg_child_end(&m->c);
		return;
	}
	if (vg_control_adopt(m->control, pair[0]) == 0)
		vg_child_tell(&m->c, &give, pair[1]);
	close(pair[1]);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	if (m->type == VG_IPC_OPENED)
		opened(of_child(c));
	else if (m->type == VG_IPC_FAILED)
		vg_child_say(c, VG_LOG_ERR, m->text);
}

static void reaped(struct vg_child *c, int status)
{
	char text[200];

	if (c->all->stopping)
		return;
	vg_child_explain(c, status, text, sizeof(text));
	start_later(of_child(c));
}

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	(void)c;
	(void)d;
}

static const struct vg_child_ops child_ops = {
	.place = place,
	.message = message,
	.reaped = reaped,
};

static int listen_tcp(unsigned port, struct vg_err *err)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1, ret;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
	    bind(fd, (const struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	ret = -errno;
	if (fd >= 0)
		close(fd);
	return vg_fail(err, ret, "port %u of 127.0.0.1 cannot be listened on: %s", port,
		       strerror(-ret));
}

/* Return: a descriptor; or negative errno with a sentence. */
static int make_socket(struct vg_metrics *m, const struct vg_settings *settings, struct vg_err *err)
{
	gid_t group;
	int ret;

	if (settings->metrics[0] != '/')
		return listen_tcp((unsigned)strtoul(settings->metrics, NULL, 10), err);
	ret = vg_settings_group(settings, &group, err);
	if (ret == 0)
		ret = vg_listen_unix(settings->metrics, group, (mode_t)settings->mode, BACKLOG,
				     err);
	if (ret >= 0)
		m->path = settings->metrics;
	return ret;
}

void vg_metrics_start(struct vg_metrics *m, struct vg_children *all, struct vg_control *control)
{
	const struct vg_settings *settings = all->settings;
	struct vg_err err;
	int ret;

	if (strcmp(settings->metrics, "off") == 0)
		return;
	ret = make_socket(m, settings, &err);
	if (ret < 0) {
		vg_error("metrics: %s; Prometheus learns nothing", err.text);
		return;
	}
	m->listen = ret;
	m->control = control;
	m->timer.expired = timer_expired;
	vg_child_init_alone(&m->c, &child_ops, all, "metrics");
	snprintf(m->c.who, sizeof(m->c.who), "metrics");
	start(m);
}

void vg_metrics_stop(struct vg_metrics *m)
{
	if (!m->control)
		return;
	vg_loop_timer_stop(&m->timer);
	vg_child_fini(&m->c);
	if (m->path)
		unlink(m->path);
	close(m->listen);
	m->control = NULL;
}
