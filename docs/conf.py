"""Sphinx's settings for the site: `make docs` builds it into docs/_build/html.

DOCS_NOTEBOOKS=1 runs the tutorials; without it they are shown without outputs.
"""

import os
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
_setup = ConfigParser()
_setup.read(ROOT / "setup.cfg")

project = "lit-inpaint"
author = "the authors of lit-inpaint"
copyright = "2026, the authors of lit-inpaint"
version = release = _setup["metadata"]["version"]

extensions = [
    "docs.extension",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "extension", "**.ipynb_checkpoints"]
nitpicky = False
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
os.environ["JUPYTER_PATH"] = str(ROOT / "docs" / "_jupyter")  # a kernel of this environment, whatever else is installed
nb_execution_mode = "force" if os.environ.get("DOCS_NOTEBOOKS") else "off"
nb_execution_in_temp = True
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "pydata_sphinx_theme"
html_title = f"lit-inpaint {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "lit-inpaint"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
