/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domxml.h - what a libvirt domain's XML says to us
 *
 *	<domain type='xen'>
 *	  <name>web</name>
 *	  <metadata>
 *	    <vgrant:devices xmlns:vgrant='urn:vgrant:devices:1'>
 *	      <vgrant:blk target='/srv/web.img' queues='2'/>
 *	      <vgrant:rng/>
 *	    </vgrant:devices>
 *	  </metadata>
 *	  ...
 *
 * One element a device, its keys as attributes. It gives the same entries as `vgrant = [ ... ]` of
 * an xl configuration ("blk,target=/srv/web.img,queues=2"), in the same struct, so that all that
 * reads those reads these. What virDomainGetMetadata() returns, the element alone and without a
 * namespace, is understood as well.
 *
 * The text may come from anybody: it is parsed without a DTD, so without entities of its own, and
 * without files or network.
 */
#ifndef VG_DOMXML_H
#define VG_DOMXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "backend/toolstack/xlconf.h"

#define VG_DOMXML_URI	  "urn:vgrant:devices:1"
#define VG_DOMXML_FAMILY  "urn:vgrant:" /* what all our namespaces begin with, those to come, too */
#define VG_DOMXML_PREFIX  "vgrant"	/* usual prefix, and libvirt's key of the metadata */
#define VG_DOMXML_ELEMENT "devices"

#define VG_DOMXML_MAX (1 << 20) /* bytes of a document */

struct vg_domxml {
	struct vg_xlconf *conf; /* without entries of `virtio`; name is "" when there is none */
	char uuid[37];		/* as written; "": none */
	bool ours;		/* the element is there; an empty one, too */
	char *text;		/* for vg_domxml_key_place() */
	size_t *tags;		/* where each device's tag begins in it; NULL: not known */
};

/**
 * vg_domxml_parse - parse @len bytes of @text
 * @where: a file's name, or a word for what the text is; for sentences
 * @out: to be freed with vg_domxml_free()
 *
 * Places are of a device's tag, lines and columns from 1; columns are 0 when the text is not UTF-8.
 * A mistake in one device is told in that entry's err. Devices that vgrant does not have, and keys
 * that they do not, are the caller's to find, as with xl's files.
 *
 * Return: 0; -EINVAL: it is no well-formed XML, or no domain, or our element is not as it should be:
 * @err has "WHERE:LINE:COLUMN: ..."; -EFBIG; -ENOMEM.
 */
int vg_domxml_parse(const char *where, const char *text, size_t len, struct vg_domxml **out,
		    struct vg_err *err);

/** vg_domxml_read - the same of a file; "-": standard input. Also returns what open(2) does. */
int vg_domxml_read(const char *path, struct vg_domxml **out, struct vg_err *err);

void vg_domxml_free(struct vg_domxml *x);

/** vg_domxml_is - does the file begin as XML does? false also when it cannot be read */
bool vg_domxml_is(const char *path);

/** vg_domxml_key_place - where the attribute @key of device @i stands; or its tag, if it has none */
struct vg_xl_place vg_domxml_key_place(const struct vg_domxml *x, unsigned i, const char *key,
				       size_t key_len);

/**
 * vg_domxml_print - the element for the @n @specs ("blk,target=..."), as <metadata> takes it
 * @prefixed: with our namespace and its prefix; false: as `virsh metadata --set` wants it
 *
 * Return: 0, or -EINVAL: the spec of that index, in *@bad, is none.
 */
int vg_domxml_print(FILE *out, const char *const *specs, unsigned n, bool prefixed, unsigned *bad,
		    struct vg_err *err);

/**
 * vg_domxml_number - the text of @x with id= in some of its devices; nothing else is touched
 * @ids: for each device of x->conf the number to be written, or -1; only where it has none
 *
 * Return: to be freed; NULL: out of memory.
 */
char *vg_domxml_number(const struct vg_domxml *x, const int *ids);

/** vg_domxml_schema - print the RELAX NG schema of the element, from the devices' own tables */
void vg_domxml_schema(FILE *out);

#endif /* VG_DOMXML_H */
