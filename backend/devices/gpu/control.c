// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * control.c - the control queue and the cursor queue, VIRTIO 1.3 section 5.7.6
 *
 * A command is copied once, carried out at once, and answered. What it is wrong about is told in the
 * answer, and changes nothing; one that has no room for an answer is a fault.
 *
 * Fences. A command with FLAG_FENCE is answered when it is done, and Linux' driver takes an answer
 * with a fence for those of all older ones: so such answers are given in the order of the commands.
 * The one that takes time is RESOURCE_FLUSH: it is done when the display has read the frame. That
 * is what paces a guest which would otherwise draw thousands of frames that nobody sees. Behind it,
 * commands are carried out, and those without a fence answered; their fences wait in a list. A
 * display that does not read is waited for no longer than VG_DISPLAY_PATIENCE_MS.
 *
 * What a renderer must do (VIRTIO 1.3 section 5.7.6.8, "3d") is told to it and answered when it is
 * done; fences wait in the same list, in the same order.
 *
 * What monitors there are a front-end knows that shows the picture (screen.c): commands that ask for that
 * wait in the list, too.
 *
 * A worker that dies: what it had taken and not answered its successor is given again. All commands
 * but these may be carried out twice: what creates something replaces what is there (see
 * commands.c).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

enum { TURN = 64 }; /* commands in one turn of the loop */

bool gpu_get(struct gpu *gpu, struct gpu_cmd *cmd, size_t off, void *to, size_t len)
{
	size_t have = off < cmd->got ? cmd->got - off : 0;

	if (have > len)
		have = len;
	memcpy(to, (const uint8_t *)&cmd->req + off, have);
	vg_batch_init(&gpu->batch, gpu->dev->mem);
	return vg_chain_read(&gpu->batch, cmd->chain, off + have, (uint8_t *)to + have,
			     len - have) == 0 &&
	       vg_batch_run(&gpu->batch) == 0;
}

/* Our copy of @chain. Return: whether its header is there. */
static bool begin(struct gpu *gpu, struct gpu_cmd *cmd, struct vg_chain *chain)
{
	size_t len = chain->out_len < sizeof(cmd->req) ? chain->out_len : sizeof(cmd->req);

	memset(cmd, 0, sizeof(*cmd));
	cmd->chain = chain;
	cmd->answer_len = sizeof(cmd->answer.hdr);
	if (len < sizeof(cmd->req.hdr) || !gpu_get(gpu, cmd, 0, &cmd->req, len))
		return false;
	cmd->got = len;
	return true;
}

static bool is_fenced(const struct gpu_cmd *cmd)
{
	return le32toh(cmd->req.hdr.flags) & VIRTIO_GPU_FLAG_FENCE;
}

/* 5.7.6.7: the answer's header. */
static void put_header(struct gpu_cmd *cmd)
{
	const struct virtio_gpu_ctrl_hdr *req = &cmd->req.hdr;
	struct virtio_gpu_ctrl_hdr *hdr = &cmd->answer.hdr;

	hdr->type = htole32(cmd->type);
	if (!is_fenced(cmd))
		return;
	hdr->flags = htole32(le32toh(req->flags) &
			     (VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX));
	hdr->fence_id = req->fence_id;
	hdr->ctx_id = req->ctx_id;
	if (le32toh(req->flags) & VIRTIO_GPU_FLAG_INFO_RING_IDX)
		hdr->ring_idx = req->ring_idx;
}

/* The answer lies in the chain; it is not pushed yet. Return: bytes written. */
static uint32_t answer(struct gpu *gpu, struct gpu_cmd *cmd, unsigned q)
{
	struct vg_chain *c = cmd->chain;

	if (cmd->answer_len > c->in_len) {
		cmd->type = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
		cmd->answer_len = sizeof(cmd->answer.hdr);
	}
	put_header(cmd);
	vg_dev_stats(gpu->dev, q)->requests++;
	if (cmd->type >= VIRTIO_GPU_RESP_ERR_UNSPEC)
		vg_dev_stats(gpu->dev, q)->errors++;
	c->error = 0;
	vg_batch_init(&gpu->batch, gpu->dev->mem);
	vg_chain_write(&gpu->batch, c, 0, &cmd->answer, cmd->answer_len);
	vg_batch_run(&gpu->batch);
	if (!c->error)
		return cmd->answer_len;
	vg_dev_fault(gpu->dev, "the answer to a command cannot be written: %s",
		     strerror(-c->error));
	return 0;
}

static void save(struct gpu *gpu)
{
	if (gpu->dirty)
		gpu_save(gpu);
	gpu->dirty = false;
}

/* ---- fences ------------------------------------------------------------- */

static void run_patience(struct gpu *gpu)
{
	int64_t now = vg_loop_now(gpu->dev->loop);

	vg_loop_timer_stop(&gpu->patience);
	if (gpu->pending && gpu->pending->heads)
		vg_loop_timer(gpu->dev->loop, &gpu->patience,
			      gpu->pending->until_ns > now ? gpu->pending->until_ns - now : 1);
}

/* Push what is done, up to the first that is not. */
static void release(struct gpu *gpu)
{
	while (gpu->pending && !gpu->pending->heads && !gpu->pending->job &&
	       !gpu->pending->ask.asked) {
		struct gpu_pending *p = gpu->pending;

		gpu->pending = p->next;
		if (!gpu->pending)
			gpu->pending_tail = &gpu->pending;
		vg_vq_push(vg_dev_vq(gpu->dev, GPU_CONTROLQ), p->chain, p->written);
		free(p);
	}
	run_patience(gpu);
}

/* It waits from now on for what was drawn to be read. */
static void wait_for_display(struct gpu *gpu, struct gpu_pending *p, uint32_t heads)
{
	p->heads = heads;
	p->serial = gpu->link.serial;
	p->until_ns = vg_loop_now(gpu->dev->loop) + VG_DISPLAY_PATIENCE_MS * (NS_PER_S / 1000);
}

/* Return: whether @cmd waits for others, for a display, the renderer or a screen; else it is to be pushed
 * now. */
static bool must_wait(struct gpu *gpu, const struct gpu_cmd *cmd, uint32_t written)
{
	struct gpu_pending *p;

	if (!cmd->job && !cmd->ask && (!is_fenced(cmd) || (!gpu->pending && !cmd->heads)))
		return false;
	p = malloc(sizeof(*p));
	if (!p)
		return false; /* a fence that comes early is a frame that tears */
	*p = (struct gpu_pending){
		.gpu = gpu,
		.chain = cmd->chain,
		.written = written,
		.job = cmd->job,
		.req = cmd->req.hdr,
		.until_ns = INT64_MAX,
	};
	if (cmd->job)
		cmd->job->pending = p;
	else if (cmd->ask)
		gpu_screen_ask(gpu, cmd, p);
	else
		wait_for_display(gpu, p, cmd->heads);
	*gpu->pending_tail = p;
	gpu->pending_tail = &p->next;
	if (gpu->pending == p)
		run_patience(gpu);
	return true;
}

void gpu_go_on(struct gpu *gpu)
{
	release(gpu);
	vg_dev_flush(gpu->dev, GPU_CONTROLQ);
	/* What could not be taken while so many were out. */
	vg_dev_kick_later(gpu->dev, GPU_CONTROLQ);
}

void gpu_read(struct gpu *gpu, uint32_t head, uint32_t serial)
{
	for (struct gpu_pending *p = gpu->pending; p; p = p->next) {
		if ((int32_t)(serial - p->serial) >= 0)
			p->heads &= ~(1u << head);
	}
	if (gpu->pending && !gpu->pending->heads)
		gpu_go_on(gpu);
}

void gpu_patience_over(struct vg_timer *t)
{
	struct gpu *gpu = container_of(t, struct gpu, patience);
	int64_t now = vg_loop_now(gpu->dev->loop);

	for (struct gpu_pending *p = gpu->pending; p && p->until_ns <= now; p = p->next) {
		gpu->n.late += p->heads != 0;
		p->heads = 0;
	}
	gpu_go_on(gpu);
}

void gpu_release_all(struct gpu *gpu)
{
	for (struct gpu_pending *p = gpu->pending; p; p = p->next)
		p->heads = 0;
	release(gpu);
	vg_dev_flush(gpu->dev, GPU_CONTROLQ);
}

void gpu_answered(struct gpu *gpu, struct gpu_pending *p, uint32_t type, union gpu_answer *a,
		  uint32_t len, uint32_t heads)
{
	struct gpu_cmd cmd = { .chain = p->chain, .type = type, .answer_len = sizeof(p->req) };

	cmd.req.hdr = p->req;
	if (a) {
		memcpy(&cmd.answer, a, len);
		cmd.answer_len = len;
	}
	p->job = NULL;
	p->written = answer(gpu, &cmd, GPU_CONTROLQ);
	if (heads && is_fenced(&cmd))
		wait_for_display(gpu, p, heads);
}

void gpu_abandon_all(struct gpu *gpu)
{
	for (struct gpu_pending *p = gpu->pending; p; p = p->next) {
		if (p->ask.asked)
			gpu_screen_give_up(gpu, p);
		if (!p->job)
			continue;
		p->job->pending = NULL;
		gpu_answered(gpu, p, VIRTIO_GPU_RESP_ERR_UNSPEC, NULL, 0, 0);
	}
	gpu_release_all(gpu);
}

/* ---- the queues --------------------------------------------------------- */

/* Return: false: the queue takes no more. */
static bool control_one(struct gpu *gpu, struct vg_chain *chain)
{
	struct gpu_cmd cmd;
	uint32_t written;

	if (chain->in_len < sizeof(cmd.answer.hdr)) {
		vg_vq_unpop(vg_dev_vq(gpu->dev, GPU_CONTROLQ), chain);
		vg_dev_fault(gpu->dev, "a command without room for its answer");
		return false;
	}
	if (begin(gpu, &cmd, chain))
		gpu_command(gpu, &cmd);
	else
		cmd.type = VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (cmd.later) {
		vg_vq_unpop(vg_dev_vq(gpu->dev, GPU_CONTROLQ), chain);
		return false;
	}
	written = cmd.job || cmd.ask ? 0 : answer(gpu, &cmd, GPU_CONTROLQ);
	if (must_wait(gpu, &cmd, written))
		return true;
	if (cmd.job)
		cmd.type = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (cmd.job || cmd.ask)
		written = answer(gpu, &cmd, GPU_CONTROLQ);
	vg_vq_push(vg_dev_vq(gpu->dev, GPU_CONTROLQ), chain, written);
	return true;
}

/* Linux' driver gives no room for an answer here, and needs none. */
static bool cursor_one(struct gpu *gpu, struct vg_chain *chain)
{
	struct gpu_cmd cmd;
	uint32_t written = 0;

	if (begin(gpu, &cmd, chain))
		gpu_cursor_command(gpu, &cmd);
	else
		cmd.type = VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (cmd.later) {
		vg_vq_unpop(vg_dev_vq(gpu->dev, GPU_CURSORQ), chain);
		return false;
	}
	if (chain->in_len >= sizeof(cmd.answer.hdr))
		written = answer(gpu, &cmd, GPU_CURSORQ);
	else
		vg_dev_stats(gpu->dev, GPU_CURSORQ)->requests++;
	vg_vq_push(vg_dev_vq(gpu->dev, GPU_CURSORQ), chain, written);
	return true;
}

static void take(struct gpu *gpu, unsigned q, bool (*one)(struct gpu *gpu, struct vg_chain *chain))
{
	struct vg_chain *c;
	unsigned taken = 0;
	bool more = true;

	do {
		while (more && vg_dev_pop(gpu->dev, q, &c, 1)) {
			more = one(gpu, c);
			if (++taken == TURN) {
				vg_dev_kick_later(gpu->dev, q);
				more = false;
			}
		}
		save(gpu);
		vg_dev_flush(gpu->dev, q);
	} while (more && vg_dev_rearm(gpu->dev, q));
}

void gpu_control_take(struct gpu *gpu)
{
	take(gpu, GPU_CONTROLQ, control_one);
}

void gpu_cursor_take(struct gpu *gpu)
{
	take(gpu, GPU_CURSORQ, cursor_one);
}
