#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is what vgrant prints with --json as configs/vgrant.schema.json says?

  schema.py KIND <OUTPUT       KIND: list, top, event, lost, doctor: of "$defs"

A document, or one on each line. Stricter than the schema, which lets members be added: one that it does
not name is a mistake here, for it is not documented.
"""
import json
import os
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit("schema: python3-jsonschema is missing: run tools/install-deps check as root.")

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def close(node):
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for value in node.values():
            close(value)
    elif isinstance(node, list):
        for value in node:
            close(value)


def documents(text):
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def main():
    with open(os.path.join(TOP, "configs", "vgrant.schema.json"), encoding="utf-8") as f:
        schema = json.load(f)
    Draft202012Validator.check_schema(schema)
    close(schema["$defs"])
    schema.pop("anyOf")
    found = documents(sys.stdin.read())
    for document in found:
        errors = list(Draft202012Validator({**schema, "$ref": f"#/$defs/{sys.argv[1]}"}).iter_errors(document))
        for error in errors:
            print(f"schema: {error.json_path}: {error.message}")
        if errors:
            sys.exit(1)
    print(f"{len(found)} as {sys.argv[1]}")
    sys.exit(0 if found else 1)


main()
