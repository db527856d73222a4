"""Every way a file can be wrong gives one readable error; none gives a traceback."""

# ruff: noqa: E501  (an exact message stays on one line, so that it can be searched for)

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from models.config import FieldError
from pipeline.config_file import ConfigFile, Problem, check, read
from pipeline.config_types import Count, Epsilon, Name, Positive
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    __pydantic_config__ = {"extra": "forbid"}
    method: Literal["at", "rat"]
    epsilon: Epsilon = 8 / 255

    def __post_init__(self) -> None:
        if self.epsilon == 0.5:
            raise ValueError("half of the range is no small change")
        if self.epsilon == 0.75:
            raise FieldError("epsilon", "three quarters neither")


@dataclass(frozen=True, kw_only=True)
class Regularised:
    __pydantic_config__ = {"extra": "forbid"}
    method: Literal["gr"]
    gr: int = 3
    weight: Positive = 1.0
    name: Name = "x"


@dataclass(frozen=True, kw_only=True)
class Range:
    __pydantic_config__ = {"extra": "forbid"}
    low: float
    high: float


Strategy = Annotated[Adversarial | Regularised, Field(discriminator="method")]


@dataclass(frozen=True, kw_only=True)
class Space:
    __pydantic_config__ = {"extra": "forbid"}
    num_trials: Count
    strategies: Annotated[dict[Name, Strategy], Field(min_length=1)] | None = None
    baselines: tuple[str, ...] = ()
    gamma: float | list[float] | Range = 1.0
    pair: tuple[float, float] = (0.0, 1.0)
    flag: bool = False
    surrogate: Literal["triangle", "on"] = "triangle"
    floors: dict[Literal["clean", "robust"], float] | None = None
    single: Strategy | None = None
    version: Literal[1] = 1
    title: Annotated[str, Field(description="a title in one line", min_length=2)] = "title"


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write_text(text: str) -> Path:
        path = Path("space.yaml")
        path.write_text(text)
        return path

    return write_text


def message(write: Write, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check(read(write(text), overrides), Space)
    return str(caught.value)


def test_a_right_file_becomes_the_config(write: Write) -> None:
    text = "num_trials: 3\nstrategies: {sr-1.5: {method: at, epsilon: 8/255}}\ngamma: 5e-4\n"
    config = check(read(write(text)), Space)
    assert config == Space(
        num_trials=3, strategies={"sr-1.5": Adversarial(method="at")}, gamma=5e-4
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1e-3", 1e-3),
        ("1E+3", 1e3),
        (".5", 0.5),
        ("-1.5e-2", -1.5e-2),
        ("1_000", 1000),
        ("0x10", 16),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("8/255", "8/255"),
        ("yes", True),
        ("'yes'", "yes"),
        ("~", None),
        ("e5", "e5"),
        ("=", "="),
        ("!!str 5", "5"),
        ("[1, 2e0]", [1, 2.0]),
    ],
)
def test_scalars(write: Write, text: str, value: Any) -> None:
    read_value = read(write(f"a: {text}\n")).data["a"]
    assert read_value == value
    assert type(read_value) is type(value)


MALFORMED = [
    ("", "1:1 the file is empty; expected lines such as 'key: value'"),
    ("# only a comment\n", "1:1 the file is empty; expected lines such as 'key: value'"),
    ("- 1\n", "1:1 expected a mapping at the top, that is lines such as 'key: value', got a list"),
    (
        "hello\n",
        "1:1 expected a mapping at the top, that is lines such as 'key: value', got a single value",
    ),
    ("a: 1\nb: 2\na: 3\n", "3:1 the key 'a' a second time, first on line 1; keep one"),
    ("a:\n\tb: 1\n", "2:1 a tab; YAML is indented with spaces, so replace the tab by spaces"),
    (
        "a: b: c\n",
        "1:5 a second ': ' in one line; quote the text, or begin a new line",
    ),
    ("a: 1\nb\n", "2:1 a line without ': '; write 'key: value', with a space after the colon"),
    ("a: [1, 2\n", "1:4 a '[' that is not closed; add the ']'"),
    ("a: 'x\n", "1:4 a quote that is not closed on its line; add the closing one"),
    ("a: *b\n", "1:4 an alias (*name) whose anchor (&name) is not defined above it; write the value out"),
    ("a: &b [*b]\n", "1:4 an alias that contains itself; write the value out"),
    ("a: 1\n---\nb: 2\n", "2:1 a second document (---); write one document a file"),
    ("a: !!python/name:os.system x\n", "1:4 the tag !!python/name:os.system; remove it and write a plain value"),
    ("a: !mine {b: 1}\n", "1:4 the tag !mine; remove it and write a plain value"),
    ("a: !!set {b}\n", "1:4 the tag !!set; remove it and write a plain value"),
    ("a: !!binary aGk=\n", "1:4 the tag !!binary; remove it and write a plain value"),
    ("a: !!int x\n", "1:4 'x' is no int; remove the tag !!int"),
    ("a: {<<: {b: 1}}\n", "1:5 a merge key (<<); write the merged keys out"),
    ("? [1]\n: 2\n", "1:3 a list or mapping as a key; expected text before the ':'"),
    ("on: 1\n", "1:1 the key on, which YAML reads as true or false; quote it: 'on'"),
    ("1.5: 1\n", "1:1 the key 1.5, which YAML reads as a number; quote it: '1.5'"),
    ("?\n: 1\n", "1:2 a key is missing before the ':'; write it"),
    ("{: 1}\n", "1:2 a key or value is missing here; write it, or quote the text"),
    ("a: 1\r\nb: {c: 1\r\nd: 2\r\n", "2:4 a '{' that is not closed; add the '}', or the ',' that is missing before line 3, column 2"),
    ("a: 1\r\nb 2\r\nc: 3\r\n", "2:1 a line without ': '; write 'key: value', with a space after the colon"),
    ("a: 1\u2028b: {c: 1, d: 2 e: 3}", "2:17 a second ': ' without a ',' before it; add the ',', or quote the text"),
    (": 1\n", "1:1 a ':' without a key before it; write 'key: value'"),
    ("a: 1\n  b: 2\n", "2:3 a line indented below line 1, which has a value already; check the indentation"),
    ("a:\n    b: 1\n  c: 2\n", "3:3 a line that is indented like none above it; align it with its neighbours"),
    ("a: @x\n", "1:4 a character that YAML reserves; quote the text it stands in"),
    ("ab: \0\n", "1:5 a control character; remove it"),
    (f"a: {'9' * 41}\n", "1:4 a number of more than 40 digits; shorten it"),
    ("a: " + "[" * 60 + "]" * 60, "1:53 nested too deeply; expected at most 50 levels"),
    ("a: " + "[" * 5000, "1:1 nested too deeply; expected at most 50 levels"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_malformed_yaml(write: Write, text: str, expected: str) -> None:
    assert message(write, text) == f"space.yaml:{expected}"


def test_billion_laughs(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases that expand to over 50000 values" in message(write, "\n".join(lines))


def test_undecodable_bytes(write: Write) -> None:
    path = write("")
    path.write_bytes("ä: 1\nb: ".encode() + b"\xff\n")
    with pytest.raises(ConfigError, match=r"^space.yaml:2:4 the byte 0xff is not UTF-8; save"):
        read(path)


def test_a_byte_order_mark_is_no_fault(write: Write) -> None:
    path = write("")
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}


def test_an_oversized_file(write: Write) -> None:
    assert message(write, "#" * 300_000) == "space.yaml: expected a YAML file of at most 256 KiB"


def test_absent_files(write: Write) -> None:
    write("a: 1\n")
    for name, expected in [
        ("spaec.yaml", "spaec.yaml: there is no such file; did you mean space.yaml?"),
        ("zzz.yaml", "zzz.yaml: there is no such file; . holds space.yaml"),
        ("no/a.yaml", "no/a.yaml: there is no such file; nor is there a folder no; check the path"),
        (".", ".: is a folder; name a YAML file, . holds space.yaml"),
        ("a\0b", "a\0b: cannot be read (embedded null byte); name a YAML file"),
    ]:
        with pytest.raises(ConfigError) as caught:
            read(Path(name))
        assert str(caught.value) == expected


ONE_PROBLEM = [
    ("{}", "1:1 num_trials: required key 'num_trials' is missing; add it at the top level (a whole number of at least 1)"),
    ("num_trials: many", "1:13 num_trials: expected a whole number of at least 1, got 'many'"),
    ("num_trials: 0", "1:13 num_trials: expected a whole number of at least 1, got 0"),
    ("num_trials: 1.5", "1:13 num_trials: expected a whole number of at least 1, got 1.5"),
    ("num_trials: true", "1:13 num_trials: expected a whole number of at least 1, got true"),
    ("num_trials: no", "1:13 num_trials: expected a whole number of at least 1, got no, which YAML reads as false"),
    ("num_trials: .inf", "1:13 num_trials: expected a whole number of at least 1, got .inf"),
    ("num_trials:", "1:12 num_trials: expected a whole number of at least 1, got nothing"),
    ("num_trials: [1]", "1:13 num_trials: expected a whole number of at least 1, got a list"),
    ("{num_trials: 1, num_trails: 2}", "1:17 num_trails: unknown key; did you mean 'num_trials'?"),
    ("{num_trials: 1, gamma: .nan}", "1:24 gamma: expected a number or a list of numbers or a mapping with the keys low, high, got .nan"),
    ("{num_trials: 1, gamma: true}", "1:24 gamma: expected a number or a list of numbers or a mapping with the keys low, high, got true"),
    ("{num_trials: 1, gamma: [1, x]}", "1:28 gamma.1: expected a number, got 'x'"),
    ("{num_trials: 1, gamma: {low: 1}}", "1:17 gamma.high: required key 'high' is missing; add it under 'gamma' (a number)"),
    ("{num_trials: 1, gamma: {low: 1, hihg: 2, high: 2}}", "1:33 gamma.hihg: unknown key; did you mean 'high'?"),
    ("{num_trials: 1, gamma: {low: 1, high: yes}}", "1:39 gamma.high: expected a number, got yes, which YAML reads as true"),
    ("{num_trials: 1, pair: [1]}", "1:23 pair: expected 2 entries, got 1"),
    ("{num_trials: 1, pair: [1, 2, 3]}", "1:23 pair: expected at most 2 entries, got 3"),
    ("{num_trials: 1, baselines: a}", "1:28 baselines: expected a list of texts, got 'a'"),
    ("{num_trials: 1, baselines: [no]}", "1:29 baselines.0: expected text, got no, which YAML reads as false; quote it: 'no'"),
    ("{num_trials: 1, baselines: [1e3]}", "1:29 baselines.0: expected text, got 1e3; quote it: '1e3'"),
    ("{num_trials: 1, baselines: [null]}", "1:29 baselines.0: expected text, got null, which YAML reads as nothing; quote it: 'null'"),
    ("{num_trials: 1, flag: 3}", "1:23 flag: expected true or false, got 3"),
    ("{num_trials: 1, surrogate: triange}", "1:28 surrogate: expected one of 'triangle', 'on', got 'triange'; did you mean 'triangle'?"),
    ("{num_trials: 1, surrogate: on}", "1:28 surrogate: expected one of 'triangle', 'on', got on, which YAML reads as true; quote it: 'on'"),
    ("{num_trials: 1, version: yes}", "1:26 version: expected 1, got yes, which YAML reads as true"),
    ("{num_trials: 1, floors: {clear: 1}}", "1:26 floors.clear: unknown key; did you mean 'clean'?"),
    ("{num_trials: 1, floors: {ROB: 1}}", "1:26 floors.ROB: unknown key; did you mean 'robust'?"),
    ("{num_trials: 1, floors: {q: 1}}", "1:26 floors.q: unknown key; the keys here are clean, robust"),
    ("{num_trials: 1, title: 3}", "1:24 title: expected a title in one line, got 3; quote it: '3'"),
    ("{num_trials: 1, title: a}", "1:24 title: expected text of at least 2 characters, got 1"),
    ("{num_trials: 1, strategies: {}}", "1:29 strategies: expected at least 1 entry, got 0"),
    ("{num_trials: 1, strategies: {a: 3}}", "1:33 strategies.a: expected a mapping with the key 'method', got 3"),
    ("{num_trials: 1, strategies: {a: {}}}", "1:30 strategies.a.method: required key 'method' is missing; add it under 'strategies.a' (one of 'at', 'rat', 'gr')"),
    ("{num_trials: 1, strategies: {a: {method: att}}}", "1:42 strategies.a.method: expected one of 'at', 'rat', 'gr', got 'att'; did you mean 'at'?"),
    ("{num_trials: 1, strategies: {a: {method: no}}}", "1:42 strategies.a.method: expected one of 'at', 'rat', 'gr', got no, which YAML reads as false"),
    ("{num_trials: 1, strategies: {gr: {method: gr, gr: x}}}", "1:51 strategies.gr.gr: expected a whole number, got 'x'"),
    ("{num_trials: 1, strategies: {a: {method: gr, name: 'a b'}}}", "1:52 strategies.a.name: expected a name of at most 64 letters, digits, '.', '_' or '-', got 'a b'"),
    ("{num_trials: 1, strategies: {a: {method: gr, weight: 1/0}}}", "1:54 strategies.a.weight: expected a number or a fraction such as 8/255, got '1/0'"),
    ("{num_trials: 1, strategies: {a: {method: gr, weight: inf}}}", "1:54 strategies.a.weight: expected a finite number, got inf"),
    ("{num_trials: 1, strategies: {a: {method: gr, weight: true}}}", "1:54 strategies.a.weight: expected a number above 0, got true"),
    ("{num_trials: 1, strategies: {a: {method: at, epsilon: 8}}}", "1:55 strategies.a.epsilon: expected a number of at least 0 and at most 1, got 8"),
    ("{num_trials: 1, strategies: {a: {method: at, epsilon: 0.5}}}", "1:30 strategies.a: half of the range is no small change"),
    ("{num_trials: 1, strategies: {a: {method: at, epsilon: 0.75}}}", "1:55 strategies.a.epsilon: three quarters neither"),
    ("{num_trials: 1, strategies: {a: {method: at, epsilom: 1}}}", "1:46 strategies.a.epsilom: unknown key; did you mean 'epsilon'?"),
    ("{num_trials: 1, strategies: {a: {method: at, gr: 1}}}", "1:46 strategies.a.gr: unknown key; the keys here are method, epsilon"),
    ("{num_trials: 1, strategies: {3: {method: at}}}", "1:30 strategies.3: the key 3 is no text; quote it: '3'"),
    ("{num_trials: 1, strategies: {a b: {method: at}}}", "1:30 strategies.a b: expected a key that is a name of at most 64 letters, digits, '.', '_' or '-'"),
    ("{num_trials: 1, single: {method: rat, epsilom: 1}}", "1:39 single.epsilom: unknown key; did you mean 'epsilon'?"),
    ("{num_trials: 1, single: []}", "1:25 single: expected a mapping with the key 'method', got a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ONE_PROBLEM)
def test_one_problem(write: Write, text: str, expected: str) -> None:
    assert message(write, text) == f"space.yaml:{expected}"


def test_all_problems_are_listed_by_position(write: Write) -> None:
    text = "zeta: 1\nstrategies:\n  a:\n    method: at\n    epsilon: 9\nnum_trials: yes\nflag: 7\n"
    assert message(write, text, "baselines=[1]").splitlines() == [
        "space.yaml:1:1      zeta: unknown key; the keys here are num_trials, strategies, "
        "baselines, gamma, pair, flag, surrogate, floors, single, version, title",
        "space.yaml:5:14     strategies.a.epsilon: expected a number of at least 0 and at most 1, "
        "got 9",
        "space.yaml:6:13     num_trials: expected a whole number of at least 1, got yes, which "
        "YAML reads as true",
        "space.yaml:7:7      flag: expected true or false, got 7",
        "--set baselines=[1] baselines.0: expected text, got 1; quote it: '1'",
    ]


def test_rules_run_once_the_types_are_right(write: Write) -> None:
    def rule(space: Space) -> Iterator[Problem]:
        yield Problem(("baselines", 1), "no strategy is labelled 'b'")
        yield Problem(("baselines",), "too many", "key")
        yield Problem(("search", "x"), "is missing")

    path = write("num_trials: 1\nbaselines: [a, b]\n")
    with pytest.raises(ConfigError) as caught:
        check(read(path), Space, [rule, lambda _: [Problem(("num_trials",), "too few")]])
    assert str(caught.value).splitlines() == [
        "space.yaml:1:1  search.x: is missing",
        "space.yaml:1:13 num_trials: too few",
        "space.yaml:2:1  baselines: too many",
        "space.yaml:2:16 baselines.1: no strategy is labelled 'b'",
    ]
    assert "required key" in message(write, "baselines: []\n")


def test_locations(write: Write) -> None:
    file = read(write("a:\n  b: [10, 20]\n"), ["a.c=3", "d.e={f: 1}"])
    assert file.location(("a", "b")) == "space.yaml:2:6"
    assert file.location(("a", "b"), at="key") == "space.yaml:2:3"
    assert file.location(["a", "b", 1]) == "space.yaml:2:11"
    assert file.location(("a", "zzz", "q")) == "space.yaml:1:1"
    assert file.location(("a", "b", 7)) == "space.yaml:2:3"
    assert file.location(("a", "c")) == "--set a.c=3"
    assert file.location(("d", "e", "f")) == "--set d.e={f: 1}"
    assert file.location(("d",)) == "--set d.e={f: 1}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=[1,2]", {"a": {"b": [1, 2]}, "l": ["x", {"y": 1}], "sr-0.1": {"w": 1}, "n": None}),
        ("l.0=vanilla", {"a": 1, "l": ["vanilla", {"y": 1}], "sr-0.1": {"w": 1}, "n": None}),
        ("l.1.y=8/255", {"a": 1, "l": ["x", {"y": "8/255"}], "sr-0.1": {"w": 1}, "n": None}),
        ("l.2=z", {"a": 1, "l": ["x", {"y": 1}, "z"], "sr-0.1": {"w": 1}, "n": None}),
        ("sr-0.1.w=5e-4", {"a": 1, "l": ["x", {"y": 1}], "sr-0.1": {"w": 5e-4}, "n": None}),
        ("n.m.o=true", {"a": 1, "l": ["x", {"y": 1}], "sr-0.1": {"w": 1}, "n": {"m": {"o": True}}}),
        ("a=", {"a": None, "l": ["x", {"y": 1}], "sr-0.1": {"w": 1}, "n": None}),
        ("a=b=c", {"a": "b=c", "l": ["x", {"y": 1}], "sr-0.1": {"w": 1}, "n": None}),
    ],
)
def test_overrides(write: Write, override: str, expected: dict[str, Any]) -> None:
    base = "a: 1\nl: [x, {y: 1}]\nsr-0.1: {w: 1}\nn:\n"
    if override.startswith("a.b"):
        base = base.replace("a: 1", "a: {}")
    assert read(write(base), [override]).data == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("foo", "--set foo: expected a path and a value; write --set dotted.path=value, such as "
         "--set training.epochs=10"),
        ("=3", "--set =3: expected a path and a value; write --set dotted.path=value, such as "
         "--set training.epochs=10"),
        ("a..b=3", "--set a..b=3: expected a path and a value; write --set dotted.path=value, such "
         "as --set training.epochs=10"),
        ("a.b=3", "--set a.b=3: 'a' is a single value, not a mapping; set it as a whole: --set a=value"),
        ("l.7=3", "--set l.7=3: expected a list index from 0 to 1 (which appends), got '7'"),
        ("l.x=3", "--set l.x=3: expected a list index from 0 to 1 (which appends), got 'x'"),
        ("a=!!python/none x", "--set a=!!python/none x: the value has the tag !!python/none; remove "
         "it and write a plain value"),
        ("a=*b", "--set a=*b: the value has an alias (*name) whose anchor (&name) is not defined "
         "above it; write the value out"),
    ],
)  # fmt: skip
def test_malformed_overrides(write: Write, override: str, expected: str) -> None:
    assert message(write, "a: 1\nl: [1]\n", override) == expected


def test_the_last_override_wins(write: Write) -> None:
    file = read(write("a: 1\n"), ["a={b: 1}", "a.b=2", "a.b=3"])
    assert file.data == {"a": {"b": 3}}
    assert file.location(("a", "b")) == "--set a.b=3"
    assert file.location(("a",)) == "--set a={b: 1}"


GOOD = (
    "num_trials: 3\nstrategies:\n  a: {method: at, epsilon: 8/255}\n  b:\n    method: gr\n"
    "    weight: 1e-3\nbaselines: [vanilla, &x 'q', *x]\ngamma: {low: 1, high: 2}\nflag: on\n"
)
PIECES = [
    *"\t\n -:?[]{},&*!|>'\"%@`#~\0\x85\u2028é\U0001f600", "  ", "- ", ": ", "\n- ", "<<: ", "&x ",
    "*x", "!!str ", "!!int ", "!!python/object:os.system ", "---\n", "...\n", "%YAML 9.9\n", "no",
    "null", ".nan", "-.inf", "1e999", "0x", "9" * 50, "true", "method: ", "a: 1\n", "'", '"\\x',
    "? ", "2024-02-30", "!<tag:yaml.org,2002:map> ", "[[[[", "{{{{", "\ufeff", "\ud800",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The good file with pieces put in, cut out or written over."""
    text = GOOD
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 0, 1, 3, 20])))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[stop:]
    return text


def outcome(path: Path, overrides: list[str]) -> ConfigFile | str:
    try:
        file = read(path, overrides)
        check(file, Space)
    except ConfigError as error:
        return str(error)
    return file


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.one_of(damaged(), st.text(st.sampled_from("".join(PIECES)), max_size=40)))
def test_any_file_is_read_or_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    result = outcome(path, [])
    if isinstance(result, str):
        for line in result.split("\n"):
            assert re.match(rf"{re.escape(str(path))}:\d+:\d+ +\S", line), line
            assert "Traceback" not in line


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    overrides=st.lists(
        st.tuples(
            st.sampled_from(["num_trials", "strategies.a", "baselines.0", "gamma.low.x", "", "z"]),
            st.sampled_from(["=", ".", ""]),
            st.sampled_from(PIECES),
        ).map("".join),
        min_size=1,
        max_size=3,
    )
)
def test_any_override_is_taken_or_refused_in_words(tmp_path: Path, overrides: list[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(GOOD)
    result = outcome(path, overrides)
    assert not isinstance(result, str) or re.match(rf"--set |{re.escape(str(path))}:", result)
