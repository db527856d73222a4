"""Verdicts of a block: who is judged, on what, and that nothing else decides them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import GradientEstimator
from models.neurons import SpikingNeurons
from pipeline import batches, checkpoints
from pipeline.attacks import Domain, FGSMConfig, NoiseConfig, PGDConfig, RFGSMConfig
from pipeline.data import Split
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationTask, block_ranges, evaluate_block
from pipeline.records import VERDICT_COLUMNS, Block
from pipeline.threats import (
    SUITES,
    Member,
    SuiteConfig,
    load_suite,
    measure_member,
    members,
)
from pipeline.worker import run_task
from tests.victims import CLEAN, CPU, NUM_SAMPLES, RGA, TRIANGLE, Exactly, judged, member, task

PGD = member(PGDConfig(num_steps=4))
MEMBERS = [
    PGD,
    member(PGDConfig(num_steps=4), RGA),
    member(PGDConfig(num_steps=4, iterate="any", loss="margin")),
    member(FGSMConfig()),
    member(RFGSMConfig()),
    member(NoiseConfig(), None),
]


def same(first: Block, second: Block) -> None:
    assert first.columns.keys() == second.columns.keys()
    for name, column in first.columns.items():
        np.testing.assert_array_equal(column, second.columns[name], err_msg=name)
    assert first.metadata == second.metadata


def test_the_network_is_worth_attacking(victim: nn.Module, split: Split) -> None:
    clean = judged(victim, split, CLEAN).columns["robust"].mean()
    assert 0.6 < clean < 1
    assert judged(victim, split, PGD).columns["robust"].mean() < clean - 0.15


def test_clean_verdicts(victim: nn.Module, split: Split) -> None:
    block = judged(victim, split, CLEAN)
    assert set(block.columns) == set(VERDICT_COLUMNS)
    with torch.no_grad():
        logits = victim(torch.tensor(split.images) / 255)
    predicted = logits.argmax(1).numpy()
    columns = block.columns
    np.testing.assert_array_equal(columns["predicted"], predicted)
    np.testing.assert_array_equal(columns["robust"], predicted == split.labels)
    np.testing.assert_array_equal(columns["label"], split.labels)
    np.testing.assert_array_equal(columns["sample"], np.arange(NUM_SAMPLES))
    assert set(columns["num_forward"]) == set(columns["num_backward"]) == {0}
    assert not columns["attacked"].any()
    assert set(columns["share"]) <= {0.0, 1.0}
    assert set(columns["oracle"]) == {"none"}
    assert set(columns["attack"]) == {"clean"}
    ordered = logits.sort(descending=True).values
    lead = (ordered[:, 0] - ordered[:, 1]).numpy()
    right = columns["robust"]
    np.testing.assert_allclose(columns["margin"][right], lead[right], rtol=1e-5, atol=1e-6)
    assert bool((columns["margin"][~right] <= 0).all())


@pytest.mark.parametrize("chosen", MEMBERS, ids=lambda value: value.name)
def test_mistakes_stay_mistakes_and_are_not_attacked(
    victim: nn.Module, split: Split, chosen: Member
) -> None:
    clean = judged(victim, split, CLEAN).columns
    attacked = judged(victim, split, chosen).columns
    wrong = ~clean["robust"]
    assert wrong.any()
    assert not attacked["robust"][wrong].any()
    assert not attacked["attacked"][wrong].any()
    assert set(attacked["num_forward"][wrong]) | set(attacked["num_backward"][wrong]) == {0}
    np.testing.assert_array_equal(attacked["predicted"][wrong], clean["predicted"][wrong])
    assert chosen.attack is not None
    assert attacked["attacked"][~wrong].all()
    assert (attacked["num_backward"][~wrong] <= chosen.attack.gradient_steps).all()
    assert (attacked["num_forward"][~wrong] > 0).all()
    np.testing.assert_array_equal(attacked["robust"], attacked["predicted"] == split.labels)
    np.testing.assert_array_equal(attacked["margin"] > 0, attacked["robust"])
    assert attacked["robust"].sum() < clean["robust"].sum()
    assert set(attacked["epsilon"]) == {0.1}


@pytest.mark.parametrize("chosen", MEMBERS, ids=lambda value: value.name)
def test_radius_zero_is_clean_accuracy(victim: nn.Module, split: Split, chosen: Member) -> None:
    still = member(chosen.attack, chosen.estimator, epsilon=0.0)
    np.testing.assert_array_equal(
        judged(victim, split, still).columns["robust"],
        judged(victim, split, CLEAN).columns["robust"],
    )


class BatchSized(nn.Module):
    """Right about class 0 in a batch of six alone: what rounding does, made large."""

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), 3, device=images.device)
        logits[:, 0 if len(images) == 6 else 1] = 1.0
        return logits + 0.0 * images.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("standing", [None, (True, False, True, True, False, False)])
def test_an_image_that_no_attack_moves_keeps_its_verdict(standing) -> None:
    """A convolution's last digit depends on the batch's size, and can flip a spike."""
    grey = Split(
        images=np.full((6, 1, 4, 4), 128, dtype=np.uint8), labels=np.zeros(6, dtype=np.int64)
    )
    still = member(FGSMConfig(), None, epsilon=0.0)
    rows = judged(BatchSized(), grey, still, stop=6, standing=standing).columns
    wanted = np.ones(6, dtype=bool) if standing is None else np.array(standing)
    np.testing.assert_array_equal(rows["robust"], wanted)
    assert (rows["distance"] == 0).all()


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_batches_change_nothing_but_rounding(
    victim: nn.Module, split: Split, batch_size: int
) -> None:
    network = Exactly(victim)
    pgd = PGDConfig(num_steps=3, iterate="any", num_restarts=2)
    for chosen in (CLEAN, member(pgd), member(FGSMConfig(), RGA), measure_member(0.1)):
        asked = task(chosen, stop=40)
        whole, parts = (
            evaluate_block(
                network, asked, split.images[:40], split.labels[:40], device=CPU, batch_size=size
            )
            for size in (None, batch_size)
        )
        assert parts.metadata["batch"] == str(batch_size)
        for name, values in whole.columns.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(parts.columns[name], values, rtol=1e-4, atol=1e-6)
            else:
                np.testing.assert_array_equal(parts.columns[name], values, err_msg=name)


def test_the_batch_that_fits_follows_what_a_pass_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 numbers in and 10 out are kept, in float32; the weights count once for all."""
    images = torch.rand(4, 16)
    layer = nn.Sequential(nn.Linear(16, 10), nn.Sigmoid())
    kept = (16 + 10) * 4
    for room, expected in ((0, 1), (3 * kept - 1, 1), (3 * kept * 7, 4), (1e12, batches.MOST)):
        monkeypatch.setattr(batches, "_room", lambda _, room=room: float(room))
        assert batches.fitting_batch(layer, layer, images) == expected


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    done: list[int] = []

    def work(part: Tensor) -> None:
        if len(part) > 3:
            raise torch.OutOfMemoryError
        done.extend(part.tolist())

    batches.in_batches(torch.arange(17), 8, work)
    assert done == list(range(17))
    with pytest.raises(torch.OutOfMemoryError):
        batches.in_batches(torch.arange(2), 2, lambda _: work(torch.arange(4)))


def test_more_members_leave_fewer_survivors(victim: nn.Module, split: Split) -> None:
    survivors = judged(victim, split, CLEAN).columns["robust"]
    left = [int(survivors.sum())]
    for chosen in MEMBERS:
        verdicts = judged(victim, split, chosen).columns["robust"]
        # No attack mends a mistake, hence each is within the clean survivors.
        assert not (verdicts & ~judged(victim, split, CLEAN).columns["robust"]).any()
        survivors = survivors & verdicts
        left.append(int(survivors.sum()))
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[1] < left[0]


def test_a_larger_radius_leaves_fewer_survivors(victim: nn.Module, split: Split) -> None:
    pgd = PGDConfig(num_steps=6)
    accuracies = [
        judged(victim, split, member(pgd, epsilon=epsilon)).columns["robust"].mean()
        for epsilon in (0.0, 0.05, 0.15, 0.4)
    ]
    assert all(after < before for before, after in zip(accuracies, accuracies[1:], strict=False))


@pytest.mark.parametrize("training", [False, True])
def test_the_victim_is_left_as_it_was(victim: nn.Module, split: Split, training: bool) -> None:
    victim.train(training)
    before = {name: value.clone() for name, value in victim.state_dict().items()}
    neurons = [m for m in victim.modules() if isinstance(m, SpikingNeurons)]
    estimators = [layer.estimator for layer in neurons]
    random = torch.get_rng_state()
    for chosen in (*MEMBERS[:2], measure_member(0.1)):
        judged(victim, split, chosen, stop=24)
    assert victim.training is training
    assert [layer.estimator for layer in neurons] == estimators
    assert all(parameter.grad is None for parameter in victim.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in victim.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_victim_is_judged_in_evaluation_mode(victim: nn.Module, split: Split) -> None:
    usual = judged(victim, split, PGD)
    same(judged(victim.train(), split, PGD), usual)


def test_the_victim_is_restored_after_a_failure(victim: nn.Module, split: Split) -> None:
    victim.train()
    with pytest.raises(RuntimeError):
        evaluate_block(victim, task(PGD), split.images.repeat(2, axis=1), split.labels, device=CPU)
    assert victim.training


@pytest.mark.parametrize("chosen", [*MEMBERS, measure_member(0.1)], ids=lambda value: value.name)
def test_the_same_task_gives_the_same_block(
    victim: nn.Module, split: Split, chosen: Member
) -> None:
    first = judged(victim, split, chosen, stop=32)
    torch.manual_seed(12345)
    same(judged(victim, split, chosen, stop=32), first)


def test_blocks_do_not_depend_on_the_order(victim: nn.Module, split: Split) -> None:
    tasks = [(chosen, start) for chosen in MEMBERS for start in (0, 32)]

    def all_blocks(order: list[tuple[Member, int]]) -> dict[tuple[str, int], Block]:
        return {
            (chosen.hash, start): judged(victim, split, chosen, start=start, stop=start + 32)
            for chosen, start in order
        }

    forwards, backwards = all_blocks(tasks), all_blocks(tasks[::-1])
    for key, block in forwards.items():
        same(block, backwards[key])


def test_seed_and_block_decide_the_draws(victim: nn.Module, split: Split) -> None:
    noise = MEMBERS[-1]
    first = judged(victim, split, noise, stop=32).columns["margin"]
    assert not np.array_equal(
        judged(victim, split, noise, stop=32, seed=1).columns["margin"], first
    )
    # The same images as another block are attacked with other draws.
    moved = evaluate_block(
        victim,
        task(noise, start=32, stop=64),
        split.images[:32],
        split.labels[:32],
        device=CPU,
    )
    assert not np.array_equal(moved.columns["margin"], first)


def test_the_oracle_is_attacked_and_the_victim_is_judged(victim: nn.Module, split: Split) -> None:
    margins = [judged(victim, split, chosen).columns["margin"] for chosen in MEMBERS[:2]]
    assert not np.array_equal(margins[0], margins[1])
    # No estimator: the network's own training gradient, which is the triangle's.
    own = judged(victim, split, member(FGSMConfig(), None))
    named = judged(victim, split, member(FGSMConfig(), TRIANGLE))
    np.testing.assert_array_equal(own.columns["margin"], named.columns["margin"])
    assert set(own.columns["oracle"]) == {"none"}
    assert set(named.columns["oracle"]) == {"triangle"}


def test_measurements(victim: nn.Module, split: Split) -> None:
    columns = judged(victim, split, measure_member(0.05), stop=24).columns
    assert set(columns) == {
        "sample",
        "gradient_l0",
        "gradient_l1",
        "gradient_l2",
        "gradient_density",
        "hoyer",
        "margin_gradient_l1",
        "margin_gradient_l2",
        "random_vulnerability",
        "adversarial_vulnerability",
        "vulnerability_ratio",
    }
    assert {len(column) for column in columns.values()} == {24}
    known = columns["gradient_l1"] > 0
    assert known.any()
    assert (columns["gradient_l2"][known] <= columns["gradient_l1"][known]).all()
    assert (columns["gradient_l0"] <= 64).all()
    assert (columns["adversarial_vulnerability"] >= 0).all()


def test_metadata_tell_where_a_block_came_from(victim: nn.Module, split: Split) -> None:
    metadata = judged(victim, split, PGD, stop=8).metadata
    assert metadata["member"] == "pgd+triangle"
    assert metadata["member_hash"] == PGD.hash
    assert (metadata["device"], metadata["precision"]) == ("cpu", "fp32")
    assert metadata["torch"] == torch.__version__


def test_a_worker_computes_the_same_block(trained: tuple[Path, Split], victim: nn.Module) -> None:
    path, split = trained
    asked = EvaluationTask(key=task(PGD).key, member=PGD, checkpoint=str(path))
    block = run_task(asked, {"validation": split}, device="cpu", num_threads=1, revision="unknown")
    here = judged(victim, split, PGD)
    told = {name: block.metadata.pop(name) for name in {*block.metadata} - {*here.metadata}}
    assert told["checkpoint_sha256"] == checkpoints.digest(path)
    same(block, here)


@pytest.mark.parametrize(
    ("num_samples", "size", "ranges"),
    [
        (10, 4, [(0, 4), (4, 8), (8, 10)]),
        (8, 4, [(0, 4), (4, 8)]),
        (3, 10, [(0, 3)]),
        (0, 4, []),
    ],
)
def test_blocks_cover_the_samples(
    num_samples: int, size: int, ranges: list[tuple[int, int]]
) -> None:
    assert block_ranges(num_samples, size) == ranges


SUITE = SuiteConfig(
    name="s",
    epsilon=8 / 255,
    attacks={
        "noise": NoiseConfig(),
        "near": PGDConfig(epsilon=1 / 255),
        "fgsm": FGSMConfig(),
    },
    oracles=[TRIANGLE, GradientEstimator(width=2.0), RGA],
)


def test_members_in_order() -> None:
    names = [chosen.name for chosen in members(SUITE)]
    assert names == [
        "clean",
        "noise+none",
        "near+triangle",
        "near+triangle-2",
        "near+rga",
        "fgsm+triangle",
        "fgsm+triangle-2",
        "fgsm+rga",
    ]


def test_radius_of_attack_space_and_suite() -> None:
    def radii(epsilon: float | None) -> dict[str, float]:
        return {chosen.attack_name: chosen.epsilon for chosen in members(SUITE, epsilon)}

    assert radii(None) == {"clean": 0, "noise": 8 / 255, "near": 1 / 255, "fgsm": 8 / 255}
    assert radii(0.1) == {"clean": 0, "noise": 0.1, "near": 1 / 255, "fgsm": 0.1}
    assert radii(0.0)["fgsm"] == 0.0


def test_hashes_are_pinned() -> None:
    """Stored verdicts are found by them; if this fails, every store is evaluated anew."""
    hashes = {chosen.name: chosen.hash for chosen in (*members(SUITE), measure_member(0.1))}
    assert hashes == PINNED


def test_hashes_tell_members_apart_and_names_do_not_count() -> None:
    hashes = [chosen.hash for chosen in (*MEMBERS, CLEAN, measure_member(0.1))]
    assert len(set(hashes)) == len(hashes)
    assert measure_member(0.1).hash != measure_member(0.2).hash
    assert member(FGSMConfig(), epsilon=0.2).hash != member(FGSMConfig()).hash
    renamed = Member(attack_name="x", attack=FGSMConfig(), estimator=TRIANGLE, epsilon=0.1)
    assert renamed.hash == member(FGSMConfig()).hash


def test_every_suite_loads() -> None:
    names = sorted(path.stem for path in SUITES.glob("*.yaml"))
    assert {"paper", "paper_fig3", "quick"} <= set(names)
    for name in names:
        suite = load_suite(name)
        assert suite.name == name
        threats = {stage.threat for stage in (suite, *suite.then)} - {None, "pixels"}
        domain = Domain(frames=bool(threats), scale=5.0)
        rows = members(suite, domain=domain)
        assert rows[0] == replace(CLEAN, judge=suite.judge)
        assert (suite.judge == "plain") == (name in {"quick", "audit"})
        assert {row.judge for row in rows} == {suite.judge}
        drawn = members(suite, domain=domain, randomised=True)
        assert {row.judge for row in drawn} == {"plain"}
        assert len({row.hash for row in rows}) == len({row.name for row in rows}) == len(rows)


def test_the_paper_suite_is_the_papers() -> None:
    rows = members(load_suite("paper"))
    assert len(rows) == 1 + 7 * 4
    assert {row.epsilon for row in rows[1:]} == {8 / 255}
    assert [row.oracle_name for row in rows[1:5]] == ["triangle", "sigmoid", "arctangent", "rga"]
    steps = {row.attack_name: row.attack.gradient_steps for row in rows[1:] if row.attack}
    assert steps == {
        "fgsm": 1,
        "rfgsm": 1,
        "pgd10": 10,
        "pgd30": 30,
        "pgd50": 50,
        "apgd10": 11,
        "apgd100": 101,
    }
    pgd: Any = next(row.attack for row in rows if row.attack_name == "pgd50")
    assert (pgd.step_size, pgd.random_start, pgd.iterate) == (0.01, True, "last")


def test_unknown_suite() -> None:
    with pytest.raises(ConfigError, match=r"no suite 'papr'.*paper_fig1, paper_fig3,.*quick"):
        load_suite("papr")


def test_suite_from_a_path(tmp_path: Path) -> None:
    text = (SUITES / "quick.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_suite(str(path)) == load_suite("quick")
    path.write_text(text.replace("epsilon:", "epsilom:"))
    with pytest.raises(ConfigError, match="epsilom"):
        load_suite(str(path))
    with pytest.raises(ConfigError, match="no suite"):
        load_suite(str(tmp_path / "absent.yaml"))


PINNED = {
    "clean": "57a4c2905476",
    "noise+none": "3c2ae65e474a",
    "near+triangle": "0758e402d8f4",
    "near+triangle-2": "b606441d4bae",
    "near+rga": "652efa71236f",
    "fgsm+triangle": "ecb61d4e6919",
    "fgsm+triangle-2": "7c809dacab3c",
    "fgsm+rga": "809c15a889a1",
    "measure": "84a674738551",
}


def test_an_exact_judges_rows_are_the_same_in_any_batch(victim: nn.Module, split: Split) -> None:
    """Attacks follow rounded gradients, but the same images are judged alike, bit for bit."""
    chosen = replace(member(FGSMConfig()), judge="exact")
    whole = judged(victim, split, chosen)
    parts = judged(victim, split, chosen, batch_size=7)
    assert whole.metadata["judge"] == parts.metadata["judge"] == "exact"
    assert whole.evidence is not None
    assert parts.evidence is not None
    alike = dict(zip(whole.evidence["sample"], whole.evidence["image_sha256"], strict=True))
    margins = dict(zip(whole.evidence["sample"], whole.evidence["margin"], strict=True))
    same_images = 0
    for sample, digest, margin in zip(
        *(parts.evidence[name] for name in ("sample", "image_sha256", "margin")), strict=True
    ):
        if alike.get(sample) == digest:
            same_images += 1
            assert margins[sample] == margin
    assert same_images > 0.8 * len(alike)
    columns = whole.columns
    broken = columns["attacked"] & ~columns["robust"]
    np.testing.assert_array_equal(columns["sample"][broken], whole.evidence["sample"])
    assert columns["distance"].max() <= 0.1
    # The judge is another one, the attack's random numbers are not.
    plain = member(FGSMConfig())
    assert chosen.hash != plain.hash
    assert chosen.seed_hash == plain.seed_hash


def test_hashes_of_plain_members_are_those_of_older_stores() -> None:
    """Rows of stores written before there was an exact judge are found."""
    quick = [row.hash for row in members(load_suite("quick"))]
    assert quick[:3] == ["57a4c2905476", "472b5fd15636", "199f03b734d6"]


def test_clean_images_and_a_plain_judge_leave_no_evidence(victim: nn.Module, split: Split) -> None:
    for chosen in (
        member(FGSMConfig()),
        replace(CLEAN, judge="exact"),
    ):
        block = judged(victim, split, chosen)
        assert block.evidence is None
