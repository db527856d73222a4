"""The figures on hypervolume, radii, widths, who broke what, and cost, from stores made by hand."""

import math
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import LAMBDA, trial, write_epochs, write_sweep, write_uniform

from reports import figures
from reports.build_run import build_report
from reports.cost_table import cost_table
from reports.costs import cost_frame
from reports.evidence import Evidence
from reports.plots import breakdown, cost, epsilon, hypervolume, members, widths
from reports.plots.labels import spread
from reports.plots.networks import compared, network_looks
from reports.plots.style import Drawn, Omitted
from reports.queries import load_study
from reports.unions import Suite

NEW = ("breakdown", "hypervolume", "epsilon", "widths", "cost")
N = 8
WIDTHS = {0.5: "11100000", 1: "11000000", 1.5: "11110000", 2: "11111000", 3: "11111110"}
CLEAN = "11111110"


def write_attacks(store, label, attacks, split="test", *, file="0"):
    """`attacks` gives by member: radius, results sample by sample, what was attacked, and hash."""
    folder = store / "verdicts" / f"{label}0000" / split
    folder.mkdir(parents=True, exist_ok=True)
    names = ("sample", "attack", "oracle", "attack_hash", "robust", "epsilon", "attacked",
             "num_forward", "num_backward")  # fmt: skip
    columns = {name: [] for name in names}
    for member, (radius, results, *rest) in attacks.items():
        attack, _, oracle = member.partition("+")
        attacked = rest[0] if rest else "1" * len(results)
        code = rest[1] if len(rest) > 1 else f"h-{member}"
        for sample, robust in enumerate(results):
            row = (sample, attack, oracle or "none", code, robust == "1", radius,
                   attacked[sample] == "1", 3, 2)  # fmt: skip
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    pq.write_table(pa.table(columns), folder / f"block-{file}.parquet")


@pytest.fixture
def rich_store(tmp_path):
    """A baseline and a searched network: five widths, four oracles, three radii of two attacks."""
    trials = [
        trial("vanilla", "vanilla", role="baseline", training_s=10.0, evaluation_s=5.0),
        trial("sr-1", parameters={LAMBDA: 0.1}, training_s=20.0, evaluation_s=7.0),
    ]
    names = {width: "triangle" if width == 1 else f"triangle-{width:g}" for width in WIDTHS}
    union = [f"pgd10+{name}" for name in names.values()]
    write_sweep(tmp_path, "s", trials, members=union, num_samples=N, constraints={})
    for label in ("vanilla", "sr-1"):
        attacks = {"clean": (0.0, CLEAN)}
        attacks |= {f"pgd10+{names[w]}": (8 / 255, row) for w, row in WIDTHS.items()}
        write_attacks(tmp_path, label, attacks, "validation")
        attacks |= {
            "pgd10+sigmoid": (8 / 255, "01111110"),
            "pgd10+arctangent": (8 / 255, "11111110"),
            "pgd10+rga": (8 / 255, "11111111"),
            "fgsm-2+own": (2 / 255, "11111101"),
            "fgsm-8+own": (8 / 255, "11110001"),
            "fgsm-8+sigmoid": (8 / 255, "11101001"),
            "fgsm-16+own": (16 / 255, "00000001"),
            "noise-2": (2 / 255, "11111111"),
            "noise-16": (16 / 255, "11111011"),
        }
        write_attacks(tmp_path, label, attacks)
    write_epochs(
        tmp_path, "vanilla", [{"epoch": i + 1, "epoch_s": s} for i, s in enumerate((2, 1, 9))]
    )
    write_epochs(tmp_path, "sr-1", [{"epoch": i + 1, "epoch_s": s} for i, s in enumerate((4, 6))])
    return tmp_path


def test_the_figures_are_in_the_table_and_on_the_page(rich_store):
    assert set(NEW) <= set(figures.FIGURES)
    page = build_report(rich_store, "s")
    text = page.read_text(encoding="utf-8")
    for name in NEW:
        folder = page.parent / "figures"
        ElementTree.parse(folder / f"{name}.svg")
        assert (folder / f"{name}.png").stat().st_size > 5000
        assert (folder / f"{name}.csv").read_text().count("\n") > 1
        assert f'id="figure-{name}"' in text
    assert 'id="table-cost"' in text
    files = {path.name for path in (page.parent / "tables").iterdir()}
    assert {"cost.csv", "front_band.csv", "front_hypervolume.csv"} <= files


def test_the_figures_are_the_same_every_time(rich_store):
    folder = build_report(rich_store, "s").parent / "figures"
    first = {name: (folder / f"{name}.svg").read_text() for name in NEW}
    build_report(rich_store, "s")
    assert first == {name: (folder / f"{name}.svg").read_text() for name in NEW}


def test_figures_that_do_not_apply_say_why(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", "vanilla", role="baseline")])
    write_uniform(tmp_path, "a", 9, 4)
    study = load_study(tmp_path, "s")
    shown = {name: figures.FIGURES[name](study) for name in NEW}
    for name in ("hypervolume", "epsilon", "widths", "cost"):
        assert isinstance(shown[name], Omitted), name
        assert shown[name].reason
    assert isinstance(shown["breakdown"], Drawn)
    write_sweep(tmp_path, "empty", [])
    empty = load_study(tmp_path, "empty")
    assert all(isinstance(figures.FIGURES[name](empty), Omitted) for name in NEW)


def test_hypervolume_grows_trial_by_trial(tmp_path):
    trials = [
        trial("sr-1", parameters={LAMBDA: 0.1}, training_s=10.0, evaluation_s=1.0),
        trial("sr-2", outcome="failed", training_s=100.0, evaluation_s=0.0),
        trial("twin", fingerprint="sr-10000", training_s=10.0, evaluation_s=1.0),
        trial("sr-3", feasible=False, training_s=5.0, evaluation_s=0.0),
        trial("sr-4", training_s=7.0, evaluation_s=0.0),
        trial("open", outcome=None, phase="asked", training_s=3.0),
        trial("at", "at", role="baseline", training_s=20.0, evaluation_s=2.0),
    ]
    write_sweep(tmp_path, "s", trials)
    for label, clean, robust in (("at", 8, 5), ("sr-1", 9, 4), ("sr-3", 10, 10), ("sr-4", 5, 5)):
        write_uniform(tmp_path, label, clean, robust)
    data = hypervolume.growth(load_study(tmp_path, "s")).set_index("label")
    # at: 0.8 * 0.5; sr-1 adds 0.1 * 0.4; a failure costs time, a twin nothing, and neither the
    # infeasible nor the dominated one adds anything.
    assert data["hypervolume"].to_dict() == pytest.approx(
        {"at": 0.4, "sr-1": 0.44, "sr-2": 0.44, "twin": 0.44, "sr-3": 0.44, "sr-4": 0.44}
    )
    assert data["seconds"].to_dict() == {
        "at": 22.0,
        "sr-1": 33.0,
        "sr-2": 133.0,
        "twin": 133.0,
        "sr-3": 138.0,
        "sr-4": 145.0,
    }
    assert data.index[0] == "at"
    drawn = hypervolume.draw(load_study(tmp_path, "s"))
    axes = drawn.figure.axes[0]
    assert axes.get_xlabel() == "Seconds of training and evaluation, summed over trials"
    assert "dominates 44.0" in drawn.reading.replace("\u00a0", " ")
    front = load_study(tmp_path, "s").front_statistics
    assert front.hypervolume == pytest.approx(0.44)


def test_accuracy_against_the_radius_by_hand(rich_store):
    drawn = epsilon.draw(load_study(rich_store, "s"))
    data = drawn.data[drawn.data["label"] == "sr-1"].set_index(["family", "epsilon"])
    # Sample 7 is wrong without attack and never counts; at 8/255 two oracles attack.
    assert data["accuracy"].to_dict() == {
        ("fgsm", 0.0): 7 / 8,
        ("fgsm", 2 / 255): 6 / 8,
        ("fgsm", 8 / 255): 3 / 8,
        ("fgsm", 16 / 255): 0.0,
        ("noise", 0.0): 7 / 8,
        ("noise", 2 / 255): 7 / 8,
        ("noise", 16 / 255): 6 / 8,
    }
    assert data.loc[("fgsm", 8 / 255), "members"] == "fgsm-8+own fgsm-8+sigmoid"
    # Wilson's interval of 3 in 8.
    assert data.loc[("fgsm", 8 / 255), "low"] == pytest.approx(0.1368, abs=5e-5)
    assert data.loc[("fgsm", 8 / 255), "high"] == pytest.approx(0.6943, abs=5e-5)
    assert [ax.get_title("left") for ax in drawn.figure.axes] == ["fgsm", "noise"]
    assert "1/255" in drawn.figure.axes[0].get_xlabel()


def test_radii_that_are_no_255ths_stay_pixel_units(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", "vanilla", role="baseline")], num_samples=N)
    attacks = {"clean": (0.0, CLEAN), "noise-0.1": (0.1, CLEAN), "noise-0.2": (0.2, "1" * N)}
    write_attacks(tmp_path, "a", attacks)
    drawn = epsilon.draw(load_study(tmp_path, "s"))
    assert drawn.figure.axes[0].get_xlabel() == "Radius ε (pixels lie in [0, 1])"
    assert drawn.data["family"].unique().tolist() == ["noise"]


@pytest.mark.parametrize(
    ("name", "family"),
    [("fgsm-2", "fgsm"), ("noise-0.1", "noise"), ("pgd10", "pgd10"), ("apgd-ce", "apgd-ce"),
     ("radius-x4", "radius-x4"), ("apgd-ce-8", "apgd-ce")],
)  # fmt: skip
def test_families_are_names_without_their_number(name, family):
    assert epsilon.family_of(name) == family


def test_an_attack_on_survivors_has_no_curve(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", "vanilla", role="baseline")], num_samples=N)
    left = "11110000"
    attacks = {
        "clean": (0.0, CLEAN),
        "pgd-2+own": (2 / 255, left),
        "pgd-8+own": (8 / 255, left, left),
    }
    write_attacks(tmp_path, "a", attacks)
    assert isinstance(epsilon.draw(load_study(tmp_path, "s")), Omitted)


def test_accuracy_against_the_width_by_hand(rich_store):
    drawn = widths.draw(load_study(rich_store, "s"))
    data = drawn.data[drawn.data["label"] == "vanilla"]
    curve = data[data["what"] == "width"].set_index("width")["accuracy"].to_dict()
    assert curve == {0.5: 3 / 8, 1.0: 2 / 8, 1.5: 4 / 8, 2.0: 5 / 8, 3.0: 7 / 8}
    lines = data[data["what"] != "width"].set_index("what")
    # The ensemble adds sigmoid, which breaks sample 0; fgsm-16 is beyond the radius.
    assert lines["accuracy"].to_dict() == {
        "single": 2 / 8,
        "ensemble": 1 / 8,
        "all widths": 2 / 8,
        "everything": 1 / 8,
    }
    assert lines["num_members"].to_dict() == {
        "single": 1,
        "ensemble": 4,
        "all widths": 5,
        "everything": 12,
    }
    assert len(drawn.figure.axes) == 2


def test_four_widths_are_too_few(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", "vanilla", role="baseline")], num_samples=N)
    attacks = {f"pgd10+triangle-{w}": (8 / 255, CLEAN) for w in (0.5, 1.5, 2, 3)}
    write_attacks(tmp_path, "a", {"clean": (0.0, CLEAN)} | attacks)
    assert "5 widths" in widths.draw(load_study(tmp_path, "s")).reason


@pytest.mark.parametrize(
    ("label", "parsed"),
    [("triangle", ("triangle", 1.0)), ("triangle-0.5", ("triangle", 0.5)),
     ("damped_exponential-2", ("damped_exponential", 2.0)), ("own@vanilla", None),
     ("triangle-2@at", None)],
)  # fmt: skip
def test_oracles_are_read_as_surrogate_and_width(label, parsed):
    assert widths.parsed_oracle(label) == parsed


def test_who_broke_what_in_a_chain(tmp_path):
    names = ["fgsm+triangle", "pgd+triangle"]
    suite = {"name": "quick", "order": "survivors", "members": ["clean", *names], "num_samples": N}
    trials = [trial("a", "vanilla", role="baseline")]
    write_sweep(tmp_path, "s", trials, selection_suite=suite, report_suite=suite)
    attacks = {
        "clean": (0.0, CLEAN),
        names[0]: (8 / 255, "11111000", CLEAN),
        names[1]: (8 / 255, "10001000", "11111000"),
    }
    for split in ("test", "validation"):
        write_attacks(tmp_path, "a", attacks, split)
    drawn = breakdown.draw(load_study(tmp_path, "s"))
    data = drawn.data.set_index("member")
    # Seven are right; the first breaks 5 and 6, the second 1, 2 and 3 of the rest.
    assert data["broken"].to_dict() == {names[0]: 2, names[1]: 3}
    assert data["broken_only_by_it"].isna().all()
    assert "broke first" in drawn.reading


def test_many_members_are_ranked_and_the_rest_summed_up(tmp_path):
    names = [f"pgd10+triangle-{index / 10:g}" for index in range(31, 61)]
    write_sweep(
        tmp_path, "s", [trial("a", "vanilla", role="baseline")], members=names, num_samples=40
    )
    rows = {"clean": (0.0, "1" * 40)}
    rows |= {name: (8 / 255, "0" * i + "1" * (40 - i)) for i, name in enumerate(names)}
    for split in ("test", "validation"):
        write_attacks(tmp_path, "a", rows, split)
    study = load_study(tmp_path, "s")
    drawn = breakdown.draw(study)
    shown = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert shown[0] == names[-1]
    assert shown[-1] == "14 others, the strongest"
    assert len(shown) == 17
    assert len(drawn.data) == 30
    data = drawn.data.set_index("member")
    assert data.loc[names[-1], "broken_only_by_it"] == 1  # sample 28: the others reach 27
    assert "30 attacks" in members.draw(study).reason


def test_cost_by_hand(rich_store):
    study = load_study(rich_store, "s")
    data = cost_frame(study).set_index("strategy")
    assert data.loc["vanilla", ["median_s", "shortest_s", "longest_s", "ratio"]].tolist() == [
        2,
        1,
        9,
        1,
    ]
    assert data.loc["sr", ["median_s", "lower_quartile_s", "upper_quartile_s"]].tolist() == [
        5,
        4.5,
        5.5,
    ]
    assert data.loc["sr", ["epochs", "networks", "ratio"]].tolist() == [2, 1, 2.5]
    # On validation the suite has clean and five members: 3 forward, 2 backward passes each.
    assert data.loc["sr", ["forward", "backward"]].tolist() == [18.0, 12.0]
    table = cost_table(study)
    row = {head: cell for head, cell in zip(table.heads, table.rows[1], strict=True)}
    assert row["Seconds an epoch, median"].text == "5"
    assert row["Seconds an epoch, median"].note == "4.5–5.5"
    assert row["Ratio to no defence"].text == "2.5"
    assert cost.draw(study).figure.axes[0].get_xlabel() == "Seconds an epoch"


def test_cost_without_a_reference_has_no_ratio(tmp_path):
    write_sweep(tmp_path, "s", [trial("a")])
    write_epochs(tmp_path, "a", [{"epoch": 1, "epoch_s": 3.0}])
    data = cost_frame(load_study(tmp_path, "s"))
    assert math.isnan(data["ratio"][0])
    assert math.isnan(data["forward"][0])


def test_the_networks_of_a_figure_are_told_apart(tmp_path):
    trials = [trial(f"at-{i}", "at", role="baseline") for i in range(9)]
    write_sweep(tmp_path, "s", trials)
    for i in range(9):
        write_uniform(tmp_path, f"at-{i}", 9, 4)
    study = load_study(tmp_path, "s")
    shown = compared(study, 6)
    assert len(shown) == 6
    looks = network_looks(study, shown).values()
    assert len({look.marker for look in looks}) == 6
    assert len({look.colour for look in looks}) == 6
    assert len({str(look.dash) for look in looks}) == 6


def test_versions_of_an_attack_are_not_mixed(tmp_path):
    write_sweep(tmp_path, "s", [trial("a")], num_samples=N)
    write_attacks(tmp_path, "a", {"clean": (0.0, CLEAN), "pgd+own": (0.1, "1" * N, "1" * N, "one")})
    write_attacks(tmp_path, "a", {"pgd+own": (0.1, "0" * N, "1" * N, "two")}, file="1")
    evidence = load_study(tmp_path, "s").trials[0].evidence["test"]
    assert [attack.member for attack in evidence.attacks] == ["clean"]
    suite = Suite(name="s", members=("pgd+own",), num_samples=N, hashes={"pgd+own": "two"})
    named = Evidence(read=evidence.read, suite=suite)
    assert {attack.attack_hash for attack in named.attacks} == {"h-clean", "two"}
    # A chained version never goes before one that attacked every image.
    write_attacks(tmp_path, "a", {"pgd+own": (0.1, "0" * N, "1" * 4 + "0" * 4, "two")}, file="1")
    named = Evidence(read=evidence.read, suite=suite)
    assert {attack.attack_hash for attack in named.attacks} == {"h-clean", "one"}
    assert np.array_equal(named.attacks[1].broken, [False] * N)


def test_labels_of_lines_move_apart_and_no_others_move():
    assert spread([0.72, 0.99, 0.52, 0.99], 0.05, top=1.0) == pytest.approx([0.72, 0.95, 0.52, 1.0])
    assert spread([0.0, 0.01, 0.5], 0.05) == pytest.approx([0.0, 0.05, 0.5])
    assert spread([0.98, 0.99, 1.0], 0.05, top=1.0) == pytest.approx([0.9, 0.95, 1.0])
