"""A network taken along: it runs with PyTorch alone, and is the network that the store has."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from comparisons import write_study
from stores import trial, write_audit, write_sweep

from models import GradientEstimator, InputSpec, ModelConfig, NeuronConfig, oracle
from pipeline import checkpoints
from pipeline.config import TrialConfig
from pipeline.data import DigitsConfig
from pipeline.standalone import write_standalone
from pipeline.training.config import TrainingConfig
from pipeline.training.sparsity import SRConfig
from reports.export import main
from tests import victims

IMAGES = InputSpec(channels=1, height=8, width=8, num_classes=10, mean=(0.3,), std=(0.4,))
FRAMES = InputSpec(channels=2, height=8, width=8, num_classes=10, frames=True, scale=3.0)
NETWORKS = {
    "images": (victims.small(neuron=NeuronConfig(leak=0.9, surrogate="sigmoid")), IMAGES),
    "poisson": (victims.small(encoding="poisson"), IMAGES),
    "frames": (victims.small(input="scaled"), FRAMES),
    "wide": (ModelConfig(architecture="wrn16_4", num_timesteps=2), IMAGES),
}
ALONE = """
import importlib.abc, json, runpy, sys
import torch

class OnlyTorch(importlib.abc.MetaPathFinder):
    '''From here on, whatever is neither Python's nor PyTorch's own is not to be had.'''

    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        mine = top in sys.stdlib_module_names or top in OWN or name == "spiking_network"
        if mine or name.startswith("spiking_network."):
            return None
        raise ImportError(f"{name} is blocked")

OWN = {"torch", "functorch", "torchgen", "sympy", "mpmath", "typing_extensions", "jinja2"}
sys.meta_path.insert(0, OnlyTorch())
torch.set_num_threads(1)
found = []
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    runpy.run_path(f"{folder}/example.py", run_name="__main__")
    from spiking_network import GradientEstimator, load, oracle
    model = load()
    inputs = torch.load(f"{folder}/inputs.pt", weights_only=True).requires_grad_()
    answers = []
    for answer in (model, oracle(model, GradientEstimator(method="rga"))):
        torch.manual_seed(1)
        logits = answer(inputs)
        answers += [logits.detach(), *torch.autograd.grad(logits.square().sum(), inputs)]
    model.train()
    model(inputs.detach()).sum().backward()
    answers.append(next(model.parameters()).grad)
    torch.save(answers, f"{folder}/answers.pt")
    sys.path.remove(folder)
    for name in [n for n in sys.modules if n.partition(".")[0] == "spiking_network"]:
        del sys.modules[name]
assert not {"models", "pipeline", "reports", "ray", "optuna", "mlflow"} & set(sys.modules)
"""


def stored(folder: Path, model: ModelConfig, spec: InputSpec, fingerprint: str) -> Path:
    """A checkpoint of a network that fires, in the place that a sweep gives it."""
    config = TrialConfig(
        data=DigitsConfig(),
        model=model,
        training=TrainingConfig(epochs=3, augmentation="none"),
        strategy=SRConfig(method="sr", sparsity_weight=0.02),
    )
    path = folder / "trials" / fingerprint / checkpoints.FILE_NAME
    path.parent.mkdir(parents=True)
    network = victims.lively(model, spec)
    checkpoints.save(
        path, network, None, epoch=3, config=config, fingerprint=fingerprint, spec=spec
    )
    return path


@pytest.fixture
def sweep(tmp_path):
    """A store with sweep A: two baselines and two searched networks, with their checkpoints."""
    counts = {"vanilla": (98, 20), "at": (90, 80), "sr-a": (95, 70), "sr-b": (96, 40)}
    write_study(tmp_path, "A", counts)
    for label in ("at", "sr-a", "sr-b"):
        stored(tmp_path, *NETWORKS["images"], f"{label}0000")
    return tmp_path


def exported(store, *arguments):
    out = store / "exported"
    return main(["--store", str(store), "--sweep", "A", "--out", str(out), *arguments]), out


def test_it_answers_as_the_store_s_own_with_nothing_but_torch(tmp_path):
    folders, answers = [], []
    for name, (model, spec) in NETWORKS.items():
        checkpoint = stored(tmp_path, model, spec, name)
        folder = tmp_path / f"exported {name}"
        told = write_standalone(checkpoint, name, folder)
        folders.append(folder)
        own = checkpoints.rebuild(checkpoints.load(checkpoint))
        shape = (3, spec.channels, 8, 8)
        inputs = (
            torch.rand(3, model.num_timesteps, *shape[1:]) * 4 if spec.frames else torch.rand(shape)
        )
        torch.save(inputs, folder / "inputs.pt")
        inputs.requires_grad_()
        expected = []
        for answer in (own, oracle(own, GradientEstimator(method="rga"))):
            torch.manual_seed(1)
            logits = answer(inputs)
            expected += [logits.detach(), *torch.autograd.grad(logits.square().sum(), inputs)]
        answers.append((told, expected))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *map(str, folders)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    for folder, (told, expected), line in zip(folders, answers, printed, strict=True):
        found = torch.load(folder / "answers.pt", weights_only=True)
        assert json.loads(line) == list(told.classes)
        for mine, theirs in zip(expected, found[:-1], strict=True):
            assert torch.equal(mine, theirs), folder
            assert mine.any(), folder
        assert found[-1].any(), "it cannot be trained"


def test_the_copy_imports_torch_and_the_standard_library_alone(tmp_path):
    write_standalone(stored(tmp_path, *NETWORKS["images"], "f"), "f", tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*.py"))
    assert len(files) > 15
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in {name.partition(".")[0] for name in names}:
                own = path.name == "example.py" and name == "spiking_network"
                assert name == "torch" or name in sys.stdlib_module_names or own, path
    lines = (tmp_path / "out/example.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


def test_without_a_name_it_is_the_one_that_the_report_calls_chosen(sweep, capsys):
    write_audit(sweep, "sr-a", "WARN", warned=("losses",))
    code, out = exported(sweep, "--network")
    captured = capsys.readouterr()
    assert code == 0
    assert captured.out.splitlines()[-1] == str(out / "network-sr-a")
    assert captured.err == (
        "sr-a of sweep A: the searched network of the highest robust accuracy on validation "
        "images, 70.0 % (n=100), with at least 50.0 % clean; audit WARN\n"
    )
    card = (out / "network-sr-a" / "README.md").read_text()
    assert "70.0 % (95 % interval 60.4–78.1, n=100)" in card
    assert "suite full: 2 attacks, 100 images, radius 8/255" in card
    assert "WARN, 40.0 % withstand" in card
    assert "What losses found." in card
    assert "the first layer normalises them (mean 0.3000; deviation 0.4000)" in card
    assert "leak 0.9, threshold 1, reset to 0; trained through the surrogate sigmoid" in card
    licence = (Path(__file__).parents[2] / "LICENSE").read_text()
    assert (out / "network-sr-a" / "LICENSE").read_text() == licence


def test_what_failed_its_audit_is_not_chosen(sweep, capsys):
    write_audit(sweep, "sr-a", "FAIL", failed=("ball",))
    assert exported(sweep, "--network")[0] == 0
    assert capsys.readouterr().err.startswith("sr-b of sweep A: ")
    assert exported(sweep, "--network", "sr-a")[0] == 0  # by its name it can be had
    assert "FAIL, " in (sweep / "exported/network-sr-a/README.md").read_text()


def test_where_nothing_was_searched_the_best_baseline_is_chosen(tmp_path, capsys):
    write_study(tmp_path, "A", {"vanilla": (98, 20), "at": (90, 80)})
    stored(tmp_path, *NETWORKS["images"], "at0000")
    assert exported(tmp_path, "--network")[0] == 0
    assert capsys.readouterr().err.startswith("at of sweep A: the reported network")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--network", "sr-q"],
            "has that label or fingerprint; write one of vanilla, at, sr-a, sr-b",
        ),
        (["--network", "../../at"], "has that label or fingerprint"),
        (["--network", "vanilla"], "no such checkpoint"),
        (["--sweep", "B", "--network"], "several sweeps"),
        (["--network", "evil"], "label of a network: expected letters"),
    ],
)
def test_what_cannot_be_taken_along_is_one_message(sweep, capsys, arguments, said):
    write_study(sweep, "B", {"sr-c": (95, 70)})
    path = sweep / "sweeps/A/trials.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows, trial("../x", fingerprint="evil")]))
    assert exported(sweep, *arguments)[0] == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (sweep / "exported").exists()


def test_a_checkpoint_of_another_network_is_not_passed_on(sweep, capsys):
    other = sweep / "trials/sr-b0000/checkpoint.safetensors"
    other.replace(sweep / "trials/sr-a0000/checkpoint.safetensors")
    assert exported(sweep, "--network", "sr-a")[0] == 2
    assert "expected network sr-a0000, got sr-b0000" in capsys.readouterr().err


def test_a_sweep_without_a_network_to_choose_says_so(tmp_path, capsys):
    write_sweep(tmp_path, "A", [trial("sr-1")])
    assert exported(tmp_path, "--network")[0] == 2
    assert "has no network to choose" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


def test_no_place_of_this_machine_is_passed_on(sweep):
    assert exported(sweep, "--network")[0] == 0
    for path in (sweep / "exported/network-sr-a").rglob("*"):
        if path.is_file():
            assert str(sweep).encode() not in path.read_bytes(), path
