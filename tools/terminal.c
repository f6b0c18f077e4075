// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * terminal.c - see terminal.h
 *
 * Few sequences of ECMA-48 and two of xterm's (the second screen) do, which every terminal of today
 * knows: so there is no curses. Signals come by a descriptor, one place to wait at, and only there the
 * terminal changes hands: whatever ends us, short of SIGKILL, gives it back first.
 */
#include "tools/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "tools/vgrant.h"

#define SECOND_SCREEN "\033[?1049h\033[?25l" /* and no cursor */
#define FIRST_SCREEN  "\033[?25h\033[?1049l"
#define HOME	      "\033[H"
#define END_OF_LINE   "\033[K"
#define END_OF_SCREEN "\033[J"

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };

static struct {
	int signals; /* signalfd(2)'s */
	bool keys;   /* stdin is the terminal, and before is how it was */
	struct termios before;
} term = { .signals = -1 };

bool vgrant_terminal_is(void)
{
	return isatty(STDOUT_FILENO);
}

static void put(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
}

/* Keys one by one, and unseen; ^C and ^Z stay signals. */
static void dress(void)
{
	struct termios t;

	term.keys = tcgetattr(STDIN_FILENO, &term.before) == 0;
	t = term.before;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (term.keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
	put(SECOND_SCREEN);
}

static void undress(void)
{
	put(FIRST_SCREEN);
	if (term.keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &term.before);
}

void vgrant_terminal_take(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < COUNT(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	term.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	dress();
}

void vgrant_terminal_give(void)
{
	undress();
	if (term.signals >= 0)
		close(term.signals);
	term.signals = -1;
}

void vgrant_terminal_paint(const char *text)
{
	struct winsize w = { 0 };
	unsigned rows, columns;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	rows = w.ws_row;
	columns = w.ws_col;
	fputs(HOME, stdout);
	while (*text && rows--) {
		size_t len = strcspn(text, "\n");
		size_t shown = vgrant_cut(text, columns);

		printf("%.*s" END_OF_LINE "%s", (int)(shown < len ? shown : len), text,
		       rows ? "\n" : "");
		text += len + (text[len] == '\n');
	}
	put(END_OF_SCREEN);
}

/* Return: as vgrant_terminal_wait(). */
static int hear_signal(void)
{
	struct signalfd_siginfo info;

	if (read(term.signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return VGRANT_TERMINAL_AGAIN;
	switch (info.ssi_signo) {
	case SIGTSTP:
		undress();
		raise(SIGSTOP);
		dress();
		return VGRANT_TERMINAL_AGAIN;
	case SIGCONT:
	case SIGWINCH:
		return VGRANT_TERMINAL_AGAIN;
	default:
		return VGRANT_TERMINAL_END;
	}
}

static int hear_key(void)
{
	char key;
	ssize_t n = read(STDIN_FILENO, &key, 1);

	if (n == 1)
		return (unsigned char)key ? (unsigned char)key : VGRANT_TERMINAL_AGAIN;
	/* The terminal is gone. */
	return n == 0 || errno != EINTR ? VGRANT_TERMINAL_END : VGRANT_TERMINAL_AGAIN;
}

int vgrant_terminal_wait(long ms)
{
	struct pollfd f[] = { { .fd = term.signals, .events = POLLIN },
			      { .fd = term.keys ? STDIN_FILENO : -1, .events = POLLIN } };
	int n = poll(f, COUNT(f), (int)ms);

	if (n == 0)
		return VGRANT_TERMINAL_TIME;
	if (n > 0 && f[0].revents)
		return hear_signal();
	return n > 0 ? hear_key() : VGRANT_TERMINAL_AGAIN;
}
