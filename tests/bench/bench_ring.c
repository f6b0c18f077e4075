/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_ring.c - time per request of the ring engine, against a floor
 *
 * The driver makes a batch of chains available, the device takes all, gives all
 * back, the driver takes them off the used side. The *floor* is the same with a
 * device that trusts the driver and remembers nothing: it reads the same
 * descriptors, adds up their lengths so that the reads happen, and writes the
 * same used entries. The driver's part is the same code in both, so what differs
 * is what the engine adds: checks, the chain's own copy, completion in any
 * order, notification. With IN_ORDER both write one used entry for the batch.
 *
 * Driver and device are two threads on two CPUs, as a guest and its backend are:
 * the cost is that of cache lines that change hands. "one CPU" has both in one
 * thread, in turns, with all of it in the first-level cache: what the engine's
 * instructions cost by themselves.
 *
 *	bench_ring		table, and build/bench/ring.json
 *	bench_ring -q		batch 32 only, no file
 *	bench_ring -o FILE	another place for the JSON
 *	bench_ring -m TEXT	only rows with TEXT in their names, no file
 *
 * Engine and floor run alternately. What is measured is a window of WINDOW
 * turns, and the fastest window counts, since whatever else the machine does
 * only adds; a row is done when ROUNDS more rounds brought nothing better, and
 * engine and floor are not absurdly far apart.
 */
#include <pthread.h>
#include <sched.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/rigs/ring_rig.h"

#define ROUNDS	 5	 /* that must bring nothing better */
#define MAX	 30	 /* rounds at most */
#define ROUND_NS 3000000 /* one round of one of the two */
#define WINDOW	 8	 /* turns; short, so that some are undisturbed on a busy machine */
#define LEN	 4096u

#define P_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define P_USED	(1u << VRING_PACKED_DESC_F_USED)

/* One shape of work, and the driver's state for it. */
struct shape {
	bool packed, indirect, inflight, in_order, bare, one_cpu;
	unsigned batch, chain;
	unsigned ring; /* descriptors a chain takes in the ring */
	struct rig r;
	void *record;
	uint16_t avail_idx, used_idx; /* the driver's */
	bool avail_wrap, used_wrap;
	uint64_t sum;
	struct {
		uint16_t avail, used; /* the floor's */
		bool avail_wrap, used_wrap;
		uint64_t sum;
		bool stop;
	} dev __attribute__((aligned(128)));
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* ---- the driver ----------------------------------------------------------- */

/** write_chain - write a split chain's descriptors from @d on; next are counted from @base */
static inline void write_chain(const struct shape *s, struct vring_desc *d, unsigned base)
{
	for (unsigned k = 0; k < s->chain; k++)
		d[k] = (struct vring_desc){ RIG_BASE + RIG_DATA, LEN,
					    k + 1 < s->chain ? VRING_DESC_F_NEXT : 0,
					    (uint16_t)(base + k + 1) };
}

/** table - where the indirect table of chain @i lies */
static inline void *table(struct shape *s, unsigned i)
{
	return rig_at(&s->r, RIG_DATA + i * 128);
}

static inline void add_split(struct shape *s)
{
	uint16_t mask = (uint16_t)(s->r.cfg.size - 1);

	for (unsigned i = 0; i < s->batch; i++) {
		unsigned head = i * s->ring;

		if (s->indirect) {
			write_chain(s, table(s, i), 0);
			s->r.desc[head] =
				(struct vring_desc){ RIG_BASE + RIG_DATA + i * 128, s->chain * 16,
						     VRING_DESC_F_INDIRECT, 0 };
		} else {
			write_chain(s, &s->r.desc[head], head);
		}
		s->r.avail->ring[(s->avail_idx + i) & mask] = (uint16_t)head;
	}
	s->avail_idx = (uint16_t)(s->avail_idx + s->batch);
	__atomic_store_n(&s->r.avail->idx, s->avail_idx, __ATOMIC_RELEASE);
}

static inline void get_split(struct shape *s)
{
	uint16_t mask = (uint16_t)(s->r.cfg.size - 1);
	uint16_t idx = __atomic_load_n(&s->r.used->idx, __ATOMIC_ACQUIRE);

	if ((uint16_t)(idx - s->used_idx) != s->batch)
		abort();
	for (unsigned i = 0; i < (s->in_order ? 1 : s->batch); i++)
		s->sum += s->r.used->ring[(s->used_idx + i) & mask].id;
	s->used_idx = idx;
}

/** step - one place further in a packed ring */
static inline void step(const struct shape *s, uint16_t *idx, bool *wrap, unsigned n)
{
	*idx = (uint16_t)(*idx + n);
	if (*idx >= s->r.cfg.size) {
		*idx = (uint16_t)(*idx - s->r.cfg.size);
		*wrap = !*wrap;
	}
}

static inline void add_packed(struct shape *s)
{
	struct vring_packed_desc *first = &s->r.pdesc[s->avail_idx];
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < s->batch; i++) {
		if (s->indirect) {
			struct vring_packed_desc *t = table(s, i);

			for (unsigned k = 0; k < s->chain; k++)
				t[k] = (struct vring_packed_desc){ RIG_BASE + RIG_DATA, LEN, 0, 0 };
		}
		for (unsigned k = 0; k < s->ring; k++) {
			struct vring_packed_desc *d = &s->r.pdesc[s->avail_idx];
			uint16_t flags = s->avail_wrap ? P_AVAIL : P_USED;

			if (s->indirect)
				flags |= VRING_DESC_F_INDIRECT;
			else if (k + 1 < s->chain)
				flags |= VRING_DESC_F_NEXT;
			d->addr = RIG_BASE + RIG_DATA + (s->indirect ? i * 128 : 0);
			d->len = s->indirect ? s->chain * 16 : LEN;
			d->id = (uint16_t)i;
			if (d == first && k == 0)
				first_flags = flags;
			else
				d->flags = flags;
			step(s, &s->avail_idx, &s->avail_wrap, 1);
		}
	}
	__atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

static inline void get_packed(struct shape *s)
{
	for (unsigned i = 0; i < s->batch; i++) {
		struct vring_packed_desc *d = &s->r.pdesc[s->used_idx];
		uint16_t flags;

		if (s->in_order && i) {
			step(s, &s->used_idx, &s->used_wrap, s->ring);
			continue;
		}
		flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);

		if (!!(flags & P_AVAIL) != s->used_wrap || !!(flags & P_USED) != s->used_wrap)
			abort();
		s->sum += d->id;
		step(s, &s->used_idx, &s->used_wrap, s->ring);
	}
}

/* ---- the floor's device ---------------------------------------------------- */

static inline __attribute__((always_inline)) void bare_split(struct shape *s, bool in_order)
{
	uint16_t mask = (uint16_t)(s->r.cfg.size - 1);
	uint16_t idx = __atomic_load_n(&s->r.avail->idx, __ATOMIC_ACQUIRE);
	uint16_t used = s->dev.used;

	for (; s->dev.avail != idx; s->dev.avail++) {
		uint16_t head = s->r.avail->ring[s->dev.avail & mask], i = head;
		const struct vring_desc *t = s->r.desc;

		if (t[i].flags & VRING_DESC_F_INDIRECT) {
			t = (void *)(s->r.host + (t[i].addr - RIG_BASE));
			i = 0;
		}
		for (;;) {
			const volatile struct vring_desc *d = &t[i];
			uint16_t flags = d->flags;

			s->dev.sum += d->addr + d->len;
			if (!(flags & VRING_DESC_F_NEXT))
				break;
			i = d->next;
		}
		if (in_order)
			s->r.used->ring[s->dev.used & mask].id = head; /* the last one stays */
		else
			s->r.used->ring[used & mask] = (struct vring_used_elem){ head, 0 };
		used++;
	}
	if (in_order)
		s->r.used->ring[s->dev.used & mask].len = 0;
	s->dev.used = used;
	__atomic_store_n(&s->r.used->idx, used, __ATOMIC_RELEASE);
}

static inline __attribute__((always_inline)) void bare_packed(struct shape *s, bool in_order)
{
	uint16_t at = s->dev.used, ids[256];
	bool wrap = s->dev.used_wrap;
	unsigned n = 0;

	for (; n < s->batch; n++) {
		volatile struct vring_packed_desc *d = &s->r.pdesc[s->dev.avail];
		uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);

		if (!!(flags & P_AVAIL) != s->dev.avail_wrap ||
		    !!(flags & P_USED) == s->dev.avail_wrap)
			break;
		for (unsigned k = 0;; k++) {
			s->dev.sum += d->addr + d->len;
			ids[n] = d->id;
			flags = d->flags;
			step(s, &s->dev.avail, &s->dev.avail_wrap, 1);
			if (!(flags & VRING_DESC_F_NEXT))
				break;
			d = &s->r.pdesc[s->dev.avail];
		}
		if (flags & VRING_DESC_F_INDIRECT) {
			const volatile struct vring_packed_desc *t =
				(void *)(s->r.host + (d->addr - RIG_BASE));

			for (unsigned k = 0; k < d->len / 16; k++)
				s->dev.sum += t[k].addr + t[k].len;
		}
	}
	if (!n)
		return;
	step(s, &at, &wrap, s->ring);
	for (unsigned i = 1; i < n; i++) {
		if (in_order) {
			step(s, &at, &wrap, s->ring);
			continue;
		}
		s->r.pdesc[at].id = ids[i];
		s->r.pdesc[at].len = 0;
		s->r.pdesc[at].flags = wrap ? P_AVAIL | P_USED : 0;
		step(s, &at, &wrap, s->ring);
	}
	s->r.pdesc[s->dev.used].id = ids[in_order ? n - 1 : 0];
	s->r.pdesc[s->dev.used].len = 0;
	__atomic_store_n(&s->r.pdesc[s->dev.used].flags, s->dev.used_wrap ? P_AVAIL | P_USED : 0,
			 __ATOMIC_RELEASE);
	s->dev.used = at;
	s->dev.used_wrap = wrap;
}

/* ---- runs ------------------------------------------------------------------ */

/** engine - one turn of the device with the engine */
static inline void engine(struct shape *s)
{
	struct vg_chain *c[256];
	int n = vg_vq_pop(s->r.vq, c, 256);

	for (int i = 0; i < n; i++) {
		s->dev.sum += c[i]->segs[0].addr;
		vg_vq_push(s->r.vq, c[i], 0);
	}
	if (n)
		s->dev.sum += vg_vq_flush(s->r.vq);
}

/** device - one turn of the device */
static inline void device(struct shape *s)
{
	if (!s->bare)
		engine(s);
	else if (s->packed && s->in_order)
		bare_packed(s, true);
	else if (s->packed)
		bare_packed(s, false);
	else if (__atomic_load_n(&s->r.avail->idx, __ATOMIC_RELAXED) == s->dev.avail)
		return;
	else if (s->in_order)
		bare_split(s, true);
	else
		bare_split(s, false);
}

/** device_thread - the device on the other CPU */
static void *device_thread(void *arg)
{
	struct shape *s = arg;

	while (!__atomic_load_n(&s->dev.stop, __ATOMIC_RELAXED))
		for (unsigned i = 0; i < 100; i++)
			device(s);
	return NULL;
}

/** done - whether the batch came back */
static inline bool done(const struct shape *s)
{
	uint16_t flags;

	if (!s->packed)
		return __atomic_load_n(&s->r.used->idx, __ATOMIC_ACQUIRE) == s->avail_idx;
	flags = __atomic_load_n(&s->r.pdesc[s->used_idx].flags, __ATOMIC_ACQUIRE);
	return !!(flags & P_AVAIL) == s->used_wrap && !!(flags & P_USED) == s->used_wrap;
}

/** turn - one batch there and back */
static inline void turn(struct shape *s)
{
	if (s->packed)
		add_packed(s);
	else
		add_split(s);
	if (s->one_cpu)
		device(s);
	while (!done(s))
		;
	if (s->packed)
		get_packed(s);
	else
		get_split(s);
}

/** pin - run the calling thread on @cpu alone; where that cannot be, never mind */
static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/** run - windows for ROUND_NS. Return: nanoseconds a request, of the fastest. */
static double run(struct shape *s)
{
	int64_t start = now_ns(), last = start, best = INT64_MAX;
	pthread_t t;

	if (!s->one_cpu) {
		s->dev.stop = false;
		pin(1);
		if (pthread_create(&t, NULL, device_thread, s))
			abort();
		pin(0);
	}
	do {
		int64_t end;

		for (unsigned k = 0; k < WINDOW; k++)
			turn(s);
		end = now_ns();
		if (end - last < best)
			best = end - last;
		last = end;
	} while (last - start < ROUND_NS);
	if (!s->one_cpu) {
		__atomic_store_n(&s->dev.stop, true, __ATOMIC_RELAXED);
		pthread_join(t, NULL);
	}
	return (double)best / (WINDOW * s->batch);
}

/** begin - a ring for the shape @s */
static void begin(struct shape *s)
{
	unsigned size = 256;

	s->ring = s->indirect ? 1 : s->chain;
	while (size < s->batch * s->ring)
		size *= 2;
	rig_prepare(&s->r, size,
		    (s->packed ? RIG_PACKED : 0) | (s->in_order ? RIG_IN_ORDER : 0) | RIG_EVENT |
			    RIG_INDIRECT);
	s->avail_wrap = s->used_wrap = s->dev.avail_wrap = s->dev.used_wrap = true;
	if (s->inflight) {
		size_t len = vg_vq_inflight_size(size, s->packed);

		s->record = aligned_alloc(64, len);
		if (!s->record)
			abort();
		memset(s->record, 0, len);
		s->r.cfg.inflight = s->record;
	}
	if (!s->bare)
		rig_start(&s->r);
}

/** unlikely - such a ratio means that one of the two never had both CPUs for a whole window */
static bool unlikely(const struct shape *s, const double *best)
{
	return !s->one_cpu && (best[0] > 3 * best[1] || best[1] > 3 * best[0]);
}

static const char *match; /* -m */
static FILE *json;
static bool first_row = true;
static unsigned above; /* rows at batch 32 with more than twice the floor */

/** measure - one row */
static void measure(const struct shape *shape)
{
	static struct shape s[2];
	double best[2] = { 1e9, 1e9 };
	char name[96];

	snprintf(name, sizeof(name), "ring %s %s%s%s%s batch %u chain %u",
		 shape->packed ? "packed" : "split", shape->indirect ? "indirect" : "direct",
		 shape->inflight ? " in-flight record" : "", shape->in_order ? " in order" : "",
		 shape->one_cpu ? " one CPU" : "", shape->batch, shape->chain);
	if (match && !strstr(name, match))
		return;
	for (int b = 0; b < 2; b++) {
		s[b] = *shape;
		s[b].bare = b;
		begin(&s[b]);
	}
	for (unsigned i = 0, idle = 0; i < MAX && (idle < ROUNDS || unlikely(shape, best));
	     i++, idle++)
		for (int b = 0; b < 2; b++) {
			double ns = run(&s[b]);

			if (ns < best[b] * 0.97)
				idle = 0;
			if (ns < best[b])
				best[b] = ns;
		}
	for (int b = 0; b < 2; b++) {
		rig_fini(&s[b].r);
		free(s[b].record);
	}
	printf("%-52s %8.2f ns %8.2f ns %6.2f\n", name, best[0], best[1], best[0] / best[1]);
	if (shape->batch == 32 && !shape->inflight && !shape->in_order && !shape->one_cpu &&
	    best[0] > 2 * best[1])
		above++;
	if (json)
		fprintf(json,
			"%s{\"name\": \"%s\", \"value\": %.3f, \"unit\": \"ns/request\", "
			"\"peer\": \"bare producer/consumer\", \"peer_value\": %.3f, \"ratio\": "
			"%.3f}",
			first_row ? "[\n" : ",\n", name, best[0], best[1], best[0] / best[1]);
	first_row = false;
}

int main(int argc, char **argv)
{
	static const unsigned chains[] = { 1, 2, 4, 8 };
	const char *file = "build/bench/ring.json";
	bool quick = false;
	int opt;

	while ((opt = getopt(argc, argv, "qo:m:")) != -1) {
		if (opt == 'q') {
			quick = true;
		} else if (opt == 'o') {
			file = optarg;
		} else if (opt == 'm') {
			match = optarg;
		} else {
			fprintf(stderr, "usage: bench_ring [-q] [-o FILE] [-m TEXT]\n");
			return 2;
		}
	}
	if (!quick && !match) {
		mkdir("build", 0777);
		mkdir("build/bench", 0777);
		json = fopen(file, "w");
		if (!json) {
			fprintf(stderr, "bench_ring: %s: %s\n", file, strerror(errno));
			return 1;
		}
	}
	printf("%-52s %11s %11s %6s\n", "time per request", "engine", "floor", "ratio");
	for (int p = 0; p < 2; p++)
		for (int ind = 0; ind < 2; ind++)
			for (unsigned k = 0; k < 4; k++)
				for (unsigned b = quick ? 32 : 1; b <= (quick ? 32 : 256); b *= 2)
					measure(&(struct shape){ .packed = p,
								 .indirect = ind,
								 .batch = b,
								 .chain = chains[k] });
	for (int p = 0; p < 2; p++)
		measure(&(struct shape){ .packed = p, .inflight = true, .batch = 32, .chain = 2 });
	for (int p = 0; p < 2; p++)
		for (unsigned k = 0; k < 4; k++)
			measure(&(struct shape){
				.packed = p, .in_order = true, .batch = 32, .chain = chains[k] });
	for (int p = 0; p < 2; p++)
		for (int ind = 0; ind < 2; ind++)
			for (unsigned k = 0; k < 4; k++)
				measure(&(struct shape){ .packed = p,
							 .indirect = ind,
							 .one_cpu = true,
							 .batch = 32,
							 .chain = chains[k] });
	if (json) {
		fprintf(json, "\n]\n");
		fclose(json);
	}
	printf("at batch 32, %u of 16 shapes take more than twice the floor\n", above);
	return 0;
}
