// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keeper.c - see keeper.h
 *
 *	SETUP: listen, for the daemon, unless it does so itself
 *	       give up what neither of us needs
 *	       start it, with that socket as its stdin
 *	       OPENED
 *	QUIESCE, or the supervisor hangs up: ask it to end (SIGTERM), so that it writes what it has; wait
 *	it ends by itself: so do we, and the supervisor starts another of us
 *
 * The daemon is Debian's program, that nobody of us has written: it has a user of its own, that of the
 * guest's workers, no network unless its storage is there, and of root's rights one at most, to open
 * files whoever owns them. Which files it opens follows from a configuration, and from an image's header,
 * that no guest writes. A daemon that gives up its rights itself, for it needs them first, is left to do
 * so (struct vg_daemon).
 */
#include "backend/worker/keeper.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/ticks.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"
#include "backend/worker/sandbox.h"

enum {
	END_S = 4,    /* that it may take to end: the supervisor gives us 5 (child.c: PATIENCE_S) */
	LISTEN_S = 3, /* until it listens, if it does so itself */
};

struct keeper {
	int sock, deaths; /* a signalfd of SIGCHLD */
	bool open, ending;
	struct vg_params params;
	struct vg_daemon daemon;
	struct vg_command_run run;
	struct stat socket; /* in the file system, as it was made */
	char folder[128];   /* that was made for that */
	struct stat made;   /* what it was then */
	int result;
};

/* ---- starting ------------------------------------------------------------- */

static int listen_at(const char *path, struct vg_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask = umask(0177);
	int fd = -1, ret = -ENAMETOOLONG;

	if (strlen(path) < sizeof(a.sun_path)) {
		memcpy(a.sun_path, path, strlen(path));
		unlink(path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ret = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
				      listen(fd, 1) == 0
			      ? fd
			      : -errno;
	}
	umask(mask);
	if (ret < 0 && fd >= 0)
		close(fd);
	return ret < 0 ? vg_fail(err, ret, "its daemon cannot listen at %.120s: %s", path,
				 strerror(-ret))
		       : ret;
}

/* A folder that was made for a daemon, and what it has left there beside its socket. */
static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0); /* of ".", ".." and folders it is refused */
	if (d)
		closedir(d);
	rmdir(path);
}

/* For who makes a socket of its own: what vgrantd names so is there for nothing else. Another that is there is
 * the user's, and stays as it is. */
static int make_folder(struct keeper *k, const struct vg_sandbox *sb, struct vg_err *err)
{
	static const char ours[] = ".daemon";
	const char *path = k->daemon.socket, *slash = strrchr(path, '/');
	size_t n = (size_t)(slash - path);

	snprintf(k->folder, sizeof(k->folder), "%.*s", (int)n, path);
	if (n >= strlen(ours) && strncmp(slash - strlen(ours), ours, strlen(ours)) == 0)
		remove_folder(k->folder);
	else
		unlink(path);
	if (mkdir(k->folder, 0700) < 0 && errno == EEXIST)
		return 0;
	if (lstat(k->folder, &k->made) < 0 ||
	    (geteuid() == 0 && sb->uid && chown(k->folder, sb->uid, sb->gid) < 0))
		return vg_fail(err, -errno, "a folder for %.120s cannot be made: %s", path,
			       strerror(errno));
	return 0;
}

/* Another user, with the right to open files; for whatever is run from here on, too. */
static int become(uid_t uid, gid_t gid, struct vg_err *err)
{
	capng_clear(CAPNG_SELECT_ALL);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE,
		     CAP_DAC_OVERRIDE);
	if (capng_change_id((int)uid, (int)gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0) < 0)
		return vg_fail(err, -EPERM, "user %u cannot be taken on", (unsigned)uid);
	return 0;
}

static int isolate(const struct vg_daemon *d, const struct vg_sandbox *sb, struct vg_err *err)
{
	bool root = geteuid() == 0;
	int left = CLONE_NEWIPC | CLONE_NEWUTS | (d->network ? 0 : CLONE_NEWNET);

	if (root && sb->namespaces && unshare(left) < 0)
		return vg_fail(err, -errno, "namespaces cannot be left: %s", strerror(errno));
	if (root && sb->uid && !d->root && become(sb->uid, sb->gid, err) < 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return vg_fail(err, -errno, "no_new_privs cannot be set: %s", strerror(errno));
	return d->grants ? vg_sandbox_no_grants(err) : 0;
}

/* A worker that finds none tries again, but seconds later. */
static void wait_for_socket(struct keeper *k)
{
	int64_t until = vg_now_ns() + LISTEN_S * NS_PER_S;
	siginfo_t dead = { .si_pid = 0 };

	while (lstat(k->daemon.socket, &k->socket) < 0 && dead.si_pid == 0 && vg_now_ns() < until) {
		poll(NULL, 0, 10);
		waitid(P_PID, (id_t)k->run.pid, &dead, WEXITED | WNOHANG | WNOWAIT);
	}
}

static int start(struct keeper *k, const struct vg_ipc *m, struct vg_err *err)
{
	const struct vg_device_ops *ops;
	int ret = vg_params_parse(m->setup.spec, &k->params, err);

	if (ret < 0)
		return ret;
	ops = vg_device_of(&k->params);
	if (!ops || !ops->daemon)
		return vg_fail(err, -EINVAL, "a device %s has no daemon", k->params.device);
	ret = vg_params_check(&k->params, ops->params, vg_common_params, err);
	if (ret == 0 && ops->check)
		ret = ops->check(&k->params, err);
	if (ret == 0)
		ret = ops->daemon(&k->params, &k->daemon, err);
	if (ret == 0 && k->daemon.listens)
		ret = make_folder(k, &m->setup.sandbox, err);
	else if (ret == 0)
		ret = k->daemon.command.input = listen_at(k->daemon.socket, err);
	if (ret >= 0)
		ret = isolate(&k->daemon, &m->setup.sandbox, err);
	if (ret == 0)
		ret = vg_command_start(&k->daemon.command, &k->run, err);
	if (ret == 0)
		wait_for_socket(k);
	if (k->daemon.command.input >= 0)
		close(k->daemon.command.input);
	return ret;
}

static void setup(struct keeper *k, const struct vg_ipc *m)
{
	struct vg_ipc answer = { .type = VG_IPC_OPENED };
	struct vg_err err = { "" };
	int ret;

	vg_log_init((enum vg_log_target)m->setup.log_target, (enum vg_log_level)m->setup.log_level,
		    m->setup.who);
	k->daemon.command.input = -1;
	ret = start(k, m, &err);
	if (ret < 0) {
		answer = (struct vg_ipc){ .type = VG_IPC_FAILED, .error = ret };
		snprintf(answer.text, sizeof(answer.text), "%s", err.text);
		k->ending = true;
		k->result = EXIT_FAILURE;
	}
	k->open = ret == 0;
	vg_ipc_send(k->sock, &answer, -1);
}

/* ---- while it runs ---------------------------------------------------------- */

static void hear(struct keeper *k)
{
	struct vg_ipc m;
	int fd = -1, ret;

	while (!k->ending && (ret = vg_ipc_recv(k->sock, &m, &fd)) != -EAGAIN) {
		if (ret <= 0 || m.type == VG_IPC_QUIESCE)
			k->ending = true;
		else if (m.type == VG_IPC_SETUP && !k->open)
			setup(k, &m);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

/* Return: whether it has ended. The supervisor is told why, if it is not we who wanted that. */
static bool ended(struct keeper *k)
{
	struct vg_ipc m = { .type = VG_IPC_FAILED, .error = -EIO };
	char said[100];
	int status;

	if (!k->run.pid || waitpid(k->run.pid, &status, WNOHANG) != k->run.pid)
		return !k->run.pid;
	vg_command_said(&k->run, said, sizeof(said));
	if (vg_command_ended(&k->daemon.command, &k->run, status, 0, NULL) < 0 && !k->ending) {
		k->result = EXIT_FAILURE;
		snprintf(m.text, sizeof(m.text), "%s has ended: %s", k->daemon.command.name,
			 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : said);
		vg_ipc_send(k->sock, &m, -1);
	}
	return true;
}

/* In order, while that takes no longer than END_S. */
static void end(struct keeper *k)
{
	int64_t until = vg_now_ns() + END_S * NS_PER_S;
	int status;

	vg_command_end(&k->run);
	while (!ended(k)) {
		struct pollfd p = { .fd = k->deaths, .events = POLLIN };
		int64_t left = (until - vg_now_ns()) / (NS_PER_S / 1000);

		if (left > 0) {
			poll(&p, 1, (int)left < 100 ? (int)left : 100);
			continue;
		}
		vg_warn("%s does not end, and is killed", k->daemon.command.argv[0]);
		vg_command_kill(&k->run);
		waitpid(k->run.pid, &status, 0);
		k->run.pid = 0;
	}
}

static bool is_still(const char *path, const struct stat *what)
{
	struct stat st;

	return what->st_ino && lstat(path, &st) == 0 && st.st_ino == what->st_ino &&
	       st.st_dev == what->st_dev;
}

/* Before the daemon ends, which may take a while; and not those of the next vgrantd's keeper. */
static void remove_socket(const struct keeper *k)
{
	if (is_still(k->daemon.socket, &k->socket))
		unlink(k->daemon.socket);
	if (is_still(k->folder, &k->made))
		remove_folder(k->folder);
}

static void drain(int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == sizeof(info))
		;
}

int vg_keeper_main(int sock)
{
	static struct keeper k;
	sigset_t deaths;

	/* A terminal's ^C goes to the whole group; the supervisor decides when we end. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&deaths);
	sigaddset(&deaths, SIGCHLD);
	sigprocmask(SIG_BLOCK, &deaths, NULL);
	k = (struct keeper){ .sock = sock, .run.fd = -1 };
	k.deaths = signalfd(-1, &deaths, SFD_CLOEXEC | SFD_NONBLOCK);
	while (!k.ending && k.deaths >= 0) {
		struct pollfd p[] = { { .fd = sock, .events = POLLIN },
				      { .fd = k.deaths, .events = POLLIN },
				      { .fd = k.run.fd, .events = POLLIN } };

		if (poll(p, COUNT(p), -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			hear(&k);
		if (p[1].revents)
			drain(k.deaths);
		if (p[2].revents && k.open && !vg_command_hear(&k.run)) {
			close(k.run.fd);
			k.run.fd = -1;
		}
		if (k.open && !k.ending && ended(&k))
			break;
	}
	remove_socket(&k);
	if (k.run.pid)
		end(&k);
	return k.result;
}
