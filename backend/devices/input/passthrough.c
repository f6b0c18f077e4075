// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * passthrough.c - an input device of the host's, for one guest alone
 *
 * The guest's device is what the host's says of itself, less what would need more than events: force
 * feedback and power. Its events are the guest's as they come; what the guest says of LEDs and beeps
 * goes back.
 *
 * Events may be lost, on the host (SYN_DROPPED), or because the guest takes none. Then all that was not
 * told is told, from how the device is: keys, switches, axes. Of touches it is only told that they have
 * ended, for what each of them is cannot be asked in one call; a finger that stays begins anew when it
 * next touches.
 *
 * A device that is unplugged lets go of all. The worker ends (vg_dev.outdated), and the supervisor
 * starts another, again and again until the device can be opened by its path: that needs rights that a
 * worker has given up.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/devices/input/evdev.h"
#include "backend/devices/input/int.h"

enum {
	EVENTS = 64, /* of one read */
	ROUNDS = 16, /* reads of one turn of the loop */
	NONE = UINT16_MAX,
};

struct input_evdev {
	struct input *in;
	int fd; /* -1: it is gone */
	struct vg_watch watch;
	struct evdev_caps caps;
	bool dropping; /* events were lost on the host: what comes up to the next report is void */
	int32_t abs[ABS_CNT];
	uint8_t sw[(SW_CNT + 7) / 8];
	uint16_t slot;
	bool touches
		[EVDEV_SLOTS]; /* there was one since all were lifted: its end may have been lost */
};

/* ---- what it is ------------------------------------------------------------------ */

/* The bits of an event type that is passed on; NULL: it is not. */
static const uint8_t *bits_of(const struct evdev_caps *c, unsigned type, size_t *size)
{
	const struct {
		unsigned type;
		const uint8_t *bits;
		size_t size;
	} all[] = {
		{ EV_KEY, c->key, sizeof(c->key) }, { EV_REL, c->rel, sizeof(c->rel) },
		{ EV_ABS, c->abs, sizeof(c->abs) }, { EV_MSC, c->msc, sizeof(c->msc) },
		{ EV_SW, c->sw, sizeof(c->sw) },    { EV_LED, c->led, sizeof(c->led) },
		{ EV_SND, c->snd, sizeof(c->snd) }, { EV_REP, c->rep, sizeof(c->rep) },
	};

	for (unsigned i = 0; i < COUNT(all); i++) {
		if (all[i].type == type) {
			*size = all[i].size;
			return all[i].bits;
		}
	}
	return NULL;
}

static bool has(const struct evdev_caps *c, unsigned type, unsigned code)
{
	size_t size;
	const uint8_t *bits = bits_of(c, type, &size);

	return bits && code < size * 8 && input_bit(bits, code);
}

static void put_bitmap(struct virtio_input_config *c, const uint8_t *bits, size_t size)
{
	for (size_t i = 0; i < size && i < sizeof(c->u.bitmap); i++) {
		c->u.bitmap[i] = bits[i];
		if (bits[i])
			c->size = (uint8_t)(i + 1);
	}
}

static void put_absinfo(struct virtio_input_config *c, const struct input_absinfo *a)
{
	c->u.abs.min = htole32((uint32_t)a->minimum);
	c->u.abs.max = htole32((uint32_t)a->maximum);
	c->u.abs.fuzz = htole32((uint32_t)a->fuzz);
	c->u.abs.flat = htole32((uint32_t)a->flat);
	c->u.abs.res = htole32((uint32_t)a->resolution);
	c->size = sizeof(c->u.abs);
}

void evdev_config(const struct input *in, struct virtio_input_config *c)
{
	const struct evdev_caps *caps = &in->evdev->caps;
	const uint8_t *bits;
	size_t size;

	switch (c->select) {
	case VIRTIO_INPUT_CFG_ID_NAME:
		c->size = caps->name_len;
		memcpy(c->u.string, caps->name, c->size);
		break;
	case VIRTIO_INPUT_CFG_ID_SERIAL:
		c->size = caps->serial_len;
		memcpy(c->u.string, caps->serial, c->size);
		break;
	case VIRTIO_INPUT_CFG_ID_DEVIDS:
		c->u.ids.bustype = htole16(caps->id.bustype);
		c->u.ids.vendor = htole16(caps->id.vendor);
		c->u.ids.product = htole16(caps->id.product);
		c->u.ids.version = htole16(caps->id.version);
		c->size = sizeof(c->u.ids);
		break;
	case VIRTIO_INPUT_CFG_PROP_BITS:
		put_bitmap(c, caps->props, sizeof(caps->props));
		break;
	case VIRTIO_INPUT_CFG_EV_BITS:
		bits = bits_of(caps, c->subsel, &size);
		if (bits)
			put_bitmap(c, bits, size);
		break;
	case VIRTIO_INPUT_CFG_ABS_INFO:
		if (has(caps, EV_ABS, c->subsel))
			put_absinfo(c, &caps->absinfo[c->subsel]);
		break;
	}
}

/* ---- to the guest ------------------------------------------------------------------- */

static void put_abs(struct input_evdev *e, unsigned code, int32_t value)
{
	input_put(e->in, EV_ABS, (uint16_t)code, (uint32_t)value);
}

static void lift_all(struct input_evdev *e)
{
	if (!has(&e->caps, EV_ABS, ABS_MT_SLOT))
		return;
	for (unsigned i = 0; i < EVDEV_SLOTS; i++) {
		if (!e->touches[i])
			continue;
		e->touches[i] = false;
		put_abs(e, ABS_MT_SLOT, (int32_t)i);
		put_abs(e, ABS_MT_TRACKING_ID, -1);
	}
	if (e->slot < EVDEV_SLOTS)
		put_abs(e, ABS_MT_SLOT, e->slot);
}

void evdev_catch_up(struct input *in)
{
	struct input_evdev *e = in->evdev;

	lift_all(e);
	for (unsigned i = 0; i < ABS_MT_SLOT; i++) {
		if (has(&e->caps, EV_ABS, i))
			put_abs(e, i, e->abs[i]);
	}
	for (unsigned i = 0; i < SW_CNT; i++) {
		if (has(&e->caps, EV_SW, i))
			input_put(in, EV_SW, (uint16_t)i, input_bit(e->sw, i));
	}
}

/* How it is, rather than how events made it. */
static void ask_state(struct input_evdev *e)
{
	struct evdev_state s;

	evdev_host_state(e->fd, &e->caps, &s);
	for (unsigned i = 0; i < sizeof(s.key); i++)
		e->in->held[i] = s.key[i] & e->caps.key[i];
	memcpy(e->sw, s.sw, sizeof(e->sw));
	memcpy(e->abs, s.abs, sizeof(e->abs));
	e->slot = has(&e->caps, EV_ABS, ABS_MT_SLOT) ? (uint16_t)s.abs[ABS_MT_SLOT] : 0;
}

/* What is so now. Behind what is still on its way, for only then it is known what the guest was told. */
static void tell_state(struct input *in)
{
	if (in->n)
		in->lost = true;
	else
		input_catch_up(in);
}

static void axis(struct input_evdev *e, unsigned code, int32_t value)
{
	e->abs[code] = value;
	if (code == ABS_MT_SLOT)
		e->slot = value < 0 || value >= EVDEV_SLOTS ? NONE : (uint16_t)value;
	if (code >= ABS_MT_SLOT && e->slot >= EVDEV_SLOTS)
		return;
	if (code == ABS_MT_TRACKING_ID && value >= 0)
		e->touches[e->slot] = true;
	put_abs(e, code, value);
}

static void event(struct input_evdev *e, const struct input_event *ev)
{
	struct input *in = e->in;

	if (ev->type == EV_SYN && ev->code == SYN_DROPPED) {
		e->dropping = true;
	} else if (e->dropping) {
		if (ev->type != EV_SYN || ev->code != SYN_REPORT)
			return;
		e->dropping = false;
		ask_state(e);
		tell_state(in);
	} else if (ev->type == EV_SYN) {
		if (ev->code == SYN_REPORT || ev->code == SYN_MT_REPORT)
			input_put(in, EV_SYN, ev->code, (uint32_t)ev->value);
	} else if (!has(&e->caps, ev->type, ev->code)) {
		return;
	} else if (ev->type == EV_KEY) {
		/* A guest repeats keys that are held by itself. */
		if (ev->value == 2)
			return;
		input_set_bit(in->held, ev->code, ev->value);
		input_put(in, EV_KEY, ev->code, ev->value != 0);
	} else if (ev->type == EV_ABS) {
		axis(e, ev->code, ev->value);
	} else if (ev->type == EV_REL || ev->type == EV_MSC || ev->type == EV_SW) {
		if (ev->type == EV_SW)
			input_set_bit(e->sw, ev->code, ev->value);
		input_put(in, ev->type, ev->code, (uint32_t)ev->value);
	}
}

/* It was unplugged, or is no use any more. */
static void gone(struct input_evdev *e)
{
	struct input *in = e->in;

	vg_warn("the input device is gone: it is looked for until it is back");
	vg_loop_unwatch(&e->watch);
	close(e->fd);
	e->fd = -1;
	memset(in->held, 0, sizeof(in->held));
	tell_state(in);
	in->dev->outdated = true;
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct input_evdev *e = container_of(w, struct input_evdev, watch);
	struct input_event ev[EVENTS];
	ssize_t n = 1;

	(void)events;
	for (unsigned i = 0; i < ROUNDS; i++) {
		n = read(e->fd, ev, sizeof(ev));
		if (n < (ssize_t)sizeof(ev[0]))
			break;
		for (size_t k = 0; k < (size_t)n / sizeof(ev[0]); k++)
			event(e, &ev[k]);
		input_flush(e->in);
	}
	if (n <= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
		gone(e);
	else if (n > 0)
		vg_loop_defer(e->in->dev->loop, &e->in->more);
	input_flush(e->in);
}

/* ---- from the guest ------------------------------------------------------------------- */

void evdev_status(struct input *in, uint16_t type, uint16_t code, uint32_t value)
{
	const struct input_event ev[] = { { .type = type, .code = code, .value = (int32_t)value },
					  { .type = EV_SYN, .code = SYN_REPORT } };
	struct input_evdev *e = in->evdev;

	/* What a guest may change of a device of the host's: what is seen and heard of it. */
	if (e->fd < 0 || (type != EV_LED && type != EV_SND) || !has(&e->caps, type, code))
		return;
	if (write(e->fd, ev, sizeof(ev)) < 0)
		vg_debug("the input device does not take an LED: %s", strerror(errno));
}

/* ---- life -------------------------------------------------------------------------------- */

void evdev_forget(struct input *in)
{
	struct input_evdev *e = in->evdev;

	/* Whoever comes next is told how it is. */
	memset(e->touches, 0, sizeof(e->touches));
	e->dropping = false;
	if (e->fd >= 0)
		ask_state(e);
	in->lost = true;
}

int evdev_open(struct input *in, const char *path, struct vg_err *err)
{
	struct input_evdev *e = calloc(1, sizeof(*e));

	if (!e)
		return vg_fail(err, -ENOMEM, "out of memory");
	e->fd = evdev_host_open(path, &e->caps, err);
	if (e->fd < 0) {
		int ret = e->fd;

		free(e);
		return ret;
	}
	e->in = in;
	in->evdev = e;
	evdev_forget(in);
	e->watch.ready = ready;
	vg_loop_watch(in->dev->loop, &e->watch, e->fd);
	return 0;
}

void evdev_close(struct input *in)
{
	struct input_evdev *e = in->evdev;

	if (!e)
		return;
	if (e->fd >= 0) {
		vg_loop_unwatch(&e->watch);
		close(e->fd);
	}
	free(e);
	in->evdev = NULL;
}

void evdev_again(struct input *in)
{
	if (in->evdev->fd >= 0)
		ready(&in->evdev->watch, 0);
}

void evdev_resume(struct input *in)
{
	memcpy(in->told, in->evdev->caps.key, sizeof(in->told));
	in->lost = true;
}

bool evdev_is_there(const struct input *in)
{
	return in->evdev->fd >= 0;
}
