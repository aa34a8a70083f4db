"""Sphinx settings: pages are built from docstrings, and their examples are executed."""

from importlib import metadata

project = "unlikelihood"
author = "The unlikelihood developers"
release = metadata.version("unlikelihood")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_mock_imports: list[str] = []
numpydoc_show_class_members = False
html_theme = "furo"
html_title = f"unlikelihood {release}"
exclude_patterns = ["_build"]
copyright = "the unlikelihood developers"
