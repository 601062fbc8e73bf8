"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "sknvp"
author = "the sknvp developers"
copyright = "2026, the sknvp developers"
version = release = installed_version("sknvp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"sknvp {version}"
html_static_path = ["_static"]
