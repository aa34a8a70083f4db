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
    "matplotlib.sphinxext.plot_directive",
]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_mock_imports: list[str] = []
numpydoc_show_class_members = False
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("svg", 100)]
html_theme = "furo"
html_title = f"unlikelihood {release}"
exclude_patterns = ["_build"]
