"""Puts measured tables into docs/performance.md: `python -m benchmarks.performance`.

Each table stands in `benchmarks/results` as the benchmark wrote it with `--json`. The page names
it in a comment, `<!-- results: NAME -->`; what stands from there to `<!-- end -->` is written anew.
"""

import argparse
import json
import re
from pathlib import Path

from benchmarks.report import rendered

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
_PLACE = re.compile(r"(<!-- results: ([\w-]+) -->).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path = RESULTS) -> str:
    """The page with each table as its file has it.

    Args:
        page: Markdown.
        results: Folder of the files.

    Raises:
        OSError: The page names a table that has no file.
    """

    def table(place: re.Match[str]) -> str:
        found = json.loads((results / f"{place[2]}.json").read_text())
        return (
            f"{place[1]}\n```console\n$ {found['command']}\n```\n\n{rendered(found)}\n\n{place[3]}"
        )

    return _PLACE.sub(table, page)


def main() -> None:
    """Write the page anew."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
