// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guess.c - what another format looks like
 *
 * A raw image has no mark of its own, and whoever may write it can make it look
 * like anything: so this is for a warning, and never decides how an image is read.
 * The marks are compared as bytes; nothing is parsed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/images/image.h"

static const struct {
	const char *name;
	bool at_end; /* offset counts from the last 512 bytes */
	unsigned offset, len;
	const char *mark;
} marks[] = {
	{ "qcow2", false, 0, 4, "QFI\xfb" },
	{ "VHDX", false, 0, 8, "vhdxfile" },
	{ "VHD", false, 0, 8, "conectix" },
	{ "VHD", true, 0, 8, "conectix" }, /* of fixed size */
	{ "VMDK", false, 0, 4, "KDMV" },
	{ "VMDK", false, 0, 4, "COWD" },
	{ "VMDK", false, 0, 21, "# Disk DescriptorFile" },
	{ "VDI", false, 0x40, 4, "\x7f\x10\xda\xbe" },
	{ "QED", false, 0, 4, "QED\0" },
	{ "Parallels", false, 0, 16, "WithoutFreeSpace" },
	{ "Parallels", false, 0, 16, "WithouFreSpacExt" },
	{ "DMG", true, 0, 4, "koly" },
	{ "a file packed with gzip", false, 0, 3, "\x1f\x8b\x08" },
	{ "a file packed with xz", false, 0, 6,
	  "\xfd"
	  "7zXZ\0" },
	{ "a file packed with zstd", false, 0, 4, "\x28\xb5\x2f\xfd" },
	{ "a file packed with bzip2", false, 0, 4, "BZh9" },
	{ "a ZIP archive", false, 0, 4, "PK\3\4" },
};

const char *vg_image_guess(const void *head, size_t head_len, const void *tail, size_t tail_len)
{
	for (size_t i = 0; i < COUNT(marks); i++) {
		const char *p = head;
		size_t len = head_len;

		if (marks[i].at_end) {
			if (tail_len < 512)
				continue;
			p = (const char *)tail + tail_len - 512;
			len = 512;
		}
		if (len >= marks[i].offset + marks[i].len &&
		    memcmp(p + marks[i].offset, marks[i].mark, marks[i].len) == 0)
			return marks[i].name;
	}
	return NULL;
}

const char *vg_image_guess_file(const char *path)
{
	char head[VG_IMAGE_HEAD], tail[512];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *name = NULL;
	ssize_t n, m;
	off_t end;

	if (fd < 0)
		return NULL;
	n = pread(fd, head, sizeof(head), 0);
	end = lseek(fd, 0, SEEK_END);
	m = end >= (off_t)sizeof(tail) ? pread(fd, tail, sizeof(tail), end - (off_t)sizeof(tail))
				       : 0;
	if (n > 0)
		name = vg_image_guess(head, (size_t)n, tail, m > 0 ? (size_t)m : 0);
	close(fd);
	return name;
}
