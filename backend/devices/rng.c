// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rng.c - the smallest device that works: copy it to begin a new one
 *
 * The entropy device, VIRTIO 1.3 section 5.4: one queue,
 * no feature bits, no configuration. The driver makes device-writable buffers
 * available; the device fills them with random bytes.
 *
 *   vgrant = [ 'rng' ]
 *
 * To make a new device:
 *
 *  1. copy this file, rename what says rng, put the virtio id and the parameters in;
 *  2. name it in devices.h and add its line to table.c;
 *  3. copy tests/unit/devices/test_rng.c, which drives it as a guest would.
 *
 * What to keep in mind: nothing that the guest wrote is looked at but through
 * vg_chain_read() into memory of your own, once; all that a guest can make you
 * hold is bounded; a guest that breaks the rules gets vg_dev_fault(), never an
 * abort; nothing here may block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backend/devices/devices.h"

enum {
	RNG_ID = 4,	   /* VIRTIO 1.3 section 5.4.1 */
	RNG_REQUEST_Q = 0, /* 5.4.2 */
	BATCH = 16,	   /* chains taken in one go */
	/* Bytes given for one buffer: a driver asks for a page at most, and a short answer is
	 * allowed (5.4.6.1). Bounds what one chain can cost. */
	MAX_BYTES = 4096,
	ROUNDS = 16, /* batches of one turn: a guest that never stops asking must not stop others */
};

/* Checked before open() is called; also what `vgrant help rng` prints. */
static const struct vg_param_def rng_params[] = {
	{ "max-bytes", VG_PARAM_SIZE, false, 1, MAX_BYTES, "4096",
	  "most random bytes given for one request" },
	{ 0 },
};

struct rng {
	uint32_t max_bytes;
	/* vg_chain_write() does not copy at once: this must live until vg_batch_run(). */
	uint8_t bytes[BATCH][MAX_BYTES];
};

static int rng_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return vg_fail(err, -ENOMEM, "out of memory");
	rng->max_bytes = (uint32_t)vg_params_uint(params, rng_params, "max-bytes");
	dev->priv = rng;
	dev->n_queues = 1;
	return 0;
}

static void rng_close(struct vg_dev *dev)
{
	free(dev->priv);
	dev->priv = NULL;
}

/* Fill one chain; the copy to the guest happens with the batch. Return: bytes. */
static uint32_t rng_fill(struct rng *rng, struct vg_batch *batch, struct vg_chain *c,
			 uint8_t *bytes)
{
	uint32_t len = c->in_len < rng->max_bytes ? c->in_len : rng->max_bytes;

	if (getrandom(bytes, len, 0) != (ssize_t)len)
		return 0;
	vg_chain_write(batch, c, 0, bytes, len);
	return len;
}

static void rng_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct rng *rng = dev->priv;
	struct vg_chain *chains[BATCH];
	uint32_t len[BATCH];
	struct vg_batch batch;
	unsigned rounds = 0;
	unsigned n;

	vg_batch_init(&batch, vg_dev_mem(dev, q));
	do {
		while ((n = vg_dev_pop(dev, q, chains, BATCH)) > 0) {
			for (unsigned i = 0; i < n; i++)
				len[i] = rng_fill(rng, &batch, chains[i], rng->bytes[i]);
			vg_batch_run(&batch); /* all copies at once: one hypercall */
			for (unsigned i = 0; i < n; i++) {
				if (chains[i]->error) {
					vg_dev_fault(dev, "a buffer cannot be written: %s",
						     strerror(-chains[i]->error));
					len[i] = 0;
				}
				vg_dev_stats(dev, q)->requests++;
				vg_dev_stats(dev, q)->bytes_read += len[i];
				vg_vq_push(vg_dev_vq(dev, q), chains[i], len[i]);
			}
			vg_dev_flush(dev, q); /* visible to the driver only now */
			if (++rounds == ROUNDS) {
				vg_dev_kick_later(dev, q);
				return;
			}
		}
	} while (vg_dev_rearm(dev, q));
}

/* Nothing is ever in flight between two calls: it has stopped at once. */
static void rng_stop_queue(struct vg_dev *dev, unsigned q)
{
	vg_dev_queue_stopped(dev, q);
}

static void rng_reset(struct vg_dev *dev)
{
	(void)dev;
}

static const struct vg_sandbox_call rng_calls[] = { VG_CALL(getrandom), VG_CALLS_END };
static const struct vg_sandbox_needs rng_needs = { .calls = rng_calls };

const struct vg_device_ops vg_rng = {
	.name = "rng",
	.help = "random numbers for the guest, from the host's kernel",
	.virtio_id = RNG_ID,
	.params = rng_params,
	.needs = &rng_needs,
	.open = rng_open,
	.close = rng_close,
	.queue_ready = rng_queue_ready,
	.stop_queue = rng_stop_queue,
	.reset = rng_reset,
};
