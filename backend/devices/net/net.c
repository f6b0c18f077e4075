// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net.c - network device, VIRTIO 1.3 section 5.1
 *
 * Each queue pair has its own descriptor of the link (link.h), its own context, and
 * shares nothing with the others while frames pass. The control queue, the
 * configuration and the link itself belong to the main context. Since the control
 * queue is the third one for a driver that does not negotiate MQ, whatever the
 * number of pairs (5.1.2), the second pair lies in the main context, and the first,
 * where there are several threads, does not.
 *
 * What the host may hand to the guest unfinished (checksums, segments) is what the
 * driver negotiated, or said since: the link is told, and does the rest itself.
 *
 * The cable. The link has a carrier while the driver runs the device and the user
 * has not pulled it (`vgrant set GUEST ID link=down`): a bridge forgets what it
 * learnt of a guest that is gone, and nothing old waits for one that comes. A link whose
 * carrier is not ours to switch stays as it is, and frames are dropped here.
 *
 * The MTU that a driver was told stays what it is while that driver runs (5.1.4.1), also where the
 * link's becomes another one: what is longer than the link's is not sent.
 *
 * The way of a frame was chosen by measurement (tests/bench/bench_net.sh, xen-net, and
 * tests/bench/README.md, which has the figures): io_uring on the TAP, all writes of a
 * turn in one system call, reads ahead while frames come faster than turns (rx.c);
 * short frames copied and given back before they are sent (tx.c); long ones sent from
 * and read to where the guest has them. To copy long ones, too, where they come alone,
 * and give them back at once gained nothing on Xen.
 *
 * /dev/vhost-net was tried, over the worker's mapped rings and pool, the worker passing
 * notifications on both ways, and is not used. It sends more and answers later, for each
 * notification wakes two threads (README.md, as above). It knows neither packed rings, which
 * drivers have by default here, nor buffers that lie outside of the pool, as all do that
 * Linux 7 receives to: one of these, and the queue stands still. And it hands the host's
 * stack whatever header the guest wrote: what header.c refuses could not be refused.
 *
 * A worker that dies: what the driver has set is in dev->saved. Frames on their way
 * are lost, as on a wire, but for those of the guest that the ring still has; its
 * driver is asked to announce itself, for a bridge has to learn anew where it is.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "backend/base/number.h"
#include "backend/devices/net/int.h"
#include "backend/devices/net/macvtap.h"
#include "backend/devices/net/place.h"
#include "backend/devices/net/script.h"

enum {
	DEFAULT_MTU = 1500,
	DUPLEX_FULL = 1,   /* 5.1.4 */
	OLD_FRAMES = 1024, /* more than a macvtap's queue holds as it comes: 500 */
};

static const struct vg_param_def net_params[] = {
	{ "bridge", VG_PARAM_STRING, false, 0, 0, NULL,
	  "Linux bridge of this domain that the interface is put on; default: vif.default.bridge "
	  "of "
	  "xl.conf, or xenbr0; empty: none" },
	{ "mac", VG_PARAM_STRING, false, 0, 0, NULL,
	  "the guest's address, as 00:16:3e:12:34:56; default: made of the guest's name and the "
	  "device's number" },
	{ "vifname", VG_PARAM_STRING, false, 0, 0, NULL,
	  "name of the interface that is made in this domain; default: vifDOMAIN.NUMBER" },
	{ "script", VG_PARAM_STRING, false, 0, 0, NULL,
	  "what puts the interface where it belongs, instead of bridge=: a path, or a name in "
	  "/etc/xen/scripts" },
	{ "gatewaydev", VG_PARAM_STRING, false, 0, 0, NULL,
	  "interface of this domain whose address a routed guest sees, for the script; default: "
	  "that of the default route" },
	{ "place", VG_PARAM_STRING, false, 0, 0, NULL,
	  "DOMAIN/NUMBER/NAME of guest and device, for the script; vgrantd fills it in" },
	{ "macvtap", VG_PARAM_STRING, false, 0, 0, NULL,
	  "interface of this domain, such as eth0, to make a macvtap on, without a bridge" },
	{ "mode", VG_PARAM_STRING, false, 0, 0, NULL,
	  "of macvtap=: bridge (the default), vepa, private or passthru" },
	{ "tap", VG_PARAM_STRING, false, 0, 0, NULL,
	  "a TAP interface that is there already, instead of one that is made" },
	{ "mtu", VG_PARAM_UINT, false, 0, NET_MTU_MAX, "0",
	  "largest packet in bytes; 0: the bridge's, else 1500" },
	{ "queues", VG_PARAM_UINT, false, 1, NET_PAIRS_MAX, "1", "number of queue pairs" },
	{ "threads", VG_PARAM_UINT, false, 0, NET_PAIRS_MAX, "0",
	  "threads that share the queue pairs; 0: one for each" },
	{ "poll", VG_PARAM_STRING, false, 0, 0, "auto",
	  "off, auto or always: look at what a guest sends one frame after the other instead of "
	  "being told of each; auto: while it is quick" },
	{ "rss", VG_PARAM_BOOL, false, 0, 1, "0",
	  "let the guest say which packets go to which queue, by a hash of their addresses and "
	  "ports" },
	{ "hash", VG_PARAM_BOOL, false, 0, 1, "0", "tell the guest that hash of each packet" },
	{ "rss_hash_report", VG_PARAM_BOOL, false, 0, 1, "0", "libvirt's word for hash" },
	{ "queue-size", VG_PARAM_UINT, false, 2, VG_LIMIT_QUEUE_SIZE, NULL,
	  "largest queue size, a power of two; default: 256, or 1024 over vhost-user" },
	{ "offloads", VG_PARAM_BOOL, false, 0, 1, "1",
	  "leave checksums and segmentation of large packets to whoever sends them out" },
	{ "rate", VG_PARAM_STRING, false, 0, 0, "0",
	  "most that the guest may send, as xl writes it: 10Mb/s, 500KB/s@20ms; 0: no limit" },
	{ "antispoof", VG_PARAM_BOOL, false, 0, 1, "0",
	  "drop what the guest sends with another sender's address than mac=" },
	{ "ip", VG_PARAM_STRING, false, 0, 0, "",
	  "addresses of IP that the guest may send from, with blanks or + between; empty: any" },
	{ "speed", VG_PARAM_UINT, false, 1, 0x7fffffff, "10000",
	  "Mbit/s that the guest is told; nothing is slowed down" },
	{ "link", VG_PARAM_STRING, false, 0, 0, "up", "up, or down: as if the cable was pulled" },
	{ 0 },
};

/* ---- what the driver set ------------------------------------------------ */

void net_save(struct net *net)
{
	memcpy(net->dev->saved, &net->s, sizeof(net->s));
	vg_dev_save(net->dev);
}

struct filter_call {
	struct vg_call call;
	struct net_pair *pair;
	struct net_filter filter;
};

static void take_filter(struct vg_call *call)
{
	struct filter_call *f = container_of(call, struct filter_call, call);

	f->pair->filter = f->filter;
	free(f);
}

void net_filter_changed(struct net *net)
{
	for (unsigned i = 0; i < net->n_pairs; i++) {
		struct net_pair *p = &net->pair[i];
		struct vg_ctx *ctx = net->dev->queue[2 * i].ctx;
		struct filter_call *f;

		if (ctx->index == 0) {
			p->filter = net->s.filter;
			continue;
		}
		f = malloc(sizeof(*f));
		if (!f)
			abort(); /* a kilobyte; a guest must not get what it refused */
		f->call.fn = take_filter;
		f->pair = p;
		f->filter = net->s.filter;
		vg_ctx_call(ctx, &f->call);
	}
}

struct rss_call {
	struct vg_call call;
	struct net_pair *pair;
	struct net_rss rss;
};

static void take_rss(struct net_pair *p, const struct net_rss *rss)
{
	p->rss = *rss;
	net_hash_init(&p->hash, rss->types, rss->key, rss->key_len);
}

static void rss_called(struct vg_call *call)
{
	struct rss_call *r = container_of(call, struct rss_call, call);

	take_rss(r->pair, &r->rss);
	free(r);
}

void net_rss_changed(struct net *net)
{
	for (unsigned i = 0; i < net->n_pairs; i++) {
		struct net_pair *p = &net->pair[i];
		struct vg_ctx *ctx = net->dev->queue[2 * i].ctx;
		struct rss_call *r;

		if (ctx->index == 0) {
			take_rss(p, &net->s.rss);
			continue;
		}
		r = malloc(sizeof(*r));
		if (!r)
			abort(); /* some bytes; pairs must agree where a packet goes */
		*r = (struct rss_call){ .call.fn = rss_called, .pair = p, .rss = net->s.rss };
		vg_ctx_call(ctx, &r->call);
	}
}

struct coal_call {
	struct vg_call call;
	struct net_pair *pair;
	struct net_coal coal;
	unsigned tx; /* 1: of the transmit queue; 0: of the other */
};

/* In its context, or before it has queues. */
static void take_coal(struct net_pair *p, unsigned tx, const struct net_coal *coal)
{
	p->coal[tx] = *coal;
	if (vg_dev_vq(p->dev, p->index * 2 + tx))
		vg_dev_gather(p->dev, p->index * 2 + tx, coal->max_packets, coal->max_usecs);
}

static void coal_called(struct vg_call *call)
{
	struct coal_call *c = container_of(call, struct coal_call, call);

	take_coal(c->pair, c->tx, &c->coal);
	free(c);
}

void net_coal_changed(struct net *net, unsigned q)
{
	struct net_pair *p = &net->pair[q / 2];
	struct vg_ctx *ctx = net->dev->queue[q].ctx;
	struct coal_call *c;

	if (ctx->index == 0) {
		take_coal(p, q & 1, &net->s.coal[q]);
		return;
	}
	c = malloc(sizeof(*c));
	if (!c)
		return; /* the driver is told of everything, as before: 5.1.6.5.9 allows it */
	*c = (struct coal_call){
		.call.fn = coal_called, .pair = p, .coal = net->s.coal[q], .tx = q & 1
	};
	vg_ctx_call(ctx, &c->call);
}

struct capture_call {
	struct vg_call call;
	struct net_pair *pair;
	int fd;
};

static void take_capture(struct vg_call *call)
{
	struct capture_call *c = container_of(call, struct capture_call, call);

	vg_capture_add(&c->pair->capture, c->fd);
	free(c);
}

/* Each pair gets a descriptor of its own, which its context writes to, and closes. */
static void net_capture(struct vg_dev *dev, int fd)
{
	struct net *net = dev->priv;

	for (unsigned i = 0; fd >= 0 && i < net->n_pairs; i++) {
		struct capture_call *c = malloc(sizeof(*c));
		int own = c ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

		if (own < 0) {
			vg_warn("packets of queue pair %u are not captured: %s", i,
				strerror(errno));
			free(c);
			continue;
		}
		*c = (struct capture_call){ .call.fn = take_capture,
					    .pair = &net->pair[i],
					    .fd = own };
		vg_ctx_call(dev->queue[2 * i].ctx, &c->call);
	}
	if (fd >= 0)
		close(fd);
}

struct address_call {
	struct vg_call call;
	struct address_call *next; /* until all are called */
	struct net_pair *pair;
	struct net_addresses addresses;
};

static void take_addresses(struct vg_call *call)
{
	struct address_call *a = container_of(call, struct address_call, call);

	a->pair->addresses = a->addresses;
	free(a);
}

static int set_addresses(struct net *net, const char *value, struct vg_err *err)
{
	struct address_call *calls = NULL;
	struct net_addresses a;
	int ret = net_addresses_parse(value, &a, err);

	for (unsigned i = 0; ret == 0 && i < net->n_pairs; i++) {
		struct address_call *c = malloc(sizeof(*c));

		if (c) {
			*c = (struct address_call){ .call.fn = take_addresses,
						    .pair = &net->pair[i],
						    .next = calls,
						    .addresses = a };
			calls = c;
		} else {
			ret = vg_fail(err, -ENOMEM, "out of memory");
		}
	}
	/* All pairs, or none. */
	while (calls) {
		struct address_call *c = calls;

		calls = c->next;
		if (ret == 0)
			vg_ctx_call(net->dev->queue[2 * c->pair->index + 1].ctx, &c->call);
		else
			free(c);
	}
	return ret;
}

int net_apply_offloads(struct net *net)
{
	static const struct {
		uint64_t bits;
		unsigned tun;
	} map[] = {
		{ VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
		{ VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
		{ VG_FEATURE(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
		{ VG_FEATURE(VIRTIO_NET_F_GUEST_ECN), TUN_F_TSO_ECN },
		/* The kernel takes these two together only. */
		{ VG_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VG_FEATURE(VIRTIO_NET_F_GUEST_USO6),
		  TUN_F_USO4 | TUN_F_USO6 },
	};
	unsigned flags = 0;

	for (unsigned i = 0; i < COUNT(map); i++) {
		if ((net->s.offloads & map[i].bits) == map[i].bits)
			flags |= map[i].tun;
	}
	/* Without checksums there is nothing else. */
	return net->link->ops->offloads(net->link, flags & TUN_F_CSUM ? flags : 0);
}

/* ---- opening ------------------------------------------------------------ */

static void net_close(struct vg_dev *dev)
{
	struct net *net = dev->priv;

	for (unsigned i = 0; i < net->n_pairs; i++)
		vg_capture_close(&net->pair[i].capture);
	if (net->link)
		net->link->ops->close(net->link);
	free(net);
	dev->priv = NULL;
}

static int parse_mac(const char *text, uint8_t mac[6], struct vg_err *err)
{
	static const uint8_t none[6];
	unsigned v[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
		   &end) != 6 ||
	    text[end] || strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return vg_fail(err, -EINVAL,
			       "mac=%s is no address: six hexadecimal numbers, as "
			       "00:16:3e:12:34:56",
			       text);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
	if (mac[0] & 1)
		return vg_fail(err, -EINVAL,
			       "mac=%s is a multicast address, for its first number is odd: no "
			       "interface can have it",
			       text);
	if (memcmp(mac, none, 6) == 0)
		return vg_fail(err, -EINVAL, "mac=%s is no interface's address", text);
	return 0;
}

/* In Xen's range. The supervisor knows the guest and makes one that stays; here nobody does. */
static int random_mac(uint8_t mac[6], struct vg_err *err)
{
	mac[0] = 0;
	mac[1] = 0x16;
	mac[2] = 0x3e;
	if (getrandom(mac + 3, 3, 0) != 3)
		return vg_fail(err, -EIO, "the kernel gives no random address; set mac=");
	mac[3] &= 0x7f;
	return 0;
}

static int parse_link(const char *text, bool *up, struct vg_err *err)
{
	*up = strcmp(text, "up") == 0;
	return *up || strcmp(text, "down") == 0
		       ? 0
		       : vg_fail(err, -EINVAL, "link=%s: it is up or down", text);
}

static uint64_t offered(const struct net *net, const struct vg_params *params)
{
	uint64_t f = VG_FEATURE(VIRTIO_NET_F_MAC) | VG_FEATURE(VIRTIO_NET_F_MTU) |
		     VG_FEATURE(VIRTIO_NET_F_STATUS) | VG_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
		     VG_FEATURE(VIRTIO_NET_F_SPEED_DUPLEX) | VG_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
		     VG_FEATURE(VIRTIO_NET_F_CTRL_RX) | VG_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |
		     VG_FEATURE(VIRTIO_NET_F_CTRL_VLAN) | VG_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		     VG_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | VG_FEATURE(VIRTIO_NET_F_NOTF_COAL) |
		     VG_FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL);

	if (net->n_pairs > 1)
		f |= VG_FEATURE(VIRTIO_NET_F_MQ);
	if (vg_params_bool(params, net_params, "rss"))
		f |= VG_FEATURE(VIRTIO_NET_F_RSS);
	if (vg_params_bool(params, net_params, "hash") ||
	    vg_params_bool(params, net_params, "rss_hash_report"))
		f |= VG_FEATURE(VIRTIO_NET_F_HASH_REPORT);
	if (!vg_params_bool(params, net_params, "offloads"))
		return f;
	f |= VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
	     VG_FEATURE(VIRTIO_NET_F_HOST_TSO6) | VG_FEATURE(VIRTIO_NET_F_HOST_ECN) |
	     VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
	     VG_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VG_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
	     VG_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (net->link->uso)
		f |= VG_FEATURE(VIRTIO_NET_F_HOST_USO) | VG_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
		     VG_FEATURE(VIRTIO_NET_F_GUEST_USO6);
	return f;
}

/* "bridge=": no bridge, where the default is one. */
static const char *bridge_of(const struct vg_params *params)
{
	const char *bridge = vg_params_str(params, net_params, "bridge");

	return bridge && *bridge ? bridge : NULL;
}

static int net_check_params(const struct vg_params *params, struct vg_err *err)
{
	uint32_t size = (uint32_t)vg_params_uint(params, net_params, "queue-size");
	uint32_t mtu = (uint32_t)vg_params_uint(params, net_params, "mtu");
	const char *mac = vg_params_str(params, net_params, "mac");
	struct net_addresses addresses;
	struct vg_rate rate = { 0 };
	uint8_t bytes[6];
	bool up;
	int ret = 0;

	if (size & (size - 1))
		return vg_fail(err, -EINVAL, "queue-size=%u is not a power of two", size);
	if (mtu && mtu < NET_MTU_MIN)
		return vg_fail(err, -EINVAL, "mtu=%u is less than %d, the least of IPv4", mtu,
			       NET_MTU_MIN);
	if (vg_params_str(params, net_params, "tap") &&
	    (vg_params_str(params, net_params, "vifname") || bridge_of(params) || mtu))
		return vg_fail(err, -EINVAL,
			       "tap= is an interface that is used as it is: bridge=, vifname= and "
			       "mtu= are for one that is made");
	ret = net_macvtap_check(params, err);
	if (ret == 0)
		ret = net_script_check(params, err);
	if (ret == 0 && mac)
		ret = parse_mac(mac, bytes, err);
	if (ret == 0)
		ret = parse_link(vg_params_str(params, net_params, "link"), &up, err);
	if (ret == 0)
		ret = net_rate_set(&rate, vg_params_str(params, net_params, "rate"), err);
	return ret == 0 ? net_addresses_parse(vg_params_str(params, net_params, "ip"), &addresses,
					      err)
			: ret;
}

static int open_link_with(struct net *net, const struct vg_params *params,
			  const struct vg_command *script, struct vg_err *err)
{
	const struct net_link_config config = {
		.name = vg_params_str(params, net_params, "vifname"),
		.tap = vg_params_str(params, net_params, "tap"),
		.bridge = bridge_of(params),
		.lower = vg_params_str(params, net_params, "macvtap"),
		.macvtap_mode = (unsigned)net_macvtap_mode(params, NULL),
		.mac = net->mac,
		.script = script,
		.mtu = (uint32_t)vg_params_uint(params, net_params, "mtu"),
		.pairs = net->n_pairs,
	};
	int ret;

	net->lent = config.tap;
	ret = net_link_ops->open(&config, &net->link, err);
	if (ret == 0 && net->link)
		atomic_store(&net->mtu, net->link->mtu > NET_MTU_MAX ? NET_MTU_MAX
					: net->link->mtu	     ? net->link->mtu
								     : DEFAULT_MTU);
	return ret;
}

static int open_link(struct net *net, const struct vg_params *params, struct vg_err *err)
{
	const char *name = vg_params_str(params, net_params, "vifname");
	struct vg_command *script = malloc(sizeof(*script));
	int ret = script ? net_script(params, "add", name ? name : "", script, err)
			 : vg_fail(err, -ENOMEM, "out of memory");

	/* By what name else should what it did be undone? */
	if (ret == 1 && !name)
		ret = vg_fail(err, -EINVAL, "script= needs a name for the interface: vifname=");
	if (ret >= 0)
		ret = open_link_with(net, params, ret == 1 ? script : NULL, err);
	free(script);
	return ret;
}

static int net_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	uint32_t size = (uint32_t)vg_params_uint(params, net_params, "queue-size");
	unsigned threads = (unsigned)vg_params_uint(params, net_params, "threads");
	const char *mac = vg_params_str(params, net_params, "mac");
	struct net_addresses addresses = { 0 };
	struct net *net;
	int ret;

	net = calloc(1, sizeof(*net));
	if (!net)
		return vg_fail(err, -ENOMEM, "out of memory");
	net->dev = dev;
	net->n_pairs = (unsigned)vg_params_uint(params, net_params, "queues");
	net->speed = (uint32_t)vg_params_uint(params, net_params, "speed");
	net->control_q = net->n_pairs * 2;
	if (vg_spin_parse(vg_params_str(params, net_params, "poll"), &dev->spin) < 0) {
		free(net);
		return vg_fail(err, -EINVAL, "poll=%s is none of off, auto and always",
			       vg_params_str(params, net_params, "poll"));
	}
	ret = mac ? parse_mac(mac, net->mac, err) : random_mac(net->mac, err);
	if (ret == 0)
		ret = parse_link(vg_params_str(params, net_params, "link"), &net->plugged, err);
	if (ret == 0)
		ret = net_rate_set(&net->rate, vg_params_str(params, net_params, "rate"), err);
	atomic_store(&net->antispoof, vg_params_bool(params, net_params, "antispoof"));
	if (ret == 0)
		ret = net_addresses_parse(vg_params_str(params, net_params, "ip"), &addresses, err);
	if (ret == 0)
		ret = open_link(net, params, err);
	if (ret < 0 || !net->link) {
		free(net);
		return ret;
	}
	for (unsigned i = 0; i < net->n_pairs; i++)
		net->pair[i] = (struct net_pair){ .net = net,
						  .dev = dev,
						  .index = i,
						  .fd = net->link->fd[i],
						  .addresses = addresses };
	dev->priv = net;
	dev->n_groups = threads && threads < net->n_pairs ? threads : net->n_pairs;
	dev->n_queues = net->n_pairs * 2 + 1;
	dev->queue_size_max = size;
	dev->config_size = sizeof(struct net_config);
	dev->saved_size = sizeof(struct net_saved);
	dev->device_features = offered(net, params);
	return 0;
}

/* Packets go by the pool that Linux' module makes unless told otherwise; its rings beside it. */
static uint32_t net_grants(const struct vg_params *params)
{
	enum { POOL = 512 }; /* net_pool_pages */
	uint32_t size = (uint32_t)vg_params_uint(params, net_params, "queue-size");
	uint32_t pairs = (uint32_t)vg_params_uint(params, net_params, "queues");

	return POOL + 2 * pairs * vg_ring_grants(size ? size : VG_QUEUE_SIZE);
}

/* See the top of this file. */
static unsigned net_queue_group(const struct vg_dev *dev, unsigned q)
{
	unsigned pair = q / 2;

	if (q + 1 == dev->n_queues)
		return 0;
	return (pair < 2 ? 1 - pair : pair) % dev->n_groups;
}

/* ---- configuration and features ----------------------------------------- */

/* QEMU keeps the control queue to itself over vhost-user, and announces in the guest's place: it then
 * takes GUEST_ANNOUNCE without CTRL_VQ, which means nothing. */
static bool announces(const struct vg_dev *dev)
{
	return vg_dev_has(dev, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
	       vg_dev_has(dev, VIRTIO_NET_F_CTRL_VQ);
}

static void net_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct net *net = dev->priv;
	bool announce = net->s.valid && !net->s.announced && announces(dev);
	struct net_config c = {
		.status =
			htole16((uint16_t)((net->plugged && !net->gone ? VIRTIO_NET_S_LINK_UP : 0) |
					   (announce ? VIRTIO_NET_S_ANNOUNCE : 0))),
		.max_pairs = htole16((uint16_t)net->n_pairs),
		.mtu = htole16(net->s.valid ? net->s.mtu : (uint16_t)atomic_load(&net->mtu)),
		.speed = htole32(net->speed),
		.duplex = DUPLEX_FULL,
		.rss_max_key_size = NET_HASH_KEY,
		.rss_max_indirection_table_length = htole16(NET_RSS_TABLE),
		.supported_hash_types = htole32(NET_HASH_TYPES),
	};

	memcpy(c.mac, net->s.valid ? net->s.filter.mac : net->mac, sizeof(c.mac));
	memcpy(buf, (const uint8_t *)&c + off, len);
}

/* 5.1.3.1: what needs what; but see announces(). */
static int net_features_ok(struct vg_dev *dev, uint64_t f)
{
	static const struct {
		uint64_t feature, needs; /* one of these */
	} rules[] = {
#define F(name) VG_FEATURE(VIRTIO_NET_F_##name)
		{ F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_USO4) | F(GUEST_USO6), F(GUEST_CSUM) },
		{ F(GUEST_ECN), F(GUEST_TSO4) | F(GUEST_TSO6) },
		{ F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_USO), F(CSUM) },
		{ F(HOST_ECN), F(HOST_TSO4) | F(HOST_TSO6) },
		{ F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(MQ) | F(CTRL_MAC_ADDR) |
			  F(CTRL_GUEST_OFFLOADS) | F(NOTF_COAL) | F(VQ_NOTF_COAL) | F(RSS),
		  F(CTRL_VQ) },
#undef F
	};

	(void)dev;
	/* The header has another length without it. */
	if (!(f & VG_FEATURE(VG_F_VERSION_1)))
		return -EINVAL;
	for (unsigned i = 0; i < COUNT(rules); i++) {
		if ((f & rules[i].feature) && !(f & rules[i].needs))
			return -EINVAL;
	}
	return 0;
}

/* ---- starting, stopping ------------------------------------------------- */

static void defaults(struct net *net)
{
	memset(&net->s, 0, sizeof(net->s));
	net->s.valid = true;
	net->s.active = 1;
	net->s.mtu = (uint16_t)atomic_load(&net->mtu);
	net->s.offloads = net->dev->features & NET_GUEST_OFFLOADS;
	memcpy(net->s.hw, net->mac, sizeof(net->s.hw));
	net_filter_init(&net->s.filter, net->mac, vg_dev_has(net->dev, VIRTIO_NET_F_CTRL_VLAN));
}

/* A predecessor may have had more pairs. */
static bool rss_fits(const struct net *net, const struct net_rss *rss)
{
	bool ok = rss->mask < NET_RSS_TABLE && rss->unclassified < net->n_pairs;

	for (unsigned i = 0; ok && i <= rss->mask; i++)
		ok = rss->table[i] < net->n_pairs;
	return ok;
}

static void carrier(struct net *net, bool on)
{
	if (net->link->ops->carrier)
		net->link->ops->carrier(net->link, on);
	else
		atomic_store(&net->cut, !on);
}

/* A link without a carrier keeps what came while no driver was there to have it. */
static void throw_away(struct net *net)
{
	uint8_t frame[NET_HDR + NET_ETH];

	for (unsigned i = 0; !net->link->ops->carrier && i < net->n_pairs; i++) {
		unsigned n = 0;

		while (n < OLD_FRAMES && read(net->pair[i].fd, frame, sizeof(frame)) > 0)
			n++;
	}
}

static int net_start(struct vg_dev *dev)
{
	struct net *net = dev->priv;
	int ret;

	memcpy(&net->s, dev->saved, sizeof(net->s));
	if (!net->s.valid)
		defaults(net);
	memcpy(net->mac, net->s.hw, sizeof(net->mac));
	if (net->s.active > net->n_pairs)
		net->s.active = (uint16_t)net->n_pairs;
	net->s.announced = false;
	throw_away(net);
	if (net->s.rss.steers && !rss_fits(net, &net->s.rss))
		net->s.rss.steers = false;
	net->control_q = vg_dev_has(dev, VIRTIO_NET_F_MQ) || vg_dev_has(dev, VIRTIO_NET_F_RSS)
				 ? net->n_pairs * 2
				 : 2;
	net->hdr = vg_dev_has(dev, VIRTIO_NET_F_HASH_REPORT) ? NET_HDR_HASH : NET_HDR;
	ret = net_apply_offloads(net);
	if (ret == 0)
		ret = net->link->ops->active(net->link, net->s.active);
	if (ret < 0)
		return ret;
	net_save(net);
	net_filter_changed(net);
	net_rss_changed(net);
	for (unsigned q = 0; q < net->n_pairs * 2; q++)
		net_coal_changed(net, q);
	carrier(net, net->plugged);
	/* It may have come from elsewhere, or the interface is a new one. */
	if (announces(dev))
		vg_dev_config_changed(dev);
	return 0;
}

static void net_reset(struct vg_dev *dev)
{
	struct net *net = dev->priv;

	if (net->s.valid) {
		carrier(net, false);
		net->link->ops->offloads(net->link, 0);
	}
	memset(&net->s, 0, sizeof(net->s));
	memset(dev->saved, 0, dev->saved_size);
}

static void net_start_queue(struct vg_dev *dev, unsigned q)
{
	struct net_pair *p = net_pair_of(dev->priv, q);

	if (!p)
		return;
	if (q & 1)
		net_tx_start(p);
	else
		net_rx_start(p);
	vg_dev_gather(dev, q, p->coal[q & 1].max_packets, p->coal[q & 1].max_usecs);
}

static void net_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct net *net = dev->priv;
	struct net_pair *p = net_pair_of(net, q);

	if (p && q & 1)
		net_tx_take(p);
	else if (p)
		net_rx_take(p);
	else if (q == net->control_q)
		net_control_take(net);
}

/* 5.1.6.5.9: it begins with what was set of all of its direction. */
static void net_forget_queue(struct vg_dev *dev, unsigned q)
{
	struct net *net = dev->priv;

	if (!net_pair_of(net, q))
		return;
	net->s.coal[q] = net->s.coal_all[q & 1];
	net_coal_changed(net, q);
	memcpy(dev->saved, &net->s, sizeof(net->s));
}

static void net_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct net_pair *p = net_pair_of(dev->priv, q);

	if (p && q & 1)
		net_tx_stop(p);
	else if (p)
		net_rx_stop(p);
	else
		vg_dev_queue_stopped(dev, q);
}

/* ---- while it runs ------------------------------------------------------ */

static int set_antispoof(struct net *net, const char *value, struct vg_err *err)
{
	bool on = strcmp(value, "1") == 0;

	if (!on && strcmp(value, "0") != 0)
		return vg_fail(err, -EINVAL, "antispoof=%s: it is 1 or 0", value);
	atomic_store(&net->antispoof, on);
	return 0;
}

/*
 * Privileges are needed for that: the next worker has them, and makes the interface with what is in the
 * configuration by then. The driver hears of it when it starts anew.
 */
static int set_mtu(struct net *net, const char *value, struct vg_err *err)
{
	uint64_t mtu;

	if (net->lent)
		return vg_fail(err, -EINVAL,
			       "interface %s is used as it is: its MTU is not ours to change",
			       net->link->name);
	if (vg_number(value, 10, NET_MTU_MAX, &mtu) < 0 || (mtu && mtu < NET_MTU_MIN))
		return vg_fail(
			err, -EINVAL,
			"mtu=%s: it is a number of bytes from %d to %d, or 0 for the bridge's",
			value, NET_MTU_MIN, NET_MTU_MAX);
	net->dev->outdated = true;
	return 0;
}

static int net_set(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err)
{
	struct net *net = dev->priv;
	bool up;
	int ret;

	if (strcmp(key, "rate") == 0)
		return net_rate_set(&net->rate, value, err);
	if (strcmp(key, "antispoof") == 0)
		return set_antispoof(net, value, err);
	if (strcmp(key, "ip") == 0)
		return set_addresses(net, value, err);
	if (strcmp(key, "mtu") == 0)
		return set_mtu(net, value, err);
	if (strcmp(key, "link") != 0)
		return vg_fail(err, -ENOENT,
			       "%s cannot be changed while running; link, mtu, rate, antispoof "
			       "and ip can",
			       key);
	ret = parse_link(value, &up, err);
	if (ret < 0 || up == net->plugged)
		return ret;
	net->plugged = up;
	if (dev->started)
		carrier(net, up);
	vg_dev_config_changed(dev);
	return 0;
}

static void net_tick(struct vg_dev *dev)
{
	struct net *net = dev->priv;

	if (net->gone)
		return;
	switch (net->link->ops->look ? net->link->ops->look(net->link) : NET_LINK_GOOD) {
	case NET_LINK_GONE:
		net->gone = true;
		vg_error("interface %s was removed by somebody; the guest's link is down until a "
			 "worker opens the device anew",
			 net->link->name);
		vg_dev_config_changed(dev);
		dev->outdated = true;
		break;
	case NET_LINK_STALE:
		vg_warn("interface %s is on no bridge any more: it is made anew", net->link->name);
		dev->outdated = true;
		break;
	case NET_LINK_LOST:
		if (!net->lost)
			vg_error("the bridge of interface %s was removed; what the guest sends "
				 "goes nowhere until it is back",
				 net->link->name);
		net->lost = true;
		break;
	default:
		net->lost = false;
		break;
	}
}

static void net_describe(struct vg_dev *dev, char *buf, size_t len)
{
	struct net *net = dev->priv;
	const uint8_t *m = net->s.valid ? net->s.filter.mac : net->mac;
	struct {
		const char *name;
		size_t at;
		uint64_t value;
	} rest[] = {
#define C(text, member) { text, offsetof(struct net_counters, member), 0 }
		C("tx-short", tx_short),	 C("tx-long", tx_long),
		C("tx-csum", tx_csum),		 C("tx-gso", tx_gso),
		C("tx-spoofed", tx_spoofed),	 C("tx-refused", tx_refused),
		C("tx-down", tx_down),		 C("rx-filtered", rx_filtered),
		C("rx-small", rx_small),	 C("rx-failed", rx_failed),
		C("rx-unsteered", rx_unsteered),
#undef C
	};
	char text[512];
	int at = snprintf(text, sizeof(text),
			  "%s=%s %02x:%02x:%02x:%02x:%02x:%02x mtu=%u pairs=%u/%u", net->link->name,
			  net->gone	 ? "gone"
			  : net->lost	 ? "lost"
			  : net->plugged ? "up"
					 : "down",
			  m[0], m[1], m[2], m[3], m[4], m[5], atomic_load(&net->mtu),
			  net->s.valid ? net->s.active : 0u, net->n_pairs);
	if (net->s.rss.steers)
		at += snprintf(text + at, sizeof(text) - (size_t)at, " rss=%u",
			       net->s.rss.mask + 1u);

	/* What is zero, as most of it should be, is not said. */
	for (unsigned i = 0; i < COUNT(rest); i++) {
		for (unsigned k = 0; k < net->n_pairs; k++) {
			const uint8_t *n = (const uint8_t *)&net->pair[k].n;

			rest[i].value += __atomic_load_n((const uint64_t *)(n + rest[i].at),
							 __ATOMIC_RELAXED);
		}
		if (rest[i].value && at < (int)sizeof(text) - 48)
			at += snprintf(text + at, sizeof(text) - (size_t)at, " %s=%llu",
				       rest[i].name, (unsigned long long)rest[i].value);
	}
	snprintf(buf, len, "%s", text);
}

/* tap.c, macvtap.c: what the kernel lets whoever has the descriptor do, without any capability. */
static const struct vg_sandbox_call net_calls[] = {
	VG_CALL_IOCTL(TUNSETOFFLOAD),
	VG_CALL_IOCTL(TUNGETIFF),
	VG_CALL_IOCTL(TUNSETQUEUE),
	VG_CALL_IOCTL(TUNSETCARRIER),
	VG_CALLS_END,
};
static const struct vg_sandbox_needs net_needs = { .calls = net_calls,
						   .loop = VG_LOOP_READ | VG_LOOP_WRITE };

const struct vg_device_ops vg_net = {
	.name = "net",
	.help = "a network card, whose other end is a TAP or macvtap interface of this domain",
	.virtio_id = NET_VIRTIO_ID,
	.params = net_params,
	.needs = &net_needs,
	.check = net_check_params,
	.complete = net_complete,
	.afterwards = net_afterwards,
	.open = net_open,
	.close = net_close,
	.config_read = net_config_read,
	.features_ok = net_features_ok,
	.start = net_start,
	.start_queue = net_start_queue,
	.queue_ready = net_queue_ready,
	.stop_queue = net_stop_queue,
	.forget_queue = net_forget_queue,
	.queue_group = net_queue_group,
	.reset = net_reset,
	.set = net_set,
	.describe = net_describe,
	.tick = net_tick,
	.looks_at_links = true,
	.grants = net_grants,
	.capture = net_capture,
};
