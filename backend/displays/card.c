// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * card.c - see card.h
 *
 *	connector (HDMI-A-1) <- crtc (a mode) <- primary plane <- framebuffer (a dumb buffer) x 2
 *
 * One plane of each crtc is used, with pictures composed in memory (compose.h), for that is what all
 * drivers have. Names of properties are those of the kernel's documentation, "Kernel Mode Setting".
 *
 * Of a picture that changes, each frame tells the driver which areas did (FB_DAMAGE_CLIPS), and is
 * shown between two refreshes; an event says when.
 *
 * All but opening is done in the sandbox: by ioctl(2) on the card, and mmap(2).
 */
#include "backend/displays/card.h"

#include <drm_fourcc.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

#include "backend/base/container.h"

enum {
	BITS = 32,	  /* of a pixel: XRGB8888 */
	UEVENTS = 1,	  /* the kernel's group of NETLINK_KOBJECT_UEVENT */
	UEVENT = 4096,	  /* bytes of one are less: lib/kobject_uevent.c, UEVENT_BUFFER_SIZE */
	UEVENTS_MAX = 64, /* in one turn */
	READS_MAX = 64,	  /* each takes several events */
};

static const struct vg_sandbox_call card_calls[] = {
	VG_CALL_FCNTL(F_GET_SEALS), /* vg_display_is_frame_memory() */
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETRESOURCES),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETCONNECTOR),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETENCODER),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETPLANERESOURCES),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETPLANE),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_OBJ_GETPROPERTIES),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_GETPROPERTY),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_CREATEPROPBLOB),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_DESTROYPROPBLOB),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_ATOMIC),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_CREATE_DUMB),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_MAP_DUMB),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_DESTROY_DUMB),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_ADDFB2),
	VG_CALL_IOCTL(DRM_IOCTL_MODE_RMFB),
	VG_CALLS_END,
};

const struct vg_sandbox_needs vg_card_needs = { .calls = card_calls };

struct vg_card {
	int fd, plugs;
	char path[VG_PLACE_CARD];
	uint32_t pipes; /* a bit for each crtc that an output has, by its number */
};

/* ---- properties ------------------------------------------------------------ */

/* Property @name of an object. Return: its id, 0: it has none; *@value, unless NULL: what it is. */
static uint32_t property(int fd, uint32_t object, uint32_t type, const char *name, uint64_t *value)
{
	drmModeObjectProperties *all = drmModeObjectGetProperties(fd, object, type);
	uint32_t id = 0;

	for (uint32_t i = 0; all && i < all->count_props && !id; i++) {
		drmModePropertyRes *p = drmModeGetProperty(fd, all->props[i]);

		if (p && strcmp(p->name, name) == 0) {
			id = p->prop_id;
			if (value)
				*value = all->prop_values[i];
		}
		drmModeFreeProperty(p);
	}
	drmModeFreeObjectProperties(all);
	return id;
}

/* What the object has no property for is left out. */
static void set(int fd, drmModeAtomicReq *req, uint32_t object, uint32_t type, const char *name,
		uint64_t value)
{
	drmModeAtomicAddProperty(req, object, property(fd, object, type, name, NULL), value);
}

/* ---- the card ------------------------------------------------------------- */

/* What was shown before, perhaps one picture on several monitors, is not what others are added to. */
static int all_dark(struct vg_card *card)
{
	drmModeRes *res = drmModeGetResources(card->fd);
	drmModePlaneRes *planes = drmModeGetPlaneResources(card->fd);
	drmModeAtomicReq *req = drmModeAtomicAlloc();
	int ret = res && planes && req ? 0 : -ENOMEM;

	for (uint32_t i = 0; ret == 0 && i < planes->count_planes; i++) {
		set(card->fd, req, planes->planes[i], DRM_MODE_OBJECT_PLANE, "FB_ID", 0);
		set(card->fd, req, planes->planes[i], DRM_MODE_OBJECT_PLANE, "CRTC_ID", 0);
	}
	for (int i = 0; ret == 0 && i < res->count_connectors; i++)
		set(card->fd, req, res->connectors[i], DRM_MODE_OBJECT_CONNECTOR, "CRTC_ID", 0);
	for (int i = 0; ret == 0 && i < res->count_crtcs; i++) {
		set(card->fd, req, res->crtcs[i], DRM_MODE_OBJECT_CRTC, "ACTIVE", 0);
		set(card->fd, req, res->crtcs[i], DRM_MODE_OBJECT_CRTC, "MODE_ID", 0);
	}
	if (ret == 0)
		ret = drmModeAtomicCommit(card->fd, req, DRM_MODE_ATOMIC_ALLOW_MODESET, NULL);
	drmModeAtomicFree(req);
	drmModeFreePlaneResources(planes);
	drmModeFreeResources(res);
	return ret;
}

static int take(struct vg_card *card, struct vg_err *err)
{
	drmModeRes *res = drmModeGetResources(card->fd);
	int ret;

	if (!res)
		return vg_fail(err, -ENODEV, "%s is no card with connectors", card->path);
	drmModeFreeResources(res);
	/* Who is first to open it is master by that. */
	if (!drmIsMaster(card->fd) && drmSetMaster(card->fd) < 0)
		return vg_fail(err, -EBUSY,
			       "%s is in use by another program, as a desktop is: end that, or use "
			       "another card",
			       card->path);
	if (drmSetClientCap(card->fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1) < 0 ||
	    drmSetClientCap(card->fd, DRM_CLIENT_CAP_ATOMIC, 1) < 0)
		return vg_fail(err, -EOPNOTSUPP,
			       "%s: its driver has no atomic mode setting, which is needed",
			       card->path);
	ret = all_dark(card);
	return ret < 0 ? vg_fail(err, ret, "%s: its monitors cannot be set: %s", card->path,
				 strerror(-ret))
		       : 0;
}

static int listen_plugs(void)
{
	const struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = UEVENTS };
	int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int vg_card_open(const char *path, struct vg_card **out, struct vg_err *err)
{
	struct vg_card *card = calloc(1, sizeof(*card));
	int ret;

	if (!card)
		return vg_fail(err, -ENOMEM, "out of memory");
	snprintf(card->path, sizeof(card->path), "%s", path);
	card->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	card->plugs = listen_plugs();
	if (card->fd < 0)
		ret = vg_fail(err, -errno, "%s cannot be opened: %s", path, strerror(errno));
	else if (card->plugs < 0)
		ret = vg_fail(err, -errno, "the kernel does not tell of monitors: %s",
			      strerror(errno));
	else
		ret = take(card, err);
	if (ret < 0) {
		vg_card_close(card);
		return ret;
	}
	*out = card;
	return 0;
}

void vg_card_close(struct vg_card *card)
{
	if (card->fd >= 0)
		close(card->fd);
	if (card->plugs >= 0)
		close(card->plugs);
	free(card);
}

int vg_card_fd(const struct vg_card *card)
{
	return card->fd;
}

static void flipped(int fd, unsigned sequence, unsigned s, unsigned us, unsigned crtc, void *ctx)
{
	struct vg_output *o = ctx;

	(void)fd;
	(void)sequence;
	(void)s;
	(void)us;
	(void)crtc;
	if (!o->flipping)
		return;
	o->flipping = false;
	if (!o->width)
		return; /* it became dark meanwhile */
	o->front = !o->front;
	o->flipped(o);
}

/* All that is there: it does not wait. */
void vg_card_read(struct vg_card *card)
{
	drmEventContext events = { .version = 3, .page_flip_handler2 = flipped };

	for (unsigned i = 0; i < READS_MAX && drmHandleEvent(card->fd, &events) == 0; i++)
		;
}

/* ---- monitors that come and go ------------------------------------------------- */

int vg_card_plugs(const struct vg_card *card)
{
	return card->plugs;
}

/* No more is believed of it than that something may have happened. */
bool vg_card_plugged(struct vg_card *card)
{
	static const char word[] = "SUBSYSTEM=drm";
	char text[UEVENT];
	bool plugged = false;

	for (unsigned i = 0; i < UEVENTS_MAX; i++) {
		ssize_t n = recv(card->plugs, text, sizeof(text), MSG_DONTWAIT);

		/* Some were lost: there may be one of ours among them. */
		if (n < 0 && errno != ENOBUFS)
			break;
		plugged |= n < 0 || memmem(text, (size_t)n, word, sizeof(word));
	}
	return plugged;
}

static void name_of(const drmModeConnector *c, char *name, size_t len)
{
	const char *type = drmModeGetConnectorTypeName(c->connector_type);

	snprintf(name, len, "%s-%u", type ? type : "Unknown", c->connector_type_id);
}

int vg_output_find(struct vg_card *card, const char *name, struct vg_output *o, struct vg_err *err)
{
	drmModeRes *res = drmModeGetResources(card->fd);
	char all[120] = "", one[VG_PLACE_CONNECTOR];

	for (int i = 0; res && i < res->count_connectors && !o->connector; i++) {
		drmModeConnector *c = drmModeGetConnectorCurrent(card->fd, res->connectors[i]);

		if (!c)
			continue;
		name_of(c, one, sizeof(one));
		if (strcmp(one, name) == 0)
			o->connector = c->connector_id;
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", all[0] ? ", " : "",
			 one);
		drmModeFreeConnector(c);
	}
	drmModeFreeResources(res);
	if (!o->connector)
		return vg_fail(err, -ENOENT, "%s has no connector %s; it has %s", card->path, name,
			       all[0] ? all : "none");
	o->card = card;
	snprintf(o->name, sizeof(o->name), "%s", name);
	return 0;
}

/* ---- what leads to a connector ---------------------------------------------------- */

/* A bit for each crtc that could, by its number. */
static uint32_t possible_crtcs(int fd, const drmModeConnector *c)
{
	uint32_t crtcs = 0;

	for (int i = 0; i < c->count_encoders; i++) {
		drmModeEncoder *e = drmModeGetEncoder(fd, c->encoders[i]);

		if (e)
			crtcs |= e->possible_crtcs;
		drmModeFreeEncoder(e);
	}
	return crtcs;
}

/* Its primary plane, 0: none. */
static uint32_t plane_of(int fd, uint32_t pipe)
{
	drmModePlaneRes *res = drmModeGetPlaneResources(fd);
	uint32_t id = 0;

	for (uint32_t i = 0; res && i < res->count_planes && !id; i++) {
		drmModePlane *p = drmModeGetPlane(fd, res->planes[i]);
		uint64_t type = DRM_PLANE_TYPE_OVERLAY;

		property(fd, res->planes[i], DRM_MODE_OBJECT_PLANE, "type", &type);
		if (p && type == DRM_PLANE_TYPE_PRIMARY && p->possible_crtcs & 1u << pipe)
			id = p->plane_id;
		drmModeFreePlane(p);
	}
	drmModeFreePlaneResources(res);
	return id;
}

/* Return: whether a crtc that nobody else has leads to it. */
static bool find_way(struct vg_output *o, const drmModeConnector *c)
{
	struct vg_card *card = o->card;
	drmModeRes *res = drmModeGetResources(card->fd);
	uint32_t possible = possible_crtcs(card->fd, c) & ~card->pipes;

	o->plane = 0;
	for (int i = 0; res && i < res->count_crtcs && i < 32 && !o->plane; i++) {
		if (!(possible & 1u << i))
			continue;
		o->pipe = (uint32_t)i;
		o->crtc = res->crtcs[i];
		o->plane = plane_of(card->fd, o->pipe);
	}
	drmModeFreeResources(res);
	if (!o->plane)
		return false;
	o->fb_id = property(card->fd, o->plane, DRM_MODE_OBJECT_PLANE, "FB_ID", NULL);
	o->damage_clips =
		property(card->fd, o->plane, DRM_MODE_OBJECT_PLANE, "FB_DAMAGE_CLIPS", NULL);
	return true;
}

/* NULL: there is none. */
static const drmModeModeInfo *choose(const drmModeConnector *c, uint32_t width, uint32_t height,
				     uint32_t hz)
{
	const drmModeModeInfo *best = NULL;

	for (int i = 0; i < c->count_modes; i++) {
		const drmModeModeInfo *m = &c->modes[i];

		if (m->hdisplay > VG_LIMIT_GPU_SIDE || m->vdisplay > VG_LIMIT_GPU_SIDE)
			continue;
		if (m->hdisplay == width && m->vdisplay == height && (!hz || m->vrefresh == hz))
			return m;
		if (!best ||
		    (m->type & DRM_MODE_TYPE_PREFERRED && !(best->type & DRM_MODE_TYPE_PREFERRED)))
			best = m;
	}
	return best;
}

/* ---- buffers ------------------------------------------------------------------- */

static void free_buffer(int fd, struct vg_buffer *b)
{
	if (b->pixels)
		munmap(b->pixels, b->size);
	if (b->fb)
		drmModeRmFB(fd, b->fb);
	if (b->handle)
		drmModeDestroyDumbBuffer(fd, b->handle);
	*b = (struct vg_buffer){ 0 };
}

static int make_buffer(int fd, uint32_t width, uint32_t height, struct vg_buffer *b)
{
	uint32_t handles[4] = { 0 }, pitches[4] = { 0 }, offsets[4] = { 0 };
	uint64_t offset = 0;
	void *p;
	int ret = drmModeCreateDumbBuffer(fd, width, height, BITS, 0, &b->handle, &b->pitch,
					  &b->size);

	if (ret < 0)
		return ret;
	handles[0] = b->handle;
	pitches[0] = b->pitch;
	ret = drmModeAddFB2(fd, width, height, DRM_FORMAT_XRGB8888, handles, pitches, offsets,
			    &b->fb, 0);
	if (ret == 0)
		ret = drmModeMapDumbBuffer(fd, b->handle, &offset);
	if (ret < 0)
		return ret;
	p = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	b->pixels = p;
	memset(p, 0, b->size);
	return 0;
}

/* ---- on and off ------------------------------------------------------------------ */

/* All that a crtc needs to show the front buffer. */
static int set_mode(struct vg_output *o, const drmModeModeInfo *mode)
{
	int fd = o->card->fd, ret;
	drmModeAtomicReq *req = drmModeAtomicAlloc();
	const struct {
		const char *name;
		uint64_t value;
	} plane[] = {
		{ "FB_ID", o->buffer[o->front].fb },
		{ "CRTC_ID", o->crtc },
		{ "SRC_X", 0 },
		{ "SRC_Y", 0 },
		{ "SRC_W", (uint64_t)mode->hdisplay << 16 }, /* 16.16 */
		{ "SRC_H", (uint64_t)mode->vdisplay << 16 },
		{ "CRTC_X", 0 },
		{ "CRTC_Y", 0 },
		{ "CRTC_W", mode->hdisplay },
		{ "CRTC_H", mode->vdisplay },
	};
	uint32_t blob = 0;

	ret = req ? drmModeCreatePropertyBlob(fd, mode, sizeof(*mode), &blob) : -ENOMEM;
	if (ret == 0) {
		set(fd, req, o->connector, DRM_MODE_OBJECT_CONNECTOR, "CRTC_ID", o->crtc);
		set(fd, req, o->crtc, DRM_MODE_OBJECT_CRTC, "MODE_ID", blob);
		set(fd, req, o->crtc, DRM_MODE_OBJECT_CRTC, "ACTIVE", 1);
		for (unsigned i = 0; i < COUNT(plane); i++)
			set(fd, req, o->plane, DRM_MODE_OBJECT_PLANE, plane[i].name,
			    plane[i].value);
		ret = drmModeAtomicCommit(fd, req, DRM_MODE_ATOMIC_ALLOW_MODESET, NULL);
	}
	if (blob)
		drmModeDestroyPropertyBlob(fd, blob);
	drmModeAtomicFree(req);
	return ret;
}

static int light(struct vg_output *o, const drmModeConnector *c, const drmModeModeInfo *mode,
		 struct vg_err *err)
{
	int ret = 0;

	if (!find_way(o, c))
		return vg_fail(
			err, -EBUSY,
			"%s: all that %s can drive at once is in use by its other connectors",
			o->name, o->card->path);
	o->front = 0;
	for (unsigned i = 0; ret == 0 && i < COUNT(o->buffer); i++)
		ret = make_buffer(o->card->fd, mode->hdisplay, mode->vdisplay, &o->buffer[i]);
	if (ret == 0)
		ret = set_mode(o, mode);
	if (ret < 0) {
		for (unsigned i = 0; i < COUNT(o->buffer); i++)
			free_buffer(o->card->fd, &o->buffer[i]);
		return vg_fail(err, ret, "%s does not take %ux%u: %s", o->name, mode->hdisplay,
			       mode->vdisplay, strerror(-ret));
	}
	o->card->pipes |= 1u << o->pipe;
	o->width = mode->hdisplay;
	o->height = mode->vdisplay;
	o->hz = mode->vrefresh;
	return 1;
}

int vg_output_light(struct vg_output *o, uint32_t width, uint32_t height, uint32_t hz,
		    struct vg_err *err)
{
	drmModeConnector *c = drmModeGetConnector(o->card->fd, o->connector);
	const drmModeModeInfo *mode = NULL;
	int ret = 0;

	if (c && c->connection != DRM_MODE_DISCONNECTED)
		mode = choose(c, width, height, hz);
	if (!mode)
		vg_output_dark(o);
	else
		ret = o->width ? 1 : light(o, c, mode, err);
	drmModeFreeConnector(c);
	return ret;
}

void vg_output_dark(struct vg_output *o)
{
	int fd = o->card->fd;
	drmModeAtomicReq *req;

	if (!o->width)
		return;
	req = drmModeAtomicAlloc();
	if (req) {
		set(fd, req, o->plane, DRM_MODE_OBJECT_PLANE, "FB_ID", 0);
		set(fd, req, o->plane, DRM_MODE_OBJECT_PLANE, "CRTC_ID", 0);
		set(fd, req, o->connector, DRM_MODE_OBJECT_CONNECTOR, "CRTC_ID", 0);
		set(fd, req, o->crtc, DRM_MODE_OBJECT_CRTC, "ACTIVE", 0);
		set(fd, req, o->crtc, DRM_MODE_OBJECT_CRTC, "MODE_ID", 0);
		drmModeAtomicCommit(fd, req, DRM_MODE_ATOMIC_ALLOW_MODESET, NULL);
	}
	drmModeAtomicFree(req);
	/* Also where that failed: a framebuffer that goes is shown by nobody. */
	for (unsigned i = 0; i < COUNT(o->buffer); i++)
		free_buffer(fd, &o->buffer[i]);
	o->card->pipes &= ~(1u << o->pipe);
	o->width = o->height = o->hz = 0;
}

/* Its areas are x1, y1, x2, y2, too. */
_Static_assert(sizeof(struct vg_rect) == sizeof(struct drm_mode_rect), "FB_DAMAGE_CLIPS");

/* ---- a frame ------------------------------------------------------------------------ */

int vg_output_flip(struct vg_output *o, const struct vg_rect *damage, unsigned n)
{
	int fd = o->card->fd, ret;
	drmModeAtomicReq *req = drmModeAtomicAlloc();
	uint32_t clips = 0;

	if (!req)
		return -ENOMEM;
	/* Without them all of it is taken to be new. */
	if (o->damage_clips &&
	    drmModeCreatePropertyBlob(fd, damage, n * sizeof(*damage), &clips) == 0)
		drmModeAtomicAddProperty(req, o->plane, o->damage_clips, clips);
	drmModeAtomicAddProperty(req, o->plane, o->fb_id, vg_output_back(o)->fb);
	ret = drmModeAtomicCommit(fd, req, DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, o);
	o->flipping = ret == 0;
	if (clips)
		drmModeDestroyPropertyBlob(fd, clips);
	drmModeAtomicFree(req);
	return ret;
}
