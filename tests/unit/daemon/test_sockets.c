// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_sockets.c - [vhost-user] of vgrantd.conf: the daemon, real workers, bare front-ends
 *
 * The daemon is vgrantd-fake, as in test_daemon.c; that it has a Xen host beside it
 * matters to the last test alone. What `vgrant list` would show is asked for on the
 * control socket, as the tool does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/file.h>

#include <json-c/json.h>
#include <linux/virtio_gpu.h>
#include <poll.h>

#include "tests/driver/vu_front.h"
#include "tests/rigs/daemon_rig.h"

enum { IMAGE_BYTES = 4 << 20, WAIT_MS = 10000 };

/* ---- asking ----------------------------------------------------------------- */

/** ask() - one request on the control socket; Return: the answer, to be put */
static struct json_object *ask(struct rig *r, const char *request)
{
	struct json_object *answer = json_tokener_parse(rig_ask(r, request));

	assert_non_null(answer);
	return answer;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *value = NULL;

	assert_true(json_object_object_get_ex(o, key, &value));
	return value;
}

static const char *text(struct json_object *o, const char *key)
{
	struct json_object *value = member(o, key);

	return value ? json_object_get_string(value) : "";
}

static int64_t number(struct json_object *o, const char *key)
{
	return json_object_get_int64(member(o, key));
}

/** device() - what the list says of @name, to be put; NULL: nothing */
static struct json_object *device(struct rig *r, const char *name)
{
	struct json_object *answer = ask(r, "{\"cmd\":\"list\"}");
	struct json_object *list = member(answer, "devices"), *found = NULL;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *d = json_object_array_get_idx(list, i);

		if (strcmp(text(d, "guest"), name) == 0 &&
		    strcmp(text(d, "kind"), "vhost-user") == 0)
			found = json_object_get(d);
	}
	json_object_put(answer);
	return found;
}

/** comes_to() - wait until @name is in @state, with @why in its sentence if not NULL */
static void comes_to(struct rig *r, const char *name, const char *state, const char *why)
{
	struct json_object *d = NULL;

	for (unsigned i = 0; i < WAIT_MS / 10; i++) {
		d = device(r, name);
		if (d && strcmp(text(d, "state"), state) == 0 &&
		    (!why || strstr(text(d, "error"), why))) {
			json_object_put(d);
			return;
		}
		json_object_put(d);
		usleep(10000);
	}
	d = device(r, name);
	fail_msg("%s does not come to %s (%s): %s", name, state, why ? why : "",
		 d ? json_object_to_json_string(d) : "it is not there");
}

/** goes() - wait until @name is not listed any more; @closing: or about to go */
static void goes(struct rig *r, const char *name, bool closing)
{
	bool there = true;

	for (unsigned i = 0; there && i < WAIT_MS / 10; i++) {
		struct json_object *d = device(r, name);

		there = d && !(closing && strcmp(text(d, "state"), "closing") == 0);
		json_object_put(d);
		if (there)
			usleep(10000);
	}
	assert_false(there);
}

static pid_t worker_of(struct rig *r, const char *name)
{
	struct json_object *d = device(r, name);
	pid_t pid = (pid_t)number(member(d, "worker"), "pid");

	json_object_put(d);
	return pid;
}

static unsigned restarts_of(struct rig *r, const char *name)
{
	struct json_object *d = device(r, name);
	unsigned n = (unsigned)number(member(d, "worker"), "restarts");

	json_object_put(d);
	return n;
}

/** refuses() - @request fails with @why in its sentence */
static void refuses(struct rig *r, const char *request, const char *why)
{
	struct json_object *answer = ask(r, request);

	assert_false(json_object_get_boolean(member(answer, "ok")));
	if (!strstr(text(answer, "error"), why))
		fail_msg("%s: %s", request, text(answer, "error"));
	json_object_put(answer);
}

/* ---- settings and images ------------------------------------------------------ */

static void settings(struct rig *r, const char *lines)
{
	char path[160], tmp[170];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vgrantd.conf", r->dir);
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "we");
	assert_non_null(f);
	fprintf(f, "[vhost-user]\n%s", lines);
	fclose(f);
	assert_int_equal(rename(tmp, path), 0);
}

/* With each %s of @lines the rig's folder. */
__attribute__((format(printf, 2, 3))) static void serve(struct rig *r, const char *lines, ...)
{
	char buf[1024];
	va_list ap;

	va_start(ap, lines);
	vsnprintf(buf, sizeof(buf), lines, ap);
	va_end(ap);
	settings(r, buf);
	kill(r->daemon, SIGHUP);
}

static void image(struct rig *r, const char *name, off_t bytes)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

/* ---- front-ends ------------------------------------------------------------- */

static int dial(struct rig *r, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/run/%.16s.sock", r->dir, name);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Whoever connects to a worker that is about to end, as its vgrantd was killed, connects again, as a VMM does. */
static void front(struct rig *r, const char *name, struct vuf *f)
{
	int ret = -ENOENT;

	for (unsigned i = 0; ret < 0 && i < WAIT_MS / 10; i++) {
		int fd = dial(r, name);

		if (fd < 0) {
			usleep(10000);
			continue;
		}
		memset(f, 0, sizeof(*f));
		assert_int_equal(vuf_init(f, fd, 8 << 20, 0x100000, 0x7f0000000000), 0);
		ret = vuf_negotiate(f);
		if (ret == -EPIPE || ret == -ECONNRESET)
			vuf_fini(f);
		else
			assert_int_equal(ret, 0);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(vuf_share(f), 0);
	assert_int_equal(vuf_queue_init(f, 0, 64), 0);
	assert_int_equal(vuf_queue_tell(f, 0, 0), 0);
}

static void works(struct vuf *f)
{
	static uint8_t seed;
	uint8_t out[4096], in[4096] = { 0 };

	memset(out, ++seed, sizeof(out));
	assert_int_equal(drv_blk_write(&f->queue[0].blk, seed, out, sizeof(out)), 0);
	assert_int_equal(drv_blk_read(&f->queue[0].blk, seed, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
}

static uint64_t capacity(struct vuf *f)
{
	uint64_t sectors = 0;

	assert_int_equal(vuf_config(f, 0, sizeof(sectors), &sectors), sizeof(sectors));
	return sectors;
}

/* A front-end finds that nobody is there any more. */
static void hung_up(struct vuf *f)
{
	struct pollfd p = { .fd = f->sock, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(recv(f->sock, &byte, 1, MSG_DONTWAIT) <= 0);
	vuf_fini(f);
}

/* ---- the rig ---------------------------------------------------------------- */

/* A daemon with a settings file of its own, which serves no socket yet. */
static int begin(void **state)
{
	struct rig *r;

	signal(SIGPIPE, SIG_IGN);
	if (rig_begin(state) < 0)
		return -1;
	r = *state;
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	settings(r, "");
	image(r, "a.img", IMAGE_BYTES);
	image(r, "b.img", IMAGE_BYTES);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	return 0;
}

/* ---- tests ------------------------------------------------------------------ */

static void listed(void **state)
{
	struct rig *r = *state;
	struct json_object *d, *q;
	char path[160];
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\nr = rng\n", r->dir);
	comes_to(r, "a", "waiting", NULL);
	comes_to(r, "r", "waiting", NULL);
	front(r, "a", &f);
	works(&f);
	comes_to(r, "a", "connected", NULL);
	d = device(r, "a");
	assert_null(member(d, "domid"));
	assert_string_equal(text(d, "name"), "vhost-user/0");
	assert_string_equal(text(d, "type"), "blk");
	assert_int_equal(number(d, "virtio_id"), 2);
	assert_string_equal(text(d, "origin"), "vhost-user");
	snprintf(path, sizeof(path), "%s/run/a.sock", r->dir);
	assert_string_equal(text(d, "file"), path);
	assert_string_equal(text(d, "error"), "");
	assert_int_equal(number(member(d, "counters"), "requests"), 2);
	assert_int_equal(number(member(d, "counters"), "bytes_written"), 4096);
	assert_int_equal(number(member(d, "counters"), "bytes_read"), 4096);
	/* A device that has not gone to sleep yet needs no kick for the second request. */
	assert_true(number(member(d, "counters"), "kicks") >= 1);
	assert_true(strstr(json_object_to_json_string(member(d, "features")), "VERSION_1"));
	q = member(d, "queues");
	assert_int_equal(json_object_array_length(q), 1);
	q = json_object_array_get_idx(q, 0);
	assert_int_equal(number(q, "size"), 64);
	assert_true(json_object_get_boolean(member(q, "running")));
	assert_int_equal(number(q, "chains"), 2);
	assert_true(number(q, "kicks") >= 2);
	json_object_put(d);
	vuf_fini(&f);
	comes_to(r, "a", "waiting", NULL);
	d = device(r, "a");
	assert_int_equal(json_object_array_length(member(d, "queues")), 0);
	json_object_put(d);
}

/* By its name, and not by a domain's number. */
static void listed_by_name(void **state)
{
	struct rig *r = *state;
	struct json_object *answer;

	serve(r, "a = rng\nb = rng\n");
	comes_to(r, "b", "waiting", NULL);
	answer = ask(r, "{\"cmd\":\"list\",\"guest\":\"b\"}");
	assert_int_equal(json_object_array_length(member(answer, "devices")), 1);
	json_object_put(answer);
	answer = ask(r, "{\"cmd\":\"list\",\"guest\":\"4294967295\"}");
	assert_int_equal(json_object_array_length(member(answer, "devices")), 0);
	json_object_put(answer);
}

static void image_missing(void **state)
{
	struct rig *r = *state;
	struct vuf f;
	pid_t pid;

	serve(r, "a = blk,target=%s/a.img\nm = blk,target=%s/missing.img\n", r->dir, r->dir);
	comes_to(r, "m", "failed", "missing.img does not exist");
	comes_to(r, "a", "waiting", NULL);
	pid = worker_of(r, "a");
	image(r, "missing.img", IMAGE_BYTES);
	kill(r->daemon, SIGHUP);
	comes_to(r, "m", "waiting", NULL);
	assert_int_equal(worker_of(r, "a"), pid);
	front(r, "m", &f);
	works(&f);
	vuf_fini(&f);
}

static void mistakes_in_the_device(void **state)
{
	struct rig *r = *state;

	serve(r, "n = nonsense,target=/x\nc = blk,target=%s/a.img,colour=blue\n", r->dir);
	comes_to(r, "n", "failed", "nonsense");
	comes_to(r, "c", "failed", "colour");
}

/* vgrantd runs in no folder that a user would know. */
static void relative_path(void **state)
{
	struct rig *r = *state;

	serve(r, "a = blk,target=a.img\n");
	comes_to(r, "a", "failed", "target must be a path that begins with a slash");
}

static void path_not_to_be_had(void **state)
{
	struct rig *r = *state;
	char path[160], name[64];

	snprintf(path, sizeof(path), "%s/run/p.sock", r->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	memset(name, 'l', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	serve(r, "p = rng\n%s = rng\n", name);
	comes_to(r, "p", "failed", "something that is no socket is there");
	assert_int_equal(rmdir(path), 0);
	kill(r->daemon, SIGHUP);
	comes_to(r, "p", "waiting", NULL);
	if (strlen(r->dir) + 4 + strlen(name) + 6 > 107)
		comes_to(r, name, "failed", "107 characters");
}

/* Not taken from somebody who listens there; taken up when he has gone. */
static void path_in_use(void **state)
{
	struct rig *r = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/run/p.sock", r->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 64), 0);
	serve(r, "p = rng\n");
	comes_to(r, "p", "opening", "in use by another process");
	close(fd);
	comes_to(r, "p", "waiting", NULL);
}

static void permissions(void **state)
{
	struct rig *r = *state;
	struct stat st;
	char path[160];

	serve(r, "a = rng\n");
	comes_to(r, "a", "waiting", NULL);
	snprintf(path, sizeof(path), "%s/run/a.sock", r->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	serve(r, "socket-mode = 0660\nsocket-group = no-such-group\na = rng\nb = rng\n");
	comes_to(r, "b", "failed", "no-such-group");
	comes_to(r, "a", "waiting", NULL);
	serve(r, "socket-mode = 0660\nsocket-group = root\na = rng\nb = rng\n");
	if (geteuid() != 0)
		skip(); /* only root can give its sockets to another group */
	comes_to(r, "b", "waiting", NULL);
	snprintf(path, sizeof(path), "%s/run/b.sock", r->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(st.st_gid, 0);
}

static void killed_worker(void **state)
{
	struct rig *r = *state;
	struct json_object *d;
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	comes_to(r, "a", "waiting", NULL);
	front(r, "a", &f);
	works(&f);
	kill(worker_of(r, "a"), SIGKILL);
	hung_up(&f);
	front(r, "a", &f); /* waits in the backlog */
	works(&f);
	comes_to(r, "a", "connected", NULL);
	d = device(r, "a");
	assert_int_equal(number(member(d, "worker"), "restarts"), 1);
	assert_int_equal(number(member(d, "counters"), "requests"), 4); /* carried on */
	assert_string_equal(text(d, "error"), "");
	json_object_put(d);
	vuf_fini(&f);
}

/* lock() - as a dying worker's last write would hold the image, once it lets go. */
static int lock(struct rig *r, const char *name)
{
	char path[160];
	int fd, i;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (i = 0; i < 20000 && flock(fd, LOCK_EX | LOCK_NB); i++)
		usleep(100);
	assert_true(i < 20000);
	return fd;
}

/* The disk is slow, its worker dies: the device stays, for as long as that takes. */
static void slow_disk(void **state)
{
	struct rig *r = *state;
	struct vuf f;
	int fd;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	front(r, "a", &f);
	works(&f);
	kill(worker_of(r, "a"), SIGKILL);
	fd = lock(r, "a.img");
	hung_up(&f);
	for (unsigned i = 0; i < 50; i++, usleep(100000)) {
		struct json_object *d = device(r, "a");

		assert_string_not_equal(text(d, "state"), "failed");
		json_object_put(d);
	}
	comes_to(r, "a", "restarting", "in use");
	close(fd);
	front(r, "a", &f);
	works(&f);
	comes_to(r, "a", "connected", NULL);
	vuf_fini(&f);
}

/* Somebody looks at the disk for some seconds while the device is started. */
static void locked_at_start(void **state)
{
	struct rig *r = *state;
	int fd = lock(r, "a.img");

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	comes_to(r, "a", "opening", "in use");
	usleep(5000000);
	close(fd);
	comes_to(r, "a", "waiting", NULL);
}

static void crash_loop(void **state)
{
	struct rig *r = *state;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	for (unsigned i = 0; i < 4; i++) {
		comes_to(r, "a", "waiting", NULL);
		assert_int_equal(restarts_of(r, "a"), i);
		kill(worker_of(r, "a"), SIGKILL);
		while (restarts_of(r, "a") == i)
			usleep(5000);
	}
	comes_to(r, "a", "restarting", "killed by signal 9");
	/* 0.1 s, 0.2, 0.4, and now 0.8: no storm. */
	usleep(400000);
	comes_to(r, "a", "restarting", "killed by signal 9");
	comes_to(r, "a", "waiting", NULL);
	assert_int_equal(restarts_of(r, "a"), 4);
}

static void reloaded(void **state)
{
	struct rig *r = *state;
	struct vuf a, b;
	char path[160];
	pid_t pid;

	image(r, "c.img", 2 * IMAGE_BYTES);
	serve(r, "a = blk,target=%s/a.img\nb = blk,target=%s/b.img\nd = rng\n", r->dir, r->dir);
	comes_to(r, "b", "waiting", NULL);
	front(r, "a", &a);
	front(r, "b", &b);
	pid = worker_of(r, "a");
	assert_int_equal(capacity(&b), IMAGE_BYTES / 512);
	/* a stays, b changes, c is new, d goes. */
	serve(r, "c = rng\na = blk,target=%s/a.img\nb = blk,target=%s/c.img\n", r->dir, r->dir);
	hung_up(&b);
	front(r, "b", &b);
	assert_int_equal(capacity(&b), 2 * IMAGE_BYTES / 512);
	comes_to(r, "c", "waiting", NULL);
	goes(r, "d", false);
	snprintf(path, sizeof(path), "%s/run/d.sock", r->dir);
	assert_int_equal(access(path, F_OK), -1);
	works(&a);
	works(&b);
	assert_int_equal(worker_of(r, "a"), pid);
	/* Gone, and there again while the old worker may still end. */
	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	goes(r, "b", true);
	serve(r, "a = blk,target=%s/a.img\nb = blk,target=%s/c.img\n", r->dir, r->dir);
	hung_up(&b);
	front(r, "b", &b);
	works(&b);
	works(&a);
	vuf_fini(&a);
	vuf_fini(&b);
}

static void reloaded_with_a_mistake(void **state)
{
	struct rig *r = *state;
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	front(r, "a", &f);
	serve(r, "b = rng\nwrong\n");
	for (unsigned i = 0; i < WAIT_MS / 10 && !rig_logged(r, "stays as it was"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "vgrantd.conf:3"));
	works(&f);
	assert_null(device(r, "b"));
	comes_to(r, "a", "connected", NULL);
	vuf_fini(&f);
}

static void set_trace_and_detach(void **state)
{
	struct rig *r = *state;

	serve(r, "a = blk,target=%s/a.img\nm = blk,target=/none/such\n", r->dir);
	comes_to(r, "a", "waiting", NULL);
	comes_to(r, "m", "failed", NULL);
	/* The worker's own answer. */
	refuses(r, "{\"cmd\":\"set\",\"guest\":\"a\",\"id\":\"0\",\"key\":\"k\",\"value\":\"1\"}",
		"k cannot be changed while running");
	refuses(r,
		"{\"cmd\":\"set\",\"guest\":\"a\",\"id\":\"vhost-user/0\",\"key\":\"k\","
		"\"value\":\"1\"}",
		"k cannot be changed while running");
	refuses(r, "{\"cmd\":\"set\",\"guest\":\"m\",\"id\":\"0\",\"key\":\"k\",\"value\":\"1\"}",
		"no worker now");
	refuses(r, "{\"cmd\":\"set\",\"guest\":\"a\",\"id\":\"1\",\"key\":\"k\",\"value\":\"1\"}",
		"a has no device 1");
	refuses(r, "{\"cmd\":\"trace\",\"guest\":\"a\",\"id\":\"0\"}",
		"a blk device has nothing to trace");
	refuses(r, "{\"cmd\":\"detach\",\"guest\":\"a\",\"id\":\"0\"}", "[vhost-user]");
	comes_to(r, "a", "waiting", NULL);
}

static void killed_daemon(void **state)
{
	struct rig *r = *state;
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	front(r, "a", &f);
	works(&f);
	rig_daemon_stop(r, SIGKILL);
	rig_daemon_start(r);
	hung_up(&f);
	rig_daemon_ready(r);
	front(r, "a", &f);
	works(&f);
	comes_to(r, "a", "connected", NULL);
	vuf_fini(&f);
}

static void stopped(void **state)
{
	struct rig *r = *state;
	char path[160];
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\nm = blk,target=/none/such\n", r->dir);
	comes_to(r, "m", "failed", NULL);
	front(r, "a", &f);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	hung_up(&f);
	snprintf(path, sizeof(path), "%s/run/a.sock", r->dir);
	assert_int_equal(access(path, F_OK), -1);
}

/* Beside a guest's device of the same name: each is found by its kind. */
static void beside_a_guest(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct json_object *answer, *list;
	char name[32], request[128];

	answer = ask(r, "{\"cmd\":\"list\"}");
	list = member(answer, "devices");
	snprintf(name, sizeof(name), "%s", text(json_object_array_get_idx(list, 0), "guest"));
	json_object_put(answer);
	serve(r, "%s = rng\n", name);
	comes_to(r, name, "waiting", NULL);
	snprintf(request, sizeof(request), "{\"cmd\":\"list\",\"guest\":\"%s\"}", name);
	answer = ask(r, request);
	list = member(answer, "devices");
	assert_int_equal(json_object_array_length(list), 2);
	json_object_put(answer);
	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":\"%s\",\"id\":\"vhost-user/0\",\"key\":\"k\","
		 "\"value\":\"1\"}",
		 name);
	refuses(r, request, "a running rng device");
	rig_reads(g, 3);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void without_xen(void **state)
{
	struct rig *r = *state;
	struct vuf f;

	serve(r, "a = blk,target=%s/a.img\n", r->dir);
	comes_to(r, "a", "waiting", NULL);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	unsetenv("FAKE_XEN_DIR");
	rig_daemon_start(r);
	setenv("FAKE_XEN_DIR", fx_world_dir(r->w), 1);
	rig_daemon_ready(r);
	front(r, "a", &f);
	works(&f);
	comes_to(r, "a", "connected", NULL);
	refuses(r, "{\"cmd\":\"attach\",\"guest\":\"a\",\"device\":\"rng\"}", "no Xen here");
	/* The last line goes, and vgrantd stays. */
	serve(r, "b = rng\n");
	hung_up(&f);
	comes_to(r, "b", "waiting", NULL);
}

/* ---- a gpu's other processes ------------------------------------------------- */

static bool may_draw(struct rig *r, const char *name)
{
	struct vuf f;
	bool may;

	front(r, name, &f);
	may = f.offered & 1ull << VIRTIO_GPU_F_VIRGL;
	vuf_fini(&f);
	return may;
}

/* Until the list says @what, or not any more. */
static void until_listed(struct rig *r, const char *what, bool is)
{
	const char *said = "";

	for (unsigned i = 0; i < WAIT_MS / 10; i++) {
		said = rig_ask(r, "{\"cmd\":\"list\"}");
		if (!strstr(said, what) == !is)
			return;
		usleep(10000);
	}
	fail_msg("%s: %s", what, said);
}

static pid_t until_process(struct rig *r, const char *word, pid_t other_than, bool is)
{
	pid_t pid = 0;

	for (unsigned i = 0; i < WAIT_MS / 10; i++) {
		pid = rig_process(r, word);
		if ((pid && pid != other_than) == is)
			return pid;
		usleep(10000);
	}
	fail_msg("%s: %d", word, (int)pid);
	return 0;
}

/* What draws for it is there before the first front-end is served, and is replaced, as its worker is. */
static void a_renderer(void **state)
{
	struct rig *r = *state;
	pid_t renderer, worker;

	serve(r, "a = gpu,render=virgl\n");
	assert_true(may_draw(r, "a"));
	renderer = until_process(r, "--renderer", 0, true);
	kill(renderer, SIGKILL);
	renderer = until_process(r, "--renderer", renderer, true);
	until_listed(r, "3d=virgl", true);
	worker = worker_of(r, "a");
	kill(worker, SIGKILL);
	until_process(r, "--renderer", renderer, true);
	assert_true(may_draw(r, "a"));
	/* Another configuration, without; and none. */
	serve(r, "a = gpu\n");
	until_process(r, "--renderer", 0, false);
	until_listed(r, "3d=", false);
	assert_false(may_draw(r, "a"));
	serve(r, "a = gpu,render=virgl\n");
	until_listed(r, "3d=virgl", true);
	assert_true(may_draw(r, "a"));
	settings(r, "");
	kill(r->daemon, SIGHUP);
	until_process(r, "--renderer", 0, false);
}

/* The front-end shows the picture; we do, too, where the line says where. */
static void a_display(void **state)
{
	struct rig *r = *state;
	pid_t display;

	serve(r, "a = gpu\n");
	comes_to(r, "a", "waiting", NULL);
	assert_int_equal(rig_process(r, "--display"), 0);
	serve(r, "a = gpu,vnc=%s/vnc\n", r->dir);
	until_listed(r, "/vnc viewers=0", true);
	until_listed(r, "display=yes", true);
	display = until_process(r, "--display", 0, true);
	kill(display, SIGKILL);
	until_process(r, "--display", display, true);
	until_listed(r, "display=yes", true);
	kill(worker_of(r, "a"), SIGKILL);
	comes_to(r, "a", "waiting", NULL);
	until_listed(r, "display=yes", true);
	serve(r, "a = gpu\n");
	until_process(r, "--display", 0, false);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(listed),
		T(listed_by_name),
		T(image_missing),
		T(mistakes_in_the_device),
		T(relative_path),
		T(path_not_to_be_had),
		T(path_in_use),
		T(permissions),
		T(killed_worker),
		T(slow_disk),
		T(locked_at_start),
		T(crash_loop),
		T(reloaded),
		T(reloaded_with_a_mistake),
		T(set_trace_and_detach),
		T(killed_daemon),
		T(stopped),
		T(beside_a_guest),
		T(without_xen),
		T(a_renderer),
		T(a_display),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
