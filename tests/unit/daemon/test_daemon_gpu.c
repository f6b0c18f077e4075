// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_gpu.c - a screen through the whole of vgrantd: worker, display, viewer, keyboard, who
 * come and go
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/virtio_gpu.h>
#include <png.h>

#include "tests/driver/rfb.h"
#include "tests/rigs/daemon_rig.h"

enum { W = 160, H = 120, BYTES = W * H * 4, PATIENCE = 1000 /* times 10 ms */ };

static struct drv_buf frame, cmds;

/* A command, and its answer's type. */
static uint32_t ask(struct rig_guest *g, const void *cmd, uint32_t len)
{
	const struct drv_seg out = { cmds.addr, len }, in = { cmds.addr + 2048, 1024 };
	struct drv_queue *q = &g->dev->queues[0];
	struct virtio_gpu_ctrl_hdr h;
	struct drv_used used;

	memcpy(cmds.virt, cmd, len);
	assert_true(drv_vring_add(&q->vr, &out, 1, &in, 1, g, 0) >= 0);
	drv_queue_kick(q);
	assert_int_equal(drv_queue_wait(q, &used), 0);
	memcpy(&h, (uint8_t *)cmds.virt + 2048, sizeof(h));
	return h.type;
}

#define HDR(name) .hdr = { .type = VIRTIO_GPU_CMD_##name }

static void draw(struct rig_guest *g, unsigned seed)
{
	const struct virtio_gpu_resource_flush flush = {
		HDR(RESOURCE_FLUSH), { 0, 0, W, H }, 1, 0
	};
	uint32_t *p = frame.virt;

	for (unsigned i = 0; i < W * H; i++)
		p[i] = (i * 7 + seed * 1000) & 0xffffff;
	assert_int_equal(ask(g, &flush, sizeof(flush)), VIRTIO_GPU_RESP_OK_NODATA);
}

/* A driver with a picture on the head, connected. */
static void start_driver(struct rig_guest *g)
{
	struct {
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_mem_entry entry;
	} c = {
		.blob = { HDR(RESOURCE_CREATE_BLOB), 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 0, BYTES },
	};
	struct virtio_gpu_set_scanout_blob s = {
		HDR(SET_SCANOUT_BLOB), .r = { 0, 0, W, H },
		.resource_id = 1,      .width = W,
		.height = H,	       .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.strides = { W * 4 }
	};

	assert_int_equal(drv_dev_start(g->dev, ~(1ull << VIRTIO_F_RING_PACKED), 2, 64), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, BYTES, 4096, false, &frame), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 4096, true, &cmds), 0);
	c.entry = (struct virtio_gpu_mem_entry){ frame.addr, BYTES, 0 };
	assert_int_equal(ask(g, &c, sizeof(c.blob) + sizeof(c.entry)), VIRTIO_GPU_RESP_OK_NODATA);
	assert_int_equal(ask(g, &s, sizeof(s)), VIRTIO_GPU_RESP_OK_NODATA);
	draw(g, 1);
}

static void bring_up(struct rig_guest *g)
{
	assert_int_equal(drv_dev_connect(g->dev), 0);
	start_driver(g);
}

static uint32_t port_of(struct rig *r, struct rig_guest *g)
{
	char path[64];
	long port = 0;

	snprintf(path, sizeof(path), "/local/domain/%u/console/vnc-port", g->id);
	for (int i = 0; i < PATIENCE && !port; i++) {
		port = fx_xs_read_int(fx_xs(r->w), path, 0);
		if (!port)
			usleep(10000);
	}
	assert_true(port >= 5900);
	return (uint32_t)port;
}

/* Return: 0: a viewer is there; negative errno. */
static int look(struct rfb *v, uint32_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -errno;
	}
	return rfb_open(v, fd, NULL);
}

static bool is_seen(const struct rfb *v, unsigned seed)
{
	if (v->width != W || v->height != H)
		return false;
	for (unsigned i = 0; i < W * H; i++) {
		if ((v->pixels[i] & 0xffffff) != ((i * 7 + seed * 1000) & 0xffffff))
			return false;
	}
	return true;
}

static void await_seen(struct rfb *v, unsigned seed)
{
	bool changed = false;

	for (int i = 0; i < PATIENCE / 10 && !is_seen(v, seed); i++) {
		int ret = rfb_ask(v, changed);

		if (ret == 0)
			ret = rfb_take(v, 100);
		assert_true(ret == 0 || ret == -ETIMEDOUT);
		changed = true;
	}
	assert_true(is_seen(v, seed));
}

/* ---- tests --------------------------------------------------------------------- */

static struct rig_guest *guest_with_screen(struct rig *r, const char *spec)
{
	struct rig_guest *g = rig_domain(r, 0);
	char path[64];

	/* As xl makes it for each guest. */
	snprintf(path, sizeof(path), "/local/domain/%u/console", g->id);
	assert_int_equal(fx_xs_write(fx_xs(r->w), path, "%s", ""), 0);
	rig_nodes(r, 0, spec);
	bring_up(g);
	return g;
}

static void let_go(struct rig_guest *g)
{
	drv_free(&g->dev->gmem.mem, &frame);
	drv_free(&g->dev->gmem.mem, &cmds);
}

static void a_screen(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu");
	struct rfb v;

	assert_int_equal(look(&v, port_of(r, g)), 0);
	await_seen(&v, 1);
	for (unsigned i = 2; i < 6; i++) {
		draw(g, i);
		await_seen(&v, i);
	}
	rfb_close(&v);
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* The worker is killed: the viewer stays, the guest's pages are mapped again by another. */
static void worker_dies(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu");
	struct rfb v;

	assert_int_equal(look(&v, port_of(r, g)), 0);
	await_seen(&v, 1);
	for (unsigned i = 2; i < 5; i++) {
		pid_t worker = rig_process(r, "--worker");

		assert_int_not_equal(worker, 0);
		kill(worker, SIGKILL);
		draw(g, i);
		await_seen(&v, i);
	}
	rfb_close(&v);
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* The display is killed: the guest goes on, and another shows what is there. */
static void display_dies(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu");
	uint32_t port = port_of(r, g);
	pid_t display = rig_process(r, "--display");
	struct rfb v;
	int ret = -1;

	assert_int_not_equal(display, 0);
	kill(display, SIGKILL);
	draw(g, 2);
	draw(g, 3);
	for (int i = 0; i < PATIENCE && ret < 0; i++) {
		ret = look(&v, port);
		if (ret < 0)
			usleep(10000);
	}
	assert_int_equal(ret, 0);
	await_seen(&v, 3);
	draw(g, 4);
	await_seen(&v, 4);
	rfb_close(&v);
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* A display that cannot be: the guest has its GPU all the same. */
static void no_display(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu,vnc=192.0.2.1");

	for (unsigned i = 2; i < 6; i++)
		draw(g, i);
	for (int i = 0; i < PATIENCE && !rig_logged(r, "its display: vnc=192.0.2.1"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "its display: vnc=192.0.2.1"));
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* `vgrant @args`. Return: its exit status, and what it says in @said. */
static int vgrant(struct rig *r, const char *args, char *said, size_t size)
{
	const char *build = getenv("VGRANT_BUILD");
	char command[400];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s/vgrant --socket %s/run/control %s 2>&1",
		 build ? build : "build/asan", r->dir, args);
	f = popen(command, "re");
	assert_non_null(f);
	n = fread(said, 1, size - 1, f);
	said[n] = '\0';
	return WEXITSTATUS(pclose(f));
}

static bool is_saved(const char *file, unsigned seed)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t rgb[W * H * 3];

	if (!png_image_begin_read_from_file(&image, file))
		return false;
	image.format = PNG_FORMAT_RGB;
	if (image.width != W || image.height != H ||
	    !png_image_finish_read(&image, NULL, rgb, 0, NULL)) {
		png_image_free(&image);
		return false;
	}
	for (unsigned i = 0; i < W * H; i++) {
		uint32_t p =
			(uint32_t)rgb[i * 3] << 16 | (uint32_t)rgb[i * 3 + 1] << 8 | rgb[i * 3 + 2];

		if (p != ((i * 7 + seed * 1000) & 0xffffff))
			return false;
	}
	return true;
}

/* Without a viewer, and of a display that nobody may look at. */
static void a_screenshot(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu,heads=2,vnc=off");
	char args[200], file[150], said[300];
	int ret = 1;

	snprintf(file, sizeof(file), "%s/shot.png", r->dir);
	snprintf(args, sizeof(args), "screenshot %u %s", g->id, file);
	/* Perhaps the display is not there yet, or has not heard of the picture. */
	for (int i = 0; i < PATIENCE && ret; i++) {
		ret = vgrant(r, args, said, sizeof(said));
		if (ret)
			usleep(10000);
	}
	if (ret)
		fail_msg("%s", said);
	assert_true(is_saved(file, 1));
	draw(g, 2);
	assert_int_equal(vgrant(r, args, said, sizeof(said)), 0);
	assert_true(is_saved(file, 2));
	snprintf(args, sizeof(args), "screenshot %u %s 1", g->id, file);
	assert_int_equal(vgrant(r, args, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "head 1 of"));
	assert_non_null(strstr(said, "shows nothing"));
	snprintf(args, sizeof(args), "screenshot %u %s 2", g->id, file);
	assert_int_equal(vgrant(r, args, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "has no head 2"));
	snprintf(args, sizeof(args), "screenshot %u /nowhere/at/all.png", g->id);
	assert_int_equal(vgrant(r, args, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "/nowhere/at/all.png cannot be written"));
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* Until `vgrant list` says @what of the guest's device. */
static void await_listed(struct rig *r, const char *what)
{
	char said[8000] = "";

	for (int i = 0; i < PATIENCE && !strstr(said, what); i++) {
		assert_int_equal(vgrant(r, "list --json", said, sizeof(said)), 0);
		usleep(10000);
	}
	if (!strstr(said, what))
		fail_msg("%s: no %s", said, what);
}

/* A card that is not there: guests have their GPUs all the same, and lists say why no monitor shows them. */
static void no_card(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(
		r, "gpu,heads=2,vnc=off,kms=nowhere:HDMI-A-1+nowhere:DP-1,kms-layer=3");
	char said[8000];
	const char *why =
		"its monitor: /dev/dri/nowhere cannot be opened: No such file or directory";

	await_listed(r, why);
	draw(g, 2);
	assert_int_equal(vgrant(r, "list --json", said, sizeof(said)), 0);
	assert_null(strstr(strstr(said, why) + 1, why)); /* once, for both heads */
	assert_true(rig_logs(r, why));
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

static uint32_t new_context(struct rig_guest *g, uint32_t id)
{
	const struct virtio_gpu_ctx_create c = {
		.hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = id },
		.nlen = 4,
		.debug_name = "test",
	};

	return ask(g, &c, sizeof(c));
}

/* The renderer is killed: the guest draws in two dimensions, and in three when its driver begins anew. */
static void renderer_dies(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu,vnc=off,render=virgl");
	pid_t renderer, worker;

	await_listed(r, "3d=virgl");
	assert_int_equal(new_context(g, 1), VIRTIO_GPU_RESP_OK_NODATA);
	renderer = rig_process(r, "--renderer");
	worker = rig_process(r, "--worker");
	assert_int_not_equal(renderer, 0);
	kill(renderer, SIGKILL);
	await_listed(r, "3d=lost");
	assert_int_equal(new_context(g, 2), VIRTIO_GPU_RESP_ERR_UNSPEC);
	draw(g, 2);
	await_listed(r, "3d=reset");
	assert_int_not_equal(rig_process(r, "--renderer"), renderer);
	assert_int_equal(rig_process(r, "--worker"), worker);
	assert_int_equal(drv_dev_reset(g->dev), 0);
	let_go(g);
	start_driver(g);
	await_listed(r, "3d=virgl");
	assert_int_equal(new_context(g, 1), VIRTIO_GPU_RESP_OK_NODATA);
	/* The worker is killed: what was drawn is lost with it. */
	kill(rig_process(r, "--worker"), SIGKILL);
	draw(g, 3);
	await_listed(r, "3d=reset");
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

/* A machine without an EGL: the guest starts all the same, and lists say why it does not draw in 3D. */
static void no_renderer(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = guest_with_screen(r, "gpu,vnc=off,render=virgl");

	await_listed(r, "3d=none");
	await_listed(r, "its renderer: there is no EGL that draws without a screen");
	assert_int_equal(new_context(g, 1), VIRTIO_GPU_RESP_ERR_UNSPEC);
	draw(g, 2);
	assert_int_equal(drv_dev_close(g->dev), 0);
	let_go(g);
}

static int begin_without_egl(void **state)
{
	int ret;

	setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nowhere.json", 1);
	ret = rig_begin(state);
	unsetenv("__EGL_VENDOR_LIBRARY_FILENAMES");
	return ret;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(a_screen),
		T(worker_dies),
		T(display_dies),
		T(no_display),
		T(no_card),
		T(a_screenshot),
		T(renderer_dies),
		cmocka_unit_test_setup_teardown(no_renderer, begin_without_egl, rig_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
