"""What a person got wrong in text that is no YAML, and where: not where a parser noticed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml
from yaml.tokens import (
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
    Token,
)

Position = tuple[int, int]
"""Line and column, both counted from 1."""

_CLOSING = {"[": "]", "{": "}"}
_NO_COLON = "a line without ': '; write 'key: value', with a space after the colon"
_AS_THEY_STAND = (
    ("found character '\\t'", "a tab; YAML is indented with spaces, so replace the tab by spaces"),
    ("found a tab", "a tab; YAML is indented with spaces, so replace the tab by spaces"),
    ("found undefined alias", "an alias (*name) whose anchor (&name) is not defined above it; "
     "write the value out"),
    ("found duplicate anchor", "an anchor (&name) that is defined twice; rename one of the two"),
    ("found another document", "a second document (---); write one document a file"),
    ("expected '<document start>'", "text that belongs to no key; check the lines above it"),
    ("that cannot start any token", "a character that YAML reserves; quote the text it stands in"),
    ("found unknown escape", "a backslash that begins no escape; write it twice, or use single "
     "quotes"),
    ("sequence entries are not allowed", "a list item ('- ') that does not fit here; start it on "
     "a line of its own, or write [a, b]"),
    ("expected the node content", "a key or value is missing here; write it, or quote the text"),
)  # fmt: skip


@dataclass
class _Before:
    """What stands before the place where the parser gave up."""

    open: list[Token] = field(default_factory=list)
    """Brackets that are not closed there."""
    last: Token | None = None


def mistake(
    text: str, error: yaml.MarkedYAMLError, tokens: Iterable[Token]
) -> tuple[Position, str]:
    """Position and description, which says what to write instead.

    Args:
        text: What was read.
        error: Of the parser.
        tokens: Of the text; they end, or raise, where the text is wrong.
    """
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return (1, 1), f"not valid YAML: {error.problem or error.context}; check the file"
    problem, context = str(error.problem or ""), str(error.context or "")
    place, began = _position(mark), _position(error.context_mark or mark)
    for fragment, words in _AS_THEY_STAND:
        if fragment in problem and "<stream end>" not in problem:
            return place, words
    before = _before(tokens, mark.index)
    if "quoted scalar" in context or "simple key" in context:
        first = _at(text, began)
        if first in ("'", '"'):
            return began, "a quote that is not closed on its line; add the closing one"
        if first in _CLOSING:
            return began, _not_closed(first, place)
    if isinstance(before.last, ScalarToken) and before.last.style in ("'", '"'):
        opened, closed = _position(before.last.start_mark), _position(before.last.end_mark)
        if opened[0] < closed[0] == place[0]:
            return opened, f"a quote that is closed only on line {closed[0]}; close it on its line"
    if before.open:
        return _in_brackets(text, place, problem, before)
    if "could not find expected ':'" in problem:
        return began, _NO_COLON
    return _in_block(text, place, problem, context)


def _before(tokens: Iterable[Token], index: int) -> _Before:
    """The state just before the character at `index`."""
    found = _Before()
    try:
        for token in tokens:
            if token.start_mark.index >= index:
                break
            if isinstance(token, (FlowSequenceStartToken, FlowMappingStartToken)):
                found.open.append(token)
            elif isinstance(token, (FlowSequenceEndToken, FlowMappingEndToken)) and found.open:
                found.open.pop()
            if token.end_mark.index > token.start_mark.index:
                found.last = token
    except yaml.YAMLError:
        pass  # the mistake itself
    return found


def _in_brackets(text: str, place: Position, problem: str, before: _Before) -> tuple[Position, str]:
    opening = _position(before.open[-1].start_mark)
    bracket = _at(text, opening)
    closing, got = _CLOSING[bracket], _at(text, place)
    if "<stream end>" in problem:
        return opening, f"a '{bracket}' that is not closed; add the '{closing}'"
    if got in ("]", "}") and got != closing:
        where = f" of line {opening[0]}" if opening[0] != place[0] else ""
        return place, f"'{got}' where the '{bracket}'{where} is closed by '{closing}'; write that"
    own = _line(_lines(text), place[0])[: place[1] - 1]
    if got == ":" and ": " in re.split(r"[\[{,]", own)[-1]:
        return place, "a second ': ' without a ',' before it; add the ',', or quote the text"
    if place[0] > opening[0]:
        return opening, _not_closed(bracket, place)
    return place, f"no ',' and no '{closing}' before this; add the one that is missing"


def _not_closed(bracket: str, place: Position) -> str:
    return (
        f"a '{bracket}' that is not closed; add the '{_CLOSING[bracket]}', or the ',' that is "
        f"missing before line {place[0]}, column {place[1]}"
    )


def _in_block(text: str, place: Position, problem: str, context: str) -> tuple[Position, str]:
    line, column = place
    lines = _lines(text)
    own = _line(lines, line)
    if re.search(r"\S", own[: column - 1]):
        if "mapping values" in problem and ": " not in own[: column - 1]:
            return _over_indented(lines, line)
        if "mapping values" in problem:
            return place, "a second ': ' in one line; quote the text, or begin a new line"
        if _at(text, place) in ("]", "}"):
            return place, f"a '{_at(text, place)}' that closes nothing; remove it, or open it"
    above = _above(lines, line)
    if "<block end>" in problem:
        if above and not _has_colon(lines[above - 1]):
            return _first(lines, above), _NO_COLON
        if own.lstrip().startswith("- "):
            return place, "a list item ('- ') among lines 'key: value'; check the indentation"
        if own.lstrip().startswith(":"):
            return place, "a ':' without a key before it; write 'key: value'"
        return place, "a line that is indented like none above it; align it with its neighbours"
    why = f" {context}" if context else ""
    return place, (
        f"not valid YAML{' '.join(why.splitlines())}: {' '.join(problem.split())}; "
        "quote the text here, or write it plainly"
    )


def _over_indented(lines: list[str], line: int) -> tuple[Position, str]:
    """A `key: value` that continues the text of the line above it."""
    above = _above(lines, line)
    if above and not _has_colon(lines[above - 1]):
        return _first(lines, above), _NO_COLON
    return _first(lines, line), (
        f"a line indented below line {above}, which has a value already; check the indentation"
    )


def _above(lines: list[str], line: int) -> int:
    """Number of the line before it that is neither empty nor a comment; 0 if there is none."""
    for number in range(line - 1, 0, -1):
        if lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("#"):
            return number
    return 0


def _has_colon(line: str) -> bool:
    return bool(re.search(r":(\s|$)", line.partition(" #")[0]))


def _first(lines: list[str], line: int) -> Position:
    """Where the line's text begins."""
    return line, len(lines[line - 1]) - len(lines[line - 1].lstrip()) + 1


def _at(text: str, place: Position) -> str:
    """The character there; empty at a line's end."""
    return _line(_lines(text), place[0])[place[1] - 1 : place[1]]


def _lines(text: str) -> list[str]:
    """The text's lines as YAML counts them."""
    return re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)


def _line(lines: list[str], number: int) -> str:
    """A line, counted from 1; empty behind the last one."""
    return lines[number - 1] if number <= len(lines) else ""


def _position(mark: yaml.Mark) -> Position:
    return mark.line + 1, mark.column + 1
