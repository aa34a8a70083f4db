"""What comes of damaged files: every reader x every kind of damage, each in a process of its own.

python -m benchmarks.faults [READER ...]

The rows of the readers that are named take the place of those in the committed results.

Every cell writes a small whole example, damages one file of it, and reads it in a process that is forked for it and may
take 10 seconds and 1 GiB more than it has. Where a reader leaves out what cannot be read, it reads once more with whole
files beside it. What comes of it is one of:

right        what is read is what was written
error        one line of a ValueError or OSError, which names the file
skip         such an error, and what is whole is read beside it with a warning that names the file
unknowable   other values, of a kind that nothing in the file contradicts: its format has no checksum
silent       other values, or other files left out, without a word
traceback    another type of exception; or an error that does not name the file, or not in one line
hang, memory, crash
"""

import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from benchmarks.faults.damage import Damage, generic
from benchmarks.faults.formats import special
from benchmarks.faults.readers import OTHERS, Facts, Reader, quietly, readers
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent.parent / "results" / "faults.json"
SECONDS, MEMORY = 10, 2**30
LONGEST = 1000  # characters of a message
LISTS = ("cannot be read\n", "can be read\n", "\nline ")  # what a list of failures, a line each, begins with
GOOD = ("right", "error", "skip", "unknowable")
PART = {"all": (), "voxels": ("header", "throughout"), "nothing": ("header", "middle", "end", "throughout")}


class Outcome(NamedTuple):
    """What came of a cell, and what was said."""

    kind: str
    said: str = ""


def outcome(reader: Reader, damage: Damage, folder: Path, expected: Facts) -> Outcome:
    """Damage a whole example in a folder, read it, and judge what comes of it."""
    victim = folder / reader.victim
    damage.harm(victim)
    try:
        found = quietly(reader, folder)
    except Exception as error:
        return _judged(error, reader, victim) if reader.rest is None else _skipped(error, reader, victim, folder)
    if _same(found, expected) or damage.where in ("meant", f"meant for {victim.suffix}"):
        return Outcome("right")
    changed = ", ".join(name for name in expected if not _same({name: found[name]}, {name: expected[name]}))
    return Outcome("unknowable" if damage.where in PART[reader.checksum] and damage.where else "silent", changed)


def _same(found: Facts, expected: Facts) -> bool:
    return all(
        (a is None) == (b is None) and (a is None or (np.shape(a) == np.shape(b) and bool(np.all(a == b))))
        for a, b in ((found[name], expected[name]) for name in expected)
    )


def _judged(error: Exception, reader: Reader, victim: Path) -> Outcome:
    said = str(error)
    names = (victim.name, *(f"{victim.parent.name}{end}" for end in (",", "/", ":", "'")))
    if isinstance(error, MemoryError) or "MemoryError" in said:
        return Outcome("memory", said[-300:])
    if not isinstance(error, (ValueError, OSError)) or isinstance(error, UnicodeError):
        return Outcome("traceback", f"{type(error).__name__}: {said}")
    if not any(name in said for name in names):
        return Outcome("traceback", f"names no file: {type(error).__name__}: {said}")
    if len(said) > LONGEST or ("\n" in said and not any(listed in said for listed in LISTS)):
        return Outcome("traceback", f"not one line: {said[:LONGEST]}")
    return Outcome("error", said)


def _skipped(error: Exception, reader: Reader, victim: Path, folder: Path) -> Outcome:
    """Judge an error, and what is read without the damaged file."""
    judged = _judged(error, reader, victim)
    if judged.kind != "error" or reader.rest is None:
        return judged
    whole = len([one for one in (folder / OTHERS).iterdir() if one.suffix not in (".raw", ".zraw", ".dcm")]) or 1
    whole = len({one.stem for one in (folder / OTHERS).iterdir()}) if reader.victim.endswith("0.dcm") else whole
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            found = reader.rest(folder)
    except Exception as other:
        return Outcome("traceback", f"not skipped: {type(other).__name__}: {other}")
    told = [str(one.message) for one in heard]
    if len(found) != whole:
        return Outcome("silent", f"{len(found)} of {whole} others are read")
    if not found.left_out and not any("skipped" in one for one in told):
        return judged if _nothing_there(victim) else Outcome("silent", f"left out without a warning: {judged.said}")
    return Outcome("skip", judged.said)


def _nothing_there(victim: Path) -> bool:
    return not os.path.lexists(victim) or victim.is_dir()


def answers(work: Sequence[Callable[[], Outcome]]) -> Iterator[Outcome]:
    """Yield what comes of each function in a process of limited memory; another one goes on after one that failed."""
    done = 0
    while done < len(work):
        ear, mouth = os.pipe()
        child = os.fork()
        if not child:
            os.close(ear)
            _answer(work[done:], mouth)
        os.close(mouth)
        with os.fdopen(ear, "rb", buffering=0) as pipe:
            while done < len(work):
                said = _heard(pipe, child)
                yield said
                done += 1
                if said.kind in ("hang", "crash"):
                    break
        os.kill(child, signal.SIGKILL)  # ours, and not waited for yet
        os.waitpid(child, 0)


def _answer(work: Sequence[Callable[[], Outcome]], mouth: int) -> NoReturn:
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    status = Path("/proc/self/status").read_text()
    held = int(status.split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for one in work:
        try:
            said = one()
        except BaseException as error:
            said = Outcome("traceback", f"{type(error).__name__}: {error}")
        content = json.dumps(said).encode()
        os.write(mouth, len(content).to_bytes(4, "little") + content)
    time.sleep(SECONDS)
    os._exit(0)


def _heard(pipe: Any, child: int) -> Outcome:
    """Return the next outcome that a process tells."""
    if not select.select([pipe], [], [], SECONDS)[0]:
        return Outcome("hang")
    head = pipe.read(4)
    if len(head) < 4:
        return Outcome("crash", f"status {os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT).si_status}")
    content, length = b"", int.from_bytes(head, "little")
    while len(content) < length:
        content += pipe.read(length - len(content))
    return Outcome(*json.loads(content))


def cells(reader: Reader, root: Path) -> dict[str, Outcome]:
    """Return what comes of every kind of damage to the file of a reader."""
    whole = root / "whole"
    whole.mkdir()
    reader.write(whole)
    expected = quietly(reader, whole)
    shutil.rmtree(whole / ".cache", ignore_errors=True)
    damages = [*generic(), *special(reader.kinds, whole / reader.victim)]

    def one(damage: Damage) -> Outcome:
        folder = root / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        kind, said = outcome(reader, damage, folder, expected)
        return Outcome(kind, said.replace(str(folder), "…"))

    told = answers([partial(one, damage) for damage in damages])
    return {damage.name: said for damage, said in zip(damages, told, strict=True)}


def warm() -> None:
    """Import what readers use before processes are forked, none of which should pay for it again."""
    with tempfile.TemporaryDirectory() as root:
        for number, reader in enumerate(readers()):
            place = Path(root) / str(number)
            place.mkdir()
            reader.write(place)
            quietly(reader, place)
            if reader.rest is not None:
                reader.rest(place)
    gc.freeze()


def main(wanted: list[str]) -> None:
    """Run the cells, and write the table of all readers."""
    warm()
    table = {}
    for reader in readers():
        if wanted and reader.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as root:
            table[reader.name] = cells(reader, Path(root))
        counts = Counter(found.kind for found in table[reader.name].values())
        print(f"{reader.name:32}", ", ".join(f"{n} {kind}" for kind, n in counts.most_common()), flush=True)
        for name, found in table[reader.name].items():
            if found.kind not in GOOD:
                print(f"    {found.kind}: {name}: {found.said[:300]}", flush=True)
    write(readable(table))


def readable(table: Mapping[str, Mapping[str, Outcome]]) -> dict[str, Any]:
    """Return of every reader what its format is checked by, and which kinds of damage came to what."""
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["readers"] if RESULTS.exists() else {}
    rows: dict[str, Any] = {}
    for reader in readers():
        if reader.name in table:
            outcomes: dict[str, list[str]] = {}
            for damage, found in table[reader.name].items():
                outcomes.setdefault(found.kind, []).append(damage)
            rows[reader.name] = {"checksum": reader.checksum, "instead": reader.instead, "outcomes": outcomes}
        elif reader.name in known:  # and was not asked for
            rows[reader.name] = known[reader.name]
    return rows


def write(rows: Mapping[str, Any]) -> None:
    """Write the record, a line for each reader, which is read where the outcome of a kind of damage changes."""
    total: Counter[str] = Counter()
    for row in rows.values():
        total.update({kind: len(damages) for kind, damages in row["outcomes"].items()})
    print(f"{total.total()} cells:", ", ".join(f"{n} {kind}" for kind, n in total.most_common()))
    record = {"cells": total.total(), "outcomes": dict(total), "provenance": provenance(), "readers": {}}
    head = json.dumps(record, indent=1).removesuffix("{}\n}")
    lines = [f"{json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in rows.items()]
    with replacing(RESULTS) as file:
        file.write_text(head + "{\n" + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
