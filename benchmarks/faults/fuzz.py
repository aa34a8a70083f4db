"""What comes of files that are damaged at random: minutes of it for every reader.

python -m benchmarks.faults.fuzz [--seconds 600] [--readers READER ...] [--numbers N ...]

Each number draws one to four changes of the bytes or, in a text, of its numbers and lines; half of them in the first
256 bytes. What comes of it is judged as `benchmarks.faults` does, and what is bad is listed with its number, which
`--numbers` runs again. A run goes on after the last number that the committed results know of.
"""

import argparse
import itertools
import json
import re
import shutil
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.__main__ import GOOD, Outcome, answers, outcome, warm
from benchmarks.faults.damage import Damage, changed
from benchmarks.faults.readers import Reader, quietly, readers
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent.parent / "results" / "fuzz.json"
HEADER, AT_ONCE, LARGEST = 256, 100, 2**16
NUMBERS = (0, 1, -1, 127, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**53, 2**63 - 1)
REALS = (0.0, -1.0, 1e-45, 3.4e38, 1e308, float("inf"), float("nan"))
WORDS = (
    b"",
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"-inf",
    b"1e-320",
    b"99999999999999999999",
    b"1,5",
    b"0x10",
    b"null",
    b"[]",
)
ODD = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x1a",
    b'"',
    b",",
    b"{",
    b"%n",
    b"../",
    "\u202e".encode(),
    b"\xed\xa0\x80",
)


def place(rng: np.random.Generator, n: int) -> int:
    """Return an index below n, every other time in the header."""
    return int(rng.integers(min(n, HEADER) if rng.random() < 0.5 else n)) if n else 0


def length(rng: np.random.Generator, n: int) -> int:
    """Return a length, mostly short."""
    return min(n, int(2 ** rng.uniform(0, 12)))


def bits(rng: np.random.Generator, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if found else 0):
        found[place(rng, len(found))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def number(rng: np.random.Generator, content: bytes) -> bytes:
    """Write a number over the bytes at a place."""
    form, at = rng.choice(list("bBhHiIqQfd")), place(rng, len(content))
    size = struct.calcsize(f"={form}")
    if form in "fd":
        with np.errstate(over="ignore"):
            packed = np.array(rng.choice(REALS), f"f{size}").tobytes()
    else:
        packed = (int(rng.choice(np.array(NUMBERS, object))) % 256**size).to_bytes(size, "little")
    packed = packed[::-1] if rng.random() < 0.5 else packed
    return content[:at] + packed + content[at + size :]


def lost(rng: np.random.Generator, content: bytes) -> bytes:
    at = place(rng, len(content))
    return content[:at] + content[at + length(rng, len(content)) :]


def doubled(rng: np.random.Generator, content: bytes) -> bytes:
    at, n = place(rng, len(content)), length(rng, len(content))
    return content[: at + n] + content[at:]


def moved(rng: np.random.Generator, content: bytes) -> bytes:
    """Copy some bytes over others."""
    at, to, n = place(rng, len(content)), place(rng, len(content)), length(rng, len(content))
    part = content[at : at + n]
    return content[:to] + part + content[to + len(part) :]


def noise(rng: np.random.Generator, content: bytes) -> bytes:
    at, n = place(rng, len(content)), length(rng, len(content))
    return content[:at] + rng.bytes(n) + content[at + n * int(rng.integers(2)) :]


def cut(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: place(rng, len(content))]


def word(rng: np.random.Generator, content: bytes) -> bytes:
    """Put another word in the place of a number in a text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", content[:LARGEST]))
    if not found:
        return bits(rng, content)
    one = found[int(rng.integers(len(found)))]
    return content[: one.start()] + WORDS[int(rng.integers(len(WORDS)))] + content[one.end() :]


def odd(rng: np.random.Generator, content: bytes) -> bytes:
    at = place(rng, len(content))
    return content[:at] + ODD[int(rng.integers(len(ODD)))] + content[at:]


def lines(rng: np.random.Generator, content: bytes) -> bytes:
    """Take out a line, or put it somewhere else too."""
    rows = content.split(b"\n")
    one = rows[int(rng.integers(len(rows)))] if rng.random() < 0.5 else rows.pop(int(rng.integers(len(rows))))
    if rng.random() < 0.5:
        rows.insert(int(rng.integers(len(rows) + 1)), one)
    return b"\n".join(rows)


ANY: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (bits, number, lost, doubled, moved, noise, cut)
TEXT = (word, word, odd, lines, bits, lost, doubled, cut)


def drawn(reader: int, number: int, content: bytes) -> bytes:
    """Return the content of a file as a number damages it."""
    rng = np.random.default_rng([reader, number])
    ways = TEXT if content[:HEADER].isascii() and b"\0" not in content[:HEADER] else ANY
    for _ in range(int(rng.integers(1, 5))):
        content = ways[int(rng.integers(len(ways)))](rng, content)
    return content


def tried(
    index: int, reader: Reader, numbers: Iterator[int], seconds: float, root: Path
) -> Iterator[tuple[int, Outcome]]:
    """Yield what comes of numbers, a hundred more of them until the seconds are over."""
    started = time.monotonic()
    whole, folder = root / "whole", root / "damaged"
    whole.mkdir()
    reader.write(whole)
    expected = quietly(reader, whole)
    shutil.rmtree(whole / ".cache", ignore_errors=True)

    def one(number: int) -> Outcome:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        harm = partial(changed, partial(drawn, index, number))
        kind, said = outcome(reader, Damage(str(number), harm, "throughout"), folder, expected)
        return Outcome(kind, said.replace(str(folder), "…")[:300])

    while time.monotonic() - started < seconds and (some := list(itertools.islice(numbers, AT_ONCE))):
        yield from zip(some, answers([partial(one, number) for number in some]), strict=True)


def run(index: int, reader: Reader, seconds: float, row: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Return a reader's row of the results, with what came of further numbers for so many seconds."""
    kinds, bad = Counter(row.get("outcomes", {})), dict(row.get("bad", {}))
    first, started = row.get("tried", 0), time.monotonic()
    wanted = iter(numbers) if numbers else itertools.count(first)
    with tempfile.TemporaryDirectory() as root:
        for number, (kind, said) in tried(index, reader, wanted, seconds, Path(root)):
            kinds[kind] += 1
            if kind not in GOOD:
                bad[str(number)] = [kind, said]
                print(f"    {reader.name}, {number}: {kind}: {said}", flush=True)
    taken = row.get("seconds", 0) + round(time.monotonic() - started)
    return {"tried": number + 1, "seconds": taken, "outcomes": dict(kinds), "bad": bad}


def main() -> None:
    """Try numbers, and write the results after each reader."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for each reader")
    parser.add_argument("--readers", nargs="*", default=[], help="all unless given")
    parser.add_argument("--numbers", nargs="*", type=int, default=[], help="run these again; the results stay")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    warm()
    rows = json.loads(asked.out.read_text(encoding="utf-8"))["readers"] if asked.out.exists() else {}
    for index, reader in enumerate(readers()):
        if asked.readers and reader.name not in asked.readers:
            continue
        found = run(index, reader, asked.seconds, {} if asked.numbers else rows.get(reader.name, {}), asked.numbers)
        said = ", ".join(f"{count} {kind}" for kind, count in Counter(found["outcomes"]).most_common())
        print(f"{reader.name:32} {found['tried']} tried: {said}", flush=True)
        if not asked.numbers:
            rows[reader.name] = found
            with replacing(asked.out) as file:
                record = {"provenance": provenance(), "readers": rows}
                file.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
