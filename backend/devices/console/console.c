// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * console.c - a console and ports with names, VIRTIO 1.3 section 5.3
 *
 *   vgrant = [ 'console', 'console,ports=org.qemu.guest_agent.0:log' ]
 *
 * Port 0 is a console (hvc1 in a guest of Xen's, whose own is hvc0). The others have names, which Linux'
 * udev makes links of, in /dev/virtio-ports. Each port has a pseudo-terminal on this side; they are the
 * supervisor's, as is the memory in which output waits for somebody who reads it, so that neither a
 * client nor a byte is lost when a worker dies.
 *
 * A driver that does not know MULTIPORT has port 0 alone, and is told the window's size by the
 * configuration space, the others by control messages (control.c).
 */
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "backend/devices/console/int.h"

static const struct vg_param_def console_params[] = {
	{ "ports", VG_PARAM_STRING, false, 0, 0, NULL,
	  "names of further ports, with a colon between two: letters, digits, dots, - and _; the "
	  "guest has them in /dev/virtio-ports" },
	{ 0 },
};

/* ---- its ports ------------------------------------------------------------------- */

/* Return: how many ports there are, or negative errno with a sentence. */
static int name_ports(const struct vg_params *params, char names[VG_TERMINALS][VG_TERMINAL_NAME],
		      struct vg_err *err)
{
	const char *at = vg_params_str(params, console_params, "ports");
	unsigned n = 1;

	snprintf(names[0], VG_TERMINAL_NAME, "console");
	while (at) {
		size_t len = strcspn(at, ":");

		if (n == VG_LIMIT_CONSOLE_PORTS)
			return vg_fail(err, -E2BIG, "ports=...: there are at most %u",
				       VG_LIMIT_CONSOLE_PORTS - 1);
		if (len == 0 || len >= VG_TERMINAL_NAME)
			return vg_fail(err, -EINVAL, "ports=%.60s: a name has 1 to %d bytes", at,
				       VG_TERMINAL_NAME - 1);
		for (size_t i = 0; i < len; i++) {
			if (!isalnum((unsigned char)at[i]) && !strchr("._-", at[i]))
				return vg_fail(err, -EINVAL,
					       "ports=...: in '%.*s' are others than letters, "
					       "digits, '.', '-' and '_'",
					       (int)len, at);
		}
		snprintf(names[n], VG_TERMINAL_NAME, "%.*s", (int)len, at);
		for (unsigned i = 0; i < n; i++) {
			if (strcmp(names[i], names[n]) == 0)
				return vg_fail(err, -EINVAL, "ports=...: '%s' is there twice%s",
					       names[n], i ? "" : ": it is port 0's name");
		}
		n++;
		at = at[len] ? at + len + 1 : NULL;
	}
	return (int)n;
}

static int console_check(const struct vg_params *params, struct vg_err *err)
{
	char names[VG_TERMINALS][VG_TERMINAL_NAME];
	int ret = name_ports(params, names, err);

	return ret < 0 ? ret : 0;
}

static unsigned console_terminals(const struct vg_params *params,
				  char names[VG_TERMINALS][VG_TERMINAL_NAME])
{
	int ret = name_ports(params, names, NULL);

	return ret < 0 ? 0 : (unsigned)ret;
}

static void console_terminal(struct vg_dev *dev, unsigned i, int fd)
{
	struct console *c = dev->priv;

	if (i < c->n_ports)
		port_new_terminal(&c->port[i], fd);
	else
		close(fd);
}

/* What waits is kept there from now on; nothing waits yet. */
static void console_memory(struct vg_dev *dev, int fd)
{
	struct console *c = dev->priv;
	size_t size = c->n_ports * sizeof(struct console_kept);
	void *p = MAP_FAILED;
	struct stat st;

	if (!c->shared && fstat(fd, &st) == 0 && (uint64_t)st.st_size >= size)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	c->shared = p;
	for (unsigned i = 0; i < c->n_ports; i++) {
		c->port[i].kept = &c->shared[i];
		console_kept_check(c->port[i].kept);
	}
}

/* ---- configuration --------------------------------------------------------------- */

static void console_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct console *c = dev->priv;
	const struct virtio_console_config config = {
		.cols = htole16(c->port[0].cols),
		.rows = htole16(c->port[0].rows),
		.max_nr_ports = htole32(c->n_ports),
	};

	memcpy(buf, (const uint8_t *)&config + off, len);
}

/* An emergency write: before queues, or instead of them; section 5.3.6.3 */
static int console_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct console *c = dev->priv;
	const uint8_t *bytes = buf;

	if (off != offsetof(struct virtio_console_config, emerg_wr) || len == 0)
		return -EPERM;
	port_say(&c->port[0], bytes[0]);
	return 0;
}

/* ---- life ------------------------------------------------------------------------- */

static int console_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int n;

	if (!c)
		return vg_fail(err, -ENOMEM, "out of memory");
	n = name_ports(params, c->names, err);
	c->own = n < 0 ? NULL : calloc((size_t)n, sizeof(*c->own));
	if (!c->own) {
		free(c);
		return n < 0 ? n : vg_fail(err, -ENOMEM, "out of memory");
	}
	c->dev = dev;
	c->n_ports = (unsigned)n;
	for (unsigned i = 0; i < c->n_ports; i++)
		c->port[i] = (struct console_port){
			.c = c, .index = i, .name = c->names[i], .tty = -1, .kept = &c->own[i]
		};
	dev->priv = c;
	dev->device_features = VG_FEATURE(VIRTIO_CONSOLE_F_SIZE) |
			       VG_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT) |
			       VG_FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE);
	dev->n_queues = CONSOLE_QUEUES_FIRST + 2 * (c->n_ports - 1);
	dev->config_size = sizeof(struct virtio_console_config);
	dev->saved_size = 1 + c->n_ports;
	return 0;
}

static void console_close(struct vg_dev *dev)
{
	struct console *c = dev->priv;

	for (unsigned i = 0; i < c->n_ports; i++)
		port_close(&c->port[i]);
	if (c->shared)
		munmap(c->shared, c->n_ports * sizeof(*c->shared));
	free(c->own);
	free(c);
	dev->priv = NULL;
}

static void console_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct console *c = dev->priv;

	if (q == CONSOLE_CONTROL_RX)
		control_tell(c);
	else if (q == CONSOLE_CONTROL_TX)
		control_hear(c);
	else if (q % 2)
		port_out(console_of_queue(c, q));
	else
		port_in(console_of_queue(c, q));
}

static void console_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct console *c = dev->priv;

	if (q != CONSOLE_CONTROL_TX && q % 2)
		port_stop_out(console_of_queue(c, q));
	vg_dev_queue_stopped(dev, q);
}

/* What the guest has said so far stays for who reads it. */
static void console_reset(struct vg_dev *dev)
{
	struct console *c = dev->priv;

	for (unsigned i = 0; i < c->n_ports; i++)
		c->port[i].told_cols = c->port[i].told_rows = 0;
	memset(dev->saved, 0, dev->saved_size);
}

static void console_tick(struct vg_dev *dev)
{
	struct console *c = dev->priv;

	for (unsigned i = 0; i < c->n_ports; i++)
		port_look(&c->port[i]);
}

static void console_describe(struct vg_dev *dev, char *buf, size_t len)
{
	const struct console *c = dev->priv;
	unsigned clients = 0, waiting = 0;
	uint64_t lost = 0;

	for (unsigned i = 0; i < c->n_ports; i++) {
		clients += c->port[i].attached;
		waiting += console_kept_n(c->port[i].kept);
		lost += c->port[i].lost;
	}
	snprintf(buf, len, "clients=%u waiting=%u lost=%llu", clients, waiting,
		 (unsigned long long)lost);
}

/* Of a terminal: who is there, how large it is, and how it is. */
static const struct vg_sandbox_call console_calls[] = {
	VG_CALLS_POLL, VG_CALL_IOCTL(TIOCGWINSZ), VG_CALL_IOCTL(TCGETS), VG_CALL_IOCTL(TCSETS),
	VG_CALLS_END,
};
static const struct vg_sandbox_needs console_needs = { .calls = console_calls };

const struct vg_device_ops vg_console = {
	.name = "console",
	.help = "a console, and ports with names: each is a pseudo-terminal here",
	.virtio_id = 3, /* VIRTIO 1.3 section 5.3.1 */
	.params = console_params,
	.needs = &console_needs,
	.check = console_check,
	.terminals = console_terminals,
	.terminal = console_terminal,
	.memory = console_memory,
	.memory_size = sizeof(struct console_kept),
	.open = console_open,
	.close = console_close,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.queue_ready = console_queue_ready,
	.stop_queue = console_stop_queue,
	.reset = console_reset,
	.describe = console_describe,
	.tick = console_tick,
};
