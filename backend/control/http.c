// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * http.c - see http.h
 *
 * The fields of a request are passed over: one page without parameters, without a body, in one form,
 * on a connection for one request needs none of them.
 */
#include "backend/control/http.h"

#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },
	{ 400, "Bad Request" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 431, "Request Header Fields Too Large" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
};

const char *vg_http_reason(int status)
{
	for (size_t i = 0; i < COUNT(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Error";
}

/* The empty line has come, with or without carriage returns (RFC 9112, 2.2). */
static bool is_whole(const char *request, size_t len)
{
	return memmem(request, len, "\r\n\r\n", 4) || memmem(request, len, "\n\n", 2);
}

/* The word at *@at, up to a blank, which is passed over, or @end. Return: its length. */
static size_t word(const char **at, const char *end, const char **text)
{
	const char *stop = memchr(*at, ' ', (size_t)(end - *at));

	*text = *at;
	*at = stop ? stop + 1 : end;
	return (size_t)((stop ? stop : end) - *text);
}

static bool is(const char *text, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(text, what, len) == 0;
}

int vg_http_parse(const char *request, size_t len, const char *page, bool *head)
{
	const char *end = memchr(request, '\n', len), *at = request;
	const char *method, *path, *version, *query;
	size_t n_method, n_path, n_version;

	if (!is_whole(request, len))
		return VG_HTTP_MORE;
	if (end > request && end[-1] == '\r')
		end--;
	n_method = word(&at, end, &method);
	n_path = word(&at, end, &path);
	n_version = word(&at, end, &version);
	if (at != end || !n_method || !n_path || n_version != strlen("HTTP/1.1") ||
	    memcmp(version, "HTTP/", 5) != 0)
		return 400;
	if (memcmp(version, "HTTP/1.", 7) != 0)
		return 505;
	*head = is(method, n_method, "HEAD");
	if (!*head && !is(method, n_method, "GET"))
		return 405;
	query = memchr(path, '?', n_path);
	return is(path, query ? (size_t)(query - path) : n_path, page) ? VG_HTTP_OK : 404;
}

size_t vg_http_head(char *buf, size_t size, int status, const char *type, size_t len)
{
	return (size_t)snprintf(buf, size,
				"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				"Connection: close\r\n%s\r\n",
				status, vg_http_reason(status), type, len,
				status == 405 ? "Allow: GET, HEAD\r\n" : "");
}
