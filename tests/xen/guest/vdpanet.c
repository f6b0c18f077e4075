// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdpanet.c - a vDPA network device without hardware: VDUSE on one side, a TAP on the other
 *
 *	vdpanet NAME TAP
 *
 * Makes /dev/vduse/NAME, for `vdpa dev add name NAME mgmtdev vduse`, and the interface TAP; carries frames
 * between the two until it is killed. One pair of split queues, no offloads (linux/vduse.h; VIRTIO 1.3 sections
 * 2.7, 5.1). What a driver writes it believes: the gateway is the driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vduse.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RX, TX, QUEUES, ENTRIES = 1024, MAPS = 16, FRAME = 65536, HEADER = 12, DRIVER_OK = 4 };

static struct map {
	uint64_t start, last;
	uint8_t *at;
} maps[MAPS];
static unsigned n_maps;

static struct ring {
	uint32_t size; /* 0: it does not run */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t taken;
	int kick;
} rings[QUEUES];

static int dev, tap;

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "vdpanet: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void forget(void)
{
	while (n_maps) {
		n_maps--;
		munmap(maps[n_maps].at, maps[n_maps].last - maps[n_maps].start + 1);
	}
}

static void *at(uint64_t iova)
{
	struct vduse_iotlb_entry e = { .start = iova, .last = iova };
	struct map *m;
	int fd;

	for (unsigned i = 0; i < n_maps; i++) {
		if (iova >= maps[i].start && iova <= maps[i].last)
			return maps[i].at + (iova - maps[i].start);
	}
	fd = ioctl(dev, VDUSE_IOTLB_GET_FD, &e);
	if (fd < 0 || n_maps == MAPS)
		fail("an address");
	m = &maps[n_maps++];
	*m = (struct map){ e.start, e.last, NULL };
	m->at = mmap(NULL, e.last - e.start + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		     (off_t)e.offset);
	if (m->at == MAP_FAILED)
		fail("memory");
	close(fd);
	return m->at + (iova - e.start);
}

/* ---- frames ------------------------------------------------------------------ */

/* The next chain's head. Return: whether there is one. */
static bool take(struct ring *r, uint16_t *head)
{
	if (!r->size || r->taken == __atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE))
		return false;
	*head = r->avail->ring[r->taken++ % r->size];
	return true;
}

static void give_back(unsigned q, uint16_t head, uint32_t len)
{
	struct ring *r = &rings[q];
	uint16_t idx = r->used->idx;

	r->used->ring[idx % r->size] = (struct vring_used_elem){ head, len };
	__atomic_store_n(&r->used->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
	if (ioctl(dev, VDUSE_VQ_INJECT_IRQ, &q) < 0)
		fail("an interrupt");
}

/* Copy between @frame and a chain, @len bytes at most. Return: how many. */
static uint32_t copy(struct ring *r, uint16_t head, uint8_t *frame, uint32_t len, bool out)
{
	uint32_t done = 0;

	for (uint16_t i = head;; i = r->desc[i].next) {
		const struct vring_desc *d = &r->desc[i];
		uint32_t n = d->len < len - done ? d->len : len - done;

		if (out)
			memcpy(frame + done, at(d->addr), n);
		else
			memcpy(at(d->addr), frame + done, n);
		done += n;
		if (!(d->flags & VRING_DESC_F_NEXT) || done == len)
			return done;
	}
}

static void send_all(void)
{
	static uint8_t frame[FRAME];
	uint16_t head;

	while (take(&rings[TX], &head)) {
		uint32_t n = copy(&rings[TX], head, frame, FRAME, true);

		if (write(tap, frame, n) < 0 && errno != EIO)
			fail("the interface");
		give_back(TX, head, 0);
	}
}

static void receive(void)
{
	static uint8_t frame[FRAME];
	ssize_t n = read(tap, frame, FRAME);
	uint16_t head;

	if (n < HEADER || !take(&rings[RX], &head))
		return;
	frame[10] = 1; /* num_buffers: VIRTIO 1.3 section 5.1.6.4 */
	give_back(RX, head, copy(&rings[RX], head, frame, (uint32_t)n, false));
}

/* ---- the device ---------------------------------------------------------------- */

static void stop(void)
{
	for (unsigned q = 0; q < QUEUES; q++)
		rings[q].size = 0;
	forget();
}

/* Where the kernel has a queue. Return: whether it has it. */
static bool locate(unsigned q, struct vduse_vq_info *info)
{
	*info = (struct vduse_vq_info){ .index = q };
	if (ioctl(dev, VDUSE_VQ_GET_INFO, info) < 0)
		fail("a queue");
	if (!info->ready)
		return false;
	rings[q].desc = at(info->desc_addr);
	rings[q].avail = at(info->driver_addr);
	rings[q].used = at(info->device_addr);
	return true;
}

static void start(void)
{
	struct vduse_vq_info info;

	for (unsigned q = 0; q < QUEUES; q++) {
		struct vduse_vq_eventfd kick = { .index = q, .fd = rings[q].kick };

		if (!locate(q, &info))
			continue;
		rings[q].taken = info.split.avail_index;
		rings[q].size = info.num;
		if (ioctl(dev, VDUSE_VQ_SETUP_KICKFD, &kick) < 0)
			fail("an eventfd");
	}
	send_all();
}

/* Memory has changed. */
static void move(void)
{
	struct vduse_vq_info info;

	forget();
	for (unsigned q = 0; q < QUEUES; q++) {
		if (rings[q].size && !locate(q, &info))
			rings[q].size = 0;
	}
}

static void answer(void)
{
	struct vduse_dev_request q;
	struct vduse_dev_response r = { .result = VDUSE_REQ_RESULT_OK };

	if (read(dev, &q, sizeof(q)) != sizeof(q))
		fail("a request");
	r.request_id = q.request_id;
	if (q.type == VDUSE_GET_VQ_STATE) {
		r.vq_state.index = q.vq_state.index;
		r.vq_state.split.avail_index = rings[q.vq_state.index % QUEUES].taken;
	} else if (q.type == VDUSE_SET_STATUS && q.s.status & DRIVER_OK) {
		start();
	} else if (q.type == VDUSE_SET_STATUS && q.s.status == 0) {
		stop();
	} else if (q.type == VDUSE_UPDATE_IOTLB) {
		move();
	}
	if (write(dev, &r, sizeof(r)) != sizeof(r))
		fail("a response");
}

static void make(const char *name)
{
	static struct {
		struct vduse_dev_config c;
		uint8_t config
			[12]; /* mac, status, max_virtqueue_pairs, mtu: VIRTIO 1.3 section 5.1.4 */
	} d = { .c = { .device_id = 1,
		       /* VERSION_1, ACCESS_PLATFORM, MAC */
		       .features = 1ULL << 32 | 1ULL << 33 | 1ULL << 5,
		       .vq_num = QUEUES,
		       .vq_align = 4096,
		       .config_size = 12 },
		.config = { 0x00, 0x16, 0x3e, 0x00, 0xda, 0x01, 0, 0, 1, 0 } };
	uint64_t version = VDUSE_API_VERSION;
	char path[300];
	int control = open("/dev/vduse/control", O_RDWR);

	snprintf(d.c.name, sizeof(d.c.name), "%s", name);
	if (control < 0 || ioctl(control, VDUSE_SET_API_VERSION, &version) < 0)
		fail("/dev/vduse/control");
	ioctl(control, VDUSE_DESTROY_DEV, d.c.name);
	if (ioctl(control, VDUSE_CREATE_DEV, &d) < 0)
		fail("VDUSE_CREATE_DEV");
	snprintf(path, sizeof(path), "/dev/vduse/%s", name);
	dev = open(path, O_RDWR);
	if (dev < 0)
		fail(path);
	for (uint32_t q = 0; q < QUEUES; q++) {
		struct vduse_vq_config vq = { .index = q, .max_size = ENTRIES };

		rings[q].kick = eventfd(0, EFD_NONBLOCK);
		if (ioctl(dev, VDUSE_VQ_SETUP, &vq) < 0)
			fail("VDUSE_VQ_SETUP");
	}
}

int main(int argc, char **argv)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = HEADER;
	uint64_t n;

	if (argc != 3)
		return 2;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", argv[2]);
	tap = open("/dev/net/tun", O_RDWR);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0 || ioctl(tap, TUNSETVNETHDRSZ, &header) < 0)
		fail("the interface");
	make(argv[1]);
	for (;;) {
		struct pollfd p[] = { { dev, POLLIN, 0 },
				      { tap, POLLIN, 0 },
				      { rings[TX].kick, POLLIN, 0 } };

		if (poll(p, 3, -1) < 0)
			fail("poll");
		if (p[0].revents)
			answer();
		if (p[1].revents)
			receive();
		if (p[2].revents && read(rings[TX].kick, &n, sizeof(n)) > 0)
			send_all();
	}
}
