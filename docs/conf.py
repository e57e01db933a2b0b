"""The site: `make docs`. The sources are the pages of docs/ and the published notebooks, both where they lie.

The source folder is the project's root, so that links between pages, notebooks and figures are the same here and on GitHub.
"""

from pathlib import Path

import mass

ROOT = Path(__file__).parents[1]
SOURCES = {"docs", "notebooks", "CONTRIBUTING.md", "CHANGELOG.md", "RELEASING.md"}

project = "MASS"
author = "The MASS companion's contributors"
copyright = "The MASS companion's contributors, MIT licence"
release = version = mass.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "companion.publishing.site",
]
root_doc = "docs/index"
exclude_patterns = [*sorted(path.name for path in ROOT.iterdir() if path.name not in SOURCES), "notebooks/*.py"]
exclude_patterns += ["**/.ipynb_checkpoints", "docs/_*"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}  # the first: of generated pages
templates_path = [str(ROOT / "docs/_templates")]  # absolute: autosummary looks from the sources, pages from here

# Notebooks show what they showed when they were published.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables and formulas in what cells show
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # no script, nothing from the network

default_role = "py:obj"
add_module_names = False
python_maximum_signature_line_length = 88
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autosummary_generate = True
autosummary_ignore_module_all = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = "MASS: a paper one can run"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_first_page.html"}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

# Links between pages are checked by every build; `make links` asks the network for the others.
linkcheck_timeout = 20
linkcheck_anchors = False
