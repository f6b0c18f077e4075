#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of tests/bench/xen-blk that runs in dom0: load in a guest, and counters around it.

  blk_jobs.py GUEST SECONDS ROUNDS PATH=DISK:DEVICE... JOB...

PATH is a name for the table, DISK the guest's disk, DEVICE its number in `vgrant list` (empty: not
vgrantd's).  JOB is read or write, bytes of a request, and depth: read:4096:32.  For each job the
paths take turns, ROUNDS times, so that what else the machine does meets all of them.  One line of
JSON for each run:

  {"path", "job", "round", "iops", "dom0_us", "guest_us", "requests", "hypercalls": {...}, "copied_bytes"}

dom0_us and guest_us are what their processors ran for a request; Xen counts them, to a tenth of a second.

hypercalls are those of the run: the backend's, as vgrantd counts them where it makes them, and the
guest's, as virtio_grant counts its notifications in sysfs.  A map and an unmap are two each, since
dom0 is PV: the process' page tables, and the kernel's own.  An unmask is one only if an event came
meanwhile.
"""
import json
import subprocess
import sys


def vgrantd(guest, device):
    """Counters of one device; {} when it is not vgrantd's."""
    if not device:
        return {}
    out = subprocess.run(["vgrant", "list", "--json", guest], capture_output=True, check=True)
    for dev in json.loads(out.stdout)["devices"]:
        if dev["id"] == int(device):
            return {**dev["xen"], "requests": dev["counters"]["requests"], "errors": dev["counters"]["errors"]}
    raise SystemExit(f"blk_jobs: no device {device} of {guest}")


def domains():
    """Seconds that each domain has run."""
    out = subprocess.run(["xl", "list"], capture_output=True, text=True, check=True).stdout
    return {l.split()[0]: float(l.split()[-1]) for l in out.splitlines()[1:]}


def run(guest, seconds, disk, device, job):
    rw, bs, depth = job.split(":")
    sysfs = f"/sys/block/{disk}/device/../kicks"
    cat = f"cat {sysfs};" if device else "echo 0;"
    before, ran = vgrantd(guest, device), domains()
    cmd = f"{cat} aio /dev/{disk} {rw} {bs} {depth} {seconds}; {cat}"
    done = subprocess.run(["guest", "run", "-t", "120", guest, cmd], capture_output=True, text=True, check=False)
    now, after = domains(), vgrantd(guest, device)
    lines = done.stdout.split("\n")
    kicks = [int(l) for l in lines if l.strip().isdigit()]
    told = [l.split() for l in lines if l.startswith("aio: ") and l.endswith(" ms")]
    if len(told) != 1 or len(kicks) != 2:
        print(f"blk_jobs: no figure for {disk} {job}: {done.stdout} {done.stderr}", file=sys.stderr)
        return None
    n = int(told[0][1])
    row = {"iops": n * 1000 / int(told[0][4]), "dom0_us": (now["Domain-0"] - ran["Domain-0"]) * 1e6 / n,
           "guest_us": (now[guest] - ran[guest]) * 1e6 / n}
    if device:
        d = {k: after[k] - before[k] for k in after}
        if d["errors"]:
            raise SystemExit(f"blk_jobs: {d['errors']} errors on {disk} in {job}")
        row["requests"] = d["requests"]
        row["copied_bytes"] = d["copied_bytes"]
        row["hypercalls"] = {
            "copy": d["copy_hypercalls"],
            "map": 2 * (d["maps"] + d["unmaps"]),
            "notify": d["notifies"],
            "unmask": d["unmasks"],
            "kick": kicks[1] - kicks[0],
        }
    return row


def main():
    guest, seconds, rounds = sys.argv[1:4]
    paths = [a.split("=") for a in sys.argv[4:] if "=" in a]
    for job in (a for a in sys.argv[4:] if "=" not in a):
        for n in range(int(rounds)):
            for path, where in paths:
                disk, device = where.split(":")
                for _ in range(4):  # the guest's console loses a character now and then
                    row = run(guest, seconds, disk, device, job)
                    if row:
                        break
                else:
                    raise SystemExit("blk_jobs: the guest does not answer")
                print(json.dumps({"path": path, "job": job, "round": n, **row}), flush=True)


main()
