#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of tests/bench/xen-blk that runs in dom0 when TRACE is set: where the time of a request goes.

  blk_trace.py GUEST SECONDS BYTES PATH=DISK:DEVICE:BELOW...

PATH, DISK and DEVICE as in blk_jobs.py; BELOW is dom0's disk below, as ram1.  One read of BYTES is out at a
time.  Linux' own tracer (tracefs) notes when each of these happens, in the guest and in dom0, by the
time-stamp counter, which all domains of a host share:

  issue     the guest's driver has the request          block_rq_issue
  heard     dom0's side turns to it                     xen_blkif_be_int(); vgrantd's system call that submits
  begun     the disk below has it                       block_bio_queue
  done      and has done it                             block_bio_complete
  told      the guest is notified                       notify_remote_via_irq(); ioctl(2) of the event channel's
  hears     its interrupt                               irq_handler_entry
  answer    its driver has the answer                   block_rq_complete

Prints a table of medians, and how many system calls a request takes; to be noted costs each of these some
microseconds.
"""
import json
import os
import re
import statistics
import subprocess
import sys

TRACE = "/sys/kernel/tracing/"
PARTS = ["issue", "heard", "begun", "done", "told", "hears", "answer"]
NAMES = ["issued, until dom0's side turns to it", "until the disk below has it", "the disk", "until the guest is notified",
         "until its interrupt", "until its driver has the answer", "until the next is issued"]
KEPT = 400  # requests of a path
NOTIFY = 0x44504  # IOCTL_EVTCHN_NOTIFY
PROBES = {
    "be_int": "p:vg/be_int xen_blkback:xen_blkif_be_int",
    "be_told": "p:vg/be_told notify_remote_via_irq",
    "submits": "p:vg/submits __x64_sys_io_uring_enter",
    "tells": "p:vg/tells xen_evtchn:evtchn_ioctl cmd=$arg2:u32",
}

IN_GUEST = """
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; cd /sys/kernel/tracing || exit 1
echo x86-tsc >trace_clock; echo 4096 >buffer_size_kb
echo 1 >events/block/block_rq_issue/enable; echo 1 >events/block/block_rq_complete/enable
echo 'name !~ "timer*"' >events/irq/irq_handler_entry/filter; echo 1 >events/irq/irq_handler_entry/enable
echo >trace; echo 1 >tracing_on; aio /dev/%s read %s 1 %s; echo 0 >tracing_on
tail -n %d trace | sed -n 's/.* \\([0-9]*\\): block_rq_issue.*/i \\1/p; s/.* \\([0-9]*\\): irq_handler_entry.*/h \\1/p; s/.* \\([0-9]*\\): block_rq_complete.*/a \\1/p'
"""


def put(name, text):
    with open(TRACE + name, "w", encoding="ascii") as f:
        f.write(text)


def get(name):
    with open(TRACE + name, encoding="ascii", errors="replace") as f:
        return f.read()


def in_guest(guest, command):
    done = subprocess.run(["guest", "run", "-t", "120", guest, command], capture_output=True, text=True, check=False)
    if not re.search(r"^aio: \d+ requests", done.stdout, re.M):
        raise SystemExit(f"blk_trace: no figure: {done.stdout} {done.stderr}")
    return done.stdout


def follow(on):
    put("trace_clock", "x86-tsc")
    put("buffer_size_kb", "8192")
    if on:
        put("kprobe_events", "\n".join(PROBES.values()) + "\n")
        put("events/vg/tells/filter", f"cmd == {NOTIFY}")
    for event in [f"vg/{name}" for name in PROBES] + ["block/block_bio_queue", "block/block_bio_complete"]:
        put(f"events/{event}/enable", "1" if on else "0")
    if not on:
        put("kprobe_events", "\n")


def seen(below):
    """What happened in dom0: (time, what), in order."""
    with open(f"/sys/block/{below}/dev", encoding="ascii") as f:
        disk = f.read().strip().replace(":", ",")
    what = {"be_int": "heard", "submits": "heard", "be_told": "told", "tells": "told",
            f"block_bio_queue: {disk}": "begun", f"block_bio_complete: {disk}": "done"}
    events = []
    for m in re.finditer(r" (\d+): (be_int|submits|be_told|tells|block_bio_(?:queue|complete): \d+,\d+)", get("trace")):
        if m.group(2) in what:
            events.append((int(m.group(1)), what[m.group(2)]))
    return events


def joined(guest_says, dom0):
    """One list of times for each request of which all was seen."""
    names = {"i": "issue", "h": "hears", "a": "answer"}
    events = dom0 + [(int(t), names[c]) for c, t in re.findall(r"^([iha]) (\d+)\r?$", guest_says, re.M)]
    times, out = {}, []
    for when, what in sorted(events):
        if what == "issue":
            if len(times) == len(PARTS):
                out.append([times[p] for p in PARTS] + [when])
            times = {what: when}
        elif what == "heard" and "begun" not in times:
            times[what] = when  # the last one: a look in vain may come before
        elif what not in times and PARTS[PARTS.index(what) - 1] in times:
            times[what] = when
    return out


def calls(guest, device, command):
    """System calls of the worker a request: (name, how many)."""
    out = subprocess.run(["vgrant", "list", "--json", guest], capture_output=True, check=True).stdout
    pid = next(d["worker"]["pid"] for d in json.loads(out)["devices"] if d["id"] == int(device))
    trigger = f"hist:keys=id.syscall if common_pid == {pid}"
    put("events/raw_syscalls/sys_enter/trigger", trigger)
    requests = int(re.search(r"^aio: (\d+)", in_guest(guest, command), re.M).group(1))
    hist = get("events/raw_syscalls/sys_enter/hist")
    put("events/raw_syscalls/sys_enter/trigger", "!" + trigger)
    return [(name, int(n) / requests) for name, n in re.findall(r"id: (?:sys_)?(\w+).*hitcount: *(\d+)", hist)
            if int(n) / requests > 0.01]


def main():
    guest, seconds, size = sys.argv[1:4]
    if not os.path.exists(TRACE + "trace"):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACE], check=True)
    with open("/proc/cpuinfo", encoding="ascii") as f:
        mhz = float(re.search(r"cpu MHz\s*: ([\d.]+)", f.read()).group(1))
    columns, counted = {}, {}
    for path, where in (a.split("=") for a in sys.argv[4:]):
        disk, device, below = where.split(":")
        follow(True)
        put("trace", "\n")
        put("tracing_on", "1")
        told = in_guest(guest, IN_GUEST % (disk, size, seconds, 3 * KEPT))
        put("tracing_on", "0")
        requests = joined(told, seen(below))
        follow(False)
        if not requests:
            raise SystemExit(f"blk_trace: {path}: no request of which all was seen: {told[:500]} {seen(below)[:20]}")
        columns[path] = [statistics.median(r[i + 1] - r[i] for r in requests) / mhz for i in range(len(PARTS))]
        columns[path].append(statistics.median(r[-1] - r[0] for r in requests) / mhz)
        columns[path].append(len(requests))
        if device:
            counted[path] = calls(guest, device, f"aio /dev/{disk} read {size} 1 {seconds}")
    print("%-40s" % "us, medians" + "".join("%10s" % p for p in columns))
    for i, name in enumerate(NAMES + ["a request", "(requests looked at)"]):
        print("%-40s" % name + "".join("%10.0f" % c[i] for c in columns.values()))
    for path, list_ in counted.items():
        print(f"system calls a request, {path}: " + ", ".join("%s %.2f" % c for c in list_))


main()
