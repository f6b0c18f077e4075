// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * command.c - see command.h
 *
 * The program gets a clean environment, no descriptor but 0 to 2, and its own group of processes, so
 * that what it has started can be killed with it. Its stderr is a pipe that is read as it goes: who
 * says much does not stop, and only the end is kept. Whatever it leaves running does not hold anybody
 * up: it has ended when its first process has.
 */
#include "backend/base/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"

enum {
	BYTES = 4096,
	TURN = 16,  /* reads of its stderr in one go: what a pipe holds */
	LINE = 120, /* of its last words, in a sentence */
	EXIT_NO_EXEC = 127,
};

/* ---- what is run -------------------------------------------------------- */

/* Return: @a and @b, side by side in c->text; NULL: there is no room. */
static char *keep(struct vg_command *c, const char *a, const char *b)
{
	char *at = c->text + c->used;
	size_t left = sizeof(c->text) - c->used;
	int n = snprintf(at, left, "%s%s", a, b);

	if (n < 0 || (size_t)n >= left) {
		c->too_much = true;
		return NULL;
	}
	c->used += (size_t)n + 1;
	return at;
}

void vg_command_arg(struct vg_command *c, const char *arg)
{
	if (c->n_args == VG_COMMAND_ARGS)
		c->too_much = true;
	else if ((c->argv[c->n_args] = keep(c, arg, "")) != NULL)
		c->n_args++;
}

void vg_command_env(struct vg_command *c, const char *name, const char *value)
{
	char key[64];

	snprintf(key, sizeof(key), "%s=", name);
	if (c->n_env == VG_COMMAND_ENV)
		c->too_much = true;
	else if ((c->env[c->n_env] = keep(c, key, value)) != NULL)
		c->n_env++;
}

void vg_command_init(struct vg_command *c, const char *name, const char *path)
{
	memset(c, 0, sizeof(*c));
	c->input = -1;
	snprintf(c->name, sizeof(c->name), "%s", name);
	vg_command_arg(c, path);
	vg_command_env(c, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	vg_command_env(c, "LANG", "C.UTF-8");
}

/* ---- starting ----------------------------------------------------------- */

/*
 * Every signal as a new login has it, also those that whoever started us ignores, and the two that the
 * C library keeps for itself and sigaction() refuses. A structure of zeroes is SIG_DFL on every
 * architecture of Linux; larger than any of them.
 */
static void default_signals(void)
{
	static const char zeroes[64];
	uint64_t none = 0;

	for (int n = 1; n <= 64; n++)
		syscall(SYS_rt_sigaction, n, zeroes, NULL, sizeof(none));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* In the child, which may be that of a process with threads: system calls alone. */
static void become(const struct vg_command *c, pid_t parent, int stderr_fd)
{
	const char *why;
	int null;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_NO_EXEC);
	default_signals();
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(stderr_fd, STDERR_FILENO) < 0 ||
	    dup2(c->input < 0 ? null : c->input, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || chdir("/") < 0 ||
	    syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0) < 0)
		_exit(EXIT_NO_EXEC);
	umask(022);
	execve(c->argv[0], c->argv, c->env);
	why = strerrordesc_np(errno);
	if (write(STDERR_FILENO, why, strlen(why)) < 0)
		_exit(EXIT_NO_EXEC);
	_exit(EXIT_NO_EXEC);
}

int vg_command_start(const struct vg_command *c, struct vg_command_run *run, struct vg_err *err)
{
	pid_t parent = getpid();
	int fds[2], ret;

	*run = (struct vg_command_run){ .fd = -1 };
	if (c->too_much)
		return vg_fail(err, -E2BIG, "%s: its configuration is too long for a command",
			       c->name);
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return vg_fail(err, -errno, "%s cannot be run: %s", c->argv[0], strerror(errno));
	/* The program's end is an ordinary one. */
	if (fcntl(fds[1], F_SETFL, 0) == 0)
		run->pid = fork();
	else
		run->pid = -1;
	if (run->pid == 0)
		become(c, parent, fds[1]);
	ret = -errno;
	close(fds[1]);
	if (run->pid < 0) {
		run->pid = 0;
		close(fds[0]);
		return vg_fail(err, ret, "%s cannot be run: %s", c->argv[0], strerror(-ret));
	}
	/* Whichever of the two comes first. */
	setpgid(run->pid, run->pid);
	run->fd = fds[0];
	return 0;
}

/* ---- while it runs, and after ------------------------------------------- */

/* The end of what was kept and of @text. */
static void keep_end(struct vg_command_run *run, const char *text, size_t n)
{
	size_t room;

	if (n > sizeof(run->tail)) {
		text += n - sizeof(run->tail);
		n = sizeof(run->tail);
	}
	room = sizeof(run->tail) - n;
	if (run->n > room) {
		memmove(run->tail, run->tail + run->n - room, room);
		run->n = room;
	}
	memcpy(run->tail + run->n, text, n);
	run->n += n;
}

bool vg_command_hear(struct vg_command_run *run)
{
	char text[BYTES];

	for (unsigned i = 0; i < TURN; i++) {
		ssize_t n = run->fd < 0 ? 0 : read(run->fd, text, sizeof(text));

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		keep_end(run, text, (size_t)n);
	}
	return true;
}

static void send_signal(const struct vg_command_run *run, int signal)
{
	if (run->pid > 0 && kill(-run->pid, signal) < 0)
		kill(run->pid, signal);
}

void vg_command_end(const struct vg_command_run *run)
{
	send_signal(run, SIGTERM);
}

void vg_command_kill(const struct vg_command_run *run)
{
	send_signal(run, SIGKILL);
}

/* The last line with something in it, or as much of it as fits into @out: its end, or its begin. */
static void last_line(const struct vg_command_run *run, char *out, size_t size, bool its_end)
{
	size_t end = run->n, start, n;

	while (end && (unsigned char)run->tail[end - 1] <= ' ')
		end--;
	for (start = end; start && run->tail[start - 1] != '\n';)
		start--;
	n = end - start < size ? end - start : size - 1;
	memcpy(out, run->tail + (its_end ? end - n : start), n);
	out[n] = '\0';
	for (char *p = out; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
}

void vg_command_said(struct vg_command_run *run, char *out, size_t size)
{
	vg_command_hear(run);
	last_line(run, out, size, true);
}

int vg_command_ended(const struct vg_command *c, struct vg_command_run *run, int status,
		     unsigned late_s, struct vg_err *err)
{
	char line[LINE];
	const char *word = c->n_args > 1 ? c->argv[1] : "", *colon;

	vg_command_hear(run);
	if (run->fd >= 0)
		close(run->fd);
	run->fd = -1;
	run->pid = 0;
	if (!late_s && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	last_line(run, line, sizeof(line), false);
	colon = line[0] ? ": " : "";
	if (late_s)
		return vg_fail(err, -ETIMEDOUT,
			       "%.80s %s did not end within %u s and was killed%s%s", c->argv[0],
			       word, late_s, colon, line);
	if (WIFSIGNALED(status))
		return vg_fail(err, -EIO, "%.80s %s was killed by signal %d%s%s", c->argv[0], word,
			       WTERMSIG(status), colon, line);
	return vg_fail(err, -EIO, "%.80s %s failed with status %d%s%s", c->argv[0], word,
		       WEXITSTATUS(status), colon, line);
}

int vg_command_run(const struct vg_command *c, unsigned limit_s, struct vg_err *err)
{
	struct vg_command_run run;
	int64_t end = vg_now_ns() + limit_s * NS_PER_S;
	int ret = vg_command_start(c, &run, err), status = 0, ended;
	bool late = false;

	if (ret < 0)
		return ret;
	ended = (int)syscall(SYS_pidfd_open, run.pid, 0);
	for (;;) {
		struct pollfd p[] = { { .fd = ended, .events = POLLIN },
				      { .fd = run.fd, .events = POLLIN } };
		int64_t left = end - vg_now_ns();

		if (waitpid(run.pid, &status, WNOHANG) == run.pid)
			break;
		if (left <= 0) {
			late = true;
			vg_command_kill(&run);
			waitpid(run.pid, &status, 0);
			break;
		}
		/* Without a pidfd: looked for ten times a second. */
		if (ended < 0 && left > NS_PER_S / 10)
			left = NS_PER_S / 10;
		if (poll(p, 2, (int)(left / (NS_PER_S / 1000)) + 1) > 0 && p[1].revents &&
		    !vg_command_hear(&run)) {
			close(run.fd);
			run.fd = -1;
		}
	}
	if (ended >= 0)
		close(ended);
	return vg_command_ended(c, &run, status, late ? limit_s : 0, err);
}
