// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * order_module.c - see order_module.h
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/rigs/order_module.h"

#include "tests/rigs/kernel/bus.h"

#define memcpy(to, from, len) om_copy(to, from, len)
#include "frontend-glue/linux/virtio_grant_ctrl.c" // NOLINT(bugprone-suspicious-include)
#undef memcpy

struct om_event module_kick, module_interrupt;
unsigned long jiffies, fake_page_size = 4096;
bool fake_irqs_off;
int system_state = SYSTEM_RUNNING;
unsigned int fake_cpu;
int fake_module;
struct task_struct *fake_task;
struct workqueue_struct *vg_rescue;
static struct vg_device device;

/* ---- a kernel ------------------------------------------------------------------- */

void fake_may_sleep(void)
{
}

void fake_lock(spinlock_t *l)
{
	(void)l;
}

void fake_unlock(spinlock_t *l)
{
	(void)l;
}

void fake_say(const struct device *dev, const char *text, ...)
{
	(void)dev, (void)text;
}

void barrier(void)
{
}

void fake_wait(unsigned long left)
{
	(void)left;
	/* The second that it waits may be over before anything happens. */
	if (om_choose(2))
		return;
	om_wait(&module_interrupt);
	(void)vg_ctrl_interrupt(0, &device);
}

void notify_remote_via_evtchn(evtchn_port_t port)
{
	(void)port;
	om_signal(&module_kick);
}

void xen_irq_lateeoi(unsigned int irq, unsigned int flags)
{
	(void)irq, (void)flags;
}

void mod_delayed_work(struct workqueue_struct *q, struct delayed_work *w, unsigned long delay)
{
	(void)q, (void)w, (void)delay;
	om_fail("the module gives the backend up");
}

void queue_work(struct workqueue_struct *q, struct work_struct *w)
{
	(void)q, (void)w;
}

enum xenbus_state vg_backend_state(struct vg_device *vg)
{
	(void)vg;
	return XenbusStateConnected;
}

bool vg_is_leaving(struct vg_device *vg, enum xenbus_state state)
{
	(void)vg, (void)state;
	return false;
}

/* What connecting needs, and nobody calls here. */
int bind_evtchn_to_irq_lateeoi(evtchn_port_t port)
{
	(void)port;
	return -EINVAL;
}

int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t handler,
				      unsigned long flags, const char *name, void *arg)
{
	(void)port, (void)handler, (void)flags, (void)name, (void)arg;
	return -EINVAL;
}

void unbind_from_irqhandler(unsigned int irq, void *arg)
{
	(void)irq, (void)arg;
}

int xenbus_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port)
{
	(void)dev, (void)port;
	return -EINVAL;
}

int xenbus_free_evtchn(struct xenbus_device *dev, evtchn_port_t port)
{
	(void)dev, (void)port;
	return 0;
}

int gnttab_grant_foreign_access(domid_t domid, unsigned long gfn, int readonly)
{
	(void)domid, (void)gfn, (void)readonly;
	return -EINVAL;
}

void gnttab_end_foreign_access(grant_ref_t ref, struct page *page)
{
	(void)ref, (void)page;
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	(void)size, (void)gfp;
	return NULL;
}

void free_pages_exact(void *p, size_t size)
{
	(void)p, (void)size;
}

/* ---- the side -------------------------------------------------------------------- */

void module_prepare(void *page)
{
	memset(&device, 0, sizeof(device));
	memset(&module_kick, 0, sizeof(module_kick));
	memset(&module_interrupt, 0, sizeof(module_interrupt));
	device.ctrl = page;
}

void module_calls(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct virtio_msg_ping ping = { .data = 1000 + i };

		if (vg_bus_call(&device, VIRTIO_MSG_BUS_PING, &ping, sizeof(ping)) ||
		    ping.data != 1000 + i)
			om_fail("the module finds an answer that was not written yet");
	}
}
