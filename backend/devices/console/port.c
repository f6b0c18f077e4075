// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * port.c - a port of a console: a pseudo-terminal on one side, two queues on the other
 *
 * The terminal is the supervisor's (daemon/terminals.h), and this its device's side. Whether somebody
 * has the other side open, poll(2) tells (POLLHUP: nobody), and nothing wakes us when somebody opens
 * it, nor when its window changes: we look once a second, and whenever something comes.
 *
 * What the guest says is kept, up to VG_LIMIT_CONSOLE_BYTES, and given to whoever reads. When that is
 * full, it depends. Linux' console (hvc) waits with a processor for each buffer that it gives: of the
 * console the eldest goes, unless somebody reads, whom it may wait for PATIENCE_S. A port with a name
 * waits: its driver lets the program sleep, or tells it that there is no room.
 *
 * What is typed is read only when there is a buffer for it: what has no room waits in the terminal.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "backend/devices/console/int.h"

enum {
	PATIENCE_S = 1,
	TURN_BYTES = 256 << 10, /* of one port in one turn of the loop, each way */
};

/* ---- the terminal ----------------------------------------------------------- */

/* As it is for who comes next, whatever the last one made of it: with an echo the guest would hear
 * itself. */
static void make_raw(int tty)
{
	struct termios t;

	if (tcgetattr(tty, &t) < 0)
		return; /* it is none: a test's */
	cfmakeraw(&t);
	tcsetattr(tty, TCSANOW, &t);
}

static void look_at_window(struct console_port *p)
{
	struct winsize w;

	if (p->tty < 0 || ioctl(p->tty, TIOCGWINSZ, &w) < 0 ||
	    (w.ws_col == p->cols && w.ws_row == p->rows))
		return;
	p->cols = w.ws_col;
	p->rows = w.ws_row;
	/* With several ports it is told by control, and of each of them. */
	if (p->index == 0 && vg_dev_has(p->c->dev, VIRTIO_CONSOLE_F_SIZE) &&
	    !vg_dev_has(p->c->dev, VIRTIO_CONSOLE_F_MULTIPORT))
		vg_dev_config_changed(p->c->dev);
}

static void look_who_is_there(struct console_port *p)
{
	struct pollfd f = { .fd = p->tty, .events = POLLOUT };
	bool there = p->tty >= 0 && poll(&f, 1, 0) >= 0 && !(f.revents & (POLLHUP | POLLERR));

	if (there == p->attached)
		return;
	p->attached = there;
	p->moved_ns = vg_now_ns();
	if (!there && p->tty >= 0)
		make_raw(p->tty);
}

static void woken(struct vg_watch *w, unsigned events)
{
	struct console_port *p = container_of(w, struct console_port, watch);

	(void)events;
	port_look(p);
}

void port_close(struct console_port *p)
{
	if (p->tty < 0)
		return;
	vg_loop_unwatch(&p->watch);
	close(p->tty);
	p->tty = -1;
	p->attached = false;
}

void port_new_terminal(struct console_port *p, int fd)
{
	port_close(p);
	p->tty = fd;
	p->watch.ready = woken;
	vg_loop_watch_for(p->c->dev->loop, &p->watch, fd, POLLIN | POLLOUT);
	port_look(p);
}

void port_look(struct console_port *p)
{
	/* What was typed before they left is the guest's, too. */
	port_in(p);
	look_who_is_there(p);
	look_at_window(p);
	port_out(p);
	control_tell(p->c);
}

/* ---- to the guest ------------------------------------------------------------ */

/* Return: whether something was read. */
static bool take_typed(struct console_port *p, struct vg_chain *c, ssize_t *n)
{
	struct console *k = p->c;

	do
		*n = read(p->tty, k->bytes,
			  c->in_len < sizeof(k->bytes) ? c->in_len : sizeof(k->bytes));
	while (*n < 0 && errno == EINTR);
	return *n > 0;
}

enum delivered { SOME, NO_BUFFER, NOTHING };

static enum delivered deliver(struct console_port *p, uint32_t *moved)
{
	struct vg_dev *dev = p->c->dev;
	unsigned q = console_rx(p);
	struct vg_chain *c;
	ssize_t n;

	if (!vg_dev_pop(dev, q, &c, 1))
		return NO_BUFFER;
	if (!c->in_len) {
		vg_vq_unpop(vg_dev_vq(dev, q), c);
		vg_dev_fault(dev, "a buffer without room for what is typed");
		return NOTHING;
	}
	if (!take_typed(p, c, &n)) {
		vg_vq_unpop(vg_dev_vq(dev, q), c);
		return NOTHING;
	}
	vg_batch_init(&p->c->batch, dev->mem);
	vg_chain_write(&p->c->batch, c, 0, p->c->bytes, (size_t)n);
	vg_batch_run(&p->c->batch);
	if (c->error)
		vg_dev_fault(dev, "what is typed cannot be written: %s", strerror(-c->error));
	vg_dev_stats(dev, q)->requests++;
	vg_dev_stats(dev, q)->bytes_read += (uint64_t)n;
	*moved += (uint32_t)n;
	vg_vq_push(vg_dev_vq(dev, q), c, c->error ? 0 : (uint32_t)n);
	return SOME;
}

void port_in(struct console_port *p)
{
	struct vg_dev *dev = p->c->dev;
	unsigned q = console_rx(p);
	enum delivered last;
	uint32_t moved = 0;

	if (p->tty < 0 || !port_open(p) || !vg_dev_vq(dev, q))
		return;
	do {
		while ((last = deliver(p, &moved)) == SOME) {
			if (moved < TURN_BYTES)
				continue;
			vg_dev_flush(dev, q);
			vg_dev_kick_later(dev, q);
			return;
		}
		vg_dev_flush(dev, q);
		/* While there are buffers, more of them are no news. */
	} while (last == NO_BUFFER && vg_dev_rearm(dev, q));
}

/* ---- from the guest ------------------------------------------------------------ */

/* Asked before each write: one that finds no room wakes all who wait for room (tty_write_unlock() in
 * Linux), us among them, who would write again. */
static bool has_room(const struct console_port *p)
{
	struct pollfd f = { .fd = p->tty, .events = POLLOUT };

	return poll(&f, 1, 0) > 0 && f.revents & POLLOUT;
}

/* To who reads, as much as they take. */
static void drain(struct console_port *p)
{
	const uint8_t *at;
	uint32_t n;

	while (p->attached && (n = console_kept_first(p->kept, &at)) > 0 && has_room(p)) {
		ssize_t done = write(p->tty, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		console_kept_forget(p->kept, (uint32_t)done);
		p->moved_ns = vg_now_ns();
	}
}

static void lose(struct console_port *p, uint32_t n)
{
	console_kept_forget(p->kept, n);
	p->lost += n;
}

static bool may_wait(const struct console_port *p)
{
	return p->index || (p->attached && vg_now_ns() - p->moved_ns < PATIENCE_S * NS_PER_S);
}

/* Some of the chain that is in hand. Return: bytes; 0: there is no room. */
static uint32_t keep_some(struct console_port *p)
{
	uint32_t left = p->out->out_len - p->out_done, n;
	uint8_t *at;

	n = console_kept_next(p->kept, left, &at);
	if (!n)
		return 0;
	vg_batch_init(&p->c->batch, p->c->dev->mem);
	vg_chain_read(&p->c->batch, p->out, p->out_done, at, n);
	vg_batch_run(&p->c->batch);
	if (!p->out->error)
		p->kept->put += n;
	return n;
}

static void done_with(struct console_port *p)
{
	struct vg_dev *dev = p->c->dev;
	unsigned q = console_tx(p);

	if (p->out->error)
		vg_dev_fault(dev, "output cannot be read: %s", strerror(-p->out->error));
	vg_dev_stats(dev, q)->requests++;
	vg_dev_stats(dev, q)->bytes_written += p->out_done;
	vg_vq_push(vg_dev_vq(dev, q), p->out, 0);
	p->out = NULL;
}

/* The next of its chains is in hand. Return: whether there is one. */
static bool in_hand(struct console_port *p)
{
	if (p->out)
		return true;
	p->out_done = 0;
	return vg_dev_pop(p->c->dev, console_tx(p), &p->out, 1) > 0;
}

/* Return: whether its queue may be asked for more. */
static bool collect(struct console_port *p, uint32_t *moved)
{
	while (in_hand(p)) {
		uint32_t n = p->out->error ? 0 : keep_some(p);

		p->out_done += n;
		*moved += n;
		if (p->out->error || p->out_done == p->out->out_len) {
			done_with(p);
			/* One of no bytes costs as much. */
			*moved += 1;
		} else if (!n && may_wait(p)) {
			return false;
		} else if (!n) {
			uint32_t left = p->out->out_len - p->out_done;

			lose(p,
			     left < VG_LIMIT_CONSOLE_BYTES / 4 ? left : VG_LIMIT_CONSOLE_BYTES / 4);
		}
		drain(p);
		if (*moved >= TURN_BYTES) {
			vg_dev_kick_later(p->c->dev, console_tx(p));
			return false;
		}
	}
	return true;
}

void port_out(struct console_port *p)
{
	struct vg_dev *dev = p->c->dev;
	unsigned q = console_tx(p);
	uint32_t moved = 0;
	bool more;

	drain(p);
	if (!vg_dev_vq(dev, q))
		return;
	do {
		more = collect(p, &moved);
		vg_dev_flush(dev, q);
	} while (more && vg_dev_rearm(dev, q));
}

void port_stop_out(struct console_port *p)
{
	struct vg_vq *vq = vg_dev_vq(p->c->dev, console_tx(p));

	if (!p->out)
		return;
	if (!p->out_done) {
		/* For a successor, from its start. */
		vg_vq_unpop(vq, p->out);
		p->out = NULL;
		return;
	}
	p->lost += p->out->out_len - p->out_done;
	done_with(p);
	vg_dev_flush(p->c->dev, console_tx(p));
}

void port_say(struct console_port *p, uint8_t byte)
{
	uint8_t *at;

	if (!console_kept_room(p->kept))
		lose(p, 1);
	console_kept_next(p->kept, 1, &at);
	*at = byte;
	p->kept->put++;
	drain(p);
}
