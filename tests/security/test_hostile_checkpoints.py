"""Files that are to be loaded as networks: pickles, and safetensors with headers that lie."""

import contextlib
import json
import os
import pickle
import shutil
import struct
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from pipeline import checkpoints, evaluate
from pipeline.config import TRIAL
from tests.tiny import SUITE

TRANSFER = """
name: through
epsilon: 0.1
access: transfer
attacks: {fgsm: {method: fgsm}}
oracles: [{method: own}]
"""
NETWORK = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


class Payload:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary):
        self.command = f"touch {canary}"

    def __reduce__(self):
        return os.system, (self.command,)


def about(**entries) -> bytes:
    return save({"weight.x": torch.zeros(1)}, {"spikeproof": json.dumps(entries)})


def raw(text: str) -> bytes:
    return save({"weight.x": torch.zeros(1)}, {"spikeproof": text})


FILES = {
    "pickle": lambda canary: pickle.dumps(Payload(canary)),
    "length": lambda _: struct.pack("<Q", 2**63 - 1) + b"{}",
    "header": lambda _: struct.pack("<Q", 99 * 2**20) + b"{" * 1000,
    "offsets": lambda _: (
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,4]}}  '
    ),
    "no-json": lambda _: raw("{no"),
    "deep-json": lambda _: raw("[" * 100_000),
    "list": lambda _: raw("[1]"),
    "bare": lambda _: about(format="spikeproof-checkpoint-1"),
    "types": lambda _: about(
        format="spikeproof-checkpoint-1", epoch=1, config=None, fingerprint="a", spec={}
    ),
}


@pytest.fixture
def suites(tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE)
    (tmp_path / "through.yaml").write_text(TRANSFER)
    return tmp_path


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint.pt"])
def test_nothing_is_unpickled(suites, canary, refused, trained, monkeypatch, kind, name):
    folder = suites / "theirs"
    folder.mkdir()
    file = folder / name
    file.write_bytes(FILES[kind](canary))
    (suites / "theirs_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(suites))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    more = ["--store", suites / "store", "--num-samples", "8"]
    refused(evaluate.main, "--checkpoint", file, "--suite", suites / "own.yaml", *more)
    refused(
        evaluate.main,
        *("--checkpoint", trained[0], "--source", file, "--suite", suites / "through.yaml"),
        *more,
    )
    own = ["--model", "theirs_network:make", "--data", "digits", "--suite", suites / "own.yaml"]
    refused(evaluate.main, "--checkpoint", file, *own, *more)


def test_a_zip_with_a_payload(suites, canary, refused, monkeypatch):
    """What torch.save writes is a zip around a pickle."""
    file = suites / "weights.pt"
    torch.save({"weight": Payload(canary)}, file)
    (suites / "theirs_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(suites))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    text = refused(
        evaluate.main,
        *("--checkpoint", file, "--model", "theirs_network:make", "--data", "digits"),
        *("--suite", suites / "own.yaml", "--store", suites / "store"),
    )
    assert "never loaded" in text


def changed(path, change) -> bytes:
    """A real checkpoint with another header; its fingerprint is made to fit where it can."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["spikeproof"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, tensors)
    with contextlib.suppress(ValueError):
        header["fingerprint"] = TRIAL.validate_python(header["config"]).fingerprint()
    # Whoever writes a file can write its sum, too.
    header.pop("sha256", None)
    header["sha256"] = checkpoints._sum(tensors, header)
    return save(tensors, {"spikeproof": json.dumps(header)})


def model(**settings):
    return lambda header, _: header["config"]["model"].update(settings)


def spec(**settings):
    return lambda header, _: header["spec"].update(settings)


LIES = {
    "another-architecture": model(architecture="vgg11", channels=[16, 32, 32]),
    "no-architecture": model(architecture="os.system"),
    "beyond-all-memory": model(channels=[10**6] * 3),
    "as-wide-as-allowed": model(channels=[4096] * 3),
    "for-ever": model(num_timesteps=10**9),
    "text-for-a-network": lambda header, _: header["config"].update(model="x"),
    "no-data": lambda header, _: header["config"].update(data="x"),
    "large-images": spec(height=10**6, width=10**6),
    "many-classes": spec(num_classes=10**9),
    "negative": spec(num_classes=-1),
    "text-for-numbers": spec(mean=["a"]),
    "nothing-known": lambda header, _: header["spec"].clear(),
    "a-weight-less": lambda _, tensors: tensors.pop("weight.head.bias"),
    "a-weight-more": lambda _, tensors: tensors.update({"weight.zz": torch.zeros(1)}),
    "another-shape": lambda _, tensors: tensors.update({"weight.head.bias": torch.zeros(3)}),
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(suites, refused, trained, lie):
    folder = suites / "theirs"
    folder.mkdir()
    file = folder / "checkpoint.safetensors"
    file.write_bytes(changed(trained[0], LIES[lie]))
    more = ["--store", suites / "store", "--num-samples", "8"]
    began = time.monotonic()
    refused(evaluate.main, "--checkpoint", file, "--suite", suites / "own.yaml", *more)
    if lie != "no-data":  # a source's data is not looked at, its images' shape is
        refused(
            evaluate.main,
            *("--checkpoint", trained[0], "--source", file),
            *("--suite", suites / "through.yaml", *more),
        )
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["../../../out", "/tmp/out", "<script>", "a\0b", ""])
def test_fingerprints_name_folders(suites, refused, trained, name):
    with safe_open(trained[0], framework="pt") as file:
        header = json.loads(file.metadata()["spikeproof"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    folder = suites / "theirs"
    folder.mkdir()
    path = folder / "checkpoint.safetensors"
    path.write_bytes(save(tensors, {"spikeproof": json.dumps(header | {"fingerprint": name})}))
    more = ["--store", suites / "store", "--num-samples", "8"]
    refused(evaluate.main, "--checkpoint", path, "--suite", suites / "own.yaml", *more)
    through = ["--suite", suites / "through.yaml"]
    refused(evaluate.main, "--checkpoint", trained[0], "--source", path, *through, *more)


def test_a_header_fetches_nothing(suites, refused, trained):
    """`download: true` of a stranger would make folders, and unpack what it finds there."""
    elsewhere = suites / "elsewhere"
    data = {"dataset": "cifar10", "root": str(elsewhere), "download": True}
    content = changed(trained[0], lambda header, _: header["config"].update(data=data))
    (suites / "checkpoint.safetensors").write_bytes(content)
    text = refused(
        evaluate.main,
        *("--checkpoint", suites / "checkpoint.safetensors", "--suite", suites / "own.yaml"),
        *("--store", suites / "store"),
    )
    assert "cifar-10-python.tar.gz" in text
    assert not elsewhere.exists()


@pytest.mark.parametrize("label", ["..", "a b", "<b>", "-x", "x;y"])
def test_folders_that_would_label_a_source(suites, refused, trained, label):
    folder = suites / "sources" / label
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(trained[0], folder / "checkpoint.safetensors")
    text = refused(
        evaluate.main,
        *("--checkpoint", trained[0], "--suite", suites / "through.yaml"),
        *("--source", folder / "checkpoint.safetensors", "--store", suites / "store"),
    )
    assert "labels it" in text
