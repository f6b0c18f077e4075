// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bus.h - as much of Linux' xenbus, event channels and device core as the guest's bus needs
 *
 * virtio_grant_bus.c, _ctrl.c and _queue.c are compiled with this in a test
 * (tests/unit/test_module_bus.c), which has xenstore, the backend and the virtio side. Work that was
 * queued runs when the test says so, if its time has come; a wait lets the backend act, and then its
 * time pass.
 */
#ifndef KERNEL_BUS_H
#define KERNEL_BUS_H

#include "dma.h"

#define KBUILD_MODNAME "virtio_grant"
#define __init
#define __exit
#define module_init(f) int (*const fake_init)(void) = (f)
#define module_exit(f) void (*const fake_exit)(void) = (f)
#define MODULE_DESCRIPTION(t)
#define MODULE_AUTHOR(t)
#define MODULE_LICENSE(t)
#define MODULE_ALIAS(t)
extern unsigned long fake_page_size; /* of the kernel that runs */
#define PAGE_SIZE		     fake_page_size
#define SZ_1K			     1024ul
#define pm_sleep_ptr(p)		     (p)
#define dev_info(dev, ...)	     fake_say(dev, __VA_ARGS__)
#define dev_notice(dev, ...)	     fake_say(dev, __VA_ARGS__)
#define dev_dbg(dev, ...)	     fake_say(dev, __VA_ARGS__)
#define pr_err(...)		     fake_say(NULL, __VA_ARGS__)
#define le32_to_cpu(v)		     (v)
#define max_t(type, a, b)	     ((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define time_after(a, b)	     ((long)((b) - (a)) < 0)
#define time_after_eq(a, b)	     ((long)((a) - (b)) >= 0)
#define kasprintf(gfp, ...)	     fake_printf(__VA_ARGS__)
#define synchronize_rcu_tasks()	     fake_may_sleep()
#define get_zeroed_page(gfp)	     ((unsigned long)alloc_pages_exact(4096, (gfp) | __GFP_ZERO))
#define free_page(at)		     free_pages_exact((void *)(at), 4096)
#define virt_load_acquire(p)	     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define virt_store_release(p, v)     __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define SYSTEM_RUNNING		     2
#define IRQ_HANDLED		     1u
#define XEN_EOI_FLAG_SPURIOUS	     1u
#define kstrtouint(text, base, into) fake_strtouint(text, base, into)
extern int system_state;
__attribute__((format(printf, 1, 2))) char *fake_printf(const char *format, ...);
int fake_strtouint(const char *text, unsigned int base, unsigned int *into);
void msleep(unsigned int ms);

/* What one processor's memory does while the other side writes: the test's, for its backend. */
void barrier(void);

/* ---- work and waits ---------------------------------------------------------- */

struct workqueue_struct {
	unsigned int flags;
};
#define WQ_UNBOUND     2u
#define WQ_MEM_RECLAIM 8u
struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int max);
void destroy_workqueue(struct workqueue_struct *q);
#define INIT_WORK(w, f)		((w)->fn = (f), (w)->queued = false)
#define INIT_DELAYED_WORK(w, f) INIT_WORK(&(w)->work, f)
#define to_delayed_work(w)	container_of(w, struct delayed_work, work)
void queue_work(struct workqueue_struct *q, struct work_struct *w);
void mod_delayed_work(struct workqueue_struct *q, struct delayed_work *w, unsigned long delay);
void queue_delayed_work(struct workqueue_struct *q, struct delayed_work *w, unsigned long delay);
void flush_delayed_work(struct delayed_work *w);
#define cancel_work_sync(w) ((w)->queued = false)

typedef struct {
	int unused;
} wait_queue_head_t;
#define init_waitqueue_head(q) ((q)->unused = 0)
#define wake_up(q)	       ((void)(q))
void fake_wait(unsigned long jiffies);
#define wait_event_timeout(q, condition, timeout) \
	__extension__({                           \
		bool there_;                      \
		(void)(q);                        \
		fake_may_sleep();                 \
		there_ = (condition);             \
		if (!there_) {                    \
			fake_wait(timeout);       \
			there_ = (condition);     \
		}                                 \
		there_;                           \
	})

/* ---- devices ------------------------------------------------------------------ */

struct dev_pm_ops {
	int (*suspend)(struct device *dev);
	int (*resume)(struct device *dev);
	int (*freeze)(struct device *dev);
	int (*thaw)(struct device *dev);
	int (*poweroff)(struct device *dev);
	int (*restore)(struct device *dev);
};
struct bus_type {
	const struct dev_pm_ops *pm;
};
struct attribute {
	const char *name;
};
struct device_attribute {
	struct attribute attr;
	ssize_t (*show)(struct device *dev, struct device_attribute *attr, char *buf);
};
struct attribute_group {
	struct attribute **attrs;
};
struct device_type {
	const char *name;
	const struct attribute_group **groups;
	const struct dev_pm_ops *pm;
};
#define DEVICE_ATTR_RO(n) struct device_attribute dev_attr_##n = { { #n }, n##_show }
#define ATTRIBUTE_GROUPS(n)                                            \
	static const struct attribute_group n##_group = { n##_attrs }; \
	static const struct attribute_group *n##_groups[] = { &n##_group, NULL }
#define sysfs_emit(buf, ...) sprintf(buf, __VA_ARGS__)
#define dev_name(d)	     ((void)(d), "a device")
#define device_trylock(d)    ((void)(d), true)
#define device_unlock(d)     ((void)(d))
int driver_attach(struct device_driver *driver);

struct platform_device {
	char *name;
	struct device dev;
	u64 mask;
	struct device_dma_parameters parms;
	void *managed; /* the one resource that ends with the registration */
};
#define PLATFORM_DEVID_NONE	   (-1)
#define to_platform_device(d)	   container_of(d, struct platform_device, dev)
#define devm_alloc_percpu(d, type) (to_platform_device(d)->managed = alloc_percpu(type))
struct platform_device *platform_device_alloc(const char *name, int id);
int platform_device_add(struct platform_device *pdev);
void platform_device_unregister(struct platform_device *pdev);

/* ---- xenbus --------------------------------------------------------------------- */

enum xenbus_state {
	XenbusStateUnknown,
	XenbusStateInitialising,
	XenbusStateInitWait,
	XenbusStateInitialised,
	XenbusStateConnected,
	XenbusStateClosing,
	XenbusStateClosed,
};
struct xenbus_device {
	struct device dev;
	const char *nodename, *otherend;
	int otherend_id;
	enum xenbus_state state;
};
struct xenbus_device_id {
	char devicetype[32];
};
struct xenbus_driver {
	const char *name;
	const struct xenbus_device_id *ids;
	bool allow_rebind, not_essential;
	int (*probe)(struct xenbus_device *dev, const struct xenbus_device_id *id);
	void (*otherend_changed)(struct xenbus_device *dev, enum xenbus_state state);
	void (*remove)(struct xenbus_device *dev);
	int (*resume)(struct xenbus_device *dev);
	struct device_driver driver;
};
struct xenbus_transaction {
	unsigned int id;
};
struct xenbus_watch {
	char *node;
	void (*callback)(struct xenbus_watch *watch, const char *path, const char *token);
};
#define XBT_NIL		       ((struct xenbus_transaction){ 0 })
#define XENBUS_IS_ERR_READ(v)  IS_ERR(v)
#define xenbus_strstate(state) ((void)(state), "a state")
#define xen_domain()	       1
#define xen_has_pv_devices()   1
unsigned int xenbus_read_unsigned(const char *dir, const char *node, unsigned int otherwise);
void *xenbus_read(struct xenbus_transaction t, const char *dir, const char *node,
		  unsigned int *len);
int xenbus_exists(struct xenbus_transaction t, const char *dir, const char *node);
__attribute__((format(printf, 4, 5))) int xenbus_printf(struct xenbus_transaction t,
							const char *dir, const char *node,
							const char *format, ...);
int xenbus_transaction_start(struct xenbus_transaction *t);
int xenbus_transaction_end(struct xenbus_transaction t, int abort);
int xenbus_switch_state(struct xenbus_device *dev, enum xenbus_state state);
int register_xenbus_watch(struct xenbus_watch *watch);
void unregister_xenbus_watch(struct xenbus_watch *watch);
int xenbus_register_frontend(struct xenbus_driver *driver);
void xenbus_unregister_driver(struct xenbus_driver *driver);

/* ---- event channels and grants ----------------------------------------------------- */

typedef unsigned int evtchn_port_t;
typedef irqreturn_t (*irq_handler_t)(int irq, void *arg);
int xenbus_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port);
int xenbus_free_evtchn(struct xenbus_device *dev, evtchn_port_t port);
int bind_evtchn_to_irq_lateeoi(evtchn_port_t port);
int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t handler,
				      unsigned long flags, const char *name, void *arg);
void unbind_from_irqhandler(unsigned int irq, void *arg);
void xen_irq_lateeoi(unsigned int irq, unsigned int flags);
void notify_remote_via_evtchn(evtchn_port_t port);
irqreturn_t vring_interrupt(int irq, void *vq);
int gnttab_grant_foreign_access(domid_t domid, unsigned long gfn, int readonly);

#endif /* KERNEL_BUS_H */
