// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sandbox, from within: what code that has taken over a worker can try, and how that ends.
 *
 * Each attack runs in a process of its own, which makes a loop, enters the sandbox as a worker does,
 * as root's and as one that never had privileges, and then attacks. Beforehand each that can is seen
 * to succeed without the sandbox: an attack that never works would prove nothing. The lines that
 * begin with "# " tell of each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <linux/falloc.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* After the types that it does not include. */
#include <xen/sys/gntdev.h>
#include <xengnttab.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/base/passing.h"
#include "backend/displays/needs.h"
#include "backend/memory/grants.h"
#include "backend/ports/grant/grant.h"
#include "backend/ports/vhost_user/vhost_user.h"
#include "backend/renderers/needs.h"
#include "backend/virtio/context.h"
#include "backend/virtio/device.h"
#include "backend/worker/sandbox.h"
#include "gntdev_restrict.h"
#include "tests/fakes/xen/fake_xen.h"

enum { NOBODY = 65534, RECORD_BYTES = 4096 };
enum mode { OPEN, ROOT, PLAIN };

static const char *const mode_names[] = { "no sandbox", "root's", "plain" };
static struct vg_loop *loop;
static pid_t victim;
static int record, sock[2], tty = -1, pass;
static int to_log = -1,
	   somebody = -1; /* what syslog(3) opens, and another service of this machine */
static struct sockaddr_un service;
/* A socket on a bus and another bus: of CAN, where the kernel has it; else a socket for datagrams and
 * another service. */
static int bus = -1, can;
static union {
	struct sockaddr_can can;
	struct sockaddr_un un;
} other_bus;
static socklen_t other_bus_len;
static struct can_frame frame = { .can_id = 0x123, .len = 1 };
static struct vg_err err;

/* ---- attacks: each returns what it got, negative errno if nothing --------------- */

#define CALL(...)                                                 \
	({                                                        \
		long r_ = syscall(__VA_ARGS__);                   \
		r_ < 0 ? -errno : (int)(r_ > INT32_MAX ? 1 : r_); \
	})

static int a_open(void)
{
	return CALL(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static int a_open_old(void)
{
	return CALL(SYS_open, "/etc/passwd", O_RDONLY, 0);
}

/* As open(3) to read is: what a renderer's filter has a handler answer. */
static int a_open_to_read(void)
{
	return CALL(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC, 0);
}

static int a_open_cpuinfo(void)
{
	return CALL(SYS_openat, AT_FDCWD, "/proc/cpuinfo", O_RDONLY | O_CLOEXEC, 0);
}

static int a_open_cpuinfo_path(void)
{
	return CALL(SYS_openat, AT_FDCWD, "/proc/cpuinfo", O_PATH | O_CLOEXEC, 0);
}

static int a_stat(void)
{
	struct stat st;

	return CALL(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, 0);
}

static int a_kill(void)
{
	return CALL(SYS_kill, victim, SIGKILL);
}

static int a_tgkill(void)
{
	return CALL(SYS_tgkill, victim, victim, SIGKILL);
}

static int a_tkill(void)
{
	return CALL(SYS_tkill, victim, SIGKILL);
}

static int a_pidfd(void)
{
	return CALL(SYS_pidfd_open, victim, 0);
}

static int a_setown(void)
{
	return CALL(SYS_fcntl, sock[0], F_SETOWN, victim);
}

static int a_setsig(void)
{
	return CALL(SYS_fcntl, sock[0], F_SETSIG, SIGKILL);
}

static int a_ptrace(void)
{
	return CALL(SYS_ptrace, PTRACE_SEIZE, victim, 0, 0);
}

static int a_vm_read(void)
{
	char c;
	struct iovec l = { &c, 1 }, r = { &loop, 1 };

	return CALL(SYS_process_vm_readv, victim, &l, 1, &r, 1, 0);
}

static int a_ftruncate(void)
{
	return CALL(SYS_ftruncate, record, 0);
}

static int a_fallocate(void)
{
	return CALL(SYS_fallocate, record, 0, 0, 1 << 20);
}

static int a_execve(void)
{
	char *argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

	return CALL(SYS_execve, argv[0], argv, NULL);
}

static int a_mmap_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

static int a_mprotect_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static int a_uring_setup(void)
{
	struct io_uring_params p = { 0 };

	return CALL(SYS_io_uring_setup, 8, &p);
}

static int a_uring_register(void)
{
	/* The loop's own ring; its descriptor is the first word that is told of it. */
	return CALL(SYS_io_uring_register, ((struct io_uring *)loop)->ring_fd,
		    IORING_REGISTER_FILES, &record, 1);
}

static int a_clone(void)
{
	int r = CALL(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (r == 0)
		_exit(0);
	return r;
}

static int a_clone3(void)
{
	struct {
		uint64_t w[11];
	} args = { { 0 } };
	int r;

	args.w[4] = SIGCHLD;
	r = CALL(SYS_clone3, &args, sizeof(args));
	if (r == 0)
		_exit(0);
	return r;
}

/* As fork(3) does it. */
static int a_fork(void)
{
	int r = CALL(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0, 0, 0);

	if (r == 0)
		_exit(0);
	return r;
}

static int a_socketpair(void)
{
	int pair[2];

	return CALL(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
}

static int a_unshare(void)
{
	return CALL(SYS_unshare, CLONE_NEWUSER);
}

static int a_setns(void)
{
	return CALL(SYS_setns, record, 0);
}

static int a_mount(void)
{
	return CALL(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}

static int a_chroot(void)
{
	return CALL(SYS_chroot, "/");
}

static int a_setuid(void)
{
	return CALL(SYS_setresuid, 0, 0, 0);
}

static int a_setrlimit(void)
{
	struct rlimit l = { 0, 0 };

	return CALL(SYS_prlimit64, 0, RLIMIT_CORE, &l, NULL);
}

static int a_dumpable(void)
{
	return CALL(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int a_bpf(void)
{
	char attr[128] = { 0 };

	return CALL(SYS_bpf, 0, attr, sizeof(attr));
}

static int a_keyctl(void)
{
	return CALL(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1);
}

static int a_perf(void)
{
	char attr[128] = { 0 };

	return CALL(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static int a_userfaultfd(void)
{
	return CALL(SYS_userfaultfd, 0);
}

static int a_memfd(void)
{
	return CALL(SYS_memfd_create, "x", 0);
}

static int a_bind(void)
{
	struct sockaddr sa = { .sa_family = AF_UNIX };

	return CALL(SYS_bind, sock[0], &sa, sizeof(sa.sa_family));
}

/* A datagram socket that is connected takes another address all the same (unix(7)), and one that is
 * abstract is looked up in the namespace that the socket was made in. */
static socklen_t service_len(void)
{
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   strlen(service.sun_path + 1));
}

static int a_sendto(void)
{
	return CALL(SYS_sendto, to_log, "x", 1, MSG_DONTWAIT, &service, service_len());
}

static int a_sendmsg(void)
{
	struct iovec iov = { (char *)(uintptr_t) "x", 1 };
	struct msghdr m = { .msg_name = &service, .msg_iov = &iov, .msg_iovlen = 1 };

	m.msg_namelen = service_len();
	return CALL(SYS_sendmsg, to_log, &m, MSG_DONTWAIT);
}

static int a_sendmmsg(void)
{
	struct iovec iov = { (char *)(uintptr_t) "x", 1 };
	struct mmsghdr m = { .msg_hdr = {
				     .msg_name = &service, .msg_iov = &iov, .msg_iovlen = 1 } };

	m.msg_hdr.msg_namelen = service_len();
	return CALL(SYS_sendmmsg, to_log, &m, 1, MSG_DONTWAIT);
}

/* ---- a bus: of several, what one socket reaches ------------------------------------ */

/* To an address of another bus than the one that the socket is bound to; of a service, that is taken. */
static int b_bind(void)
{
	struct sockaddr_un free = { .sun_family = AF_UNIX };

	return can ? CALL(SYS_bind, bus, &other_bus, other_bus_len)
		   : CALL(SYS_bind, bus, &free, sizeof(free.sun_family));
}

static int b_connect(void)
{
	return CALL(SYS_connect, bus, &other_bus, other_bus_len);
}

static int b_sendto(void)
{
	return CALL(SYS_sendto, bus, &frame, sizeof(frame), MSG_DONTWAIT, &other_bus,
		    other_bus_len);
}

static struct msghdr to_other_bus(void)
{
	static struct iovec iov = { &frame, sizeof(frame) };

	return (struct msghdr){ .msg_name = &other_bus,
				.msg_namelen = other_bus_len,
				.msg_iov = &iov,
				.msg_iovlen = 1 };
}

static int b_sendmsg(void)
{
	struct msghdr m = to_other_bus();

	return CALL(SYS_sendmsg, bus, &m, MSG_DONTWAIT);
}

static int b_sendmmsg(void)
{
	struct mmsghdr m = { .msg_hdr = to_other_bus() };

	return CALL(SYS_sendmmsg, bus, &m, 1, MSG_DONTWAIT);
}

static uintptr_t sealed_page(void)
{
	return vg_pass_floor() - (uintptr_t)sysconf(_SC_PAGESIZE);
}

/* With the header that a worker passes descriptors with, after an address was put into it, each way that
 * there may be; where there is none, at its place. */
static int send_forged(void)
{
	struct msghdr m = to_other_bus();
	void *p = (void *)sealed_page();

	memcpy(p, &m, sizeof(m));
	return CALL(SYS_sendmsg, bus, p, MSG_DONTWAIT);
}

static int f_mprotect(void)
{
	int r = CALL(SYS_mprotect, sealed_page(), 4096, PROT_READ | PROT_WRITE);

	return r < 0 ? r : send_forged();
}

static int f_map_over(void)
{
	long r = CALL(SYS_mmap, sealed_page(), 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return r < 0 ? (int)r : send_forged();
}

/* One that begins below, and goes on over it. */
static int f_map_below(void)
{
	long r = CALL(SYS_mmap, sealed_page() - 65536, 65536 * 2, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return r < 0 ? (int)r : send_forged();
}

static int f_unmap(void)
{
	int r = CALL(SYS_munmap, sealed_page() - 65536, 65536 * 2);

	return r < 0 ? r : f_map_over();
}

static int f_move_to(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long r = CALL(SYS_mremap, p, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, sealed_page());

	return r < 0 ? (int)r : send_forged();
}

static int f_move_away(void)
{
	long r = CALL(SYS_mremap, sealed_page(), 4096, 8192, MREMAP_MAYMOVE);

	return r < 0 ? (int)r : f_map_over();
}

/* An empty page is no header; whether one can be made of it is the question. */
static int f_empty(void)
{
	return CALL(SYS_madvise, sealed_page(), 4096, MADV_DONTNEED);
}

/* The kernel writes where it is told to: what it received, for one. */
static int f_receive(void)
{
	struct msghdr m = to_other_bus();

	if (write(sock[1], &m, sizeof(m)) != sizeof(m))
		return -EIO;
	return CALL(SYS_read, sock[0], sealed_page(), sizeof(m)) < 0 ? -EFAULT : send_forged();
}

/* stderr is the same open file for all workers and for the supervisor. */
static int a_setfl(void)
{
	return CALL(SYS_fcntl, sock[0], F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
}

static int a_setsockopt(void)
{
	int one = 1;

	return CALL(SYS_setsockopt, sock[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
}

static int a_getrandom(void)
{
	char c;

	return CALL(SYS_getrandom, &c, 1, 0);
}

static int a_tiocsti(void)
{
	char c = 'x';

	return CALL(SYS_ioctl, tty, TIOCSTI, &c);
}

static int a_fionread(void)
{
	int n;

	return CALL(SYS_ioctl, sock[0], FIONREAD, &n);
}

/* A grant that tells when it is unmapped: by any event channel that a process of this domain has, other
 * workers' for one (drivers/xen/events/events_base.c, evtchn_get()). Here there is no such file: that
 * the kernel says so is success. */
static int a_unmap_notify(void)
{
	struct ioctl_gntdev_unmap_notify n = { .action = UNMAP_NOTIFY_SEND_EVENT };
	int ret = CALL(SYS_ioctl, sock[0], IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &n);

	return ret == -ENOTTY ? 0 : ret;
}

/* The requests of another architecture have other numbers: 20 is getpid there, 39 mkdir. */
static int a_int80(void)
{
	long r = 0;

#ifdef __x86_64__
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
#else
	r = -ENOSYS;
#endif
	return (int)r;
}

static int a_x32(void)
{
	return CALL(0x40000000 | SYS_getppid);
}

/* What a ring makes of an operation that loop.c never prepares. */
static int do_in(struct io_uring *ring, const struct io_uring_sqe *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int ret;

	if (!sqe)
		return -EBUSY;
	*sqe = *op;
	sqe->user_data = 0xa77ac;
	ret = io_uring_submit_and_wait(ring, 1);
	if (ret < 0)
		return ret;
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret < 0)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

/* A loop begins with its ring; that for commands follows. */
static int ring_do(const struct io_uring_sqe *op)
{
	return do_in((struct io_uring *)loop, op);
}

static int commands_do(const struct io_uring_sqe *op)
{
	return do_in((struct io_uring *)loop + 1, op);
}

static int a_ring_open(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_OPENAT,
				   .fd = AT_FDCWD,
				   .addr = (uintptr_t) "/etc/passwd" };

	return ring_do(&op);
}

static int a_ring_ftruncate(void)
{
	struct io_uring_sqe op = { .opcode = 55, .fd = record };

	return ring_do(&op);
}

static int b_ring_send(void)
{
	/* SEND with an address: Linux 6.0; before, and there, SENDMSG. */
	struct io_uring_sqe op = { .opcode = IORING_OP_SEND,
				   .fd = bus,
				   .addr = (uintptr_t)&frame,
				   .len = sizeof(frame),
				   .addr2 = (uintptr_t)&other_bus,
				   .addr_len = (uint16_t)other_bus_len };

	return ring_do(&op);
}

static int b_ring_sendmsg(void)
{
	struct msghdr m = to_other_bus();
	struct io_uring_sqe op = {
		.opcode = IORING_OP_SENDMSG, .fd = bus, .addr = (uintptr_t)&m, .len = 1
	};

	return ring_do(&op);
}

static int a_ring_fallocate(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_FALLOCATE, .fd = record, .addr = 1 << 20 };

	return ring_do(&op);
}

static int a_ring_unlink(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_UNLINKAT,
				   .fd = AT_FDCWD,
				   .addr = (uintptr_t) "/etc/vgrant-no-such-file" };
	int ret = ring_do(&op);

	return ret == -ENOENT ? 0 : ret; /* it was looked for: that is success */
}

/* A link is a flag: with it a forbidden operation could hide behind an allowed one. */
static int a_ring_link(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_TIMEOUT, .flags = IOSQE_IO_LINK };
	struct __kernel_timespec ts = { .tv_nsec = 1 };

	op.addr = (uintptr_t)&ts;
	op.len = 1;
	op.fd = -1;
	return ring_do(&op) == -ETIME ? 0 : -EACCES;
}

static int a_ring_sockets(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET };
	int best = -EACCES;

	for (int family = 0; family < 46; family++) {
		for (unsigned t = 0; t < COUNT(types); t++) {
			struct io_uring_sqe op = { .opcode = 45,
						   .fd = family,
						   .off = (unsigned)types[t] };
			int ret = ring_do(&op);

			if (ret != -EACCES)
				best = ret >= 0 ? ret : best < 0 ? ret : best;
		}
	}
	return best;
}

/* Every operation that no device of ours needs: refused as such, before anything is looked at. */
static int a_ring_others(void)
{
	static const uint8_t ours[] = { IORING_OP_URING_CMD, /* below */
					IORING_OP_POLL_ADD,	IORING_OP_TIMEOUT,
					IORING_OP_ASYNC_CANCEL, IORING_OP_READ,
					IORING_OP_READV,	IORING_OP_WRITE,
					IORING_OP_WRITEV,	IORING_OP_READ_FIXED,
					IORING_OP_WRITE_FIXED,	IORING_OP_FSYNC,
					IORING_OP_FALLOCATE };

	for (int code = 0; code < 64; code++) {
		struct io_uring_sqe op = { .opcode = (uint8_t)code, .fd = -1 };
		int ret;

		if (memchr(ours, code, sizeof(ours)))
			continue;
		ret = ring_do(&op);
		if (ret != -EACCES && ret != -EINVAL) /* EINVAL: this kernel does not know it */
			return 0;
	}
	return -EACCES;
}

/* What io_uring makes of a command for a file: of a block device to discard, of a socket to set its
 * options (6.7): here, to tell who sends. */
static struct io_uring_sqe option_of_socket(void)
{
	static int one = 1;
	struct io_uring_sqe op = { .opcode = IORING_OP_URING_CMD, .fd = sock[0] };

	op.cmd_op = 3; /* SOCKET_URING_OP_SETSOCKOPT */
	op.addr = (uint64_t)SO_PASSCRED << 32 | SOL_SOCKET;
	op.splice_fd_in = sizeof(one);
	op.addr3 = (uintptr_t)&one;
	return op;
}

static int a_ring_command(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_URING_CMD, .fd = record };
	int ret = ring_do(&op);

	return ret == -EACCES ? ret : 0;
}

static int a_ring_option(void)
{
	struct io_uring_sqe op = option_of_socket();

	return ring_do(&op);
}

/* The ring for commands has one file, which is none of these. */
static int c_option(void)
{
	struct io_uring_sqe op = option_of_socket();

	return commands_do(&op);
}

static int c_option_of_its_file(void)
{
	struct io_uring_sqe op = option_of_socket();

	op.fd = 0;
	op.flags = IOSQE_FIXED_FILE;
	return commands_do(&op); /* of no socket: it cannot */
}

static int c_register(void)
{
	struct io_uring_files_update update = { .fds = (uintptr_t)&sock[0] };
	struct io_uring_sqe op = option_of_socket();
	int ret = CALL(SYS_io_uring_register, ((struct io_uring *)loop + 1)->ring_fd,
		       IORING_REGISTER_FILES_UPDATE, &update, 1);

	op.fd = 0;
	op.flags = IOSQE_FIXED_FILE;
	return ret < 0 ? ret : commands_do(&op);
}

/* The same by an operation. */
static int c_update(void)
{
	struct io_uring_sqe update = {
		.opcode = IORING_OP_FILES_UPDATE, .fd = -1, .addr = (uintptr_t)&sock[0], .len = 1
	};

	return commands_do(&update);
}

static int c_write(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_WRITE,
				   .flags = IOSQE_FIXED_FILE,
				   .addr = (uintptr_t)&frame,
				   .len = sizeof(frame) };

	return commands_do(&op);
}

static const struct attack {
	const char *name;
	int (*run)(void);
	bool works; /* as root without a sandbox, on every kernel and in every container */
	/* The devices or ports that may do it, and must be able to; after a ?: those that may, but whom
	 * the namespaces of root's workers keep from it. */
	const char *whose;
} attacks[] = {
	{ "openat(2) of /etc/passwd", a_open, true, NULL },
	{ "open(2) of /etc/passwd", a_open_old, true, NULL },
	{ "openat(2) of /etc/passwd, as open(3) does", a_open_to_read, true, NULL },
	{ "openat(2) of /proc/cpuinfo", a_open_cpuinfo, true, "renderer" },
	{ "openat(2) of /proc/cpuinfo, for its path", a_open_cpuinfo_path, true, NULL },
	{ "stat of /etc/passwd", a_stat, true, NULL },
	{ "kill(2) of another worker", a_kill, true, NULL },
	{ "tgkill(2) of another worker", a_tgkill, true, NULL },
	{ "tkill(2) of another worker", a_tkill, true, NULL },
	{ "pidfd_open(2) of another worker", a_pidfd, true, NULL },
	{ "fcntl(2) F_SETOWN", a_setown, true, NULL },
	{ "fcntl(2) F_SETSIG", a_setsig, true, NULL },
	{ "ptrace(2) of another worker", a_ptrace, false, NULL },
	{ "process_vm_readv(2) of another worker", a_vm_read, true, NULL },
	{ "ftruncate(2) of the record", a_ftruncate, true, NULL },
	{ "fallocate(2) of the record", a_fallocate, true, NULL },
	{ "mmap(2), writable and executable", a_mmap_exec, true, "renderer" },
	{ "mprotect(2), executable", a_mprotect_exec, true, "renderer" },
	{ "execve(2)", a_execve, false, NULL },
	{ "io_uring_setup(2)", a_uring_setup, true, NULL },
	{ "io_uring_register(2)", a_uring_register, true, NULL },
	{ "clone(2)", a_clone, true, NULL },
	{ "clone3(2)", a_clone3, true, NULL },
	{ "fork(3)", a_fork, true, "display" },
	{ "socketpair(2)", a_socketpair, true, "display" },
	{ "unshare(2), of a user namespace", a_unshare, false, NULL },
	{ "setns(2)", a_setns, false, NULL },
	{ "mount(2)", a_mount, false, NULL },
	{ "chroot(2)", a_chroot, true, NULL },
	{ "setresuid(2) to 0", a_setuid, true, NULL },
	{ "prlimit(2)", a_setrlimit, true, NULL },
	{ "prctl(2) PR_SET_DUMPABLE", a_dumpable, true, NULL },
	{ "bpf(2)", a_bpf, false, NULL },
	{ "keyctl(2)", a_keyctl, false, NULL },
	{ "perf_event_open(2)", a_perf, false, NULL },
	{ "userfaultfd(2)", a_userfaultfd, false, NULL },
	{ "memfd_create(2)", a_memfd, true, NULL },
	{ "bind(2)", a_bind, true, NULL },
	{ "bind(2) to another bus", b_bind, true, NULL },
	{ "connect(2) to another bus", b_connect, false, NULL },
	{ "sendto(2) to another bus", b_sendto, true, NULL },
	{ "sendmsg(2) to another bus", b_sendmsg, true, NULL },
	{ "sendmmsg(2) to another bus", b_sendmmsg, true, NULL },
	{ "io_uring: SEND to another bus", b_ring_send, true, NULL },
	{ "io_uring: SENDMSG to another bus", b_ring_sendmsg, true, NULL },
	{ "the passing header: made writable", f_mprotect, true, NULL },
	{ "the passing header: mapped over", f_map_over, true, NULL },
	{ "the passing header: mapped over from below", f_map_below, true, NULL },
	{ "the passing header: unmapped", f_unmap, true, NULL },
	{ "the passing header: moved to", f_move_to, true, NULL },
	{ "the passing header: moved away", f_move_away, true, NULL },
	{ "the passing header: emptied", f_empty, true, NULL },
	{ "the passing header: read(2) into it", f_receive, false, NULL },
	{ "sendto(2) with an address", a_sendto, true, NULL },
	{ "sendmsg(2) with an address", a_sendmsg, true, NULL },
	{ "sendmmsg(2) with an address", a_sendmmsg, true, NULL },
	{ "fcntl(2) F_SETFL", a_setfl, true, "vhost-user" },
	{ "setsockopt(2)", a_setsockopt, true, NULL },
	{ "getrandom(2)", a_getrandom, true, "rng display viewer TLS renderer" },
	{ "ioctl(2) TIOCSTI on a terminal", a_tiocsti, false, NULL },
	{ "ioctl(2) FIONREAD", a_fionread, true, NULL },
	{ "ioctl(2) of grants: others' event channels", a_unmap_notify, true, NULL },
	{ "system call of i386", a_int80, false, NULL },
	{ "system call of x32", a_x32, false, NULL },
	{ "io_uring: open /etc/passwd", a_ring_open, true, NULL },
	{ "io_uring: unlink", a_ring_unlink, true, NULL },
	{ "io_uring: truncate the record", a_ring_ftruncate, false, NULL },
	{ "io_uring: fallocate", a_ring_fallocate, true, NULL },
	{ "io_uring: command", a_ring_command, true, NULL },
	{ "io_uring: option of a socket", a_ring_option, false, NULL },
	{ "the ring for commands: option of a socket", c_option, false, NULL },
	{ "the ring for commands: of its own file", c_option_of_its_file, false, NULL },
	{ "the ring for commands: another file", c_register, false, NULL },
	{ "the ring for commands: another file, by itself", c_update, true, NULL },
	{ "the ring for commands: write", c_write, true, NULL },
	{ "io_uring: a flag that orders operations", a_ring_link, true, NULL },
	{ "io_uring: sockets of 46 families", a_ring_sockets, true, NULL },
	{ "io_uring: every operation that is not ours", a_ring_others, true, NULL },
};

/* ---- running them ------------------------------------------------------------ */

static const struct vg_sandbox_needs *const no_device[] = { &vg_grant_port_needs, NULL };

/* What a process keeps of its sandbox, which was forked in it; NULL: all. */
static const struct vg_sandbox_call *narrowed;

/* What a process opens with its privileges; NULL: nothing but its loop. */
static void (*open_before)(void);

static void enter(enum mode mode, const struct vg_sandbox_needs *const *needs)
{
	struct vg_sandbox sb = {
		.uid = NOBODY,
		.gid = NOBODY,
		.namespaces = true,
		.seccomp = true,
		.file_bytes = RECORD_BYTES,
	};

	if (mode == PLAIN && (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
			      (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)))
		_exit(100);
	if (vg_loop_new_disabled(16, &loop) < 0)
		_exit(101);
	vg_loops_discard(record);
	if (open_before)
		open_before();
	if (mode == OPEN) {
		sb = (struct vg_sandbox){ 0 };
		vg_pass_seal(); /* to be attacked */
	}
	if (vg_sandbox_enter(&sb, needs, &err) < 0) {
		printf("# %s\n", err.text);
		fflush(stdout);
		_exit(102);
	}
	if (narrowed && vg_sandbox_narrow(narrowed) < 0)
		_exit(104);
}

/* Or its queue would fill, and the next datagram not be taken. */
static void drain_somebody(void)
{
	char buf[64];

	while (recv(somebody, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		;
}

struct outcome {
	int status; /* of waitpid(2) */
	int result; /* 1 << 20: it could not tell */
};

static struct outcome attack(enum mode mode, const struct vg_sandbox_needs *const *needs,
			     int (*run)(void))
{
	struct outcome o = { .result = 1 << 20 };
	int to_us[2];
	pid_t pid;

	drain_somebody();
	assert_int_equal(pipe2(to_us, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		alarm(20); /* none of this waits */
		enter(mode, needs);
		o.result = run();
		if (write(to_us[1], &o.result, sizeof(o.result)) != sizeof(o.result))
			_exit(103);
		_exit(0);
	}
	close(to_us[1]);
	assert_int_equal(waitpid(pid, &o.status, 0), pid);
	if (read(to_us[0], &o.result, sizeof(o.result)) != sizeof(o.result))
		o.result = 1 << 20;
	close(to_us[0]);
	return o;
}

static bool repelled(const struct outcome *o)
{
	if (WIFSIGNALED(o->status))
		return WTERMSIG(o->status) == SIGSYS;
	return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0 && o->result < 0;
}

static void tell(enum mode mode, const char *name, const struct outcome *o)
{
	char text[64];

	if (WIFSIGNALED(o->status))
		snprintf(text, sizeof(text), "killed, %s", strsignal(WTERMSIG(o->status)));
	else if (WEXITSTATUS(o->status))
		snprintf(text, sizeof(text), "the worker ended with status %d",
			 WEXITSTATUS(o->status));
	else if (o->result < 0)
		snprintf(text, sizeof(text), "%s", strerror(-o->result));
	else
		snprintf(text, sizeof(text), "SUCCEEDED");
	printf("# %-10s %-46s %s\n", mode_names[mode], name, text);
}

static void start_victim(void)
{
	victim = fork();
	if (victim == 0) {
		if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		for (;;)
			pause();
	}
}

static bool victim_lives(void)
{
	return waitpid(victim, NULL, WNOHANG) == 0;
}

/* Two vcan, where root can make them, and a socket on the first. */
static int begin_can(void)
{
	struct sockaddr_can first = { .can_family = AF_CAN };

	bus = geteuid() == 0 ? socket(PF_CAN, SOCK_RAW | SOCK_CLOEXEC, CAN_RAW) : -1;
	if (bus < 0)
		return -errno;
	if (system("for i in 0 1; do ip link add vgsand$i type vcan && ip link set vgsand$i up || "
		   "exit 1; done 2>/dev/null") == 0) {
		first.can_ifindex = (int)if_nametoindex("vgsand0");
		other_bus.can = first;
		other_bus.can.can_ifindex = (int)if_nametoindex("vgsand1");
		other_bus_len = sizeof(other_bus.can);
		if (bind(bus, (struct sockaddr *)&first, sizeof(first)) == 0)
			return 0;
	}
	close(bus);
	return -ENODEV;
}

static void begin_bus(void)
{
	memset(&other_bus, 0, sizeof(other_bus));
	can = begin_can() == 0;
	if (can)
		return;
	bus = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	other_bus.un = service;
	other_bus_len = service_len();
}

static void end_bus(void)
{
	close(bus);
	if (can && system("ip link del vgsand0; ip link del vgsand1") != 0)
		print_message("# vcan interfaces are left\n");
}

static int begin(void **state)
{
	(void)state;
	narrowed = NULL;
	record = memfd_create("record", MFD_CLOEXEC);
	tty = posix_openpt(O_RDWR | O_NOCTTY);
	start_victim();
	somebody = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	to_log = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	service = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(service.sun_path + 1, sizeof(service.sun_path) - 1, "vgrant-test-%d",
		 (int)getpid());
	if (bind(somebody, (struct sockaddr *)&service, service_len()) < 0)
		return -1;
	begin_bus();
	return ftruncate(record, 4096) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sock) < 0;
}

static int end(void **state)
{
	(void)state;
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	close(record);
	close(tty);
	close(sock[0]);
	close(sock[1]);
	close(somebody);
	close(to_log);
	end_bus();
	return 0;
}

static void attacks_work_without(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	for (unsigned i = 0; i < COUNT(attacks); i++) {
		struct outcome o;

		if (!attacks[i].works)
			continue;
		o = attack(OPEN, no_device, attacks[i].run);
		if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) || o.result < 0) {
			tell(OPEN, attacks[i].name, &o);
			fail_msg("%s does not even work without a sandbox", attacks[i].name);
		}
		if (!victim_lives())
			start_victim();
	}
}

/* Whether @name, after @sign, is one of the words of @whose. */
static bool is_of(const char *whose, const char *sign, const char *name)
{
	char word[64];
	const char *at;
	size_t len = (size_t)snprintf(word, sizeof(word), "%s%s", sign, name);

	at = whose && *name ? strstr(whose, word) : NULL;
	return at && (at == whose || at[-1] == ' ') && (!at[len] || at[len] == ' ');
}

/* All attacks on a worker of @needs, which is @device behind @port, or on what every worker has. */
static void repels(enum mode mode, const struct vg_sandbox_needs *const *needs, const char *device,
		   const char *port)
{
	unsigned through = 0, may = 0;
	struct stat st;

	for (unsigned i = 0; i < COUNT(attacks); i++) {
		const struct attack *a = &attacks[i];
		struct outcome o = attack(mode, needs, a->run);
		bool its = is_of(a->whose, "", device) || is_of(a->whose, "", port);
		bool may_be = is_of(a->whose, "?", device);

		if (!device[0])
			tell(mode, a->name, &o);
		if (its && repelled(&o)) {
			fail_msg("a %s over %s could not do what it needs: %s", device, port,
				 a->name);
		} else if (!its && !may_be && !repelled(&o)) {
			if (device[0])
				tell(mode, a->name, &o);
			through++;
		}
		may += its;
		assert_true(victim_lives());
		if (its)
			assert_int_equal(ftruncate(record, 4096), 0);
	}
	assert_int_equal(fstat(record, &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(through, 0);
	if (device[0])
		printf("# %-10s a %s over %-33s %u attacks, no other than its own %u\n",
		       mode_names[mode], device, port, (unsigned)COUNT(attacks), may);
}

static void root_is_held(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	repels(ROOT, no_device, "", "");
}

static void plain_is_held(void **state)
{
	(void)state;
	repels(PLAIN, no_device, "", "");
}

/* The same on each device, which has more than that, behind each port: as vgrantd starts it for a
 * guest, and as a VMM's user starts it. */
static void every_device_is_held(void **state)
{
	static const struct {
		const char *name;
		const struct vg_sandbox_needs *needs;
		enum mode mode;
	} ports[] = { { "grants", &vg_grant_port_needs, ROOT },
		      { "vhost-user", &vg_vu_needs, PLAIN } };

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	for (unsigned d = 0; vg_devices[d]; d++) {
		/* One that needs nothing has what every worker has. */
		for (unsigned p = 0; vg_devices[d]->needs && p < COUNT(ports); p++) {
			const struct vg_sandbox_needs *const needs[] = { ports[p].needs,
									 vg_devices[d]->needs,
									 NULL };

			repels(geteuid() == 0 ? ports[p].mode : PLAIN, needs, vg_devices[d]->name,
			       ports[p].name);
		}
	}
}

/* What shows a guest's picture, and what talks to a viewer of it. */
static void displays_are_held(void **state)
{
	static const struct vg_sandbox_needs *const needs[] = { &vg_display_needs, NULL };

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	repels(geteuid() == 0 ? ROOT : PLAIN, needs, "display", "sockets");
	narrowed = vg_viewer_calls;
	repels(geteuid() == 0 ? ROOT : PLAIN, needs, "viewer", "sockets");
	narrowed = vg_tls_calls;
	repels(geteuid() == 0 ? ROOT : PLAIN, needs, "TLS", "sockets");
	narrowed = NULL;
}

/* What draws for a guest may make machine code, and that code may no more than it. */
static void renderers_are_held(void **state)
{
	static const struct vg_sandbox_needs *const needs[] = { &vg_renderer_needs, NULL };

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	repels(geteuid() == 0 ? ROOT : PLAIN, needs, "renderer", "sockets");
}

/* Return: bytes of what a renderer is given for /proc/cpuinfo. */
static int read_cpuinfo(void)
{
	char c;
	int fd = a_open_cpuinfo();

	return fd < 0 ? fd : CALL(SYS_read, fd, &c, 1);
}

static int open_no_path(void)
{
	return CALL(SYS_openat, AT_FDCWD, NULL, O_RDONLY | O_CLOEXEC, 0);
}

static int raise_sigsys(void)
{
	return raise(SIGSYS);
}

/* Again and again, and a handler that is asked for anything else ends the process. */
static void what_a_renderer_opens_is_empty(void **state)
{
	static const struct vg_sandbox_needs *const needs[] = { &vg_renderer_needs, NULL };
	struct outcome o;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	for (enum mode mode = geteuid() == 0 ? ROOT : PLAIN; mode <= PLAIN; mode++) {
		o = attack(mode, needs, read_cpuinfo);
		assert_int_equal(o.status, 0);
		assert_int_equal(o.result, 0);
		o = attack(mode, needs, a_open_to_read);
		assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
		o = attack(mode, needs, raise_sigsys);
		assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
		o = attack(mode, needs, open_no_path);
		assert_true(WIFSIGNALED(o.status));
	}
}

/* ---- a file that a worker writes: longer, or larger ------------------------------ */

/* Beside the record, a file of a disk's file system, where space behind the end is had without a change
 * of the size (ext4, XFS). */
static int image = -1;

static int image_write(int64_t at, uint8_t flags)
{
	static char buf[RECORD_BYTES];
	struct io_uring_sqe op = { .opcode = IORING_OP_WRITE,
				   .flags = flags,
				   .fd = image,
				   .off = (uint64_t)at,
				   .addr = (uintptr_t)buf,
				   .len = sizeof(buf) };
	int ret = ring_do(&op);

	return ret < 0 ? ret : ret == sizeof(buf) ? 0 : -EFBIG;
}

static int i_write(void)
{
	return image_write(0, 0);
}

static int i_write_behind(void)
{
	return image_write(RECORD_BYTES, 0);
}

static int i_write_across(void)
{
	return image_write(RECORD_BYTES / 2, 0);
}

static int i_write_far(void)
{
	return image_write((int64_t)1 << 40, 0);
}

static int i_write_by_a_thread(void)
{
	return image_write(RECORD_BYTES, IOSQE_ASYNC);
}

static int i_plain_write(void)
{
	char c = 'x';

	return lseek(image, 0, SEEK_END) < 0 ? -errno : CALL(SYS_write, image, &c, 1);
}

static int i_truncate(void)
{
	return CALL(SYS_ftruncate, image, 2 * RECORD_BYTES);
}

static int i_fallocate(int mode, int64_t at)
{
	return CALL(SYS_fallocate, image, mode, at, (int64_t)1 << 20);
}

static int i_allocate(void)
{
	return i_fallocate(0, 0);
}

static int i_allocate_behind(void)
{
	return i_fallocate(FALLOC_FL_KEEP_SIZE, 0);
}

static int i_zero_behind(void)
{
	return i_fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, RECORD_BYTES);
}

static int i_zero_across(void)
{
	return i_fallocate(FALLOC_FL_ZERO_RANGE, 0);
}

static int i_punch(void)
{
	return CALL(SYS_fallocate, image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 512);
}

static int i_zero(void)
{
	return CALL(SYS_fallocate, image, FALLOC_FL_ZERO_RANGE, 512, 512);
}

static int i_insert(void)
{
	return i_fallocate(FALLOC_FL_INSERT_RANGE, 0);
}

static int i_ring_allocate(void)
{
	struct io_uring_sqe op = { .opcode = IORING_OP_FALLOCATE,
				   .fd = image,
				   .len = FALLOC_FL_KEEP_SIZE,
				   .addr = 1 << 20 };

	return ring_do(&op);
}

static int i_raise(void)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };
	int ret = CALL(SYS_prlimit64, 0, RLIMIT_FSIZE, &rl, NULL);

	return ret < 0 ? ret : i_write_behind();
}

static int64_t blocks_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, RECORD_BYTES);
	return (int64_t)st.st_blocks;
}

static void image_stays_as_long_as_it_is(void **state)
{
	static const struct {
		const char *name;
		int (*run)(void);
		bool its; /* what it is for */
	} tries[] = {
		{ "io_uring: write its image", i_write, true },
		{ "punch a hole into it", i_punch, true },
		{ "zero a part of it", i_zero, true },
		{ "io_uring: write behind its end", i_write_behind, false },
		{ "io_uring: write across its end", i_write_across, false },
		{ "io_uring: write far behind its end", i_write_far, false },
		{ "io_uring: write behind its end by a thread", i_write_by_a_thread, false },
		{ "write(2) behind its end", i_plain_write, false },
		{ "ftruncate(2) to twice its length", i_truncate, false },
		{ "fallocate(2) of more", i_allocate, false },
		{ "fallocate(2) of more that keeps the size", i_allocate_behind, false },
		{ "zero what is behind its end, that keeps the size", i_zero_behind, false },
		{ "zero over its end", i_zero_across, false },
		{ "insert a range", i_insert, false },
		{ "io_uring: fallocate that keeps the size", i_ring_allocate, false },
		{ "raise the limit", i_raise, false },
	};
	const struct vg_sandbox_needs *const needs[] = { &vg_grant_port_needs,
							 vg_device_find("blk")->needs, NULL };
	char name[] = "/tmp/vgrant-image-XXXXXX";

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	image = mkostemp(name, O_CLOEXEC);
	assert_true(image >= 0);
	unlink(name);
	for (enum mode mode = geteuid() == 0 ? ROOT : PLAIN; mode <= PLAIN; mode++) {
		assert_int_equal(ftruncate(image, RECORD_BYTES), 0);
		for (unsigned i = 0; i < COUNT(tries); i++) {
			struct outcome o = attack(mode, needs, tries[i].run);

			tell(mode, tries[i].name, &o);
			if (tries[i].its) {
				assert_int_equal(o.status, 0);
				assert_true(o.result == 0 || o.result == -EOPNOTSUPP);
				blocks_of(image);
				continue;
			}
			assert_true(repelled(&o));
			/* What was across may have been written up to the end: within one block. */
			assert_in_range(blocks_of(image), 0, RECORD_BYTES / 512);
		}
	}
	close(image);
}

static int make_socket(void)
{
	return CALL(SYS_socket, pass, SOCK_DGRAM, 0);
}

/* socket(2) kills at the first try, so each family has a process of its own. */
static void no_socket_of_any_family(void **state)
{
	(void)state;
	for (enum mode mode = geteuid() == 0 ? ROOT : PLAIN; mode <= PLAIN; mode++) {
		for (pass = 0; pass < 46; pass++) {
			struct outcome o = attack(mode, no_device, make_socket);

			assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
		}
		printf("# %-10s %-46s killed, each\n", mode_names[mode],
		       "socket(2) of 46 families");
	}
}

/* What a device needs it has, and nobody else. */
static int file_io(void)
{
	char c = 'x';
	struct io_uring_sqe put = {
		.opcode = IORING_OP_WRITE, .fd = record, .addr = (uintptr_t)&c, .len = 1
	};
	int ret = ring_do(&put);

	return ret < 0 ? ret
		       : CALL(SYS_fallocate, record, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      64);
}

/* Return: 1: the descriptor has come. */
static int pass_one(void)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec out[2] = { { "a", 1 }, { "b", 1 } };
	char got[3] = "";
	struct iovec in = { got, 2 };
	struct msghdr m = { .msg_iov = &in,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	long n = vg_pass(sock[0], out, 2, record);

	if (n != 2 || recvmsg(sock[1], &m, MSG_DONTWAIT) != 2 || strcmp(got, "ab") != 0)
		return -EIO;
	c = CMSG_FIRSTHDR(&m);
	return c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int));
}

static void devices_have_what_they_need(void **state)
{
	const struct vg_device_ops *blk = vg_device_find("blk"), *rng = vg_device_find("rng");
	const struct vg_sandbox_needs *const of_blk[] = { &vg_grant_port_needs, blk->needs, NULL };
	const struct vg_sandbox_needs *const of_rng[] = { &vg_vu_needs, rng->needs, NULL };
	struct outcome o;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	for (enum mode mode = geteuid() == 0 ? ROOT : PLAIN; mode <= PLAIN; mode++) {
		o = attack(mode, of_blk, file_io);
		assert_int_equal(o.status, 0);
		assert_int_equal(o.result, 0);
		o = attack(mode, of_rng, file_io);
		assert_int_equal(o.result, -EACCES);
		o = attack(mode, of_rng, a_getrandom);
		assert_int_equal(o.status, 0);
		assert_int_equal(o.result, 1);
		o = attack(mode, of_rng, pass_one);
		assert_int_equal(o.status, 0);
		assert_int_equal(o.result, 1);
		o = attack(mode, of_blk, pass_one);
		assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
		o = attack(mode, of_blk, a_getrandom);
		assert_true(WIFSIGNALED(o.status));
		/* What every worker does: memory, logs, time, its own abort(3). */
		o = attack(mode, of_rng, a_fallocate);
		assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
	}
}

static int abort_myself(void)
{
	abort();
}

static void a_worker_can_abort(void **state)
{
	struct outcome o = attack(PLAIN, no_device, abort_myself);

	(void)state;
	assert_true(WIFSIGNALED(o.status));
	assert_int_equal(WTERMSIG(o.status), SIGABRT);
}

/* ---- grants of another guest --------------------------------------------------- */

/* A guest that a worker serves, and one that it does not: a page of each, granted to this domain. */
static struct fx_world *world;
static struct whose {
	unsigned domid;
	uint32_t ref;
} own, other;
static struct vg_dev served;

static void grant_a_page(struct whose *w)
{
	struct fx_domain *guest;
	long pfn;

	assert_int_equal(fx_domain_create(world, NULL, &w->domid), 0);
	assert_int_equal(fx_domain_open(world, w->domid, &guest), 0);
	pfn = fx_pages_alloc(guest, 1);
	w->ref = (uint32_t)fx_grant(guest, 0, (unsigned long)pfn, 1, 0);
	fx_domain_close(guest);
}

static void open_port(void)
{
	static const struct vg_budget budget = VG_BUDGET_ALL;
	static const struct vg_grant_port_events events;
	static struct vg_record_map record_map;
	static struct vg_params params;
	struct vg_grant_port *port;

	if (vg_params_parse("rng", &params, &err) < 0 ||
	    vg_dev_open(&served, vg_device_find("rng"), loop, vg_loop_new_disabled, &params, &err) <
		    0 ||
	    vg_grant_port_new(&served, own.domid, &budget, &record_map, &events, &port, &err) < 0) {
		printf("# %s\n", err.text);
		fflush(stdout);
		_exit(105);
	}
}

static xengnttab_handle *handle(void)
{
	return ((struct vg_grant_mem *)served.mem)->xgt;
}

static int map_of(struct whose *w)
{
	errno = 0;
	return xengnttab_map_domain_grant_refs(handle(), 1, w->domid, &w->ref, PROT_READ) ? 0
											  : -errno;
}

static int copy_of(const struct whose *w, bool from)
{
	static char buf[64];
	xengnttab_grant_copy_segment_t s = { .len = sizeof(buf) };
	union xengnttab_copy_ptr *there = from ? &s.source : &s.dest;

	s.flags = from ? GNTCOPY_source_gref : GNTCOPY_dest_gref;
	there->foreign.domid = (uint16_t)w->domid;
	there->foreign.ref = w->ref;
	(from ? &s.dest : &s.source)->virt = buf;
	if (xengnttab_grant_copy(handle(), 1, &s) < 0)
		return -errno;
	return s.status == GNTST_okay ? 0 : -EFAULT;
}

static int g_map_own(void)
{
	return map_of(&own);
}

static int g_copy_own(void)
{
	int ret = copy_of(&own, true);

	return ret < 0 ? ret : copy_of(&own, false);
}

static int g_map(void)
{
	return map_of(&other);
}

/* One of its own first, so that the call as a whole is not refused for its first. */
static int g_map_among_own(void)
{
	uint32_t domids[] = { own.domid, other.domid }, refs[] = { own.ref, other.ref };

	errno = 0;
	return xengnttab_map_grant_refs(handle(), 2, domids, refs, PROT_READ) ? 0 : -errno;
}

static int g_copy_from(void)
{
	return copy_of(&other, true);
}

static int g_copy_to(void)
{
	return copy_of(&other, false);
}

/* From one guest's page to another's, of which one is its own. */
static int g_copy_across(void)
{
	xengnttab_grant_copy_segment_t s = { .len = 64,
					     .flags = GNTCOPY_source_gref | GNTCOPY_dest_gref };

	s.source.foreign.domid = (uint16_t)other.domid;
	s.source.foreign.ref = other.ref;
	s.dest.foreign.domid = (uint16_t)own.domid;
	s.dest.foreign.ref = own.ref;
	if (xengnttab_grant_copy(handle(), 1, &s) < 0)
		return -errno;
	return s.status == GNTST_okay ? 0 : -EFAULT;
}

/* After which it would be the other guest's. */
static int g_restrict_again(void)
{
	struct ioctl_gntdev_restrict_domid to = { .domid = other.domid };
	int ret = ioctl(xengnttab_fd(handle()), IOCTL_GNTDEV_RESTRICT_DOMID, &to);

	return ret < 0 ? -errno : g_map();
}

/* A kernel with the patch of backend/linux, and one without. */
static void grants_of_other_guests(bool stock)
{
	static const struct {
		const char *name;
		int (*run)(void);
		bool own, not_ours; /* of its own guest; what no worker has, on any kernel */
	} tries[] = {
		{ "map its own guest's grant", g_map_own, true, false },
		{ "copy from and to its own guest's grant", g_copy_own, true, false },
		{ "map another guest's grant", g_map, false, false },
		{ "map another guest's grant among its own", g_map_among_own, false, false },
		{ "copy from another guest's grant", g_copy_from, false, false },
		{ "copy to another guest's grant", g_copy_to, false, false },
		{ "copy another guest's grant to its own", g_copy_across, false, false },
		{ "restrict the handle to another guest", g_restrict_again, false, true },
	};
	const struct vg_sandbox_needs *const needs[] = { &vg_grant_port_needs,
							 vg_device_find("rng")->needs, NULL };
	enum mode mode = geteuid() == 0 ? ROOT : PLAIN;

	assert_int_equal(fx_world_start(NULL, &world), 0);
	fx_gntdev_stock(world, stock);
	assert_int_equal(vg_grant_can_keep(), !stock);
	grant_a_page(&own);
	grant_a_page(&other);
	open_before = open_port;
	printf("# %s\n",
	       stock ? "/dev/xen/gntdev as Linux has it" : "with IOCTL_GNTDEV_RESTRICT_DOMID");
	for (unsigned i = 0; i < COUNT(tries); i++) {
		struct outcome o = attack(mode, needs, tries[i].run);

		tell(mode, tries[i].name, &o);
		if (tries[i].not_ours) {
			assert_true(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS);
			continue;
		}
		assert_int_equal(o.status, 0);
		assert_int_equal(o.result, tries[i].own || stock ? 0 : -EACCES);
	}
	open_before = NULL;
	fx_world_stop(world);
}

static void other_guests_grants_are_out_of_reach(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	grants_of_other_guests(false);
}

static void without_the_patch_a_worker_works(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it has a thread of its own, whose system calls are not ours to know */
#endif
	grants_of_other_guests(true);
}

/* ---- threads ------------------------------------------------------------------- */

enum { THREADS = 3 };

static void open_file(struct vg_post *p)
{
	(void)p;
	a_open();
}

/* A worker with threads: each has a loop of its own. Writes a byte when it is closed in; attacks
 * from a thread when it is told to. */
static void threaded(enum mode mode, int ready)
{
	struct vg_sandbox sb = {
		.uid = NOBODY, .gid = NOBODY, .namespaces = true, .seccomp = true
	};
	struct vg_post attack_post = { .run = open_file };
	struct vg_loop *loops[THREADS];
	struct vg_ctx ctx[THREADS] = { { .index = 0 } };
	char c;

	if (mode == PLAIN && geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(100);
	for (unsigned i = 0; i < THREADS; i++) {
		if (vg_loop_new_disabled(16, &loops[i]) < 0)
			_exit(101);
	}
	if (vg_sandbox_isolate(&sb, no_device, &err) < 0)
		_exit(102);
	for (unsigned i = 1; i < THREADS; i++) {
		ctx[i].loop = loops[i];
		if (vg_ctx_start(&ctx[i]) < 0)
			_exit(103);
	}
	if (vg_sandbox_restrict(&sb, no_device, &err) < 0)
		_exit(104);
	if (write(ready, "r", 1) != 1 || read(ready, &c, 1) != 1)
		_exit(105);
	vg_loop_post(loops[THREADS - 1], &attack_post);
	vg_loop_run(loops[0]);
	_exit(106);
}

/* Return: whether it is there still. */
static bool check_thread(const char *path, bool root)
{
	char line[256];
	FILE *f = fopen(path, "re");
	unsigned seen = 0;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		unsigned long n[4];

		if (sscanf(line, "Uid: %lu %lu %lu %lu", &n[0], &n[1], &n[2], &n[3]) == 4) {
			for (unsigned i = 0; i < 4 && root; i++)
				assert_int_equal(n[i], NOBODY);
			seen++;
		} else if (sscanf(line, "CapPrm: %lx", &n[0]) == 1 ||
			   sscanf(line, "CapEff: %lx", &n[0]) == 1 ||
			   sscanf(line, "CapInh: %lx", &n[0]) == 1) {
			assert_int_equal(n[0], 0);
			seen++;
		} else if (sscanf(line, "NoNewPrivs: %lu", &n[0]) == 1) {
			assert_int_equal(n[0], 1);
			seen++;
		} else if (sscanf(line, "Seccomp: %lu", &n[0]) == 1) {
			assert_int_equal(n[0], 2);
			seen++;
		}
	}
	fclose(f);
	assert_int_equal(seen, 6);
	return true;
}

/* All threads of @pid that there are. Return: how many; 0: some came or went meanwhile, io_uring's
 * threads of the kernel, which a listing makes skip others. */
static unsigned check_threads(pid_t pid)
{
	char path[300];
	unsigned threads = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, e->d_name);
		if (!check_thread(path, geteuid() == 0))
			break;
		threads++;
	}
	closedir(d);
	return e ? 0 : threads;
}

static void threads_are_held_too(enum mode mode)
{
	int pair[2], status;
	unsigned threads = 0;
	pid_t pid;
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		threaded(mode, pair[1]);
	}
	close(pair[1]);
	assert_int_equal(read(pair[0], &c, 1), 1);
	for (unsigned i = 0; i < 1000 && threads < THREADS; i++) {
		threads = check_threads(pid);
		if (threads < THREADS)
			usleep(1000);
	}
	assert_true(threads >= THREADS); /* a sanitizer may have its own */
	assert_int_equal(write(pair[0], "a", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	close(pair[0]);
	printf("# %-10s %-46s all of them\n", mode_names[mode],
	       "threads without privileges, filtered");
}

static void all_threads_are_held(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* its own thread makes calls that end the process */
#endif
	if (geteuid() == 0)
		threads_are_held_too(ROOT);
	threads_are_held_too(PLAIN);
}

/* A loop that took operations before the sandbox could have threads of the kernel's with privileges. */
static void a_loop_that_is_open_is_refused(void **state)
{
	struct vg_sandbox sb = { .seccomp = true };
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (vg_loop_new(8, &loop) < 0)
			_exit(1);
		_exit(vg_sandbox_restrict(&sb, no_device, &err) == -EBUSY &&
				      strstr(err.text, "in use already")
			      ? 0
			      : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int ioctl_errno(unsigned long request)
{
	return syscall(SYS_ioctl, sock[0], request, NULL) < 0 ? errno : 0;
}

/* A daemon that was lent a descriptor of the grant device, and what it executes: each of that device's
 * requests, whatever stands in the half of a register that the kernel does not look at. */
static void a_daemon_asks_for_no_grants(void **state)
{
	static const unsigned long requests[] = {
		IOCTL_GNTDEV_MAP_GRANT_REF,	   IOCTL_GNTDEV_UNMAP_GRANT_REF,
		IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, IOCTL_GNTDEV_SET_MAX_GRANTS,
		IOCTL_GNTDEV_SET_UNMAP_NOTIFY,	   IOCTL_GNTDEV_GRANT_COPY,
		IOCTL_GNTDEV_RESTRICT_DOMID
	};
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (ioctl_errno(requests[0]) == EPERM ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || vg_sandbox_no_grants(&err) < 0)
			_exit(1);
		for (unsigned i = 0; i < COUNT(requests); i++) {
			if (ioctl_errno(requests[i]) != EPERM ||
			    ioctl_errno(requests[i] | 0xffffffff00000000) != EPERM)
				_exit(2);
		}
		_exit(ioctl_errno(TIOCGWINSZ) == ENOTTY ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(attacks_work_without),
		T(root_is_held),
		T(plain_is_held),
		T(every_device_is_held),
		T(displays_are_held),
		T(renderers_are_held),
		T(what_a_renderer_opens_is_empty),
		T(image_stays_as_long_as_it_is),
		T(no_socket_of_any_family),
		T(devices_have_what_they_need),
		T(a_worker_can_abort),
		T(other_guests_grants_are_out_of_reach),
		T(without_the_patch_a_worker_works),
		T(all_threads_are_held),
		T(a_loop_that_is_open_is_refused),
		T(a_daemon_asks_for_no_grants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
