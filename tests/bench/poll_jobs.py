#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of tests/bench/xen-poll that runs in dom0.

  poll_jobs.py GUEST MODE SECONDS BUSY...

For BUSY of the guest's disks at a time, and for none, a line of JSON:

  {"mode", "busy", "beside", "all", "wakeups", "workers", "iops", "kicks", "dom0_us", "guest_us", "share"}

wakeups are those of all workers, a second: how often a thread of theirs left the processor to wait.
workers is what they ran, in processors. dom0_us and guest_us are of a request; Xen counts them.
share is what the program beside got of a processor.
"""
import glob
import json
import re
import subprocess
import sys
import time


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def devices(guest):
    """Those that its driver has connected; now and then a guest's kernel overlooks one while it boots."""
    return [d for d in json.loads(output("vgrant", "list", "--json", guest))["devices"] if d["state"] == "connected"]


def ran(pids):
    """Seconds that the threads of these have run."""
    ns = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as f:
                ns += int(f.read().split()[0])
    return ns / 1e9


def waits(pids):
    n = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/status"):
            with open(path, encoding="ascii") as f:
                n += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M).group(1))
    return n


def domains():
    """Seconds that each domain has run."""
    return {l.split()[0]: float(l.split()[-1]) for l in output("xl", "list").splitlines()[1:]}


def counted(guest):
    queues = [q for d in devices(guest) for q in d["queues"]]
    return sum(q["kicks"] for q in queues)


def load(guest, disks, seconds):
    """One request out on each of the disks. Return: requests, and seconds from the first to the last."""
    cmd = ("a=$(cut -d' ' -f1 /proc/uptime); for d in %s; do aio /dev/$d read 4096 1 %d & done | "
           "awk '/^aio: [0-9]/ { n += $2; k++ } END { print k, n }' >/tmp/all; "
           "echo all: $(cat /tmp/all) $a $(cut -d' ' -f1 /proc/uptime)" % (" ".join(disks), seconds))
    for _ in range(4):  # the guest's console loses a character now and then
        done = subprocess.run(["guest", "run", "-t", "300", guest, cmd], capture_output=True, text=True, check=False)
        told = re.search(r"all: (\d+) (\d+) ([\d.]+) ([\d.]+)", done.stdout)
        if told and int(told.group(1)) == len(disks):
            return int(told.group(2)), float(told.group(4)) - float(told.group(3))
    raise SystemExit(f"poll_jobs: the guest gives no figure: {done.stdout} {done.stderr}")


def main():
    guest, mode, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pids = [d["worker"]["pid"] for d in devices(guest)]
    disks = sorted(output("guest", "run", guest, "ls /sys/block | grep ^vd").split(), key=lambda d: (len(d), d))
    if len(disks) != len(pids):
        raise SystemExit(f"poll_jobs: {len(pids)} devices, but the guest sees {len(disks)} disks")
    time.sleep(2)
    before = waits(pids), ran(pids), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - before[2]
    print(json.dumps({"mode": mode, "busy": 0, "beside": False, "all": len(pids),
                      "wakeups": round((waits(pids) - before[0]) / took, 2),
                      "workers": round((ran(pids) - before[1]) / took, 4)}), flush=True)
    for busy in map(int, sys.argv[4:]):
        for beside in (False, True):
            kicks, cpu, worked = counted(guest), domains(), ran(pids)
            program = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
            start = time.monotonic()
            requests, took = load(guest, disks[:busy], seconds)
            wall = time.monotonic() - start
            share = ran([program.pid]) / wall if beside else 0
            if beside:
                program.kill()
                program.wait()
            after = domains()
            print(json.dumps({
                "mode": mode, "busy": min(busy, len(disks)), "beside": beside, "all": len(pids),
                "iops": requests / took, "kicks": (counted(guest) - kicks) / requests,
                "dom0_us": (after["Domain-0"] - cpu["Domain-0"]) * 1e6 / requests,
                "guest_us": (after[guest] - cpu[guest]) * 1e6 / requests,
                "workers": (ran(pids) - worked) / wall, "share": share}), flush=True)


main()
