// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * screens.c - a guest's pictures: where they are (`vgrant domdisplay`), and one of them as a file
 *
 * The heads of a guest are numbered from 0 on, over all its GPUs in the order of their numbers, as
 * `vgrant domdisplay` prints them.
 *
 * `vgrant screenshot` has vgrantd pass a socket on to the display, and is told what a viewer is told
 * (displays/display.h): the frame memory, and how large the head's picture is. No viewer is counted,
 * nobody's password asked; that it shows all is why only root may.
 */
#include <errno.h>
#include <json-c/json.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "backend/base/number.h"
#include "backend/base/params.h"
#include "backend/devices/devices.h"
#include "backend/displays/display.h"
#include "backend/virtio/device.h"
#include "tools/vgrant.h"

enum { PATIENCE_S = 10 };

/* How many heads @dev has; 0: it is no GPU. */
static uint64_t heads_of(struct json_object *dev)
{
	const struct vg_device_ops *ops = vg_device_find("gpu");
	struct vg_params params;

	return vgrant_is_a(dev, ops->name) &&
			       vg_params_parse(vgrant_text(dev, "config"), &params, NULL) == 0
		       ? vg_params_uint(&params, ops->params, "heads")
		       : 0;
}

/* ---- where ----------------------------------------------------------------- */

/* Where its display is, "127.0.0.1:5900" or a path, is in its detail: "... vnc=WHERE viewers=0". */
static bool shown_at(struct json_object *dev, char *where, size_t size)
{
	const char *at = strstr(vgrant_text(dev, "detail"), "vnc=");
	size_t len = at ? strcspn(at + 4, " ") : 0;

	if (!len || strncmp(at + 4 + len, " viewers=", 9) != 0)
		return false;
	snprintf(where, size, "%.*s", (int)len, at + 4);
	return where[0] == '/' || strrchr(where, ':');
}

/* As virsh has it: of VNC the number of the display, which is the port less 5900. */
static void print_uri(const char *where, uint64_t head)
{
	const char *colon = strrchr(where, ':');

	if (where[0] == '/' && head)
		printf("vnc+unix://%s.%llu\n", where, (unsigned long long)head);
	else if (where[0] == '/')
		printf("vnc+unix://%s\n", where);
	else
		printf("vnc://%.*s:%d\n", (int)(colon - where), where,
		       atoi(colon + 1) - 5900 + (int)head);
}

int vgrant_domdisplay(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, argv[0], &answer, &devices);
	bool any = false;

	(void)argc;
	for (size_t i = 0; ret == VGRANT_OK && i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);
		uint64_t heads = heads_of(dev);
		char where[128];

		if (!heads || !shown_at(dev, where, sizeof(where)))
			continue;
		for (uint64_t head = 0; head < heads; head++)
			print_uri(vgrant_printable(where), head);
		any = true;
	}
	if (ret == VGRANT_OK && !any) {
		vgrant_complain("%s has no GPU that is shown: vgrant list -v says more", argv[0]);
		ret = VGRANT_FAILED;
	}
	json_object_put(answer);
	return ret;
}

/* ---- a picture --------------------------------------------------------------- */

/* Head *@head of all: the GPU that has it, and its number there. NULL: there are not so many. */
static struct json_object *gpu_of(struct json_object *devices, uint64_t *head)
{
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);
		uint64_t heads = heads_of(dev);

		if (*head < heads)
			return dev;
		*head -= heads;
	}
	return NULL;
}

struct picture {
	uint32_t width, height;
	uint8_t *rgb; /* to be freed */
};

/* Three bytes a pixel, as it is now. */
static int copy(struct picture *p, const uint32_t *pixels)
{
	size_t n = (size_t)p->width * p->height;

	p->rgb = malloc(n * 3);
	if (!p->rgb)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		p->rgb[i * 3] = (uint8_t)(pixels[i] >> 16);
		p->rgb[i * 3 + 1] = (uint8_t)(pixels[i] >> 8);
		p->rgb[i * 3 + 2] = (uint8_t)pixels[i];
	}
	return 0;
}

/* Head @head of the frame memory @memory, which has @heads of them. Return: 0, or negative errno. */
static int look(struct picture *p, uint32_t head, int memory, uint32_t heads)
{
	size_t size = heads * VG_DISPLAY_HEAD_BYTES;
	struct stat st;
	uint8_t *base;
	int ret;

	if (head >= heads || heads > VG_DISPLAY_HEADS || fstat(memory, &st) < 0 ||
	    (uint64_t)st.st_size < size)
		return -EPROTO;
	base = mmap(NULL, size, PROT_READ, MAP_SHARED, memory, 0);
	if (base == MAP_FAILED)
		return -errno;
	ret = copy(p, vg_display_pixels(base, head));
	munmap(base, size);
	return ret;
}

/* What the display says, then hangs up. Return: 0; -ENODATA: there is no picture; negative errno. */
static int take(struct picture *p, uint32_t head, int sock)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct vg_display_msg hello, mode;
	int memory = -1, none, ret;

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = vg_display_recv(sock, &hello, &memory, 0);
	if (ret == 1 && (hello.type != VG_DISPLAY_HELLO ||
			 hello.hello.version != VG_DISPLAY_VERSION || memory < 0))
		ret = -EPROTO;
	if (ret == 1)
		ret = vg_display_recv(sock, &mode, &none, 0);
	if (ret == 1 && (mode.type != VG_DISPLAY_MODE ||
			 !vg_display_mode_ok(mode.mode.width, mode.mode.height)))
		ret = -EPROTO;
	if (ret == 1) {
		p->width = mode.mode.width;
		p->height = mode.mode.height;
		ret = p->width ? look(p, head, memory, hello.hello.heads) : -ENODATA;
	} else if (ret == 0) {
		ret = -ENODATA;
	}
	if (memory >= 0)
		close(memory);
	return ret;
}

/* "-" is standard output. */
static int write_png(const struct picture *p, const char *file)
{
	png_image image = { .version = PNG_IMAGE_VERSION,
			    .width = p->width,
			    .height = p->height,
			    .format = PNG_FORMAT_RGB };
	int ok = strcmp(file, "-") == 0
			 ? png_image_write_to_stdio(&image, stdout, 0, p->rgb, 0, NULL)
			 : png_image_write_to_file(&image, file, 0, p->rgb, 0, NULL);

	if (ok && fflush(stdout) == 0)
		return VGRANT_OK;
	vgrant_complain("%s cannot be written: %s", file,
			image.message[0] ? image.message : strerror(errno));
	return VGRANT_FAILED;
}

static int save(const char *guest, const char *number, uint32_t head, int sock, const char *file)
{
	struct picture p = { 0 };
	int ret = take(&p, head, sock);

	if (ret == 0) {
		ret = write_png(&p, file);
	} else {
		if (ret == -ENODATA)
			vgrant_complain("head %s of %s shows nothing", number, guest);
		else
			vgrant_complain("the display of %s does not tell: %s", guest,
					ret == -EAGAIN ? "it does not answer" : strerror(-ret));
		ret = VGRANT_FAILED;
	}
	free(p.rgb);
	return ret;
}

/* Return: a socket whose other end the display has; -1: *@ret is an exit code. */
static int connect_display(const struct vgrant_options *opt, const char *guest, const char *id,
			   uint32_t head, int *ret)
{
	int fd = vgrant_connect(opt), pair[2] = { -1, -1 };
	char text[12];

	if (fd < 0) {
		*ret = VGRANT_NO_DAEMON;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		vgrant_complain("no socket: %s", strerror(errno));
		*ret = VGRANT_FAILED;
	} else {
		snprintf(text, sizeof(text), "%u", head);
		vgrant_request(fd, "look",
			       VGRANT_ARGS({ "guest", guest }, { "id", id }, { "head", text }),
			       pair[1]);
		close(pair[1]);
		*ret = vgrant_answer(fd, NULL);
	}
	close(fd);
	if (*ret == VGRANT_OK)
		return pair[0];
	if (pair[0] >= 0)
		close(pair[0]);
	return -1;
}

int vgrant_screenshot(const struct vgrant_options *opt, int argc, char **argv)
{
	const char *guest = argv[0], *number = argc > 2 ? argv[2] : "0";
	struct json_object *answer = NULL, *devices, *gpu = NULL;
	uint64_t head = 0;
	int ret;

	if (vg_number(number, 10, UINT16_MAX, &head) < 0) {
		vgrant_complain("%s is no number of a head: the first is 0", number);
		return VGRANT_USAGE;
	}
	ret = vgrant_devices(opt, guest, &answer, &devices);
	if (ret == VGRANT_OK) {
		gpu = gpu_of(devices, &head);
		if (!gpu)
			vgrant_complain("%s has no head %s: vgrant list shows its devices", guest,
					number);
		ret = gpu ? VGRANT_OK : VGRANT_FAILED;
	}
	if (ret == VGRANT_OK) {
		int sock =
			connect_display(opt, guest, vgrant_text(gpu, "name"), (uint32_t)head, &ret);

		if (sock >= 0) {
			ret = save(guest, number, (uint32_t)head, sock, argv[1]);
			close(sock);
		}
	}
	json_object_put(answer);
	return ret;
}
