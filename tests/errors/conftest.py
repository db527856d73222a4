"""What every refusal is held to: exit code 2, no traceback, an explanation in docs/errors.md."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.errors.messages import PAGE, Entry, entries

REMEDY = re.compile(
    r"expected |did you mean '|the keys here are |needs values|"
    r"\b(add|align|append|ask|begin|bring|check|close|continue|copy|correct|fetch|give|install|keep|leave|list"
    r"|lower|make|mend|move|must|name|narrow|open|put|quote|rename|remove|repair|replace|run|save|set"
    r"|shorten|start|train|use|write)\b"
)
"""What should stand there, what was meant, or what to do."""


@pytest.fixture(scope="session")
def explained() -> Callable[[str], Sequence[Entry]]:
    """The page's entries for a line that begins with its place in a file."""
    known = entries(PAGE.read_text())

    def find(line: str) -> list[Entry]:
        text = line.partition(" ")[2].lstrip()
        forms = [f"file{line}", text, text.partition(": ")[2]]
        return [e for e in known if any(form and e.pattern.fullmatch(form) for form in forms)]

    return find


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., list[str]]:
    """Lines of a command that must refuse, before it does anything."""

    def run(main: Callable[[list[str]], int], *arguments: object) -> list[str]:
        before, said = sorted(tmp_path.rglob("*")), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as left:  # argparse's own refusals
                code = left.code  # type: ignore[assignment]
        text = said.getvalue()
        assert code == 2, text
        assert "Traceback" not in text
        assert sorted(tmp_path.rglob("*")) == before
        return text.rstrip("\n").split("\n")

    return run
