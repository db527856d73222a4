"""The page of the paper, in a real browser and read by hand; its two figures of gradients."""

import numpy as np
import pytest
from browser import NEEDS_BROWSER, found_in
from stores import trial, write_gradients, write_sweep, write_verdicts

from pipeline.records import BIN_EDGES
from reports.build import main
from reports.build_run import build_paper
from reports.plots import gradients as plots
from reports.plots.style import Drawn, Omitted
from reports.queries import load_study

PROBE = """
const heads = [...document.querySelectorAll("#table-table3 th button")];
const clean = heads.findIndex((one) => one.textContent === "Clean");
heads[clean].click();
const rows = [...document.querySelectorAll("#table-table3 tbody tr")];
const [lowest, of] = [clean, 2].map((column) => rows[0].cells[column].firstChild.textContent);
said.push(`lowest ${lowest} of ${of}`);
said.push(`pictures ${document.querySelectorAll("figure image").length}`);
said.push(`wide ${document.documentElement.scrollWidth > innerWidth}`);
said.push(`links ${[...document.querySelectorAll("nav a")].every(
  (one) => document.querySelector(one.getAttribute("href")))}`);
"""


def counts_at(*values):
    """One row of counts: a component at each of these values."""
    row = np.zeros(len(BIN_EDGES) - 1, dtype=int)
    for value in values:
        row[np.searchsorted(BIN_EDGES, value, side="right") - 1] += 1
    return row


@pytest.fixture
def pictured(tmp_path):
    """A sweep for Table 3, and one for Fig. 5 with gradients of two images of 2x2 pixels."""
    for name, paper in (("t3", "table3/cifar10/wrn16"), ("f5", "fig5/cifar10/wrn16")):
        rows = [trial(f"{name}-{kind}", kind, role="baseline") for kind in ("vanilla", "sr")]
        write_sweep(tmp_path, name, rows, paper=paper, num_samples=2, members=["fgsm+triangle"])
        for row in rows:
            for split in ("validation", "test"):
                outcomes = {"clean": [True, True], "fgsm+triangle": [True, False]}
                write_verdicts(tmp_path, row["label"], split, outcomes)
    images = np.linspace(0, 1, 24).reshape(2, 3, 2, 2)
    flat = np.zeros((2, 3, 2, 2))
    flat[0, 0, 0, 0], flat[0, 2, 0, 0], flat[0, 1, 1, 1] = 0.5, -2.0, 1.0
    rows = [counts_at(0.5, -2.0, 1.0, *[0.0] * 9), counts_at(*[0.0] * 12)]
    for label in ("f5-vanilla", "f5-sr"):
        write_gradients(tmp_path, label, images, flat, rows)
    return tmp_path


@pytest.mark.slow
@NEEDS_BROWSER
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_works_in_a_browser(pictured, tmp_path, width):
    page = build_paper(pictured).read_text()
    found = found_in(page, PROBE, width, tmp_path)
    # Two images and two gradients of each of two networks; 60.37 is SR* on CIFAR-100.
    assert found == [
        "lowest 60.37 of SR*",
        "pictures 6",
        "wide false",
        "links true",
        "errors 0",
    ]


def test_a_gradients_picture_is_its_largest_colour(pictured):
    drawn = plots.draw_heatmaps(load_study(pictured, "f5"))
    assert isinstance(drawn, Drawn)
    axes = np.array(drawn.figure.axes).reshape(3, 2)
    shown = axes[1, 0].images[0].get_array()
    assert shown.tolist() == [[1.0, 0.0], [0.0, 0.5]]  # 2 and 1, by the largest
    assert axes[1, 1].images[0].get_array().max() == 0  # a zero gradient stays white
    first = drawn.data[drawn.data["label"] == "f5-vanilla"].iloc[0]
    assert first["largest"] == 2
    assert first["gradient_density"] == pytest.approx(3.5**2 / 5.25)


def test_event_frames_are_shown_over_time_and_polarity(tmp_path):
    row = trial("at", "at", role="baseline")
    write_sweep(tmp_path, "dvs", [row], num_samples=1, members=["fgsm+triangle"])
    write_verdicts(tmp_path, "at", "test", {"clean": [True], "fgsm+triangle": [True]})
    frames, gradients = np.zeros((2, 1, 3, 2, 2, 2))
    frames[0, :, 1, 0, 0] = 2.0  # ON in each of three frames
    frames[0, 1, 0, 1, 1] = 3.0  # OFF in one
    gradients[0, 2, 1, 0, 1], gradients[0, 0, 0, 1, 0] = -4.0, 1.0
    write_gradients(tmp_path, "at", frames, gradients, [counts_at(-4.0, 1.0, *[0.0] * 22)])
    drawn = plots.draw_heatmaps(load_study(tmp_path, "dvs"))
    assert isinstance(drawn, Drawn)
    top, below = (ax.images[0].get_array().tolist() for ax in drawn.figure.axes)
    assert top == [[1.0, 0.0], [0.0, 0.5]]
    assert below == [[0.0, 1.0], [0.25, 0.0]]
    assert "recordings" in drawn.reading


def test_the_distribution_counts_all_components(pictured):
    drawn = plots.draw_distribution(load_study(pictured, "f5"))
    assert isinstance(drawn, Drawn)
    own = drawn.data[drawn.data["label"] == "f5-sr"]
    assert own["components"].sum() == 24
    assert (own["density"] * (own["to"] - own["from"])).sum() == pytest.approx(1)
    zero = own[(own["from"] < 0) & (own["to"] > 0)]
    assert zero["components"].item() == 21


def test_without_gradients_the_figures_say_so(pictured):
    study = load_study(pictured, "t3")
    assert isinstance(plots.draw_heatmaps(study), Omitted)
    assert isinstance(plots.draw_distribution(study), Omitted)


@pytest.mark.parametrize("place", ["elsewhere", "table1/cifar10/alexnet", "../../x", 3])
def test_a_place_that_the_paper_has_not_is_named(tmp_path, place, capsys):
    write_sweep(tmp_path, "s", [trial("a")], paper=place)
    assert main(["--store", str(tmp_path), "--paper"]) == 2
    told = capsys.readouterr().err
    assert "sweep.json: 'paper'" in told
    assert "Traceback" not in told
