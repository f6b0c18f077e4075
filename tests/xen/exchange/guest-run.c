// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guest-run.c - runs a command in a test's guest; in dom0
 *
 *	guest-run [-t SECONDS] NAME COMMAND...
 *
 * Sends it over the pty of the guest's console, and reads the answer from the log that xenconsoled keeps
 * of it (exchange.h has what is said). Its output is the command's, with a newline at its end where that
 * has none, and its status, too; 1 with a sentence where there is no guest, no answer within SECONDS
 * (120), or none that is whole in four tries. One command at a time: others wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

#include "tests/xen/exchange/exchange.h"

#define GUESTS "/rig/guests"
#define LOGS   "/var/log/xen/console"

enum { TRIES = 4, LOOK_S = 2 };

static const char *name;
static unsigned domid;
static struct xs_handle *xs;
static double end;
static struct bytes console; /* the log, from where we began */
static int log_fd = -1, news = -1;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "guest: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the domain ---------------------------------------------------------- */

/* The caller's, or NULL. */
static char *node(unsigned id, const char *what)
{
	char path[80];
	unsigned len;

	snprintf(path, sizeof(path), "/local/domain/%u/%s", id, what);
	return xs_read(xs, XBT_NULL, path, &len);
}

static bool is_called(unsigned id)
{
	char *is = node(id, "name");
	bool same = is && strcmp(is, name) == 0;

	free(is);
	return same;
}

/* The newest of the name: an older one may be on its way out. */
static bool find_domain(void)
{
	unsigned n = 0;
	char **ids = xs_directory(xs, XBT_NULL, "/local/domain", &n);
	bool found = false;

	for (unsigned i = 0; ids && i < n; i++) {
		unsigned id = (unsigned)strtoul(ids[i], NULL, 10);

		if (is_called(id) && (!found || id > domid)) {
			domid = id;
			found = true;
		}
	}
	free(ids);
	return found;
}

/* ---- its console --------------------------------------------------------- */

/* The last lines of what it has said. */
static const char *last_words(void)
{
	char *at;

	if (!console.n)
		return "(nothing)";
	at = console.at + console.n;
	for (int lines = 0; at > console.at && lines < 5; at--)
		lines += at[-1] == '\n';
	return at;
}

/* What has come since. Return: whether there was any. */
static bool hear(void)
{
	char part[65536];
	size_t before = console.n;
	ssize_t n;

	while ((n = read(log_fd, part, sizeof(part))) > 0) {
		/* Bytes of zero would end a text. */
		for (ssize_t i = 0; i < n; i++)
			part[i] = part[i] ? part[i] : ' ';
		bytes_add(&console, part, (size_t)n);
	}
	return console.n != before;
}

/* Until there is more. */
static void listen_on(const char *what)
{
	struct pollfd p = { .fd = news, .events = POLLIN };
	double left;
	char events[4096];

	while (!hear()) {
		left = end - now();
		if (left <= 0)
			die("%s within its time in '%s'; its console ends with:\n%s", what, name,
			    last_words());
		if (poll(&p, 1, (int)((left < LOOK_S ? left : LOOK_S) * 1000) + 1) > 0) {
			if (read(news, events, sizeof(events)) < 0)
				die("%s: %s", LOGS, strerror(errno));
		} else if (!is_called(domid) && !hear()) {
			die("'%s' is gone; its console ends with:\n%s", name, last_words());
		}
	}
}

static void open_log(void)
{
	char path[300];

	snprintf(path, sizeof(path), LOGS "/guest-%s.log", name);
	for (;;) {
		log_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (log_fd >= 0)
			break;
		if (now() > end)
			die("'%s' has no console: %s: %s", name, path, strerror(errno));
		usleep(200000);
	}
	news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (news < 0 || inotify_add_watch(news, path, IN_MODIFY) < 0)
		die("%s: %s", path, strerror(errno));
}

/* A line that begins with @text. */
static char *find_line(const char *text)
{
	char *at = console.at;

	while (at && (at = strstr(at, text)) != NULL) {
		if (at == console.at || at[-1] == '\n')
			return at;
		at++;
	}
	return NULL;
}

static void await_agent(void)
{
	hear();
	while (!find_line("guest: waiting for commands"))
		listen_on("no agent listens");
}

/* ---- a command ----------------------------------------------------------- */

static int open_tty(void)
{
	char *path = node(domid, "console/tty");
	int fd = path ? open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC) : -1;

	if (fd < 0)
		die("the console of '%s' (%s) cannot be opened: %s", name, path ? path : "unknown",
		    strerror(errno));
	free(path);
	return fd;
}

static void send_all(int tty, const struct bytes *b)
{
	for (size_t done = 0; done < b->n;) {
		ssize_t n = write(tty, b->at + done, b->n - done);

		if (n < 0 && errno != EINTR)
			die("the console of '%s' takes nothing: %s", name, strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
}

static void send_command(int tty, const char *id, const struct bytes *text)
{
	struct bytes b = { 0 };
	char line[EXCHANGE_ID + 40];

	for (size_t i = 0; i < text->n; i += EXCHANGE_PIECE) {
		size_t n = text->n - i < EXCHANGE_PIECE ? text->n - i : EXCHANGE_PIECE;

		snprintf(line, sizeof(line), "!vg %s c ", id);
		bytes_add(&b, line, strlen(line));
		exchange_encode(&b, text->at + i, n);
		bytes_add(&b, "\n", 1);
	}
	snprintf(line, sizeof(line), "!vg %s go %016" PRIx64 "\n", id,
		 exchange_sum(text->at, text->n));
	bytes_add(&b, line, strlen(line));
	send_all(tty, &b);
	free(b.at);
}

/*
 * What comes to the command @id from byte @from of the console on, up to its end; lines with @letter go
 * to @out. Return: what the last line has behind its mark.
 */
static const char *answer(const char *id, char letter, size_t from, struct bytes *out)
{
	char mark[EXCHANGE_ID + 10];
	size_t len;

	out->n = 0;
	bytes_add(out, "", 0);
	len = (size_t)snprintf(mark, sizeof(mark), "@vg %s ", id);
	for (;;) {
		char *line, *stop, *at;

		while (!(console.at &&
			 (stop = memchr(console.at + from, '\n', console.n - from)) != NULL))
			listen_on("the command did not end");
		line = console.at + from;
		from = (size_t)(stop - console.at) + 1;
		while (stop > line && stop[-1] == '\r')
			stop--;
		if ((size_t)(stop - line) > len && memcmp(line, mark, len) == 0 &&
		    line[len] == letter) {
			size_t skip = len + (letter == 'b' ? 2 : 1);

			if (letter == 'b') {
				exchange_decode(out, line + skip, (size_t)(stop - line) - skip);
			} else {
				bytes_add(out, line + skip, (size_t)(stop - line) - skip);
				bytes_add(out, "\n", 1);
			}
			continue;
		}
		/* The end may come behind something of the kernel's. */
		at = memmem(line, (size_t)(stop - line), mark, len);
		if (at && (strncmp(at + len, "rc ", 3) == 0 || strncmp(at + len, "bad", 3) == 0))
			return at + len;
	}
}

/* Whether @out is what was said; it may have gained a last newline on the way. */
static bool is_whole(const struct bytes *out, uint64_t sum)
{
	return exchange_sum(out->at, out->n) == sum ||
	       (out->n && exchange_sum(out->at, out->n - 1) == sum);
}

static int run(const struct bytes *text)
{
	char id[EXCHANGE_ID], again[EXCHANGE_ID + 20];
	struct bytes out = { 0 }, ask = { 0 };
	const char *line = "";
	int tty = open_tty(), status = 0;
	uint64_t sum = 0;

	for (int i = 1; i <= TRIES; i++) {
		size_t from = console.n;

		snprintf(id, sizeof(id), "%d.%d", (int)getpid(), i);
		send_command(tty, id, text);
		line = answer(id, '|', from, &out);
		if (strncmp(line, "bad", 3) != 0)
			break;
	}
	if (sscanf(line, "rc %d %" SCNx64, &status, &sum) != 2)
		die("'%s' sends no whole answer: %.100s", name, line);
	snprintf(again, sizeof(again), "!vg %s again\n", id);
	bytes_add(&ask, again, strlen(again));
	for (int i = 1; !is_whole(&out, sum); i++) {
		size_t from = console.n;

		if (i == TRIES)
			die("'%s' sends no whole output in four tries.", name);
		send_all(tty, &ask);
		answer(id, 'b', from, &out);
	}
	if (out.n)
		fwrite(out.at, 1, out.n, stdout);
	if (out.n && out.at[out.n - 1] != '\n')
		putchar('\n');
	return fflush(stdout) == 0 ? status : 1;
}

int main(int argc, char **argv)
{
	struct bytes text = { 0 };
	char path[300];
	double limit = 120;
	int at = 1, lock;

	if (argc > 3 && strcmp(argv[1], "-t") == 0) {
		limit = atof(argv[2]);
		at = 3;
	}
	if (argc < at + 2)
		die("usage: guest run [-t SECONDS] NAME COMMAND...");
	name = argv[at];
	if (strchr(name, '/') || strlen(name) > 200)
		die("'%.100s' is no guest's name.", name);
	for (int i = at + 1; i < argc; i++) {
		bytes_add(&text, argv[i], strlen(argv[i]));
		bytes_add(&text, i + 1 < argc ? " " : "\n", 1);
	}
	end = now() + limit;
	xs = xs_open(0);
	if (!xs)
		die("xenstored does not answer: %s", strerror(errno));
	if (!find_domain())
		die("there is no guest '%s'.", name);
	snprintf(path, sizeof(path), GUESTS "/%s", name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), GUESTS "/%s/lock", name);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		die("%s: %s", path, strerror(errno));
	end = now() + limit;
	open_log();
	await_agent();
	return run(&text);
}
