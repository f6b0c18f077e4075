// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sandbox.c - see sandbox.h
 *
 * Two steps, with the creation of threads between them:
 *
 *  1. isolate  new network, IPC, UTS and mount namespaces; the root becomes an
 *              empty read-only tmpfs; then another user, no capabilities, the
 *              worker's profile of AppArmor where that is in force (confine.h), no
 *              way back (no_new_privs), no core dumps (they would hold guest
 *              memory).
 *  2. restrict the loops are enabled, with a list of operations that the kernel takes from them;
 *              a seccomp allow list of system calls, their arguments included where these are
 *              numbers, on all threads. What is not on it kills the process, which the supervisor
 *              reports; but for one file that a library opens in a renderer, which reads as empty (trap.c).
 *
 * Both lists are the sum of what every worker needs (below) and what its device and its port declare
 * (needs.h). The ring's list matters as much as the other: whoever can write a ring's queue has the
 * kernel open files and make sockets, and seccomp sees none of it. Commands for files (URING_CMD) are
 * in no list, since to a socket they set its options: a disk's discards have a ring beside, which
 * takes them for the disk alone (loop.c).
 *
 * io_uring's own threads (io-wq) keep the namespaces and credentials of when they were started. A
 * disabled ring takes nothing, so that none can be started before step 2: a loop that is not
 * disabled makes that step fail.
 *
 * What stays reachable: the descriptors that are open.
 *  - The grant device. Where the kernel has IOCTL_GNTDEV_RESTRICT_DOMID, a driver edited by
 *    backend/linux, the handle is its guest's for good before this begins (ports/grant/grant.c), as
 *    that of event channels is on every Linux (ports/grant/channels.c).
 *    Where it has not, a worker that was taken over can map and copy whatever any guest has granted to
 *    this domain, if it guesses the references, which are small numbers; nothing else of a guest, for
 *    Xen lets a grant be used by the domain alone that it names (xen/common/grant_table.c). Linux' own
 *    drivers/xen/gntdev.c looks at no domain, and xentoolcore_restrict_all() puts /dev/null in its
 *    place (tools/libs/gnttab/gnttab_core.c). Domain and references lie side by side in memory that the
 *    kernel writes answers to, so that a filter cannot hold them, nor a page that is sealed; another
 *    process that sets mappings up would be one more round trip for each request. Who must have that
 *    wall without the driver gives each guest, or each group that trusts each other, a driver domain of
 *    its own: grants to one are nothing to another.
 *  - With --xen, the device of foreign memory, and the grant device as above. It is restricted to the
 *    guest of the first region (IOCTL_PRIVCMD_RESTRICT): until then a worker has heard its front-end,
 *    who could have anything of its domain anyway, and nothing of a guest.
 *  - Sockets. Those that were made before belong to the host's network namespace for good, and a
 *    socket of CAN or for datagrams takes an address with each message: a CAN interface, a service
 *    with an abstract name (that of syslog(3) is such a socket). So no worker has a system call that
 *    tells the kernel an address: no bind(2), no connect(2), no sendmmsg(2); sendto(2) with NULL
 *    alone, and sendmsg(2), which a vhost-user worker passes descriptors with, with one header alone
 *    that nobody can change (base/passing.h). Sockets reach whom they were bound or connected to
 *    outside; one that is needed later comes from the supervisor, which has the configuration
 *    (vg_dev_ask()).
 *  - A disk's image, as far as it is long (RLIMIT_FSIZE), and its space, which the guest could fill
 *    anyway. What no limit of the kernel's holds is an allocation behind the end that leaves the size as
 *    it is: so fallocate(2) is allowed by its mode, and no ring has it (base/hand.h).
 *  - What the supervisor opens for whoever asks: what the configuration names, VG_LIMIT_ASKED times in
 *    the life of a worker.
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
#include "backend/base/passing.h"
#include "backend/worker/confine.h"
#include "backend/worker/trap.h"

enum {
	/* Of malloc. With a number of its own it asks for that of the processors, by reading a file,
	 * when a second thread first allocates: in the sandbox that would be its end. */
	ARENAS = 16,
};

/* What every worker calls. io_uring_setup, io_uring_register, clone and execve are not here. */
static const struct vg_sandbox_call common[] = {
	VG_CALL(io_uring_enter), /* loop.c */
	VG_CALL(brk),		 /* and allow_memory() */
	VG_CALL(read),		 /* posts; events */
	VG_CALL(write),
	VG_CALL(writev),
	VG_CALL(recvmsg),  /* the supervisor */
	VG_CALL(recvfrom), /* trace.c */
	/* send(2): the supervisor, trace.c, syslog(3). Without an address: the kernel takes one for
	 * a datagram socket that is connected, too, and finds other services by it. */
	VG_CALL_NULL(sendto, 4),
	VG_CALL(close),
	VG_CALL(fstat),
	/* AT_EMPTY_PATH: fstat(3) of glibc before 2.39 */
	{ .nr = SYS_newfstatat, .filtered = true, .arg = 3, .mask = 0x1000, .value = 0x1000 },
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

/*
 * A file system is not filled by making files longer: what would write behind @longest has EFBIG. The
 * kernel looks at that for regular files alone, whoever of the process writes, its io_uring's threads
 * included. Only the soft limit of who writes any, so that the supervisor can raise it, whoever that
 * runs as, when the user has made an image longer (vg_ipc_answer()); prlimit(2) and setrlimit(2) are
 * on no worker's list. Logs are no files of a worker's (daemon/child_log.h).
 */
static void limit_files(uint64_t longest)
{
	struct rlimit rl = { 0, 0 };

	if (longest && getrlimit(RLIMIT_FSIZE, &rl) == 0 && longest < rl.rlim_cur)
		rl.rlim_cur = longest;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &rl);
}

int vg_sandbox_isolate(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		       struct vg_err *err)
{
	static const struct rlimit none = { 0, 0 };
	bool network = false;
	int ret = alone(err), profile = vg_confine_open();

	for (; *needs; needs++) {
		network |= (*needs)->network;
		if (ret == 0 && (*needs)->empty && vg_trap_open((*needs)->empty) < 0)
			ret = vg_fail(err, -errno, "/dev/null cannot be opened: %s",
				      strerror(errno));
	}
	mallopt(M_ARENA_MAX, ARENAS);
	setrlimit(RLIMIT_CORE, &none);
	if (sb->seccomp)
		limit_files(sb->file_bytes);
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return vg_fail(err, -errno, "core dumps cannot be switched off: %s",
			       strerror(errno));
	if (ret == 0 && geteuid() == 0 && sb->namespaces)
		ret = leave_namespaces(network, err);
	if (ret == 0 && geteuid() == 0 && sb->uid)
		ret = become(sb->uid, sb->gid, err);
	if (ret == 0)
		ret = vg_confine(profile, err);
	if (ret == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		ret = vg_fail(err, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	return ret;
}

static int allow(scmp_filter_ctx ctx, const struct vg_sandbox_call *calls)
{
	int ret = 0;

	for (; ret == 0 && calls && calls->nr >= 0; calls++) {
		const struct scmp_arg_cmp only[] = {
			SCMP_CMP(calls->arg, SCMP_CMP_MASKED_EQ, calls->mask, calls->value),
			SCMP_CMP(calls->also_arg, SCMP_CMP_MASKED_EQ, UINT32_MAX,
				 calls->also_value),
		};

		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, calls->nr,
					     !calls->filtered ? 0 : 1 + calls->also, only);
		/* That a device and its port both need it. */
		if (ret == -EEXIST)
			ret = 0;
	}
	return ret;
}

/* malloc, thread stacks, records, guests' memory: nothing that can be executed (but by who makes @code), and, where there is a
 * header of messages that must stay as it is (passing.h), nothing below @floor, which it ends at. */
static int allow_memory(scmp_filter_ctx ctx, uintptr_t floor, bool code)
{
	const struct scmp_arg_cmp above = SCMP_CMP(0, SCMP_CMP_GE, floor, 0),
				  anywhere = SCMP_CMP(0, SCMP_CMP_EQ, 0, 0),
				  no_code =
					  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, code ? 0 : PROT_EXEC, 0),
				  not_fixed = SCMP_CMP(3, SCMP_CMP_MASKED_EQ,
						       MAP_FIXED | MAP_FIXED_NOREPLACE, 0),
				  not_moved_to = SCMP_CMP(3, SCMP_CMP_MASKED_EQ, MREMAP_FIXED, 0);
	const struct {
		int nr;
		unsigned n;
		struct scmp_arg_cmp only[3];
	} rules[] = {
		{ SYS_mmap, 3, { anywhere, no_code, not_fixed } },
		{ SYS_mmap, 2, { above, no_code } },
		{ SYS_mprotect, 2, { above, no_code } },
		{ SYS_munmap, 1, { above } },
		{ SYS_mremap, 2, { above, not_moved_to } },
		{ SYS_madvise, 1, { above } },
	};
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < COUNT(rules); i++)
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].nr, rules[i].n,
					     rules[i].only);
	return ret;
}

/* sendmsg(2) with the one header that has no address. */
static int allow_passing(scmp_filter_ctx ctx)
{
	int ret = vg_pass_seal();

	return ret < 0 ? ret
		       : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SYS_sendmsg, 1,
					  SCMP_CMP(1, SCMP_CMP_EQ, (uintptr_t)vg_pass_header(), 0));
}

/* Opening, to read, is answered by trap.c. */
static int trap_opens(scmp_filter_ctx ctx)
{
	int ret = vg_trap_set();

	return ret < 0 ? ret
		       : seccomp_rule_add(ctx, SCMP_ACT_TRAP, SYS_openat, 1,
					  SCMP_CMP(2, SCMP_CMP_MASKED_EQ, UINT32_MAX,
						   O_RDONLY | O_CLOEXEC));
}

/* Put @ctx into effect, if all of it could be said (@ret is 0), and free it. Return: @ret, or what went wrong. */
static int load(scmp_filter_ctx ctx, int ret)
{
	if (ret == 0)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}

static int filter_system_calls(const struct vg_sandbox_needs *const *needs, struct vg_err *err)
{
	/* abort(3) of ourselves, and no signal to anybody else */
	const struct vg_sandbox_call ourselves[] = {
		{ .nr = SYS_tgkill,
		  .filtered = true,
		  .arg = 0,
		  .mask = UINT32_MAX,
		  .value = (uint32_t)getpid() },
		VG_CALLS_END,
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = ctx ? 0 : -ENOMEM;
	bool passes = false, code = false, opens = false;

	for (const struct vg_sandbox_needs *const *n = needs; *n; n++) {
		passes |= (*n)->passes;
		code |= (*n)->code;
		opens |= (*n)->empty != NULL;
	}
	if (ret == 0)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A system call of another architecture: by itself libseccomp ends the thread, and the others of
	 * the process would live on, without it. */
	if (ret == 0)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (ret == 0)
		ret = allow(ctx, common);
	if (ret == 0)
		ret = allow(ctx, ourselves);
	if (ret == 0 && passes)
		ret = allow_passing(ctx);
	if (ret == 0 && opens)
		ret = trap_opens(ctx);
	if (ret == 0)
		ret = allow_memory(ctx, vg_pass_floor(), code);
	for (; ret == 0 && *needs; needs++)
		ret = allow(ctx, (*needs)->calls);
	ret = load(ctx, ret);
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

int vg_sandbox_narrow(const struct vg_sandbox_call *calls)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	/* no_new_privs is set, by vg_sandbox_isolate(). */
	int ret = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0) : -ENOMEM;

	if (ret == 0)
		ret = allow(ctx, calls);
	return load(ctx, ret);
}

int vg_sandbox_enter(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		     struct vg_err *err)
{
	int ret = vg_sandbox_isolate(sb, needs, err);

	return ret < 0 ? ret : vg_sandbox_restrict(sb, needs, err);
}

/* All of its requests have one letter (xen/gntdev.h), which no other of a daemon's has. */
int vg_sandbox_no_grants(struct vg_err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int ret = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0) : -ENOMEM;

	if (ret == 0)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SYS_ioctl, 1,
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, 'G' << 8));
	ret = load(ctx, ret);
	return ret < 0 ? vg_fail(err, ret, "system calls cannot be filtered: %s", strerror(-ret))
		       : 0;
}
