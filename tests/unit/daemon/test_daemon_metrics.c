// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_metrics.c - what Prometheus is told, by HTTP, whoever else connects there
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "tests/rigs/daemon_rig.h"

static char answer[1 << 20]; /* to the last request */

/* Ready, with /metrics at @where; NULL: on a socket in its runtime folder. */
static void start_at(struct rig *r, const char *where)
{
	char path[160];
	FILE *f;

	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	snprintf(path, sizeof(path), "%s/vgrantd.conf", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	if (where)
		fprintf(f, "[control]\nmetrics = %s\n", where);
	else
		fprintf(f, "[control]\nmetrics = %s/run/metrics.sock\n", r->dir);
	fclose(f);
	rig_daemon_start(r);
	rig_daemon_ready(r);
}

static int connect_to(struct rig *r, unsigned port)
{
	struct timeval patience = { .tv_sec = 30 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = -1;

	snprintf(un.sun_path, sizeof(un.sun_path), "%.80s/run/metrics.sock", r->dir);
	/* The control socket is there a little earlier. */
	for (int i = 0; ret < 0 && i < 1000; i++) {
		ret = port ? connect(fd, (struct sockaddr *)&in, sizeof(in))
			   : connect(fd, (struct sockaddr *)&un, sizeof(un));
		if (ret < 0)
			usleep(10000);
	}
	assert_int_equal(ret, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static const char *hear(int fd)
{
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, answer + n, sizeof(answer) - 1 - n)) > 0)
		n += (size_t)got;
	answer[n] = '\0';
	close(fd);
	return answer;
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const char *get(struct rig *r, const char *request)
{
	int fd = connect_to(r, 0);

	put(fd, request);
	return hear(fd);
}

#define GET "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

static void has(const char *part)
{
	if (!strstr(answer, part))
		fail_msg("no \"%s\": %s", part, answer);
}

/* The answer is a page that a strict reader takes, with all that the dashboard asks for. */
static void is_page(struct rig *r)
{
	const char *build = getenv("VGRANT_BUILD");
	const char *body = strstr(answer, "\r\n\r\n");
	char path[160], cmd[1024];
	FILE *f;

	has("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	assert_non_null(body);
	snprintf(path, sizeof(path), "%s/page", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(body + 4, f);
	fclose(f);
	snprintf(cmd, sizeof(cmd),
		 "cd %s/../.. && python3 tests/unit/exposition.py %s configs/grafana/vgrant.json",
		 build ? build : "build/asan", path);
	assert_int_equal(system(cmd), 0);
}

/* ---- tests -------------------------------------------------------------------- */

static void a_page(void **state)
{
	struct rig *r = *state;
	char line[160];
	struct rig_guest *g;

	start_at(r, NULL);
	get(r, GET);
	is_page(r); /* without devices, too */
	g = rig_connected(r, 0);
	for (int i = 0; i < 5; i++)
		rig_reads(g, 0);
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	/* A page is kept for a second. */
	snprintf(line, sizeof(line),
		 "vgrant_requests_total{guest=\"guest%u\",device=\"virtio/%u\",type=\"blk\"} 6\n",
		 g->id, RIG_ID);
	for (int i = 0; i < 1000 && !strstr(get(r, GET), line); i++)
		usleep(10000);
	has(line);
	is_page(r);
	has("vgrant_request_duration_seconds_bucket{guest=");
	has(",op=\"read\",le=\"1e-06\"}");
	has(",op=\"read\",le=\"+Inf\"} 5\n");
	has(",op=\"flush\"} 1\n");
	has("state=\"connected\"} 1\n");
	has("kind=\"io\"} 0\n");
	get(r, "HEAD /metrics?x=y HTTP/1.0\n\n");
	has("HTTP/1.1 200 OK");
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void bad_requests(void **state)
{
	static const struct {
		const char *request, *says;
	} bad[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "404 Not Found" },
		{ "GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found" },
		{ "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
		  "405 Method Not Allowed" },
		{ "GET /metrics HTTP/2.0\r\n\r\n", "505 HTTP Version" },
		{ "GET /metrics\r\n\r\n", "400 Bad Request" },
		{ "GET  /metrics HTTP/1.1\r\n\r\n", "400 Bad Request" },
		{ "GET /metrics HTTP/1.1 x\r\n\r\n", "400 Bad Request" },
		{ "\r\n\r\n", "400 Bad Request" },
		{ "\x16\x03\x01\x02\n\n", "400 Bad Request" },
	};
	static char flood[5000];
	struct rig *r = *state;
	int fd;

	start_at(r, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		get(r, bad[i].request);
		has(bad[i].says);
	}
	memset(flood, 'a', sizeof(flood) - 1);
	fd = connect_to(r, 0);
	send(fd, flood, sizeof(flood), MSG_NOSIGNAL);
	hear(fd);
	has("431 ");
	close(connect_to(r, 0));
	get(r, GET);
	is_page(r);
}

/* More than there is room for, who send nothing, or some of it, or do not read: others are served. */
static void slow_clients_keep_nobody_out(void **state)
{
	struct rig *r = *state;
	int fd[40];

	start_at(r, NULL);
	for (int i = 0; i < 40; i++) {
		fd[i] = connect_to(r, 0);
		if (i % 3)
			(void)!send(fd[i], "GET /metr", 9, MSG_NOSIGNAL);
	}
	get(r, GET);
	is_page(r);
	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"version\"}"), "\"ok\":true"));
	for (int i = 0; i < 40; i++)
		close(fd[i]);
}

static pid_t exporter(struct rig *r)
{
	char path[64], args[64] = "";
	pid_t pids[8], found = 0;
	unsigned n = rig_workers(r, pids, 8);

	for (unsigned i = 0; i < n; i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pids[i]);
		fd = open(path, O_RDONLY);
		memset(args, 0, sizeof(args));
		if (fd >= 0 && read(fd, args, sizeof(args) - 1) > 0 &&
		    strcmp(args + strlen(args) + 1, "--metrics") == 0)
			found = pids[i];
		if (fd >= 0)
			close(fd);
	}
	return found;
}

static void one_that_dies_is_replaced(void **state)
{
	struct rig *r = *state;
	pid_t before, now;

	start_at(r, NULL);
	get(r, GET);
	before = exporter(r);
	assert_true(before > 0);
	kill(before, SIGKILL);
	/* Whoever connects meanwhile waits in the backlog. */
	get(r, GET);
	is_page(r);
	now = exporter(r);
	assert_true(now > 0 && now != before);
	assert_true(rig_logs(r, "metrics: its worker was killed by signal 9"));
}

static void a_port_of_this_machines_own(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(in);
	struct rig *r = *state;
	char port[16];

	/* The kernel knows one that is free. */
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	snprintf(port, sizeof(port), "%u", ntohs(in.sin_port));
	start_at(r, port);
	fd = connect_to(r, ntohs(in.sin_port));
	put(fd, GET);
	hear(fd);
	is_page(r);
}

/* What is in the way is not removed, and the devices are served all the same. */
static void a_place_that_is_taken(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/mine", r->dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	start_at(r, path);
	assert_true(rig_logs(r, "cannot be listened on: something that is no socket is there"));
	assert_int_equal(access(path, F_OK), 0);
	g = rig_connected(r, 0);
	rig_reads(g, 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void nothing_unless_it_is_asked_for(void **state)
{
	struct rig *r = *state;

	assert_non_null(strstr(rig_ask(r, "{\"cmd\":\"show-config\"}"), "\\nmetrics = off\\n"));
	assert_int_equal(exporter(r), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(nothing_unless_it_is_asked_for),
		T(a_page),
		T(bad_requests),
		T(slow_clients_keep_nobody_out),
		T(one_that_dies_is_replaced),
		T(a_port_of_this_machines_own),
		T(a_place_that_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
