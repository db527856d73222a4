"""Networks of the user's own through the command: what is taken, what is said, what is refused."""

import dataclasses
import importlib
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from models import InputSpec, build_model
from pipeline import checkpoints, evaluate, evaluate_run
from pipeline.config import TrialConfig
from pipeline.data import DigitsConfig, load_dataset
from pipeline.errors import ConfigError
from pipeline.foreign_network import data_config, load_network
from pipeline.training.config import TrainingConfig
from pipeline.training.vanilla import VanillaConfig
from tests import victims

PLAIN = """
import torch
from torch import nn


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


def few():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(63, 10))


class Pair(nn.Module):
    def forward(self, images):
        return images, images


def pair():
    return Pair()


def number():
    return 3


def needs(channels):
    return nn.Flatten()


def breaks():
    raise KeyError("depth")


weights = 5
"""
SPIKING = """
import torch
from torch import nn
from spikingjelly.activation_based import neuron, surrogate

TIME = 4


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.spikes = neuron.IFNode(
            surrogate_function=surrogate.ATan(), step_mode="m", detach_reset=True
        )
        self.second = nn.Linear(32, 10)

    def forward(self, images):
        current = self.first(images.flatten(1)).expand(TIME, len(images), 32)
        return self.second(self.spikes(current).mean(0))


def make():
    return Network()
"""
SUITE = """
name: mine
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
  pgd3: {method: pgd, num_steps: 3, iterate: any, loss: margin}
oracles:
  - {surrogate: triangle}
  - {surrogate: sigmoid}
  - {method: rga}
"""
TRANSFER = """
name: borrowed
epsilon: 0.1
access: transfer
attacks:
  pgd5: {method: pgd, num_steps: 5, loss: margin}
oracles:
  - {surrogate: triangle}
  - {method: rga}
"""
MIXED = (
    SUITE.replace("name: mine", "name: mixed")
    + """
then:
  - access: transfer
    attacks:
      pgd5: {method: pgd, num_steps: 5, loss: margin}
    oracles: [{method: rga}]
"""
)

Said = tuple[int, str, str]
Command = Callable[..., Said]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with networks and suites, from which the command is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(evaluate_run, "local_resources", lambda: {"CPU": 1})
    texts = {"plain.py": PLAIN, "spiking.py": SPIKING, "mine.yaml": SUITE,
             "borrowed.yaml": TRANSFER, "mixed.yaml": MIXED}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for module in ("plain", "spiking"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    yield tmp_path
    for module in ("plain", "spiking"):
        sys.modules.pop(module, None)


@pytest.fixture
def command(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command with a store beside the networks: exit code, what it printed, what it told."""

    def run(*options: object) -> Said:
        code = evaluate.main([str(option) for option in (*options, "--store", "store")])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run


def trained_by_hand(network: torch.nn.Module, steps: int = 60) -> dict[str, torch.Tensor]:
    """Weights that read most digits."""
    data = load_dataset(DigitsConfig()).train
    images, labels = torch.tensor(data.images) / 255, torch.tensor(data.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        for module in network.modules():
            if hasattr(module, "v") and hasattr(module, "reset"):
                module.reset()
    return {name: value.detach() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def plain_weights() -> dict[str, torch.Tensor]:
    names: dict[str, Any] = {}
    exec(PLAIN, names)
    torch.manual_seed(0)
    return trained_by_hand(names["make"]())


@pytest.fixture
def weights(workplace: Path, plain_weights: dict[str, torch.Tensor]) -> Path:
    save_file(plain_weights, workplace / "weights.safetensors")
    return workplace / "weights.safetensors"


def own(weights: Path, function: str = "plain:make", suite: str = "mine.yaml") -> list[object]:
    return ["--model", function, "--checkpoint", weights, "--data", "digits",
            "--suite", suite, "--num-samples", 24]  # fmt: skip


def accuracies(printed: str) -> dict[str, float]:
    """Accuracy in percent by member, and of all together."""
    found = re.findall(r"^ *\d+:\d+  (\S+|all that count: robust accuracy) +([\d.]+) %", printed,
                       re.MULTILINE)  # fmt: skip
    return {name: float(value) for name, value in found}


def test_a_plain_network_has_its_own_gradient_alone(command: Command, weights: Path) -> None:
    code, printed, _ = command(*own(weights))
    assert code == 0
    assert "its own gradient" in printed
    assert "stands for triangle, sigmoid, rga" in printed
    found = accuracies(printed)
    assert list(found) == ["clean", "fgsm+own", "pgd3+own", "all that count: robust accuracy"]
    assert found["clean"] > 80
    assert found["pgd3+own"] < found["clean"] - 20
    assert found["all that count: robust accuracy"] <= min(found["fgsm+own"], found["pgd3+own"])
    assert "4 blocks, 0 of them stored" in printed


def test_an_exact_suite_judges_it_plain_and_says_so(
    command: Command, weights: Path, workplace: Path
) -> None:
    text = (workplace / "mine.yaml").read_text()
    (workplace / "exact.yaml").write_text(text + "\njudge: exact\n")
    code, printed, _ = command(*own(weights, suite="exact.yaml"))
    assert code == 0
    assert "the network is none of this project's: its verdicts are those of its plain" in printed
    code, printed, _ = command(*own(weights))
    assert code == 0
    assert "4 blocks, 4 of them stored" in printed  # the same hashes


def test_a_second_run_finds_everything_stored(command: Command, weights: Path) -> None:
    first = command(*own(weights))
    second = command(*own(weights))
    assert "4 blocks, 4 of them stored" in second[1]
    assert accuracies(first[1]) == accuracies(second[1])
    # Other weights are another network.
    other = weights.with_name("other.safetensors")
    save_file({name: 0.5 * value for name, value in torch_weights(weights).items()}, other)
    assert "4 blocks, 0 of them stored" in command(*own(other))[1]


def torch_weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_may_be_a_state_dict_of_torch(
    command: Command, weights: Path, wrapped: bool
) -> None:
    state: Any = torch_weights(weights)
    path = weights.with_name("weights.pt")
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    found, expected = (accuracies(command(*own(file))[1]) for file in (path, weights))
    # Another file is another network, with random starts of its own.
    assert found.keys() == expected.keys()
    for name in ("clean", "fgsm+own"):
        assert found[name] == expected[name]


def test_a_spiking_network_has_surrogates(command: Command, workplace: Path) -> None:
    pytest.importorskip("pipeline.data.torchvision_import").torchvision_datasets()
    pytest.importorskip("spikingjelly.activation_based")
    sys.path.insert(0, str(workplace))
    import spiking  # type: ignore[import-not-found]

    torch.manual_seed(0)
    path = workplace / "spiking.safetensors"
    save_file(trained_by_hand(spiking.make()), path)
    code, printed, _ = command(*own(path, "spiking:make"))
    assert code == 0
    assert "stands for" not in printed
    found = accuracies(printed)
    oracles = ("triangle", "sigmoid", "rga")
    assert list(found)[:-1] == ["clean", *(f"{a}+{o}" for a in ("fgsm", "pgd3") for o in oracles)]
    assert found["clean"] > 60
    assert found["all that count: robust accuracy"] < found["clean"] - 20
    # The neurons keep their voltages between calls; the judge's answers must not.
    assert "its answers are random" not in printed
    assert "8 blocks, 8 of them stored" in command(*own(path, "spiking:make"))[1]


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize("how", ["pickle", "torch", "whole network", "text", "empty", "zip"])
def test_what_needs_code_is_never_loaded(command: Command, workplace: Path, how: str) -> None:
    path = workplace / "weights.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    elif how == "torch":
        torch.save({"weight": torch.zeros(1), "more": Evil()}, path)
    elif how == "whole network":
        torch.save(torch.nn.Linear(2, 2), path)
    elif how == "text":
        path.write_text("weights: none\n")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(b"PK\x03\x04 no archive")
    code, _, told = command(*own(path))
    assert code == 2
    assert "weights.pt: expected safetensors, or a state dict" in told
    assert "never loaded" in told


def test_what_is_no_state_dict_is_told(command: Command, workplace: Path) -> None:
    path = workplace / "weights.pt"
    for tree in ({"step": 3}, torch.zeros(3), [1, 2]):
        torch.save(tree, path)
        code, _, told = command(*own(path))
        assert code == 2
        assert "expected a state dict, that is names and tensors" in told
    torn = workplace / "torn.safetensors"
    torn.write_bytes(b"\x00" * 20)
    code, _, told = command(*own(torn))
    assert (code, "torn.safetensors: expected safetensors" in told) == (2, True)
    code, _, told = command(*own(workplace / "gone.safetensors"))
    assert (code, "no such file; expected the network's weights" in told) == (2, True)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("plain", "expected MODULE:FUNCTION"),
        ("plain:", "expected MODULE:FUNCTION"),
        (":make", "expected MODULE:FUNCTION"),
        ("plain:mak", "has no attribute 'mak'"),
        ("plane:make", "No module named 'plane'"),
        ("plain:weights", "expected a function that returns a torch.nn.Module"),
        ("plain:number", "expected a function that returns a torch.nn.Module"),
        ("plain:needs", "missing 1 required positional argument: 'channels'"),
        ("plain:breaks", "KeyError: 'depth'"),
        ("plain:few", "does not fit plain:few"),
    ],
)
def test_a_wrong_function_is_told(
    command: Command, weights: Path, function: str, expected: str
) -> None:
    code, _, told = command(*own(weights, function))
    assert code == 2
    assert expected in told
    assert function in told


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("plain:few", "expected logits of shape (2, 10) for two images, got (2, 7)"),
        ("plain:pair", "expected logits of shape (2, 10) for two images, got tuple"),
        ("plain:narrow", "fails on inputs of shape (2, 1, 8, 8)"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_told(
    command: Command, workplace: Path, function: str, expected: str
) -> None:
    path = workplace / "own.pt"
    names: dict[str, Any] = {}
    exec(PLAIN, names)
    torch.save(names[function.partition(":")[2]]().state_dict(), path)
    code, _, told = command(*own(path, function))
    assert code == 2
    assert f"--model {function}: {expected}" in told


def test_weights_that_do_not_fit_are_told_by_name(command: Command, weights: Path) -> None:
    state = torch_weights(weights)
    torn = weights.with_name("torn.safetensors")
    save_file({"1.weight": state["1.weight"], "9.bias": state["1.bias"]}, torn)
    code, _, told = command(*own(torn))
    assert code == 2
    assert "torn.safetensors: does not fit plain:make" in told
    for name in ("1.bias", "3.weight", "9.bias"):
        assert name in told


def test_arguments_that_need_each_other(
    command: Command, weights: Path, trained: tuple[Path, Any]
) -> None:
    code, _, told = command("--model", "plain:make", "--checkpoint", weights)
    assert (code, "--model: also give --data" in told) == (2, True)
    code, _, told = command("--checkpoint", trained[0], "--data", "digits")
    assert (code, "knows its data; remove --data" in told) == (2, True)


def test_a_suite_and_its_sources_need_each_other(
    command: Command, weights: Path, trained: tuple[Path, Any]
) -> None:
    code, _, told = command(*own(weights, suite="borrowed.yaml"))
    assert code == 2
    assert "suite 'borrowed' attacks through other networks" in told
    assert "--source FILE" in told
    code, _, told = command(*own(weights), "--source", trained[0])
    assert code == 2
    assert "suite 'mine' has no stage with access: transfer; remove --source" in told


def test_sources_have_names_of_their_own(
    command: Command, weights: Path, workplace: Path, trained: tuple[Path, Any]
) -> None:
    asked = own(weights, suite="borrowed.yaml")
    code, _, told = command(*asked, "--source", trained[0], "--source", trained[0])
    assert (code, "its folder's name labels it, so it must be unique" in told) == (2, True)
    odd = workplace / "my network"
    odd.mkdir()
    (odd / "checkpoint.safetensors").write_bytes(trained[0].read_bytes())
    code, _, told = command(*asked, "--source", odd / "checkpoint.safetensors")
    assert (code, "its folder's name labels it" in told) == (2, True)
    code, _, told = command(*asked, "--source", workplace / "gone" / "checkpoint.safetensors")
    assert (code, "no such checkpoint" in told) == (2, True)
    # A network of the user's own is no source: nothing says how to build it.
    code, _, told = command(*asked, "--source", weights)
    assert code == 2
    assert weights.name in told


@pytest.mark.parametrize(("field", "other"), [("width", 16), ("num_classes", 4)])
def test_a_source_reads_the_victims_images(
    command: Command, weights: Path, workplace: Path, field: str, other: int
) -> None:
    spec = dataclasses.replace(InputSpec(channels=1, height=8, width=8, num_classes=10),
                               **{field: other})  # fmt: skip
    model, folder = victims.small(), workplace / "elsewhere"
    folder.mkdir()
    config = TrialConfig(
        data=DigitsConfig(),
        model=model,
        training=TrainingConfig(epochs=1),
        strategy=VanillaConfig(method="vanilla"),
    )
    path = folder / "checkpoint.safetensors"
    network = build_model(model, spec)
    checkpoints.save(path, network, None, epoch=1, config=config, fingerprint="f", spec=spec)
    code, _, told = command(*own(weights, suite="borrowed.yaml"), "--source", path)
    assert code == 2
    assert f"({field} " in told
    assert f"got one with {field} {other}" in told


def test_a_checkpoint_of_this_project_attacks_a_network_of_ones_own(
    command: Command, weights: Path, trained: tuple[Path, Any]
) -> None:
    label = trained[0].parent.name
    code, printed, _ = command(*own(weights, suite="mixed.yaml"), "--source", trained[0])
    assert code == 0
    found = accuracies(printed)
    # The victim has no surrogates; the source has, and keeps them.
    assert list(found)[:-1] == ["clean", "fgsm+own", "pgd3+own", f"pgd5+rga@{label}"]
    assert found["pgd3+own"] < found[f"pgd5+rga@{label}"] < found["clean"]
    code, printed, _ = command(*own(weights, suite="mixed.yaml"))
    assert "no --source given: transfer attacks are left out" in printed
    assert list(accuracies(printed))[:-1] == ["clean", "fgsm+own", "pgd3+own"]


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the same data and of another shape."""
    folder = tmp_path_factory.mktemp("more") / "another"
    return victims.train_digits(folder, victims.small(2, (6, 8, 10)), epochs=2)


def test_transfer_from_stored_networks_end_to_end(
    command: Command, workplace: Path, trained: tuple[Path, Any], another: Path
) -> None:
    label = trained[0].parent.name
    options = ["--checkpoint", another, "--suite", "borrowed.yaml", "--num-samples", 40]
    options += ["--source", trained[0], "--source", another]
    code, printed, _ = command(*options)
    assert code == 0
    found = accuracies(printed)
    names = [f"pgd5+{oracle}@{source}" for source in (label, "another") for oracle in
             ("triangle", "rga")]  # fmt: skip
    assert list(found)[:-1] == ["clean", *names]
    # The network as its own source is attacked best.
    assert found["pgd5+triangle@another"] < found[f"pgd5+triangle@{label}"] < found["clean"]
    # 5 members and the measurements, in one block each.
    assert "6 blocks, 0 of them stored" in printed
    files = list((workplace / "store" / "verdicts").rglob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files])
    assert set(rows["oracle"]) == {"none", *(name.partition("+")[2] for name in names)}
    assert "6 blocks, 6 of them stored" in command(*options)[1]
    # One source less: its rows are those of before.
    assert "4 blocks, 4 of them stored" in command(*options[:-2])[1]


def test_data_may_be_named_or_written_or_a_folder(workplace: Path) -> None:
    assert data_config("digits", None) == DigitsConfig()
    (workplace / "data.yaml").write_text("data: {dataset: digits, num_test: 50}\n")
    assert data_config("data.yaml", None) == DigitsConfig(num_test=50)
    (workplace / "images").mkdir()
    folder: Any = data_config("images", None)
    assert (folder.dataset, str(folder.root)) == ("parquet", "images")
    rooted: Any = data_config("cifar10", "elsewhere")
    assert str(rooted.root) == "elsewhere"
    for wrong in ("digit", "parquet", "nowhere/images"):
        with pytest.raises(ConfigError, match="expected one of cifar10, cifar100, digits"):
            data_config(wrong, None)
    (workplace / "data.yaml").write_text("data: {dataset: digits, num_tests: 50}\n")
    with pytest.raises(ConfigError, match=r"data\.yaml:1:25 .*num_test"):
        data_config("data.yaml", None)


def test_a_network_is_known_by_its_code_its_weights_and_its_data(
    workplace: Path, weights: Path, plain_weights: dict[str, torch.Tensor]
) -> None:
    sys.path.insert(0, str(workplace))
    digits, fewer = (load_dataset(DigitsConfig(num_test=n)) for n in (397, 50))
    network, name = load_network("plain:make", weights, digits)
    assert not network.training
    assert load_network("plain:make", weights, digits)[1] == name
    other = weights.with_name("other.safetensors")
    save_file({key: 0.5 * value for key, value in plain_weights.items()}, other)
    assert load_network("plain:make", other, digits)[1] != name
    assert load_network("plain:make", weights, fewer)[1] != name
    # Another forward pass on the same weights is another network.
    (workplace / "plain.py").write_text(PLAIN.replace("nn.ReLU()", "nn.Tanh()"))
    del sys.modules["plain"]
    importlib.invalidate_caches()
    assert load_network("plain:make", weights, digits)[1] != name
    for key, value in network.state_dict().items():
        assert torch.equal(value, plain_weights[key])
