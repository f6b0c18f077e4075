// SPDX-License-Identifier: GPL-2.0-or-later
/* image.c - see image.h: what all formats share */
#include "backend/images/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct vg_image_ops *find(const char *name)
{
	for (const struct vg_image_ops *const *f = vg_image_formats; *f; f++) {
		if (strcmp((*f)->name, name) == 0)
			return *f;
	}
	return NULL;
}

int vg_image_format_check(const char *name, struct vg_err *err)
{
	char known[128] = "";
	size_t used = 0;

	if (find(name))
		return 0;
	for (const struct vg_image_ops *const *f = vg_image_formats; *f && used < sizeof(known);
	     f++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 used ? ", " : "", (*f)->name);
	return vg_fail(err, -EINVAL,
		       "format=%s is none of the formats that can be served: %s, qcow2, vhdx, "
		       "vmdk, vhd and vdi",
		       name, known);
}

int vg_image_open(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err)
{
	const char *name = cfg->format ? cfg->format : "raw";
	const struct vg_image_ops *ops;
	int ret = vg_image_format_check(name, err);

	if (ret < 0)
		return ret;
	ops = find(name);
	ret = ops->open(cfg, out, err);
	if (ret < 0)
		return ret;
	(*out)->ops = ops;
	(*out)->read_only = cfg->read_only;
	return 0;
}

int vg_image_probe(struct vg_image *img, struct vg_err *err)
{
	return img->ops->probe(img, err);
}

void vg_image_close(struct vg_image *img)
{
	if (img)
		img->ops->close(img);
}

int vg_image_channel_open(struct vg_image *img, struct vg_loop *loop, struct vg_image_channel *ch)
{
	*ch = (struct vg_image_channel){ .img = img, .loop = loop };
	return img->ops->channel_open(ch);
}

void vg_image_channel_close(struct vg_image_channel *ch)
{
	if (ch->img)
		ch->img->ops->channel_close(ch);
	*ch = (struct vg_image_channel){ 0 };
}

void vg_image_submit(struct vg_image_channel *ch, struct vg_image_req *r)
{
	r->ch = ch;
	ch->inflight++;
	ch->img->ops->submit(r);
}

void vg_image_cancel(struct vg_image_req *r)
{
	r->ch->img->ops->cancel(r);
}

void vg_image_drain(struct vg_image_channel *ch, void (*drained)(struct vg_image_channel *ch))
{
	if (ch->inflight)
		ch->drained = drained;
	else
		drained(ch);
}

void vg_image_done(struct vg_image_req *r, int error)
{
	struct vg_image_channel *ch = r->ch;
	void (*drained)(struct vg_image_channel *) = ch->drained;

	ch->inflight--;
	r->done(r, error);
	if (drained && !ch->inflight) {
		ch->drained = NULL;
		drained(ch);
	}
}

bool vg_image_grown(struct vg_image *img)
{
	return img->ops->grown && img->ops->grown(img);
}

int vg_image_lifetime(struct vg_image *img, uint16_t out[3])
{
	return img->ops->lifetime ? img->ops->lifetime(img, out) : -EOPNOTSUPP;
}

int vg_image_report(struct vg_image *img, uint64_t offset, struct vg_image_zone *out, unsigned n)
{
	return img->ops->report ? img->ops->report(img, offset, out, n) : -EOPNOTSUPP;
}
