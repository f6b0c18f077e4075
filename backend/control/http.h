/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * http.h - as much of HTTP/1.1 (RFC 9112) as a server of one page needs
 */
#ifndef VG_HTTP_H
#define VG_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { VG_HTTP_MORE = 0, VG_HTTP_OK = 200 };

/**
 * vg_http_parse - a request, as far as it has come
 * @len: bytes
 * @page: the path that there is, such as "/metrics"; a query behind it is passed over
 * @head: gets whether the head of the answer alone is wanted
 *
 * Return: VG_HTTP_MORE: it is not whole; VG_HTTP_OK; or the status of a refusal: 400, 404, 405, 505.
 */
int vg_http_parse(const char *request, size_t len, const char *page, bool *head);

/**
 * vg_http_head - the head of an answer, after which the connection is closed
 * @len: bytes of the body
 *
 * Return: bytes in @buf, of which 256 are enough.
 */
size_t vg_http_head(char *buf, size_t size, int status, const char *type, size_t len);

/** vg_http_reason - the words for a status: "Not Found" */
const char *vg_http_reason(int status);

#endif /* VG_HTTP_H */
