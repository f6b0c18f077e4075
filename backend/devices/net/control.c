// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * control.c - the control queue, VIRTIO 1.3 section 5.1.6.5
 *
 * Linux' driver waits for each answer in a loop, often with a lock that its whole
 * network stack needs: a command is carried out and answered at once, in the main
 * context, whatever the data queues do. What it changed is saved before it is
 * answered; pairs in other contexts hear of it a moment later.
 *
 * A command that is unknown, not negotiated, of a wrong size or out of range is
 * answered ERR and changes nothing. One without room for the answer is a fault.
 */
#include <endian.h>
#include <string.h>

#include "backend/devices/net/int.h"

enum { TURN = 64 }; /* commands in one turn of the loop */

/* Copy from a command, past its header. Return: whether it was there. */
static bool get(struct net *net, struct vg_chain *c, size_t off, void *to, size_t len)
{
	bool ok;

	vg_batch_init(&net->batch, net->dev->mem);
	ok = vg_chain_read(&net->batch, c, sizeof(struct virtio_net_ctrl_hdr) + off, to, len) == 0;
	vg_batch_run(&net->batch);
	return ok && !c->error;
}

/* Bytes behind the header. */
static size_t size_of(const struct vg_chain *c)
{
	return c->out_len - sizeof(struct virtio_net_ctrl_hdr);
}

static bool has(const struct net *net, unsigned bit)
{
	return vg_dev_has(net->dev, bit);
}

static bool rx_mode(struct net *net, struct vg_chain *c, uint8_t cmd)
{
	struct net_filter *f = &net->s.filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	uint8_t on;

	if (cmd >= COUNT(modes) || size_of(c) != 1 ||
	    !has(net, cmd > VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX_EXTRA
							: VIRTIO_NET_F_CTRL_RX) ||
	    !get(net, c, 0, &on, 1))
		return false;
	*modes[cmd] = on;
	net_filter_changed(net);
	return true;
}

/* A table of addresses at *@off of the command; *@off becomes where it ends. */
static bool mac_table(struct net *net, struct vg_chain *c, size_t *off, uint8_t to[][6],
		      uint16_t *n, bool *overflow)
{
	uint32_t entries;

	if (!get(net, c, *off, &entries, sizeof(entries)))
		return false;
	*off += sizeof(entries);
	entries = le32toh(entries);
	if (entries > (size_of(c) - *off) / 6)
		return false;
	*overflow = entries > NET_MACS;
	*n = (uint16_t)(*overflow ? 0 : entries);
	if (*n && !get(net, c, *off, to, *n * (size_t)6))
		return false;
	*off += entries * (size_t)6;
	return true;
}

static bool mac_tables(struct net *net, struct vg_chain *c)
{
	struct net_filter f = net->s.filter;
	size_t off = 0;

	if (!has(net, VIRTIO_NET_F_CTRL_RX) ||
	    !mac_table(net, c, &off, f.uni, &f.n_uni, &f.uni_overflow) ||
	    !mac_table(net, c, &off, f.multi, &f.n_multi, &f.multi_overflow) || off != size_of(c))
		return false;
	net->s.filter = f;
	net_filter_changed(net);
	return true;
}

static bool mac_address(struct net *net, struct vg_chain *c)
{
	static const uint8_t none[6];
	uint8_t mac[6];

	if (!has(net, VIRTIO_NET_F_CTRL_MAC_ADDR) || size_of(c) != sizeof(mac) ||
	    !get(net, c, 0, mac, sizeof(mac)) || (mac[0] & 1) || memcmp(mac, none, 6) == 0)
		return false;
	/* Better refused than deaf. */
	if (net->link->fixed_mac && memcmp(mac, net->mac, sizeof(mac)) != 0)
		return false;
	memcpy(net->s.filter.mac, mac, sizeof(mac));
	net_filter_changed(net);
	return true;
}

static bool vlan(struct net *net, struct vg_chain *c, uint8_t cmd)
{
	uint16_t id;

	if (!has(net, VIRTIO_NET_F_CTRL_VLAN) || cmd > VIRTIO_NET_CTRL_VLAN_DEL ||
	    size_of(c) != sizeof(id) || !get(net, c, 0, &id, sizeof(id)) || le16toh(id) > 4095)
		return false;
	net_filter_vlan(&net->s.filter, le16toh(id), cmd == VIRTIO_NET_CTRL_VLAN_ADD);
	net_filter_changed(net);
	return true;
}

static bool announce(struct net *net, struct vg_chain *c, uint8_t cmd)
{
	if (!has(net, VIRTIO_NET_F_GUEST_ANNOUNCE) || cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK ||
	    size_of(c) != 0)
		return false;
	/* The driver asked for it, so it need not be told; but its configuration is another one. */
	net->dev->generation += !net->s.announced;
	net->s.announced = true;
	return true;
}

static bool pairs(struct net *net, struct vg_chain *c)
{
	uint16_t n;

	if (!has(net, VIRTIO_NET_F_MQ) || size_of(c) != sizeof(n) ||
	    !get(net, c, 0, &n, sizeof(n)) || le16toh(n) < 1 || le16toh(n) > net->n_pairs ||
	    net->link->ops->active(net->link, le16toh(n)) < 0)
		return false;
	net->s.active = le16toh(n);
	if (net->s.rss.steers) { /* 5.1.6.5.5: the last command says how */
		net->s.rss.steers = false;
		net_rss_changed(net);
	}
	return true;
}

/*
 * The end of both commands: length of the key, and the key, at @off; the types of packets are at the
 * beginning. What is reserved is not looked at: Linux' driver has other numbers there.
 */
static bool hash(struct net *net, struct vg_chain *c, size_t off, struct net_rss *rss)
{
	uint32_t types;

	if (!get(net, c, 0, &types, sizeof(types)) || !get(net, c, off, &rss->key_len, 1))
		return false;
	rss->types = le32toh(types);
	memset(rss->key, 0, sizeof(rss->key));
	return !(rss->types & ~NET_HASH_TYPES) && rss->key_len <= NET_HASH_KEY &&
	       (rss->key_len || !rss->types) && size_of(c) == off + 1 + rss->key_len &&
	       (!rss->key_len || get(net, c, off + 1, rss->key, rss->key_len));
}

/* 5.1.6.5.5.1 */
static bool hash_config(struct net *net, struct vg_chain *c)
{
	struct net_rss rss = net->s.rss;

	if (!has(net, VIRTIO_NET_F_HASH_REPORT) ||
	    !hash(net, c, offsetof(struct virtio_net_hash_config, hash_key_length), &rss))
		return false;
	net->s.rss = rss;
	net_rss_changed(net);
	return true;
}

/* A pair whose receive queue the driver has enabled. *@pairs: so many have to be there. */
static bool rss_pair(const struct net *net, uint16_t le, uint16_t *out, unsigned *pairs)
{
	*out = le16toh(le);
	if (*out >= net->n_pairs || !net->dev->queue[*out * 2u].enabled)
		return false;
	if (*pairs <= *out)
		*pairs = *out + 1u;
	return true;
}

/* 5.1.6.5.6.1: types, mask, queue of what is not hashed, table, number of transmit queues, key. */
static bool rss_config(struct net *net, struct vg_chain *c)
{
	struct net_rss rss = { .steers = true };
	/* What is between types and key; le[0] is read twice, and counts as it was at first. */
	uint16_t le[2 + NET_RSS_TABLE + 1];
	unsigned pairs = 1, n, max_tx;

	if (!has(net, VIRTIO_NET_F_RSS) || !get(net, c, 4, le, sizeof(le[0])))
		return false;
	rss.mask = le16toh(le[0]);
	n = rss.mask + 1u;
	if (n > NET_RSS_TABLE || (n & rss.mask) || !get(net, c, 4, le, (n + 3) * sizeof(le[0])) ||
	    !hash(net, c, 4 + (n + 3) * sizeof(le[0]), &rss) ||
	    !rss_pair(net, le[1], &rss.unclassified, &pairs))
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (!rss_pair(net, le[2 + i], &rss.table[i], &pairs))
			return false;
	}
	max_tx = le16toh(le[2 + n]);
	if (max_tx < 1 || max_tx > net->n_pairs)
		return false;
	if (pairs < max_tx)
		pairs = max_tx;
	if (net->link->ops->active(net->link, pairs) < 0)
		return false;
	net->s.active = (uint16_t)pairs;
	net->s.rss = rss;
	net_rss_changed(net);
	return true;
}

static bool multiqueue(struct net *net, struct vg_chain *c, uint8_t cmd)
{
	switch (cmd) {
	case VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return pairs(net, c);
	case VIRTIO_NET_CTRL_MQ_RSS_CONFIG:
		return rss_config(net, c);
	case VIRTIO_NET_CTRL_MQ_HASH_CONFIG:
		return hash_config(net, c);
	default:
		return false;
	}
}

static bool offloads(struct net *net, struct vg_chain *c, uint8_t cmd)
{
	uint64_t wanted, before = net->s.offloads;

	if (!has(net, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || size_of(c) != sizeof(wanted) ||
	    !get(net, c, 0, &wanted, sizeof(wanted)) ||
	    (le64toh(wanted) & ~(net->dev->features & NET_GUEST_OFFLOADS)))
		return false;
	net->s.offloads = le64toh(wanted);
	if (net_apply_offloads(net) == 0)
		return true;
	net->s.offloads = before;
	return false;
}

static struct net_coal host_coal(const struct net_coal *le)
{
	return (struct net_coal){ le32toh(le->max_packets), le32toh(le->max_usecs) };
}

/* Of all queues of a direction, and of those that start later. */
static bool coal_all(struct net *net, struct vg_chain *c, unsigned tx)
{
	struct net_coal coal;

	if (!has(net, VIRTIO_NET_F_NOTF_COAL) || size_of(c) != sizeof(coal) ||
	    !get(net, c, 0, &coal, sizeof(coal)))
		return false;
	net->s.coal_all[tx] = host_coal(&coal);
	for (unsigned q = tx; q < net->n_pairs * 2; q += 2) {
		net->s.coal[q] = net->s.coal_all[tx];
		net_coal_changed(net, q);
	}
	return true;
}

/* Of one queue; 0: it is none that carries frames, or does not run. */
static bool coal_queue(struct net *net, const struct net_coal_vq *v, unsigned *q)
{
	*q = le16toh(v->vq_index);
	return net_pair_of(net, *q) && net->dev->queue[*q].enabled;
}

static bool coal_set(struct net *net, struct vg_chain *c)
{
	struct net_coal_vq v;
	unsigned q;

	if (size_of(c) != sizeof(v) || !get(net, c, 0, &v, sizeof(v)) || !coal_queue(net, &v, &q))
		return false;
	net->s.coal[q] = host_coal(&v.coal);
	net_coal_changed(net, q);
	return true;
}

/* What is asked for stands behind the answer. *@more: bytes of it. */
static bool coal_get(struct net *net, struct vg_chain *c, uint32_t *more)
{
	struct net_coal_vq v;
	unsigned q;

	if (size_of(c) != offsetof(struct net_coal_vq, coal) || c->in_len < sizeof(v.coal) + 1 ||
	    !get(net, c, 0, &v, offsetof(struct net_coal_vq, coal)) || !coal_queue(net, &v, &q))
		return false;
	v.coal = (struct net_coal){ htole32(net->s.coal[q].max_packets),
				    htole32(net->s.coal[q].max_usecs) };
	vg_batch_init(&net->batch, net->dev->mem);
	vg_chain_write(&net->batch, c, 1, &v.coal, sizeof(v.coal));
	vg_batch_run(&net->batch);
	*more = sizeof(v.coal);
	return !c->error;
}

static bool coalescing(struct net *net, struct vg_chain *c, uint8_t cmd, uint32_t *more)
{
	switch (cmd) {
	case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
		return coal_all(net, c, 1);
	case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
		return coal_all(net, c, 0);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
		return has(net, VIRTIO_NET_F_VQ_NOTF_COAL) && coal_set(net, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
		return has(net, VIRTIO_NET_F_VQ_NOTF_COAL) && coal_get(net, c, more);
	default:
		return false;
	}
}

/* *@more: bytes that were written for the driver behind the place of the answer. */
static bool run(struct net *net, struct vg_chain *c, uint32_t *more)
{
	struct virtio_net_ctrl_hdr h;

	if (c->out_len < sizeof(h))
		return false;
	vg_batch_init(&net->batch, net->dev->mem);
	vg_chain_read(&net->batch, c, 0, &h, sizeof(h));
	if (vg_batch_run(&net->batch) < 0)
		return false;
	switch (h.class) {
	case VIRTIO_NET_CTRL_RX:
		return rx_mode(net, c, h.cmd);
	case VIRTIO_NET_CTRL_MAC:
		return h.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET  ? mac_tables(net, c)
		       : h.cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET ? mac_address(net, c)
							       : false;
	case VIRTIO_NET_CTRL_VLAN:
		return vlan(net, c, h.cmd);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return announce(net, c, h.cmd);
	case VIRTIO_NET_CTRL_MQ:
		return multiqueue(net, c, h.cmd);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return offloads(net, c, h.cmd);
	case VIRTIO_NET_CTRL_NOTF_COAL:
		return coalescing(net, c, h.cmd, more);
	default:
		return false;
	}
}

/* Return: whether the queue may go on. */
static bool answer(struct net *net, struct vg_chain *c)
{
	struct vg_dev *dev = net->dev;
	unsigned q = net->control_q;
	uint32_t more = 0;
	uint8_t ack;

	if (c->in_len < 1) {
		vg_vq_unpop(vg_dev_vq(dev, q), c);
		vg_dev_fault(dev, "a control command without room for its answer");
		return false;
	}
	ack = run(net, c, &more) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	if (ack == VIRTIO_NET_OK)
		net_save(net);
	else
		vg_dev_stats(dev, q)->errors++;
	c->error = 0;
	vg_batch_init(&net->batch, dev->mem);
	vg_chain_write(&net->batch, c, 0, &ack, 1);
	vg_batch_run(&net->batch);
	if (c->error)
		vg_dev_fault(dev, "the answer to a control command cannot be written: %s",
			     strerror(-c->error));
	vg_dev_stats(dev, q)->requests++;
	vg_vq_push(vg_dev_vq(dev, q), c, c->error ? 0 : 1 + more);
	vg_dev_flush(dev, q);
	return true;
}

void net_control_take(struct net *net)
{
	struct vg_dev *dev = net->dev;
	struct vg_chain *c;
	unsigned taken = 0;

	do {
		while (vg_dev_pop(dev, net->control_q, &c, 1)) {
			if (!answer(net, c))
				return;
			if (++taken == TURN) {
				vg_dev_kick_later(dev, net->control_q);
				return;
			}
		}
	} while (vg_dev_rearm(dev, net->control_q));
}
