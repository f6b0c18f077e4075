// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sandbox.c - see sandbox.h
 *
 * Two steps, with the creation of threads between them:
 *
 *  1. isolate  new network, IPC, UTS and mount namespaces; the root becomes an
 *              empty read-only tmpfs; then another user, no capabilities, no
 *              way back (no_new_privs), no core dumps (they would hold guest
 *              memory).
 *  2. restrict the loops are enabled, with a list of operations that the kernel takes from them;
 *              a seccomp allow list of system calls, their arguments included where these are
 *              numbers, on all threads. What is not on it kills the process, which the supervisor
 *              reports.
 *
 * Both lists are the sum of what every worker needs (below) and what its device and its port declare
 * (needs.h). The ring's list matters as much as the other: whoever can write a ring's queue has the
 * kernel open files and make sockets, and seccomp sees none of it.
 *
 * io_uring's own threads (io-wq) keep the namespaces and credentials of when they were started. A
 * disabled ring takes nothing, so that none can be started before step 2: a loop that is not
 * disabled makes that step fail.
 *
 * What stays reachable: the descriptors that are open.
 *  - The grant device cannot be restricted to one domain by Linux (it has no ioctl for that, as evtchn
 *    has): a worker that is taken over could map pages that other guests have granted to this
 *    domain, if it guesses their references. The event-channel handle is restricted
 *    (ports/grant/grant.c).
 *  - A CAN socket keeps the network namespace that it was made in, and CAN_RAW takes an interface with
 *    each bind(2) and each sendto(2): a CAN worker that is taken over reaches all CAN interfaces
 *    of this host, and its firewall is no wall then. A locked socket filter would not do: it would
 *    have to name an index, which changes when an interface goes and comes back, and says
 *    nothing about what is sent. Who must have that wall gives each guest one end of a vxcan
 *    pair, in a network namespace with nothing else in it.
 *  - The socket of syslog(3), where the log goes there, is one for datagrams, and sendmsg(2), which a
 *    vhost-user worker has to pass descriptors with, takes any address in its network namespace, that of
 *    the host: such a worker that is taken over can send datagrams to services with abstract
 *    addresses, as any user of the host can.
 */
#include "backend/worker/sandbox.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"

enum {
	/* Of malloc. With a number of its own it asks for that of the processors, by reading a file,
	 * when a second thread first allocates: in the sandbox that would be its end. */
	ARENAS = 16,
};

/* What every worker calls. io_uring_setup, io_uring_register, clone and execve are not here. */
static const struct vg_sandbox_call common[] = {
	VG_CALL(io_uring_enter), /* loop.c */
	/* malloc, thread stacks, records, guests' memory: nothing that can be executed. */
	{ SYS_mmap, true, 2, PROT_EXEC, 0 },
	{ SYS_mprotect, true, 2, PROT_EXEC, 0 },
	VG_CALL(munmap),
	VG_CALL(mremap),
	VG_CALL(madvise),
	VG_CALL(brk),
	VG_CALL(read), /* posts; events */
	VG_CALL(write),
	VG_CALL(readv),
	VG_CALL(writev),
	VG_CALL(recvmsg),  /* the supervisor */
	VG_CALL(recvfrom), /* trace.c */
	/* send(2): the supervisor, trace.c, syslog(3). Without an address: the kernel takes one for
	 * a datagram socket that is connected, too, and finds other services by it. */
	{ SYS_sendto, true, 4, UINT64_MAX, 0 },
	VG_CALL(close),
	VG_CALL(fstat),
	{ SYS_newfstatat, true, 3, 0x1000,
	  0x1000 },		/* AT_EMPTY_PATH: fstat(3) of glibc before 2.39 */
	VG_CALL_FCNTL(F_GETFL), /* and not to set them: stderr's are everybody's */
	VG_CALL_FCNTL(F_DUPFD_CLOEXEC),
	VG_CALL(clock_gettime),
	VG_CALL(clock_nanosleep),
	VG_CALL(gettimeofday),
#ifdef SYS_time
	VG_CALL(time),
#endif
	VG_CALL(futex),
	VG_CALL(sched_yield),
	VG_CALL(sched_getaffinity), /* malloc */
	VG_CALL(rt_sigreturn),
	VG_CALL(rt_sigprocmask),
	VG_CALL(rt_sigaction), /* sigbus.c */
	VG_CALL(sigaltstack),
	VG_CALL(restart_syscall),
	VG_CALL(getpid),
	VG_CALL(gettid),
	VG_CALL(exit),
	VG_CALL(exit_group),
	VG_CALLS_END,
};

/* Where a system runs from its initramfs (a small driver domain) that root cannot be pivoted away
 * (EINVAL, pivot_root(2)): it is covered, as switch_root(8) does. Return: 0, or -1 with errno. */
static int let_old_root_go(void)
{
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH);
	if (errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return -1;
	return chroot(".");
}

static int leave_namespaces(bool network, struct vg_err *err)
{
	if (unshare((network ? 0 : CLONE_NEWNET) | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS) < 0)
		return vg_fail(err, -errno, "namespaces cannot be left: %s", strerror(errno));
	/* An empty root: mount a tmpfs over a folder that every system has, make it the root, and
	 * let the old one go. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0555") <
		    0 ||
	    chdir("/tmp") < 0 || let_old_root_go() < 0 || chdir("/") < 0 ||
	    mount(NULL, "/", NULL,
		  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return vg_fail(err, -errno, "the worker's root cannot be emptied: %s",
			       strerror(errno));
	return 0;
}

static int become(uid_t uid, gid_t gid, struct vg_err *err)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return vg_fail(err, -errno, "user %u cannot be taken on: %s", (unsigned)uid,
			       strerror(errno));
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return vg_fail(err, -EPERM, "capabilities cannot be dropped");
	if (setresuid(0, 0, 0) == 0 || getuid() != uid || geteuid() != uid ||
	    capng_get_caps_process() < 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return vg_fail(err, -EPERM, "privileges are still there after they were dropped");
	return 0;
}

/* Namespaces and capabilities are a thread's own. A sanitizer may have started a thread by now. */
static int alone(struct vg_err *err)
{
#ifndef __SANITIZE_THREAD__
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	if (d && n != 3) /* ".", ".." and us */
		return vg_fail(err, -EBUSY, "the worker has threads before it gave up privileges");
#endif
	(void)err;
	return 0;
}

/* Who writes no file has no way to fill a file system. Logs in a file are still wanted. */
static void limit_files(void)
{
	static const struct rlimit none = { 0, 0 };
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		return;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
}

int vg_sandbox_isolate(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		       struct vg_err *err)
{
	static const struct rlimit none = { 0, 0 };
	bool network = false, files = false;
	int ret = alone(err);

	for (; *needs; needs++) {
		network |= (*needs)->network;
		files |= (*needs)->files;
	}
	mallopt(M_ARENA_MAX, ARENAS);
	setrlimit(RLIMIT_CORE, &none);
	if (!files && sb->seccomp)
		limit_files();
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return vg_fail(err, -errno, "core dumps cannot be switched off: %s",
			       strerror(errno));
	if (ret == 0 && geteuid() == 0 && sb->namespaces)
		ret = leave_namespaces(network, err);
	if (ret == 0 && geteuid() == 0 && sb->uid)
		ret = become(sb->uid, sb->gid, err);
	if (ret == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		ret = vg_fail(err, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	return ret;
}

static int allow(scmp_filter_ctx ctx, const struct vg_sandbox_call *calls)
{
	int ret = 0;

	for (; ret == 0 && calls && calls->nr >= 0; calls++) {
		if (calls->filtered)
			ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls->nr, 1,
					       SCMP_CMP(calls->arg, SCMP_CMP_MASKED_EQ, calls->mask,
							calls->value));
		else
			ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls->nr, 0);
		/* That a device and its port both need it. */
		if (ret == -EEXIST)
			ret = 0;
	}
	return ret;
}

static int filter_system_calls(const struct vg_sandbox_needs *const *needs, struct vg_err *err)
{
	/* abort(3) of ourselves, and no signal to anybody else */
	const struct vg_sandbox_call ourselves[] = {
		{ SYS_tgkill, true, 0, UINT32_MAX, (uint32_t)getpid() },
		VG_CALLS_END,
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = ctx ? 0 : -ENOMEM;

	if (ret == 0)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (ret == 0)
		ret = allow(ctx, common);
	if (ret == 0)
		ret = allow(ctx, ourselves);
	for (; ret == 0 && *needs; needs++)
		ret = allow(ctx, (*needs)->calls);
	if (ret == 0)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret < 0 ? vg_fail(err, ret, "system calls cannot be filtered: %s", strerror(-ret))
		       : 0;
}

int vg_sandbox_restrict(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
			struct vg_err *err)
{
	unsigned may = 0;
	int ret;

	for (const struct vg_sandbox_needs *const *n = needs; *n; n++)
		may |= (*n)->loop;
	ret = vg_loops_enable(sb->seccomp ? may : VG_LOOP_ANY);
	if (ret < 0)
		return vg_fail(err, ret, "the worker's io_uring cannot be restricted: %s",
			       ret == -EBUSY ? "it is in use already" : strerror(-ret));
	return sb->seccomp ? filter_system_calls(needs, err) : 0;
}

int vg_sandbox_enter(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		     struct vg_err *err)
{
	int ret = vg_sandbox_isolate(sb, needs, err);

	return ret < 0 ? ret : vg_sandbox_restrict(sb, needs, err);
}
