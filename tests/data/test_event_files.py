"""Official event files that the test writes, read back; and what is said of damaged ones."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data import (
    Cifar10DvsConfig,
    Dataset,
    FramesConfig,
    NmnistConfig,
    load_dataset,
)
from pipeline.data.cifar10_dvs import CLASSES, cifar10_dvs_source, paper_split, read_aedat
from pipeline.data.event_frames import DamagedRecordingError, Events, to_frames
from pipeline.data.nmnist import read_bin
from pipeline.errors import ConfigError
from tests.data.recordings import (
    HEADER,
    aedat_bytes,
    bin_bytes,
    random_events,
    spikingjelly,
    write_cifar10_dvs,
    write_nmnist,
)

FRAMES = FramesConfig(num_frames=4)


def nmnist(root: Path, **values: Any) -> NmnistConfig:
    return NmnistConfig(root=str(root), **({"frames": FRAMES, "num_validation": 10} | values))


def dvs(root: Path, **values: Any) -> Cifar10DvsConfig:
    return Cifar10DvsConfig(root=str(root), **({"frames": FRAMES, "num_validation": 6} | values))


def same(got: Events, expected: Events) -> bool:
    return all(
        np.array_equal(np.asarray(getattr(got, f)).astype(np.int64), getattr(expected, f))
        for f in "xypt"
    )


# N-MNIST


def test_forty_bits_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(bytes([3, 33, 0x80, 0x01, 0x02, 33, 0, 0x7F, 0xFF, 0xFF]))
    events = read_bin(file)
    assert events.x.tolist() == [3, 33]
    assert events.y.tolist() == [33, 0]
    assert events.p.tolist() == [1, 0]
    assert events.t.tolist() == [258, 2**23 - 1]


def test_an_overflow_is_no_event_and_moves_what_follows(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(bytes([1, 1, 0, 0, 5, 0, 240, 0, 0, 0, 2, 2, 0, 0, 6]))
    events = read_bin(file)
    assert events.x.tolist() == [1, 2]
    assert events.t.tolist() == [5, 2**13 + 6]


def test_bin_files_are_read_as_written_and_as_tonic_reads_them(tmp_path: Path) -> None:
    expected = random_events(300)
    file = tmp_path / "a.bin"
    file.write_bytes(bin_bytes(expected))
    assert same(read_bin(file), expected)
    io = pytest.importorskip("tonic.io", reason="needs tonic")
    theirs = io.read_mnist_file(str(file), dtype=io.events_struct)
    assert all(np.array_equal(theirs[f], getattr(expected, f)) for f in "xypt")


def test_nmnist_folders(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=4, test=2)
    dataset = load_dataset(nmnist(tmp_path))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 10, 20)
    assert dataset.train.images.shape == (30, 4, 2, 34, 34)
    assert (dataset.frames, dataset.num_frames, dataset.channels) == (True, 4, 2)
    assert (dataset.height, dataset.width, dataset.num_classes) == (34, 34, 10)
    assert (dataset.mean, dataset.std) == ((0.0, 0.0), (1.0, 1.0))
    assert dataset.scale == dataset.train.images.max()
    assert np.bincount(dataset.validation.labels).tolist() == [1] * 10
    assert np.bincount(dataset.test.labels).tolist() == [2] * 10
    assert dataset.note == (
        "nmnist: official recordings, 30 training, 10 validation and 20 test recordings of 4 "
        "frames (equal count) of 34x34, 10 classes"
    )
    # Every recording comes out once, with its own label.
    expected = {
        to_frames(read_bin(file), (34, 34), FRAMES).tobytes(): int(file.parent.name)
        for file in tmp_path.glob("*/*/*.bin")
    }
    splits = (dataset.train, dataset.validation, dataset.test)
    got = {
        image.tobytes(): int(label)
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert got == expected


def test_identity_follows_names_and_sizes_and_every_choice(tmp_path: Path) -> None:
    write_nmnist(tmp_path / "a", train=2)
    identity = nmnist(tmp_path / "a").identity()
    (tmp_path / "a").rename(tmp_path / "b")
    assert nmnist(tmp_path / "b").identity() == identity
    assert nmnist(tmp_path / "b", damaged="skip").identity() != identity
    other = FramesConfig(num_frames=4, split_by="time")
    assert nmnist(tmp_path / "b", frames=other).identity() != identity
    (tmp_path / "b/Train/0/00000.bin").rename(tmp_path / "b/Train/0/00001.bin")
    assert nmnist(tmp_path / "b").identity() != identity


def test_absent_nmnist_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset(nmnist(tmp_path))
    message = str(caught.value)
    assert f"expected the folder {tmp_path}/Train/0, found none; put Train.zip and" in message
    assert "https://data.mendeley.com/datasets/468j46mzdv" in message
    assert "\n" not in message


BIN_DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda data: data[:-2], "expected events of 5 bytes, got 198 bytes: cut short"),
    "empty": (lambda data: b"", "expected events of 5 bytes, got 0 bytes: cut short"),
    "too few events": (lambda data: data[:15], "expected an event a frame or more, got 3 for 4"),
    "outside": (lambda data: b"\x40" + data[1:], "event 0: expected x in 0..33, got 64"),
    "time goes back": (
        lambda data: data[:2] + b"\x7f\xff\xff" + data[5:],
        "event 1: time",
    ),
}


@pytest.mark.parametrize("name", BIN_DAMAGES)
def test_damaged_bin_files_are_refused_or_skipped(tmp_path: Path, name: str) -> None:
    damage, expected = BIN_DAMAGES[name]
    write_nmnist(tmp_path, train=3, test=1)
    whole = load_dataset(nmnist(tmp_path))
    victim = tmp_path / "Train/7/00017.bin"
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        load_dataset(nmnist(tmp_path))
    assert str(caught.value).startswith(f"{victim}: {expected}")
    assert str(caught.value).endswith("or write data.damaged: skip to leave it out")
    left = load_dataset(nmnist(tmp_path, damaged="skip"))
    assert len(left.train) + len(left.validation) == 29
    assert left.note.endswith("; 1 damaged recordings left out")
    # The others are where they were.
    for name_of_split in ("train", "validation", "test"):
        before, after = getattr(whole, name_of_split), getattr(left, name_of_split)
        kept = [
            i
            for i, image in enumerate(before.images)
            if any(np.array_equal(image, other) for other in after.images)
        ]
        assert np.array_equal(before.images[kept], after.images)
        assert np.array_equal(before.labels[kept], after.labels)


def test_a_split_with_nothing_left_is_refused(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=3, test=1)
    for file in tmp_path.glob("Test/*/*.bin"):
        file.write_bytes(b"")
    with pytest.raises(ConfigError, match="nmnist: none of the 10 recordings for test can be used"):
        load_dataset(nmnist(tmp_path, damaged="skip"))


# CIFAR10-DVS


@pytest.fixture
def tonic() -> Any:
    return pytest.importorskip("tonic", reason="needs tonic, which reads AEDAT files")


def test_an_address_by_hand(tmp_path: Path, tonic: Any) -> None:
    file = tmp_path / "a.aedat"
    file.write_bytes(
        HEADER + struct.pack(">4I", 0b0111_1111_0000_0011, 7, 0b0000_0001_0000_0000, 9)
    )
    events = read_aedat(file)
    assert np.asarray(events.x).tolist() == [127, 1]
    assert np.asarray(events.y).tolist() == [1, 0]
    assert np.asarray(events.p).tolist() == [1, 0]
    assert np.asarray(events.t).tolist() == [7, 9]


@pytest.mark.parametrize(
    "header", [HEADER, HEADER.replace(b"\r\n", b"\n"), b"#!AER-DAT2.0\r\n"], ids=["crlf", "lf", "1"]
)
def test_aedat_is_read_as_written(tmp_path: Path, tonic: Any, header: bytes) -> None:
    expected = random_events(500, (128, 128))
    file = tmp_path / "a.aedat"
    file.write_bytes(aedat_bytes(expected, header))
    assert same(read_aedat(file), expected)


def test_half_turn_swapped_is_how_spikingjelly_decodes(tmp_path: Path, tonic: Any) -> None:
    file = tmp_path / "a.aedat"
    file.write_bytes(aedat_bytes(random_events(3000, (128, 128))))
    theirs = spikingjelly("cifar10_dvs")._load_origin_data(file)
    utils = spikingjelly("utils")
    expected = utils.integrate_events_by_fixed_frames_number(theirs, "number", 10, 128, 128)
    config = FramesConfig(num_frames=10, orientation="half_turn_swapped")
    assert np.array_equal(to_frames(read_aedat(file), (128, 128), config), expected)


def test_cifar10_dvs_folders(tmp_path: Path, tonic: Any) -> None:
    write_cifar10_dvs(tmp_path)
    frames = FramesConfig(num_frames=4, size=(48, 48), orientation="half_turn_swapped")
    dataset = load_dataset(dvs(tmp_path, frames=frames))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 6, 4)
    assert dataset.train.images.shape == (30, 4, 2, 48, 48)
    assert dataset.train.images.dtype == np.float32
    assert dataset.name == "cifar10_dvs"


def test_the_paper_s_split_is_torch_s_random_split() -> None:
    listing = list(range(10_000))
    generator = torch.Generator().manual_seed(42)
    train, test = torch.utils.data.random_split(listing, [9000, 1000], generator=generator)
    rest, ours = paper_split(10_000)
    assert rest.tolist() == list(train)
    assert ours.tolist() == list(test)
    # Unstratified: by chance the classes are not equally many.
    assert len(set(np.bincount(ours // 1000).tolist())) > 1


def test_recordings_are_in_the_order_that_the_split_was_drawn_in(
    tmp_path: Path, tonic: Any
) -> None:
    write_cifar10_dvs(tmp_path, number=12, count=4)
    source = cifar10_dvs_source(dvs(tmp_path))
    recordings, positions = source.recordings["test"]
    names = [file.name for file in recordings.files]  # type: ignore[attr-defined]
    expected = sorted((name, f"cifar10_{name}_{i}.aedat") for name in CLASSES for i in range(12))
    assert names == [name for _, name in expected]
    assert names[:3] == [f"cifar10_airplane_{i}.aedat" for i in (0, 1, 10)]
    _, test = paper_split(120)
    # No draw on top of the paper's: its test images, in its order or all of them.
    assert sorted(positions.tolist()) == sorted(test.tolist())


def test_a_stratified_split_has_as_many_of_each_class(tmp_path: Path, tonic: Any) -> None:
    write_cifar10_dvs(tmp_path, number=10, count=20)
    by_paper = load_dataset(dvs(tmp_path, num_validation=10))
    stratified = load_dataset(dvs(tmp_path, num_validation=10, split="stratified"))
    assert np.bincount(stratified.test.labels).tolist() == [1] * 10
    assert stratified.content_hash() != by_paper.content_hash()


AEDAT_DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no header": (lambda data: data[len(HEADER) :], "expected AEDAT 2.0, which begins with"),
    "another version": (
        lambda data: data.replace(b"DAT2.0", b"DAT3.1"),
        "expected AEDAT 2.0, which begins with '#!AER-DAT2.0', got b'#!AER-DAT3.1'",
    ),
    "cut short": (
        lambda data: data[:-3],
        "expected events of 8 bytes each after the header, got 59",
    ),
    "header alone": (
        lambda data: HEADER,
        "expected events of 8 bytes each after the header, got 0",
    ),
    "header cut": (
        lambda data: HEADER[:20],
        "expected events of 8 bytes each after the header, got 0",
    ),
    "shifted": (
        lambda data: HEADER + b"\xff" + data[len(HEADER) : -1],
        "event 0: expected an address of 16 bits, got 0xff",
    ),
    "time goes back": (
        lambda data: data[: len(HEADER) + 4] + b"\x7f\xff\xff\xff" + data[len(HEADER) + 8 :],
        "event 1: time",
    ),
    "empty": (lambda data: b"", "expected AEDAT 2.0"),
}


@pytest.mark.parametrize("name", AEDAT_DAMAGES)
def test_damaged_aedat_files_are_refused_or_skipped(tmp_path: Path, tonic: Any, name: str) -> None:
    damage, expected = AEDAT_DAMAGES[name]
    write_cifar10_dvs(tmp_path)
    victim = tmp_path / "frog/cifar10_frog_2.aedat"
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        load_dataset(dvs(tmp_path))
    assert str(caught.value).startswith(f"{victim}: {expected}")
    left = load_dataset(dvs(tmp_path, damaged="skip"))
    assert sum(len(split) for split in (left.train, left.validation, left.test)) == 39
    assert "1 damaged recordings left out" in left.note


def test_a_file_that_tonic_cannot_parse_is_damaged(tmp_path: Path, tonic: Any) -> None:
    file = tmp_path / "a.aedat"
    file.write_bytes(b"#!AER-DAT2.x\r\n" + bytes(16))
    with pytest.raises(DamagedRecordingError, match="tonic cannot read it"):
        read_aedat(file)


def test_without_tonic_or_data_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"put airplane.zip to truck.zip of https://figshare"):
        load_dataset(dvs(tmp_path))
    write_cifar10_dvs(tmp_path, number=2, count=9)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'spikeproof\[events\]'"):
        load_dataset(dvs(tmp_path))


def test_converted_files_are_not_mistaken_for_the_official_ones(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cifar10_0.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(ConfigError, match=r"airplane: expected .aedat files, found none; .*aedat4"):
        load_dataset(dvs(tmp_path))


def splits(dataset: Dataset) -> list[int]:
    return [len(split) for split in (dataset.train, dataset.validation, dataset.test)]


def test_caps(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=3, test=2)
    small = load_dataset(nmnist(tmp_path, num_train=10, num_test=10))
    assert splits(small) == [10, 10, 10]
    assert np.bincount(small.train.labels).tolist() == [1] * 10
    with pytest.raises(ConfigError, match=r"^data.num_test: expected at most 20"):
        load_dataset(nmnist(tmp_path, num_test=21))
