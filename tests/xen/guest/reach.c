// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * reach - what a handle of /dev/xen/gntdev, or privcmd, reaches of a domain, for tests in dom0
 *
 *	reach PID DOMID...	with the open file of process PID, as code in that
 *				process would
 *	reach own DOMID...	with one that it opens itself
 *	reach foreign PID|own DOMID...	likewise, of privcmd: foreign memory; and what
 *				Xen says to this domain, by a hypercall
 *
 * Of each domain it takes the grant of its xenstore page, which the toolstack makes
 * for dom0 before a guest runs, and which it never ends. It is mapped read-only, read
 * from by copy, and written to, zero bytes. At last it asks for the handle to be
 * restricted to the last domain. A line for each of the four says how it went.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xen/grant_table.h>

/* After the types that it does not include. */
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>

#include "backend/linux/include/gntdev_restrict.h"

#ifdef __aarch64__
#define RAM 0x40000 /* frame: Xen, public/arch-arm.h, GUEST_RAM0_BASE */
#else
#define RAM 0
#endif

enum {
	XENSTORE = 1, /* GNTTAB_RESERVED_XENSTORE */
	PAGE = 4096,
	FRAME = RAM + 0xc000, /* of a guest's memory, see tests/xen/front */
	XEN_VERSION = 17,     /* __HYPERVISOR_xen_version */
};

_Noreturn static void fail(const char *what)
{
	perror(what);
	exit(2);
}

/* The open file of process @pid whose name has @device. */
static int take(int pid, const char *device)
{
	char path[64], name[400], target[64];
	struct dirent *e;
	ssize_t n;
	DIR *d;
	int fd, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (pidfd < 0 || !d)
		fail(path);
	while ((e = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		n = readlink(name, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (!strstr(target, device))
			continue;
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
		if (fd < 0)
			fail(name);
		printf("reach: %s is %s\n", name, target);
		return fd;
	}
	fprintf(stderr, "process %d has no %s\n", pid, device);
	exit(2);
}

static int map(int fd, uint16_t domid)
{
	struct ioctl_gntdev_map_grant_ref m = { .count = 1,
						.refs = { { .domid = domid, .ref = XENSTORE } } };
	struct ioctl_gntdev_unmap_grant_ref u = { .count = 1 };
	void *p;
	int e = 0;

	if (ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &m) < 0)
		return errno;
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)m.index);
	if (p == MAP_FAILED)
		e = errno;
	else
		munmap(p, PAGE);
	u.index = m.index;
	ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &u);
	return e;
}

static int copy(int fd, uint16_t domid, uint16_t flags, uint16_t len)
{
	static char page[PAGE] __attribute__((aligned(PAGE)));
	struct ioctl_gntdev_grant_copy_segment s = { .flags = flags, .len = len };
	struct ioctl_gntdev_grant_copy c = { .count = 1, .segments = &s };

	if (flags == GNTCOPY_source_gref) {
		s.source.foreign.domid = domid;
		s.source.foreign.ref = XENSTORE;
		s.dest.virt = page;
	} else {
		s.dest.foreign.domid = domid;
		s.dest.foreign.ref = XENSTORE;
		s.source.virt = page;
	}
	if (ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &c) < 0)
		return errno;
	return s.status == GNTST_okay ? 0 : EFAULT;
}

static int map_foreign(int fd, uint16_t domid)
{
	xen_pfn_t frame = FRAME;
	int err = 0, e = 0;
	struct privcmd_mmapbatch_v2 b = { .num = 1, .dom = domid, .arr = &frame, .err = &err };
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return errno;
	b.addr = (uintptr_t)p;
	if (ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &b) < 0)
		e = errno;
	munmap(p, PAGE);
	return e ? e : -err;
}

static int hypercall(int fd)
{
	privcmd_hypercall_t h = { .op = XEN_VERSION };

	return ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &h) < 0 ? errno : 0;
}

static void tell(const char *domid, const char *what, int e)
{
	printf("domain %s: %s: %s\n", domid, what, e ? strerror(e) : "done");
}

static void grants(int fd, int n, char **domids)
{
	struct ioctl_gntdev_restrict_domid to = { .domid = (uint32_t)atoi(domids[n - 1]) };

	for (int i = 0; i < n; i++) {
		uint16_t domid = (uint16_t)atoi(domids[i]);

		tell(domids[i], "map", map(fd, domid));
		tell(domids[i], "copy from", copy(fd, domid, GNTCOPY_source_gref, 64));
		tell(domids[i], "copy to", copy(fd, domid, GNTCOPY_dest_gref, 0));
	}
	tell(domids[n - 1], "restrict to", ioctl(fd, IOCTL_GNTDEV_RESTRICT_DOMID, &to) ? errno : 0);
}

static void foreign(int fd, int n, char **domids)
{
	for (int i = 0; i < n; i++)
		tell(domids[i], "foreign map", map_foreign(fd, (uint16_t)atoi(domids[i])));
	tell("0", "hypercall", hypercall(fd));
}

int main(int argc, char **argv)
{
	int is_foreign = argc > 1 && strcmp(argv[1], "foreign") == 0;
	const char *device = is_foreign ? "/dev/xen/privcmd" : "/dev/xen/gntdev";
	int fd;

	argc -= is_foreign;
	argv += is_foreign;
	if (argc < 3) {
		fprintf(stderr, "usage: reach [foreign] PID|own DOMID...\n");
		return 2;
	}
	fd = strcmp(argv[1], "own") == 0 ? open(device, O_RDWR | O_CLOEXEC)
					 : take(atoi(argv[1]), device);
	if (fd < 0)
		fail(device);
	(is_foreign ? foreign : grants)(fd, argc - 2, argv + 2);
	return 0;
}
