#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads Prometheus' text format 0.0.4, and forgives nothing.

  exposition.py FILE [DASHBOARD.json]

What promtool's "check metrics" wants, and more: each family once, with HELP and TYPE before its samples,
which stand together; names and labels as they may be; no sample twice; counters end in _total, and
nothing else does; units are base units, in the plural; a histogram has rising buckets, ends with +Inf,
which is its count, and has a sum. Of a dashboard of Grafana's: every query names metrics that FILE has,
and each has a query.
"""
import json
import re
import sys

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
SAMPLE = re.compile(r"([a-z][a-z0-9_]*)\{(.*)\} (\S+)\Z")
LABEL = re.compile(r'([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|\Z)')
UNITS = re.compile(r"_(seconds|bytes|pages|entries|requests|info|state|hypercalls|kicks|interrupts|faults|resets|"
                   r"restarts|maps|unmaps|ranges|sent|unmasks|errors|failures)\Z")
WRONG = re.compile(r"_(ms|us|milliseconds|microseconds|kib|mib|kilobytes|second|byte)(_|\Z)")


def fail(line, why):
    sys.exit(f"exposition: line {line}: {why}")


def labels(n, text):
    found, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m:
            fail(n, f"labels: {text[at:]}")
        if m[1] in found:
            fail(n, f"label {m[1]} twice")
        found[m[1]] = m[2]
        at = m.end()
    if text.endswith(","):
        fail(n, "a comma at the end")
    return found


def family_of(name, types):
    base = re.sub(r"_(bucket|sum|count)\Z", "", name)
    return base if types.get(base) == "histogram" else name


def read(text):
    """Samples by family, as (name, labels, value)."""
    if not text.endswith("\n"):
        fail(0, "no newline at the end")
    helps, types, families, seen, current = {}, {}, {}, set(), None
    for n, line in enumerate(text[:-1].split("\n"), 1):
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            if name in helps or not words:
                fail(n, f"HELP of {name} twice, or empty")
            helps[name], current = words, name
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name in types or name != current or kind not in ("counter", "gauge", "histogram"):
                fail(n, f"TYPE of {name}")
            if not NAME.match(name) or not name.startswith("vgrant_") or WRONG.search(name):
                fail(n, f"name {name}")
            if (kind == "counter") != name.endswith("_total"):
                fail(n, f"{name} is a {kind}")
            if not UNITS.search(name[:-6] if kind == "counter" else name):
                fail(n, f"{name} has no unit")
            types[name], families[name] = kind, []
            continue
        m = SAMPLE.match(line)
        if not m:
            fail(n, f"no sample: {line}")
        name = family_of(m[1], types)
        if name != current or name not in types:
            fail(n, f"{m[1]} stands among {current}")
        found = labels(n, m[2])
        key = (m[1], tuple(sorted(found.items())))
        if key in seen:
            fail(n, "the same sample twice")
        seen.add(key)
        value = float(m[3])
        if value < 0:
            fail(n, "below 0")
        families[name].append((m[1], found, value))
    if set(helps) != set(types):
        fail(0, "HELP without TYPE")
    return types, families


def histogram(name, samples):
    series = {}
    for what, found, value in samples:
        key = tuple(sorted((k, v) for k, v in found.items() if k != "le"))
        one = series.setdefault(key, {"buckets": []})
        if what.endswith("_bucket"):
            one["buckets"].append((float(found["le"]), value))
        else:
            one[what[len(name) + 1:]] = value
    for key, one in series.items():
        les = [le for le, _ in one["buckets"]]
        counts = [c for _, c in one["buckets"]]
        if les != sorted(set(les)) or counts != sorted(counts) or les[-1] != float("inf"):
            fail(0, f"buckets of {name} {key}: {one}")
        if counts[-1] != one.get("count") or "sum" not in one:
            fail(0, f"count and sum of {name} {key}: {one}")


def queries(board):
    if isinstance(board, dict):
        for key, value in board.items():
            if key == "expr":
                yield value
            elif key == "query" and isinstance(value, str) and "vgrant_" in value:
                yield value
            else:
                yield from queries(value)
    elif isinstance(board, list):
        for value in board:
            yield from queries(value)


def dashboard(path, types):
    with open(path, encoding="utf-8") as f:
        board = json.load(f)
    there = set()
    for name, kind in types.items():
        there |= {name} if kind != "histogram" else {name + s for s in ("_bucket", "_sum", "_count")}
    used = set()
    for query in queries(board):
        names = set(re.findall(r"\bvgrant_[a-z0-9_]+", query))
        if not names or names - there:
            sys.exit(f"exposition: {path}: no such metric: {names - there or query}")
        used |= names
    panels = [p for p in board["panels"] if p["type"] != "row"]
    for panel in panels:
        if not panel.get("title") or not list(queries(panel)):
            sys.exit(f"exposition: {path}: panel {panel.get('id')} has no title or no query")
    if not panels:
        sys.exit(f"exposition: {path}: no panels")
    return used


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        types, families = read(f.read())
    for name, kind in types.items():
        if kind == "histogram":
            histogram(name, families[name])
    if len(sys.argv) > 2:
        dashboard(sys.argv[2], types)
    samples = sum(len(s) for s in families.values())
    print(f"{len(types)} families, {samples} samples")


main()
