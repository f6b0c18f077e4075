// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * console.c - `vgrant console`: a guest's console, or a port of it, on this terminal
 *
 * Which pseudo-terminal it is stands in the device's detail: "... console=/dev/pts/3 log=/dev/pts/4".
 * As `xl console` we end at ^]; and we tell the guest, through the pseudo-terminal, how large the
 * window is, which xl does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/vgrant.h"

enum { ESCAPE = 0x1d, BYTES = 4096 };

static volatile sig_atomic_t resized = 1, ended;

static void on_winch(int sig)
{
	(void)sig;
	resized = 1;
}

static void on_end(int sig)
{
	ended = sig;
}

/* ---- which ---------------------------------------------------------------------- */

/* The path of terminal @name in @detail. Return: false: there is none of that name. */
static bool path_of(const char *detail, const char *name, char *path, size_t size)
{
	size_t len = strlen(name);

	for (const char *at = detail; at; at = strchr(at, ' ')) {
		at += *at == ' ';
		if (strncmp(at, name, len) != 0 || strncmp(at + len, "=/dev/", 6) != 0)
			continue;
		at += len + 1;
		snprintf(path, size, "%.*s", (int)strcspn(at, " "), at);
		return true;
	}
	return false;
}

/* Of the first of the guest's consoles that has it. */
static int find(const struct vgrant_options *opt, const char *guest, const char *name, char *path,
		size_t size)
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, guest, &answer, &devices);
	bool any = false, found = false;

	for (size_t i = 0; ret == VGRANT_OK && i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (!vgrant_is_a(dev, "console"))
			continue;
		any = true;
		found = found || path_of(vgrant_text(dev, "detail"), name, path, size);
	}
	json_object_put(answer);
	if (ret != VGRANT_OK || found)
		return ret;
	if (any)
		vgrant_complain("%s has no port '%s': vgrant list -v %s names them", guest, name,
				guest);
	else
		vgrant_complain("%s has no console of ours; xl console shows Xen's", guest);
	return VGRANT_FAILED;
}

/* ---- this terminal ---------------------------------------------------------------- */

static struct termios before;

static bool make_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	t = before;
	cfmakeraw(&t);
	return tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

static void pass_size(int tty)
{
	struct winsize w;

	resized = 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row)
		ioctl(tty, TIOCSWINSZ, &w);
}

static bool print(const char *text, size_t n)
{
	while (n) {
		ssize_t done = write(STDOUT_FILENO, text, n);

		if (done < 0 && errno == EINTR && !ended)
			continue;
		if (done <= 0)
			return false;
		text += done;
		n -= (size_t)done;
	}
	return true;
}

/* ---- to and fro --------------------------------------------------------------------- */

struct typed {
	char bytes[BYTES]; /* that the guest has not taken */
	size_t n;
	bool person, over;
};

/* Return: false: it is to end. */
static bool hear_person(struct typed *t)
{
	char bytes[BYTES];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		/* Of a pipe or file: what the guest says is still of interest. */
		t->over = true;
		return !t->person;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (t->person && bytes[i] == ESCAPE)
			return false;
		/* There is no room for what a guest does not take. */
		if (t->n < sizeof(t->bytes))
			t->bytes[t->n++] = bytes[i];
	}
	return true;
}

static void pass_typed(struct typed *t, int tty)
{
	ssize_t n = write(tty, t->bytes, t->n);

	if (n <= 0)
		return;
	t->n -= (size_t)n;
	memmove(t->bytes, t->bytes + n, t->n);
}

/* Return: an exit code. */
static int talk(int tty, bool person)
{
	struct typed t = { .person = person };
	sigset_t none;

	sigemptyset(&none);
	while (!ended) {
		/* A file waits until the guest has taken what came before. */
		bool hears = !t.over && (person || !t.n);
		struct pollfd f[] = { { .fd = tty, .events = POLLIN | (t.n ? POLLOUT : 0) },
				      { .fd = hears ? STDIN_FILENO : -1, .events = POLLIN } };
		char bytes[BYTES];
		ssize_t n;

		if (resized)
			pass_size(tty);
		if (ppoll(f, 2, NULL, &none) < 0)
			continue;
		if (f[1].revents && !hear_person(&t))
			break;
		if (f[0].revents & POLLOUT)
			pass_typed(&t, tty);
		if (!(f[0].revents & ~POLLOUT))
			continue;
		n = read(tty, bytes, sizeof(bytes));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return VGRANT_FAILED;
		if (!print(bytes, (size_t)n))
			break;
	}
	return VGRANT_OK;
}

/* While ppoll() waits alone. */
static void heed_signals(void)
{
	const struct sigaction winch = { .sa_handler = on_winch }, end = { .sa_handler = on_end };
	sigset_t all;

	sigaction(SIGWINCH, &winch, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGPIPE, &end, NULL);
	sigemptyset(&all);
	sigaddset(&all, SIGWINCH);
	sigaddset(&all, SIGTERM);
	sigaddset(&all, SIGHUP);
	sigaddset(&all, SIGINT);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

int vgrant_console(const struct vgrant_options *opt, int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "console";
	char path[64];
	int ret = find(opt, argv[0], name, path, sizeof(path)), tty;
	bool raw;

	if (ret != VGRANT_OK)
		return ret;
	tty = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (tty < 0) {
		vgrant_complain("%s cannot be opened: %s", path, strerror(errno));
		return VGRANT_FAILED;
	}
	if (flock(tty, LOCK_EX | LOCK_NB) < 0) {
		vgrant_complain("another vgrant console has %s of %s (%s)", name, argv[0], path);
		close(tty);
		return VGRANT_FAILED;
	}
	heed_signals();
	raw = make_raw();
	if (raw)
		fprintf(stderr, "%s of %s; ^] ends\r\n", name, argv[0]);
	ret = talk(tty, raw);
	if (raw) {
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
		fputc('\n', stderr);
	}
	if (ret != VGRANT_OK)
		vgrant_complain("%s of %s is gone", name, argv[0]);
	close(tty);
	return ret;
}
