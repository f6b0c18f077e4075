// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_module_bus.c - the life of a device in the guest's module
 *
 * virtio_grant_bus.c, _ctrl.c, _queue.c and _size.c are compiled with tests/rigs/kernel in place of a kernel's
 * headers, and the files of mappings with them. xenstore, event channels and the backend are this
 * file's, and so is the virtio side: what virtio_msg.h declares is counted here, and does what the
 * test says. How all this does in a real kernel is for tests/xen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/rigs/kernel/bus.h"

#include "frontend-glue/linux/virtio_grant_refs.c"
#include "frontend-glue/linux/virtio_grant_pool.c"
#include "frontend-glue/linux/virtio_grant_dma.c"
#include "frontend-glue/linux/virtio_grant_ctrl.c"
#include "frontend-glue/linux/virtio_grant_queue.c"
#include "frontend-glue/linux/virtio_grant_size.c"
#include "frontend-glue/linux/virtio_grant_bus.c"

#include "tests/rigs/kernel/table.h"

unsigned int fake_cpu;
unsigned long jiffies = 1000000, fake_page_size = 4096;
bool fake_irqs_off;
int fake_module, system_state = SYSTEM_RUNNING;
struct task_struct *fake_task;

/* ---- Linux --------------------------------------------------------------------------- */

/* The how-manieth of the calls that may fail does; 0: none. */
static unsigned int fail_at, calls;

static bool fails(void)
{
	return ++calls == fail_at;
}

void fake_may_sleep(void)
{
	assert_false(fake_irqs_off);
}

static char said[256]; /* the last that the module said */

void fake_say(const struct device *dev, const char *text, ...)
{
	va_list ap;

	(void)dev;
	va_start(ap, text);
	vsnprintf(said, sizeof(said), text, ap);
	va_end(ap);
}

char *fake_printf(const char *format, ...)
{
	char *text = malloc(256);
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, 256, format, ap);
	va_end(ap);
	return text;
}

int fake_strtouint(const char *text, unsigned int base, unsigned int *into)
{
	char *end;

	*into = (unsigned int)strtoul(text, &end, (int)base);
	return *end || end == text ? -EINVAL : 0;
}

bool folio_test_slab(const struct folio *folio)
{
	(void)folio;
	return false;
}

struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int max)
{
	struct workqueue_struct *q = calloc(1, sizeof(*q));

	(void)name, (void)max;
	q->flags = flags;
	return q;
}

void destroy_workqueue(struct workqueue_struct *q)
{
	free(q);
}

void queue_work(struct workqueue_struct *q, struct work_struct *w)
{
	w->queued = true;
	w->queue = q;
	w->at = jiffies;
}

void mod_delayed_work(struct workqueue_struct *q, struct delayed_work *w, unsigned long delay)
{
	queue_work(q, &w->work);
	w->work.at = jiffies + delay;
}

void queue_delayed_work(struct workqueue_struct *q, struct delayed_work *w, unsigned long delay)
{
	if (!w->work.queued)
		mod_delayed_work(q, w, delay);
}

void flush_delayed_work(struct delayed_work *w)
{
	if (w->work.queued) {
		w->work.queued = false;
		w->work.fn(&w->work);
	}
}

void put_device(struct device *dev)
{
	assert_int_not_equal(dev->references, 0);
	if (--dev->references == 0)
		dev->release(dev);
}

void get_device(struct device *dev)
{
	dev->references++;
}

static bool attached_when_added;

static void unmanage(struct platform_device *pdev)
{
	free_percpu(pdev->managed);
	pdev->managed = NULL;
}

static void platform_device_release(struct device *dev)
{
	struct platform_device *pdev = to_platform_device(dev);

	unmanage(pdev);
	free(pdev->name);
	free(pdev);
}

struct platform_device *platform_device_alloc(const char *name, int id)
{
	struct platform_device *pdev = fails() ? NULL : calloc(1, sizeof(*pdev));

	if (!pdev)
		return NULL;
	assert_int_equal(id, PLATFORM_DEVID_NONE);
	pdev->name = strdup(name);
	pdev->dev = (struct device){ .release = platform_device_release,
				     .references = 1,
				     .dma_mask = &pdev->mask,
				     .dma_parms = &pdev->parms };
	return pdev;
}

int platform_device_add(struct platform_device *pdev)
{
	/* One without resources may be given a driver, by its driver_override. */
	assert_non_null(pdev->managed);
	assert_string_equal(pdev->name, "grant-a device");
	attached_when_added = pdev->dev.dma_ops != NULL;
	return fails() ? -EEXIST : 0;
}

void platform_device_unregister(struct platform_device *pdev)
{
	unmanage(pdev);
	put_device(&pdev->dev);
}

int driver_attach(struct device_driver *driver)
{
	(void)driver;
	return 0;
}

int xenbus_register_frontend(struct xenbus_driver *driver)
{
	assert_null(driver->ids);
	return 0;
}

void xenbus_unregister_driver(struct xenbus_driver *driver)
{
	driver->ids = NULL;
}

int register_xenbus_watch(struct xenbus_watch *watch)
{
	(void)watch;
	return 0;
}

void unregister_xenbus_watch(struct xenbus_watch *watch)
{
	(void)watch;
}

/* ---- xenstore ------------------------------------------------------------------------- */

static struct {
	char path[64], value[64];
} store[32];

static char *key(const char *dir, const char *node)
{
	char path[64];
	unsigned int i;

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	for (i = 0; store[i].path[0] && strcmp(store[i].path, path) != 0; i++)
		assert_in_range(i, 0, ARRAY_SIZE(store) - 2);
	strcpy(store[i].path, path);
	return store[i].value;
}

void *xenbus_read(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *len)
{
	(void)t, (void)len;
	return *key(dir, node) ? strdup(key(dir, node)) : ERR_PTR(-ENOENT);
}

unsigned int xenbus_read_unsigned(const char *dir, const char *node, unsigned int otherwise)
{
	return *key(dir, node) ? (unsigned int)atoi(key(dir, node)) : otherwise;
}

int xenbus_exists(struct xenbus_transaction t, const char *dir, const char *node)
{
	(void)t;
	return *key(dir, node) != '\0';
}

int xenbus_printf(struct xenbus_transaction t, const char *dir, const char *node,
		  const char *format, ...)
{
	va_list ap;

	(void)t;
	if (fails())
		return -EIO;
	va_start(ap, format);
	vsnprintf(key(dir, node), 64, format, ap);
	va_end(ap);
	return 0;
}

int xenbus_transaction_start(struct xenbus_transaction *t)
{
	t->id = 1;
	return 0;
}

int xenbus_transaction_end(struct xenbus_transaction t, int abort)
{
	(void)t, (void)abort;
	return 0;
}

int xenbus_switch_state(struct xenbus_device *dev, enum xenbus_state state)
{
	snprintf(key(dev->nodename, "state"), 64, "%d", state);
	dev->state = state;
	return 0;
}

/* ---- event channels and grants ----------------------------------------------------------- */

enum { PORTS = 64, IRQ = 100 };
static struct port {
	bool open, bound;
	unsigned int closed, notified;
	irq_handler_t handler;
	void *arg;
} ports[PORTS];
static unsigned int next_port;

static void close_port(evtchn_port_t port)
{
	assert_in_range(port, 1, next_port);
	ports[port].closed++;
	ports[port].open = false;
	ports[port].handler = NULL;
}

int xenbus_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port)
{
	(void)dev;
	if (fails())
		return -ENOSPC;
	assert_in_range(++next_port, 1, PORTS - 1);
	ports[next_port] = (struct port){ .open = true };
	*port = next_port;
	return 0;
}

int xenbus_free_evtchn(struct xenbus_device *dev, evtchn_port_t port)
{
	(void)dev;
	close_port(port);
	return 0;
}

int bind_evtchn_to_irq_lateeoi(evtchn_port_t port)
{
	assert_true(ports[port].open);
	if (!ports[port].bound && fails())
		return -ENOMEM;
	ports[port].bound = true;
	return IRQ + (int)port;
}

/* drivers/xen/events/events_base.c: both steps, and when request_irq() fails, the port is closed; but
 * not when the first one does. */
int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t handler,
				      unsigned long flags, const char *name, void *arg)
{
	int irq = bind_evtchn_to_irq_lateeoi(port);

	(void)flags, (void)name;
	if (irq < 0)
		return irq;
	if (fails()) {
		close_port(port);
		return -EBUSY;
	}
	ports[port].handler = handler;
	ports[port].arg = arg;
	return irq;
}

void unbind_from_irqhandler(unsigned int irq, void *arg)
{
	assert_ptr_equal(ports[irq - IRQ].arg, arg);
	close_port(irq - IRQ);
}

void xen_irq_lateeoi(unsigned int irq, unsigned int flags)
{
	(void)flags;
	assert_true(ports[irq - IRQ].open);
}

void notify_remote_via_evtchn(evtchn_port_t port)
{
	assert_true(ports[port].open);
	ports[port].notified++;
}

irqreturn_t vring_interrupt(int irq, void *vq)
{
	(void)irq, (void)vq;
	return IRQ_HANDLED;
}

int gnttab_grant_foreign_access(domid_t domid, unsigned long gfn, int readonly)
{
	grant_ref_t ref;

	if (fails() || gnttab_alloc_grant_reference_seq(1, &ref))
		return -ENOSPC;
	gnttab_grant_foreign_access_ref(ref, domid, gfn, readonly);
	return (int)ref;
}

/* ---- the virtio side ------------------------------------------------------------------------ */

static struct {
	unsigned int made, registered, unregistered, broken, failed, restored;
	u32 kind;    /* VIRTIO_ID_* */
	bool stale;  /* its driver cannot be frozen */
	int refuses; /* to be frozen, with that errno */
	void (*probe)(struct virtio_msg_device *vmdev);
} side;

struct virtio_msg_device *virtio_msg_create(struct device *parent,
					    const struct virtio_msg_bus_ops *ops, void *bus_priv)
{
	struct virtio_msg_device *vmdev = calloc(1, sizeof(*vmdev));

	side.made++;
	vmdev->ops = ops;
	vmdev->bus_priv = bus_priv;
	vmdev->vdev.dev.parent = parent;
	return vmdev;
}

void virtio_msg_put(struct virtio_msg_device *vmdev)
{
	free(vmdev);
}

int virtio_msg_identify(struct virtio_msg_device *vmdev)
{
	vmdev->vdev.id.device = side.kind;
	return 0;
}

int virtio_msg_register(struct virtio_msg_device *vmdev)
{
	side.registered++;
	if (side.probe)
		side.probe(vmdev);
	return 0;
}

void virtio_msg_unregister(struct virtio_msg_device *vmdev)
{
	(void)vmdev;
	side.unregistered++;
}

void virtio_msg_config_event(struct virtio_msg_device *vmdev, u32 status, u32 generation)
{
	(void)vmdev, (void)status, (void)generation;
}

void virtio_msg_break(struct virtio_msg_device *vmdev)
{
	vmdev->gone = true;
	side.broken++;
}

void virtio_msg_fail_requests(struct virtio_msg_device *vmdev)
{
	assert_true(vmdev->gone);
	side.failed++;
}

int virtio_msg_freeze(struct virtio_msg_device *vmdev)
{
	assert_false(vmdev->frozen);
	if (side.refuses)
		return side.refuses;
	vmdev->frozen = true;
	vmdev->stale = side.stale;
	return 0;
}

/* One that was not frozen has its queues, and buffers in them. */
int virtio_msg_restore(struct virtio_msg_device *vmdev)
{
	assert_true(vmdev->frozen);
	vmdev->frozen = false;
	side.restored++;
	return 0;
}

/* ---- the backend ------------------------------------------------------------------------------- */

static struct vg_device *vg;
static struct {
	bool hangs;
	u32 cons, prod;
	unsigned int served;
	/* Writes to the page again, when the guest has copied from it. */
	bool writes_on;
	unsigned int copies;
	/* Pages of pools that it knows, and messages about them. */
	unsigned int pool_pages, adds, drops;
	u32 pool[32]; /* their first references */
	u32 refuses; /* errno of messages about pools that are no repetition; 0: it does what they say */
	bool older; /* than the one that wrote feature-pool: a repetition is none to it */
} backend;

void barrier(void)
{
	backend.copies++;
	if (backend.writes_on)
		memset(vg->ctrl->to_driver, 0xff, sizeof(vg->ctrl->to_driver));
}

static void interrupt(evtchn_port_t port)
{
	ports[port].handler(IRQ + (int)port, ports[port].arg);
}

static void put_to_driver(const struct virtio_msg_buf *msg)
{
	memcpy(vg->ctrl->to_driver[backend.prod++ % VIRTIO_GRANT_SLOTS], msg,
	       VIRTIO_GRANT_SLOT_SIZE);
	vg->ctrl->device_prod.value = backend.prod;
}

/* A message about a pool. Return: the error in its answer. */
static u32 serve_pool(u8 id, const struct virtio_grant_pool *p)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(backend.pool) && backend.pool[i] != p->first_ref)
		i++;
	if (id == VIRTIO_GRANT_BUS_DROP_POOL) {
		backend.drops++;
		assert_in_range(i, 0, ARRAY_SIZE(backend.pool) - 1);
		if (backend.refuses)
			return backend.refuses;
		backend.pool[i] = 0;
		backend.pool_pages -= p->pages;
		return 0;
	}
	backend.adds++;
	if (i < ARRAY_SIZE(backend.pool) && !backend.older)
		return 0;
	if (backend.refuses)
		return backend.refuses;
	for (i = 0; backend.pool[i]; i++)
		assert_in_range(i, 0, ARRAY_SIZE(backend.pool) - 2);
	backend.pool[i] = p->first_ref;
	backend.pool_pages += p->pages;
	return 0;
}

static void serve(void)
{
	struct virtio_grant_control *c = vg->ctrl;

	while (backend.cons != c->driver_prod.value) {
		struct virtio_msg_buf msg;

		memcpy(&msg, c->to_device[backend.cons++ % VIRTIO_GRANT_SLOTS],
		       VIRTIO_GRANT_SLOT_SIZE);
		c->device_cons.value = backend.cons;
		msg.header.type |= VIRTIO_MSG_TYPE_RESPONSE;
		/* No error: of a queue's port. A ping comes back as it is. */
		if (msg.header.msg_id == VIRTIO_GRANT_BUS_ADD_POOL ||
		    msg.header.msg_id == VIRTIO_GRANT_BUS_DROP_POOL) {
			u32 error = serve_pool(msg.header.msg_id, (void *)msg.payload);

			memcpy(msg.payload + 4, &error, 4);
		} else if (msg.header.msg_id != VIRTIO_MSG_BUS_PING) {
			memset(msg.payload + 4, 0, 4);
		}
		backend.served++;
		put_to_driver(&msg);
		interrupt(vg->ctrl_port);
	}
}

void fake_wait(unsigned long time)
{
	if (vg->ctrl && ports[vg->ctrl_port].open && !backend.hangs)
		serve();
	jiffies += time;
}

/* It follows the guest's state. */
void msleep(unsigned int ms)
{
	jiffies += DIV_ROUND_UP(ms * HZ, 1000);
	if (vg->xdev->state == XenbusStateClosing && !backend.hangs)
		strcpy(key("/b", "state"), "6");
}

/* ---- a device, from its node on --------------------------------------------------------------------- */

static struct xenbus_device xdev;

static void run(void)
{
	struct work_struct *work[] = { &vg->work.work,	&vg->gone.work, &vg->event,
				       &vg->again.work, &vg->grow,	&vg->idle.work };
	unsigned int rounds = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(work); i++) {
		if (!work[i]->queued || time_before(jiffies, work[i]->at))
			continue;
		work[i]->queued = false;
		work[i]->fn(work[i]);
		i = -1;
		assert_in_range(++rounds, 0, 100);
	}
}

static void backend_is(enum xenbus_state state)
{
	snprintf(key("/b", "state"), 64, "%d", state);
	vg_driver.otherend_changed(&xdev, state);
	run();
}

/* Buffers in flight. */
enum { MOST = 1024 };
static dma_addr_t out[MOST];
static unsigned int n_out;

static int begin(void **state)
{
	(void)state;
	vg_driver.ids = NULL;
	pool_pages = 0;
	fake_module = 0;
	INIT_LIST_HEAD(&vg_refs_all);
	assert_int_equal(fake_init(), 0);
	memset(&table, 0, sizeof(table));
	memset(&side, 0, sizeof(side));
	memset(&backend, 0, sizeof(backend));
	memset(store, 0, sizeof(store));
	memset(&xdev, 0, sizeof(xdev));
	next_port = calls = fail_at = n_out = 0;
	fake_cpu = 0;
	side.kind = VIRTIO_ID_BLOCK;
	xdev.nodename = "/f";
	xdev.otherend = "/b";
	xdev.otherend_id = 3;
	xdev.state = XenbusStateInitialising;
	strcpy(key("/b", VIRTIO_GRANT_KEY_VERSION), "1");
	strcpy(key("/b", VIRTIO_GRANT_KEY_FEATURE_POOL), "2");
	assert_int_equal(vg_driver.probe(&xdev, vg_ids), 0);
	vg = dev_get_drvdata(&xdev.dev);
	return 0;
}

static void connect(void)
{
	backend.cons = backend.prod = 0;
	backend_is(XenbusStateInitWait);
	assert_int_equal(xdev.state, XenbusStateInitialising);
	assert_int_equal(atoi(key("/f", "state")), XenbusStateInitialised);
	backend_is(XenbusStateConnected);
	assert_int_equal(xdev.state, XenbusStateConnected);
	assert_int_equal(vg->phase, VG_LIVE);
}

static void take_away(void)
{
	vg_driver.remove(&xdev);
	for (unsigned int p = 1; p <= next_port; p++)
		assert_int_equal(ports[p].closed, 1);
	assert_int_equal(side.registered, side.unregistered);
}

static int end(void **state)
{
	(void)state;
	assert_int_equal(fake_module, 0);
	assert_int_equal(taken(), 0);
	assert_int_equal(table.pages, 0);
	fake_exit();
	vg_links = (struct vg_links){ 0 };
	return 0;
}

/* The device between xenbus's and the driver's: either step of it. */
static void test_device_cannot_be_made(void **state)
{
	static const int why[] = { -ENOMEM, -EEXIST };

	(void)state;
	take_away();
	for (unsigned int i = 0; i < ARRAY_SIZE(why); i++) {
		calls = 0;
		fail_at = i + 1;
		assert_int_equal(vg_driver.probe(&xdev, vg_ids), why[i]);
		assert_null(dev_get_drvdata(&xdev.dev));
		assert_int_equal(fake_module, 0);
	}
}

static void test_connects(void **state)
{
	(void)state;
	connect();
	assert_int_equal(side.registered, 1);
	assert_int_equal(vg_ping(vg), 0);
	take_away();
	assert_int_equal(atoi(key("/f", "state")), XenbusStateClosed);
}

/* ---- what drivers may ask for before they have queues ------------------------------------------ */

static void ask_for_limits(struct virtio_msg_device *vmdev)
{
	struct device *parent = vmdev->vdev.dev.parent;

	assert_non_null(parent->dma_ops);
	assert_int_equal(parent->dma_ops->max_mapping_size(parent), VG_DMA_MAX_SIZE);
	assert_int_equal(parent->dma_parms->max_segment_size, VG_DMA_MAX_SIZE);
	assert_int_equal(*parent->dma_mask, DMA_BIT_MASK(64));
}

/* virtio-gpu does, in its probe(). */
static void test_limits_before_queues(void **state)
{
	(void)state;
	assert_true(attached_when_added);
	side.probe = ask_for_limits;
	connect();
	take_away();
}

static void others_operations(struct virtio_msg_device *vmdev)
{
	static const struct dma_map_ops others = { 0 };
	struct device *parent = vmdev->vdev.dev.parent;
	const struct dma_map_ops *ours = parent->dma_ops;

	parent->dma_ops = &others;
	assert_int_equal(vmdev->ops->prepare(vmdev), 0);
	assert_ptr_equal(parent->dma_ops, ours);
}

/* A PV guest's kernel with CONFIG_XEN_VIRTIO puts its own in place while it negotiates features. */
static void test_operations_are_put_back(void **state)
{
	(void)state;
	side.probe = others_operations;
	connect();
	take_away();
}

/* ---- pools --------------------------------------------------------------------------------------- */

/* What somebody wants for his disks is not taken by devices of few and small messages, too. */
static void test_pool_of_kinds(void **state)
{
	static const struct {
		u32 kind;
		unsigned int pages;
	} kinds[] = { { VIRTIO_ID_BLOCK, 128 }, { VIRTIO_ID_FS, 128 }, { VIRTIO_ID_NET, 512 },
		      { VIRTIO_ID_CAN, 64 },	{ VIRTIO_ID_RNG, 64 }, { VIRTIO_ID_CONSOLE, 64 },
		      { VIRTIO_ID_INPUT, 64 } };

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		pool_pages = 1024;
		side.kind = kinds[i].kind;
		connect();
		assert_int_equal(vg->dma.pool.pages, kinds[i].pages);
		take_away();
		end(state);
		begin(state);
	}
	/* None is none. */
	pool_pages = 0;
	side.kind = VIRTIO_ID_RNG;
	connect();
	assert_int_equal(vg->dma.pool.pages, 0);
	take_away();
}

/* Its driver has queues: it was told to the backend before. */
static void use(struct virtio_msg_device *vmdev)
{
	assert_int_equal(vmdev->ops->prepare(vmdev), 0);
}

/* So many buffers of a page are in flight. */
static void in_flight(unsigned int n)
{
	static u8 page[4096];

	for (; n_out < n; n_out++) {
		out[n_out] = vg_dma_map(&vg->dma, virt_to_phys(page), 4096, DMA_TO_DEVICE, 0);
		assert_true(out[n_out] != DMA_MAPPING_ERROR);
		run();
	}
	while (n_out > n)
		vg_dma_unmap(&vg->dma, 0, out[--n_out], 4096, DMA_TO_DEVICE, 0);
}

static void time_passes(void)
{
	jiffies += VG_POOL_IDLE;
	run();
}

/* As large as what is in flight wants, up to the limit; small again after a while; and then quiet. */
static void test_pool_breathes(void **state)
{
	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	assert_int_equal(vg->dma.pool.pages, 64);
	assert_false(vg->idle.work.queued);
	for (unsigned int i = 0; i < 3; i++) {
		in_flight(65);
		assert_int_equal(vg->dma.pool.pages, 128);
		assert_int_equal(backend.pool_pages, 128);
		in_flight(300);
		assert_int_equal(vg->dma.pool.pages, 512);
		in_flight(MOST);
		assert_int_equal(vg->dma.pool.pages, 512);
		assert_int_equal(backend.pool_pages, 512);
		/* What is in use stays, and what was until a moment ago. */
		time_passes();
		assert_int_equal(vg->dma.pool.pages, 512);
		in_flight(1);
		in_flight(300);
		in_flight(0);
		time_passes();
		assert_int_equal(vg->dma.pool.pages, 512);
		time_passes();
		assert_int_equal(vg->dma.pool.pages, 64);
		assert_int_equal(backend.pool_pages, 64);
		for (unsigned int k = 0; k < 2; k++)
			time_passes();
		assert_false(vg->idle.work.queued);
	}
	assert_int_equal(atomic_read(&vg_pools_pages), 64);
	take_away();
	assert_int_equal(atomic_read(&vg_pools_pages), 0);
}

/* A buffer that stays where it is keeps an arena, and nobody looks again and again. */
static void test_pool_idle_with_buffers(void **state)
{
	dma_addr_t last;

	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	in_flight(200);
	last = out[199];
	out[199] = out[0];
	out[0] = last;
	in_flight(1);
	for (unsigned int k = 0; k < 4; k++)
		time_passes();
	assert_false(vg->idle.work.queued);
	assert_true(vg->dma.pool.pages > 64);
	assert_int_equal(vg->dma.pool.pages, backend.pool_pages);
	in_flight(0);
	take_away();
}

/* Its backend hears of arenas before the device is used, and of nothing else. */
static void test_pool_of_older_backend(void **state)
{
	(void)state;
	strcpy(key("/b", VIRTIO_GRANT_KEY_FEATURE_POOL), "1");
	side.probe = use;
	pool_pages = 512;
	connect();
	in_flight(MOST);
	assert_int_equal(vg->dma.pool.pages, 64);
	assert_int_equal(backend.adds, 1);
	in_flight(0);
	for (unsigned int k = 0; k < 3; k++)
		time_passes();
	assert_int_equal(backend.drops, 0);
	take_away();
}

/* One that was replaced by an earlier version would not answer DROP_POOL: it is not asked. */
static void test_pool_of_replaced_backend(void **state)
{
	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	in_flight(65);
	assert_int_equal(vg->dma.pool.pages, 128);
	backend.older = true;
	backend.refuses = 16; /* EBUSY */
	in_flight(MOST);
	assert_int_equal(vg->dma.pool.pages, 128);
	in_flight(0);
	for (unsigned int k = 0; k < 4; k++)
		time_passes();
	assert_int_equal(backend.drops, 0);
	/* It is in use as before. */
	in_flight(128);
	assert_int_equal(vg_sum(&vg->dma.counts->granted), MOST - 128);
	in_flight(0);
	take_away();
}

/* One that has no more room is asked again when there may be some. */
static void test_pool_refused(void **state)
{
	unsigned int adds;

	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	backend.refuses = 28; /* ENOSPC */
	in_flight(MOST);
	adds = backend.adds;
	assert_int_equal(vg->dma.pool.pages, 64);
	in_flight(0);
	in_flight(MOST);
	assert_int_equal(backend.adds, adds);
	time_passes();
	backend.refuses = 0;
	in_flight(0);
	in_flight(65);
	assert_int_equal(vg->dma.pool.pages, 128);
	/* And what it does not give back stays. */
	backend.refuses = 16;
	in_flight(0);
	for (unsigned int k = 0; k < 4; k++)
		time_passes();
	assert_in_range(backend.drops, 1, 3);
	assert_false(vg->idle.work.queued);
	assert_int_equal(vg->dma.pool.pages, 128);
	in_flight(128);
	in_flight(0);
	take_away();
}

/* No arena comes or goes during a suspend; the next connection begins anew. */
static void test_pool_suspended(void **state)
{
	unsigned int adds, drops;

	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	in_flight(300);
	in_flight(0);
	adds = backend.adds;
	drops = backend.drops;
	assert_int_equal(vg_device_type.pm->freeze(vg->dev), 0);
	for (unsigned int k = 0; k < 3; k++)
		time_passes();
	assert_int_equal(vg->dma.pool.pages, 512);
	assert_int_equal(backend.adds, adds);
	assert_int_equal(backend.drops, drops);
	assert_int_equal(vg_driver.resume(&xdev), 0);
	memset(backend.pool, 0, sizeof(backend.pool));
	backend.pool_pages = 0;
	strcpy(key("/f", "state"), "1");
	xdev.state = XenbusStateInitialising;
	strcpy(key("/b", "state"), "2");
	assert_int_equal(vg_device_type.pm->restore(vg->dev), 0);
	run();
	backend.cons = backend.prod = 0;
	backend_is(XenbusStateConnected);
	assert_int_equal(vg->phase, VG_LIVE);
	use(vg->vmdev);
	assert_int_equal(vg->dma.pool.pages, 64);
	assert_int_equal(backend.pool_pages, 64);
	in_flight(65);
	assert_int_equal(backend.pool_pages, 128);
	in_flight(0);
	take_away();
}

/* A backend that dies while it is asked for more: the device goes, and nothing stays behind. */
static void test_pool_backend_dies(void **state)
{
	(void)state;
	side.probe = use;
	pool_pages = 512;
	connect();
	backend.hangs = true;
	in_flight(65);
	assert_true(vg->dead);
	assert_int_equal(vg->dma.pool.pages, 64);
	in_flight(0);
	backend.hangs = false;
	take_away();
}

/* ---- binding fails --------------------------------------------------------------------------------- */

static unsigned int ports_that_were(unsigned int closed)
{
	unsigned int n = 0;

	for (unsigned int p = 1; p <= next_port; p++)
		n += ports[p].closed == closed;
	return n;
}

/* Whichever step of it fails, a port is closed once: a second time it may be somebody else's. */
static void test_control_cannot_be_made(void **state)
{
	unsigned int failed = 0;

	(void)state;
	for (fail_at = 1; vg->phase == VG_IDLE; fail_at++) {
		assert_in_range(fail_at, 1, 20);
		calls = 0;
		strcpy(key("/f", "state"), "1");
		backend_is(XenbusStateInitWait);
		failed += vg->phase == VG_IDLE;
		assert_int_equal(ports_that_were(1), next_port - (vg->phase != VG_IDLE));
		assert_int_equal(taken(), vg->phase != VG_IDLE);
	}
	/* The grant, the port, its two bindings, and the keys. */
	assert_int_equal(failed, 8);
	fail_at = 0;
	take_away();
}

static void open_queues(struct virtio_msg_device *vmdev)
{
	struct virtqueue vq = { .vdev = &vmdev->vdev, .name = "requests" };
	unsigned int failed = 0;
	int ret;

	do {
		calls = 0;
		fail_at = failed + 1;
		ret = vmdev->ops->queue_open(vmdev, &vq);
		assert_in_range(failed += ret < 0, 0, 10);
		assert_int_equal(ports_that_were(1), next_port - 1 - (ret == 0));
		assert_int_equal(vq.priv != NULL, ret == 0);
	} while (ret < 0);
	assert_int_equal(failed, 3); /* the port, its two bindings */
	fail_at = 0;
	vmdev->ops->queue_close(vmdev, &vq);
}

static void test_queue_cannot_be_made(void **state)
{
	(void)state;
	side.probe = open_queues;
	connect();
	take_away();
}

/* ---- the control page -------------------------------------------------------------------------------- */

/* What counts is what was there when it was copied, once; the page changes at once afterwards. */
static void test_copied_once(void **state)
{
	const unsigned int size =
		sizeof(struct virtio_msg_header) + sizeof(struct virtio_msg_event_config);
	struct virtio_msg_buf event = { .header = { .type = VIRTIO_MSG_TYPE_REQUEST,
						    .msg_id = VIRTIO_MSG_EVENT_CONFIG,
						    .msg_size = size } };
	struct virtio_msg_ping ping = { .data = 77 };

	(void)state;
	connect();
	backend.writes_on = true;
	backend.copies = backend.served = 0;
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(vg_bus_call(vg, VIRTIO_MSG_BUS_PING, &ping, sizeof(ping)), 0);
		assert_int_equal(ping.data, 77);
	}
	event.payload[0] = VIRTIO_CONFIG_S_NEEDS_RESET;
	put_to_driver(&event);
	interrupt(vg->ctrl_port);
	assert_true(vg->event_pending);
	assert_int_equal(vg->event_status, VIRTIO_CONFIG_S_NEEDS_RESET);
	/* The compiler may not look a second time either: a barrier after each copy. */
	assert_int_equal(backend.served, 10);
	assert_int_equal(backend.copies, 11);
	backend.writes_on = false;
	take_away();
}

/* ---- suspends ------------------------------------------------------------------------------------------ */

static int pm(int (*callback)(struct device *dev))
{
	return callback ? callback(vg->dev) : 0;
}

/* The new domain's xenbus: vg_resume(), then the toolstack's new backend. */
static void resumed(void)
{
	strcpy(key("/b", "state"), "1");
	xdev.state = XenbusStateInitialising;
	assert_int_equal(vg_driver.resume(&xdev), 0);
	/* Nothing of before is granted or bound there. */
	for (unsigned int p = 1; p <= next_port; p++)
		assert_int_equal(ports[p].closed, 1);
	assert_int_equal(pm(vg->dev->type->pm->restore), 0);
	run();
}

static void test_suspends(void **state)
{
	(void)state;
	connect();
	assert_int_equal(pm(vg->dev->type->pm->freeze), 0);
	resumed();
	connect();
	assert_int_equal(side.restored, 1);
	assert_int_equal(side.made, 1);
	assert_int_equal(side.broken, 0);
	take_away();
}

/* xenbus found no backend, and said so in the node that the toolstack had made a moment later. */
static void test_given_up_by_xenbus(void **state)
{
	(void)state;
	connect();
	assert_int_equal(pm(vg->dev->type->pm->freeze), 0);
	strcpy(key("/f", "state"), "5");
	resumed();
	assert_string_equal(key("/f", "state"), "1");
	connect();
	assert_int_equal(side.restored, 1);
	take_away();
}

/* The guest runs on with its device; that it does is told, each time. */
static void test_refuses_to_suspend(void **state)
{
	static const char *const counts[] = { "1", "2" };

	(void)state;
	connect();
	side.refuses = -EOPNOTSUPP;
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(pm(vg->dev->type->pm->freeze), -EOPNOTSUPP);
		assert_string_equal(key("/f", "suspends-refused"), counts[i]);
		assert_false(vg->pm_frozen);
		assert_false(vg->pool_held);
	}
	side.refuses = 0;
	assert_int_equal(side.failed, 0);
	take_away();
}

/* Given up just before the guest is frozen, when what would end its requests had not run yet. */
static void test_dead_when_frozen(void **state)
{
	(void)state;
	connect();
	vg_give_up(vg);
	assert_int_equal(pm(vg->dev->type->pm->freeze), 0);
	assert_int_equal(side.failed, 0);
	resumed();
	assert_int_equal(side.failed, 1);
	/* Its queues have buffers of the old table: the new backend gets a new device. */
	connect();
	assert_int_equal(side.restored, 0);
	assert_int_equal(side.unregistered, 1);
	assert_int_equal(side.made, 2);
	take_away();
}

/* What cannot be restored is not left to programs until there is a backend. */
static void test_stale_goes_at_once(void **state)
{
	(void)state;
	connect();
	side.stale = true;
	assert_int_equal(pm(vg->dev->type->pm->freeze), 0);
	assert_int_equal(side.unregistered, 0);
	resumed();
	assert_int_equal(side.unregistered, 1);
	connect();
	assert_int_equal(side.restored, 0);
	assert_int_equal(side.made, 2);
	take_away();
}

/* Nor if the toolstack has not made the new one's nodes yet. */
static void test_stale_goes_before_nodes(void **state)
{
	const char *otherend = xdev.otherend;

	(void)state;
	connect();
	side.stale = true;
	assert_int_equal(pm(vg->dev->type->pm->freeze), 0);
	assert_int_equal(vg_driver.resume(&xdev), 0);
	xdev.otherend = NULL;
	assert_int_equal(pm(vg->dev->type->pm->restore), 0);
	vg_again_work(&vg->again.work);
	assert_int_equal(side.unregistered, 1);
	xdev.otherend = otherend;
	take_away();
}

/*
 * A guest that sleeps with its memory in place has the same grants and channels when it wakes up, so
 * that nothing is to be done; an image that it writes by itself is not Xen's way, and it is powered off
 * with no last word to backends.
 */
static void test_other_suspends(void **state)
{
	unsigned int notified;

	(void)state;
	connect();
	notified = ports[vg->ctrl_port].notified;
	assert_int_equal(pm(vg->dev->type->pm->suspend), 0);
	assert_int_equal(pm(vg->dev->type->pm->resume), 0);
	assert_int_equal(pm(vg->dev->type->pm->poweroff), 0);
	run();
	assert_int_equal(ports[vg->ctrl_port].notified, notified);
	assert_int_equal(vg->phase, VG_LIVE);
	assert_int_equal(vg_ping(vg), 0);
	take_away();
}

/* ---- who ends a dead device's requests, and when the module may go ---------------------------------- */

/* Swap may be on it: a thread of its own, which there is also when there is no memory. */
static void test_rescue(void **state)
{
	(void)state;
	connect();
	vg_give_up(vg);
	assert_ptr_equal(vg->gone.work.queue, vg_rescue);
	assert_true(vg_rescue->flags & WQ_MEM_RECLAIM);
	assert_ptr_not_equal(vg->work.work.queue, vg_rescue);
	backend.hangs = true;
	strcpy(key("/b", "state"), "6");
	run();
	assert_int_equal(side.failed, 1);
	take_away();
}

/* A program has something below the device open: its release is in the module's text. */
static void test_module_stays(void **state)
{
	struct device *dev = vg->dev;

	(void)state;
	connect();
	get_device(dev);
	take_away();
	assert_int_equal(fake_module, 1);
	put_device(dev);
	assert_int_equal(fake_module, 0);
}

/* A kernel for Arm may be one of 16 KiB or 64 KiB. */
static void larger_pages_are_refused(void **state)
{
	(void)state;
	fake_page_size = 65536;
	assert_int_equal(fake_init(), -EOPNOTSUPP);
	fake_page_size = 4096;
	assert_non_null(strstr(
		said, "this kernel's pages have 64 KiB, and the driver needs such of 4 KiB"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(larger_pages_are_refused),
		T(test_device_cannot_be_made),
		T(test_connects),
		T(test_limits_before_queues),
		T(test_operations_are_put_back),
		T(test_pool_of_kinds),
		T(test_pool_breathes),
		T(test_pool_idle_with_buffers),
		T(test_pool_of_older_backend),
		T(test_pool_of_replaced_backend),
		T(test_pool_refused),
		T(test_pool_suspended),
		T(test_pool_backend_dies),
		T(test_control_cannot_be_made),
		T(test_queue_cannot_be_made),
		T(test_copied_once),
		T(test_suspends),
		T(test_given_up_by_xenbus),
		T(test_refuses_to_suspend),
		T(test_dead_when_frozen),
		T(test_stale_goes_at_once),
		T(test_stale_goes_before_nodes),
		T(test_other_suspends),
		T(test_rescue),
		T(test_module_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
