"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "sknvp"
author = "the sknvp developers"
copyright = "2026, the sknvp developers"
version = release = installed_version("sknvp")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"sknvp {version}"
html_static_path = ["_static"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": r"demo\.py",  # make demo runs it
    "matplotlib_animations": True,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}
