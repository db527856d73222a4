"""Every message that the source can give a user, and those that docs/errors.md explains."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
FILLED = "\N{HORIZONTAL ELLIPSIS}"
"""What stands for a part of a message that is filled in when it is printed."""
PLACEHOLDER = re.compile("<[a-z][a-z ]*>")
"""What stands for it on the page."""
TOLD = {
    **dict.fromkeys(("ConfigError", "ArgumentTypeError", "DivergedError", "InexactError"), 0),
    **dict.fromkeys(("SettingError", "FieldError", "YAMLProblem", "Problem", "_damaged"), 1),
    "error": 0,
}
"""Whose argument of this number is read by a user; so is that of every kind of `ConfigError`."""
VALIDATORS = ("__post_init__", "_parse_fraction", "named")
"""Functions whose ValueError is told with the place of the setting."""
OTHERS = ("pipeline/evidence_rows.py", "pipeline/evidence_check.py", "pipeline/recheck_run.py")
"""They have a `Problem` of their own: what pipeline.recheck finds, which docs/exact.md explains."""


@dataclass(frozen=True)
class Message:
    """A message as the source has it."""

    place: str
    text: str
    """With `FILLED` where something is filled in."""

    @property
    def letters(self) -> int:
        """How much of it is always the same."""
        return len(re.findall(r"[A-Za-z]", self.text))


@dataclass(frozen=True)
class Entry:
    """A message as the page shows it, and what the page says about it."""

    line: int
    text: str
    remedy: str

    def explains(self, message: Message) -> bool:
        """Whether the message is one of those that this entry stands for.

        A placeholder stands for anything; it must not stand for most of what a message says.
        """
        return 2 * self.letters > message.letters and bool(self.pattern.fullmatch(message.text))

    @property
    def letters(self) -> int:
        """How much of it is no placeholder."""
        return len(re.findall(r"[A-Za-z]", self.fixed))

    @functools.cached_property
    def fixed(self) -> str:
        """It without its placeholders."""
        return PLACEHOLDER.sub("", self.text)

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """What it stands for."""
        parts = [re.escape(part) for part in PLACEHOLDER.split(self.text)]
        return re.compile(".*".join(parts), re.DOTALL)


def entries(page: str) -> list[Entry]:
    """The page's list items: code spans, a line each, and the text below them."""
    found = []
    for item in re.finditer(r"^- ((?:(``?).+?\2<br>\n  )+)(.*(?:\n  .*)*)", page, re.M):
        for number, line in enumerate(item[1].splitlines()):
            text = line.strip().removesuffix("<br>").strip("`").strip()
            if text:
                at = page.count("\n", 0, item.start()) + 1 + number
                found.append(Entry(at, text, item[3]))
    return found


@functools.cache
def messages() -> Sequence[Message]:
    """All of them, each once; those that are filled in entirely are told elsewhere."""
    found: dict[str, Message] = {}
    errors = {*TOLD, *_kinds_of_config_error()}
    for folder in ("models", "pipeline", "reports"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for line, text in _source(path).told(
                errors - ({"Problem"} if name in OTHERS else set())
            ):
                message = Message(f"{name}:{line}", text)
                if message.letters > 3:
                    found.setdefault(text, message)
    return tuple(found.values())


def _kinds_of_config_error() -> set[str]:
    known = {"ConfigError"}
    classes = [
        node
        for path in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("reports/**/*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    for _ in classes:
        known |= {c.name for c in classes if {ast.unparse(base) for base in c.bases} & known}
    return known


@functools.cache
def _source(path: Path) -> "Source":
    return Source(ast.parse(path.read_text()))


class Source:
    """One module."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        self.imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline.")
            for alias in node.names
        }
        self.around = {
            inner: outer
            for outer in self.functions.values()
            for inner in ast.walk(outer)
            if inner is not outer
        }

    def told(self, errors: set[str]) -> Iterator[tuple[int, str]]:
        """Line and text of what is raised, or made into a problem of a file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                around = self.around.get(node)
                checks = name == "ValueError" and around and around.name in VALIDATORS
                if name in errors and ast.unparse(node.func) != "file.error" or checks:
                    yield from self._of_call(node, TOLD.get(name, 0))
            if isinstance(node, ast.FunctionDef) and "Position, str" in ast.unparse(
                node.returns or node.args
            ):
                for text in self._returned(node):
                    yield node.lineno, text

    def _of_call(self, call: ast.Call, index: int) -> Iterator[tuple[int, str]]:
        if call.args and isinstance(call.args[0], ast.Starred):
            yield from self._of_pairs(call)
            return
        named = [k.value for k in call.keywords if k.arg in ("message", "msg")]
        argument = call.args[index] if len(call.args) > index else (named or [None])[0]
        if argument is None:
            return
        for text in self._texts(argument, call):
            yield call.lineno, text

    def _of_pairs(self, call: ast.Call) -> Iterator[tuple[int, str]]:
        """Messages of `SettingError(*problems[0], *problems[1:])`, a list of paths and messages."""
        name = next((n.id for n in ast.walk(call.args[0]) if isinstance(n, ast.Name)), "")
        for node in ast.walk(self.tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=ast.ListComp(elt=pair)):
                    if target == name and isinstance(pair, ast.Tuple):
                        yield from ((call.lineno, text) for text in self._texts(pair.elts[1], pair))

    def _returned(self, function: ast.FunctionDef) -> Iterator[str]:
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                value = node.value
                if isinstance(value, ast.Tuple) and len(value.elts) == 2:
                    value = value.elts[1]
                yield from self._texts(value, node)

    def _texts(self, node: ast.expr, at: ast.AST) -> list[str]:
        """What an expression can say."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                texts = [self._texts(part, at) for part in parts]
                return ["".join(chosen) for chosen in itertools.product(*texts)]
            case ast.FormattedValue(value=ast.Name(id=name)) if name.isupper():
                known = self._constant(name)
                return [known or FILLED]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                pairs = itertools.product(self._texts(left, at), self._texts(right, at))
                return ["".join(pair) for pair in pairs]
            case ast.IfExp(body=one, orelse=other):
                return self._texts(one, at) + self._texts(other, at)
            case ast.Name(id=name):
                return self._assigned(name, at) or [FILLED]
            case ast.Call(func=ast.Name(id=name)):
                return self._answers(name) or [FILLED]
        return [FILLED]

    def _answers(self, name: str) -> list[str]:
        """What a function of the project returns, wherever it stands."""
        if name in self.functions:
            return list(dict.fromkeys(self._returned(self.functions[name])))
        module, own_name = self.imported.get(name, ("", ""))
        path = ROOT / f"{module.replace('.', '/')}.py"
        return _source(path)._answers(own_name) if path.is_file() else []

    def _constant(self, name: str) -> str:
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return "".join(self._texts(node.value, node)[:1])
        return ""

    def _assigned(self, name: str, at: ast.AST) -> list[str]:
        """What a name stands for: a constant, or whatever its function assigns to it."""
        around = self.around.get(at)
        scopes: Sequence[ast.AST] = [around, self.tree] if around else [self.tree]
        for scope in scopes:
            found: list[str] = []
            for node in ast.walk(scope):
                match node:
                    case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                        found += [text for text in self._texts(value, node) if text]
                    case ast.For(target=ast.Tuple(elts=targets), iter=table):
                        names = [ast.unparse(target) for target in targets]
                        if name in names:
                            found += self._column(table, names.index(name))
            if found:
                return list(dict.fromkeys(found))
        return []

    def _column(self, table: ast.expr, index: int) -> list[str]:
        """A column of a table of literals that a loop goes over."""
        if isinstance(table, ast.Name):
            values = [
                node.value
                for node in self.tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table.id
            ]
            table = values[0] if values else table
        rows = table.elts if isinstance(table, ast.Tuple | ast.List) else []
        return [
            text
            for row in rows
            if isinstance(row, ast.Tuple)
            for text in self._texts(row.elts[index], row)
        ]
