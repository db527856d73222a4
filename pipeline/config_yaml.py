"""YAML text to plain data plus the position of every entry."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.yaml_mistakes import Position, mistake

EntryPath = tuple[str | int, ...]

MAX_NODES = 50_000
MAX_CHARACTERS = 1 << 20
"""Of all scalars together once aliases are expanded: a long text repeated often is a bomb, too."""
MAX_DEPTH = 50
MAX_DIGITS = 40
_PREFIX = "tag:yaml.org,2002:"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a value stands in the text, and how it was written there."""

    key: Position
    value: Position
    text: str | None
    """The characters of a plain scalar; None for quoted text and for containers."""


class YAMLProblem(Exception):
    """What is wrong with the text, and where."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position, self.message = position, message


class _Loader(yaml.SafeLoader):
    """Composes nodes; its scalars are those of YAML 1.2 plus yes/no/on/off.

    YAML 1.1 reads `5e-4` as text, `1:30` as 90 and `010` as 8, none of which anybody means.
    """


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    (
        "bool",
        r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        "yYnNtTfFoO",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?((\.[0-9]+|[0-9][0-9_]*\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        _PREFIX + _tag, re.compile(rf"^(?:{_pattern})$"), list(_first)
    )  # fmt: skip


def parse(text: str) -> tuple[Any, dict[EntryPath, Entry]]:
    """The text's data and, for each path in it, the entry's position.

    Raises:
        YAMLProblem: For the first thing that is malformed, unsafe or ambiguous.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        raise YAMLProblem(
            position_in(text, error.position), "a control character; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise YAMLProblem(*mistake(text, error, yaml.scan(text, Loader=_Loader))) from None
    except RecursionError:
        raise YAMLProblem((1, 1), _TOO_DEEP) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YAMLProblem((1, 1), f"not valid YAML: {_one_line(error)}; check the file") from None
    if root is None:
        return None, {}
    builder = _Builder()
    data = builder.build(root, (), _start(root))
    return data, builder.entries


def position_in(text: str, index: int) -> Position:
    """Line and column of the character at `index`."""
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


_TOO_DEEP = f"nested too deeply; expected at most {MAX_DEPTH} levels"


class _Builder:
    """Turns nodes into data, noting positions; a copy is made at each alias."""

    def __init__(self) -> None:
        self.entries: dict[EntryPath, Entry] = {}
        self._open: list[Node] = []
        self._num_characters = 0

    def build(self, node: Node, path: EntryPath, key: Position) -> Any:
        if node in self._open:
            raise YAMLProblem(_start(node), "an alias that contains itself; write the value out")
        if len(self.entries) >= MAX_NODES:
            raise YAMLProblem(
                _start(node), f"aliases that expand to over {MAX_NODES} values; write them out"
            )
        if isinstance(node, ScalarNode):
            self._num_characters += len(node.value)
        if self._num_characters > MAX_CHARACTERS:
            raise YAMLProblem(
                _start(node), f"over {MAX_CHARACTERS} characters of text; write less, no aliases"
            )
        if len(self._open) >= MAX_DEPTH:
            raise YAMLProblem(_start(node), _TOO_DEEP)
        plain = node.value if isinstance(node, ScalarNode) and not node.style else None
        self.entries[path] = Entry(key=key, value=_start(node), text=plain)
        self._open.append(node)
        value = self._content(node, path)
        self._open.pop()
        return value

    def _content(self, node: Node, path: EntryPath) -> Any:
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, MappingNode) and kind == "map":
            return {
                key: self.build(child, (*path, key), place)
                for key, place, child in _unique_keys(node)
            }
        if isinstance(node, SequenceNode) and kind == "seq":
            return [
                self.build(child, (*path, index), _start(child))
                for index, child in enumerate(node.value)
            ]
        if isinstance(node, ScalarNode) and kind in _SCALARS:
            return _scalar(node)
        shown = node.tag.replace(_PREFIX, "!!")
        raise YAMLProblem(_start(node), f"the tag {shown}; remove it and write a plain value")


def _unique_keys(node: MappingNode) -> Iterator[tuple[str | int, Position, Node]]:
    seen: dict[str | int, Position] = {}
    for key_node, child in node.value:
        place, key = _start(key_node), _key(key_node)
        if key in seen:
            raise YAMLProblem(
                place, f"the key '{key}' a second time, first on line {seen[key][0]}; keep one"
            )
        seen[key] = place
        yield key, place, child


def _key(node: Node) -> str | int:
    if not isinstance(node, ScalarNode) or node.tag.removeprefix(_PREFIX) not in _SCALARS:
        raise YAMLProblem(_start(node), "a list or mapping as a key; expected text before the ':'")
    if node.value == "<<" and not node.style:
        raise YAMLProblem(_start(node), "a merge key (<<); write the merged keys out")
    key = _scalar(node)
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    if not node.value:
        raise YAMLProblem(_start(node), "a key is missing before the ':'; write it")
    read_as = _READ_AS[type(key)]
    raise YAMLProblem(
        _start(node),
        f"the key {node.value}, which YAML reads as {read_as}; quote it: '{node.value}'",
    )


_READ_AS = {bool: "true or false", float: "a number", type(None): "nothing"}
_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: _TRUTH[text.lower()],
    "int": lambda text: int(text.replace("_", ""), 0),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower().replace("_", ""))),
}


def _scalar(node: ScalarNode) -> Any:
    kind = node.tag.removeprefix(_PREFIX)
    if kind == "int" and len(node.value) > MAX_DIGITS:
        raise YAMLProblem(_start(node), f"a number of more than {MAX_DIGITS} digits; shorten it")
    try:
        return _SCALARS[kind](node.value)
    except (ValueError, KeyError):
        raise YAMLProblem(
            _start(node), f"'{node.value[:MAX_DIGITS]}' is no {kind}; remove the tag !!{kind}"
        ) from None


def _start(node: Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
