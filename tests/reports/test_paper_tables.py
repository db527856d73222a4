"""The paper's tables beside numbers counted by hand."""

import csv
import json
import re

import numpy as np
import pytest
from stores import trial, write_epochs, write_sweep, write_verdicts

from reports import paper_text
from reports.build import main
from reports.build_run import build_paper
from reports.facts import facts as facts_of
from reports.paper_tables import Library, all_tables
from reports.paper_values import printed
from reports.queries import load_study

TOTAL = 8
MEMBERS = [
    *(f"{attack}+{oracle}" for attack in ("fgsm", "pgd30") for oracle in ("triangle", "rga")),
    "black-pgd30+triangle@vanilla",
]


def paper_trial(label, method, *, data="cifar10", network="wrn16_4", selection="last", **changes):
    row = trial(label, method, role="baseline", **changes)
    row["config"]["data"] = {"dataset": data}
    row["config"]["model"] = {"architecture": network}
    row["config"]["training"] = {"selection": selection}
    return row


def bits(text):
    return [letter == "1" for letter in text]


def write_ablation(store, name="table3_cifar10_wrn16", *, trials=None, **facts):
    trials = trials or [paper_trial("at", "at"), paper_trial("sr", "sr")]
    write_sweep(store, name, trials, paper="table3/cifar10/wrn16", num_samples=TOTAL,
                members=MEMBERS[:4], **facts)  # fmt: skip
    for row in trials:
        write_verdicts(
            store,
            row["label"],
            "test",
            {
                "clean": bits("11111100"),
                "fgsm+triangle": bits("11110000"),
                "fgsm+rga": bits("01111000"),
                "pgd30+triangle": bits("00000000"),
                "pgd30+rga": bits("11000011"),
            },
        )


def tables(store, *names):
    library = Library.of(load_study(store, name) for name in names)
    return {table.name: table for table in all_tables(library)}


def cell(table, row, head):
    cells = dict(table.rows)[row]
    return cells[table.heads.index(head)]


def test_a_cell_is_the_union_over_the_oracles_of_one_attack(tmp_path):
    write_ablation(tmp_path)
    table = tables(tmp_path, "table3_cifar10_wrn16")["table3"]
    row = ("CIFAR-10", "WRN-16", "AT")
    assert cell(table, row, "Clean").ours.mean == 6 / 8
    fgsm = cell(table, row, "FGSM")
    assert fgsm.ours.mean == 3 / 8  # samples 1, 2, 3
    assert fgsm.ours.num_samples == TOTAL
    assert fgsm.printed == pytest.approx(0.3349)
    assert fgsm.difference == pytest.approx(3 / 8 - 0.3349)
    assert cell(table, row, "PGD30").ours.mean == 0
    assert cell(table, row, "RFGSM").ours is None
    assert cell(table, row, "RFGSM").why == "not attacked this way"
    # Wilson for 3 of 8: 0.1368 to 0.6943.
    assert fgsm.ours.low == pytest.approx(0.1368, abs=1e-4)
    assert fgsm.ours.high == pytest.approx(0.6943, abs=1e-4)


def test_every_printed_number_of_the_files_is_in_a_table(tmp_path):
    known = tables(tmp_path)
    for name in known:
        numeric = printed(name).select_dtypes("number").drop(columns="epsilon", errors="ignore")
        wanted = sorted(float(value) for value in numeric.to_numpy().ravel())
        scale = 1 if name == "table7" else 100
        rows = known[name].rows[:1] if name == "table7" else known[name].rows
        found = sorted(
            cell.printed * scale for _, cells in rows for cell in cells if cell.printed is not None
        )
        assert found == pytest.approx(wanted), name


def test_what_was_not_run_says_so(tmp_path):
    known = tables(tmp_path)
    assert all(table.filled == 0 for table in known.values())
    assert all(cell.why for table in known.values() for cell in table.cells)
    assert "search_spaces/paper/table1" in known["table1"].cells[0].why
    assert "search_spaces/paper/table2" in known["table2"].cells[0].why


def test_unlike_things_are_not_compared(tmp_path):
    write_ablation(tmp_path, trials=[paper_trial("at", "at", data="digits", network="small")])
    table = tables(tmp_path, "table3_cifar10_wrn16")["table3"]
    found = cell(table, ("CIFAR-10", "WRN-16", "AT"), "FGSM")
    assert found.ours.mean == 3 / 8
    assert found.difference is None
    assert "its data or its network is not the paper's" in paper_text.reasons(table)[-1]
    assert "difference" not in paper_text.markdown(table).replace("no difference", "")


def test_a_part_of_the_data_is_not_the_papers_data(tmp_path):
    row = paper_trial("at", "at")
    row["config"]["data"]["num_test"] = 1000
    write_ablation(tmp_path, trials=[row])
    table = tables(tmp_path, "table3_cifar10_wrn16")["table3"]
    assert cell(table, ("CIFAR-10", "WRN-16", "AT"), "FGSM").difference is None


def test_the_full_sized_and_then_the_latest_study_counts(tmp_path):
    write_ablation(tmp_path, "tiny", scale="tiny", started="2026-03-01")
    write_ablation(tmp_path, "old", started="2026-01-01")
    write_ablation(tmp_path, "new", started="2026-02-01")
    table = tables(tmp_path, "tiny", "new", "old")["table3"]
    assert {cell.source for cell in table.cells if cell.ours} == {"new"}


def test_black_box_stands_apart_from_white_box(tmp_path):
    row = paper_trial("at", "at", network="vgg11")
    write_sweep(tmp_path, "t1", [row], paper="table1/cifar10/vgg11", num_samples=TOTAL,
                members=MEMBERS)  # fmt: skip
    outcomes = {"clean": bits("11111111"), "black-pgd30+triangle@vanilla": bits("11111100")}
    outcomes |= {name: bits("11000000") for name in MEMBERS[:4]}
    write_verdicts(tmp_path, "at", "test", outcomes)
    table = tables(tmp_path, "t1")["table1"]
    row = ("CIFAR-10", "VGG-11", "AT")
    assert cell(table, row, "PGD30").ours.mean == 2 / 8
    assert cell(table, row, "Black PGD30").ours.mean == 6 / 8
    assert cell(table, row, "Black PGD30").printed == pytest.approx(0.4338)


def test_widths_ensemble_and_both(tmp_path):
    row = paper_trial("at", "at", network="vgg11")
    members = ["pgd10+triangle", "pgd10+triangle-0.1", "pgd10+sigmoid", "pgd10+rga"]
    write_sweep(tmp_path, "t6", [row], paper="table6/cifar10/vgg11", num_samples=TOTAL,
                members=members)  # fmt: skip
    outcomes = {
        "clean": bits("11111111"),
        "pgd10+triangle": bits("11111000"),
        "pgd10+triangle-0.1": bits("11100000"),
        "pgd10+sigmoid": bits("01111000"),
        "pgd10+rga": bits("11110000"),
    }
    write_verdicts(tmp_path, "at", "test", outcomes)
    table = tables(tmp_path, "t6")["table6"]
    shares = [cell(table, row, "AT").ours.mean for row, _ in table.rows]
    assert shares == [5 / 8, 3 / 8, 3 / 8, 2 / 8]
    assert [cell(table, row, "AT").printed for row, _ in table.rows][:3] == pytest.approx(
        [0.2132, 0.1818, 0.1616]
    )


def test_seeds_give_mean_and_deviation(tmp_path):
    rows = [
        paper_trial("at", "at"),
        paper_trial("at.seed43", "at", replicate_of="at") | {"role": "replicate"},
    ]
    write_sweep(tmp_path, "t3", rows, paper="table3/cifar10/wrn16", num_samples=TOTAL,
                members=["fgsm+triangle"])  # fmt: skip
    write_verdicts(tmp_path, "at", "test",
                   {"clean": bits("11111111"), "fgsm+triangle": bits("11000000")})  # fmt: skip
    write_verdicts(tmp_path, "at.seed43", "test",
                   {"clean": bits("11111111"), "fgsm+triangle": bits("11110000")})  # fmt: skip
    table = tables(tmp_path, "t3")["table3"]
    found = cell(table, ("CIFAR-10", "WRN-16", "AT"), "FGSM").ours
    deviation = float(np.std([2 / 8, 4 / 8], ddof=1))
    assert (found.mean, found.num_seeds) == (3 / 8, 2)
    assert (found.low, found.high) == pytest.approx((3 / 8 - deviation, 3 / 8 + deviation))
    assert "± 17.68, 2 seeds" in paper_text.markdown(table)


def test_the_papers_own_selection_is_a_line_of_its_own(tmp_path):
    write_ablation(tmp_path, trials=[paper_trial("at", "at")])
    write_ablation(tmp_path, "chosen", trials=[paper_trial("at-best", "at", selection="best_test")])
    table = tables(tmp_path, "table3_cifar10_wrn16", "chosen")["table3"]
    found = cell(table, ("CIFAR-10", "WRN-16", "AT"), "FGSM")
    assert found.source == "table3_cifar10_wrn16"
    assert found.variant.mean == 3 / 8
    assert paper_text.VARIANT in paper_text.markdown(table)


def test_seconds_are_shown_and_only_their_ratios_compared(tmp_path):
    rows = [paper_trial(name, name, network="vgg11") for name in ("vanilla", "sr")]
    write_sweep(tmp_path, "t7", rows, paper="table7/cifar10/vgg11", num_samples=TOTAL, members=[])
    write_epochs(
        tmp_path, "vanilla", [{"epoch": n, "epoch_s": s} for n, s in enumerate((2, 2, 9), 1)]
    )
    write_epochs(tmp_path, "sr", [{"epoch": n, "epoch_s": s} for n, s in enumerate((5, 6, 7), 1)])
    table = tables(tmp_path, "t7")["table7"]
    seconds, ratio = (cell(table, row, "SR") for row, _ in table.rows)
    assert (seconds.ours.mean, seconds.printed, seconds.difference) == (6, 193, None)
    assert ratio.ours.mean == 3
    assert ratio.difference == pytest.approx(3 - 193 / 65)


def test_files_in_three_formats(tmp_path, capsys):
    write_ablation(tmp_path)
    assert main(["--store", str(tmp_path), "--paper"]) == 0
    page = tmp_path / "reports" / "paper" / "index.html"
    assert capsys.readouterr().out.strip() == str(page)
    folder = page.parent / "tables"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        f"table{n}.{kind}" for n in (1, 2, 3, 4, 6, 7) for kind in ("md", "tex", "csv")
    }
    with (folder / "table3.csv").open() as file:
        lines = list(csv.DictReader(file))
    (line,) = (
        row for row in lines if row["row"] == "CIFAR-10, WRN-16, AT" and row["column"] == "FGSM"
    )
    assert (line["ours"], line["ours_num_samples"], line["paper"]) == ("0.375", "8.0", "0.3349")
    latex = (folder / "table3.tex").read_text()
    assert latex.count("\\\\") >= 3 * 4
    widths = {len(re.split(r"(?<!\\)&", row)) for row in latex.splitlines() if row.endswith("\\\\")}
    assert widths == {4 + 7}
    markdown = (folder / "table3.md").read_text().splitlines()
    assert {row.count("|") for row in markdown if row.startswith("|")} == {12}


def test_the_page_says_what_is_missing_and_what_is_shrunk(tmp_path):
    write_ablation(tmp_path, scale="tiny")
    text = build_paper(tmp_path).read_text()
    assert "Shrunk for a look at the whole: table3_cifar10_wrn16" in text
    assert "python -m pipeline.sweep --space search_spaces/paper/fig1" in text
    assert "CIFAR10-DVS" in text
    assert "37.50" in text


def test_a_sweep_that_repeats_nothing_is_left_out(tmp_path):
    write_sweep(tmp_path, "own", [trial("a")])
    facts = json.loads((tmp_path / "sweeps" / "own" / "sweep.json").read_text())
    assert "paper" not in facts
    assert "No sweep of this store repeats a part of the paper" in build_paper(tmp_path).read_text()


@pytest.mark.parametrize(
    ("selection", "told"),
    [("last", "the last one of every training"), ("best_test", "which flatters clean accuracy")],
)
def test_a_report_says_which_epoch_was_judged(tmp_path, selection, told):
    write_ablation(tmp_path, trials=[paper_trial("at", "at", selection=selection)])
    facts = dict(facts_of(load_study(tmp_path, "table3_cifar10_wrn16")))
    assert told in facts["Epoch judged"]


def test_threat_models_that_do_not_count_have_columns_of_their_own(tmp_path):
    row = paper_trial("at", "at")
    write_sweep(tmp_path, "dvs", [row], paper="table2/cifar10_dvs/vgg11", num_samples=4,
                members=["clamped-only", "pgd50+rga"])  # fmt: skip
    outcomes = {
        "clean": [True, True, True, False],
        "clamped-only": [True, True, False, False],
        "pgd50+rga": [True, False, False, False],
    }
    beside = {
        "counts-pgd50+rga": [True, True, True, True],
        "counts-pgd50+triangle": [False, True, True, True],
    }
    write_verdicts(tmp_path, "at", "test", outcomes | beside)
    table = tables(tmp_path, "dvs")["table2"]
    found = {
        head: None if cell.ours is None else cell.ours.mean
        for head, cell in zip(table.heads, table.rows[1][1], strict=True)
    }
    assert found["Clamp alone"] == 2 / 4
    assert found["PGD50"] == 1 / 4
    assert found["Counts, PGD50"] == 2 / 4  # wrong without an attack, or broken by either
    assert found["Scaled, PGD50"] is None
