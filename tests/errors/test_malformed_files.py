"""Files with one mistake each: every one is told at its line, with what to do, and no traceback."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline import evaluate, sweep
from pipeline.config import SpaceConfig
from pipeline.threats import SuiteConfig
from tests.errors.conftest import REMEDY
from tests.errors.contradictions import SPACES, SUITES
from tests.errors.malformed import Mistake, chosen, mistakes, position

ROOT = Path(__file__).parents[2]
FOLDERS = {"space": ROOT / "search_spaces", "suite": ROOT / "pipeline" / "suites"}
ANY_LINE = ("another shape", "key missing")
"""Of these, what is missing is told before what is too much."""


class Taken(Exception):
    """The file was taken for a good one."""


@pytest.fixture
def told(tmp_path, monkeypatch, refusal):
    """Lines that a command says of a file's content; `Taken` where it says nothing."""
    read = sweep.read_space

    def read_only(path, overrides):
        read(path, overrides)
        raise Taken

    monkeypatch.setattr(sweep, "read_space", read_only)

    def run(kind: str, content: bytes) -> list[str]:
        path = tmp_path / f"{kind}.yaml"
        path.write_bytes(content)
        if kind == "space":
            lines = refusal(sweep.main, "--space", path)
        elif kind == "suite":
            lines = refusal(evaluate.main, "--checkpoint", "none", "--suite", path)
            if lines[0].startswith("none: no such checkpoint"):
                raise Taken
        else:
            space = FOLDERS["space"] / "lambda.yaml"
            lines = refusal(sweep.main, "--space", space, "--set", f"scale={path}")
        return [line.replace(f"{path}:", ":") for line in lines]

    return run


def faults(mistake: Mistake, lines: list[str], explained) -> list[str]:
    """What is wrong with what was said of a mistake."""
    found = [re.fullmatch(r":(\d+):(\d+) +(.+)", line) for line in lines]
    if not all(found):
        return ["a line without file, line and column"]
    told = [(int(match[1]), int(match[2]), match[3]) for match in found if match]
    wrong = []
    if not any(line == mistake.line and mistake.column in (None, at) for line, at, _ in told):
        wrong.append(f"expected {mistake.line}:{mistake.column}")
    if told[0][0] != mistake.line and mistake.kind not in ANY_LINE:
        wrong.append(f"the first is not on line {mistake.line}")
    wrong += [f"no remedy: {text}" for *_, text in told if not REMEDY.search(text)]
    wrong += [f"not in docs/errors.md: {line}" for line in lines if not explained(line)]
    return wrong


def judged(kind: str, files: dict[str, list[Mistake]], told, explained) -> Counter:
    """How many mistakes of each kind were refused as they should be.

    A file that is good all the same, and may be, is not counted.
    """
    refused, wrong = Counter(), []
    for name, found in files.items():
        for mistake in found:
            where = f"{name}: {mistake.kind}, {mistake.what}"
            try:
                lines = told(kind, mistake.content)
            except Taken:
                if mistake.certain:
                    wrong.append(f"{where}: taken")
                continue
            refused[mistake.kind] += 1
            wrong += [
                f"{where}: {text}\n    {lines[:3]}" for text in faults(mistake, lines, explained)
            ]
    assert not wrong, f"{len(wrong)} faults:\n" + "\n".join(wrong[:20])
    return refused


def drawn(kind: str, of: type, most: int) -> dict[str, list[Mistake]]:
    """Mistakes in all shipped files of a kind, at most so many of each kind of mistake."""
    origin, found = {}, []
    for path in sorted(FOLDERS[kind].rglob("*.yaml")):
        for mistake in mistakes(path.read_text(), of):
            origin[id(mistake)] = path.name
            found.append(mistake)
    files: dict[str, list[Mistake]] = {}
    for mistake in chosen(found, most):
        files.setdefault(origin[id(mistake)], []).append(mistake)
    return files


def test_mistakes_in_spaces(told, explained):
    refused = judged("space", drawn("space", SpaceConfig, 14), told, explained)
    assert refused.total() > 350, refused
    assert len(refused) > 25, refused


def test_mistakes_in_suites(told, explained):
    refused = judged("suite", drawn("suite", SuiteConfig, 4), told, explained)
    assert refused.total() > 100, refused


SCALE = """training: {epochs: 6, batch_size: 64, augmentation: none}
evaluation: {num_samples: 64, block_size: 32}
report: {num_samples: 64, audit: null}
"""


def test_mistakes_in_scales(told, explained):
    found = chosen(mistakes(SCALE, SpaceConfig), 4)
    refused = judged("scale", {"half.yaml": found}, told, explained)
    assert refused.total() > 80, refused


def contradictions(folder: Path, table: str) -> dict[str, list[Mistake]]:
    """Mistakes as a table has them: file, what stands there, what is written instead."""
    files: dict[str, list[Mistake]] = {}
    for row in table.strip().split("\n"):
        name, old, new = (
            part.strip().replace(r"\n", "\n").replace("\\\\", "\\") for part in row.split(" | ")
        )
        text = (folder / name).read_text()
        assert text.count(old.replace("§", "")) == 1, row
        marked = text.replace(old.replace("§", ""), new)
        line, column = position(marked, marked.index("§"))
        content = marked.replace("§", "").encode()
        files.setdefault(name, []).append(
            Mistake("contradiction", row, content, line, column, True)
        )
    return files


def test_parts_that_make_no_sense_together(told, explained):
    spaces = contradictions(FOLDERS["space"], SPACES)
    assert judged("space", spaces, told, explained).total() == len(SPACES.strip().split("\n"))
    suites = contradictions(FOLDERS["suite"], SUITES)
    assert judged("suite", suites, told, explained).total() == len(SUITES.strip().split("\n"))


WHOLE = [
    (b"", "1:1"),
    (b"# nothing yet\n", "1:1"),
    (b"- name: lambda\n", "1:1"),
    (b"lambda\n", "1:1"),
    (b"name: a\n---\nname: b\n", "2:1"),
    (b"\xff\xfen\x00a\x00", "1:1"),
    (b"name: \xe4\n", "1:7"),
    (b"{" * 1500, "1:1"),
    (b"a: " + b"[" * 60 + b"]" * 60, "1:53"),
    (b"a: &a [*a]\n", "1:4"),
    (b"seed: " + b"9" * 1000, "1:7"),
]


@pytest.mark.parametrize(("content", "place"), WHOLE, ids=range(len(WHOLE)))
def test_files_that_are_no_space_at_all(content, place, told, explained):
    line, column = place.split(":")
    mistake = Mistake("whole", "", content, int(line), int(column), True)
    assert faults(mistake, told("space", content), explained) == []


def test_a_fault_of_the_message_would_be_seen(explained):
    mistake = Mistake("any", "", b"", 3, 7, True)
    good = "training.epochs: expected a whole number of at least 1, got 'x'"
    assert faults(mistake, [f":3:7 {good}"], explained) == []
    for lines in (["training.epochs: wrong"], [f":3:8 {good}"], [f":4:7 {good}"],
                  [":3:7 name: this is a pity"], [f":2:1 {good}", f":3:7 {good}"]):  # fmt: skip
        assert faults(mistake, lines, explained)


def test_some_through_the_real_command(tmp_path):
    """Started together: most of the time goes into starting Python."""
    text = (FOLDERS["space"] / "lambda.yaml").read_text()
    sample = [m for m in chosen(mistakes(text, SpaceConfig), 1) if m.certain][::6][:5]
    assert len(sample) == 5
    started = []
    for number, mistake in enumerate(sample):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(mistake.content)
        command = [sys.executable, "-m", "pipeline.sweep", "--space", path]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append((mistake, path, subprocess.Popen(command, cwd=ROOT, **pipes)))
    for mistake, path, process in started:
        printed, said = process.communicate(timeout=240)
        assert process.returncode == 2, said
        assert printed == ""
        assert "Traceback" not in said
        assert said.startswith(f"{path}:{mistake.line}:"), (mistake.what, said)
        assert REMEDY.search(said)
