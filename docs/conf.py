"""Sphinx settings: pages are built from docstrings, and their examples are executed."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # docs.measured and docs.offline_math

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "unlikelihood"
author = "The unlikelihood developers"
release = metadata.version("unlikelihood")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "docs.measured",
    "docs.offline_math",
]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "exclude-members": "build, objectives, score_batch"}
numpydoc_show_class_members = False
smartquotes = False  # of --quick, it would make a dash
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"unlikelihood {release}"
# Every page says of which commit it was built; its day, not that of the build, so that a commit has the same pages.
if shutil.which("git"):
    made = subprocess.run(["git", "log", "-1", "--format=%cs, commit %h"], cwd=sys.path[0], capture_output=True)
    html_last_updated_fmt = made.stdout.decode().strip() or None
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
exclude_patterns = ["_build", "gallery", "generated/detectors", "generated/archive*.rst", "generated/backreferences"]
copyright = "the unlikelihood developers"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("unlikelihood",),
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "capture_repr": (),
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib", "docs.gallery_look.look"),
}
