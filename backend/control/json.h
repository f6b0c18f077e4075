/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.h - what the control socket says, as JSON; private to control*.c
 */
#ifndef VG_CONTROL_JSON_H
#define VG_CONTROL_JSON_H

#include <stddef.h>

#include "backend/base/log.h"
#include "backend/control/view.h"

struct json_object;

/**
 * vg_json_text - a JSON string of @s, in which what is no UTF-8 is replaced by '?'
 *
 * Return: NULL (JSON's null) for NULL, or when out of memory.
 */
struct json_object *vg_json_text(const char *s);

/** vg_json_device - the JSON object that vg_control_list_add() describes */
struct json_object *vg_json_device(const struct vg_control_device *dev);

/** vg_json_event - the "event" of a line that vg_control_event() sends */
struct json_object *vg_json_event(const struct vg_control_event *e);

/**
 * vg_json_parse - one line, which must be one object and nothing else
 *
 * Return: the object, to be freed with json_object_put(), or NULL with a sentence.
 */
struct json_object *vg_json_parse(const char *line, size_t len, struct vg_err *err);

#endif /* VG_CONTROL_JSON_H */
