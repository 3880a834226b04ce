"""Validates what `rstun status --json` printed, a line each on standard input, against the schema in argv[1].

A schema that allows anything would be satisfied too. So each document is spoilt in every way that its form has,
one at a time, and must not be valid any more; and each field of the schema has to be in one of the documents.
"""

import copy
import json
import sys

from jsonschema import Draft202012Validator

# May be null, or have a value, at any time.
OPTIONAL = {"not_ready", "last_error"}


def at(document, path):
    for key in path:
        document = document[key]
    return document


def places(value, path=()):
    """All paths in a document."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from places(item, (*path, n))


def field(path):
    """A path without the numbers of items."""
    return tuple(key for key in path if isinstance(key, str))


def spoilt(document):
    """The document in each way in which it is wrong, and what was done to it."""
    known = set()
    for path in places(document):
        value = at(document, path)
        if (kind := (field(path), len(path), type(value))) in known:
            continue
        known.add(kind)
        if path:
            wrong = [{}, "", -1]
            if value is not None and path[-1] not in OPTIONAL:
                wrong.append(None)
            for other in wrong:
                copied = copy.deepcopy(document)
                at(copied, path[:-1])[path[-1]] = other
                yield copied, f"{path} is {other!r}"
        if path and isinstance(path[-1], str):
            copied = copy.deepcopy(document)
            del at(copied, path[:-1])[path[-1]]
            yield copied, f"{path} is missing"
        if isinstance(value, dict):
            copied = copy.deepcopy(document)
            at(copied, path)["surprise"] = 0
            yield copied, f"{path} has one more"


def fields(root, schema, path=()):
    """All paths to fields that a schema has."""
    if "$ref" in schema:
        yield from fields(root, at(root, schema["$ref"].removeprefix("#/").split("/")), path)
    for other in schema.get("oneOf", []):
        yield from fields(root, other, path)
    if "items" in schema:
        yield from fields(root, schema["items"], path)
    for name, part in schema.get("properties", {}).items():
        yield (*path, name)
        yield from fields(root, part, (*path, name))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    seen, wrong, tried = set(), [], 0
    for line in sys.stdin:
        document = json.loads(line)
        wrong += [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]
        seen.update(map(field, places(document)))
        for other, how in spoilt(document):
            tried += 1
            if validator.is_valid(other):
                wrong.append(f"still valid when {how}")
    wrong += [f"never seen: {path}" for path in fields(schema, schema) if path not in seen]
    print("\n".join(wrong) or f"valid; {tried} spoilt ones are not")
    sys.exit(bool(wrong))


main()
