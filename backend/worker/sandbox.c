// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sandbox.c - see sandbox.h
 *
 * Two steps, in this order:
 *
 *  1. isolate  new network, IPC, UTS and mount namespaces; the root becomes an
 *              empty read-only tmpfs; then another user, no capabilities, no
 *              way back (no_new_privs), no core dumps (they would hold guest
 *              memory).
 *  2. restrict a seccomp allow list. What is not on it kills the process, which
 *              the supervisor reports with the number of the system call.
 *
 * What stays reachable: the descriptors that are open. The grant device cannot
 * be restricted to one domain by Linux; a worker that is taken over could map
 * pages that other guests have granted to this domain, if it guesses their
 * references. The event-channel handle is restricted (ports/grant.c).
 */
#include "backend/worker/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/base/container.h"

/*
 * Beside each, who needs it. io_uring_setup and io_uring_register are not here: the loop exists
 * already, and the operations it may do are those that loop.c prepares.
 */
static const int allowed[] = {
	SCMP_SYS(io_uring_enter), /* loop.c */
	SCMP_SYS(ioctl),	  /* gntdev, evtchn: map, unmap, copy, notify, bind */
	SCMP_SYS(mmap),		  /* grants; malloc */
	SCMP_SYS(munmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(read),	 /* evtchn: which port fired */
	SCMP_SYS(write), /* evtchn: unmask; log to stderr */
	SCMP_SYS(writev),
	SCMP_SYS(readv),
	SCMP_SYS(accept4), /* socket_worker.c: the next front-end */
	SCMP_SYS(recvmsg), /* the supervisor; front-ends; SocketCAN */
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(setsockopt), /* can/socket.c: confirmations on and off */
	SCMP_SYS(getsockopt),
	SCMP_SYS(bind),	     /* can/socket.c: an interface that comes back, see there */
	SCMP_SYS(fallocate), /* blk.c */
	SCMP_SYS(fdatasync),
	SCMP_SYS(fstat), /* stdio, assert paths of libc */
	SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),
	SCMP_SYS(fcntl),
	SCMP_SYS(close),
	SCMP_SYS(getrandom), /* rng.c; malloc */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(futex),
	SCMP_SYS(rt_sigreturn), /* libc, signals */
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(tgkill),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
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

static int leave_namespaces(struct vg_err *err)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS) < 0)
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

static int filter_system_calls(struct vg_err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; ret == 0 && i < COUNT(allowed); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (ret == 0)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret < 0 ? vg_fail(err, ret, "system calls cannot be filtered: %s", strerror(-ret))
		       : 0;
}

int vg_sandbox_enter(const struct vg_sandbox *sb, struct vg_err *err)
{
	static const struct rlimit none = { 0, 0 };
	int ret = 0;

	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return vg_fail(err, -errno, "core dumps cannot be switched off: %s",
			       strerror(errno));
	if (geteuid() == 0 && sb->namespaces)
		ret = leave_namespaces(err);
	if (ret == 0 && geteuid() == 0 && sb->uid)
		ret = become(sb->uid, sb->gid, err);
	if (ret == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		ret = vg_fail(err, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	if (ret == 0 && sb->seccomp)
		ret = filter_system_calls(err);
	return ret;
}
