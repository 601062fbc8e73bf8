"""Sphinx configuration."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for modules of this folder

project = "sknvp"
author = "the sknvp developers"
copyright = "2026, the sknvp developers"
version = release = installed_version("sknvp")

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "other_libraries",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
smartquotes = False  # types of parameters are code
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the templates list the methods
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output stay behind

html_theme = "pydata_sphinx_theme"
html_title = "sknvp"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": f"sknvp {version}"},
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"getting_started": [], "install": [], "faq": [], "glossary": [], "about": []}  # nothing below them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sknvp",),
    "ignore_pattern": r"demo\.py",  # make demo runs it
    "within_subsection_order": "gallery_order.ByInterest",
    "matplotlib_animations": True,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "image_scrapers": ("alternative_texts.scraper",),
}

plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False


def setup(app):
    from alternative_texts import describe_thumbnails

    app.connect("doctree-read", describe_thumbnails)
