#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of tests/bench/xen-gateway that runs in dom0: load in a guest, and dom0's processor around it.

  gateway_jobs.py GUEST SECONDS ROUNDS PATH=WHERE... JOB...

PATH is a name for the table, WHERE a disk of the guest's (/dev/...) or a folder there.  JOB is of disks, as
read:4096:32 (bytes of a request, and depth), or of folders: create, stat, write or read.  For each job its
paths take turns, ROUNDS times.  One line of JSON for each run:

  {"path", "job", "round", "rate", "dom0_us"}

rate is a second's requests, files or MiB, and dom0_us what each took of dom0's processor, by Xen's count
(null for folders, where files that are made before are in it).  What dom0 has of it with a guest that sleeps
as long, its console and this program among it, is not.
"""
import json
import re
import subprocess
import sys


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def dom0():
    """Seconds that it has run."""
    return float(output("xl", "list", "0").splitlines()[1].split()[-1])


def command(guest, cmd):
    """Return: what the guest says, and the seconds of dom0's processor."""
    before = dom0()
    done = subprocess.run(["guest", "run", "-t", "200", guest, cmd], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, dom0() - before


def run(guest, seconds, where, job, n):
    """Return: how many, in how many ms, with how many seconds of dom0's processor."""
    if where.startswith("/dev/"):
        cmd = f"aio {where} {job.replace(':', ' ')} {seconds}"
    else:
        cmd = f"files {job} {where}/{n} {seconds}"
    for _ in range(4):  # the guest's console loses a character now and then
        said, cpu = command(guest, cmd)
        told = re.search(r"^(?:aio|files): (\d+) (?:requests|operations) in (\d+) ms", said, re.M)
        if told:
            return int(told.group(1)), int(told.group(2)), cpu
        if "FAILED" in said:
            break
    raise SystemExit(f"gateway_jobs: no figure of {where} {job}: {said}")


def main():
    guest, seconds, rounds = sys.argv[1:4]
    paths = [a.split("=") for a in sys.argv[4:] if "=" in a]
    n = 0
    for job in (a for a in sys.argv[4:] if "=" not in a):
        for turn in range(int(rounds)):
            idle = command(guest, f"sleep {seconds}")[1] if ":" in job else 0
            for path, where in paths:
                if where.startswith("/dev/") != (":" in job):
                    continue
                n += 1
                count, ms, cpu = run(guest, seconds, where, job, n)
                print(json.dumps({"path": path, "job": job, "round": turn, "rate": count * 1000 / ms,
                                  "dom0_us": (cpu - idle) * 1e6 / count if ":" in job else None}), flush=True)


main()
