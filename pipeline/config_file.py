"""Reads a YAML file and its overrides, checks them against a config type, reports all at once."""

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline import config_yaml
from pipeline.config_messages import Problem, not_finite, refusals, translate, value_at
from pipeline.config_words import dotted
from pipeline.config_yaml import Entry, EntryPath, YAMLProblem
from pipeline.errors import ConfigError

__all__ = ["ConfigFile", "Problem", "Setting", "check", "read"]

T = TypeVar("T")
MAX_BYTES = 256 * 1024
"""Bounds the time a hostile or mistaken file can take; search spaces are a hundredth of it."""
MAX_PROBLEMS = 200
"""Reported at once; nobody mends more, and a hostile file has as many as it has bytes."""
MAX_SHOWN = 300
"""Characters of a `--set` that a message repeats."""
_SET_USAGE = "write --set dotted.path=value, such as --set training.epochs=10"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value that wins over the file's, out of another file."""

    path: str
    """Dotted, as `--set` takes it."""
    value: Any
    entries: Mapping[EntryPath, Entry]
    """Of the value, by the path within it."""
    places: Mapping[EntryPath, tuple[str, str]]
    """How messages name the key and the value of each of these entries."""
    above: str
    """How messages name what the value lies in, where only this setting makes it."""


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """Plain data with, for each entry, where it was written."""

    name: str
    """The file as the user named it."""
    data: dict[str | int, Any]
    entries: dict[tuple[str | int, ...], Entry]
    overrides: dict[tuple[str | int, ...], tuple[int, tuple[str, str]]]
    """Of entries that were set from outside: the setting's number, and what names their key and
    their value: `--set key=value`, or a place in another file."""

    def location(self, path: Sequence[str | int], at: Literal["key", "value"] = "value") -> str:
        """`file:line:column` of the deepest part of `path` that exists, or its `--set`.

        Args:
            path: Keys and list indices from the top.
            at: Whether the key or the value is at fault; where only a part of the path
                exists, the position is that of the part's key.
        """
        return self._place(tuple(path), at)[1]

    def path(self, dotted_path: str) -> EntryPath:
        """The path that a dotted one means; keys may contain dots themselves."""
        node: Any = self.data
        parts, found = dotted_path.split("."), list[str | int]()
        while parts:
            if isinstance(node, dict):
                key, parts = _take_key(node, parts)
            else:
                key, parts = int(parts[0]) if parts[0].isdecimal() else parts[0], parts[1:]
            node = value_at(node, [key])
            found.append(key)
        return tuple(found)

    def text(self, path: tuple[str | int, ...]) -> str | None:
        """How a plain, unquoted scalar was written; None for all else."""
        return self.entries[path].text if path in self.entries else None

    def error(self, problems: Iterable[Problem]) -> ConfigError:
        """One error that lists every problem, sorted by position."""
        lines = sorted(
            {
                (*self._place(item.path, item.at), _described(item.path, item.message))
                for item in problems
            }
        )
        width = max(len(place) for _, place, _ in lines)
        return ConfigError("\n".join(f"{place:<{width}} {text}" for _, place, text in lines))

    def _place(
        self, path: tuple[str | int, ...], at: Literal["key", "value"]
    ) -> tuple[tuple[int, int, int], str]:
        """Sort order and text of a position: the file's first, then the overrides."""
        for length in range(len(path), -1, -1):
            part = path[:length]
            if part in self.overrides:
                number, names = self.overrides[part]
                return (1, number, 0), names[at == "value" and part == path]
            if part in self.entries:
                entry = self.entries[part]
                line, column = entry.value if at == "value" and part == path else entry.key
                return (0, line, column), f"{self.name}:{line}:{column}"
        return (0, 1, 1), f"{self.name}:1:1"


def read(path: Path, overrides: Sequence[str | Setting] = ()) -> ConfigFile:
    """The file's data after the overrides: `dotted.path=value`, or settings of another file.

    Raises:
        ConfigError: If the file is absent, unreadable, malformed or unsafe YAML, no mapping,
            or an override is malformed.
    """
    text = _text_of(path)
    try:
        data, entries = config_yaml.parse(text)
    except YAMLProblem as problem:
        line, column = problem.position
        raise ConfigError(f"{path}:{line}:{column} {problem.message}") from None
    if data is None:
        raise ConfigError(f"{path}:1:1 the file is empty; expected lines such as 'key: value'")
    if not isinstance(data, dict):
        line, column = entries[()].value
        raise ConfigError(
            f"{path}:{line}:{column} expected a mapping at the top, that is lines such as "
            f"'key: value', got {'a list' if isinstance(data, list) else 'a single value'}"
        )
    file = ConfigFile(name=str(path), data=data, entries=entries, overrides={})
    for number, override in enumerate(overrides):
        setting = _set_by_hand(override) if isinstance(override, str) else override
        _override(file, number, setting)
    return file


def check(
    file: ConfigFile,
    config_type: type[T],
    rules: Sequence[Callable[[T], Iterable[Problem]]] = (),
) -> T:
    """The file's data as a `config_type`.

    Args:
        file: What `read` returned.
        config_type: A frozen dataclass; its fields say what is expected.
        rules: Checks across fields; they run once the types are right.

    Raises:
        ConfigError: Listing all problems, sorted by position, one a line.
    """
    problems = list(refusals(config_type, file.data, file.text))
    config: T | None = None
    kind: Any = config_type
    try:
        config = _adapter(kind).validate_python(file.data)
    except ValidationError as error:
        refused = {problem.path for problem in problems}
        first = error.errors(include_url=False)[:MAX_PROBLEMS]
        found = translate(config_type, first, file.data, file.text)
        problems += [problem for problem in found if problem.path not in refused]
    if config is not None and not problems:
        problems = list(not_finite(config)) or [
            problem for rule in rules for problem in rule(config)
        ]
    if problems or config is None:
        raise file.error(problems)
    return config


@functools.cache
def _adapter(config_type: Any) -> TypeAdapter[Any]:
    """Building one takes longer than checking a file."""
    return TypeAdapter(config_type)


def _described(path: tuple[str | int, ...], message: str) -> str:
    message = " ".join(message.split())
    return f"{dotted(path)}: {message}" if path else message


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; {_nearest(path)}") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a folder; name a YAML file, {_nearest(path / '-')}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}); name a YAML file") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: expected a YAML file of at most {MAX_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = content[: error.start].decode("utf-8-sig")
        line, column = config_yaml.position_in(good, len(good))
        raise ConfigError(
            f"{path}:{line}:{column} the byte 0x{content[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8 text"
        ) from None


def _nearest(path: Path) -> str:
    folder = path.parent
    try:
        names = sorted(item.name for item in folder.iterdir() if item.suffix in (".yaml", ".yml"))
    except OSError:
        return f"nor is there a folder {folder}; check the path"
    stems = {Path(name).stem: name for name in names}
    if near := difflib.get_close_matches(path.stem, stems, n=1):
        return f"did you mean {folder / stems[near[0]]}?"
    return f"{folder} holds {', '.join(names[:10]) if names else 'no .yaml file'}"


def _set_by_hand(override: str) -> Setting:
    """What a `--set dotted.path=value` says."""
    shown = " ".join(override.split())
    shown = shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 3] + "..."
    path, equals, text = override.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise ConfigError(f"--set {shown}: expected a path and a value; {_SET_USAGE}")
    try:
        value, entries = config_yaml.parse(text)
    except YAMLProblem as problem:
        raise ConfigError(f"--set {shown}: the value has {problem.message}") from None
    return Setting(
        path=path,
        value=value,
        entries=entries,
        above=f"--set {shown}",
        places=dict.fromkeys(entries or [()], (f"--set {shown}", f"--set {shown}")),
    )


def _override(file: ConfigFile, number: int, setting: Setting) -> None:
    """Sets one value in `file.data`, and notes where it came from."""
    shown = setting.places[()]
    path = _assign(file.data, setting.path.strip().split("."), setting.value, shown[0])
    for known in [known for known in file.entries if known[: len(path)] == path]:
        del file.entries[known]
    for known in [known for known in file.overrides if known[: len(path)] == path]:
        del file.overrides[known]
    for length in range(1, len(path) + 1):
        if path[:length] not in file.entries:
            file.overrides.setdefault(path[:length], (number, (setting.above,) * 2))
    # The scalars' texts stay known, so that "quote it" can be said of them, too.
    file.entries.update({(*path, *inner): entry for inner, entry in setting.entries.items()})
    file.overrides.update(
        {(*path, *inner): (number, place) for inner, place in setting.places.items()}
    )


def _assign(root: Any, parts: list[str], value: Any, shown: str) -> tuple[str | int, ...]:
    """Sets the value at the dotted path, creating mappings on the way; returns its path."""
    path: tuple[str | int, ...] = ()
    while True:
        if isinstance(root, dict):
            key, parts = _take_key(root, parts)
        elif isinstance(root, list):
            key, parts = _take_index(root, parts, shown), parts[1:]
        else:
            raise ConfigError(
                f"{shown}: '{dotted(path)}' is a single value, not a mapping; "
                f"set it as a whole: --set {dotted(path)}=value"
            )
        path = (*path, key)
        if isinstance(root, list) and key == len(root):
            root.append(None)
        if not parts:
            root[key] = value
            return path
        if isinstance(root, dict):
            root.setdefault(key, None)
        if root[key] is None:
            root[key] = {}
        root = root[key]


def _take_key(mapping: dict[Any, Any], parts: list[str]) -> tuple[str | int, list[str]]:
    """The longest run of parts that is a key here, as names may contain dots; else the first."""
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for key in (name, int(name) if name.isdecimal() and len(name) < 10 else name):
            if key in mapping:
                return key, parts[length:]
    return parts[0], parts[1:]


def _take_index(items: list[Any], parts: list[str], shown: str) -> int:
    if parts[0].isdecimal() and len(parts[0]) < 10 and int(parts[0]) <= len(items):
        return int(parts[0])
    raise ConfigError(
        f"{shown}: expected a list index from 0 to {len(items)} (which appends), got '{parts[0]}'"
    )
