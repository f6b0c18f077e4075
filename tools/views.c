// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * views.c - what people look for in virsh, which cannot show devices that libvirt does not know
 *
 * `vgrant domblklist`, `domblkinfo` and `domiflist` have virsh's columns. A disk's target is the name * of its device, as it is in `vgrant list`: which name the guest gives it, vda or another, only the
 * guest knows. A network device's interface is its TAP in this domain.
 * `vgrant resize` stands beside `domblkinfo`: it finds a disk's file in the same way.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/params.h"
#include "tools/vgrant.h"

/* ---- tables ------------------------------------------------------------- */

enum { COLUMNS_MAX = 5, ROWS_MAX = 256, CELL = 512 };

struct table {
	const char *title[COLUMNS_MAX];
	unsigned n_columns, n_rows;
	char (*rows)[COLUMNS_MAX][CELL];
};

/* As virsh does: columns three blanks apart, and a line below the titles. */
static void print_table(const struct table *t)
{
	int width[COLUMNS_MAX], line = 1;

	for (unsigned c = 0; c < t->n_columns; c++) {
		width[c] = (int)strlen(t->title[c]);
		for (unsigned r = 0; r < t->n_rows; r++) {
			if ((int)strlen(t->rows[r][c]) > width[c])
				width[c] = (int)strlen(t->rows[r][c]);
		}
		line += width[c] + 3;
	}
	for (unsigned c = 0; c < t->n_columns; c++)
		printf("%s%-*s", c ? "   " : " ", c + 1 < t->n_columns ? width[c] : 0, t->title[c]);
	putchar('\n');
	for (int i = 0; i < line - 1; i++)
		putchar('-');
	putchar('\n');
	for (unsigned r = 0; r < t->n_rows; r++) {
		for (unsigned c = 0; c < t->n_columns; c++)
			printf("%s%-*s", c ? "   " : " ", c + 1 < t->n_columns ? width[c] : 0,
			       t->rows[r][c]);
		putchar('\n');
	}
}

/* "-", as virsh has it, for what is not known. */
static void put_cell(char *cell, const char *text)
{
	snprintf(cell, CELL, "%s", text && *text ? vgrant_printable(text) : "-");
}

/* ---- devices of a guest --------------------------------------------------- */

/* Value of @key in what @dev was configured with, in @params; NULL: it is not there. */
static const char *configured(struct json_object *dev, const char *key, struct vg_params *params)
{
	return vg_params_parse(vgrant_text(dev, "config"), params, NULL) == 0
		       ? vg_params_str(params, NULL, key)
		       : NULL;
}

static void disk_row(struct json_object *dev, char (*row)[CELL])
{
	struct vg_params params;

	put_cell(row[0], vgrant_text(dev, "name"));
	put_cell(row[1], configured(dev, "target", &params));
}

/* The bridge that interface @name of this domain is on, whoever put it there. Return: whether it is. */
static bool bridge_of(const char *name, char *bridge, size_t size)
{
	char path[80], link[PATH_MAX], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/net/%.31s/master", name);
	n = readlink(path, link, sizeof(link) - 1);
	if (!*name || strchr(name, '/') || n < 0)
		return false;
	link[n] = '\0';
	slash = strrchr(link, '/');
	snprintf(bridge, size, "%.31s", slash ? slash + 1 : link);
	return true;
}

/* Name and address that its place gave it are in its detail: "vif7.64=up 00:16:3e:...". */
static void interface_row(struct json_object *dev, char (*row)[CELL])
{
	char name[32] = "", mac[32] = "", master[32];
	const char *detail = vgrant_text(dev, "detail"), *bridge, *wanted, *lower;
	struct vg_params params, other;

	if (sscanf(detail, "%31[^= ]=%*s %31s", name, mac) < 2)
		name[0] = mac[0] = '\0';
	put_cell(row[0], name);
	wanted = configured(dev, "bridge", &params);
	bridge = bridge_of(name, master, sizeof(master)) ? master : wanted;
	/* Ports of all bridges of Open vSwitch are on its one datapath, or on none: the name is known to
	 * it and to the configuration alone. */
	if (wanted &&
	    ((bridge == wanted && (strchr(wanted, ':') || configured(dev, "script", &other))) ||
	     strcmp(bridge, "ovs-system") == 0)) {
		snprintf(master, sizeof(master), "%.*s", (int)strcspn(wanted, ".:"), wanted);
		bridge = master;
	}
	lower = configured(dev, "macvtap", &other);
	put_cell(row[1], lower ? "direct" : bridge && *bridge ? "bridge" : "ethernet");
	put_cell(row[2], lower ? lower : bridge);
	put_cell(row[3], "virtio");
	put_cell(row[4], mac[0] ? mac : configured(dev, "mac", &params));
}

static int list_those(const struct vgrant_options *opt, const char *guest, const char *type,
		      struct table *t, void (*row)(struct json_object *dev, char (*row)[CELL]))
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, guest, &answer, &devices);

	t->rows = calloc(ROWS_MAX, sizeof(*t->rows));
	if (ret == VGRANT_OK && !t->rows) {
		vgrant_complain("out of memory");
		ret = VGRANT_FAILED;
	}
	for (size_t i = 0;
	     ret == VGRANT_OK && i < json_object_array_length(devices) && t->n_rows < ROWS_MAX;
	     i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (vgrant_is_a(dev, type))
			row(dev, t->rows[t->n_rows++]);
	}
	if (ret == VGRANT_OK)
		print_table(t);
	free(t->rows);
	json_object_put(answer);
	return ret;
}

int vgrant_domblklist(const struct vgrant_options *opt, int argc, char **argv)
{
	struct table t = { .title = { "Target", "Source" }, .n_columns = 2 };

	(void)argc;
	return list_those(opt, argv[0], "blk", &t, disk_row);
}

int vgrant_domiflist(const struct vgrant_options *opt, int argc, char **argv)
{
	struct table t = { .title = { "Interface", "Type", "Source", "Model", "MAC" },
			   .n_columns = 5 };

	(void)argc;
	return list_those(opt, argv[0], "net", &t, interface_row);
}

/* ---- one disk ---------------------------------------------------------------- */

/* @device is a device's number or name, or the file it is read from. */
static struct json_object *find_disk(struct json_object *devices, const char *device)
{
	struct json_object *dev = vgrant_find_device(devices, device);
	struct vg_params params;

	if (dev)
		return vgrant_is_a(dev, "blk") ? dev : NULL;
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		const char *target;

		dev = json_object_array_get_idx(devices, i);
		target = vgrant_is_a(dev, "blk") ? configured(dev, "target", &params) : NULL;
		if (target && strcmp(target, device) == 0)
			return dev;
	}
	return NULL;
}

int vgrant_sizes_of(const char *path, uint64_t *capacity, uint64_t *allocation)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int ret = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		ret = -errno;
	} else if (S_ISBLK(st.st_mode)) {
		ret = ioctl(fd, BLKGETSIZE64, capacity) < 0 ? -errno : 0;
		*allocation = *capacity;
	} else {
		*capacity = (uint64_t)st.st_size;
		*allocation = (uint64_t)st.st_blocks * 512; /* stat(2): of that size everywhere */
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* The disk @device of @guest. Return: VGRANT_OK; *@target is in @params; *@answer is to be freed then. */
static int target_of(const struct vgrant_options *opt, const char *guest, const char *device,
		     struct vg_params *params, struct json_object **answer, const char **target)
{
	struct json_object *devices, *dev;
	int ret = vgrant_devices(opt, guest, answer, &devices);

	*target = NULL;
	if (ret != VGRANT_OK)
		return ret;
	dev = find_disk(devices, device);
	*target = dev ? configured(dev, "target", params) : NULL;
	if (*target)
		return VGRANT_OK;
	vgrant_complain("%s has no disk %s: vgrant domblklist shows what there is", guest, device);
	return VGRANT_FAILED;
}

int vgrant_domblkinfo(const struct vgrant_options *opt, int argc, char **argv)
{
	uint64_t capacity = 0, allocation = 0;
	struct json_object *answer = NULL;
	struct vg_params params;
	const char *target;
	int ret = target_of(opt, argv[0], argv[1], &params, &answer, &target), error;

	(void)argc;
	if (ret == VGRANT_OK) {
		error = vgrant_sizes_of(target, &capacity, &allocation);
		if (error < 0) {
			vgrant_complain("%s: %s", vgrant_printable(target), strerror(-error));
			ret = VGRANT_FAILED;
		}
	}
	if (ret == VGRANT_OK)
		printf("%-15s %llu\n%-15s %llu\n%-15s %llu\n",
		       "Capacity:", (unsigned long long)capacity,
		       "Allocation:", (unsigned long long)allocation,
		       "Physical:", (unsigned long long)capacity);
	json_object_put(answer);
	return ret;
}

/* ---- a larger disk ------------------------------------------------------------ */

/* Nothing but its length is changed: the device's worker sees it, and tells the guest. */
static int grow(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK), ret = VGRANT_FAILED;
	struct stat st;

	path = vgrant_printable(path);
	if (fd < 0 || fstat(fd, &st) < 0)
		vgrant_complain("%s: %s", path, strerror(errno));
	else if (S_ISBLK(st.st_mode))
		vgrant_complain("%s is a block device: make it larger with what made it, as "
				"lvextend; the guest is told within a second",
				path);
	else if (!S_ISREG(st.st_mode))
		vgrant_complain("%s is no file", path);
	else if (size < (uint64_t)st.st_size)
		vgrant_complain("%s has %lld bytes: a disk cannot become smaller while a guest "
				"uses it",
				path, (long long)st.st_size);
	else if (ftruncate(fd, (off_t)size) < 0)
		vgrant_complain("%s: %s", path, strerror(errno));
	else
		ret = VGRANT_OK;
	if (fd >= 0)
		close(fd);
	return ret;
}

int vgrant_resize(const struct vgrant_options *opt, int argc, char **argv)
{
	static const struct vg_param_def defs[] = {
		{ "SIZE", VG_PARAM_SIZE, true, 65536, INT64_MAX, NULL, "bytes" },
		{ 0 },
	};
	struct json_object *answer = NULL;
	struct vg_params one, params;
	const char *target;
	struct vg_err err;
	uint64_t size;
	int ret;

	(void)argc;
	if (vg_params_one("disk", "SIZE", argv[2], defs, &one, &err) < 0) {
		vgrant_complain("%s", err.text);
		return VGRANT_USAGE;
	}
	size = vg_params_uint(&one, defs, "SIZE");
	if (size % 4096) {
		vgrant_complain("SIZE must be a multiple of 4096; it is \"%s\"", argv[2]);
		return VGRANT_USAGE;
	}
	ret = target_of(opt, argv[0], argv[1], &params, &answer, &target);
	if (ret == VGRANT_OK)
		ret = grow(target, size);
	json_object_put(answer);
	return ret;
}
