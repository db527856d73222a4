"""What a page of the documentation has for a reader to do: commands, files, edits."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(python -m (?:pipeline|reports|benchmarks)[^`]*)`")
FILE_NAME = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")
SHELL = ("console", "sh", "bash", "shell")


def pages() -> list[Path]:
    """All Markdown files that a reader is shown."""
    return sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line that a reader types, with the lines it is continued on."""

    page: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def words(self) -> list[str]:
        """As a shell splits them, without a comment at the end."""
        return shlex.split(self.text, comments=True)


@dataclass(frozen=True)
class Edit:
    """A hunk of a diff: in this file, this text becomes that one."""

    file: str
    before: str
    after: str


def blocks(page: Path) -> Iterator[Block]:
    """The page's fenced blocks, in order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[2], textwrap.dedent(match[3]))


def commands(page: Path) -> list[Command]:
    """What the page's shell blocks have the reader type, in order."""
    found = []
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        joined, first = "", 0
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if not joined and not line.startswith("$ "):
                continue  # what was printed
            first = first if joined else number
            joined += (line if joined else line[2:]).removesuffix("\\").strip() + " "
            if not line.endswith("\\"):
                found.append(Command(page, first, joined.strip()))
                joined = ""
    return found


def mentioned(page: Path) -> list[Command]:
    """Whole commands within the text."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    return [
        Command(page, prose.count("\n", 0, match.start()) + 1, " ".join(match[1].split()))
        for match in INLINE.finditer(prose)
    ]


def files(page: Path) -> dict[str, str]:
    """The files that the page has the reader write: blocks that begin with a name."""
    named = ((FILE_NAME.match(block.text), block) for block in blocks(page))
    # A file of a package begins with its docstring.
    return {match[1]: block.text[match.end() :] for match, block in named if match}


def edits(page: Path) -> list[Edit]:
    """The changes that the page's diffs make, hunk by hunk."""
    found = []
    for block in blocks(page):
        if block.language != "diff":
            continue
        for part in re.split(r"^--- ", block.text, flags=re.MULTILINE)[1:]:
            file, _, hunks = part.partition("\n")
            for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE):
                lines = hunk.splitlines(keepends=True)
                before = "".join(line[1:] for line in lines if line[0] in " -")
                after = "".join(line[1:] for line in lines if line[0] in " +")
                found.append(Edit(file.strip(), before, after))
    return found
