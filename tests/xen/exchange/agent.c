// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * agent.c - serves, on a test guest's console, the commands that dom0's `guest run` sends
 *
 * Its standard input and output are the console; exchange.h has what is said. A command is a script of
 * sh, with /dev/null as its input; it has ended when it has and nobody holds its output. This may be
 * process 1, which has everybody's children to wait for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/xen/exchange/exchange.h"

static struct bytes command, output;
static int status;

/* All of it, whatever the console takes at once. */
static void say(const struct bytes *b)
{
	for (size_t done = 0; done < b->n;) {
		ssize_t n = write(STDOUT_FILENO, b->at + done, b->n - done);

		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			sleep(1);
	}
}

static void say_text(const char *text)
{
	struct bytes b = { 0 };

	bytes_add(&b, text, strlen(text));
	say(&b);
	free(b.at);
}

/* The lines of output from @from on that are complete; with @all what comes after the last, too. */
static size_t say_lines(const char *id, size_t from, bool all)
{
	struct bytes b = { 0 };

	while (from < output.n) {
		char *end = memchr(output.at + from, '\n', output.n - from);
		size_t n = end ? (size_t)(end - output.at) - from : output.n - from;

		if (!end && !all)
			break;
		bytes_add(&b, "@vg ", 4);
		bytes_add(&b, id, strlen(id));
		bytes_add(&b, " |", 2);
		bytes_add(&b, output.at + from, n);
		bytes_add(&b, "\n", 1);
		from += n + (end != NULL);
	}
	say(&b);
	free(b.at);
	return from;
}

static void say_end(const char *id)
{
	char line[120];

	snprintf(line, sizeof(line), "@vg %s rc %d %016" PRIx64 "\n", id, status,
		 exchange_sum(output.at, output.n));
	say_text(line);
}

static void run(const char *id)
{
	int fds[2], null, s = 0;
	size_t said = 0;
	char part[4096];
	ssize_t n;
	pid_t pid, got;

	output.n = 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		null = open("/dev/null", O_RDONLY);
		dup2(null, STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execlp("sh", "sh", "-c", command.at, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], part, sizeof(part))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0)
			bytes_add(&output, part, (size_t)n);
		said = say_lines(id, said, false);
	}
	close(fds[0]);
	say_lines(id, said, true);
	do
		got = waitpid(-1, &s, 0);
	while (got >= 0 ? got != pid : errno == EINTR);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	status = WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
	say_end(id);
}

static void say_again(const char *id)
{
	struct bytes b = { 0 };

	for (size_t i = 0; i < output.n; i += EXCHANGE_PIECE / 10) {
		size_t n = output.n - i < EXCHANGE_PIECE / 10 ? output.n - i : EXCHANGE_PIECE / 10;

		bytes_add(&b, "@vg ", 4);
		bytes_add(&b, id, strlen(id));
		bytes_add(&b, " b ", 3);
		exchange_encode(&b, output.at + i, n);
		bytes_add(&b, "\n", 1);
	}
	say(&b);
	free(b.at);
	say_end(id);
}

static void take(char *line)
{
	char id[EXCHANGE_ID], verb[8], *text = NULL, bad[EXCHANGE_ID + 20];
	int at = 0;

	if (sscanf(line, "!vg %39s %7s %n", id, verb, &at) < 2)
		return;
	text = line + at;
	text[strcspn(text, "\r\n")] = '\0';
	if (strcmp(verb, "c") == 0) {
		exchange_decode(&command, text, strlen(text));
	} else if (strcmp(verb, "go") == 0) {
		if (command.n && strtoull(text, NULL, 16) == exchange_sum(command.at, command.n)) {
			run(id);
		} else {
			snprintf(bad, sizeof(bad), "@vg %s bad\n", id);
			say_text(bad);
		}
		command.n = 0;
	} else if (strcmp(verb, "again") == 0) {
		say_again(id);
	}
}

int main(void)
{
	struct termios t;
	char *line = NULL;
	size_t room = 0;

	if (tcgetattr(STDIN_FILENO, &t) == 0) {
		t.c_lflag &= ~(tcflag_t)ECHO;
		t.c_oflag &= ~(tcflag_t)ONLCR;
		tcsetattr(STDIN_FILENO, TCSANOW, &t);
	}
	bytes_add(&output, "", 0);
	say_text("guest: waiting for commands\n");
	for (;;) {
		if (getline(&line, &room, stdin) > 0) {
			take(line);
		} else {
			clearerr(stdin);
			sleep(1);
		}
	}
}
