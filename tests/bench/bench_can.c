/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_can.c - what the CAN device itself costs a frame, without Xen and without a bus
 *
 *	bench_can [-o FILE]	table, and build/bench/can.json
 *
 * The driver of tests/driver, the device, and the in-process bus of
 * tests/rigs/can_rig.h, in one thread: rings, checks, firewall, pending list and
 * the copies that a port needs are in it; the kernel's CAN stack, event channels
 * and the guest's driver are not. Those are in tests/bench/xen-can, which measures
 * guest to dom0 and guest to guest against bare vcan.
 *
 * Where the machine has vcan (and we are root), there are two rows more: the device
 * on a real vcan, to a socket that reads each frame, and the same from socket to
 * socket without it. Where not, a sentence says so.
 *
 * The fastest of ROUNDS rounds counts: whatever else the machine does only adds.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "tests/rigs/can_rig.h"

enum { ROUNDS = 7, FRAMES = 20000 };

struct row {
	const char *name;
	enum tp_manner manner;
	bool late, receive;
	unsigned batch; /* frames made available, or arriving, at once */
	const char *spec;
};

static const struct row rows[] = {
	{ "transmit", TP_DIRECT, false, false, 1, "can,interface=c0" },
	{ "transmit", TP_DIRECT, false, false, 32, "can,interface=c0" },
	{ "transmit, LATE_TX_ACK", TP_DIRECT, true, false, 1, "can,interface=c0" },
	{ "transmit, LATE_TX_ACK", TP_DIRECT, true, false, 32, "can,interface=c0" },
	{ "transmit, LATE_TX_ACK", TP_COPY, true, false, 32, "can,interface=c0" },
	{ "transmit, LATE_TX_ACK, 8 rules", TP_COPY, true, false, 32,
	  "can,interface=c0,"
	  "tx-allow=100+101+102+103+104+105+106+000:0" },
	{ "receive", TP_DIRECT, true, true, 1, "can,interface=c0" },
	{ "receive", TP_DIRECT, true, true, 32, "can,interface=c0" },
	{ "receive", TP_COPY, true, true, 32, "can,interface=c0" },
};

static void transmit(struct cr *cr, unsigned batch)
{
	const struct cr_frame f = cr_frame(0, 0x123, 8);

	for (unsigned sent = 0; sent < FRAMES; sent += batch) {
		for (unsigned i = 0; i < batch; i++)
			cr_add(cr, &f);
		tp_kick(&cr->tp, CAN_TXQ);
		for (unsigned i = 0; i < batch; i++)
			cr_wait(cr, CAN_TXQ);
		cr->bus->out_n = 0;
	}
}

static void receive(struct cr *cr, unsigned batch)
{
	const struct can_item item = cr_item(0x123, 8, false);
	struct cr_frame f;

	for (unsigned got = 0; got < FRAMES; got += batch) {
		for (unsigned i = 0; i < batch; i++)
			fake_put(cr->bus, &item);
		for (unsigned i = 0; i < batch;) {
			vg_loop_turn(cr->tp.loop, false);
			while (i < batch && cr_take(cr, &f))
				i++;
		}
		cr_post(cr, batch);
	}
}

/* Return: ns a frame. */
static double measure(const struct row *r)
{
	double best = 0;
	struct cr cr;

	for (int round = 0; round < ROUNDS; round++) {
		int64_t start, took;

		cr_open(&cr, r->manner, r->spec);
		cr_begin(&cr, r->late ? TP_ALL : TP_ALL & ~VG_FEATURE(CAN_F_LATE_TX_ACK), 256);
		cr_post(&cr, 64);
		cr_control(&cr, CAN_MSG_START);
		start = vg_now_ns();
		if (r->receive)
			receive(&cr, r->batch);
		else
			transmit(&cr, r->batch);
		took = vg_now_ns() - start;
		if (!round || (double)took / FRAMES < best)
			best = (double)took / FRAMES;
		cr_close(&cr);
	}
	return best;
}

/* ---- on vcan ------------------------------------------------------------ */

#define VCAN	     "vgbench0"
#define VCAN_BATCH   32
#define VCAN_FRAMES  4096 /* whole batches */
#define SOCKET_BYTES (1 << 20)

/* A socket on the vcan. Return: it, or -1. */
static int peer_open(void)
{
	struct sockaddr_can addr = { .can_family = AF_CAN,
				     .can_ifindex = (int)if_nametoindex(VCAN) };
	int bytes = SOCKET_BYTES;
	int fd = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Read what there is. Return: frames. */
static unsigned drain(int fd)
{
	struct can_frame f;
	unsigned n = 0;

	while (recv(fd, &f, sizeof(f), 0) == (ssize_t)sizeof(f))
		n++;
	return n;
}

/* Return: ns a frame, from socket to socket; negative: frames were lost. */
static double bare(int from, int to)
{
	const struct can_frame f = { .can_id = 0x123, .len = 8 };
	int64_t start = vg_now_ns();
	unsigned got = 0;

	for (unsigned sent = 0; sent < VCAN_FRAMES; sent += VCAN_BATCH) {
		for (unsigned i = 0; i < VCAN_BATCH; i++)
			got += send(from, &f, sizeof(f), 0) < 0 ? VCAN_FRAMES : 0;
		got += drain(to);
	}
	return got == VCAN_FRAMES ? (double)(vg_now_ns() - start) / VCAN_FRAMES : -1;
}

/* Return: ns a frame, from the guest's ring to a socket, its confirmation in the ring; negative: as
 * above. */
static double through_device(int to)
{
	const struct cr_frame f = cr_frame(0, 0x123, 8);
	unsigned got = 0;
	struct cr cr;
	int64_t start;

	memset(&cr, 0, sizeof(cr));
	can_bus_ops = &can_socket_ops;
	tp_open(&cr.tp, TP_DIRECT, "can,interface=" VCAN);
	cr.rx_room = 80;
	for (unsigned i = 0; i < CR_SLOTS; i++)
		drv_alloc(&cr.tp.flat.mem, 256, 16, true, &cr.slot[i].mem);
	cr_begin(&cr, TP_ALL, 256);
	cr_control(&cr, CAN_MSG_START);
	start = vg_now_ns();
	for (unsigned sent = 0; sent < VCAN_FRAMES; sent += VCAN_BATCH) {
		for (unsigned i = 0; i < VCAN_BATCH; i++)
			cr_add(&cr, &f);
		tp_kick(&cr.tp, CAN_TXQ);
		for (unsigned i = 0; i < VCAN_BATCH; i++)
			cr_wait(&cr, CAN_TXQ);
		got += drain(to);
	}
	start = vg_now_ns() - start;
	cr_close(&cr);
	return got == VCAN_FRAMES ? (double)start / VCAN_FRAMES : -1;
}

static void vcan_row(FILE *json, const char *name, double ns, double peer)
{
	printf("%-32s %8s %6d %10.0f %12.0f\n", name, "vcan", VCAN_BATCH, ns, 1e9 / ns);
	fprintf(json, ",{\"name\":\"can %s, batch %d\",\"value\":%.1f,\"unit\":\"ns/frame\",", name,
		VCAN_BATCH, ns);
	if (peer > 0)
		fprintf(json, "\"peer\":\"bare vcan\",\"peer_value\":%.1f,\"ratio\":%.3f}", peer,
			ns / peer);
	else
		fprintf(json, "\"peer\":null,\"peer_value\":null,\"ratio\":null}");
}

/* Return: NULL, or why there are no rows. */
static const char *vcan(FILE *json)
{
	double ns, direct = 0, device = 0;
	int from, to;

	from = socket(PF_CAN, SOCK_RAW | SOCK_CLOEXEC, CAN_RAW);
	if (from < 0)
		return "this kernel has no CAN sockets";
	close(from);
	if (geteuid() != 0)
		return "only root can make a vcan interface";
	if (system("ip link add " VCAN " type vcan && ip link set " VCAN " up") != 0)
		return "this kernel makes no vcan interface";
	from = peer_open();
	to = peer_open();
	for (int round = 0; round < ROUNDS && from >= 0 && to >= 0 && direct >= 0; round++) {
		ns = bare(from, to);
		if (!round || ns < direct)
			direct = ns;
	}
	close(from); /* or it would be sent each frame */
	for (int round = 0; round < ROUNDS && direct > 0 && device >= 0; round++) {
		ns = through_device(to);
		if (!round || ns < device)
			device = ns;
	}
	close(to);
	if (system("ip link del " VCAN) != 0)
		return "the vcan interface cannot be removed";
	if (direct <= 0 || device <= 0)
		return "frames were lost on vcan";
	vcan_row(json, "socket to socket", direct, 0);
	vcan_row(json, "guest's ring to socket", device, direct);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *path =
		argc == 3 && strcmp(argv[1], "-o") == 0 ? argv[2] : "build/bench/can.json";
	const char *why;
	FILE *json;

	mkdir("build", 0777);
	mkdir("build/bench", 0777);
	json = fopen(path, "w");
	if (!json) {
		perror(path);
		return 1;
	}
	fprintf(json, "[");
	printf("%-32s %8s %6s %10s %12s\n", "can device, in-process bus", "memory", "batch",
	       "ns/frame", "frames/s");
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];
		const char *memory = r->manner == TP_COPY ? "copied" : "direct";
		double ns = measure(r);

		printf("%-32s %8s %6u %10.0f %12.0f\n", r->name, memory, r->batch, ns, 1e9 / ns);
		fprintf(json,
			"%s{\"name\":\"can %s, %s memory, batch "
			"%u\",\"value\":%.1f,\"unit\":\"ns/frame\","
			"\"peer\":null,\"peer_value\":null,\"ratio\":null}",
			i ? "," : "", r->name, memory, r->batch, ns);
	}
	why = vcan(json);
	if (why)
		printf("on vcan: not measured, %s; tests/bench/xen-can (make bench-xen) does it on "
		       "Xen\n",
		       why);
	fprintf(json, "]\n");
	return fclose(json) == 0 ? 0 : 1;
}
