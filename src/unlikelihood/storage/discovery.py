"""What there is: detectors, sources, parts of networks and recipes, found by where they are defined."""

import ast
import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

import unlikelihood


@cache
def names(package: str = "") -> dict[str, str]:
    """Return the public names that the stub lists for a sub-package, or for all, and the module of each.

    The stub is read as text, so nothing is imported: that keeps ``--help`` fast.

    Examples
    --------
    >>> names("detectors")["VAE"]
    'unlikelihood.detectors.vae'
    """
    stub = ast.parse(Path(unlikelihood.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"unlikelihood.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}." if package else "")
        for alias in node.names
    }


def public_class(name: str) -> type:
    """Return the public class `name` of the package.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = getattr(importlib.import_module(names()[name]), name) if name in names() else None
    if not inspect.isclass(found):
        raise ValueError(f"{name!r} is not a public class of unlikelihood")
    return found


def subclasses(base: type, package: str) -> dict[str, type]:
    """Return the public, concrete subclasses of `base` in a sub-package, by name."""
    found = {name: getattr(importlib.import_module(module), name) for name, module in sorted(names(package).items())}
    return {
        name: value
        for name, value in found.items()
        if inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)
    }


def recipes() -> dict[str, str]:
    """Return the names of the recipes, as the command line spells them, and the module of each.

    Examples
    --------
    >>> recipes()["mnist-vae"]
    'unlikelihood.recipes.mnist_vae'
    """
    package = importlib.import_module("unlikelihood.recipes")
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    }


def recipe(name: str) -> Any:
    """Return the function `experiment` of the recipe `name`.

    Raises
    ------
    ValueError
        If there is no such recipe, with the names that there are.
    """
    known = recipes()
    if name not in known:
        raise ValueError(f"{name!r} is not one of the recipes: {', '.join(sorted(known))}")
    return importlib.import_module(known[name]).experiment
