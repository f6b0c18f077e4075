/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_group.c - processes of a device: what they are started with, who restarts whom
 *
 * The processes are real: this program again, with the role as its option. Such a process does what
 * a worker does at first, OPENED for SETUP, shows what it was told, and answers its peer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/budget.h"
#include "backend/daemon/cgroup.h"
#include "backend/daemon/group.h"

/* ---- the other process ------------------------------------------------------ */

static int second_process(const char *role)
{
	struct vg_ipc m, answer;
	int fd = -1, peer = -1;
	char text[64];

	if (strcmp(role, "--dies") == 0)
		return 1;
	for (;;) {
		struct pollfd p[] = { { .fd = VG_CHILD_SOCK, .events = POLLIN },
				      { .fd = peer, .events = POLLIN } };
		ssize_t n;

		poll(p, 2, -1);
		/* Who I am, to whoever says something to me. */
		if (peer >= 0 && (n = recv(peer, text, sizeof(text), MSG_DONTWAIT)) > 0) {
			answer = (struct vg_ipc){ .type = VG_IPC_BROKEN };
			snprintf(answer.text, sizeof(answer.text), "%s heard %.*s", role, (int)n,
				 text);
			vg_ipc_send(VG_CHILD_SOCK, &answer, -1);
		} else if (peer >= 0 && n == 0) {
			close(peer);
			peer = -1;
		}
		while ((n = vg_ipc_recv(VG_CHILD_SOCK, &m, &fd)) == 1) {
			if (m.type == VG_IPC_SETUP) {
				answer = (struct vg_ipc){ .type = VG_IPC_DESCRIPTION };
				snprintf(answer.text, sizeof(answer.text),
					 "uid %u gid %u domid %u pool %u data %u bounce %llu",
					 (unsigned)m.setup.sandbox.uid,
					 (unsigned)m.setup.sandbox.gid, m.setup.domid,
					 m.setup.budget.pool_pages, m.setup.budget.data_pages,
					 (unsigned long long)m.setup.budget.bounce_bytes);
				vg_ipc_send(VG_CHILD_SOCK, &answer, -1);
				answer = (struct vg_ipc){ .type = VG_IPC_OPENED };
				vg_ipc_send(VG_CHILD_SOCK, &answer, -1);
			} else if (m.type == VG_IPC_PEER && fd >= 0) {
				if (peer >= 0)
					close(peer);
				peer = fd;
				send(peer, role, strlen(role), MSG_NOSIGNAL);
				fd = -1;
			} else if (m.type == VG_IPC_QUIESCE && strcmp(role, "--stubborn") != 0) {
				return 0;
			}
			if (fd >= 0)
				close(fd);
		}
		if (n == 0 && strcmp(role, "--stubborn") != 0)
			return 0;
		if (n == 0)
			pause();
	}
}

/* ---- the owner --------------------------------------------------------------- */

struct owner {
	struct vg_child worker;
	struct vg_group group;
	struct vg_group_policy policy;
	bool grouped;
	unsigned reaped, opened, heard; /* times */
	char last[256];			/* what the worker heard from its peer */
};

static struct vg_settings settings;
static struct vg_children all;
static struct vg_watch signals;

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	(void)c;
	d->guest = "web";
}

static void try_worker(struct owner *o)
{
	if (!o->worker.pid && (!o->grouped || vg_group_may_start(&o->group)))
		assert_int_equal(vg_child_start(&o->worker, "--worker", 7, -1, NULL), 0);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct owner *o = container_of(c, struct owner, worker);

	if (m->type == VG_IPC_OPENED) {
		o->opened++;
		if (o->grouped)
			vg_group_worker_opened(&o->group);
	} else if (m->type == VG_IPC_BROKEN) {
		o->heard++;
		snprintf(o->last, sizeof(o->last), "%.255s", m->text);
	}
}

static void reaped(struct vg_child *c, int status)
{
	struct owner *o = container_of(c, struct owner, worker);

	(void)status;
	o->reaped++;
	if (all.stopping || !o->grouped)
		return;
	vg_group_worker_gone(&o->group);
	try_worker(o);
}

static const struct vg_child_ops ops = { .place = place, .message = message, .reaped = reaped };

static void changed(struct vg_group *g)
{
	try_worker(container_of(g, struct owner, group));
}

static void end_worker(struct vg_group *g)
{
	vg_child_end(g->worker);
}

static const struct vg_group_ops group_ops = { .changed = changed, .end_worker = end_worker };

static void signalled(struct vg_watch *w, unsigned events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(vg_loop_watch_fd(w), &info, sizeof(info)) == (ssize_t)sizeof(info))
		;
	vg_children_reap(&all);
}

static int begin(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	vg_settings_defaults(&settings);
	all = (struct vg_children){ .settings = &settings, .cgroup.dir = -1 };
	assert_int_equal(vg_loop_new(64, &all.loop), 0);
	signals = (struct vg_watch){ .ready = signalled };
	vg_loop_watch(all.loop, &signals, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
	return 0;
}

static int end(void **state)
{
	int fd = vg_loop_watch_fd(&signals);

	(void)state;
	assert_null(all.first);
	assert_int_equal(all.n, 0);
	while (all.processes)
		vg_loop_turn(all.loop, true);
	vg_loop_unwatch(&signals);
	close(fd);
	vg_loop_free(all.loop);
	return 0;
}

/* Turn the loop until @what, for 20 s at most. */
#define UNTIL(what)                                            \
	for (int64_t t_ = vg_now_ns(); !(what);) {             \
		assert_true(vg_now_ns() - t_ < 20 * NS_PER_S); \
		vg_loop_turn(all.loop, false);                 \
		usleep(1000);                                  \
	}

static void owner_init(struct owner *o, const char *policy)
{
	memset(o, 0, sizeof(*o));
	vg_child_init(&o->worker, &ops, &all, "rng");
	snprintf(o->worker.who, sizeof(o->worker.who), "guest web (7) rng");
	if (!policy)
		return;
	o->grouped = true;
	assert_non_null(vg_group_policy(policy));
	o->policy = *vg_group_policy(policy);
	o->policy.program = NULL; /* it is us */
	vg_group_init(&o->group, &group_ops, &o->policy, &o->worker, 7);
	vg_group_start(&o->group);
	try_worker(o);
}

static void owner_fini(struct owner *o)
{
	if (o->grouped)
		vg_group_fini(&o->group);
	vg_child_fini(&o->worker);
}

/* ---- one process -------------------------------------------------------------- */

/* Each guest's workers run as a user of their own, and share the guest's budget. */
static void what_it_is_started_with(void **state)
{
	struct owner a, b;
	unsigned uid, gid, domid, pool, data, first;
	unsigned long long bounce;

	(void)state;
	all.uid_base = 458752;
	all.sandbox.gid = 65534;
	settings.guest_mapped_pages = 10240;
	settings.devices_per_guest = 2;
	owner_init(&a, NULL);
	owner_init(&b, NULL);
	assert_int_equal(vg_child_start(&a.worker, "--worker", 7, -1, NULL), 0);
	UNTIL(a.opened);
	assert_int_equal(sscanf(a.worker.detail,
				"uid %u gid %u domid %u pool %u data %u bounce %llu", &uid, &gid,
				&domid, &first, &data, &bounce),
			 6);
	assert_int_equal(uid, 458752 + 7);
	assert_int_equal(gid, 65534);
	assert_int_equal(domid, 7);
	assert_true(first <= 8192 && bounce <= VG_LIMIT_BOUNCE_BYTES);
	assert_int_equal(vg_child_start(&b.worker, "--worker", 7, -1, NULL), 0);
	UNTIL(b.opened);
	sscanf(b.worker.detail, "uid %u gid %u domid %u pool %u", &uid, &gid, &domid, &pool);
	assert_true(pool < first && pool + first <= 8192);
	/* What one had comes back when it has ended. */
	kill(a.worker.pid, SIGKILL);
	UNTIL(a.reaped);
	kill(b.worker.pid, SIGKILL);
	UNTIL(b.reaped);
	assert_int_equal(vg_child_start(&b.worker, "--worker", 7, -1, NULL), 0);
	UNTIL(b.opened == 2);
	sscanf(b.worker.detail, "uid %u gid %u domid %u pool %u", &uid, &gid, &domid, &pool);
	assert_int_equal(pool, first);
	/* Those that belong to no guest: each alone. */
	assert_int_equal(vg_child_start(&a.worker, "--worker", 0, -1, NULL), 0);
	UNTIL(a.opened == 2);
	sscanf(a.worker.detail, "uid %u gid %u domid %u pool %u", &uid, &gid, &domid, &pool);
	assert_int_equal(uid, 458752 + 32752);
	assert_int_equal(pool, VG_LIMIT_POOL_PAGES);
	kill(b.worker.pid, SIGKILL);
	UNTIL(b.reaped == 2);
	assert_int_equal(vg_child_start(&b.worker, "--worker", 0, -1, NULL), 0);
	UNTIL(b.opened == 3);
	sscanf(b.worker.detail, "uid %u", &uid);
	assert_int_equal(uid, 458752 + 32753);
	owner_fini(&a);
	owner_fini(&b);
}

/* When memory is short it goes before the supervisor does. */
static void oom_score(void **state)
{
	char path[64], text[16] = "";
	struct owner o;
	FILE *file;

	(void)state;
	owner_init(&o, NULL);
	assert_int_equal(vg_child_start(&o.worker, "--worker", 7, -1, NULL), 0);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)o.worker.pid);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_int_equal(atoi(text), 200);
	owner_fini(&o);
}

/* Forgotten by its device, it is killed when it does not end. */
static void stubborn(void **state)
{
	struct owner o;
	pid_t pid;

	(void)state;
	owner_init(&o, NULL);
	assert_int_equal(vg_child_start(&o.worker, "--stubborn", 7, -1, NULL), 0);
	UNTIL(o.opened);
	pid = o.worker.pid;
	owner_fini(&o);
	assert_int_equal(kill(pid, 0), 0);
	UNTIL(!all.processes);
	assert_int_equal(kill(pid, 0), -1);
}

/* ---- two ---------------------------------------------------------------------- */

static void both_talk(struct owner *o, unsigned times)
{
	UNTIL(o->heard >= times);
}

/* A display: whoever dies is replaced alone, and the other hears the new one. */
static void display(void **state)
{
	pid_t worker, helper;
	struct owner o;

	(void)state;
	owner_init(&o, "display");
	both_talk(&o, 1);
	assert_string_equal(o.last, "--worker heard --display");
	assert_int_equal(all.n, 1); /* the helper is no device */
	worker = o.worker.pid;
	helper = o.group.helper.pid;
	kill(helper, SIGKILL);
	both_talk(&o, 2);
	assert_int_equal(o.worker.pid, worker);
	assert_true(o.group.helper.pid != helper);
	helper = o.group.helper.pid;
	kill(worker, SIGKILL);
	both_talk(&o, 3);
	assert_true(o.worker.pid != worker);
	assert_int_equal(o.group.helper.pid, helper);
	owner_fini(&o);
}

/* A renderer: the worker waits for it, and lives on without; no renderer outlives its worker. */
static void renderer(void **state)
{
	pid_t worker, helper;
	struct owner o;

	(void)state;
	owner_init(&o, "renderer");
	assert_int_equal(o.worker.pid, 0);
	both_talk(&o, 1);
	worker = o.worker.pid;
	helper = o.group.helper.pid;
	kill(helper, SIGKILL);
	both_talk(&o, 2);
	assert_int_equal(o.worker.pid, worker);
	assert_true(o.group.helper.pid != helper);
	helper = o.group.helper.pid;
	kill(worker, SIGKILL);
	both_talk(&o, 3);
	assert_true(o.worker.pid != worker);
	assert_true(o.group.helper.pid != helper);
	owner_fini(&o);
}

/* A group whose renderer is to be @program, or ourselves as @role; it is started. */
static void with_renderer(struct owner *o, const char *program, const char *role)
{
	owner_init(o, NULL);
	o->grouped = true;
	o->policy = *vg_group_policy("renderer");
	o->policy.program = program;
	if (role)
		o->policy.role = role;
	vg_group_init(&o->group, &group_ops, &o->policy, &o->worker, 7);
	vg_group_start(&o->group);
}

/* Where there can be no renderer the worker does not wait for it: lists say why. */
static void no_renderer(void **state)
{
	struct owner o;

	(void)state;
	with_renderer(&o, "no-such-program", NULL);
	UNTIL(o.opened);
	assert_non_null(strstr(o.worker.beside[VG_SEAT_RENDERER],
			       "its renderer: no-such-program is not installed beside vgrantd"));
	owner_fini(&o);
}

/* Nor for one that dies before it is open. */
static void renderer_dies_at_once(void **state)
{
	struct owner o;

	(void)state;
	with_renderer(&o, NULL, "--dies");
	assert_int_equal(o.worker.pid, 0);
	UNTIL(o.opened);
	assert_non_null(strstr(o.worker.beside[VG_SEAT_RENDERER], "its renderer: its worker"));
	owner_fini(&o);
}

/* A daemon: the worker waits for it at first, and lives on while it is replaced. */
static void daemon_of_others(void **state)
{
	pid_t worker;
	struct owner o;

	(void)state;
	owner_init(&o, "daemon");
	assert_int_equal(o.worker.pid, 0);
	both_talk(&o, 1);
	worker = o.worker.pid;
	kill(o.group.helper.pid, SIGKILL);
	both_talk(&o, 2);
	assert_int_equal(o.worker.pid, worker);
	owner_fini(&o);
}

/* ---- shares, groups ------------------------------------------------------------ */

/* All devices that a guest may have, whatever they ask: never more than there is, never nothing. */
static void shares(void **state)
{
	const struct vg_guest_budget guest = { .mapped_pages = 32768,
					       .bounce_bytes = 512ull << 20,
					       .long_pages = 65536,
					       .host_bytes = 256ull << 20,
					       .devices = 64 };
	struct vg_budget used = { 0 };

	(void)state;
	for (unsigned i = 0; i < guest.devices; i++) {
		struct vg_budget share = vg_budget_deal(&guest, &used, i, i % 8 == 0);

		assert_true(share.pool_pages >= 64 && share.pool_pages <= VG_LIMIT_POOL_PAGES);
		assert_true(share.data_pages >= 16 && share.data_pages <= VG_LIMIT_DATA_PAGES);
		assert_true(share.bounce_bytes >= 1 << 20 &&
			    share.bounce_bytes <= VG_LIMIT_BOUNCE_BYTES);
		if (i == 0)
			assert_true(share.pool_pages == VG_LIMIT_POOL_PAGES &&
				    share.data_pages == VG_LIMIT_DATA_PAGES &&
				    share.bounce_bytes == VG_LIMIT_BOUNCE_BYTES &&
				    share.long_pages == VG_LIMIT_LONG_PAGES &&
				    share.host_bytes == VG_LIMIT_HOST_BYTES / 2);
		/* Only a GPU has any of these. */
		assert_true(i % 8 ? !share.long_pages && !share.host_bytes
				  : share.long_pages && share.host_bytes);
		vg_budget_add(&used, &share);
		assert_true(used.pool_pages + used.data_pages <= guest.mapped_pages);
		assert_true(used.bounce_bytes <= guest.bounce_bytes);
		assert_true(used.long_pages <= guest.long_pages);
		assert_true(used.host_bytes <= guest.host_bytes);
	}
}

static void put(const char *dir, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fclose(fopen(path, "w"));
}

static void assert_says(const char *dir, const char *file, const char *want)
{
	char path[256], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, want);
}

/* A folder stands for the delegated group: what is written where. */
static void control_groups(void **state)
{
	char dir[] = "/tmp/cgroup.XXXXXX", path[64], want[16];
	struct vg_cgroup cg = { -1 };
	struct vg_err err;

	(void)state;
	assert_non_null(mkdtemp(dir));
	/* A group without a memory controller: said, and done without. */
	assert_true(vg_cgroup_open(&cg, dir, &err) < 0);
	assert_int_equal(cg.dir, -1);
	assert_non_null(strstr(err.text, "guests get no control groups"));
	assert_int_equal(vg_cgroup_add(&cg, 7, 1234, 1 << 30), 0);
	put(dir, "supervisor/cgroup.procs");
	put(dir, "cgroup.subtree_control");
	assert_int_equal(vg_cgroup_open(&cg, dir, &err), 0);
	snprintf(want, sizeof(want), "%d", (int)getpid());
	assert_says(dir, "supervisor/cgroup.procs", want);
	assert_says(dir, "cgroup.subtree_control", "+memory");
	assert_int_equal(vg_cgroup_add(&cg, 7, 1234, 1 << 30), -ENOENT); /* it has no files yet */
	put(dir, "guest-7/memory.max");
	put(dir, "guest-7/cgroup.procs");
	assert_int_equal(vg_cgroup_add(&cg, 7, 1234, 1 << 30), 0);
	assert_says(dir, "guest-7/memory.max", "1073741824");
	assert_says(dir, "guest-7/cgroup.procs", "1234");
	vg_cgroup_remove(&cg, 7); /* somebody is in it */
	assert_says(dir, "guest-7/cgroup.procs", "1234");
	vg_cgroup_close(&cg);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(what_it_is_started_with),
		T(oom_score),
		T(stubborn),
		T(display),
		T(renderer),
		T(no_renderer),
		T(renderer_dies_at_once),
		T(daemon_of_others),
		cmocka_unit_test(shares),
		cmocka_unit_test(control_groups),
	};

	if (argc == 2)
		return second_process(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
