// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vnc.c - see vnc.h
 *
 * The protocol is libvncserver's. Its calls wait for the viewer, and it parses what a stranger sends:
 * so each viewer has a process, which holds nothing but two sockets and memory.
 *
 * The picture is copied from the frame memory into one of our own, and encoded from there: a guest
 * that draws meanwhile, or a device that was taken over, cannot change what an encoder reads twice.
 * The copy is made when the viewer has asked for an update, and there is something new; then the device
 * hears READ. While the viewer is slow, nothing is copied; damage adds up at the display, and what is
 * sent next is what is there then. One that asks for nothing costs the device its patience
 * (VG_DISPLAY_PATIENCE_MS) for each frame, unless another viewer asks.
 *
 * Keys come in two ways: as what is printed on them (RFC 6143, 7.5.4), and, from viewers that know
 * QEMU's extension (encoding -258), as which key it is, which is right whatever the layouts of both
 * ends are.
 */
#include "backend/displays/vnc.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/log.h"
#include "backend/displays/display.h"

enum {
	/* Of a head that shows nothing. */
	DARK_WIDTH = 640,
	DARK_HEIGHT = 480,
	/* ExtendedDesktopSize: the guest is asked, and may do it later. */
	SIZE_FORWARDED = 4,
	/* QEMU's extension: docs of the community's RFB protocol, "QEMU Extended Key Event". */
	EXT_KEY_ENCODING = -258,
	EXT_KEY_MESSAGE = 255,
	EXT_KEY_SUBTYPE = 0,
};

struct view {
	const struct vg_vnc_config *config;
	rfbScreenInfoPtr screen;
	rfbClientPtr client;
	bool gone;
	uint8_t *frame; /* of the device, read-only; NULL: there is none yet */
	size_t frame_size;
	uint32_t *pixels; /* our own */
	uint32_t width, height;
	bool dark;		    /* the head shows nothing */
	bool unread;		    /* the display waits for READ of @news */
	struct vg_display_msg news; /* DAMAGE that the viewer has not asked for */
};

/* The library's hooks are told of screens and clients only; and there is one viewer a process. */
static struct view the_view, *const view = &the_view;

/* ---- to the display ------------------------------------------------------- */

static void say(const struct vg_display_msg *m)
{
	while (send(view->config->parent, m, sizeof(*m), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void key(rfbBool down, uint32_t keysym, uint32_t scancode)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_KEY,
		.head = view->config->head,
		.key = { keysym, scancode, down != 0 },
	};

	say(&m);
}

static void key_event(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
	(void)cl;
	key(down, keysym, 0);
}

static void pointer_event(int buttons, int x, int y, rfbClientPtr cl)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_POINTER,
		.head = view->config->head,
		.pointer = { (uint32_t)x, (uint32_t)y, (uint32_t)buttons, view->width,
			     view->height },
	};

	(void)cl;
	say(&m);
}

static int size_wanted(int width, int height, int n, struct rfbExtDesktopScreen *screens,
		       rfbClientPtr cl)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_WISH,
		.head = view->config->head,
		.mode = { (uint32_t)width, (uint32_t)height },
	};

	(void)screens;
	(void)cl;
	if (n != 1 || width <= 0 || height <= 0)
		return rfbExtDesktopSize_InvalidScreenLayout;
	say(&m);
	return SIZE_FORWARDED;
}

/* ---- keys by their place --------------------------------------------------- */

static int ext_key_encodings[] = { EXT_KEY_ENCODING, 0 };

static rfbBool ext_key_client(rfbClientPtr cl, void **data)
{
	(void)cl;
	*data = NULL;
	return TRUE;
}

/* Told to a viewer that asks for it by an empty rectangle of this encoding. */
static rfbBool ext_key_enable(rfbClientPtr cl, void **data, int encoding)
{
	struct {
		rfbFramebufferUpdateMsg update;
		rfbFramebufferUpdateRectHeader rect;
	} __attribute__((packed)) m = {
		.update = { .type = rfbFramebufferUpdate, .nRects = Swap16IfLE(1) },
		.rect.encoding = Swap32IfLE((uint32_t)EXT_KEY_ENCODING),
	};

	(void)data;
	if (encoding != EXT_KEY_ENCODING)
		return FALSE;
	rfbWriteExact(cl, (char *)&m, sizeof(m));
	return TRUE;
}

/* u8 type, u8 subtype, u16 down, u32 keysym, u32 scancode */
static rfbBool ext_key_message(rfbClientPtr cl, void *data, const rfbClientToServerMsg *message)
{
	uint8_t rest[11];
	uint32_t keysym, scancode;

	(void)data;
	if (message->type != EXT_KEY_MESSAGE)
		return FALSE;
	if (rfbReadExact(cl, (char *)rest, sizeof(rest)) <= 0 || rest[0] != EXT_KEY_SUBTYPE) {
		rfbCloseClient(cl);
		return TRUE;
	}
	memcpy(&keysym, rest + 3, sizeof(keysym));
	memcpy(&scancode, rest + 7, sizeof(scancode));
	key(rest[1] || rest[2], Swap32IfLE(keysym), Swap32IfLE(scancode));
	return TRUE;
}

static rfbProtocolExtension ext_key = {
	.newClient = ext_key_client,
	.pseudoEncodings = ext_key_encodings,
	.enablePseudoEncoding = ext_key_enable,
	.handleMessage = ext_key_message,
};

/* ---- the picture ----------------------------------------------------------- */

/* As the frame memory has it. */
static void set_format(rfbScreenInfoPtr s)
{
	s->serverFormat.redShift = 16;
	s->serverFormat.greenShift = 8;
	s->serverFormat.blueShift = 0;
}

/* What changed was copied, or is no more. */
static void say_read(void)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_READ,
		.head = view->config->head,
		.serial = view->news.damage.serial,
	};

	if (!view->unread)
		return;
	view->unread = false;
	say(&m);
}

static void mode(uint32_t width, uint32_t height)
{
	uint32_t *pixels;

	say_read(); /* all of the new one is told next */
	view->dark = !width;
	if (!width && view->width) {
		/* It keeps its size, and becomes black. */
		memset(view->pixels, 0, (size_t)view->width * view->height * 4);
		rfbMarkRectAsModified(view->screen, 0, 0, (int)view->width, (int)view->height);
		return;
	}
	if (!width) {
		width = DARK_WIDTH;
		height = DARK_HEIGHT;
	}
	pixels = calloc((size_t)width * height, 4);
	if (!pixels)
		abort(); /* at most 64 MiB; the viewer may come again */
	if (view->screen) {
		rfbNewFramebuffer(view->screen, (char *)pixels, (int)width, (int)height, 8, 3, 4);
		set_format(view->screen);
		if (view->client)
			view->screen->setTranslateFunction(view->client);
	}
	free(view->pixels);
	view->pixels = pixels;
	view->width = width;
	view->height = height;
}

/* The display tells of one at a time. */
static void damage(const struct vg_display_msg *m)
{
	say_read();
	view->news = *m;
	view->unread = true;
}

static void copy(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	const uint32_t *from;

	if (!view->frame || view->dark || x >= view->width || y >= view->height)
		return;
	w = w < view->width - x ? w : view->width - x;
	h = h < view->height - y ? h : view->height - y;
	from = vg_display_pixels(view->frame, view->config->head);
	for (uint32_t i = y; i < y + h; i++)
		memcpy(view->pixels + (size_t)i * view->width + x,
		       from + (size_t)i * view->width + x, (size_t)w * 4);
	rfbMarkRectAsModified(view->screen, (int)x, (int)y, (int)(x + w), (int)(y + h));
}

/* The viewer has asked for an update, and there is one. */
static bool is_wanted(void)
{
	return view->unread && !sraRgnEmpty(view->client->requestedRegion);
}

static void take_news(void)
{
	const struct vg_display_msg *m = &view->news;

	copy(m->damage.x, m->damage.y, m->damage.width, m->damage.height);
	say_read();
}

/* Our copy of it, as the library wants one. NULL: out of memory. */
static rfbCursorPtr make_cursor(const struct vg_display_msg *m)
{
	const uint32_t *from = vg_display_cursor(view->frame, view->config->head);
	const size_t n = VG_DISPLAY_CURSOR * VG_DISPLAY_CURSOR;
	rfbCursorPtr c = calloc(1, sizeof(*c));
	uint32_t *rich = malloc(n * 4);
	uint8_t *alpha = malloc(n), *mask = calloc(n / 8, 1);

	if (!c || !rich || !alpha || !mask) {
		free(c);
		free(rich);
		free(alpha);
		free(mask);
		return NULL;
	}
	memcpy(rich, from, n * 4);
	for (size_t i = 0; i < n; i++) {
		alpha[i] = (uint8_t)(rich[i] >> 24);
		rich[i] &= 0xffffff;
		if (alpha[i] >= 128)
			mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	}
	c->cleanup = c->cleanupMask = c->cleanupRichSource = TRUE;
	c->richSource = (uint8_t *)rich;
	c->alphaSource = alpha;
	c->mask = mask;
	c->width = c->height = VG_DISPLAY_CURSOR;
	c->xhot = (unsigned short)(m->cursor.hot_x % VG_DISPLAY_CURSOR);
	c->yhot = (unsigned short)(m->cursor.hot_y % VG_DISPLAY_CURSOR);
	return c;
}

static void cursor(const struct vg_display_msg *m)
{
	if (!view->screen)
		return;
	if (!m->cursor.visible || !view->frame)
		rfbSetCursor(view->screen, NULL);
	else if (m->cursor.changed)
		rfbSetCursor(view->screen, make_cursor(m));
	/* Where the library itself draws it, for viewers that do not. */
	view->screen->cursorX = m->cursor.x;
	view->screen->cursorY = m->cursor.y;
}

/* ---- from the display ------------------------------------------------------ */

static void hello(const struct vg_display_msg *m, int fd)
{
	void *p;

	if (view->frame)
		munmap(view->frame, view->frame_size);
	view->frame = NULL;
	if (fd < 0 || m->hello.heads <= view->config->head || m->hello.heads > VG_DISPLAY_HEADS)
		return;
	view->frame_size = m->hello.heads * VG_DISPLAY_HEAD_BYTES;
	p = mmap(NULL, view->frame_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		view->frame = p;
}

static void heard(const struct vg_display_msg *m, int fd)
{
	switch (m->type) {
	case VG_DISPLAY_HELLO:
		hello(m, fd);
		break;
	case VG_DISPLAY_MODE:
		if (vg_display_mode_ok(m->mode.width, m->mode.height))
			mode(m->mode.width, m->mode.height);
		break;
	case VG_DISPLAY_DAMAGE:
		damage(m);
		break;
	case VG_DISPLAY_CURSOR_IS:
		cursor(m);
		break;
	}
}

/* One message. Return: whether there was one; view->gone: there will be no other. */
static bool hear(int flags)
{
	struct vg_display_msg m;
	int fd;
	int ret = vg_display_recv(view->config->parent, &m, &fd, flags);

	if (ret == -EAGAIN)
		return false;
	if (ret <= 0) {
		view->gone = true;
		return false;
	}
	heard(&m, fd);
	if (fd >= 0)
		close(fd);
	return true;
}

/* ---- the library ------------------------------------------------------------ */

__attribute__((format(printf, 1, 2))) static void to_log(const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	text[strcspn(text, "\n")] = '\0';
	vg_debug("VNC: %s", text);
}

void vg_vnc_warm_up(void)
{
	uint8_t bytes[16] = { 0 };
	char password[] = "x";

	rfbLog = rfbErr = to_log;
	rfbRandomBytes(bytes);
	rfbEncryptBytes(bytes, password);
}

static void client_gone(rfbClientPtr cl)
{
	(void)cl;
	view->gone = true;
	view->client = NULL;
}

static bool open_screen(void)
{
	static char *passwords[2];
	rfbScreenInfoPtr s = rfbGetScreen(NULL, NULL, (int)view->width, (int)view->height, 8, 3, 4);

	if (!s)
		return false;
	view->screen = s;
	set_format(s);
	s->frameBuffer = (char *)view->pixels;
	s->desktopName = view->config->name;
	s->alwaysShared =
		TRUE; /* each viewer has a process of its own: it cannot hang up on others */
	s->deferUpdateTime = 0;
	s->cursor = NULL;
	s->kbdAddEvent = key_event;
	s->ptrAddEvent = pointer_event;
	s->setDesktopSizeHook = size_wanted;
	if (view->config->password) {
		passwords[0] = (char *)(uintptr_t)view->config->password;
		s->authPasswdData = passwords;
		s->passwordCheck = rfbCheckPasswordByList;
	}
	rfbRegisterProtocolExtension(&ext_key);
	view->client = rfbNewClient(s, view->config->client);
	if (!view->client)
		return false;
	view->client->clientGoneHook = client_gone;
	/* The library greets browsers as it greets others. No page asks a person before it connects. */
	return view->config->websocket || !view->client->wsctx;
}

/* What the viewer has said; then what it has asked for, as it is then. */
static void serve(void)
{
	rfbCheckFds(view->screen, 0);
	if (view->client->sock >= 0) {
		if (is_wanted())
			take_news();
		rfbUpdateClient(view->client);
	}
	if (view->client->sock < 0)
		rfbClientConnectionGone(view->client);
}

void vg_vnc_view(const struct vg_vnc_config *config)
{
	view->config = config;
	/* The display begins with all that there is. */
	while (!view->gone && !view->pixels)
		hear(0);
	if (view->gone || !open_screen())
		return;
	while (!view->gone) {
		struct pollfd p[] = { { .fd = config->client, .events = POLLIN },
				      { .fd = config->parent, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		while (!view->gone && hear(MSG_DONTWAIT))
			;
		if (!view->gone)
			serve();
	}
}
