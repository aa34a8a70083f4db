"""Model files: a folder with `detector.json` and `weights.safetensors`, from which nothing is ever unpickled.

Beside them is a model card, which nothing reads.
"""

import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import clone

from unlikelihood.parameters import Component, check_parameters
from unlikelihood.storage.discovery import public_class
from unlikelihood.storage.files import recover, replacing
from unlikelihood.storage.reading import Unreadable, naming
from unlikelihood.storage.records import canonical, seal, sha256
from unlikelihood.storage.signatures import refuse_untrusted
from unlikelihood.storage.upgrades import upgraded

FORMAT = 2  # all earlier ones are read too, which tests/golden holds
WEIGHTS = "weights.safetensors"
ANYWHERE = "device"  # what `load` takes for every model, with a network or without
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool"} | {
    f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}
POLARITY = "higher = more normal"


class ModelFileError(Unreadable):
    """A model folder is missing, broken, changed or of an unknown kind."""


@runtime_checkable
class Storable(Protocol):
    """What a model folder can hold."""

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments that decide what is fitted."""

    def state(self) -> dict[str, Any]:
        """Return what was fitted: arrays, plain values, and others that are storable."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave, from a file."""


def write(stored: Storable, path: str | os.PathLike[str], card: str) -> Path:
    """Write a fitted detector and its model card to the folder `path`, all or nothing, in place of what is there."""
    arrays: dict[str, np.ndarray] = {}
    described = encode(stored, "", arrays, {})
    with replacing(path) as folder:
        folder.mkdir()
        try:
            save_file(arrays, folder / WEIGHTS)
        except SafetensorError as error:  # a full disk, for example
            raise OSError(f"{Path(path) / WEIGHTS} cannot be written: {error}") from error
        record = {
            "format": FORMAT,
            "polarity": POLARITY,
            "versions": {name: version(name) for name in ("unlikelihood", "torch", "numpy", "scikit-learn")}
            | {"python": platform.python_version()},
            "weights": digest(folder / WEIGHTS),
            "detector": described,
        }
        (folder / "detector.json").write_text(json.dumps(seal(record), indent=1), encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(path)


def read(path: str | os.PathLike[str], **runtime: Any) -> Storable:
    """Return what `write` wrote to the folder `path`, with the parameters in `runtime` changed.

    Raises
    ------
    ModelFileError
        If the folder is incomplete, a byte of it has changed, its format, class, parameters or shapes are not known
        here, or no part of the model has a parameter of `runtime`. Nothing has been allocated by then.
    """
    folder = Path(path)
    while True:
        before = _number(folder)
        try:
            record, arrays = contents(folder, runtime)
            break
        except ModelFileError:
            # Another process may be replacing the folder, or may have been killed when it was.
            recover(folder)
            time.sleep(0.05)
            if _number(folder) == before:
                raise
    try:
        return decode(record["detector"], arrays, {}, runtime)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelFileError(f"{folder} cannot be loaded: {error}") from error


def contents(folder: Path, runtime: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the record and the arrays of a model folder, checked."""
    for name in ("detector.json", WEIGHTS):
        if not (folder / name).exists():
            raise ModelFileError(f"{folder} is not a model folder: {name} is missing")
    with naming(folder / WEIGHTS, "weights", ModelFileError):
        weights = digest(folder / WEIGHTS)
    with naming(folder / "detector.json", "the record of a model, it is not JSON", ModelFileError):
        content = (folder / "detector.json").read_bytes()
        record = json.loads(content)
        check_sums(folder, record, weights)
    refuse_untrusted(folder, content)
    try:
        record["detector"] = upgraded(record["detector"], record["format"])
        with safe_open(folder / WEIGHTS, "numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            kinds = {name: (DTYPES.get(part.get_dtype(), ""), part.get_shape()) for name, part in parts.items()}
            check(record["detector"], kinds, set(runtime))
            check_runtime(record["detector"], runtime)
            arrays = {name: file.get_tensor(name) for name in parts}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{folder} cannot be loaded: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFileError(f"{folder} cannot be loaded: array {name!r} holds values that are not finite")
    return record, arrays


def check_sums(folder: Path, record: Any, weights: str) -> None:
    """Raise if a record is of another format, or it or its weights are not those that were written."""
    found = record.get("format") if isinstance(record, dict) else record
    if found not in range(1, FORMAT + 1):
        raise ModelFileError(f"{folder}/detector.json has format {found!r}, expected 1 to {FORMAT}")
    written = {name: value for name, value in record.items() if name != "checksum"}
    for file, kept, found in (
        ("detector.json", record.get("checksum"), sha256(canonical(written))),
        (WEIGHTS, record.get("weights"), weights),
    ):
        if kept != found:
            raise ModelFileError(f"{folder}/{file} was changed after it was written: its checksum does not fit")


def check_runtime(record: Any, runtime: Mapping[str, Any]) -> None:
    """Raise if no detector in `record` has a parameter of `runtime`."""
    known = sorted({ANYWHERE, *(name for cls in classes(record) for name in inspect.signature(cls).parameters)})
    for name in runtime:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ValueError(
                f"no part of this {record['$detector']} has a parameter {name}"
                + (f": did you mean {near[0]}?" if near else f", expected one of {', '.join(known)}")
            )


def classes(record: Any) -> Iterator[type]:
    """Yield the classes of the detectors in `record`."""
    if isinstance(record, (list, dict)):
        if isinstance(record, dict) and "$detector" in record:
            yield resolve(record)
        for item in record if isinstance(record, list) else record.values():
            yield from classes(item)


def encode(value: Any, name: str, arrays: dict[str, np.ndarray], seen: dict[int, str]) -> Any:
    """Return `value` as JSON; arrays go to `arrays` and leave their name, shape and dtype behind.

    A detector that occurs twice, as the parameter and as the fitted part of a wrapper, is written once.
    """
    if isinstance(value, np.ndarray):
        arrays[name] = np.asarray(value, order="C")
        return {"$array": name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{name}.{index}", arrays, seen) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: encode(item, f"{name}.{key}", arrays, seen) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in seen:
        return {"$same": seen[id(value)]}
    if isinstance(value, Storable):
        seen[id(value)] = name
        return {
            "$detector": type(value).__name__,
            "name": name,
            "parameters": encode(value.settings(), f"{name}.parameters", arrays, seen),
            "state": encode(value.state(), f"{name}.state" if name else "state", arrays, seen),
        }
    parameters = {key: getattr(value, key) for key in inspect.signature(type(value)).parameters}
    return {"$part": type(value).__name__, "parameters": encode(parameters, name, arrays, seen)}


def configuration(detector: Storable) -> dict[str, Any]:
    """Return a detector's class and parameters as JSON, without what it has learnt.

    A part that was fitted before stays so in a clone: it is described by a hash of its arrays.
    """
    arrays: dict[str, np.ndarray] = {}
    return hashed(encode(clone(detector), "", arrays, {}), arrays)


def hashed(record: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return `record` with the state of every detector replaced by a hash of the arrays in it."""
    if isinstance(record, list):
        return [hashed(item, arrays) for item in record]
    if not isinstance(record, dict):
        return record
    if "$detector" in record:
        place = f"{record['name']}.state" if record["name"] else "state"
        within = [array for name, array in sorted(arrays.items()) if name.startswith(place)]
        state = sha256(b"".join(array.tobytes() for array in within)) if record["state"] else None
        return record | {"parameters": hashed(record["parameters"], arrays), "state": state}
    return {key: hashed(item, arrays) for key, item in record.items()}


def check(record: Any, kinds: Mapping[str, tuple[str, list[int]]], given: set[str]) -> None:
    """Raise if `record` names a class, parameter or array that is not here, or lacks a parameter not in `given`.

    `kinds` are the dtype and the shape of every array in the weights, by its name.
    """
    if isinstance(record, list):
        for item in record:
            check(item, kinds, given)
        return
    if not isinstance(record, dict):
        return
    if "$array" in record:
        name, expected = record["$array"], (record["dtype"], record["shape"])
        if name not in kinds:
            raise ValueError(f"array {name!r} is missing")
        if kinds[name] != expected:
            dtype, shape = kinds[name]
            raise ValueError(f"array {name!r} is {dtype} {shape}, expected {expected[0]} {expected[1]}")
    if "$detector" in record or "$part" in record:
        cls = resolve(record)
        known = inspect.signature(cls).parameters
        unknown = set(record["parameters"]) - set(known)
        if unknown:
            raise ValueError(f"{cls.__name__} has no parameter {', '.join(sorted(unknown))}")
        needed = {name for name, parameter in known.items() if parameter.default is inspect.Parameter.empty}
        if missing := sorted(needed - set(record["parameters"]) - given):
            raise ValueError(
                f"{cls.__name__} needs {missing[0]}, which the file does not hold: load(path, {missing[0]}=...)"
            )
    for item in record.values():
        check(item, kinds, given)


def resolve(record: dict[str, Any]) -> type:
    """Return the class of a detector or of a parameter object in `record`, among the package's public names."""
    kind: type
    name, kind = (record["$detector"], Storable) if "$detector" in record else (record["$part"], Component)
    found = public_class(name)
    if inspect.isabstract(found) or not issubclass(found, kind):
        raise ValueError(f"{name} is not the class of a {'detector' if '$detector' in record else 'parameter'}")
    return found


def decode(record: Any, arrays: dict[str, np.ndarray], seen: dict[str, Any], runtime: dict[str, Any]) -> Any:
    """Return what `encode` wrote; lists come back as tuples."""
    if isinstance(record, list):
        return tuple(decode(item, arrays, seen, runtime) for item in record)
    if not isinstance(record, dict):
        return record
    if "$array" in record:
        return arrays[record["$array"]]
    if "$same" in record:
        return seen[record["$same"]]
    if "$part" in record:
        return resolve(record)(**decode(record["parameters"], arrays, seen, runtime))
    if "$detector" in record:
        cls = resolve(record)
        parameters = decode(record["parameters"], arrays, seen, runtime)
        known = {key: value for key, value in runtime.items() if key in inspect.signature(cls).parameters}
        detector = seen[record["name"]] = cls(**parameters | known)
        check_parameters(detector)
        state = decode(record["state"], arrays, seen, runtime)
        if state:
            detector.set_state(state)
        return detector
    return {key: decode(item, arrays, seen, runtime) for key, item in record.items()}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _number(folder: Path) -> tuple[int, int, int] | None:
    """Return what a folder has another of when it was replaced: numbers of removed folders are given out again."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
