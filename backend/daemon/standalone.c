// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * standalone.c - vgrant-vhost-user: one device of ours for a VMM
 *
 * It follows QEMU's docs/interop/vhost-user.rst, "Backend program conventions".
 * Installed under a name that ends in a device's, as vgrant-vhost-user-blk, it
 * knows that device and prints its capabilities: the description files in
 * share/qemu/vhost-user name it so.
 *
 *	this process	holds the socket, sees no byte of a front-end's or a guest's;
 *			makes terminals, whose paths it logs;
 *			gives the worker what its device needs anew (vg_dev_ask()); runs what
 *			undoes a worker's work on the host once that has ended; passes on what
 *			the worker says
 *	   worker	the device, in its sandbox (socket_worker.c); of what whoever started us
 *			gave us as stdin, stdout and stderr, a terminal or a VMM's log, it has
 *			nothing
 *
 * A worker that dies is started again; the front-end connects to the same socket
 * and hands back the record of what was in flight. A worker whose one front-end
 * is gone (--fd, --connect) has done its work.
 */
#include "backend/daemon/standalone.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/virtio/device.h"
#include "backend/base/limits.h"
#include "backend/base/number.h"
#include "backend/daemon/child_log.h"
#include "backend/daemon/settings.h"
#include "backend/daemon/terminals.h"
#include "backend/worker/ipc.h"
#include "backend/worker/socket_worker.h"

enum {
	EXIT_USAGE = 2,
	EXIT_GONE = 64, /* of a worker: its front-end is gone */
	EXIT_OPEN = 65, /* of a worker: the device cannot be opened */
	EXIT_BUSY = 66, /* of a worker: it cannot be opened now */
	EXIT_NEXT =
		67, /* of a worker: it has done its work, and another does the next front-end's */
	START_PATIENCE_S =
		10, /* with a device that cannot be opened yet: udev may hold it for a while */
	FIRST_DELAY_MS = 100,
	BUSY_DELAY_MS = 500,
	LOG_DELAY_MS = 100,
};

enum {
	OPT_SOCKET_PATH = 256,
	OPT_FD,
	OPT_CONNECT,
	OPT_PRINT_CAPABILITIES,
	OPT_BLK_FILE,
	OPT_EVDEV_PATH,
	OPT_READ_ONLY,
	OPT_IN_BAND,
	OPT_NO_PACKED,
	OPT_XEN,
	OPT_USER,
	OPT_NO_SANDBOX,
	OPT_ONCE,
};

static const struct option options[] = {
	{ "socket-path", required_argument, NULL, OPT_SOCKET_PATH },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "connect", no_argument, NULL, OPT_CONNECT },
	{ "print-capabilities", no_argument, NULL, OPT_PRINT_CAPABILITIES },
	{ "blk-file", required_argument, NULL, OPT_BLK_FILE },
	{ "evdev-path", required_argument, NULL, OPT_EVDEV_PATH },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "in-band", no_argument, NULL, OPT_IN_BAND },
	{ "no-packed", no_argument, NULL, OPT_NO_PACKED },
	{ "xen", no_argument, NULL, OPT_XEN },
	{ "user", required_argument, NULL, OPT_USER },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "syslog", no_argument, NULL, 's' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

struct program {
	char name[32]; /* of the device, when the program's own name says it */
	char spec[VG_PARAMS_LEN];
	const char *socket_path, *blk_file, *evdev_path, *user;
	int fd; /* --fd; -1: not given */
	bool connect, read_only, once, no_sandbox;
	enum vg_log_target log_target;
	enum vg_log_level log_level;
	char who[64];
	struct vg_socket_worker_config worker;
	bool bound; /* socket_path is ours to remove */
	pid_t pid;
	int signals; /* readable when there is one */
	int life;    /* our end */
	struct vg_log_pipe log;
	bool log_waits; /* stderr takes nothing now */
	unsigned asked; /* by this worker */
	bool tidy;	/* something is to be run when the worker has ended */
	struct vg_terminals terminals;
};

static void usage(FILE *out)
{
	fprintf(out,
		"usage: vgrant-vhost-user [OPTION...] DEVICE[,KEY=VALUE...]\n"
		"       vgrant-vhost-user-DEVICE [OPTION...] [KEY=VALUE[,KEY=VALUE...]]\n"
		"Serve one VirtIO device to a virtual machine over vhost-user.\n"
		"\n"
		"      --socket-path PATH   listen on this socket\n"
		"      --connect            connect to it instead, again and again\n"
		"      --fd NUMBER          use this open socket, listening or connected\n"
		"      --print-capabilities as JSON, and exit\n"
		"      --blk-file PATH      of blk: the same as target=PATH\n"
		"      --evdev-path PATH    of input: the same as evdev=PATH\n"
		"      --read-only          of blk: the same as readonly\n"
		"      --user NAME          whom to become, as root (default: vgrant, or nobody)\n"
		"      --no-sandbox         keep privileges: for debugging\n"
		"      --once               do not start the device again when it dies\n"
		"      --in-band            offer in-band notifications: for simulations\n"
		"      --no-packed          do not offer packed rings\n"
		"      --xen                offer memory of Xen guests (XEN_MMAP)\n"
		"  -s, --syslog             log to syslog\n"
		"  -v, --verbose            log more\n"
		"  -h, --help\n"
		"  -V, --version\n"
		"\n"
		"Devices:\n\n");
	for (const struct vg_device_ops *const *d = vg_devices; *d; d++) {
		fprintf(out, "  %-10s %s\n", (*d)->name, (*d)->help);
		for (const struct vg_param_def *p = (*d)->params; p && p->key; p++)
			fprintf(out, "    %s%s%s%s: %s\n", p->key, p->fallback ? " = " : "",
				p->fallback ? p->fallback : "", p->required ? " (required)" : "",
				p->help);
	}
}

/* ---- capabilities ------------------------------------------------------- */

/* QEMU docs/interop/vhost-user.json, VhostUserBackendType */
static const char *qemu_type(const char *device)
{
	static const struct {
		const char *ours, *qemus;
	} differ[] = { { "blk", "block" } };

	for (size_t i = 0; i < COUNT(differ); i++) {
		if (strcmp(differ[i].ours, device) == 0)
			return differ[i].qemus;
	}
	return device;
}

/* VhostUserBackendCapabilities */
static int print_capabilities(const char *device)
{
	struct json_object *o = json_object_new_object();
	struct json_object *features = json_object_new_array();

	if (!device[0]) {
		fprintf(stderr,
			"vgrant-vhost-user: --print-capabilities of which device? Name it, or "
			"call this program as vgrant-vhost-user-DEVICE\n");
		return EXIT_USAGE;
	}
	json_object_object_add(o, "type", json_object_new_string(qemu_type(device)));
	if (strcmp(device, "blk") == 0) { /* VhostUserBackendBlockFeature */
		json_object_array_add(features, json_object_new_string("read-only"));
		json_object_array_add(features, json_object_new_string("blk-file"));
	}
	if (strcmp(device, "input") == 0) /* VhostUserBackendInputFeature */
		json_object_array_add(features, json_object_new_string("evdev-path"));
	json_object_object_add(o, "features", features);
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
	json_object_put(o);
	return EXIT_SUCCESS;
}

/* ---- options ------------------------------------------------------------ */

/* "vgrant-vhost-user-blk" -> "blk" */
static void name_of_program(struct program *p, const char *argv0)
{
	static const char prefix[] = "vgrant-vhost-user-";
	const char *base = strrchr(argv0, '/');

	base = base ? base + 1 : argv0;
	if (strncmp(base, prefix, strlen(prefix)) == 0)
		snprintf(p->name, sizeof(p->name), "%s", base + strlen(prefix));
}

static int append(struct program *p, const char *text, struct vg_err *err)
{
	size_t len = strlen(p->spec);

	if ((size_t)snprintf(p->spec + len, sizeof(p->spec) - len, "%s%s", len ? "," : "", text) >=
	    sizeof(p->spec) - len)
		return vg_fail(err, -E2BIG, "the device's configuration is too long");
	return 0;
}

/* @key and a path, whose commas and backslashes must be written with a backslash. @option: its name. */
static int append_path(struct program *p, const char *key, const char *path, const char *option,
		       struct vg_err *err)
{
	char text[VG_PARAMS_LEN];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s=", key);

	for (; *path; path++) {
		if (n + 3 > sizeof(text))
			return vg_fail(err, -E2BIG, "the path of --%s is too long", option);
		if (*path == ',' || *path == '\\')
			text[n++] = '\\';
		text[n++] = *path;
	}
	text[n] = '\0';
	return append(p, text, err);
}

static int one_option(struct program *p, int c, struct vg_err *err)
{
	uint64_t fd;

	switch (c) {
	case OPT_SOCKET_PATH:
		p->socket_path = optarg;
		break;
	case OPT_FD:
		if (vg_number(optarg, 10, 1 << 20, &fd) < 0 || fcntl((int)fd, F_GETFD) < 0)
			return vg_fail(err, -EINVAL, "--fd %s is no open file descriptor", optarg);
		p->fd = (int)fd;
		break;
	case OPT_CONNECT:
		p->connect = true;
		break;
	case OPT_BLK_FILE:
		p->blk_file = optarg;
		break;
	case OPT_EVDEV_PATH:
		p->evdev_path = optarg;
		break;
	case OPT_READ_ONLY:
		p->read_only = true;
		break;
	case OPT_IN_BAND:
		p->worker.in_band = true;
		break;
	case OPT_NO_PACKED:
		p->worker.no_packed = true;
		break;
	case OPT_XEN:
		p->worker.xen = true;
		break;
	case OPT_USER:
		p->user = optarg;
		break;
	case OPT_NO_SANDBOX:
		p->no_sandbox = true;
		break;
	case OPT_ONCE:
		p->once = true;
		break;
	case 's':
		p->log_target = VG_LOG_SYSLOG;
		break;
	case 'v':
		p->log_level = VG_LOG_DEBUG;
		break;
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	case 'V':
		printf("vgrant-vhost-user %s\n", VG_VERSION);
		exit(EXIT_SUCCESS);
	default:
		exit(EXIT_USAGE);
	}
	return 0;
}

static int device_of(struct program *p, int argc, char **argv, struct vg_err *err)
{
	int ret = 0;

	if (p->name[0])
		ret = append(p, p->name, err);
	else if (optind == argc)
		return vg_fail(err, -EINVAL, "which device? See --help");
	while (ret == 0 && optind < argc)
		ret = append(p, argv[optind++], err);
	if (ret == 0 && p->blk_file)
		ret = append_path(p, "target", p->blk_file, "blk-file", err);
	if (ret == 0 && p->evdev_path)
		ret = append_path(p, "evdev", p->evdev_path, "evdev-path", err);
	if (ret == 0 && p->read_only)
		ret = append(p, "readonly", err);
	return ret;
}

static int parse(struct program *p, int argc, char **argv, struct vg_err *err)
{
	int ret = 0;
	int c;

	/* "Other options and arguments should be ignored" */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--print-capabilities") == 0) {
			for (int k = 1; k < argc && !p->name[0]; k++) {
				size_t n = strcspn(argv[k], ",");

				if (argv[k][0] != '-' && n < sizeof(p->name))
					snprintf(p->name, sizeof(p->name), "%.*s", (int)n, argv[k]);
			}
			exit(print_capabilities(p->name));
		}
	}
	while (ret == 0 && (c = getopt_long(argc, argv, "svhV", options, NULL)) != -1)
		ret = one_option(p, c, err);
	if (ret == 0)
		ret = device_of(p, argc, argv, err);
	if (ret == 0 && !p->socket_path == (p->fd < 0))
		ret = vg_fail(err, -EINVAL, "one of --socket-path and --fd is needed, not both");
	if (ret == 0 && p->connect && !p->socket_path)
		ret = vg_fail(err, -EINVAL, "--connect goes with --socket-path");
	p->worker.spec = p->spec;
	return ret;
}

/* As libvirt starts the gpu of a guest: root's uid, from which all else was taken. There is nobody whom
 * such a process could become, nor a namespace that it could leave. */
static bool is_powerless(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE;
}

static int choose_sandbox(struct program *p, struct vg_err *err)
{
	static const char *const names[] = { "vgrant", "nobody" };
	const struct passwd *pw = NULL;

	p->worker.sandbox.namespaces = p->worker.sandbox.seccomp = !p->no_sandbox;
	if (p->no_sandbox || geteuid() != 0)
		return 0;
	if (is_powerless()) {
		p->worker.sandbox.namespaces = false;
		return p->user ? vg_fail(err, -EPERM,
					 "--user %s: nobody can be taken on without capabilities",
					 p->user)
			       : 0;
	}
	if (p->user)
		pw = getpwnam(p->user);
	for (unsigned i = 0; !p->user && !pw && i < 2; i++)
		pw = getpwnam(names[i]);
	if (!pw)
		return vg_fail(err, -ENOENT, "there is no user '%s': choose one with --user",
			       p->user ? p->user : names[0]);
	p->worker.sandbox.uid = pw->pw_uid;
	p->worker.sandbox.gid = pw->pw_gid;
	return 0;
}

/* ---- the socket --------------------------------------------------------- */

static int address_of(const char *path, struct sockaddr_un *un, struct vg_err *err)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(un->sun_path))
		return vg_fail(err, -ENAMETOOLONG, "%s: a socket's path has at most %zu characters",
			       path, sizeof(un->sun_path) - 1);
	memcpy(un->sun_path, path, strlen(path));
	return 0;
}

static int try_connect(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int listen_on(struct program *p, struct vg_err *err)
{
	struct sockaddr_un un;
	int fd, other;
	int ret = address_of(p->socket_path, &un, err);

	if (ret < 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vg_fail(err, -errno, "a socket: %s", strerror(errno));
	ret = bind(fd, (struct sockaddr *)&un, sizeof(un));
	if (ret < 0 && errno == EADDRINUSE) {
		/* Left behind, or in use? */
		other = try_connect(&un);
		if (other >= 0)
			close(other);
		if (other == -ECONNREFUSED && unlink(p->socket_path) == 0)
			ret = bind(fd, (struct sockaddr *)&un, sizeof(un));
		else
			errno = EADDRINUSE;
	}
	if (ret < 0 || listen(fd, 4) < 0) {
		ret = vg_fail(err, -errno, "%s cannot be listened on: %s", p->socket_path,
			      strerror(errno));
		close(fd);
		return ret;
	}
	p->bound = true;
	p->worker.listen = fd;
	return 0;
}

static int open_socket(struct program *p, struct vg_err *err)
{
	int listening = 0;
	socklen_t len = sizeof(listening);

	if (p->connect)
		return 0; /* before each worker */
	if (p->socket_path)
		return listen_on(p, err);
	if (getsockopt(p->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
		return vg_fail(err, -errno, "--fd %d is no socket", p->fd);
	if (listening) {
		fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK);
		p->worker.listen = p->fd;
	} else {
		p->worker.conn = p->fd;
	}
	return 0;
}

/* ---- the worker --------------------------------------------------------- */

/* @log: what it is to have as stdout and stderr; -1: there is no stderr. */
static int take_stdio(int log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(log < 0 ? null : log, STDOUT_FILENO) < 0 ||
	    dup2(log < 0 ? null : log, STDERR_FILENO) < 0)
		return -errno;
	close(null);
	if (log >= 0)
		close(log);
	return 0;
}

static int worker(struct program *p, int log)
{
	struct vg_err err = { "" };
	sigset_t none;
	int ret = take_stdio(log);

	if (ret < 0) {
		vg_error("/dev/null: %s", strerror(-ret));
		return EXIT_OPEN;
	}
	vg_log_init(p->log_target, p->log_level, p->who); /* syslog's socket is its own, too */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A terminal's ^C goes to the whole group; the parent decides when a worker ends. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	ret = vg_socket_worker_run(&p->worker, &err);
	if (ret == 0)
		return EXIT_SUCCESS;
	if (ret == 1)
		return EXIT_GONE;
	if (ret == 2)
		return EXIT_NEXT;
	vg_error("%s", err.text[0] ? err.text : strerror(-ret));
	return ret == -EBUSY ? EXIT_BUSY : EXIT_OPEN;
}

/* What the device says is to be run after its worker, see vg_device_ops.afterwards. */
static int afterwards(const struct program *p, bool ended, struct vg_command *out,
		      struct vg_err *err)
{
	const struct vg_device_ops *ops;
	struct vg_params params;

	if (vg_params_parse(p->spec, &params, NULL) < 0)
		return 0; /* the worker says what is wrong with it */
	ops = vg_device_find(params.device);
	return ops && ops->afterwards ? ops->afterwards(&params, ended, out, err) : 0;
}

/* The worker has ended, and the kernel closes its descriptors soon. */
static void tidy_up(struct program *p)
{
	static const struct timespec while_busy = { .tv_nsec = 50 * 1000000 };
	struct vg_err err = { "" };
	struct vg_command c;
	int ret = -EBUSY;

	if (!p->tidy)
		return;
	p->tidy = false;
	for (unsigned i = 0; ret == -EBUSY && i < 100; i++) {
		if (i)
			nanosleep(&while_busy, NULL);
		ret = afterwards(p, true, &c, &err);
	}
	if (ret == 1)
		ret = vg_command_run(&c, VG_LIMIT_SCRIPT_S, &err);
	if (ret < 0)
		vg_error("%s", err.text);
}

/* @end: the worker's end, if we have it still. */
static void end_log(struct program *p, int end)
{
	if (end >= 0)
		close(end);
	vg_log_pipe_end(&p->log);
}

/* The first time they are made, and told. */
static int make_terminals(struct program *p, struct vg_err *err)
{
	char text[VG_TERMINALS * (VG_TERMINAL_NAME + 40)];
	unsigned before = p->terminals.n;
	int ret = vg_terminals_make(&p->terminals, p->spec, err);

	vg_terminals_text(&p->terminals, text, sizeof(text));
	if (p->terminals.n > before)
		vg_info("terminals: %s", text);
	return ret;
}

static int start_worker(struct program *p, struct vg_err *err)
{
	struct vg_command c;
	int life[2], log, ret;

	ret = make_terminals(p, err);
	if (ret == 0)
		ret = afterwards(p, false, &c, err);
	if (ret < 0)
		return ret;
	p->tidy = ret == 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, life) < 0)
		return vg_fail(err, -errno, "a pair of sockets: %s", strerror(errno));
	p->asked = 0;
	p->log_waits = false;
	ret = vg_log_pipe_make(true, &p->log, &log);
	p->pid = ret < 0 ? ret : fork();
	if (p->pid < 0) {
		ret = ret < 0 ? ret : -errno;
		close(life[0]);
		close(life[1]);
		end_log(p, log);
		return vg_fail(err, ret, "a process: %s", strerror(-ret));
	}
	if (p->pid == 0) {
		close(life[1]);
		close(p->signals);
		if (p->log.fd >= 0)
			close(p->log.fd);
		vg_terminals_free(&p->terminals);
		p->worker.life = life[0];
		exit(worker(p, log));
	}
	close(life[0]);
	if (log >= 0)
		close(log);
	p->life = life[1];
	vg_terminals_give(&p->terminals, p->life);
	if (p->connect)
		close(p->worker.conn);
	return 0;
}

static void hang_up(struct program *p)
{
	if (p->life >= 0)
		close(p->life);
	p->life = -1;
}

static void stop_worker(struct program *p)
{
	static const struct timespec patience = { .tv_sec = 5 };
	sigset_t child;

	if (!p->pid)
		return;
	hang_up(p);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (waitpid(p->pid, NULL, WNOHANG) == 0) {
		if (sigtimedwait(&child, NULL, &patience) < 0 && errno == EAGAIN) {
			vg_warn("requests in flight do not end: killed");
			kill(p->pid, SIGKILL);
			waitpid(p->pid, NULL, 0);
			break;
		}
	}
	p->pid = 0;
	end_log(p, -1);
	tidy_up(p);
}

/* Return: whether a signal told us to end. */
static bool pause_ms(const sigset_t *signals, unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	int sig = sigtimedwait(signals, NULL, &ts);

	return sig == SIGTERM || sig == SIGINT || sig == SIGHUP;
}

/* --connect: until somebody listens there. Return: 0, or 1: told to end. */
static int connect_front_end(struct program *p, const sigset_t *signals, struct vg_err *err)
{
	struct sockaddr_un un;
	int ret = address_of(p->socket_path, &un, err);

	if (ret < 0)
		return ret;
	while ((ret = try_connect(&un)) < 0) {
		if (ret != -ECONNREFUSED && ret != -ENOENT && ret != -EAGAIN)
			return vg_fail(err, ret, "%s cannot be connected to: %s", p->socket_path,
				       strerror(-ret));
		if (pause_ms(signals, FIRST_DELAY_MS))
			return 1;
	}
	p->worker.conn = ret;
	return 0;
}

/* One that asks without end is replaced: what it has been given goes with it. */
static void answer(struct program *p)
{
	struct vg_ipc m;
	int ret = vg_ipc_recv(p->life, &m, NULL);

	if (ret == 1 && m.type == VG_IPC_ASK && p->asked++ < VG_LIMIT_ASKED) {
		vg_ipc_answer(p->life, p->pid, p->spec, &m);
	} else if (ret == 1) {
		vg_warn("the device has asked for many descriptors and is started again");
		hang_up(p);
	} else if (ret != -EAGAIN) {
		hang_up(p);
	}
}

static void pass_on(struct program *p)
{
	int ret = vg_log_pipe_copy(&p->log);

	p->log_waits = ret == -EAGAIN;
	if (ret == -EPIPE)
		vg_log_pipe_end(&p->log);
}

/* Return: a signal that has come, or 0: none yet, or something else is to be looked at. */
static int wait_signal(struct program *p, const sigset_t *signals)
{
	static const struct timespec none = { 0 };
	/* Those that are not there are negative, which poll(2) passes over. */
	struct pollfd ready[] = { { .fd = p->signals, .events = POLLIN },
				  { .fd = p->life, .events = POLLIN },
				  { .fd = p->log_waits ? -1 : p->log.fd, .events = POLLIN } };
	int sig;

	if (poll(ready, COUNT(ready), p->log_waits ? LOG_DELAY_MS : -1) < 0)
		return 0;
	if (ready[1].revents)
		answer(p);
	if (ready[2].revents || p->log_waits)
		pass_on(p);
	sig = sigtimedwait(signals, NULL, &none);
	return sig < 0 ? 0 : sig;
}

/* Return: 1: told to end; 0: the worker has ended, see *@status. */
static int wait_worker(struct program *p, const sigset_t *signals, int *status)
{
	for (;;) {
		int sig = wait_signal(p, signals);

		if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
			return 1;
		if (waitpid(p->pid, status, WNOHANG) == p->pid) {
			hang_up(p);
			p->pid = 0;
			end_log(p, -1);
			tidy_up(p);
			return 0;
		}
	}
}

/* One worker after the other. Return: 0, or negative errno with a sentence. */
static int supervise(struct program *p, const sigset_t *signals, struct vg_err *err)
{
	struct vg_ratelimit rl = VG_RATELIMIT_INIT;
	unsigned delay = FIRST_DELAY_MS;
	int64_t start = vg_now_ns();
	/* A worker has run: one that cannot open its device then tries again. */
	bool served = false;

	for (;;) {
		int64_t since = vg_now_ns();
		int status = 0;
		int ret = p->connect ? connect_front_end(p, signals, err) : 0;

		if (ret == 1)
			return 0;
		if (ret == 0) {
			ret = start_worker(p, err);
			if (ret < 0 && p->connect)
				close(p->worker.conn);
		}
		if (ret < 0 && !served)
			return ret;
		if (ret < 0) { /* a front-end waits in the backlog meanwhile */
			vg_log_limited(&rl, VG_LOG_ERR, "%s; it is tried again", err->text);
			if (pause_ms(signals, BUSY_DELAY_MS))
				return 0;
			continue;
		}
		if (wait_worker(p, signals, &status) == 1)
			return 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GONE) {
			if (!p->connect || p->once)
				return 0;
			served = true;
			if (pause_ms(signals, FIRST_DELAY_MS))
				return 0;
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NEXT) {
			served = true;
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_BUSY && !served &&
		    vg_now_ns() - start < START_PATIENCE_S * NS_PER_S) {
			if (pause_ms(signals, BUSY_DELAY_MS))
				return 0;
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) >= EXIT_OPEN && !served)
			return vg_fail(err, -ENODEV, "the device was not started");
		if (p->once || (p->worker.listen < 0 && !p->connect))
			return vg_fail(err, -EIO, "the device has died");
		served = true;
		if (WIFSIGNALED(status))
			vg_error("the device has died of signal %d; it is started again",
				 WTERMSIG(status));
		if (vg_now_ns() - since > 10 * NS_PER_S)
			delay = FIRST_DELAY_MS;
		if (pause_ms(signals, delay))
			return 0;
		if (delay < VG_LIMIT_RESTART_DELAY_S * 1000 / 2)
			delay *= 2;
	}
}

/* What whoever started us left open, a VMM its guest's disks, is for no worker. */
static void close_others(int keep)
{
	unsigned first = STDERR_FILENO + 1;

	if (keep >= (int)first) {
		if (keep > (int)first)
			close_range(first, (unsigned)keep - 1, 0);
		first = (unsigned)keep + 1;
	}
	close_range(first, ~0U, 0);
}

int vg_vhost_user_main(int argc, char **argv)
{
	static struct program p = { .fd = -1,
				    .life = -1,
				    .log.fd = -1,
				    .terminals.memory = -1,
				    .log_level = VG_LOG_INFO,
				    .worker = { .listen = -1, .conn = -1, .life = -1, .ipc = -1 } };
	struct vg_err err = { "" };
	sigset_t signals;
	int ret;

	name_of_program(&p, argv[0]);
	ret = parse(&p, argc, argv, &err);
	if (ret < 0) {
		fprintf(stderr, "vgrant-vhost-user: %s\n", err.text);
		return EXIT_USAGE;
	}
	/* A worker has those three anew. */
	if (p.fd >= 0 && p.fd <= STDERR_FILENO)
		p.fd = fcntl(p.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close_others(p.fd);
	snprintf(p.who, sizeof(p.who), "vhost-user %.*s", (int)strcspn(p.spec, ","), p.spec);
	vg_log_init(p.log_target, p.log_level, p.who);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	p.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p.signals < 0) {
		vg_error("signals: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	ret = choose_sandbox(&p, &err);
	if (ret == 0)
		ret = open_socket(&p, &err);
	if (ret == 0)
		ret = supervise(&p, &signals, &err);
	stop_worker(&p);
	if (p.bound)
		unlink(p.socket_path);
	if (ret < 0) {
		vg_error("%s", err.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
