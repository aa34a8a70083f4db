"""Bounds on a parameter, written in its type, and the check that every `fit` makes of them."""

import math
import numbers
import types
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`; `low` itself is out where `above` is true, `high` where `below` is."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        high_enough = self.low < value if self.above else self.low <= value
        return high_enough and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low:g}"
        return low if math.isinf(self.high) else f"{low} and {'below' if self.below else 'at most'} {self.high:g}"


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Steps = Annotated[int, Range(1, 10**6)]  # of what is repeated for every score: more would not end
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Share = Annotated[float, Range(0, 1, above=True)]
OpenFraction = Annotated[float, Range(0, 1, above=True, below=True)]


@dataclass(frozen=True)
class Component:
    """A parameter that is an object, such as a likelihood: frozen, and checked against its annotations when made.

    A subclass is a frozen dataclass. Calling it builds, or computes, what it stands for; a model file holds its class
    and its fields.
    """

    def __post_init__(self) -> None:
        check_parameters(self)


def check_parameters(configured: Any) -> None:
    """Raise a ValueError if a parameter of a dataclass does not fit its annotation."""
    hints = get_type_hints(type(configured), include_extras=True)
    for field in fields(configured):
        value, hint = getattr(configured, field.name), hints[field.name]
        if not accepts(hint, value):
            raise ValueError(f"{type(configured).__name__}: {field.name} is {value!r}, expected {in_words(hint)}")


def accepts(hint: Any, value: Any) -> bool:
    """Return whether `value` is one that the annotation `hint` allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [argument for argument in arguments[1:] if isinstance(argument, Range)]
        return accepts(arguments[0], value) and all(value in bound for bound in bounds)
    if origin in (Union, types.UnionType):
        return any(accepts(argument, value) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and len(value) > 0 and all(accepts(arguments[0], v) for v in value)
    if hint is Any:
        return True
    if hint is float:
        return not isinstance(value, bool) and isinstance(value, numbers.Real) and not math.isnan(value)
    if hint is int:
        return not isinstance(value, bool) and isinstance(value, numbers.Integral)
    return isinstance(value, origin or hint)


def in_words(hint: Any) -> str:
    """Return the annotation `hint` in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([in_words(arguments[0]), *map(str, arguments[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, arguments))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is Sequence:
        return f"a list of at least one {in_words(arguments[0])}"
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "None"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
