// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * files.c - tests a file system that is mounted, or keeps it busy for a benchmark
 *
 *	files test FOLDER N
 *	files create|stat|write|read FOLDER SECONDS
 *
 * test: N small files in folders of a hundred, written, renamed, linked, removed, read back; what a
 * POSIX file system promises of each; a file that two processes append to, one that both lock, one that
 * is mapped and written through the map, one that is cut, and holes. All of it in FOLDER, which is made
 * and stays, so that whoever is behind it can look. Prints "files: tested N files", or
 * "files: FAILED ..." with the step, and ends with status 1 then.
 *
 * The others: as many as they can in SECONDS: files made and closed, or asked about, each another; MiB
 * written to one file, or read from it, from its begin on again. Print "files: N operations in M ms"; of
 * what was written a sync is the end. What is asked about and read is made before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	A_FOLDER = 100, /* files of one */
	STATS = 100,	/* files that are asked about in turn */
	STREAM = 16,	/* MiB of the file that is written and read */
	MIB = 1 << 20,
	RECORDS = 200, /* of each process that appends */
	MAP = 1 << 18, /* bytes */
};

static char buf[MIB];

static void __attribute__((noreturn, format(printf, 1, 2))) failed(const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	printf("files: FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (%s)\n", strerror(error));
	exit(1);
}

/* errno of a call that should not fail; or of none, where it says something wrong. */
static void check(bool ok, const char *step, long what)
{
	if (!ok)
		failed("%s %ld", step, what);
}

/* ---- small files ----------------------------------------------------------- */

static const char *name(char kind, long i)
{
	static char names[2][64];
	static unsigned turn;
	char *to = names[turn++ % 2];

	snprintf(to, sizeof(names[0]), "d%ld/%c%ld", i / A_FOLDER, kind, i);
	return to;
}

/* Of its number, and some hundred bytes at most. */
static size_t content(long i, char *to)
{
	size_t n = 0;

	for (long k = 0; k <= i % 17; k++)
		n += (size_t)sprintf(to + n, "%ld.%ld ", i, k);
	return n;
}

static void make(const char *path, long i)
{
	char text[512];
	size_t n = content(i, text);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);

	check(fd >= 0, "open", i);
	check(write(fd, text, n) == (ssize_t)n, "write", i);
	check(close(fd) == 0, "close", i);
}

static void is_whole(const char *path, long i)
{
	char text[512], got[512];
	size_t n = content(i, text);
	int fd = open(path, O_RDONLY);
	struct stat st;

	check(fd >= 0, "open to read", i);
	check(fstat(fd, &st) == 0 && st.st_size == (off_t)n && (st.st_mode & 0777) == 0640, "fstat",
	      i);
	check(read(fd, got, sizeof(got)) == (ssize_t)n && memcmp(got, text, n) == 0, "read", i);
	close(fd);
}

static void small_files(long n)
{
	struct stat st;

	for (long i = 0; i < n; i++) {
		char folder[32];

		snprintf(folder, sizeof(folder), "d%ld", i / A_FOLDER);
		if (i % A_FOLDER == 0)
			check(mkdir(folder, 0750) == 0, "mkdir", i);
		make(name('f', i), i);
	}
	check(open(name('f', 0), O_WRONLY | O_CREAT | O_EXCL, 0640) < 0 && errno == EEXIST,
	      "O_EXCL", 0);
	for (long i = 0; i < n; i += 3)
		check(rename(name('f', i), name('r', i)) == 0, "rename", i);
	/* Onto one that is there: it is replaced. */
	for (long i = 4; i < n; i += 30)
		check(rename(name('f', i), name('f', i - 2)) == 0, "rename onto", i);
	for (long i = 5; i < n; i += 30)
		check(link(name('f', i), name('l', i)) == 0 && stat(name('l', i), &st) == 0 &&
			      st.st_nlink == 2,
		      "link", i);
	for (long i = 1; i < n; i += 30)
		check(unlink(name('f', i)) == 0 && stat(name('f', i), &st) < 0 && errno == ENOENT,
		      "unlink", i);
	check(rmdir("d0") < 0 && errno == ENOTEMPTY, "rmdir of a folder that is not empty", 0);
	for (long i = 0; i < n; i++) {
		bool gone = i % 30 == 1 || i % 30 == 4;

		if (i % 3 == 0)
			is_whole(name('r', i), i);
		else if (i % 30 == 2 && i + 2 < n)
			is_whole(name('f', i), i + 2);
		else if (!gone)
			is_whole(name('f', i), i);
		else
			check(stat(name('f', i), &st) < 0 && errno == ENOENT, "one that is gone",
			      i);
	}
}

/* ---- two processes ----------------------------------------------------------- */

static void both(void (*run)(int self))
{
	int status = 0;
	pid_t pid = fork();

	check(pid >= 0, "fork", 0);
	run(pid == 0);
	if (pid == 0)
		_exit(0);
	check(waitpid(pid, &status, 0) == pid && status == 0, "another process", status);
}

static void append(int self)
{
	char record[16];
	int fd = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600);

	check(fd >= 0, "open to append", 0);
	for (int i = 0; i < RECORDS; i++) {
		snprintf(record, sizeof(record), "%d %12d\n", self, i);
		check(write(fd, record, 15) == 15, "append", i);
	}
	close(fd);
}

/* Adds one, as often as the other: what is lost is missing at the end. */
static void count(int self)
{
	int fd = open("counter", O_RDWR | O_CREAT, 0600);

	(void)self;
	check(fd >= 0, "open the counter", 0);
	for (int i = 0; i < RECORDS; i++) {
		struct flock whole = { .l_type = F_WRLCK };
		uint64_t n = 0;

		/* Of either kind, both in one order. */
		check(fcntl(fd, F_SETLKW, &whole) == 0, "lock", i);
		check(flock(fd, LOCK_EX) == 0, "lock the whole file", i);
		check(pread(fd, &n, sizeof(n), 0) >= 0, "read the counter", i);
		n++;
		usleep(1); /* so that the other gets between, if it can */
		check(pwrite(fd, &n, sizeof(n), 0) == sizeof(n), "write the counter", i);
		whole.l_type = F_UNLCK;
		check(fcntl(fd, F_SETLK, &whole) == 0 && flock(fd, LOCK_UN) == 0, "unlock", i);
	}
	close(fd);
}

static void two_processes(void)
{
	int next[2] = { 0, 0 }, self, i;
	uint64_t n = 0;
	FILE *f;
	int fd;

	both(append);
	f = fopen("log", "r");
	check(f != NULL, "open the log", 0);
	while (fscanf(f, "%d %d", &self, &i) == 2)
		check((self == 0 || self == 1) && i == next[self]++, "a record out of its order",
		      i);
	check(next[0] == RECORDS && next[1] == RECORDS, "records", next[0] + next[1]);
	fclose(f);
	both(count);
	fd = open("counter", O_RDONLY);
	check(fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n) && n == 2 * RECORDS, "the counter",
	      (long)n);
	close(fd);
}

/* ---- large files --------------------------------------------------------------- */

static void mapped(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT, 0600);
	uint32_t *p, got;

	check(fd >= 0 && ftruncate(fd, MAP) == 0, "make a file to be mapped", 0);
	p = mmap(NULL, MAP, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED, "mmap", 0);
	for (uint32_t i = 0; i < MAP / sizeof(*p); i++)
		p[i] = i * 2654435761U;
	check(msync(p, MAP, MS_SYNC) == 0, "msync", 0);
	for (uint32_t i = 0; i < MAP / sizeof(*p); i += 511)
		check(pread(fd, &got, sizeof(got), (off_t)(i * sizeof(got))) == sizeof(got) &&
			      got == i * 2654435761U,
		      "what was written through a map", (long)i);
	got = 42;
	check(pwrite(fd, &got, sizeof(got), 4096) == sizeof(got) && p[1024] == 42,
	      "what a map sees of a write", (long)p[1024]);
	munmap(p, MAP);
	close(fd);
}

static void holes(void)
{
	int fd = open("hole", O_RDWR | O_CREAT, 0600);
	char got[8] = "xxxxxxx";
	struct stat st = { 0 };

	check(fd >= 0 && pwrite(fd, "end", 3, 5 * MIB) == 3, "write behind a hole", 0);
	check(pread(fd, got, 4, MIB) == 4 && memcmp(got, "\0\0\0\0", 4) == 0, "read a hole", 0);
	check(ftruncate(fd, 2 * MIB) == 0 && fstat(fd, &st) == 0 && st.st_size == 2 * MIB, "cut",
	      (long)st.st_size);
	check(pread(fd, got, 4, 5 * MIB) == 0, "read behind the end", 0);
	check(fsync(fd) == 0, "fsync", 0);
	/* Open, it is there when its name is not. */
	check(unlink("hole") == 0 && pwrite(fd, "x", 1, 0) == 1 && fstat(fd, &st) == 0, "unlink",
	      0);
	close(fd);
}

static int test(long n)
{
	small_files(n);
	two_processes();
	mapped();
	holes();
	sync();
	printf("files: tested %ld files\n", n);
	return 0;
}

/* ---- for a benchmark ------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void create(long i)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "c%ld", i);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	check(fd >= 0 && close(fd) == 0, "create", i);
}

/* Who serves it is asked, whatever this kernel knows. */
static void ask(long i)
{
	char path[32];
	struct statx st;

	snprintf(path, sizeof(path), "s%ld", i % STATS);
	check(statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) == 0, "statx", i);
}

static int stream = -1;

static void write_mib(long i)
{
	check(pwrite(stream, buf, MIB, (off_t)(i % STREAM) * MIB) == MIB, "write", i);
}

static void read_mib(long i)
{
	/* What this kernel has of it is let go, so that it comes anew. */
	if (i % STREAM == 0)
		posix_fadvise(stream, 0, 0, POSIX_FADV_DONTNEED);
	check(pread(stream, buf, MIB, (off_t)(i % STREAM) * MIB) == MIB, "read", i);
}

static void prepare(const char *job)
{
	if (strcmp(job, "stat") == 0) {
		for (long i = 0; i < STATS; i++) {
			char path[32];
			int fd;

			snprintf(path, sizeof(path), "s%ld", i);
			fd = open(path, O_WRONLY | O_CREAT, 0600);
			check(fd >= 0 && close(fd) == 0, "create", i);
		}
		sync();
	}
	if (strcmp(job, "write") == 0 || strcmp(job, "read") == 0) {
		stream = open("stream", O_RDWR | O_CREAT, 0600);
		check(stream >= 0, "open the stream", 0);
		for (long i = 0; i < STREAM; i++)
			write_mib(i);
		check(fsync(stream) == 0, "fsync", 0);
	}
}

static void forget(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	check(fd >= 0 && write(fd, "3", 1) == 1, "drop_caches", 0);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(long i);
	} jobs[] = {
		{ "create", create }, { "stat", ask }, { "write", write_mib }, { "read", read_mib }
	};
	uint64_t begin, limit;
	long n = 0;

	if (argc != 4)
		return 2;
	mkdir(argv[2], 0755);
	check(chdir(argv[2]) == 0, "chdir", 0);
	umask(0);
	if (strcmp(argv[1], "test") == 0)
		return test(atol(argv[3]));
	for (size_t k = 0; k < sizeof(jobs) / sizeof(jobs[0]); k++) {
		if (strcmp(jobs[k].name, argv[1]) != 0)
			continue;
		prepare(argv[1]);
		forget();
		begin = now_ms();
		limit = begin + strtoul(argv[3], NULL, 10) * 1000;
		while (now_ms() < limit)
			jobs[k].run(n++);
		if (stream >= 0)
			check(fsync(stream) == 0, "fsync", 0);
		printf("files: %ld operations in %llu ms\n", n,
		       (unsigned long long)(now_ms() - begin));
		return 0;
	}
	return 2;
}
