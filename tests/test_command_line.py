"""Help, version, the list of commands, and what a real shell offers at a press of TAB."""

import importlib
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from pipeline import __main__, __version__, evaluate
from pipeline.command_line import this_python
from pipeline.data import DATASETS

ROOT = Path(__file__).parents[1]
MODULES = [f"{package}.{name}" for name, (package, _) in __main__.COMMANDS.items()]
SLOW = {"torch", "ray", "mlflow", "optuna", "pyarrow", "pandas", "matplotlib", "pydantic", "numpy"}


def run(*arguments, cwd=ROOT, **options):
    """A Python process of the project's own, wherever it runs."""
    command = [sys.executable, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, **options
    )


def examples(module):
    """The command lines in a command's help, each as its words behind `python -m MODULE`."""
    text = importlib.import_module(module).parser().epilog.replace("\\\n", " ")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("  python ")]
    assert all(words[:3] == ["python", "-m", module] for words in lines)
    return [words[3 : words.index(">") if ">" in words else None] for words in lines]


def test_every_command_is_listed():
    found = {
        f"{path.parent.name}.{path.stem}"
        for package in ("pipeline", "reports")
        for path in (ROOT / package).glob("*.py")
        if '__name__ == "__main__"' in path.read_text() and path.stem != "__main__"
    }
    assert found == set(MODULES)


@pytest.mark.parametrize("module", [*MODULES, "pipeline", "reports"])
def test_help_and_version_load_nothing_that_takes_long(module):
    code = (
        "import runpy, sys\n"
        "for option in ('--version', '--help'):\n"
        f"    sys.argv = ['command', option]\n"
        "    try:\n"
        f"        runpy.run_module({module!r}, run_name='__main__')\n"
        "    except SystemExit as left:\n"
        "        assert not left.code, left\n"
        f"print(sorted({SLOW!r} & set(sys.modules)))\n"
    )
    lines = run("-c", code, check=True).stdout.splitlines()
    assert lines[0] == f"spikeproof {__version__}"
    assert lines[1].startswith("usage: ")
    assert lines[-1] == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_help_are_command_lines(module):
    found = examples(module)
    assert found
    parser = importlib.import_module(module).parser()
    for words in found:
        options = parser.parse_args(words)
        space = getattr(options, "space", None)
        assert space is None or (ROOT / space).exists()


@pytest.mark.parametrize("module", MODULES)
def test_every_option_says_what_it_is(module):
    parser = importlib.import_module(module).parser()
    assert [action.dest for action in parser._actions if not action.help] == []


def test_help_names_the_data_sets_that_need_no_folder():
    assert set(evaluate.IMAGES) == set(DATASETS) - {"parquet"}


def test_the_list_has_a_line_a_command_and_the_next_step(tmp_path):
    done = run("-m", "pipeline", cwd=tmp_path, check=True)
    for name, (package, does) in __main__.COMMANDS.items():
        assert re.search(rf"^  python -m {package}\.{name} +{re.escape(does)}$", done.stdout, re.M)
    first = f"{sys.executable} -m pipeline.sweep --space search_spaces/lambda.yaml"
    assert f"next:\n  {first}" in done.stdout
    assert run("-m", "reports", "--help", cwd=tmp_path).stdout == done.stdout.replace(
        "python -m pipeline COMMAND", "python -m reports COMMAND"
    )


@pytest.mark.parametrize("command", [
    ["pipeline.sweep", "--space", "search_spaces/lambda.yaml"], ["pipeline.doctor"],
    ["reports.build"], ["reports.export", "--sweep", "s", "--out", "exported"],
    ["pipeline.recheck", "--run", "sr-000"],
])  # fmt: skip
def test_a_python_without_the_environment_is_told_so(command):
    done = run("-S", "-m", *command)  # without site-packages
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"{re.escape(sys.executable)} has no \w+: write .*\n", done.stderr)


def test_the_next_step_follows_from_the_store(tmp_path):
    folder = tmp_path / "sweeps" / "mine"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    assert f"  {this_python()} -m reports.build --sweep mine" in __main__.next_step(tmp_path)
    page = tmp_path / "reports" / "mine" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert __main__.next_step(tmp_path)[0] == f"  open {page} in a browser"


def test_a_command_by_its_name_alone(capsys):
    assert __main__.main(["evaluate"]) == 2
    assert "--checkpoint: name the file of a network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("swep", "no command 'swep'; did you mean 'sweep'?"),
        ("report\x1b[31m", r"no command 'report\x1b[31m'"),
        ("zzz", "there are sweep, train, evaluate"),
    ],
)
def test_an_unknown_word(capsys, word, said):
    with pytest.raises(SystemExit) as left:
        __main__.main([word])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Environment and folder of a shell that finds `spikeproof` as an installation makes it."""
    folder = tmp_path_factory.mktemp("shell")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (name, place), (module, _, function) = (
        next(iter(scripts.items())),
        scripts["spikeproof"].partition(":"),
    )
    assert name == "spikeproof"
    script = folder / "bin" / "spikeproof"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    script.chmod(0o755)
    (folder / "spaces").mkdir()
    (folder / "spaces" / "mine.yaml").touch()
    (folder / "spaces" / "notes.txt").touch()
    for sweep, labels in {"first": ["at", "sr-000"], "second": ["rat"]}.items():
        place = folder / "store" / "sweeps" / sweep
        place.mkdir(parents=True)
        (place / "sweep.json").write_text("{}")
        (place / "trials.json").write_text(json.dumps([{"label": label} for label in labels]))
    path = f"{script.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return folder, {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb"}


def offered(shell, *lines):
    """What a real bash offers behind each line."""
    folder, env = shell
    asks = "".join(f"ask {shlex.quote(line)}\n" for line in lines)
    script = (
        'eval "$(spikeproof completion bash)"\n'
        "ask() {\n"
        "    COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()\n"
        "    _python_argcomplete spikeproof\n"
        '    (IFS="|"; echo "${COMPREPLY[*]}")\n'
        "}\n" + asks
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return [[word.strip() for word in line.split("|")] for line in done.stdout.splitlines()]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_is_offered_what_fits(shell):
    commands, options, spaces, suites, numbers, sweeps, labels, orders = offered(
        shell,
        "spikeproof ",
        "spikeproof sweep --pl",
        "spikeproof sweep --space spaces/",
        "spikeproof evaluate --suite stro",
        "spikeproof sweep --trials ",
        "spikeproof export --store store --sweep ",
        "spikeproof recheck --store store --sweep first --run ",
        "spikeproof evaluate --order ",
    )
    assert set(__main__.COMMANDS) < set(commands)
    assert options == ["--plan"]
    assert spaces == ["spaces/mine.yaml"]
    assert suites == ["strong"]
    assert numbers == [""]
    assert sweeps == ["first", "second"]
    assert labels == ["at", "sr-000"]
    assert orders == ["all", "survivors"]


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, argv, shell):
        folder, env = shell
        # In a process of its own: pytest's has threads, which must not be forked.
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import pty; pty.spawn({argv!r})"],
            cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def types(self, keys, wanted):
        """What is shown from then on, until `wanted` appears."""
        self.process.stdin.write(keys.encode())
        self.process.stdin.flush()
        shown, deadline = "", time.monotonic() + 60
        while wanted not in shown and time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 1)[0]:
                shown += os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
        return shown


@pytest.mark.parametrize(
    ("argv", "prepare"),
    [
        (["bash", "--norc", "-i"], ""),
        (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; "),
    ],
    ids=["bash", "zsh"],
)
def test_a_press_of_tab_at_a_terminal(shell, argv, prepare):
    if not shutil.which(argv[0]):
        pytest.skip(f"{argv[0]} is not installed")
    terminal = Terminal(argv, shell)
    try:
        # Not as typed, so that the echo of it is not taken for the answer.
        setup = f'{prepare}eval "$(spikeproof completion {argv[0]})"; echo rea""dy\n'
        assert "ready" in terminal.types(setup, "ready")
        assert "mine.yaml" in terminal.types("spikeproof sweep --space spaces/mi\t", "mine.yaml")
        assert "--plan" in terminal.types(" --pl\t", "--plan")
    finally:
        terminal.process.kill()
        terminal.process.communicate()


def test_the_long_form_is_marked_for_argcomplete():
    for module in [*MODULES, "pipeline", "reports"]:
        done = run("-m", "argcomplete._check_module", module)
        assert done.returncode == 0, done.stderr
