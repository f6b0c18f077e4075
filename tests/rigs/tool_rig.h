/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tool_rig.h - the command line against a control socket with devices made up by the test
 *
 * The vgrant that was built beside the test is run; the supervisor is a process with the test's own
 * vg_control_ops. For one test program: all of it is static.
 */
#ifndef TOOL_RIG_H
#define TOOL_RIG_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/control/control.h"

static char dir[] = "/tmp/vgrant-tool.XXXXXX";
static char path[64], vgrant[4096];
static char out[1 << 16]; /* what vgrant said, stderr included */
static pid_t server;
static const struct vg_control_ops *tool_ops;

/* The folder, and where vgrant is (VGRANT in the environment says otherwise). */
static int tool_begin(const struct vg_control_ops *ops)
{
	ssize_t n = readlink("/proc/self/exe", vgrant, sizeof(vgrant) - 32);
	char *end;

	if (n < 0 || !mkdtemp(dir))
		return -1;
	vgrant[n] = '\0';
	end = strstr(vgrant, "/tests/unit/");
	if (getenv("VGRANT"))
		snprintf(vgrant, sizeof(vgrant), "%s", getenv("VGRANT"));
	else if (end)
		strcpy(end, "/vgrant");
	snprintf(path, sizeof(path), "%s/control", dir);
	tool_ops = ops;
	return 0;
}

static int tool_end(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

static int serve(int ready)
{
	const struct vg_control_config cfg = {
		.path = path, .group = (gid_t)-1, .mode = 0666, .version = "9.9", .ops = tool_ops
	};
	struct vg_control *control;
	struct vg_loop *loop;
	struct vg_err err;

	if (vg_loop_new(16, &loop) < 0 || vg_control_new(loop, &cfg, &control, &err) < 0)
		return 1;
	(void)!write(ready, "x", 1);
	return vg_loop_run(loop);
}

static int start_server(void **state)
{
	int ready[2];
	char c;

	(void)state;
	if (pipe(ready) < 0)
		return -1;
	server = fork();
	if (server == 0)
		_exit(serve(ready[1]));
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		return -1;
	return close(ready[0]);
}

static int stop_server(void **state)
{
	(void)state;
	kill(server, SIGKILL);
	return waitpid(server, NULL, 0) == server ? 0 : -1;
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, start_server, stop_server)

/* Run `vgrant ARGS`; its words are in out. Return: its exit code. */
static int run(const char *args)
{
	char cmd[8192];
	FILE *p;
	size_t n;
	int status;

	snprintf(cmd, sizeof(cmd), "%s -s %s %s 2>&1", vgrant, path, args);
	p = popen(cmd, "r");
	assert_non_null(p);
	n = fread(out, 1, sizeof(out) - 1, p);
	out[n] = '\0';
	status = pclose(p);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_out(const char *part)
{
	if (!strstr(out, part))
		fail_msg("\"%s\" has no \"%s\"", out, part);
}

static inline void assert_not_out(const char *part)
{
	if (strstr(out, part))
		fail_msg("vgrant says \"%s\":\n%s", part, out);
}

/* What vgrant said is, as JSON, what configs/vgrant.schema.json says of @kind; see unit/schema.py. */
static inline void assert_schema(const char *kind)
{
	const char *build = getenv("VGRANT_BUILD");
	char cmd[512];
	FILE *p;

	snprintf(cmd, sizeof(cmd), "python3 %s/../../tests/unit/schema.py %s",
		 build ? build : "build/asan", kind);
	p = popen(cmd, "w");
	assert_non_null(p);
	fputs(out, p);
	assert_int_equal(pclose(p), 0);
}

#endif /* TOOL_RIG_H */
