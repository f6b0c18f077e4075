// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - `vgrant events`: what happens to devices, a line each, as it happens
 *
 *	2026-11-26 03:12:45.678  web virtio/64 blk  died: its worker was killed by signal 9 (Killed); ...
 *	2026-11-26 03:12:45.823  web virtio/64 blk  resumed
 */
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tools/vgrant.h"

static volatile sig_atomic_t timed_out;
static int stream = -1; /* the socket, for who ends it */

static void on_alarm(int sig)
{
	(void)sig;
	timed_out = 1;
	shutdown(stream, SHUT_RDWR);
}

/* "2026-11-26 03:12:45.678", here. */
static void print_time(double seconds)
{
	long long ms = (long long)(seconds * 1000 + 0.5);
	time_t whole = (time_t)(ms / 1000);
	char text[32] = "";
	struct tm tm;

	if (localtime_r(&whole, &tm))
		strftime(text, sizeof(text), "%F %T", &tm);
	printf("%s.%03d  ", text, (int)(ms % 1000));
}

static void print_event(struct json_object *event)
{
	const char *text = vgrant_text(event, "text");

	print_time(json_object_get_double(vgrant_member(event, "time")));
	printf("%s %s %s  %s%s%s\n", vgrant_printable(vgrant_text(event, "guest")),
	       vgrant_text(event, "name"), vgrant_printable(vgrant_text(event, "type")),
	       vgrant_text(event, "event"), *text ? ": " : "", vgrant_printable(text));
}

static void print_json(struct json_object *event)
{
	printf("%s\n", json_object_to_json_string_ext(
			       event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* As an event of its own, so that a program sees it where it belongs. */
static void print_lost(bool json, uint64_t n)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "time", json_object_new_int64(time(NULL)));
	json_object_object_add(event, "event", json_object_new_string("lost"));
	json_object_object_add(event, "lost", json_object_new_uint64(n));
	if (json) {
		print_json(event);
	} else {
		print_time((double)time(NULL));
		printf("lost: %llu events, for this side reads too slowly\n",
		       (unsigned long long)n);
	}
	json_object_put(event);
}

static void heard(struct json_object *obj, void *ctx)
{
	const struct vgrant_options *opt = ctx;
	struct json_object *event = vgrant_member(obj, "event");
	uint64_t dropped = vgrant_number(obj, "dropped");

	if (dropped)
		print_lost(opt->json, dropped);
	if (event && opt->json)
		print_json(event);
	else if (event)
		print_event(event);
	fflush(stdout);
}

/* Return: VGRANT_OK; VGRANT_USAGE after a complaint. */
static int take_timeout(const char *text)
{
	const struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct itimerval it = { 0 };
	double seconds;
	char *end;

	if (!text)
		return VGRANT_OK;
	seconds = strtod(text, &end);
	if (*end || end == text || !(seconds >= 0.001 && seconds <= 1e8)) {
		vgrant_complain("--timeout must be seconds, not '%s'", text);
		return VGRANT_USAGE;
	}
	it.it_value.tv_sec = (time_t)seconds;
	it.it_value.tv_usec = (suseconds_t)((seconds - (double)it.it_value.tv_sec) * 1e6);
	sigaction(SIGALRM, &alarm_action, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	return VGRANT_OK;
}

/* Until the time is over. Return: a code, after a complaint. */
static int hear(const struct vgrant_options *opt)
{
	char why[512] = "";
	int ret;

	vgrant_complain_into(why, sizeof(why));
	ret = vgrant_stream(stream, heard, (void *)(uintptr_t)opt, NULL);
	vgrant_complain_into(NULL, 0);
	if (timed_out)
		return VGRANT_OK;
	if (ret != VGRANT_OK && ret != VGRANT_NO_DAEMON) {
		vgrant_complain("%s", why);
		return ret;
	}
	vgrant_complain("%s", *why ? why : "vgrantd has ended; devices wait for the next one");
	return VGRANT_NO_DAEMON;
}

int vgrant_events(const struct vgrant_options *opt, int argc, char **argv)
{
	const struct timeval ever = { 0 };
	int ret;

	(void)argc, (void)argv;
	stream = vgrant_connect(opt);
	if (stream < 0)
		return VGRANT_NO_DAEMON;
	ret = take_timeout(opt->timeout);
	if (ret == VGRANT_OK) {
		/* Nothing may happen for long. */
		setsockopt(stream, SOL_SOCKET, SO_RCVTIMEO, &ever, sizeof(ever));
		vgrant_request(stream, "events", VGRANT_ARGS({ "guest", opt->guest }), -1);
		ret = hear(opt);
	}
	close(stream);
	return ret;
}
