"""Follows a page in a process of its own: types its commands in a folder, and says how they ended.

    python follow.py FOLDER PLAN.json

The plan is a list of lists of words. Modules are called, not started, so that the libraries are
loaded once; `python FILE` runs the file, and what pytest is asked goes to pytest. Prints a line of
JSON for each command, the last one that of the first command that failed.
"""

import contextlib
import importlib
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def follow(words: list[str]) -> int:
    """Run one command; returns its exit code."""
    assert words[0] == "python", words
    if words[1] != "-m":
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")
        return 0
    if words[2] == "pytest":
        import pytest

        return int(pytest.main(["-q", "-p", "no:cacheprovider", *words[3:]]))
    code = importlib.import_module(words[2]).main(words[3:])
    return 0 if code is None else int(code)


def main() -> None:
    folder, plan = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    os.chdir(folder)
    sys.path[0] = str(folder)
    for words in plan:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                # FILE: the checkpoint that was written last.
                found = sorted(folder.glob("runs/trials/*/*.safetensors"), key=os.path.getmtime)
                words = [str(found[-1]) if word == "FILE" and found else word for word in words]
                code = follow(words)
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 2
            except Exception:
                traceback.print_exc()
                code = 1
        line = {"words": words, "code": code, "printed": printed.getvalue()}
        sys.__stdout__.write(json.dumps(line) + "\n")
        if code:
            break


if __name__ == "__main__":
    main()
