// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_child.c - a worker as the supervisor hears it: one that was taken over may say anything, as often
 * as it likes, and must cost nobody else his turn
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/daemon/child.h"

enum {
	TURN = 64,	/* messages of one worker in a turn, as child.c has it */
	TOO_MANY = 4096 /* nobody else has been heard by then */
};

static struct vg_loop *loop;
static struct vg_children all;
static struct vg_settings settings;
static struct vg_child child;
static int worker = -1;		 /* its end */
static unsigned messages, posts; /* messages: since somebody else wanted his turn */

/* The worker never stops: for each message that is heard there is another. */
static void say(void)
{
	const struct vg_ipc m = { .type = VG_IPC_BROKEN };

	assert_int_equal(vg_ipc_send(worker, &m, -1), 0);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	assert_ptr_equal(c, &child);
	assert_int_equal(m->type, VG_IPC_BROKEN);
	if (++messages > TOO_MANY)
		fail_msg("%u messages of one worker, and nobody else was heard", messages);
	say();
}

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	(void)c;
	(void)d;
}

static const struct vg_child_ops ops = { .place = place, .message = message };

static void posted(struct vg_post *p)
{
	(void)p;
	posts++;
}

static int begin(void **state)
{
	int pair[2];

	(void)state;
	if (vg_loop_new(64, &loop) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	vg_settings_defaults(&settings);
	all = (struct vg_children){ .loop = loop, .settings = &settings };
	vg_child_init(&child, &ops, &all, "rng");
	child.sock = pair[0];
	worker = pair[1];
	messages = posts = 0;
	vg_loop_watch(loop, &child.watch, child.sock);
	return 0;
}

static int end(void **state)
{
	(void)state;
	vg_child_fini(&child);
	close(worker);
	vg_loop_free(loop);
	return 0;
}

static void one_that_never_stops(void **state)
{
	struct vg_post p = { .run = posted };
	unsigned heard = 0;

	(void)state;
	say();
	for (unsigned round = 1; round <= 5; round++) {
		unsigned turns = 0;

		messages = 0;
		vg_loop_post(loop, &p);
		while (posts < round) {
			assert_true(++turns < 10);
			assert_true(vg_loop_turn(loop, true) >= 0);
		}
		/* Once for what is readable, once for what was left over. */
		assert_true(messages <= turns * 2 * TURN);
		heard += messages;
	}
	assert_true(heard > TURN); /* it is heard, too, turn by turn */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_never_stops, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
