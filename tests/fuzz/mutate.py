"""Damage to files, the same for the same generator: bytes, JSON, CSV, safetensors."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]

# What lies in a file by mistake.
FOREIGN = (
    b"",
    b"\n",
    b"\x00" * 64,
    b"null",
    b"[]",
    b"{}",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
    b"\x89PNG\r\n\x1a\n" + b"\x00" * 32,
    b"PK\x03\x04" + b"\x00" * 32,
    b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
    b"\x1f\x8b\x08\x00" + b"\x00" * 32,
    b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n",
)
DEPTH = 20_000
# Values that do not belong where they are put, of every type of JSON.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0",
    "nan",
    "None",
    "a" * 10_000,
    "..",
    "/etc/passwd",
    "a\nb",
    "\x00",
    "\ud800",
    "ß∞",
    [],
    [0],
    [[]],
    [None],
    {},
    {"": 0},
    {"a": {"b": []}},
)


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return content with bits flipped, cut off, left out, doubled, overwritten or replaced."""
    if not content:
        return rng.choice(FOREIGN[1:])
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    near = min(len(content), a + rng.choice((1, 2, 4, 8, 64)))
    kind = rng.randrange(8)
    if kind < 2:
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
            changed[_position(len(changed), rng)] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 2:
        return content[:a]
    if kind == 3:
        return content[:a] + content[near:]
    if kind == 4:
        return content[:a] + content[a:b] + content[a:]
    if kind == 5:
        return content[:a] + rng.choice((b"\x00", b"\xff", b" ")) * (near - a) + content[near:]
    if kind == 6:
        return content[:a] + rng.randbytes(rng.choice((1, 4, 64))) + content[a:]
    return rng.choice((*FOREIGN, b"\xef\xbb\xbf" + content, content + rng.choice(FOREIGN)))


def _position(length: int, rng: random.Random) -> int:
    """Return a place in a file, often near its begin, where headers are."""
    return rng.randrange(length if rng.random() < 0.5 else min(length, 64))


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON text with an edit of its tree, or of the text."""
    if rng.random() < 0.15:
        return damaged_bytes(content, rng)
    if rng.random() < 0.1:
        return _damaged_json_text(content, rng)
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = edited(value, rng)
    return json.dumps(value, indent=rng.choice((None, 2))).encode()


def edited(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one edit somewhere in its tree; the value may be changed."""
    places = list(_places(value))
    if not places or rng.random() < 0.03:
        return _strange(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice((str(key) + "_", "", "unknown", str(key).upper()))] = holder.pop(key)
    elif kind == 1:
        holder.insert(key, holder[key])
    elif kind == 2:
        # The same type, another value.
        holder[key] = _other(holder[key], rng)
    elif kind == 3:
        # What another place holds.
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name]))
    elif kind == 4:
        holder[key] = rng.choice(([holder[key]], {"value": holder[key]}, str(holder[key])))
    else:
        holder[key] = _strange(rng)
    return value


def _strange(rng: random.Random) -> Any:
    # Later edits may change what is put in.
    return copy.deepcopy(rng.choice(STRANGE))


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _other(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, value * 10**9, 0))
    if isinstance(value, float):
        return rng.choice((value * 1.01, -value, value + 1, value * 1e300, 0.0, float("nan")))
    if isinstance(value, str):
        return rng.choice((value[1:], value + "x", value.upper(), value[::-1], ""))
    if isinstance(value, list):
        return rng.choice((value[:-1], value[::-1], value * 2, []))
    if isinstance(value, dict):
        return dict(list(value.items())[1:])
    return 0


def _damaged_json_text(content: bytes, rng: random.Random) -> bytes:
    text = content.decode()
    begin = text.find("{") + 1
    return rng.choice(
        (
            ("[" * DEPTH + "]" * DEPTH).encode(),
            (text[:begin] + '"deep": ' + "[" * DEPTH + "]" * DEPTH + "," + text[begin:]).encode(),
            (text[:begin] + _first_pair(text) + "," + text[begin:]).encode(),
            text.encode("utf-16"),
            b"\xef\xbb\xbf" + content,
            text.replace(",", ",,", 1).encode(),
            text.replace('"', "'").encode(),
            (text[:begin] + "// a comment\n" + text[begin:]).encode(),
            content + content,
            text[:begin].encode() + b'"\xff\xfe": 1,' + text[begin:].encode(),
        )
    )


def _first_pair(text: str) -> str:
    """Return a pair whose key the text has already."""
    value = json.loads(text)
    return f"{json.dumps(next(iter(value), ''))}: 0" if isinstance(value, dict) else "0"


def damaged_csv(content: bytes, rng: random.Random) -> bytes:
    """Return a CSV text with other cells, rows or columns, or damaged as text."""
    if rng.random() < 0.2:
        return damaged_bytes(content, rng)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(rng.choice((1, 1, 2))):
        _edit_rows(rows, rng)
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=rng.choice(("\n", "\r\n"))).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _edit_rows(rows: list[list[str]], rng: random.Random) -> None:
    if not rows or not all(rows):
        rows.append(["", "1"])
        return
    i = rng.randrange(len(rows))
    j = rng.randrange(len(rows[i]))
    kind = rng.randrange(9)
    if kind == 0:
        del rows[i]
    elif kind == 1:
        rows.insert(i, list(rows[i]))
    elif kind == 2:
        rows[i].append(rng.choice(("", "1", "x")))
    elif kind == 3:
        del rows[i][j:]
    elif kind == 4:
        for row in rows:
            del row[j : j + 1]
    elif kind == 5:
        rows[0][j % len(rows[0])] = rng.choice(("", "unknown", rows[0][0], " " + rows[0][0]))
    elif kind == 6:
        rng.shuffle(rows)
    else:
        strange = (str(v) for v in STRANGE if not isinstance(v, int) or abs(v) < 10**100)
        rows[i][j] = rng.choice((*strange, "1e5", "1,5", '"', "0x10", "1_000", "٣", "+1", " 1"))


def take_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON header of a safetensors file and the bytes behind it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    """Return a safetensors file, padded as the format asks for."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def damaged_safetensors(reseal: Callable[[bytes], bytes] | None = None) -> Damage:
    """Return damage to one of the project's safetensors files.

    Parameters
    ----------
    reseal
        Computes a file's digest anew, as somebody would who means to deceive; half of the files
        whose content was edited are given a right digest. May raise where that is impossible.
    """

    def damage(content: bytes, rng: random.Random) -> bytes:
        kind = rng.randrange(10)
        if kind < 2:
            return damaged_bytes(content, rng)
        header, data = take_apart(content)
        if kind < 7:
            text = header["__metadata__"]["prune3d"].encode()
            own = damaged_json(text, rng).decode("utf-8", "replace")
            header["__metadata__"]["prune3d"] = own
        elif kind == 7:
            header = edited(header, rng)
        elif kind == 8:
            _edit_tensors(header, rng)
        else:
            data = damaged_bytes(data, rng)
        changed = put_together(header, data)
        if reseal is None or rng.random() < 0.5:
            return changed
        try:
            return reseal(changed)
        except Exception:
            return changed

    return damage


def _edit_tensors(header: dict[str, Any], rng: random.Random) -> None:
    """Rename, drop, swap, reshape or retype tensors, so that the file stays a whole one."""
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return
    one, two = rng.choice(names), rng.choice(names)
    kind = rng.randrange(6)
    if kind == 0:
        header[rng.choice((one + "_", "", "a.b.c", "."))] = header.pop(one)
    elif kind == 1:
        header[one], header[two] = header[two], header[one]
    elif kind == 2:
        header[one]["shape"] = header[one]["shape"][::-1]
    elif kind == 3:
        header[one]["shape"] = [*header[one]["shape"], 1]
    elif kind == 4:
        same = {"F32": ("I32", "U32"), "I64": ("F64", "U64"), "U8": ("I8", "BOOL")}
        header[one]["dtype"] = rng.choice(same.get(header[one]["dtype"], ("F16",)))
    else:
        # As if it were not there: its bytes become an unknown tensor's.
        header["padding"] = header.pop(one)
