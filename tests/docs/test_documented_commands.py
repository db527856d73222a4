"""Every command that the documentation has a reader type is typed here.

In the order of the pages, in one folder with one store, on shrunk settings (`shrunk`): a command is
the module it names, called in this process. What cannot run here stands in `ELSEWHERE` with a
reason; its options are read by its own parser all the same. The pages of `howto/` have a test of
their own, `test_howto.py`. A new command that belongs to neither fails with a message.
"""

import argparse
import contextlib
import importlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.__main__ import COMMANDS
from pipeline.threats import load_suite
from tests.docs.pages import REPOSITORY, Command, commands, files, mentioned, pages

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST = ("README.md", "docs/tutorial.md")
"""Pages whose commands the others build on."""
TYPED = [
    command
    for page in sorted(pages(), key=lambda p: (str(p.relative_to(REPOSITORY)) not in FIRST, p))
    if page.parent.name != "howto" or page.stem == "cluster"
    for command in commands(page)
]
ELSEWHERE = {
    r"docker|podman|ssh|docker/": "needs a container engine: docker/smoke.sh, tests/docker",
    r"python -m benchmarks\.|benchmarks/": "measures for minutes to hours",
    r"make test$": "runs this very test",
    r"make docs$": "tests/docs/test_site.py builds the site",
    r"make ui|make dashboard|mlflow ": "a server, which runs until Ctrl-C, or what asks it",
    r"python -m .* chosen/checkpoint": "what that server gave; tests/test_sweep.py fetches it",
    r"ray ": "starts and stops a cluster; tests/crash has one of real nodes",
    r"python -m pipeline\.(sweep|doctor) .*--address": "needs that cluster; tests/crash, "
    "tests/test_doctor.py",
    r"python -m pipeline\.sweep .*s3://": "needs an object store: tests/test_object_store.py",
    r"python -m pipeline\.sweep .*--space (benchmarks|search_spaces/(?!lambda\.yaml))": "every "
    "shipped space is checked in tests/test_commands.py; their kinds in tests/test_sweep*.py",
    r"python docs/draw_concepts\.py": "tests/docs/test_site.py runs it",
    r"export |source |chmod |tar |git |cd ": "changes the reader's shell or machine alone",
}
"""Commands (a pattern of how they begin) that do not run here, and why."""
SUITE = """
name: documented
epsilon: 0.1
judge: {judge}
attacks: {{fgsm: {{method: fgsm}}, pgd2: {{method: pgd, num_steps: 2}}}}
oracles: [{{surrogate: triangle}}, {{method: rga}}]
then: [{{access: transfer, attacks: {{over: {{method: fgsm}}}}, oracles: [{{method: own}}]}}]
"""
AUDIT = """
name: audit
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
  pgd10: {method: pgd, num_steps: 3, iterate: any}
  pgd50: {method: pgd, num_steps: 6, iterate: any}
oracles: [{method: own}, {surrogate: sigmoid}]
then:
  - {access: transfer, attacks: {transfer: {method: fgsm}}, oracles: [{method: own}]}
"""


def shrunk(words: list[str], folder: Path) -> list[str]:
    """The same command on little data, few epochs and weak attacks.

    Of an option that is given twice the last one counts.
    """
    module, options = words[2], words[3:]
    store = ["--store", str(folder / "runs")]  # Ray's workers stand elsewhere
    if module == "pipeline.sweep":
        settings = {
            "data": "{dataset: digits, num_train: 200, num_validation: 24, num_test: 30}",
            "model.channels": "[4, 4, 4]",
            "training.epochs": "4",
            "training.batch_size": "20",
            "baselines": "[vanilla]",
            "search.parameters": "{strategy.sparsity_weight: {values: [0.05]}}",
            "seeds": "1" if "seeds" not in " ".join(options) else "2",
            "evaluation.suite": str(folder / "plain.yaml"),
            "report.suite": str(folder / "exact.yaml"),
            "report.num_samples": "12",
            "report.audit": str(folder / "audit.yaml"),
            "report.audit_samples": "6",
            "compute.gpus_per_trial": "0",
            "compute.gpus_per_evaluation": "0",
        }
        options = [*options, *store]
        for key, value in settings.items():
            options += ["--set", f"{key}={value}"]
    elif module == "pipeline.evaluate":
        if "--suite" in options:
            suite = options[options.index("--suite") + 1]
            load_suite(suite)  # there is such a suite; its attacks are replaced
            name = "audit.yaml" if suite == "audit" else "exact.yaml"
            options = [*options, "--suite", str(folder / name), "--num-samples", "6"]
        options = [*options, *store]
    elif module in ("pipeline.recheck", "pipeline.doctor", "reports.build", "reports.export"):
        options = [*options, *store]
    return ["python", "-m", module, *options]


def filled(words: list[str], folder: Path) -> list[str]:
    """The words with the names of this store's networks in the place of a page's placeholders."""
    found = sorted(str(path) for path in folder.glob("runs/trials/*/checkpoint.safetensors"))
    if not found:
        return words
    names = {"FILE": found[0], "OTHER": found[1], "NETWORK": Path(found[0]).parent.name}
    names["sr-004"] = "sr-000"  # of the one setting that a shrunk search has
    names["chosen/checkpoint.safetensors"] = found[0]  # as a server of MLflow's gives it
    return [names.get(word, word) for word in words]


def made_by_make(words: list[str]) -> list[list[str]]:
    """The commands of this project that a target of the Makefile runs."""
    result = subprocess.run(
        ["make", "--dry-run", "--always-make", *words[1:]],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = [shlex.split(line) for line in result.stdout.replace("\\\n", " ").splitlines()]
    ours = [line for line in lines if line[1:2] == ["-m"] and line[2].split(".")[0] != "pip"]
    return [["python", *line[1:]] for line in ours if line[2] not in ("venv", "pytest")]


def spelled_out(words: list[str]) -> list[str]:
    """A short form's own module: `spikeproof sweep`, `python -m pipeline sweep`."""
    words = ["python", "-m", "pipeline", *words[1:]] if words[0] == "spikeproof" else words
    if words[:3] != ["python", "-m", "pipeline"]:
        return words
    name = words[3] if len(words) > 3 and words[3] in COMMANDS else "__main__"
    package = COMMANDS[name][0] if name in COMMANDS else "pipeline"
    return ["python", "-m", f"{package}.{name}", *words[4:]]


class Parsed(Exception):
    """Raised in the place of what a command would do."""


def parse(words: list[str]) -> None:
    """Have a command's own parser read its options, and nothing more."""
    words = spelled_out(words)
    if words[:5] == ["docker", "compose", "run", "--rm", "sweep"]:
        words = ["python", "-m", "pipeline.sweep", "--space", "SPACE", *words[5:]]
    if words[0] == "ray":
        from ray.scripts.scripts import cli

        cli.commands[words[1]].make_context(words[1], words[2:])
    if words[:2] != ["python", "-m"]:
        return
    read = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        read(self, args, namespace)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", words[2:])
        main = importlib.import_module(words[2]).main
        with pytest.raises(Parsed):
            main(words[3:]) if words[2].startswith(("pipeline", "reports")) else main()


def reason(command: Command) -> str:
    """Why a command does not run here; empty if it does."""
    # Variables that are set for one command stand before it.
    text = re.sub(r"^([A-Z_]+=\S+ )+", "", shlex.join(command.words))
    return next((why for start, why in ELSEWHERE.items() if re.match(start, text)), "")


def run(command: Command, folder: Path) -> list[str]:
    """What went wrong when the command was typed; nothing if all was well."""
    words = spelled_out(command.words)
    if re.fullmatch(r"python [\w/]+\.py", shlex.join(words)):
        runpy.run_path(words[1], run_name="__main__")
        return []
    if words[0] == "make":
        ours = made_by_make(words)
    else:
        ours = [words] if words[:2] == ["python", "-m"] else []
    if not ours or not all(line[2].startswith(("pipeline.", "reports.")) for line in ours):
        return [f"{command.text}: no command of this project; say in ELSEWHERE why not to run it"]
    problems = []
    for line in ours:
        parse(line)
        typed = shrunk(filled(line, folder), folder)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = importlib.import_module(typed[2]).main(typed[3:])
        if code:
            problems.append(f"{shlex.join(typed)}: exit code {code}: {said.getvalue()}")
    return problems


@pytest.fixture(scope="module")
def ended(ray_session, tmp_path_factory) -> Iterator[dict[Command, list[str]]]:
    """What went wrong with each command that runs here, all of them typed in order."""
    folder = tmp_path_factory.mktemp("reader")
    for judge in ("plain", "exact"):
        (folder / f"{judge}.yaml").write_text(SUITE.format(judge=judge))
    (folder / "audit.yaml").write_text(AUDIT)
    for name in ("search_spaces", "pipeline"):
        (folder / name).symlink_to(REPOSITORY / name)
    for page in {command.page for command in TYPED}:
        for name, text in files(page).items():
            (folder / name).write_text(text)
    # The weights that a reader brings along.
    own = runpy.run_path(str(folder / "networks.py"))["make"]()
    torch.save(own.state_dict(), folder / "digits.pt")
    before = Path.cwd()
    os.chdir(folder)
    results = {}
    try:
        for command in TYPED:
            if not reason(command):
                try:
                    results[command] = run(command, folder)
                except (Exception, SystemExit) as error:
                    results[command] = [f"{command.text}: {type(error).__name__}: {error}"]
        yield results
    finally:
        os.chdir(before)


@pytest.mark.parametrize("command", TYPED, ids=lambda command: command.place)
def test_a_documented_command_runs(command: Command, ended: dict[Command, list[str]]) -> None:
    if not reason(command):
        assert ended[command] == []
        return
    words = [word for word in command.words if not re.fullmatch(r"[A-Z_]+=\S+", word)]
    parse(words)
    for word in words:  # the files it names are there
        if re.fullmatch(r"[\w./-]+\.(yaml|sh|py)", word):
            assert (REPOSITORY / word).exists(), word


MENTIONED = [command for page in pages() for command in mentioned(page)]


@pytest.mark.parametrize("command", MENTIONED, ids=lambda command: command.place)
def test_a_mentioned_command_has_these_options(command: Command) -> None:
    parse(command.words)


def test_every_reason_is_still_needed() -> None:
    assert set(ELSEWHERE.values()) == {reason(command) for command in TYPED} - {""}
