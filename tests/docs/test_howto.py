"""The pages of `docs/howto/` as a reader follows them, in a copy of this repository.

The page's files are written, its diffs applied, its commands typed in one process (`follow.py`), in
order, on few samples and epochs.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports import build
from tests.docs.pages import REPOSITORY, commands, edits, files

pytestmark = pytest.mark.slow

COPIED = ("models", "pipeline", "reports", "search_spaces", "tests", "pyproject.toml", "docs")
PAGES = sorted((REPOSITORY / "docs" / "howto").glob("*.md"))
PAGES.remove(REPOSITORY / "docs" / "howto" / "cluster.md")  # changes nothing here


def shrunk(words: list[str]) -> list[str]:
    """The same command on few samples and epochs; of an option given twice the last one counts.

    A sweep is planned: its data, its network, its strategies and its suites are those of the page.
    """
    module = words[2] if words[1] == "-m" else ""
    if module == "pipeline.sweep":
        return [*words, "--plan"]
    if module == "pipeline.train":
        return [*words, "--set", "training.epochs=2"]
    if module == "pipeline.evaluate":
        return [*words, "--num-samples", "4"]
    return words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    for name in COPIED:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    for name, text in files(page).items():
        (folder / name).write_text(text)
    for edit in edits(page):
        text = (folder / edit.file).read_text()
        assert text.count(edit.before) == 1, f"{edit.file} does not have once:\n{edit.before}"
        (folder / edit.file).write_text(text.replace(edit.before, edit.after))
    words = [command.words for command in commands(page)]
    typed = [shrunk(line) for line in words if "--network" not in line]
    for line in words:  # needs the sweep `lambda`: its options are read; tests/reports compares
        if "--network" in line:
            build.parser().parse_args(line[3:])
    assert typed, "a page without a command"
    (tmp_path / "plan.json").write_text(json.dumps(typed))
    follower = [sys.executable, str(Path(__file__).with_name("follow.py"))]
    result = subprocess.run(
        [*follower, str(folder), str(tmp_path / "plan.json")],
        env=os.environ | {"PYTHONPATH": str(folder), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=280,
    )
    ended = [json.loads(line) for line in result.stdout.splitlines()]
    for line in ended:
        assert line["code"] == 0, f"{' '.join(line['words'])}\n{line['printed']}"
    assert len(ended) == len(typed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_adds_is_in_the_format(page: Path, tmp_path: Path) -> None:
    for name, text in files(page).items():
        if name.endswith(".py"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    config = ["--config", str(REPOSITORY / "pyproject.toml")]
    for check in (["format", "--check"], ["check", "--ignore", "D,ANN,T20"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *config, str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout
