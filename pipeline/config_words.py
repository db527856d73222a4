"""Words of messages: a path, a value as it was written, the name that was meant."""

import difflib
import re
from collections.abc import Sequence
from typing import Any


def dotted(path: Sequence[str | int]) -> str:
    """The path as `--set` takes it."""
    return ".".join(str(part) for part in path)


def shown(value: Any, text: str | None) -> str:
    """The value as an error message quotes it; `text` is how it was written, if known."""
    if value is None:
        return "nothing" if not text else f"{text}, which YAML reads as nothing"
    if isinstance(value, bool):
        read = str(value).lower()
        return read if text in (None, read) else f"{text}, which YAML reads as {read}"
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    quoted = f"'{value}'" if isinstance(value, str) else str(text or value)
    quoted = " ".join(quoted.split())
    return quoted if len(quoted) <= 60 else f"{quoted[:56]}..."


def suggestion(word: Any, options: Sequence[Any]) -> str:
    """`; did you mean 'x'?` where an option is near, else nothing."""
    near = nearest(word, options)
    return "" if near is None else f"; did you mean '{near}'?"


def nearest(word: Any, options: Sequence[Any]) -> str | None:
    """The option that was meant, where one is near."""
    names = {str(option).lower(): str(option) for option in options}
    typed = str(word).lower()
    begun = [name for name in names if len(typed) >= 3 and name.startswith(typed)]
    unspaced = [name for name in [re.split("[ :]", typed)[0]] if name in names]
    near = unspaced or difflib.get_close_matches(typed, names, n=1) or begun
    return names[near[0]] if near else None
