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
def names(package: str) -> dict[str, str]:
    """Return the public names that the stub lists for a sub-package or module, and the module of each.

    The stub is read as text, so nothing is imported: that keeps ``--help`` fast.

    Parameters
    ----------
    package : str
        ``detectors``, ``data`` or ``nn``, or a module such as ``conformal``.

    Examples
    --------
    >>> names("detectors")["VAE"]
    'unlikelihood.detectors.vae'
    """
    stub = ast.parse(Path(unlikelihood.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"unlikelihood.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}.")
        for alias in node.names
    }


def find(name: str, package: str) -> Any:
    """Return the public object `name` of a sub-package.

    Raises
    ------
    ValueError
        If there is none, with the names that there are.
    """
    known = names(package)
    if name not in known:
        raise ValueError(f"{name!r} is not one of the {package}: {', '.join(sorted(known))}")
    return getattr(importlib.import_module(known[name]), name)


def subclasses(base: type, package: str) -> dict[str, type]:
    """Return the public, concrete subclasses of `base` in a sub-package, by name."""
    found = {name: find(name, package) for name in sorted(names(package))}
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
