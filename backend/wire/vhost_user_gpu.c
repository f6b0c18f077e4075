// SPDX-License-Identifier: GPL-2.0-or-later
/* vhost_user_gpu.c - see wire/vhost_user_gpu.h */
#include "backend/wire/vhost_user_gpu.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <string.h>

_Static_assert(sizeof(struct virtio_gpu_resp_display_info) == 408 &&
		       sizeof(struct virtio_gpu_resp_edid) == 1056 &&
		       sizeof(((struct virtio_gpu_resp_edid *)NULL)->edid) == VG_SCREEN_EDID_MAX &&
		       (int)VIRTIO_GPU_MAX_SCANOUTS == (int)VG_DISPLAY_HEADS,
	       "as on the wire");

enum { EDID_BLOCK = 128 }; /* bytes; VESA E-EDID standard, section 2.2 */

size_t vg_vug_put(uint8_t *to, uint32_t request, const void *payload, size_t len, size_t more)
{
	const struct vg_vu_header hdr = { .request = request, .size = (uint32_t)(len + more) };

	memcpy(to, &hdr, sizeof(hdr));
	if (len)
		memcpy(to + sizeof(hdr), payload, len);
	return sizeof(hdr) + len;
}

/* What virtio's answers begin with. */
static uint32_t type_of(const struct vg_vu_msg *m)
{
	struct virtio_gpu_ctrl_hdr hdr;

	memcpy(&hdr, m->bytes, sizeof(hdr));
	return le32toh(hdr.type);
}

static uint32_t edid_bytes(const struct vg_vu_msg *m)
{
	struct virtio_gpu_resp_edid edid;

	memcpy(&edid, m->bytes, sizeof(edid));
	return le32toh(edid.size);
}

static bool edid_fits(const struct vg_vu_msg *m)
{
	uint32_t n = edid_bytes(m);

	return n >= EDID_BLOCK && n <= VG_SCREEN_EDID_MAX && n % EDID_BLOCK == 0;
}

static const struct form {
	const char *name; /* NULL: it has no answer */
	uint32_t size;	  /* bytes of the answer's payload */
	uint32_t type;	  /* that it begins with; 0: it begins otherwise */
	bool (*fits)(const struct vg_vu_msg *m);
} forms[] = {
	[VG_VUG_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", sizeof(uint64_t), 0, NULL },
	[VG_VUG_GET_DISPLAY_INFO] = { "GET_DISPLAY_INFO",
				      sizeof(struct virtio_gpu_resp_display_info),
				      VIRTIO_GPU_RESP_OK_DISPLAY_INFO, NULL },
	[VG_VUG_GET_EDID] = { "GET_EDID", sizeof(struct virtio_gpu_resp_edid),
			      VIRTIO_GPU_RESP_OK_EDID, edid_fits },
};

int vg_vug_check(const struct vg_vu_msg *m, uint32_t request, struct vg_err *err)
{
	const struct form *f = &forms[request];

	if (m->hdr.request != request || !(m->hdr.flags & VG_VUG_REPLY))
		return vg_fail(err, -EPROTO, "message %u: an answer to %s was expected",
			       m->hdr.request, f->name);
	if (m->hdr.size != f->size)
		return vg_fail(err, -EPROTO, "%s: an answer of %u bytes, it has %u", f->name,
			       m->hdr.size, f->size);
	if (m->n_fds)
		return vg_fail(err, -EPROTO, "%s: an answer with a file descriptor", f->name);
	if ((f->type && type_of(m) != f->type) || (f->fits && !f->fits(m)))
		return vg_fail(err, -EPROTO, "%s: an answer that says nothing", f->name);
	return 0;
}

static void monitors(const struct vg_vu_msg *m, struct vg_screen_answer *out)
{
	struct virtio_gpu_resp_display_info info;

	memcpy(&info, m->bytes, sizeof(info));
	out->has_monitors = true;
	for (unsigned i = 0; i < VG_DISPLAY_HEADS; i++) {
		const struct virtio_gpu_display_one *d = &info.pmodes[i];

		if (!d->enabled)
			continue;
		out->monitor[i].x = le32toh(d->r.x);
		out->monitor[i].y = le32toh(d->r.y);
		out->monitor[i].width = le32toh(d->r.width);
		out->monitor[i].height = le32toh(d->r.height);
	}
}

void vg_vug_answer(const struct vg_vu_msg *m, struct vg_screen_answer *out)
{
	memset(out, 0, sizeof(*out));
	if (m->hdr.request == VG_VUG_GET_DISPLAY_INFO) {
		monitors(m, out);
	} else {
		out->edid_bytes = edid_bytes(m);
		out->edid = m->bytes + offsetof(struct virtio_gpu_resp_edid, edid);
	}
}
