"""The documentation as a site: it builds without a warning, complete, and fetches nothing."""

import dataclasses
import html
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest

from pipeline.attacks import ATTACKS
from pipeline.config import SpaceConfig
from pipeline.config_kinds import choices, discriminator, keys
from pipeline.data import DATASETS, EVENT_DATASETS
from pipeline.threats import SUITES, SuiteConfig
from pipeline.training import STRATEGIES
from tests.docs.pages import REPOSITORY, blocks, pages

pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
pytest.importorskip("myst_parser", reason="the extra `docs` is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built by the command of the Makefile."""
    makefile = (REPOSITORY / "Makefile").read_text()
    (line,) = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .*) build/docs$", makefile, re.MULTILINE)
    out = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, *line.split(), str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return out


@pytest.fixture(scope="module")
def settings() -> Iterator[ModuleType]:
    """What writes the pages of all keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "docs" / "site"))
        yield importlib.import_module("settings")


def text_of(page: Path) -> str:
    """What a reader sees of a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    first = (site / "README.html").read_text(encoding="utf-8")
    for page in pages():
        name = page.relative_to(REPOSITORY).with_suffix(".html")
        assert (site / name).is_file()
        assert f'href="{name}"' in first or name.name == "README.html"
    assert "README.html" in (site / "index.html").read_text()


def test_nothing_is_fetched(site: Path) -> None:
    fetched = re.compile(
        r"""(?:src=["']|@import|url\(|<link[^>]+href=["'])\s*["']?(?:https?:)?//"""
    )
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        assert not fetched.search(path.read_text(encoding="utf-8")), path


def test_links_and_pictures_of_the_site_lead_somewhere(site: Path) -> None:
    anchors = {
        path: set(re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8")))
        for path in site.rglob("*.html")
    }
    for path in anchors:
        for target in re.findall(r'(?:href|src)="([^"]*)"', path.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = unquote(html.unescape(target)).partition("#")
            there = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert there.is_file(), f"{path.name}: {target}"
            if anchor and there in anchors:
                assert anchor in anchors[there], f"{path.name}: {target}"


def test_links_between_markdown_files_work_without_the_site() -> None:
    for page in pages():
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if not re.match(r"[a-z]+:|#", target):
                there = page.parent / unquote(target.partition("#")[0])
                assert there.exists(), f"{page.relative_to(REPOSITORY)}: {target}"


def test_every_block_says_what_it_is() -> None:
    for page in pages():
        for block in blocks(page):
            place = f"{page.relative_to(REPOSITORY)}:{block.line}"
            assert block.language, f"{place}: write ```console, ```text, ```python, ```yaml ..."
            typed = re.search(r"^(python|make|docker) ", block.text, re.MULTILINE)
            assert block.language != "text" or not typed, f"{place}: commands go into ```console"


def configs(settings: Any) -> Iterator[tuple[str, type]]:
    for page, kind in (("space", SpaceConfig), ("suites", SuiteConfig)):
        for section in settings.sections(kind):
            yield page, section.config


def test_the_reference_has_every_key_with_its_docstring(site: Path, settings: Any) -> None:
    seen = set()
    for page, config in configs(settings):
        path = site / f"docs/reference/{page}.html"
        source, text = path.read_text(encoding="utf-8"), letters(text_of(path))
        for field in dataclasses.fields(config):
            if not field.init or (config, field.name) in seen:
                continue
            seen.add((config, field.name))
            kind, name = keys(config)[field.name], f"{config.__name__}.{field.name}"
            tells_apart = field.name in ("dataset", "method") and len(choices(kind)) == 1
            assert tells_apart or re.search(rf"[>.]{field.name}</span></code></dt>", source), name
            told = settings.field_doc(config, field.name)
            assert letters(told) in text, name
            nested = keys(kind) or discriminator(kind)
            assert told or nested or tells_apart, f"{name} has no docstring below it"
    assert len(seen) > 150


def letters(text: str) -> str:
    """The text without blanks and code marks, which the site sets otherwise."""
    return re.sub(r"[\s`]", "", text)


def test_the_reference_has_what_the_tables_have(site: Path) -> None:
    space = text_of(site / "docs/reference/space.html")
    suites = text_of(site / "docs/reference/suites.html")
    for name in (*DATASETS, *EVENT_DATASETS):
        assert f"dataset: {name}" in space
    for name in STRATEGIES:
        assert f"method: {name}" in space
    for name in ATTACKS:
        assert f"method: {name}" in suites
    for path in SUITES.glob("*.yaml"):
        assert path.stem in suites


def test_the_reference_has_the_audits_checks_with_their_thresholds(site: Path) -> None:
    found = re.findall(
        r"<p>(.*?)</p>", (site / "docs/reference/audit.html").read_text(encoding="utf-8")
    )
    row = found.index("straight through")
    assert found[row + 2 : row + 4] == ["0.01", "0.05"]
    assert {"draws", "loss surface", "reported number", "transfer"} <= set(found)


@pytest.mark.parametrize("module", ["pipeline.sweep", "reports.build", "pipeline.recheck"])
def test_the_reference_has_every_option(site: Path, module: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    options = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", printed, re.MULTILINE)) - {"--help"}
    text = text_of(site / "docs/reference/commands.html")
    part = text[text.index(f"python -m {module}") :]
    assert len(options) > 3
    for option in options:
        assert option in part


def test_the_pictures_of_the_concepts_can_be_drawn_again(tmp_path: Path) -> None:
    script = REPOSITORY / "docs" / "draw_concepts.py"
    quickly = ["--out", str(tmp_path), "--epochs", "1", "--num-samples", "4"]
    subprocess.run([sys.executable, str(script), *quickly], cwd=REPOSITORY, check=True, timeout=280)
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = set(re.findall(r"\(images/(\w+\.svg)\)", (REPOSITORY / "docs/concepts.md").read_text()))
    assert drawn == shown
