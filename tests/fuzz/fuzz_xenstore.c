/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_xenstore.c - libFuzzer target: what a frontend and a toolstack write to xenstore
 *
 * nodes.c, node.c, spec.c, child.c and xs.c as they are, on a xenstore that is an array, with workers that
 * are one end of a socket. The input is a program: keys of the frontend get
 * sensible values or any bytes, go, and come again; nodes are removed, domains
 * go; the toolstack changes configurations, `online`, states; transactions
 * conflict; workers answer rightly, or anything at any time, are slow, or die;
 * timers expire.
 *
 * What must hold: no crash, no sanitizer report; a worker is told the numbers
 * that stand in xenstore, and only when they are numbers; Connected is written
 * only after a worker said so; Closed only while no worker is connected, unless
 * it is being killed; a device has one worker at a time; no descriptor stays open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <xenstore.h>

#include "backend/base/limits.h"
#include "backend/daemon/nodes.h"
#include "tests/fuzz/fuzz_loop.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"

enum { ENTRIES = 160, WORKERS = 64, FIRST_PID = 0x40000000, GUESTS = 2, IDS = 2, WATCHES = 32 };

static void fl_turn(void)
{
}

/* ---- xenstore ----------------------------------------------------------------------- */

static struct entry {
	char path[VG_XS_PATH]; /* "": unused */
	char *value;
	unsigned len;
} store[ENTRIES];
static bool introduced[GUESTS];
static bool in_transaction, conflicts;
static char watched[WATCHES][VG_XS_PATH];
static unsigned watches;

static struct entry *find(const char *path)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (store[i].path[0] && strcmp(store[i].path, path) == 0)
			return &store[i];
	return NULL;
}

static void put(const char *path, const void *value, unsigned len)
{
	struct entry *e = find(path);

	for (unsigned i = 0; !e && i < ENTRIES; i++)
		if (!store[i].path[0])
			e = &store[i];
	if (!e || strlen(path) >= sizeof(e->path))
		return;
	snprintf(e->path, sizeof(e->path), "%s", path);
	free(e->value);
	e->value = malloc(len + 1);
	MUST(e->value);
	if (len)
		memcpy(e->value, value, len);
	e->value[len] = '\0';
	e->len = len;
}

/** drop - remove @path and what is below. Return: whether there was any. */
static bool drop(const char *path)
{
	size_t n = strlen(path);
	bool any = false;

	for (unsigned i = 0; i < ENTRIES; i++) {
		if (strncmp(store[i].path, path, n) != 0 || !store[i].path[0] ||
		    (store[i].path[n] && store[i].path[n] != '/'))
			continue;
		free(store[i].value);
		store[i].value = NULL;
		store[i].path[0] = '\0';
		any = true;
	}
	return any;
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
	const struct entry *e = find(path);
	char *copy;

	(void)h;
	(void)t;
	MUST(strlen(path) < VG_XS_PATH - 1);
	if (!e) {
		errno = ENOENT;
		return NULL;
	}
	copy = malloc(e->len + 1);
	MUST(copy);
	memcpy(copy, e->value, e->len + 1);
	if (len)
		*len = e->len;
	return copy;
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
	      unsigned int len)
{
	(void)h;
	if (t == XBT_NULL || !conflicts)
		put(path, data, len);
	return true;
}

bool xs_mkdir(struct xs_handle *h, xs_transaction_t t, const char *path)
{
	return find(path) || xs_write(h, t, path, "", 0);
}

bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
	(void)h;
	errno = ENOENT;
	return t != XBT_NULL && conflicts ? find(path) != NULL : drop(path);
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
	char **list = calloc(1, sizeof(*list));
	size_t n = strlen(path);

	(void)h;
	(void)t;
	*num = 0;
	for (unsigned i = 0; i < ENTRIES; i++)
		*num += store[i].path[0] && strncmp(store[i].path, path, n) == 0 &&
			store[i].path[n] == '/';
	return list;
}

bool xs_set_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
			struct xs_permissions *perms, unsigned int num_perms)
{
	(void)h;
	(void)t;
	(void)path;
	MUST(perms && num_perms);
	return true;
}

/* Nobody that runs here looks at them. */
struct xs_permissions *xs_get_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
					  unsigned int *num)
{
	(void)h, (void)t, (void)path;
	*num = 0;
	errno = ENOENT;
	return NULL;
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
	(void)h;
	MUST(!in_transaction);
	in_transaction = true;
	conflicts = chance(16);
	return 1;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool undo)
{
	(void)h;
	MUST(in_transaction && t == 1);
	in_transaction = false;
	errno = EAGAIN;
	return undo || !conflicts;
}

/* The place of a watch in the list, or that of the first free one. */
static unsigned watch_at(const char *path)
{
	unsigned i = 0;

	while (i < watches && strcmp(watched[i], path) != 0)
		i++;
	return i;
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
	unsigned i = watch_at(path);

	(void)h;
	MUST(path && token && i < WATCHES);
	errno = EEXIST;
	if (i < watches)
		return false;
	snprintf(watched[watches++], VG_XS_PATH, "%s", path);
	return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
	unsigned i = watch_at(path);

	(void)h;
	MUST(path && token && i < watches);
	memmove(watched[i], watched[--watches], VG_XS_PATH);
	return true;
}

struct xs_handle *xs_open(unsigned long flags)
{
	(void)flags;
	return (struct xs_handle *)store;
}

void xs_close(struct xs_handle *h)
{
	(void)h;
}

int xs_fileno(struct xs_handle *h)
{
	(void)h;
	return -1;
}

char **xs_check_watch(struct xs_handle *h)
{
	(void)h;
	return NULL;
}

bool xs_is_domain_introduced(struct xs_handle *h, unsigned int domid)
{
	(void)h;
	MUST(domid >= 7 && domid < 7 + GUESTS);
	return introduced[domid - 7];
}

/* ---- workers -------------------------------------------------------------------------- */

static struct worker {
	pid_t pid; /* 0: none */
	int sock;
	uint32_t last; /* that it was told */
	bool connected;
	bool killed;
} workers[WORKERS];
static pid_t next_pid = FIRST_PID;
static int spawn_fd = -1;
static struct vg_children children;
static struct vg_nodes nodes;
static pid_t dead; /* waitpid(2) will tell; 0: none */
static int dead_status;
static struct vg_settings settings;

int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int newfd)
{
	(void)actions;
	if (newfd == VG_CHILD_SOCK)
		spawn_fd = fd;
	return 0;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	(void)path;
	(void)actions;
	(void)attr;
	(void)argv;
	(void)envp;
	for (unsigned i = 0; i < WORKERS; i++) {
		if (workers[i].pid)
			continue;
		if (chance(32))
			return EAGAIN;
		workers[i] = (struct worker){ .pid = next_pid++,
					      .sock = fcntl(spawn_fd, F_DUPFD_CLOEXEC, 3) };
		*pid = workers[i].pid;
		return 0;
	}
	return EAGAIN;
}

int kill(pid_t pid, int sig)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		if (!workers[i].pid || workers[i].pid != pid)
			continue;
		workers[i].killed = true;
		return 0;
	}
	MUST(pid < FIRST_PID);
	return (int)syscall(SYS_kill, pid, sig);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
	MUST(pid == -1 && options == WNOHANG);
	pid = dead;
	*status = dead_status;
	dead = 0;
	return pid;
}

void vg_tracers_init(struct vg_tracers *ts, struct vg_loop *loop)
{
	*ts = (struct vg_tracers){ .loop = loop, .sock = -1 };
}

void vg_tracers_connect(struct vg_tracers *ts, int sock)
{
	MUST(ts && sock >= 0);
}

void vg_tracers_end(struct vg_tracers *ts)
{
	MUST(ts);
}

void vg_control_ok(struct vg_control_req *req)
{
	MUST(!req);
}

void vg_control_fail(struct vg_control_req *req, int code, const struct vg_err *err)
{
	(void)code;
	(void)err;
	MUST(!req);
}

void vg_control_list_add(struct vg_control_req *req, const struct vg_control_device *dev)
{
	MUST(!req && dev->config && dev->n_queues <= VG_MAX_QUEUES);
}

/* Who hears of events: one, who never goes by himself. */
void vg_control_on_gone(struct vg_control_req *req, void (*gone)(void *arg), void *arg)
{
	MUST(!req && gone && arg);
}

int vg_control_event(struct vg_control_req *req, const struct vg_control_event *e)
{
	MUST(!req && e->what < VG_EVENTS && e->guest && e->kind && e->type);
	MUST(e->domid == 7 || e->domid == 8);
	return 0;
}

bool vg_control_is_guest(const char *text, const char *name, unsigned domid)
{
	MUST(text && name && domid);
	return true;
}

static struct vg_node *node_of(pid_t pid)
{
	for (struct vg_node *n = nodes.first; n; n = n->next)
		if (n->c.pid == pid)
			return n;
	return NULL;
}

/** number - what DIR/KEY says, when it is a number as a number is written */
static bool number(const char *dir, const char *key, uint32_t *out)
{
	char path[VG_XS_PATH];
	const struct entry *e;
	uint64_t v = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	e = find(path);
	if (!e || !e->len || e->len > 15)
		return false;
	for (unsigned i = 0; i < e->len; i++) {
		if (e->value[i] < '0' || e->value[i] > '9')
			return false;
		v = v * 10 + (unsigned)(e->value[i] - '0');
	}
	*out = (uint32_t)v;
	return v <= UINT32_MAX;
}

/** hear - take what a worker is told */
static void hear(struct worker *w)
{
	struct vg_node *n = node_of(w->pid);
	struct vg_ipc m;
	int fd = -1, ret;

	while (w->sock >= 0 && (ret = vg_ipc_recv(w->sock, &m, &fd)) != -EAGAIN) {
		if (fd >= 0)
			close(fd);
		fd = -1;
		if (ret <= 0) {
			close(w->sock);
			w->sock = -1;
			return;
		}
		w->last = m.type;
		if (m.type == VG_IPC_SETUP)
			MUST(m.setup.domid >= 7 && m.setup.domid < 7 + GUESTS);
		if (m.type == VG_IPC_DISCONNECT || m.type == VG_IPC_CONNECT)
			w->connected = false;
		if (m.type == VG_IPC_CONNECT && n) {
			uint32_t version, ref, channel;

			MUST(number(n->pair.f, VIRTIO_GRANT_KEY_VERSION, &version) && version == 1);
			MUST(number(n->pair.f, VIRTIO_GRANT_KEY_CONTROL_REF, &ref) &&
			     ref == m.connect.control_ref);
			MUST(number(n->pair.f, VIRTIO_GRANT_KEY_EVENT_CHANNEL, &channel) &&
			     channel == m.connect.channel);
		}
	}
}

static void hear_all(void)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i].pid)
			hear(&workers[i]);
}

static void say(struct worker *w, uint32_t type, int error)
{
	struct vg_ipc m = { .type = type, .error = error };

	if (type == VG_IPC_CONNECTED)
		w->connected = true;
	snprintf(m.text, sizeof(m.text), "a sentence");
	if (w->sock >= 0)
		(void)vg_ipc_send(w->sock, &m, -1);
}

/** answer - what a worker would say to what it was told last */
static void answer(struct worker *w, bool well)
{
	switch (w->last) {
	case VG_IPC_SETUP:
		say(w, well ? VG_IPC_OPENED : VG_IPC_FAILED, well ? 0 : chance(2) ? -EBUSY : -EIO);
		break;
	case VG_IPC_CONNECT:
		say(w, well ? VG_IPC_CONNECTED : VG_IPC_REFUSED, 0);
		break;
	case VG_IPC_DISCONNECT:
		say(w, VG_IPC_DISCONNECTED, 0);
		break;
	default:
		if (!well)
			say(w, VG_IPC_BROKEN, -EPROTO);
		break;
	}
	w->last = 0;
}

static void die(struct worker *w, int status)
{
	if (w->sock >= 0)
		close(w->sock);
	dead = w->pid;
	dead_status = status;
	*w = (struct worker){ .sock = -1 };
	vg_children_reap(&children);
}

/** some_worker - one that lives, or NULL */
static struct worker *some_worker(void)
{
	unsigned n = 0, k;

	for (unsigned i = 0; i < WORKERS; i++)
		n += workers[i].pid != 0;
	if (!n)
		return NULL;
	k = below(n);
	for (unsigned i = 0;; i++)
		if (workers[i].pid && !k--)
			return &workers[i];
}

/* ---- what is written ------------------------------------------------------------------- */

static void pair_of(struct vg_xs_pair *p, uint8_t which)
{
	vg_xs_pair_init(p, which & 4 ? VIRTIO_GRANT_XENBUS_TYPE_DISK : VIRTIO_GRANT_XENBUS_TYPE,
			7 + (which & 1), 0, which >> 1 & 1);
}

static void text_at(const char *dir, const char *key, const char *text)
{
	char path[VG_XS_PATH];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	put(path, text, (unsigned)strlen(text));
}

/** value - of a key: a number, mostly, or anything */
static void value_at(const char *dir, const char *key)
{
	static const char *const odd[] = {
		"", " 1", "1 ", "0x1", "-1", "4294967296", "1\n", "abc"
	};
	char path[VG_XS_PATH], text[256];
	uint8_t how = u8();

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	if (how < 200) {
		snprintf(text, sizeof(text), "%u", how % 9);
		put(path, text, (unsigned)strlen(text));
	} else if (how < 224) {
		put(path, odd[how % 8], (unsigned)strlen(odd[how % 8]));
	} else if (how < 240) {
		unsigned n = u8();

		fuzz_bytes(text, n);
		put(path, text, n);
	} else if (how < 248) {
		drop(path);
	} else {
		static char huge[2100];

		memset(huge, '1', sizeof(huge));
		put(path, huge, sizeof(huge));
	}
}

static void make_node(const struct vg_xs_pair *p)
{
	static const char *const specs[] = {
		"rng", "blk,target=/x",		"can,interface=c0", "nonsense", "",
		",",   "blk,target=/x,readonly"
	};
	char text[128];

	text_at("/local/domain", "7", "");
	put(p->b, "", 0);
	put(p->f, "", 0);
	text_at(p->f, "state", "1");
	text_at(p->b, "state", chance(4) ? "4" : "1");
	text_at(p->b, "online", "1");
	if (strcmp(p->kind, VIRTIO_GRANT_XENBUS_TYPE_DISK) == 0) {
		text_at(p->b, "params", fuzz_text(text, sizeof(text)));
		text_at(p->b, "mode", chance(2) ? "w" : "r");
	} else {
		text_at(p->b, VG_KEY_CONFIG,
			chance(8) ? fuzz_text(text, sizeof(text)) : specs[below(7)]);
	}
	if (chance(2))
		text_at(p->b, VG_KEY_MADE, "1");
	if (chance(4))
		text_at(p->b, VG_KEY_SET, fuzz_text(text, sizeof(text)));
	if (chance(4))
		text_at(p->b, VG_KEY_ORIGIN, chance(2) ? "attach" : fuzz_text(text, sizeof(text)));
}

/* What must be true between any two steps. */
static void check(void)
{
	unsigned count = 0;

	for (struct vg_node *n = nodes.first; n; n = n->next, count++) {
		MUST(n->c.all == &children && memchr(n->c.spec, '\0', sizeof(n->c.spec)));
		MUST(!n->c.pid || n->c.pid >= FIRST_PID);
		MUST(n->c.pid || n->c.sock < 0);
		for (struct vg_node *k = n->next; k; k = k->next) {
			MUST(!n->c.pid || n->c.pid != k->c.pid);
			MUST(n->pair.guest != k->pair.guest || n->pair.id != k->pair.id ||
			     strcmp(n->pair.kind, k->pair.kind) != 0);
		}
		for (unsigned i = 0; i < WORKERS; i++) {
			if (!workers[i].pid || workers[i].pid != n->c.pid)
				continue;
			MUST(n->phase != VG_NODE_CONNECTED || workers[i].connected);
			MUST(n->bstate != VG_XENBUS_CLOSED || !workers[i].connected ||
			     workers[i].killed);
		}
	}
	MUST(count == children.n);
	MUST(!in_transaction);
}

static void sync_all(void)
{
	for (struct vg_node *n = nodes.first, *next; n; n = next) {
		next = n->next;
		vg_node_sync(n);
	}
}

static void step(void)
{
	static const char *const front[] = { "state",
					     "state",
					     "state",
					     VIRTIO_GRANT_KEY_VERSION,
					     VIRTIO_GRANT_KEY_CONTROL_REF,
					     VIRTIO_GRANT_KEY_EVENT_CHANNEL };
	static const char *const back[] = { "online", "state", "params", "mode" };
	uint8_t op = u8();
	struct vg_xs_pair p;
	struct worker *w;
	struct vg_node *n;

	pair_of(&p, op >> 4);
	for (n = nodes.first; n; n = n->next)
		if (n->pair.guest == p.guest && n->pair.id == p.id &&
		    strcmp(n->pair.kind, p.kind) == 0)
			break;
	switch (op & 15) {
	case 0:
		make_node(&p);
		vg_node_consider(&nodes, p.kind, p.guest, p.id);
		break;
	case 1:
	case 2:
		value_at(p.f, front[below(6)]);
		if (n)
			vg_node_sync(n);
		break;
	case 3: /* a frontend that does it right */
		text_at(p.f, VIRTIO_GRANT_KEY_VERSION, "1");
		text_at(p.f, VIRTIO_GRANT_KEY_CONTROL_REF, "8");
		text_at(p.f, VIRTIO_GRANT_KEY_EVENT_CHANNEL, "3");
		text_at(p.f, "state", chance(3) ? "4" : "3");
		if (n)
			vg_node_sync(n);
		break;
	case 4:
		value_at(p.b, back[below(4)]);
		if (n)
			vg_node_sync(n);
		break;
	case 5:
		drop(chance(2) ? p.f : p.b);
		if (n)
			vg_node_sync(n);
		break;
	case 6:
	case 7:
		w = some_worker();
		if (w) {
			hear(w);
			answer(w, !chance(4));
		}
		fl_ready_all(POLLIN);
		break;
	case 8:
		w = some_worker();
		if (w) {
			uint32_t type = chance(2) ? u8() : VG_IPC_OPENED + below(9);

			/* What the check is about is not said out of turn. */
			if (type != VG_IPC_CONNECTED)
				say(w, type, -(int)u8());
		}
		fl_ready_all(POLLIN);
		break;
	case 9:
		w = some_worker();
		if (w)
			die(w, w->killed ? SIGKILL : u8() << 8 | below(12));
		break;
	case 10:
		fl_now += (int64_t)u8() * 1000000000;
		fl_timers();
		break;
	case 11:
		introduced[op >> 4 & 1] = !chance(2);
		sync_all();
		break;
	case 12:
		sync_all();
		for (n = nodes.first; n; n = n->next)
			vg_child_list(&n->c, NULL);
		break;
	case 13:
		if (n && chance(3))
			(void)n->c.ops->detach(&n->c, NULL);
		else if (n)
			vg_node_retry(n);
		break;
	case 14:
		settings.devices = 1 + below(6);
		settings.devices_per_guest = 1 + below(4);
		break;
	case 15: /* a worker that ends when it is told to */
		hear_all();
		for (unsigned i = 0; i < WORKERS; i++)
			if (workers[i].pid && (workers[i].sock < 0 || workers[i].killed))
				die(&workers[i], 0);
		break;
	}
	hear_all();
	check();
}

static char dir[64];

static void clean(void)
{
	if (dir[0])
		rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct vg_xs *xs;
	int first;

	if (!dir[0]) {
		vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
		snprintf(dir, sizeof(dir), "/tmp/fuzz-xenstore.XXXXXX");
		MUST(mkdtemp(dir));
		atexit(clean);
	}
	first = dup(0);
	close(first);
	fuzz_begin(data, len);
	vg_settings_defaults(&settings);
	if (!xs)
		MUST(vg_xs_open(&xs) == 0);
	children = (struct vg_children){ .settings = &settings };
	nodes = (struct vg_nodes){ .children = &children,
				   .xs = xs,
				   .runtime_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	MUST(nodes.runtime_fd >= 0);
	vg_events_listen(&children.events, NULL, "web");
	introduced[0] = introduced[1] = true;
	while (fuzz_more())
		step();
	/* Both guests go: nothing stays. */
	introduced[0] = introduced[1] = false;
	drop("/local/domain/7");
	drop("/local/domain/8");
	for (unsigned round = 0; round < 20 && nodes.first; round++) {
		sync_all();
		hear_all();
		for (unsigned i = 0; i < WORKERS; i++) {
			if (!workers[i].pid)
				continue;
			answer(&workers[i], true);
			fl_ready_all(POLLIN);
			hear_all();
			if (workers[i].pid && (workers[i].sock < 0 || workers[i].killed))
				die(&workers[i], 0);
		}
		fl_timers();
		check();
	}
	drop("/local");
	sync_all();
	MUST(!nodes.first && !watches);
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i].pid)
			die(&workers[i], 0);
	vg_events_end(&children.events);
	MUST(!children.processes);
	MUST(fl_idle());
	close(nodes.runtime_fd);
	MUST(dup(0) == first);
	close(first);
	return 0;
}
