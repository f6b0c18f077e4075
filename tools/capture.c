// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture.c - `vgrant capture`: the packets of a guest's network card as a file for tcpdump(8)
 *
 * The device's worker sends packets (base/capture.h) to one end of a socket pair that
 * is made here and handed to vgrantd with the request; vgrantd itself passes nothing
 * on. What comes is written as pcap-savefile(5) has it, with nanoseconds. A worker may
 * have been taken over by its guest: what it says of a packet decides nothing but
 * what stands in the file.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/capture.h"
#include "backend/base/container.h"
#include "tools/vgrant.h"

enum {
	WAITING_BYTES = 8 << 20, /* packets that wait for us: we may be slow for a while */
	PCAP_NS = 0xa1b23c4d,	 /* magic number of files with nanoseconds */
};

struct pcap_file {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t reserved[2];
	uint32_t snaplen, link;
};

struct pcap_record {
	uint32_t s, ns, kept, len;
};

struct file {
	FILE *to;
	const char *name;
	uint64_t packets, lost;
};

static volatile sig_atomic_t stopped;

static void on_signal(int nr)
{
	(void)nr;
	stopped = 1;
}

/* Ends poll(2), and thereby the capture; a reader of ours that is gone is a failed write. */
static void catch_signals(void)
{
	const struct sigaction stop = { .sa_handler = on_signal };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

/* Return: an exit code. */
static int begin(struct file *f, const char *name)
{
	const struct pcap_file head = { .magic = PCAP_NS,
					.major = 2,
					.minor = 4,
					.snaplen = VG_CAPTURE_BYTES,
					.link = VG_CAPTURE_ETHERNET };
	bool std = !name || strcmp(name, "-") == 0;

	f->name = std ? "standard output" : name;
	if (std && isatty(STDOUT_FILENO)) {
		vgrant_complain("packets are nothing for a terminal: name a file, or read them "
				"with `vgrant capture GUEST ID | tcpdump -r -`");
		return VGRANT_USAGE;
	}
	f->to = std ? stdout : fopen(name, "we");
	if (!f->to || fwrite(&head, sizeof(head), 1, f->to) != 1) {
		vgrant_complain("%s cannot be written: %s", f->name, strerror(errno));
		return VGRANT_FAILED;
	}
	return VGRANT_OK;
}

/* One message, @n bytes. Return: false: it cannot be written. */
static bool put(struct file *f, const uint8_t *message, size_t n)
{
	struct vg_capture_head head;
	struct pcap_record r;

	if (n < sizeof(head))
		return true;
	memcpy(&head, message, sizeof(head));
	n -= sizeof(head);
	f->lost += head.lost;
	if (head.link != VG_CAPTURE_ETHERNET)
		return true;
	f->packets++;
	r = (struct pcap_record){ .s = (uint32_t)(head.ns / NS_PER_S),
				  .ns = (uint32_t)(head.ns % NS_PER_S),
				  .kept = (uint32_t)n,
				  .len = head.len > n ? head.len : (uint32_t)n };
	return fwrite(&r, sizeof(r), 1, f->to) == 1 &&
	       (n == 0 || fwrite(message + sizeof(head), n, 1, f->to) == 1);
}

/* All that is there. Return: 1; 0: nothing more will come; -1: it cannot be written. */
static int take(struct file *f, int fd)
{
	static uint8_t message[sizeof(struct vg_capture_head) + VG_CAPTURE_BYTES];
	ssize_t n;

	while ((n = recv(fd, message, sizeof(message), MSG_DONTWAIT)) > 0) {
		if (!put(f, message, (size_t)n))
			return -1;
	}
	/* Whoever reads a pipe sees a packet when it passes. */
	if (fflush(f->to) != 0)
		return -1;
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Until it is told to stop, the device goes, or it fails. Return: an exit code. */
static int capture(struct file *f, int daemon, int packets)
{
	struct pollfd fds[2] = { { .fd = daemon, .events = POLLIN },
				 { .fd = packets, .events = POLLIN } };
	int ret = VGRANT_OK;
	int more = 1;

	while (!stopped && more >= 0) {
		if (poll(fds, 2, -1) < 0)
			continue; /* a signal */
		if (fds[1].revents)
			more = take(f, packets);
		if (more == 0)
			fds[1].fd = -1;
		if (fds[0].revents && more >= 0) {
			ret = vgrant_answer(daemon, NULL);
			break;
		}
	}
	if (more > 0)
		more = take(f, packets);
	if (more >= 0)
		return ret;
	vgrant_complain("%s cannot be written: %s", f->name, strerror(errno));
	return VGRANT_FAILED;
}

int vgrant_capture(const struct vgrant_options *opt, int argc, char **argv)
{
	struct file f = { 0 };
	int bytes = WAITING_BYTES;
	int daemon, pair[2];
	int ret;

	catch_signals();
	daemon = vgrant_connect(opt);
	if (daemon < 0)
		return VGRANT_NO_DAEMON;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		vgrant_complain("no socket for packets: %s", strerror(errno));
		close(daemon);
		return VGRANT_FAILED;
	}
	/* Root may have more than net.core.wmem_max. */
	if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	ret = begin(&f, argc > 2 ? argv[2] : NULL);
	if (ret == VGRANT_OK) {
		vgrant_request(daemon, "capture",
			       VGRANT_ARGS({ "guest", argv[0] }, { "id", argv[1] }), pair[1]);
		close(pair[1]);
		ret = capture(&f, daemon, pair[0]);
		fprintf(stderr, "%llu packets captured, %llu lost\n", (unsigned long long)f.packets,
			(unsigned long long)f.lost);
	} else {
		close(pair[1]);
	}
	close(pair[0]);
	close(daemon);
	if (f.to && f.to != stdout && fclose(f.to) != 0 && ret == VGRANT_OK) {
		vgrant_complain("%s cannot be written: %s", f.name, strerror(errno));
		ret = VGRANT_FAILED;
	}
	return ret;
}
