"""What every attack of this folder is held to."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports.stores import trial, write_sweep, write_uniform

MAX_MESSAGE = 100_000


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What a payload would create if it were executed."""
    return tmp_path / "canary"


@pytest.fixture
def refused(tmp_path: Path, canary: Path, capsys, monkeypatch) -> Callable[..., str]:
    """Runs a command that must refuse: exit code 2, one message, nothing run, nothing written."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(main, *arguments) -> str:
        before = sorted(tmp_path.rglob("*"))
        try:
            code = main([os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments])
        except SystemExit as left:  # argparse's own refusals
            code = left.code
        captured = capsys.readouterr()
        assert code == 2, captured.out + captured.err
        assert "Traceback" not in captured.out + captured.err
        assert captured.err.strip()
        assert len(captured.err) < MAX_MESSAGE
        assert not {c for c in captured.err if ord(c) < 32} - {"\n", "\t"}, "steers the terminal"
        assert not canary.exists()
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err

    return run


@pytest.fixture
def study_of_a_stranger(tmp_path: Path) -> Path:
    """A store with one small, whole sweep."""
    store = tmp_path / "strange"
    write_sweep(store, "demo", [trial("vanilla", "vanilla", role="baseline"), trial("sr-1")])
    for label in ("vanilla", "sr-1"):
        write_uniform(store, label, 9, 4)
    return store
