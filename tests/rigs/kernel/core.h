// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * core.h - as much of Linux' virtio core as the guest's transport needs
 *
 * virtio_msg.c is compiled with this in a test (tests/unit/test_module_msg.c). One processor, whose
 * interrupts are on or off; tasks are numbers, of which one runs. What may sleep asserts that
 * interrupts are on. The device behind the bus, and the driver, are the test's.
 *
 * Mirrored: drivers/virtio/virtio.c of Linux 6.12, in what a transport can see of it: a device is
 * reset before its driver's probe(); config_changed() is called under a lock with interrupts off,
 * and put off until probe() and restore() are over; freeze() and restore() are the driver's.
 */
#ifndef KERNEL_CORE_H
#define KERNEL_CORE_H

#include "kernel.h"

#include <linux/virtio_config.h> /* the system's: what the specification names */

#define CONFIG_DMA_OPS	   1
#define CONFIG_PM_SLEEP	   1
#define IS_ENABLED(option) 0
#define __force
#define __aligned(n)	__attribute__((aligned(n)))
#define THIS_MODULE	NULL
#define SMP_CACHE_BYTES 64
#define module_param(n, t, p)
#define MODULE_PARM_DESC(n, t)
#define min_t(type, a, b)	      ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define round_down(v, n)	      ((v) & ~((__typeof__(v))(n)-1))
#define container_of(p, type, member) ((type *)((char *)(uintptr_t)(p)-offsetof(type, member)))
#define WARN_ON_ONCE(c)		      (assert_false(c), false)
#define dev_err(dev, ...)	      fake_say(dev, __VA_ARGS__)
#define dev_warn(dev, ...)	      fake_say(dev, __VA_ARGS__)
#define dev_err_ratelimited	      dev_err
#define dev_warn_ratelimited	      dev_warn
#define le32_to_cpup(p)		      (*(p))
#define le16_to_cpup(p)		      (*(p))
#define cpu_to_le64(v)		      (v)
#define cpu_to_le32(v)		      (v)
#define cpu_to_le16(v)		      ((uint16_t)(v))

typedef uint16_t u16;
typedef unsigned int irqreturn_t;
struct task_struct;
struct dma_map_ops;
struct device;

__attribute__((format(printf, 2, 3))) void fake_say(const struct device *dev, const char *text,
						    ...);

#define MAX_ERRNO 4095
static inline void *ERR_PTR(long e)
{
	return (void *)(intptr_t)e;
}
static inline long PTR_ERR(const void *p)
{
	return (long)(intptr_t)p;
}
static inline bool IS_ERR(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)-MAX_ERRNO;
}

/* ---- who runs, and whether it may sleep ------------------------------------------ */

extern bool fake_irqs_off;
extern struct task_struct *fake_task;
void fake_may_sleep(void);
#define current		    fake_task
#define irqs_disabled()	    fake_irqs_off
#define local_irq_disable() (fake_irqs_off = true)
#define local_irq_enable()  (fake_irqs_off = false)
#define local_bh_disable()  ((void)0)
#define local_bh_enable()   ((void)0)
#define synchronize_rcu()   fake_may_sleep()
#define mutex_init(m)	    ((m)->held = 0)
#undef mutex_lock
#define mutex_lock(m) (fake_may_sleep(), assert_int_equal((m)->held, 0), (m)->held++)
void synchronize_irq(unsigned int irq);
void disable_irq(unsigned int irq);
void enable_irq(unsigned int irq);

/* ---- processors -------------------------------------------------------------------- */

struct cpumask {
	unsigned long bits;
};
typedef struct cpumask *cpumask_var_t;
struct irq_affinity {
	unsigned int pre_vectors, post_vectors;
};
#define num_possible_cpus()	 FAKE_CPUS
#define zalloc_cpumask_var(m, g) ((*(m) = kcalloc(1, sizeof(struct cpumask), g)) != NULL)
#define free_cpumask_var(m)	 kfree(m)
#define cpumask_set_cpu(c, m)	 ((m)->bits |= 1ul << (c))
#define cpumask_empty(m)	 ((m)->bits == 0)
#define cpumask_copy(to, from)	 (*(to) = *(from))
void irq_update_affinity_hint(unsigned int irq, const struct cpumask *m);
int irq_set_affinity_and_hint(unsigned int irq, const struct cpumask *m);
static inline u32 rounddown_pow_of_two(u32 n)
{
	while (n & (n - 1))
		n &= n - 1;
	return n;
}

/* ---- lists, memory, modules ----------------------------------------------------------- */

#define INIT_LIST_HEAD(h) ((h)->next = (h)->prev = (h))
#define list_for_each_entry_safe(e, n, h, member)                          \
	for ((e) = list_entry_((h)->next, __typeof__(*(e)), member),       \
	    (n) = list_entry_((e)->member.next, __typeof__(*(e)), member); \
	     &(e)->member != (h);                                          \
	     (e) = (n), (n) = list_entry_((n)->member.next, __typeof__(*(n)), member))
#define kzalloc(size, gfp) kcalloc(1, size, gfp)
extern int fake_module; /* references to the module, which may go when there are none */
#define __module_get(m) ((void)(m), (void)fake_module++)
#define module_put(m)	((void)(m), assert_int_not_equal(fake_module, 0), (void)fake_module--)

/* ---- devices and virtqueues -------------------------------------------------------------- */

struct device_driver {
	const char *name;
};
struct device_dma_parameters {
	unsigned int max_segment_size;
};
struct device {
	struct device *parent;
	struct device_driver *driver;
	const struct device_type *type; /* bus.h */
	const struct bus_type *bus;	/* likewise */
	void (*release)(struct device *dev);
	int references;
	/* What a driver and DMA operations keep there (dma.h). */
	void *data;
	const struct dma_map_ops *dma_ops;
	struct device_dma_parameters *dma_parms;
	u64 *dma_mask;
};
/* Of a bus: who is called when a driver is about to be removed, and when it was. */
struct notifier_block {
	int (*notifier_call)(struct notifier_block *nb, unsigned long event, void *dev);
};
enum { NOTIFY_DONE, BUS_NOTIFY_UNBIND_DRIVER = 5, BUS_NOTIFY_UNBOUND_DRIVER };
int bus_register_notifier(const struct bus_type *bus, struct notifier_block *nb);
int bus_unregister_notifier(const struct bus_type *bus, struct notifier_block *nb);
struct virtqueue;
struct virtio_device;
typedef void vq_callback_t(struct virtqueue *vq);
struct virtqueue {
	struct list_head list;
	vq_callback_t *callback;
	const char *name;
	struct virtio_device *vdev;
	unsigned int index, num_max;
	void *priv;
	bool reset;
	bool broken;	   /* as the core's private structure has it */
	unsigned int size; /* likewise */
};
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};
struct virtio_config_ops {
	void (*get)(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len);
	void (*set)(struct virtio_device *vdev, unsigned int offset, const void *buf,
		    unsigned int len);
	u32 (*generation)(struct virtio_device *vdev);
	u8 (*get_status)(struct virtio_device *vdev);
	void (*set_status)(struct virtio_device *vdev, u8 status);
	void (*reset)(struct virtio_device *vdev);
	int (*find_vqs)(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			struct virtqueue_info info[], struct irq_affinity *desc);
	void (*del_vqs)(struct virtio_device *vdev);
	void (*synchronize_cbs)(struct virtio_device *vdev);
	u64 (*get_features)(struct virtio_device *vdev);
	int (*finalize_features)(struct virtio_device *vdev);
	const char *(*bus_name)(struct virtio_device *vdev);
	int (*set_vq_affinity)(struct virtqueue *vq, const struct cpumask *cpu_mask);
	const struct cpumask *(*get_vq_affinity)(struct virtio_device *vdev, int index);
	int (*disable_vq_and_reset)(struct virtqueue *vq);
	int (*enable_vq_after_reset)(struct virtqueue *vq);
};
struct virtio_device {
	struct device dev;
	struct {
		u32 device, vendor;
	} id;
	const struct virtio_config_ops *config;
	struct list_head vqs;
	u64 features;
	bool core_enabled, change_pending; /* config_core_enabled, config_change_pending */
};
struct virtio_driver {
	struct device_driver driver;
	int (*probe)(struct virtio_device *vdev);
	void (*remove)(struct virtio_device *vdev);
	void (*config_changed)(struct virtio_device *vdev);
	int (*freeze)(struct virtio_device *vdev);
	int (*restore)(struct virtio_device *vdev);
};
#define dev_to_virtio(d) container_of(d, struct virtio_device, dev)
#define drv_to_virtio(d) container_of(d, struct virtio_driver, driver)

static inline bool __virtio_test_bit(const struct virtio_device *vdev, unsigned int bit)
{
	return vdev->features >> bit & 1;
}
static inline void __virtio_set_bit(struct virtio_device *vdev, unsigned int bit)
{
	vdev->features |= 1ull << bit;
}
static inline void __virtio_clear_bit(struct virtio_device *vdev, unsigned int bit)
{
	vdev->features &= ~(1ull << bit);
}
#define virtio_has_feature(vdev, bit) __virtio_test_bit(vdev, bit)
void vring_transport_features(struct virtio_device *vdev);
struct virtqueue *vring_create_virtqueue(unsigned int index, unsigned int num, unsigned int align,
					 struct virtio_device *vdev, bool weak, bool may_reduce,
					 bool ctx, bool (*notify)(struct virtqueue *vq),
					 vq_callback_t *callback, const char *name);
void vring_del_virtqueue(struct virtqueue *vq);
#define virtqueue_get_vring_size(vq) ((vq)->size)
#define virtqueue_get_desc_addr(vq)  (0x1000ull * (vq)->index)
#define virtqueue_get_avail_addr(vq) (0x1000ull * (vq)->index + 0x400)
#define virtqueue_get_used_addr(vq)  (0x1000ull * (vq)->index + 0x800)
void virtio_break_device(struct virtio_device *vdev);
int register_virtio_device(struct virtio_device *vdev);
void unregister_virtio_device(struct virtio_device *vdev);
int virtio_device_freeze(struct virtio_device *vdev);
int virtio_device_restore(struct virtio_device *vdev);
void virtio_config_changed(struct virtio_device *vdev);
void get_device(struct device *dev);
void put_device(struct device *dev);

#endif /* KERNEL_CORE_H */
