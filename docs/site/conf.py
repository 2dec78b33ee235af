"""The documents as a site with the layout of the repository, so that links work in both.

`make docs` builds it; a link or an anchor that leads nowhere is an error. The pages on the library
are made of its docstrings, one for each room.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

import library_pages  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from prune3d import __version__  # noqa: E402

project = "prune3d"
author = "the authors of prune3d"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.rst", "config/README.md"]
myst_heading_anchors = 4
myst_enable_extensions = ["linkify"]
myst_linkify_fuzzy_links = False

# A name in single backticks is a link where it is one of the library's.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
# Made by scikit-learn, with links into its own documents.
autodoc_default_options = {
    "exclude-members": "set_fit_request, set_predict_request, set_score_request"
}
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_keyword = napoleon_use_rtype = False
# Names that several rooms have, such as Source, are no broken links.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"prune3d {__version__}"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_use_index = html_domain_indices = html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

NAVIGATION = """
```{toctree}
:hidden:
:caption: Use it
docs/tutorial
docs/command-line
docs/accuracy
docs/data
docs/models
docs/training
docs/predictor
docs/policies
docs/results
docs/cluster
config/README
```
```{toctree}
:hidden:
:caption: How it is made
docs/architecture
docs/decisions
docs/benchmarks
CONTRIBUTING
SECURITY
CHANGELOG
```
```{toctree}
:hidden:
:caption: In Python
{library}
```
"""


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the navigation below the README, which does without it elsewhere."""
    if name == root_doc:
        pages = sorted(path.stem for path in (ROOT / "docs/api").iterdir())
        source[0] += NAVIGATION.replace(
            "{library}", "\n".join(f"docs/api/{page}" for page in pages)
        )


def show_examples(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Set the examples of a command's help text, which a backspace precedes, as they are."""
    if "\b" in lines:
        at = lines.index("\b")
        lines[at : at + 2] = [f"{lines[at + 1]}:", ""]


def open_with_readme(app: Sphinx, error: Exception | None) -> None:
    """Make the README the page with which the site opens."""
    if error is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Write the pages on the library and add the steps that Sphinx lacks."""
    library_pages.write_pages(ROOT / "scripts/prune3d", ROOT / "docs/api")
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", show_examples)
    app.connect("build-finished", open_with_readme)
