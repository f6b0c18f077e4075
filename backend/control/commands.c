// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * commands.c - requests on the control socket, the commands, and their answers
 *
 * A command is a line in the table `commands`: its name, who may give it, its
 * arguments, and a function that hands it to the supervisor's vg_control_ops.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/number.h"
#include "backend/control/int.h"
#include "backend/control/json.h"

/* ---- requests ----------------------------------------------------------- */

static struct vg_control_req *req_new(struct vg_client *client)
{
	struct vg_control *c = client->control;
	struct vg_control_req *req = calloc(1, sizeof(*req));

	if (!req)
		return NULL;
	req->answer = json_object_new_object();
	if (!req->answer) {
		free(req);
		return NULL;
	}
	json_object_object_add(req->answer, "ok", json_object_new_boolean(true));
	req->client = client;
	req->next = c->requests;
	req->pprev = &c->requests;
	if (req->next)
		req->next->pprev = &req->next;
	c->requests = req;
	client->req = req;
	return req;
}

void vg_control_req_free(struct vg_control_req *req)
{
	if (req->client)
		req->client->req = NULL;
	*req->pprev = req->next;
	if (req->next)
		req->next->pprev = req->pprev;
	json_object_put(req->answer);
	free(req);
}

/* ---- commands ----------------------------------------------------------- */

enum { ARGS_MAX = 5 };

struct command {
	const char *name;
	bool changes; /* only for who may change things */
	int needs;    /* offset of the function in vg_control_ops that must be there; -1: none */
	struct {
		const char *key;
		bool optional;
	} args[ARGS_MAX];
	/* @arg: values in the order of args; NULL for one that was left out. Finishes @req. */
	void (*run)(struct vg_control *c, struct vg_control_req *req, const char *const *arg);
};

static void fail_text(struct vg_control_req *req, int code, const char *text)
{
	struct vg_err err;

	vg_fail(&err, code, "%s", text);
	vg_control_fail(req, code, &err);
}

/* "0", "virtio/0" -> @t. @kind: room for the kind. */
static int parse_target(const char *guest, const char *id, char *kind, size_t kind_len,
			struct vg_control_target *t, struct vg_control_req *req)
{
	const char *slash = strrchr(id, '/');
	const char *number = slash ? slash + 1 : id;
	size_t n = slash ? (size_t)(slash - id) : 0;
	uint64_t v = 0;

	*t = (struct vg_control_target){ .guest = guest };
	if (slash && n > 0 && n < kind_len) {
		memcpy(kind, id, n);
		kind[n] = '\0';
		t->kind = kind;
	}
	if ((slash && !t->kind) || vg_number(number, 10, INT32_MAX, &v) < 0) {
		fail_text(req, -EINVAL,
			  "a device is named by its number or name as `vgrant list` shows them: 0, "
			  "or virtio/0");
		return -EINVAL;
	}
	t->id = (unsigned)v;
	return 0;
}

static void run_list(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	req->devices = json_object_new_array();
	json_object_object_add(req->answer, "devices", req->devices);
	c->cfg.ops->list(c->cfg.ctx, req, arg[0]);
}

/* "scope": which definition of a libvirt domain is meant. Return: 0, or -EINVAL, and @req is finished. */
static int take_scope(struct vg_control_req *req, const char *text)
{
	static const struct {
		const char *word;
		unsigned scope;
	} words[] = {
		{ "live", VG_CONTROL_LIVE },
		{ "config", VG_CONTROL_CONFIG },
		{ "live,config", VG_CONTROL_LIVE | VG_CONTROL_CONFIG },
	};

	if (!text)
		return 0;
	for (size_t i = 0; i < COUNT(words); i++) {
		if (strcmp(words[i].word, text) == 0) {
			req->scope = words[i].scope;
			return 0;
		}
	}
	fail_text(req, -EINVAL, "a scope is one of: live; config; live,config");
	return -EINVAL;
}

static void run_attach(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	if (take_scope(req, arg[2]) == 0)
		c->cfg.ops->attach(c->cfg.ctx, req, arg[0], arg[1]);
}

static void run_detach(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	struct vg_control_target t;
	char kind[32];

	if (parse_target(arg[0], arg[1], kind, sizeof(kind), &t, req) == 0 &&
	    take_scope(req, arg[2]) == 0)
		c->cfg.ops->detach(c->cfg.ctx, req, &t);
}

static void run_set(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	struct vg_control_target t;
	char kind[32];

	if (parse_target(arg[0], arg[1], kind, sizeof(kind), &t, req) == 0 &&
	    take_scope(req, arg[4]) == 0)
		c->cfg.ops->set(c->cfg.ctx, req, &t, arg[2], arg[3]);
}

static void run_trace(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	struct vg_control_target t;
	char kind[32];

	if (parse_target(arg[0], arg[1], kind, sizeof(kind), &t, req) == 0)
		c->cfg.ops->trace(c->cfg.ctx, req, &t);
}

static void run_events(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	req->of_events = true;
	c->cfg.ops->events(c->cfg.ctx, req, arg[0]);
}

static void run_look(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	struct vg_control_target t;
	uint64_t head = 0;
	char kind[32];
	int fd = req->client->passed;

	if (arg[2] && vg_number(arg[2], 10, UINT16_MAX, &head) < 0) {
		fail_text(req, -EINVAL, "a head is a number from 0 on");
	} else if (parse_target(arg[0], arg[1], kind, sizeof(kind), &t, req) == 0) {
		req->client->passed = -1;
		c->cfg.ops->look(c->cfg.ctx, req, &t, (unsigned)head, fd);
	}
}

static void run_capture(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	struct vg_control_target t;
	char kind[32];
	int fd = req->client->passed;

	if (parse_target(arg[0], arg[1], kind, sizeof(kind), &t, req) < 0)
		return;
	req->client->passed = -1;
	c->cfg.ops->capture(c->cfg.ctx, req, &t, fd);
}

static void run_show_config(struct vg_control *c, struct vg_control_req *req,
			    const char *const *arg)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)arg;
	if (!out) {
		fail_text(req, -ENOMEM, "out of memory");
		return;
	}
	c->cfg.ops->show_config(c->cfg.ctx, out);
	fclose(out);
	vg_control_add_str(req, "text", text);
	free(text);
	vg_control_ok(req);
}

static void run_log_level(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	enum vg_log_level level;

	if (vg_log_level_parse(arg[0], &level) < 0) {
		fail_text(req, -EINVAL, "a level is one of: error, warning, info, debug");
	} else {
		c->cfg.ops->log_level(c->cfg.ctx, level);
		vg_control_ok(req);
	}
}

static void run_version(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	(void)arg;
	vg_control_add_str(req, "version", c->cfg.version);
	vg_control_ok(req);
}

static void run_shutdown(struct vg_control *c, struct vg_control_req *req, const char *const *arg)
{
	(void)arg;
	vg_control_ok(req);
	c->cfg.ops->shutdown(c->cfg.ctx);
}

#define NEEDS(member) ((int)offsetof(struct vg_control_ops, member))

static const struct command commands[] = {
	{ "list", false, NEEDS(list), { { "guest", true } }, run_list },
	{ "attach",
	  true,
	  NEEDS(attach),
	  { { "guest", false }, { "device", false }, { "scope", true } },
	  run_attach },
	{ "detach",
	  true,
	  NEEDS(detach),
	  { { "guest", false }, { "id", false }, { "scope", true } },
	  run_detach },
	{ "set",
	  true,
	  NEEDS(set),
	  { { "guest", false },
	    { "id", false },
	    { "key", false },
	    { "value", false },
	    { "scope", true } },
	  run_set },
	{ "trace", false, NEEDS(trace), { { "guest", false }, { "id", false } }, run_trace },
	{ "events", false, NEEDS(events), { { "guest", true } }, run_events },
	{ "look",
	  true,
	  NEEDS(look),
	  { { "guest", false }, { "id", false }, { "head", true } },
	  run_look },
	{ "capture", true, NEEDS(capture), { { "guest", false }, { "id", false } }, run_capture },
	{ "show-config", false, NEEDS(show_config), { { NULL, false } }, run_show_config },
	{ "log-level", true, NEEDS(log_level), { { "level", false } }, run_log_level },
	{ "version", false, -1, { { NULL, false } }, run_version },
	{ "shutdown", true, NEEDS(shutdown), { { NULL, false } }, run_shutdown },
};

/* Has the supervisor a function for it? */
static bool can_run(const struct vg_control *c, const struct command *cmd)
{
	void (*fn)(void);

	if (cmd->needs < 0)
		return true;
	memcpy(&fn, (const char *)c->cfg.ops + cmd->needs, sizeof(fn));
	return fn != NULL;
}

/* The text of a string or a whole number; NULL: another type, or a NUL in it. */
static const char *text_of(struct json_object *value)
{
	const char *s;

	if (json_object_is_type(value, json_type_int))
		return json_object_get_string(value);
	if (!json_object_is_type(value, json_type_string))
		return NULL;
	s = json_object_get_string(value);
	return strlen(s) == (size_t)json_object_get_string_len(value) ? s : NULL;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; name && i < COUNT(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* Fill @arg from @obj, in which nothing else may stand. */
static int take_args(const struct command *cmd, struct json_object *obj, const char **arg,
		     struct vg_err *err)
{
	size_t known = 1; /* "cmd" */

	for (int i = 0; i < ARGS_MAX && cmd->args[i].key; i++) {
		struct json_object *value;

		arg[i] = NULL;
		if (json_object_object_get_ex(obj, cmd->args[i].key, &value)) {
			arg[i] = text_of(value);
			known++;
			if (!arg[i])
				return vg_fail(err, -EINVAL, "\"%s\" must be a string",
					       cmd->args[i].key);
		} else if (!cmd->args[i].optional) {
			return vg_fail(err, -EINVAL, "\"%s\" needs \"%s\"", cmd->name,
				       cmd->args[i].key);
		}
	}
	if (known != (size_t)json_object_object_length(obj))
		return vg_fail(err, -EINVAL, "there are members that \"%s\" does not know",
			       cmd->name);
	return 0;
}

static int run_line(struct vg_client *client, struct json_object *obj, struct vg_err *err)
{
	const char *arg[ARGS_MAX] = { NULL };
	const struct command *cmd;
	struct json_object *name;
	struct vg_control_req *req;
	int ret;

	if (!json_object_object_get_ex(obj, "cmd", &name))
		return vg_fail(err, -EINVAL, "a request needs \"cmd\"");
	cmd = find_command(text_of(name));
	if (!cmd)
		return vg_fail(err, -EINVAL, "there is no command \"%.40s\" in this vgrantd",
			       json_object_get_string(name));
	if (cmd->changes && !client->may_change)
		return vg_fail(err, -EPERM, "only root may %s", cmd->name);
	if (!can_run(client->control, cmd))
		return vg_fail(err, -EOPNOTSUPP, "this vgrantd cannot do that");
	ret = take_args(cmd, obj, arg, err);
	if (ret < 0)
		return ret;
	req = req_new(client);
	if (!req)
		return vg_fail(err, -ENOMEM, "out of memory");
	cmd->run(client->control, req, arg);
	return 0;
}

void vg_control_handle_line(struct vg_client *client, const char *line, size_t len)
{
	struct json_object *obj;
	struct vg_err err;
	int ret = -EINVAL;

	if (len == 0)
		return;
	obj = vg_json_parse(line, len, &err);
	if (obj)
		ret = run_line(client, obj, &err);
	json_object_put(obj);
	if (ret < 0)
		vg_client_send_error(client, ret, err.text);
}

/* ---- answers ------------------------------------------------------------ */

void vg_control_list_add(struct vg_control_req *req, const struct vg_control_device *dev)
{
	if (req->client && req->devices)
		json_object_array_add(req->devices, vg_json_device(dev));
}

void vg_control_add_uint(struct vg_control_req *req, const char *key, uint64_t value)
{
	json_object_object_add(req->answer, key, json_object_new_uint64(value));
}

void vg_control_add_str(struct vg_control_req *req, const char *key, const char *value)
{
	json_object_object_add(req->answer, key, vg_json_text(value));
}

/* Queued bytes, and perhaps lines that waited behind the request, are for the next turn. */
static void finish(struct vg_control_req *req)
{
	struct vg_client *client = req->client;

	vg_control_req_free(req);
	if (!client)
		return;
	client->since = vg_now_ns();
	vg_client_set_interest(client);
	vg_loop_timer(client->control->loop, &client->control->again, 0);
}

void vg_control_ok(struct vg_control_req *req)
{
	if (req->client)
		vg_client_send(req->client, req->answer);
	finish(req);
}

void vg_control_fail(struct vg_control_req *req, int code, const struct vg_err *err)
{
	if (req->client)
		vg_client_send_error(req->client, code, err->text);
	finish(req);
}

/* Whether one more of the stream can be sent. Return: 0, or as vg_control_line(). */
static int has_room(struct vg_control_req *req)
{
	struct vg_client *client = req->client;

	if (!client)
		return -EPIPE;
	if (client->out_len - client->out_sent <= STREAM_MAX)
		return 0;
	req->dropped++;
	return -EAGAIN;
}

/* One object of a stream, with @value, which is taken; @key: NULL: only what was dropped. */
static void stream(struct vg_control_req *req, const char *key, struct json_object *value)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "ok", json_object_new_boolean(true));
	json_object_object_add(obj, "more", json_object_new_boolean(true));
	if (key)
		json_object_object_add(obj, key, value);
	if (req->dropped)
		json_object_object_add(obj, "dropped", json_object_new_uint64(req->dropped));
	req->dropped = 0;
	vg_client_send(req->client, obj);
	json_object_put(obj);
}

int vg_control_line(struct vg_control_req *req, const char *text)
{
	int ret = has_room(req);

	if (ret == 0)
		stream(req, "line", vg_json_text(text));
	return ret;
}

int vg_control_event(struct vg_control_req *req, const struct vg_control_event *event)
{
	int ret = has_room(req);

	if (ret == 0)
		stream(req, "event", vg_json_event(event));
	return ret;
}

void vg_control_caught_up(struct vg_control_req *req)
{
	if (req->of_events && req->dropped)
		stream(req, NULL, NULL);
}

unsigned vg_control_scope(const struct vg_control_req *req)
{
	return req->scope;
}

bool vg_control_is_gone(const struct vg_control_req *req)
{
	return !req->client;
}

void vg_control_on_gone(struct vg_control_req *req, void (*gone)(void *arg), void *arg)
{
	req->gone = gone;
	req->gone_arg = arg;
}

/* As xl does (libxl_domain_qualifier_to_domid): what is all digits is a number, and no name. */
bool vg_control_is_guest(const char *text, const char *name, unsigned domid)
{
	uint64_t number;
	int ret =
		domid == VG_CONTROL_NO_DOMAIN ? -EINVAL : vg_number(text, 10, UINT32_MAX, &number);

	return ret == -EINVAL ? strcmp(text, name) == 0 : ret == 0 && number == domid;
}
