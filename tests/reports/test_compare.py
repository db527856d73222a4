import json
import re
import shutil
from html import unescape

import numpy as np
import pytest
from browser import NEEDS_BROWSER, found_in
from comparisons import HASHES, write_block, write_network, write_study
from stores import trial, write_audit, write_sweep
from test_page import EXTERNAL

from reports.build import main
from reports.compare import folder_name


def built(store, *arguments):
    """The comparison's page, built by the command."""
    assert main(["--store", str(store), *arguments]) == 0
    pages = [p for p in (store / "reports").glob("*/index.html") if "+" in p.parent.name]
    assert len(pages) == 1
    return pages[0].read_text(encoding="utf-8")


def plain(page):
    text = unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ")
    return re.sub(r"\s+", " ", text)


def headline(page):
    return plain(re.search(r'id="headline">(.*?)</div>', page, re.DOTALL).group(1))


@pytest.fixture
def two(tmp_path):
    """Studies A and B, judged alike: 100 samples, the same attacks."""
    write_study(tmp_path, "A", {"vanilla-a": (98, 20), "sr-a": (95, 70)})
    write_study(tmp_path, "B", {"sr-b": (95, 40), "sr-c": (94, 68)})
    return tmp_path


def test_studies_judged_alike_are_compared_on_the_same_images(two):
    text = headline(built(two, "--sweep", "A", "B"))
    assert "On the same 100 test images of digits" in text
    assert "sr-a of A (SR, λ = 0.02) has the highest robust accuracy: 70.0 % (60.4–78.1)" in text
    assert "at 95.0 % (88.8–97.8) on clean images" in text
    assert "not distinguishable from sr-c of B (SR, λ = 0.02), 2.0 points" in text
    assert "It withstands more than the others; the nearest of them, sr-b of B" in text
    assert "30.0 points (21.0 to 39.0; McNemar p < 0.001)" in text


def test_what_the_studies_chose_is_compared(two):
    text = headline(built(two, "--sweep", "A", "B"))
    assert "What the two studies chose on validation images alone: sr-a of A" in text
    assert "in robust accuracy they are not distinguishable, 2.0 points" in text
    assert "On clean images they are not distinguishable." in text


def test_each_study_keeps_its_own_page_and_the_last_line_is_the_comparison(two, capsys):
    built(two, "--sweep", "A", "--sweep", "B")
    folders = [str(two / "reports" / name / "index.html") for name in ("A", "B", "A+B")]
    assert capsys.readouterr().out.splitlines() == folders


def test_out_holds_all_pages(two, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out")
    assert main(["--store", str(two), "--sweep", "A", "B", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "A+B" / "index.html")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_hash": "d2"}, "the data (of one name, but not the same)"),
        ({"data_hash": "d2", "data_note": "other: x"}, "the data (digits; other)"),
        ({"epsilon": 4 / 255}, "the radius of the attacks (ε = 8/255; ε = 4/255)"),
        ({"total": 80}, "the number of images (100; 80)"),
    ],
)
def test_unlike_studies_are_not_compared(tmp_path, changes, said):
    write_study(tmp_path, "A", {"sr-a": (95, 70)})
    write_study(tmp_path, "B", {"sr-b": (70, 40)}, **changes)
    page = built(tmp_path, "--sweep", "A", "B")
    text = headline(page)
    assert "Nothing here was judged alike, so nothing is compared." in text
    assert "highest" not in text
    assert "Not compared, as they were judged differently: A with B" in text
    assert f"A and B differ in {said}." in plain(page)
    groups = re.findall(r'<tr class="group">.*?</tr>', page)
    assert len(groups) == len(set(groups)) == 4  # test and validation of both


def test_another_version_of_an_attack_is_another_suite(tmp_path):
    write_study(tmp_path, "A", {"sr-a": (95, 70)})
    write_study(tmp_path, "B", {"sr-b": (95, 40)}, hashes=HASHES | {"pgd+triangle": "p1"})
    for split in ("validation", "test"):
        write_block(tmp_path, "sr-b", split, "pgd+triangle", np.arange(100) < 40, code="p1")
    page = built(tmp_path, "--sweep", "A", "B")
    assert "A and B differ in the attacks (other versions or settings of full)." in plain(page)
    assert "version 1 of these attacks" in page


def test_nothing_is_alike_where_the_data_are_not_recorded(tmp_path):
    for name in ("A", "B"):
        write_study(tmp_path, name, {f"sr-{name}": (95, 70)}, data_hash=None, data_note=None)
    text = headline(built(tmp_path, "--sweep", "A", "B"))
    assert "Nothing here was judged alike" in text


def test_a_network_in_both_studies_is_the_same_and_no_rival(tmp_path):
    write_study(tmp_path, "A", {"at": (95, 70), "sr-a": (95, 40)})
    write_study(tmp_path, "B", {"at": (95, 70), "sr-b": (95, 40)})
    page = built(tmp_path, "--sweep", "A", "B")
    assert "The very same network is AT of B." in headline(page)
    assert "same network" in page


def test_what_fails_the_audit_is_never_the_highest(two):
    write_audit(two, "sr-a", "FAIL", failed=("ball",))
    page = built(two, "--sweep", "A", "B")
    assert "sr-c of B (SR, λ = 0.02) has the highest" in headline(page)
    assert "Never called the highest, as the trust audit failed: sr-a of A" in plain(page)


def test_another_choice_of_the_epoch_is_a_variant(tmp_path):
    trials = write_study(tmp_path, "A", {"sr-a": (90, 60), "sr-b": (95, 70)})
    best = json.loads(json.dumps(trials[0] | {"label": "sr-b", "fingerprint": "sr-b0000"}))
    best["config"]["training"]["selection"] = "best_test"
    path = tmp_path / "sweeps" / "A" / "trials.json"
    path.write_text(json.dumps([trials[0], best]))
    write_study(tmp_path, "B", {"sr-c": (95, 50)})
    text = headline(built(tmp_path, "--sweep", "A", "B"))
    assert "sr-a of A (SR, λ = 0.01) has the highest" in text  # sr-b was chosen by test images
    assert "A variant, sr-b of A (SR, λ = 0.01), chosen by clean test accuracy" in text
    assert "as the paper's code does: +5.0 (+1.0 to +10.0) points in clean" in text
    assert "and +10.0 (+5.0 to +16.0) points in robust accuracy" in text
    assert "These are the images that chose it, which flatters it." in text


def test_a_study_without_verdicts_is_left_out(two):
    write_sweep(two, "C", [trial("sr-z", outcome="failed")])
    page = built(two, "--sweep", "A", "B", "C")
    assert "Without a complete set of verdicts, and so left out: C." in plain(page)


def test_a_single_network_joins_where_it_was_judged_alike(two):
    write_network(two, "foreign", 97, 69, splits=("test",))
    page = built(two, "--sweep", "A", "--network", "mine=foreign0000")
    text = headline(page)
    assert "not distinguishable from mine, 1.0 point " in text
    assert "it is taken for the data of A, as the labels of all its images" in plain(page)
    assert "mine, attack by attack" in page


def test_a_single_network_on_other_images_stands_alone(two):
    write_network(two, "foreign", 97, 69, splits=("test",), labels=np.arange(1000) % 10)
    text = headline(built(two, "--sweep", "A", "--network", "mine=foreign"))
    assert "Nothing here was judged alike" in text


def test_every_complete_set_of_a_single_network_is_shown(two):
    write_network(two, "foreign", 97, 69, splits=("test",))
    for epsilon, code in ((4 / 255, "q4"), (8 / 255, "q8")):
        write_block(two, "foreign", "test", "square", np.arange(60) < 30, code=code,
                    epsilon=epsilon)  # fmt: skip
    page = built(two, "--network", "mine=foreign0000")
    members = page[page.index('id="table-members-0"') :]
    assert "60 test images · ε = 4/255 · 1 attack" in plain(members)
    assert "60 test images · ε = 8/255 · 3 attacks" in plain(members)
    assert "100 test images · ε = 8/255 · 2 attacks" in plain(members)
    assert "One network alone, so nothing is compared" in headline(page)


def test_two_single_networks_are_compared_where_their_attacks_are_the_same(tmp_path):
    write_network(tmp_path, "one", 97, 80, splits=("test",))
    write_network(tmp_path, "two", 97, 30, splits=("test",))
    write_block(tmp_path, "two", "test", "square", np.arange(100) < 20, code="q8")
    text = headline(built(tmp_path, "--network", "one=one", "--network", "two=two"))
    assert "one has the highest robust accuracy: 80.0 %" in text
    assert "It withstands more than two, by 50.0 points" in text


def test_a_checkpoint_folder_names_its_network(two):
    write_network(two, "own", 97, 69, splits=("test",))
    folder = two / "trials" / "own0000"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"strategy": {"method": "at"}, "data": {}}))
    assert "at-own000" in built(two, "--sweep", "A", "--network", str(folder))


def test_a_trial_named_singly_is_told_and_shown_attack_by_attack(two):
    page = plain(built(two, "--sweep", "A", "--network", "again=sr-a0000"))
    assert "again is sr-a of A; where it was judged as that study was, it stands there." in page
    assert "again, attack by attack" in page
    assert "left out" not in page


def test_figures_of_an_earlier_comparison_do_not_linger(two):
    built(two, "--sweep", "A", "B")
    figures = two / "reports" / "A+B" / "figures"
    assert (figures / "compared-2.png").exists()
    for network in ("sr-b", "sr-c"):
        shutil.rmtree(two / "verdicts" / f"{network}0000" / "validation")
    for network in ("vanilla-a", "sr-a"):
        shutil.rmtree(two / "verdicts" / f"{network}0000" / "validation")
    built(two, "--sweep", "A", "B")
    assert not (figures / "compared-2.png").exists()


@pytest.mark.parametrize("name", ["nowhere", "", "b@d=sr-a0000", "sr-"])
def test_a_wrong_network_is_an_error(two, name, capsys):
    assert main(["--store", str(two), "--sweep", "A", "--network", name]) == 2
    assert "--network" in capsys.readouterr().err


def test_long_lists_get_a_short_folder():
    names = [f"study-number-{i}" for i in range(12)]
    assert folder_name(names).startswith("study-number-0+study-number-1+")
    assert "more-" in folder_name(names)
    assert len(folder_name(names)) <= 80
    assert folder_name(names) != folder_name([*names[:-1], "another"])
    assert folder_name(["A", "B"]) == "A+B"


def test_page_is_self_contained_and_repeatable(two):
    page = built(two, "--sweep", "A", "B")
    assert not EXTERNAL.findall(page)
    assert page == built(two, "--sweep", "A", "B")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert target in ids


def test_tables_and_figures_lie_beside_the_page(two):
    built(two, "--sweep", "A", "B")
    folder = two / "reports" / "A+B"
    assert (folder / "figures" / "compared-1.csv").is_file()
    table = (folder / "tables" / "networks.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 4  # four networks on both splits
    assert "digits: tiny · 100 test images · ε = 8/255 · suite full (2 attacks)" in table[1]


def test_everything_written_by_users_is_escaped(two):
    evil = "<script>alert(1)</script>\"'"
    trials = [trial("sr-a", strategy=evil)]
    trials[0]["label"] = "a" + evil
    facts = {"data_hash": "d1", "data_note": evil, "description": evil}
    suite = {"name": evil, "members": ["clean", "pgd+triangle"], "num_samples": 100}
    write_sweep(two, "C", trials, **facts, report_suite=suite, selection_suite=suite)
    page = built(two, "--sweep", "A", "C")
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


PROBE = """
const rows = () => [...document.querySelectorAll("#table-networks tbody")].map(
  (body) => [...body.rows].filter((row) => !row.hidden && !row.classList.contains("group"))
    .map((row) => row.cells[0].firstChild.textContent).join(","));
said.push(`start ${rows()[0]}`);
document.querySelectorAll("#table-networks th button")[2].click();
said.push(`sorted ${rows()[0]}`);
const chip = document.querySelector(".chip[data-value=B]");
chip.click();
said.push(`chip ${rows()[0]} ${document.querySelector(".filters [role=status]").textContent}`);
chip.click();
const field = document.querySelector(".filters input");
field.value = "SR-A 0.02";
field.dispatchEvent(new Event("input"));
said.push(`filtered ${rows()[0]}`);
field.value = "nothing";
field.dispatchEvent(new Event("input"));
said.push(`hidden ${[...document.querySelectorAll("tr.group")].every((row) => row.hidden)}`);
document.querySelector("[data-tip]").focus();
said.push(`tip ${document.getElementById("tip").textContent.split("\\n")[0]}`);
const other = document.querySelectorAll("[data-tip]")[1];
other.dispatchEvent(new Event("pointerenter"));
said.push(`hover ${document.getElementById("tip").textContent.split("\\n")[0]}`);
said.push(`tip shown ${getComputedStyle(document.getElementById("tip")).display}`);
said.push(`keys ${[...document.querySelectorAll("button, input, [data-tip]")].every(
  (one) => one.tabIndex === 0)}`);
said.push(`wide ${document.documentElement.scrollWidth > innerWidth} of ${innerWidth}`);
"""


@pytest.mark.slow
@NEEDS_BROWSER
@pytest.mark.parametrize("width", [360, 1280])
def test_page_runs_in_a_browser(two, tmp_path, width):
    page = built(two, "--sweep", "A", "B")
    assert found_in(page, PROBE, width, tmp_path) == [
        "start sr-a,sr-c,sr-b,vanilla-a",
        "sorted sr-c,sr-a,sr-b,vanilla-a",
        "chip sr-c,sr-b 4 of 8 shown",
        "filtered sr-a",
        "hidden true",
        "tip vanilla-a of A (no defence)",
        "hover sr-a of A (SR, λ = 0.02)",
        "tip shown block",
        "keys true",
        f"wide false of {width}",
        "errors 0",
    ]
