"""YAML of a stranger: spaces, suites, data sections and `--set`."""

import time

import pytest

from pipeline import evaluate, sweep
from tests.tiny import SPACE, SUITE, write_space

TAGS = [
    "!!python/object/apply:os.system ['touch CANARY']",
    "!!python/object/new:subprocess.Popen [[touch, CANARY]]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!custom {a: 1}",
    "!!binary aGk=",
]
NESTED = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
LONG = "description: &a " + "x" * 100_000 + "\nmore: [" + ", ".join(["*a"] * 30_000) + "]\n"


@pytest.mark.parametrize("tag", TAGS)
def test_tags_build_nothing(tmp_path, canary, refused, tag):
    text = tag.replace("CANARY", str(canary))
    space = write_space(tmp_path, SPACE.replace("seed: 0", f"seed: {text}"))
    assert "the tag" in refused(sweep.main, "--space", space, "--plan")
    space = write_space(tmp_path)
    assert "the tag" in refused(sweep.main, "--space", space, "--plan", "--set", f"seed={text}")
    (tmp_path / "suite.yaml").write_text(SUITE.replace("epsilon: 0.1", f"epsilon: {text}"))
    assert "the tag" in refused(sweep.main, "--space", space, "--plan")
    (tmp_path / "data.yaml").write_text(f"data: {text}\n")
    refused(
        evaluate.main,
        *("--checkpoint", "x", "--model", "a:b", "--data", tmp_path / "data.yaml"),
        *("--suite", "quick"),
    )


@pytest.mark.parametrize(
    "bomb",
    [
        NESTED,
        LONG,
        "\n".join(f"k{i}: 1" for i in range(20_000)),
        "z: " + "[" * 100_000,
        "z: " + "{a: " * 20_000,
        "z: &z [*z]",
        "seed: " + "9" * 100_000,
        "z: {" + ", ".join(f"k{i}: 1" for i in range(9_000)) + "}",
    ],
    ids=["aliases", "text", "keys", "lists", "maps", "itself", "digits", "inner-keys"],
)
def test_bombs_end_soon(tmp_path, refused, bomb):
    space = write_space(tmp_path, SPACE.replace("seed: 0\n", "") + bomb + "\n")
    began = time.monotonic()
    refused(sweep.main, "--space", space)
    flow = ", ".join(bomb.splitlines())
    refused(sweep.main, "--space", write_space(tmp_path), "--set", f"description={{{flow}}}")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "=",
        "..=1",
        "a..b=1",
        "__class__.x=1",
        "data.__dict__=1",
        "strategies.__proto__={method: sr}",
        "strategies.a/b={method: sr}",
        "search.parameters.strategy.__class__.low=1",
        "seed.real=1",
        "\0=1",
        "seed=\0",
        'seed="\\e]0;title\\a"',
        '"\\e[31m"=1',
        "name=../../x",
        "name='a\nb'",
        'name="<script>"',
        "training.epochs=1e400",
        "model.channels=[100000, 100000, 100000]",
        "data={dataset: parquet, root: /, train: '../**'}",
        "evaluation.suite=../../../etc/passwd",
        'evaluation.suite="a\\0b.yaml"',
    ],
)
def test_settings_reach_configuration_alone(tmp_path, refused, setting):
    # Without --plan, as data and network are looked at before Ray is started.
    refused(sweep.main, "--space", write_space(tmp_path), "--set", setting)


@pytest.mark.parametrize(
    "space", ["\0", "a\0.yaml", "a\nb.yaml", "-x.yaml", "../" * 50 + "etc/passwd", "/dev/zero",
              "/proc/self/environ", "x" * 5000, "--"]
)  # fmt: skip
def test_space_files(refused, space):
    refused(sweep.main, f"--space={space}")
