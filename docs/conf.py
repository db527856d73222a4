"""The documentation as a site: `make docs` writes it to build/docs.

Sphinx reads the Markdown files where they lie, so that one text serves both readers: of the
repository and of the site. README.md is the first page. What is written down in the code already
(settings, attacks, options) is put into the pages of `reference/` by `site/reference.py`.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "site")]

import reference  # noqa: E402  (docs/site/reference.py)

from pipeline import __version__  # noqa: E402

project, version = "Spikeproof", __version__
extensions = ["myst_parser"]
root_doc = "README"
NAVIGATION = {
    "Begin": ["docs/tutorial", "docs/concepts"],
    "How to": [
        "docs/howto/data",
        "docs/howto/network",
        "docs/howto/attack",
        "docs/howto/defence",
        "docs/howto/cluster",
        "docs/planning",
        "docs/export",
    ],
    "Methods": ["docs/attacks", "docs/events", "docs/exact", "docs/paper", "docs/results"],
    "Running it": [
        "docs/browsing",
        "docs/operations",
        "docs/performance",
        "docs/scaling",
        "docs/errors",
    ],
    "Reference": [
        "docs/reference/space",
        "docs/reference/suites",
        "docs/reference/audit",
        "docs/reference/commands",
    ],
    "Working on it": ["docs/architecture", "CONTRIBUTING", "SECURITY", "CHANGELOG"],
}
"""Pages by chapter, in this order. A page that is in no chapter is an error of the build."""
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = ["build", "runs", "data", ".*", "docs/site"]

myst_enable_extensions = ["deflist"]
myst_disable_syntax = ["myst_line_comment"]  # a line may begin with "%": "34\n% of the images"
myst_heading_anchors = 3
smartquotes = False
pygments_style, pygments_dark_style = "tango", "native"
html_theme = "furo"
html_title = "Spikeproof"
html_static_path = ["site/site.css"]
html_css_files = ["site.css"]
html_extra_path = ["site/index.html"]
html_show_sphinx = html_show_copyright = html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}


def navigation() -> str:
    """The chapters as MyST's `toctree` directives."""
    trees = []
    for caption, pages in NAVIGATION.items():
        there = [page for page in pages if (ROOT / f"{page}.md").is_file()]
        listed = "\n".join(f"/{page}" for page in there)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n")
    return "\n".join(trees)


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Put into a page what only the site has: navigation, and tables made from the code."""
    if page == root_doc:
        source[0] += "\n" + navigation()
    source[0] = reference.complete(source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", complete)
