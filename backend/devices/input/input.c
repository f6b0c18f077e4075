// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * input.c - keyboard, tablet or touch screen, VIRTIO 1.3 section 5.8
 *
 * What a viewer of the guest's display does comes over a socket (displays/display.h), one to each
 * such device of the guest. It becomes events, which wait in a queue for the driver's buffers: Linux'
 * driver has 64 of them, and gives them back at once. Where it does not, events are lost; but not
 * which keys are held, nor where the pointer or finger is: once there is room again, that is told.
 *
 * Or it is a device of the host's (passthrough.c).
 *
 * A worker that dies: what was selected in the configuration space is saved. Events on their way are
 * lost; a key that was held comes up when the viewer lets go of it.
 */
#include <endian.h>
#include <errno.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/devices/input/int.h"
#include "backend/devices/input/keymap.h"

enum {
	TURN = 64,	  /* status events in one turn of the loop */
	HEARD_MAX = 1024, /* messages at once: no person has so much to say */
	SAVED = 2,
};

static const struct vg_param_def input_params[] = {
	{ "kind", VG_PARAM_STRING, false, 0, 0, NULL,
	  "keyboard, tablet (an absolute pointer), or touch (a touch screen): moved by the viewers "
	  "of the guest's display" },
	{ "keymap", VG_PARAM_STRING, false, 0, 0, NULL,
	  "of a keyboard: the guest's layout, as X11 names it: de, or fr(oss); for viewers that do "
	  "not tell which key it is; default: that of the US" },
	{ "evdev", VG_PARAM_PATH, false, 0, 0, NULL,
	  "instead: an input device of this domain's, as /dev/input/by-id/...-event-kbd, which the "
	  "guest has for itself alone" },
	{ "head", VG_PARAM_UINT, false, 0, VG_DISPLAY_HEADS - 1, NULL,
	  "number of the head whose viewers move this pointer, from 0; default: any" },
	{ 0 },
};

/* ---- events ---------------------------------------------------------------- */

void input_put(struct input *in, uint16_t type, uint16_t code, uint32_t value)
{
	unsigned at = (in->first + in->n) % VG_LIMIT_INPUT_EVENTS;

	/* Nobody reads them: the driver does not run. */
	if (!vg_dev_vq(in->dev, INPUT_EVENTQ))
		return;
	if (in->n == VG_LIMIT_INPUT_EVENTS) {
		in->lost = true;
		in->dropped++;
		return;
	}
	in->event[at] = (struct input_item){ type, code, value };
	in->n++;
}

/* As many as there are buffers for. Return: whether the queue may go on. */
static bool deliver(struct input *in)
{
	struct vg_dev *dev = in->dev;
	struct vg_chain *c;

	while (in->n && vg_dev_pop(dev, INPUT_EVENTQ, &c, 1)) {
		const struct input_item *e = &in->event[in->first];
		const struct virtio_input_event out = { htole16(e->type), htole16(e->code),
							htole32(e->value) };

		if (c->in_len < sizeof(out)) {
			vg_vq_unpop(vg_dev_vq(dev, INPUT_EVENTQ), c);
			vg_dev_fault(dev, "a buffer without room for an event");
			return false;
		}
		vg_batch_init(&in->batch, dev->mem);
		vg_chain_write(&in->batch, c, 0, &out, sizeof(out));
		vg_batch_run(&in->batch);
		if (c->error)
			vg_dev_fault(dev, "an event cannot be written: %s", strerror(-c->error));
		if (e->type == EV_KEY && e->code < KEY_CNT)
			input_set_bit(in->told, e->code, e->value);
		in->first = (in->first + 1) % VG_LIMIT_INPUT_EVENTS;
		in->n--;
		in->events++;
		vg_dev_stats(dev, INPUT_EVENTQ)->requests++;
		vg_vq_push(vg_dev_vq(dev, INPUT_EVENTQ), c, c->error ? 0 : sizeof(out));
	}
	return true;
}

void input_flush(struct input *in)
{
	bool more;

	/* What is to be told of waits for a driver. */
	if (!vg_dev_vq(in->dev, INPUT_EVENTQ))
		return;
	do {
		more = deliver(in);
		if (more && !in->n && in->lost) {
			in->lost = false;
			input_catch_up(in);
		} else {
			more = false;
		}
	} while (more && in->n);
	vg_dev_flush(in->dev, INPUT_EVENTQ);
	/* Of interest only while events wait for buffers. */
	if (in->n && vg_dev_rearm(in->dev, INPUT_EVENTQ))
		vg_dev_kick_later(in->dev, INPUT_EVENTQ);
}

/* LEDs, and what else the driver says. */
static void take_status(struct input *in)
{
	struct vg_dev *dev = in->dev;
	struct vg_chain *c;
	unsigned taken = 0;

	do {
		while (vg_dev_pop(dev, INPUT_STATUSQ, &c, 1)) {
			struct virtio_input_event e = { 0 };
			uint16_t code;

			vg_batch_init(&in->batch, dev->mem);
			vg_chain_read(&in->batch, c, 0, &e, sizeof(e));
			vg_batch_run(&in->batch);
			code = le16toh(e.code);
			if (!c->error && c->out_len >= sizeof(e) && in->evdev)
				evdev_status(in, le16toh(e.type), code, le32toh(e.value));
			if (!c->error && le16toh(e.type) == EV_LED && code < 32) {
				if (e.value)
					in->leds |= 1u << code;
				else
					in->leds &= ~(1u << code);
			}
			c->error = 0;
			vg_dev_stats(dev, INPUT_STATUSQ)->requests++;
			vg_vq_push(vg_dev_vq(dev, INPUT_STATUSQ), c, 0);
			if (++taken == TURN) {
				vg_dev_flush(dev, INPUT_STATUSQ);
				vg_dev_kick_later(dev, INPUT_STATUSQ);
				return;
			}
		}
		vg_dev_flush(dev, INPUT_STATUSQ);
	} while (vg_dev_rearm(dev, INPUT_STATUSQ));
}

/* ---- the display -------------------------------------------------------------- */

static void hang_up(struct input *in)
{
	const struct vg_display_msg gone = { .type = VG_DISPLAY_RELEASE };

	if (in->sock < 0)
		return;
	vg_loop_unwatch(&in->watch);
	close(in->sock);
	in->sock = -1;
	input_heard(in, &gone);
	input_flush(in);
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct input *in = container_of(w, struct input, watch);
	struct vg_display_msg m;
	int ret = 1, fd;

	(void)events;
	for (unsigned i = 0; ret == 1 && i < HEARD_MAX; i++) {
		ret = vg_display_recv(in->sock, &m, &fd, MSG_DONTWAIT);
		if (fd >= 0)
			close(fd);
		if (ret == 1)
			input_heard(in, &m);
	}
	input_flush(in);
	if (ret != -EAGAIN)
		hang_up(in);
}

static void input_peer(struct vg_dev *dev, int sock)
{
	struct input *in = dev->priv;

	if (in->evdev) {
		close(sock);
		return;
	}
	hang_up(in);
	in->sock = sock;
	in->watch.ready = ready;
	vg_loop_watch(dev->loop, &in->watch, sock);
}

/* ---- the device ----------------------------------------------------------------- */

/* Return: enum input_kind, INPUT_KINDS for an evdev, or negative errno with a sentence. */
static int kind_of(const struct vg_params *params, struct vg_err *err)
{
	const char *kind = vg_params_str(params, input_params, "kind");
	const char *evdev = vg_params_str(params, input_params, "evdev");

	if (!kind == !evdev)
		return vg_fail(err, -EINVAL,
			       "kind=keyboard, tablet or touch, or evdev=/dev/input/...: one of "
			       "them is needed, not both");
	if (evdev)
		return vg_params_str(params, input_params, "head")
			       ? vg_fail(err, -EINVAL, "head=...: no viewer moves an evdev=")
			       : INPUT_KINDS;
	for (int k = 0; k < INPUT_KINDS; k++) {
		if (strcmp(kind, input_kind_words[k]) == 0)
			return k;
	}
	return vg_fail(err, -EINVAL, "kind=%.40s: it is keyboard, tablet or touch", kind);
}

static int input_check(const struct vg_params *params, struct vg_err *err)
{
	const char *keymap = vg_params_str(params, input_params, "keymap");
	int ret = kind_of(params, err);

	if (ret < 0 || !keymap)
		return ret < 0 ? ret : 0;
	if (ret != INPUT_KEYBOARD)
		return vg_fail(err, -EINVAL, "keymap=%.60s: it is for kind=keyboard", keymap);
	return input_keymap_check(keymap, err);
}

static void hear_more(struct vg_deferred *d)
{
	evdev_again(container_of(d, struct input, more));
}

static int input_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const char *head = vg_params_str(params, input_params, "head");
	const char *keymap = vg_params_str(params, input_params, "keymap");
	int kind = kind_of(params, err), ret = 0;
	struct input *in;

	if (kind < 0)
		return kind;
	in = calloc(1, sizeof(*in));
	if (!in)
		return vg_fail(err, -ENOMEM, "out of memory");
	in->dev = dev;
	in->kind = (enum input_kind)kind;
	in->head = head ? (int)vg_params_uint(params, input_params, "head") : -1;
	in->sock = -1;
	in->more.run = hear_more;
	if (keymap)
		ret = input_keymap_new(keymap, &in->keymap, err);
	else if (kind == INPUT_KINDS)
		ret = evdev_open(in, vg_params_str(params, input_params, "evdev"), err);
	if (ret < 0) {
		free(in);
		return ret;
	}
	dev->priv = in;
	dev->n_queues = INPUT_QUEUES;
	dev->config_size = sizeof(struct virtio_input_config);
	dev->saved_size = SAVED;
	return 0;
}

static void input_close(struct vg_dev *dev)
{
	struct input *in = dev->priv;

	if (in->sock >= 0) {
		vg_loop_unwatch(&in->watch);
		close(in->sock);
	}
	vg_loop_undefer(dev->loop, &in->more);
	evdev_close(in);
	input_keymap_free(in->keymap);
	free(in);
	dev->priv = NULL;
}

static void input_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct virtio_input_config c;

	input_config(dev->priv, &c);
	memcpy(buf, (const uint8_t *)&c + off, len);
}

/* select and subsel, alone or together; or all that there is, which is how QEMU's vhost-user-input passes
 * on what its driver writes: then only those two count. The generation stays: Linux' driver writes both,
 * one by one. */
static int input_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct input *in = dev->priv;
	const uint8_t *bytes = buf;

	if (off == 0 && len == dev->config_size)
		len = SAVED;
	if (off + len > SAVED)
		return -EPERM;
	for (uint32_t i = 0; i < len; i++)
		*(off + i ? &in->subsel : &in->select) = bytes[i];
	dev->saved[0] = in->select;
	dev->saved[1] = in->subsel;
	return 0;
}

static void forget(struct input *in)
{
	in->first = in->n = 0;
	in->lost = false;
	memset(in->held, 0, sizeof(in->held));
	memset(in->told, 0, sizeof(in->told));
	in->buttons = in->leds = 0;
	if (in->evdev)
		evdev_forget(in);
}

static int input_resume(struct vg_dev *dev)
{
	struct input *in = dev->priv;

	in->select = dev->saved[0];
	in->subsel = dev->saved[1];
	if (in->evdev)
		evdev_resume(in);
	return 0;
}

static void input_queue_ready(struct vg_dev *dev, unsigned q)
{
	if (q == INPUT_EVENTQ)
		input_flush(dev->priv);
	else
		take_status(dev->priv);
}

/* Nothing is in flight between two calls. */
static void input_stop_queue(struct vg_dev *dev, unsigned q)
{
	if (q == INPUT_EVENTQ)
		forget(dev->priv);
	vg_dev_queue_stopped(dev, q);
}

static void input_reset(struct vg_dev *dev)
{
	struct input *in = dev->priv;

	forget(in);
	in->select = in->subsel = 0;
	memset(dev->saved, 0, dev->saved_size);
}

static void input_describe(struct vg_dev *dev, char *buf, size_t len)
{
	const struct input *in = dev->priv;

	snprintf(buf, len, "%s %s=%s events=%llu dropped=%llu leds=%u",
		 in->evdev ? "evdev" : input_kind_words[in->kind], in->evdev ? "there" : "display",
		 (in->evdev ? evdev_is_there(in) : in->sock >= 0) ? "yes" : "no",
		 (unsigned long long)in->events, (unsigned long long)in->dropped, in->leds);
}

/* For who wants to know whether it is outdated. */
static void input_tick(struct vg_dev *dev)
{
	(void)dev;
}

/* How a device of the host's is. */
static const struct vg_sandbox_call input_calls[] = {
	VG_CALL_IOCTL(EVIOCGKEY(KEY_CNT / 8)),
	VG_CALL_IOCTL(EVIOCGSW((SW_CNT + 7) / 8)),
	/* EVIOCGABS() of each axis */
	{ .nr = SYS_ioctl,
	  .filtered = true,
	  .arg = 1,
	  .mask = UINT32_MAX & ~(uint32_t)ABS_MAX,
	  .value = EVIOCGABS(0) },
	VG_CALLS_END,
};
static const struct vg_sandbox_needs input_needs = { .calls = input_calls };

const struct vg_device_ops vg_input = {
	.name = "input",
	.help = "a keyboard, tablet or touch screen: of the viewers of its display, or of the "
		"host's",
	.needs = &input_needs,
	.tick = input_tick,
	.virtio_id = 18, /* VIRTIO 1.3 section 5.8.1 */
	.params = input_params,
	.check = input_check,
	.open = input_open,
	.close = input_close,
	.config_read = input_config_read,
	.config_write = input_config_write,
	.resume = input_resume,
	.queue_ready = input_queue_ready,
	.stop_queue = input_stop_queue,
	.reset = input_reset,
	.peer = input_peer,
	.listens = true,
	.describe = input_describe,
};
