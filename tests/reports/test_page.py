import re
import shutil
import subprocess
from html import unescape

import pytest
from stores import LAMBDA, trial, write_epochs, write_sweep, write_uniform, write_verdicts

from reports.build_run import build_report

EXTERNAL = re.compile(r"https?://|<script[^>]+src|<link|url\(\s*['\"]?(?!#)|@import|<image|<iframe")


def built(store, name="s"):
    return build_report(store, name).read_text(encoding="utf-8")


def headline(page):
    block = re.search(r'id="headline">(.*?)</div>', page, re.DOTALL).group(1)
    return unescape(re.sub(r"<[^>]+>", " ", block)).replace("\u00a0", " ")


def test_page_says_the_result_with_numbers(study_store):
    text = headline(built(study_store, "demo"))
    assert "classifies 100.0 % (72.2–100.0) of the clean test images" in text
    assert "and 20.0 % (5.7–51.0) of the attacked ones" in text
    assert "λ = 0.1, h = 0.02, chosen on validation images alone, classifies 80.0 %" in text
    assert "correctly and 70.0 % (39.7–89.2) of the attacked ones" in text
    assert "not distinguishable from no defence and AT" in text


def test_clear_gain_is_called_one(tmp_path):
    trials = [trial("vanilla", "vanilla", role="baseline"), trial("a", parameters={LAMBDA: 0.1})]
    write_sweep(tmp_path, "s", trials, num_samples=100)
    write_uniform(tmp_path, "vanilla", 98, 20, total=100)
    write_uniform(tmp_path, "a", 95, 70, total=100)
    text = headline(built(tmp_path))
    assert "That is 50.0 points (40.0 to 60.0; McNemar p < 0.001) more than no defence." in text
    assert "On clean images it is not distinguishable from no defence." in text


def test_nothing_beats_the_baseline_is_said(tmp_path):
    trials = [trial("at", "at", role="baseline"), trial("a", parameters={LAMBDA: 0.1})]
    write_sweep(tmp_path, "s", trials, num_samples=100)
    write_uniform(tmp_path, "at", 98, 70, total=100)
    write_uniform(tmp_path, "a", 90, 40, total=100)
    text = headline(built(tmp_path))
    assert "Nothing that the search tried beats the baselines: AT withstands 70.0 %" in text
    assert "30.0 points (21.0 to 39.0; McNemar p < 0.001) more." in text
    assert "On clean images it gives up 8.0 points against AT." in text


def test_page_is_self_contained_and_repeatable(study_store):
    page = built(study_store, "demo")
    assert not EXTERNAL.findall(page)
    assert page == built(study_store, "demo")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert target in ids


def test_files_lie_beside_the_page(study_store):
    folder = build_report(study_store, "demo").parent
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    for figure in ("front", "accuracy_by_parameter", "gradients_by_parameter", "map", "members",
                   "training"):  # fmt: skip
        assert {f"figures/{figure}.{kind}" for kind in ("png", "svg", "csv")} <= names
    assert {"tables/trials.csv", "tables/members.csv", "tables/comparisons.csv"} <= names


def test_figures_of_an_earlier_build_do_not_linger(study_store):
    figures = build_report(study_store, "demo").parent / "figures"
    assert (figures / "map.png").exists()
    write_sweep(study_store, "demo", [trial("sr-1")], parameters={})
    build_report(study_store, "demo")
    assert not (figures / "map.png").exists()


def test_everything_written_by_users_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>\"'"
    trials = [trial("a", strategy=evil, method="odd", parameters={LAMBDA: 0.1}),
              trial("b", outcome="failed", reason=evil)]  # fmt: skip
    trials[0]["label"] = "a" + evil
    write_sweep(tmp_path, "s", trials, description=evil, space_text=evil, data_note=evil)
    write_uniform(tmp_path, "a", 9, 5)
    page = built(tmp_path)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page


def test_incomplete_cells_say_so(study_store):
    write_sweep(study_store, "s", [trial("sr-1"), trial("late", parameters={LAMBDA: 0.2})])
    outcomes = {"clean": [1] * 10, "fgsm+triangle": [1] * 10, "pgd+triangle": [1] * 4}
    write_verdicts(study_store, "late", "validation", outcomes)
    page = built(study_store)
    assert "incomplete<small>pgd+triangle: 4 of 10 samples</small>" in page


def test_failures_show_their_last_line(study_store):
    page = built(study_store, "demo")
    assert "Diverged: loss is &lt;nan&gt; in epoch 3" in page
    assert "sr-4" in page


def test_missing_facts_show_as_not_recorded(tmp_path):
    folder = tmp_path / "sweeps" / "bare"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    page = built(tmp_path, "bare")
    assert "No trial was started yet" in page
    assert "not recorded" in page


@pytest.mark.parametrize(
    ("trials", "facts", "expected"),
    [
        ([], {"complete": False}, "No trial was started yet"),
        ([trial("a", outcome="failed", reason="out of memory")], {}, "The only trial failed"),
        ([trial("a", outcome=None, phase="asked")], {"complete": False}, "has not finished: 0 of"),
        ([trial("done")], {"parameters": {}}, "The sweep holds no baseline"),
        ([trial("done", "vanilla", role="baseline")], {"parameters": {}}, "Without a defence"),
        ([trial("done", "at", role="baseline")], {}, "Only 1 trial has a full set"),
        ([trial("done", feasible=False)], {}, "No searched setting meets the floor"),
        ([trial("done", parameters={"model.neuron": "lif"})],
         {"parameters": {"model.neuron": {"values": ["if", "lif"]}}}, "neuron = lif"),
        ([trial("done", parameters={LAMBDA: 0.0})],
         {"parameters": {LAMBDA: {"values": [0.0, 0.01, 1.0]}}}, "λ = 0"),
    ],
)  # fmt: skip
def test_odd_sweeps_build_a_sensible_page(tmp_path, trials, facts, expected):
    write_sweep(tmp_path, "s", trials, **facts)
    write_uniform(tmp_path, "done", 9, 5)
    write_epochs(tmp_path, "done", [{"epoch": 1}])
    page = built(tmp_path).replace("\u00a0", " ")
    assert expected in page
    assert "Left out:" in page
    assert "Traceback" not in page


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """<script>
document.querySelectorAll("#table-trials th button")[0].click();
document.querySelectorAll("#table-trials th button")[0].click();
document.querySelector("[data-tip]").dispatchEvent(new Event("pointerenter"));
const first = document.querySelector("#table-trials tbody td").textContent;
const shown = document.getElementById("tip").textContent.split("\\n")[0];
document.title = `probe first=${first} tip=${shown} errors=${window.failures}`;
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the page's script")
def test_page_runs_in_a_browser(study_store, tmp_path):
    page = built(study_store, "demo")
    watch = "<head><script>window.failures = 0; window.onerror = () => { failures += 1; };</script>"
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("<head>", watch, 1).replace("</body>", PROBE), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *options, profile, "--dump-dom", f"file://{probed}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "<title>probe first=vanilla tip=vanilla (no defence) errors=0</title>" in result.stdout
    assert "CONSOLE" not in result.stderr, result.stderr
