/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_can.c - what the CAN device itself costs a frame, without Xen and without a bus
 *
 *	bench_can [-o FILE]	table, and build/bench/can.json
 *
 * The driver of tests/driver, the device, and the in-process bus of
 * tests/unit/can_rig.h, in one thread: rings, checks, firewall, pending list and
 * the copies that a port needs are in it; the kernel's CAN stack, event channels
 * and the guest's driver are not. Those are in tests/bench/xen-can, which measures
 * guest to dom0 and guest to guest against bare vcan.
 *
 * The fastest of ROUNDS rounds counts: whatever else the machine does only adds.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/can_rig.h"

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

int main(int argc, char **argv)
{
	const char *path =
		argc == 3 && strcmp(argv[1], "-o") == 0 ? argv[2] : "build/bench/can.json";
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
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
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
	fprintf(json, "]\n");
	return fclose(json) == 0 ? 0 : 1;
}
