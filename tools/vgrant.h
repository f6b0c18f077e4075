/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant.h - the command line, `vgrant`: what its files share
 *
 * vgrant.c has the table of commands, options.c the options; client.c talks to
 * vgrantd; list.c prints devices, show.c one of them in sentences, events.c what happens to them, top.c what they do, by figures.c, on terminal.c's;
 * capture.c writes packets; check.c, convert.c and help.c need no
 * daemon: they go by the devices' own tables. doctor.c and doctor_guests.c look for what is wrong. hook.c is libvirt's, migrate.c sends guests to other hosts, which take them by accept.c and offers.c. views.c has what virsh cannot
 * show, screens.c a guest's pictures. text.c and table.c are what all of them say things with.
 *
 * Every command ends with one of the codes below, and says why on stderr.
 */
#ifndef VGRANT_H
#define VGRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_object;
struct vg_domxml;
struct vg_err;
struct vg_xlconf;
struct vgrant_command;

enum vgrant_exit {
	VGRANT_OK = 0,
	VGRANT_FAILED = 1,    /* vgrantd refused, or a check found a mistake */
	VGRANT_USAGE = 2,     /* the command line is wrong */
	VGRANT_NO_DAEMON = 3, /* vgrantd does not run, does not answer, or may not be talked to */
};

/* What the options say. */
struct vgrant_options {
	const char *socket; /* NULL: as vgrantd.conf says */
	bool json, brief, verbose;
	bool once;
	const char *interval, *batch, *sort, *guest,
		*timeout;		       /* as they were written; NULL: they were not */
	bool ask;			       /* of migrate: no more than that */
	bool live, config;		       /* of a libvirt domain: which definition */
	const struct vgrant_command *commands; /* all that there are, for `vgrant help` */
};

struct vgrant_command {
	const char *name;
	const char *args; /* for usage: "GUEST ID" */
	const char *help; /* one line */
	int min_args, max_args;
	const char *options; /* letters of the options that it takes beside the common ones */
	int (*run)(const struct vgrant_options *opt, int argc, char **argv);
};

enum { VGRANT_LETTERS = 24 };

/* What the command line holds beside the command and its arguments. */
struct vgrant_line {
	struct vgrant_options opt;
	char used[VGRANT_LETTERS]; /* letters of the options that were given, each once */
	bool help, version;
};

/** vgrant_complain - "vgrant: ..." on stderr */
void vgrant_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** vgrant_complain_into - from here on to @buf rather than to stderr, the last one counts; NULL: no more */
void vgrant_complain_into(char *buf, size_t size);

/**
 * vgrant_parse - take the options out of a command line
 * @argc, @argv: main()'s; what is left of them on return: the command and its arguments
 *
 * Return: VGRANT_OK, or VGRANT_USAGE after a complaint.
 */
int vgrant_parse(int *argc, char ***argv, struct vgrant_line *line);

/** vgrant_is_common - does every command take the option @letter? */
bool vgrant_is_common(char letter);

/** vgrant_print_option_help - one line for each option in @letters */
void vgrant_print_option_help(const char *letters);

/* A member of a request. One whose value is NULL is left out; one whose key is NULL is the last. */
struct vgrant_arg {
	const char *key, *value;
};

/* VGRANT_ARGS({ "guest", guest }, { "id", id }) */
#define VGRANT_ARGS(...) ((const struct vgrant_arg[]){ __VA_ARGS__, { NULL, NULL } })

/**
 * vgrant_ask - send a request and wait for its answer
 * @answer: gets the last line's object, to be freed with json_object_put(); NULL: not wanted
 * @args: NULL: none
 *
 * Lines of a stream are printed on stdout as they come. Failure was told when it returns.
 *
 * Return: a code of enum vgrant_exit.
 */
int vgrant_ask(const struct vgrant_options *opt, struct json_object **answer, const char *cmd,
	       const struct vgrant_arg *args);

/** vgrant_connect - to vgrantd. Return: a descriptor, the caller's; or -1 after a complaint. */
int vgrant_connect(const struct vgrant_options *opt);

/** vgrant_request - send a request; @fd_to_pass: a descriptor that goes with it, or -1 */
void vgrant_request(int fd, const char *cmd, const struct vgrant_arg *args, int fd_to_pass);

/** vgrant_answer - wait for its answer; as vgrant_ask() */
int vgrant_answer(int fd, struct json_object **answer);

/** vgrant_stream - the same, with @more for each object of a stream, in place of printing its line */
int vgrant_stream(int fd, void (*more)(struct json_object *obj, void *ctx), void *ctx,
		  struct json_object **answer);

/** vgrant_is_there - does vgrantd take connections? Says nothing. */
bool vgrant_is_there(const struct vgrant_options *opt);

/** vgrant_text - member @key of @obj as text; "" when it is not there, or null */
const char *vgrant_text(struct json_object *obj, const char *key);
/** vgrant_number - member @key of @obj as a number; 0 when it is not there */
uint64_t vgrant_number(struct json_object *obj, const char *key);
/** vgrant_member - member @key of @obj, borrowed, or NULL */
struct json_object *vgrant_member(struct json_object *obj, const char *key);

/**
 * vgrant_devices - the devices of @guest
 * @answer: to be freed, also on failure; @devices, an array, is borrowed from it
 *
 * Return: VGRANT_*, after a complaint where it is not VGRANT_OK.
 */
int vgrant_devices(const struct vgrant_options *opt, const char *guest, struct json_object **answer,
		   struct json_object **devices);

/** vgrant_is_a - is device @dev of that type? */
bool vgrant_is_a(struct json_object *dev, const char *type);

/** vgrant_find_device - the device of @devices (an array) whose number or name is @id, or NULL */
struct json_object *vgrant_find_device(struct json_object *devices, const char *id);

/**
 * vgrant_printable - @text without what a terminal would obey
 *
 * Control characters become '?': errors and names may hold what a guest wrote.
 * Return: one of a few static buffers, used in turn.
 */
const char *vgrant_printable(const char *text);

/** vgrant_bytes - "1.2 GiB"; one of a few static buffers, used in turn */
const char *vgrant_bytes(uint64_t bytes);

/** vgrant_duration - "3m12s"; one of a few static buffers, used in turn */
const char *vgrant_duration(uint64_t seconds);

/**
 * vgrant_short_name - what stands under ID: a device's number, or, where that alone would mislead,
 * its full name
 */
const char *vgrant_short_name(struct json_object *dev);

/**
 * vgrant_by_place - an order of devices, for qsort(3) of pointers to them
 *
 * By domain, then kind, name and number, whatever vgrantd's order is; what no domain has last.
 */
int vgrant_by_place(const void *a, const void *b);

/* A table for people: columns two blanks apart, each as wide as it must be. Zero it, set columns. */
struct vgrant_column {
	const char *title;
	bool right; /* a number */
};

struct vgrant_table {
	const struct vgrant_column *columns;
	unsigned n_columns;
	char **cells, **below; /* row by row; lines below rows, NULL: none */
	unsigned n_cells, n_below;
	bool short_of_memory;
};

/** vgrant_table_add - the next cell, in a new row when the last one is full; made printable */
void vgrant_table_add(struct vgrant_table *t, const char *text);

/** vgrant_table_below - a line below the row that is full now; "": none */
void vgrant_table_below(struct vgrant_table *t, const char *text);

/** vgrant_table_print - titles and rows to @out; frees what the table holds. Return: a code. */
int vgrant_table_print(struct vgrant_table *t, FILE *out);

/** vgrant_cut - the bytes of @line, @width characters of it at most; no escape sequences in it */
size_t vgrant_cut(const char *line, unsigned width);

int vgrant_list(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_show(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_events(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_top(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_capture(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_console(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_check(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_help(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_convert(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_domblkinfo(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_resize(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_domblklist(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_domiflist(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_domdisplay(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_screenshot(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_hook(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_schema(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_doctor(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_migrate(const struct vgrant_options *opt, int argc, char **argv);
int vgrant_accept(const struct vgrant_options *opt, int argc, char **argv);

/* What `vgrant migrate` asks `vgrant accept` */
enum {
	VGRANT_QUESTION_FORMAT = 1,
	VGRANT_QUESTION_MAX = 1 << 20, /* bytes: some thousands of devices */
};

/**
 * vgrant_offers - the features of the device's own that one configured by @spec would offer here
 *
 * It is opened for that, in a process that ends. Return: 0, or negative errno with a sentence.
 */
int vgrant_offers(const char *spec, uint64_t *features, struct vg_err *err);

/** vgrant_sizes_of - an image's or block device's bytes: its size, and what of it takes room. Return: 0, or negative errno. */
int vgrant_sizes_of(const char *path, uint64_t *capacity, uint64_t *allocation);

/**
 * vgrant_check_here - what would keep the devices of @xml from working, here and now
 * @name: of the guest, for sentences
 *
 * Return: how many mistakes were told on @out.
 */
unsigned vgrant_check_here(const char *name, struct vg_domxml *xml, FILE *out);

/** vgrant_check_arrival - the same of a guest of xl's that is to go on here. Return: as above. */
unsigned vgrant_check_arrival(struct vg_xlconf *conf, FILE *out);

/**
 * vgrant_check_running - what check.c finds in the xl configuration of a guest that runs here
 * @hear: called with each mistake or warning, "FILE:LINE:COLUMN: sentence"
 */
void vgrant_check_running(const char *file, void (*hear)(void *ctx, const char *what), void *ctx);

#endif /* VGRANT_H */
