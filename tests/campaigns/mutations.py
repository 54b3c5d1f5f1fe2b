"""Ways to damage a file: its bytes, its NIfTI header, its JSON, and pickles that would run a program."""

from __future__ import annotations

import copy
import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator
Mutated = tuple[bytes, str]

_NUMBERS = (0, 1, -1, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 348, 540)
_FLOATS = (0.0, -1.0, 1e-30, 1e30, -1e30, float("nan"), float("inf"), 3.4e38)
_FIELDS: tuple[tuple[str, int, str], ...] = (
    *((f"dim[{i}]", 40 + 2 * i, "h") for i in range(8)),
    *((f"pixdim[{i}]", 76 + 4 * i, "f") for i in range(8)),
    *(("sizeof_hdr", 0, "i"), ("datatype", 70, "h"), ("bitpix", 72, "h"), ("vox_offset", 108, "f")),
    *(("scl_slope", 112, "f"), ("scl_inter", 116, "f"), ("xyzt_units", 123, "b"), ("magic", 344, "i")),
    *(("qform_code", 252, "h"), ("sform_code", 254, "h"), ("cal_max", 124, "f"), ("intent_code", 68, "h")),
    *((f"quatern[{i}]", 256 + 4 * i, "f") for i in range(6)),
    *((f"srow[{i}]", 280 + 4 * i, "f") for i in range(12)),
)
"""Fields of a NIfTI-1 header: name, first byte, type."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", " ", "a", "0", "nan", "x" * 5000, "../../x", "/etc/passwd", "a\0b", "\ud800", "日本", "\n", "<b>{{1}}</b>"),
    *([], {}, [[]], [None], [0] * 5, [[1, 2], [3]], {"": {}}, {"a": [{}]}, [1e400], ["WT"], {"WT": "x"}),
)
"""What stands in a JSON where something else is expected."""


def damage_bytes(data: bytes, rng: Random) -> Mutated:
    """Cut, flip, move, repeat, blank, insert, or replace by something else."""
    how = str(
        rng.choice(["cut", "flip", "flips", "move", "repeat", "zeros", "ones", "noise", "insert", "empty", "tail"])
    )
    size = len(data)
    place = int(rng.integers(0, max(size, 1)))
    if rng.random() < 0.5:  # most of what is checked stands near the beginning
        place = int(place * rng.random() ** 3)
    length = int(min(size - place, 1 + rng.geometric(0.02)))
    changed = bytearray(data)
    if how == "cut":
        changed = changed[:place]
    elif how in ("flip", "flips"):
        for at in [place, *rng.integers(0, max(size, 1), 0 if how == "flip" else 8).tolist()]:
            if at < size:
                changed[at] ^= 1 << int(rng.integers(0, 8))
    elif how == "move":
        piece = bytes(changed[place : place + length])
        del changed[place : place + length]
        to = int(rng.integers(0, len(changed) + 1))
        changed[to:to] = piece
    elif how == "repeat":
        changed[place:place] = bytes(changed[place : place + length]) * int(rng.integers(1, 50))
    elif how in ("zeros", "ones", "noise"):
        fill = {"zeros": b"\0" * length, "ones": b"\xff" * length, "noise": rng.bytes(length)}[how]
        changed[place : place + length] = fill
    elif how == "insert":
        changed[place:place] = rng.bytes(length)
    elif how == "empty":
        changed = bytearray(rng.choice([b"", b"\0", b"PK\x03\x04", b"\x1f\x8b", b"{", b"[]", b"null", b"\xef\xbb\xbf"]))
    else:
        changed += rng.bytes(length)
    return bytes(changed), f"{how} at {place}, {length}"


def damage_nifti(data: bytes, rng: Random) -> Mutated:
    """A NIfTI file (unpacked) with fields at their extremes, or damaged bytes."""
    if rng.random() < 0.35:
        return damage_bytes(data, rng)
    changed, how = bytearray(data), []
    for _ in range(int(rng.integers(1, 4))):
        name, at, kind = _FIELDS[int(rng.integers(0, len(_FIELDS)))]
        limit = {"b": 2**7 - 1, "h": 2**15 - 1, "i": 2**31 - 1}.get(kind)
        drawn = rng.choice(_FLOATS) if limit is None else rng.choice([*_NUMBERS, rng.integers(-300, 3000)])
        value = float(drawn) if limit is None else max(-limit - 1, min(limit, int(drawn)))
        struct.pack_into(f"<{kind}", changed, at, value)
        how.append(f"{name} = {value}")
    return bytes(changed), ", ".join(how)


def damage_gzip(data: bytes, rng: Random, inner: Callable[[bytes, Random], Mutated] = damage_nifti) -> Mutated:
    """A gzipped file: what is in it is damaged, or its packed bytes; or it is a bomb."""
    drawn = rng.random()
    if drawn < 0.5:
        changed, how = inner(gzip.decompress(data), rng)
        return gzip.compress(changed, 1, mtime=0), how
    if drawn < 0.55:  # a small file that unpacks to 200 MB of zeros behind its voxels
        return gzip.compress(gzip.decompress(data) + bytes(200_000_000), 1, mtime=0), "bomb"
    changed, how = damage_bytes(data, rng)
    return changed, f"packed: {how}"


def damage_json(data: bytes, rng: Random) -> Mutated:
    """A JSON with values, keys and levels changed, or damaged bytes."""
    drawn = rng.random()
    if drawn < 0.15:
        return damage_bytes(data, rng)
    if drawn < 0.2:
        depth = int(rng.choice([50, 900, 5000, 100000]))
        words = rng.choice(['{"a":', "["])
        return (words * depth).encode() + b"1" + (("}" if words[0] == "{" else "]") * depth).encode(), f"{depth} deep"
    content, how = copy.deepcopy(json.loads(data)), []
    for _ in range(int(rng.integers(1, 4))):
        holders = list(_holders(content))
        if not holders:
            break
        holder, key = holders[int(rng.integers(0, len(holders)))]
        how.append(_change(holder, key, rng))
    if rng.random() < 0.03:
        content = VALUES[int(rng.integers(0, len(VALUES)))]
        how.append("all")
    text = json.dumps(content, ensure_ascii=bool(rng.random() < 0.5))
    return text.encode("utf-8", "surrogatepass"), "; ".join(how)


def _holders(value: Any) -> Any:
    """Every place in a JSON: a dictionary or list, and a key in it."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _holders(value[key])


def _change(holder: Any, key: Any, rng: Random) -> str:
    how = rng.choice(["value", "value", "value", "drop", "rename", "wrap", "swap", "double"])
    if how == "drop":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[str(rng.choice(["x", "", f"{key}_", str(key).upper(), "9"]))] = holder.pop(key)
    elif how == "wrap":
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"value": holder[key]}
    elif how == "swap":
        other = list(holder)[int(rng.integers(0, len(holder)))] if isinstance(holder, dict) else 0
        holder[key], holder[other] = holder[other], holder[key]
    elif how == "double" and isinstance(holder[key], (int, float, str, list)) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * 2
    else:
        holder[key] = copy.deepcopy(VALUES[int(rng.integers(0, len(VALUES)))])
    return f"{how} {key}"


def damage_lines(data: bytes, rng: Random) -> Mutated:
    """A file of lines: lines lost, twice, in another order, torn; cells of other kinds; damaged bytes."""
    lines = data.splitlines(keepends=True)
    drawn, at = rng.random(), int(rng.integers(0, len(lines)))
    if drawn < 0.3:
        return damage_bytes(data, rng)
    if drawn < 0.45:
        rng.shuffle(lines)
        return b"".join(lines[: int(rng.integers(0, len(lines) + 1))]), "lines shuffled and lost"
    if lines[at].startswith(b"{"):
        lines[at], how = damage_json(lines[at], rng)
        lines[at] += b"\n"
    else:
        cells = lines[at].rstrip(b"\n").split(b",")
        value = VALUES[int(rng.integers(0, len(VALUES)))]
        place, text = int(rng.integers(0, len(cells))), str(value).encode("utf-8", "surrogatepass")
        cells[place : place + 1] = [text] * int(rng.integers(0, 3))
        lines[at], how = b",".join(cells) + b"\n", f"cell {place}"
    return b"".join(lines), f"line {at}: {how}"


class _Program:
    """Unpickled by a careless reader, it writes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


def poison(data: bytes, rng: Random, canary: Path) -> Mutated:
    """A checkpoint whose pickle would write the canary: by itself, as one of its values, or in torch's archive."""
    program = _Program(canary)
    how = str(rng.choice(["plain", "eval", "value", "archive", "globals"]))
    if how == "plain":
        return pickle.dumps(program, protocol=int(rng.integers(0, 5))), how
    if how == "eval":
        return f"c__builtin__\neval\n(Vopen({str(canary)!r}, 'w')\ntR.".encode(), how
    if how == "value":
        return pickle.dumps({"network_weights": program, "init_args": {}, "config": program}, protocol=2), how
    name = "torch.load" if how == "globals" else "os.system"
    module, _, function = name.rpartition(".")
    argument = str(canary) if how == "globals" else f"touch {canary}"
    pickled = f"c{module}\n{function}\n(V{argument}\ntR.".encode() if how == "globals" else pickle.dumps(program, 2)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.namelist():
            new.writestr(item, pickled if item.endswith("data.pkl") else old.read(item))
    return out.getvalue(), how


def damage_archive(data: bytes, rng: Random) -> Mutated:
    """A zip archive (torch, numpy): a member damaged, lost or renamed, or its packed bytes."""
    if rng.random() < 0.5:
        return damage_bytes(data, rng)
    out, how = io.BytesIO(), ""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = "data.pkl" if rng.random() < 0.5 else names[int(rng.integers(0, len(names)))]
        for name in names:
            content = old.read(name)
            if name.endswith(chosen):
                way = str(rng.choice(["bytes", "bytes", "bytes", "lost", "renamed", "empty"]))
                content, how = damage_bytes(content, rng) if way == "bytes" else (content, way)
                how = f"{name}: {how}"
                if way == "lost":
                    continue
                name, content = (name + "x" if way == "renamed" else name), (b"" if way == "empty" else content)
            new.writestr(name, content)
    return out.getvalue(), how


def damage_safetensors(data: bytes, rng: Random) -> Mutated:
    """A safetensors file: its JSON header, the length of that, or its bytes."""
    (length,) = struct.unpack("<Q", data[:8])
    drawn = rng.random()
    if drawn < 0.4:
        return damage_bytes(data, rng)
    if drawn < 0.5:
        claimed = int(rng.choice([0, 1, length - 1, length + 8, 2**31, 2**40, 2**63 - 1]))
        return struct.pack("<Q", claimed) + data[8:], f"header of {claimed}"
    header, how = damage_json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :], how
