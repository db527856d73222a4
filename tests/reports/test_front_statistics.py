import itertools
import math

import numpy as np
import pytest
from stores import LAMBDA, trial, write_sweep, write_uniform, write_verdicts

from reports import tables
from reports.front_notes import hypervolume_sentence, probability, uncertain_front
from reports.front_statistics import (
    front_statistics,
    hypervolume,
    hypervolumes,
    on_front,
    resampled_counts,
)
from reports.fronts import pareto_front
from reports.headline import caveats
from reports.plots import front
from reports.queries import load_study, trial_frame


def bools(*rows):
    return [np.array([char == "1" for char in row]) for row in rows]


def test_hypervolume_of_a_hand_drawn_front():
    # Steps at clean 0.9, 0.8, 0.5: 0.9 * 0.2 + 0.8 * (0.5 - 0.2) + 0.5 * (0.6 - 0.5).
    points = [(0.9, 0.2), (0.8, 0.5), (0.5, 0.6), (0.7, 0.4), (0.8, 0.1)]
    assert hypervolume(points) == pytest.approx(0.18 + 0.24 + 0.05)
    assert hypervolume(points[:1]) == pytest.approx(0.18)
    assert hypervolume([(0.5, 0.5), (0.5, 0.5)]) == 0.25
    assert hypervolume([(0.4, 0.0), (0.0, 0.4)]) == 0.0
    assert hypervolume([]) == 0.0


def test_hypervolume_does_not_depend_on_the_order():
    points = [(0.9, 0.2), (0.8, 0.5), (0.5, 0.6)]
    areas = {round(hypervolume(order), 12) for order in itertools.permutations(points)}
    assert areas == {0.47}


def test_the_vectorised_front_is_that_of_the_reports():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, (2, 300, 7))
    found = on_front(x, y)
    for row in range(300):
        points = list(zip(x[row].tolist(), y[row].tolist(), strict=True))
        assert set(np.flatnonzero(found[row])) == set(pareto_front(points)), points
        assert hypervolumes(x[row : row + 1], y[row : row + 1])[0] == _area(points)


def _area(points):
    """Unit squares that some point dominates."""
    return sum(any(p[0] > i and p[1] > j for p in points) for i in range(6) for j in range(6))


def test_a_trial_better_on_every_sample_is_always_on_the_front():
    clean = bools("11111111", "01111110", "00111111")
    robust = bools("11111100", "01000000", "00111000")
    found = front_statistics(clean, robust)
    assert found.probabilities[0] == 1.0
    assert max(found.probabilities[1:]) < 1.0


def test_two_equal_trials_are_both_on_the_front():
    clean, robust = bools("1110110101"), bools("1000110000")
    found = front_statistics(clean * 2, robust * 2)
    assert found.probabilities == (1.0, 1.0)
    assert found.hypervolume == pytest.approx(0.7 * 0.3)


def test_three_samples_enumerated_by_hand():
    # A: clean 111, robust 100. B: clean 110, robust 110.
    # Of a resample with (a, b, c) copies of samples 0, 1, 2, a + b + c = 3:
    #   A has clean 3 and robust a; B has clean a + b and robust a + b.
    # B is on the front unless c > 0 and b = 0 (A is cleaner and as robust), A is on it unless
    # c = 0 and b > 0 (B is as clean and more robust).
    # Of 27 ways, b = 0 and c > 0 in 2**3 - 1 = 7, and so c = 0 and b > 0.
    found = front_statistics(bools("111", "110"), bools("100", "110"), num_resamples=20_000)
    assert found.probabilities == pytest.approx((20 / 27, 20 / 27), abs=0.012)
    assert found.hypervolume == pytest.approx(1.0 * (1 / 3) + (2 / 3) * (1 / 3))


def test_three_samples_against_all_27_resamples():
    clean, robust = bools("111", "110", "011"), bools("100", "110", "011")
    x, y = [], []
    for drawn in itertools.product(range(3), repeat=3):
        x.append([int(o[list(drawn)].sum()) for o in clean])
        y.append([int(o[list(drawn)].sum()) for o in robust])
    exact = on_front(np.array(x), np.array(y)).mean(axis=0)
    found = front_statistics(clean, robust, num_resamples=20_000)
    assert found.probabilities == pytest.approx(exact.tolist(), abs=0.012)
    areas = hypervolumes(np.array(x), np.array(y)) / 9
    assert found.bias == pytest.approx(areas.mean() - found.hypervolume, abs=5e-3)


def test_a_resample_is_the_same_for_all_trials():
    outcomes = bools("1100110010", "0011001101")
    x, y = resampled_counts([*outcomes, *outcomes], 500, seed=1)
    assert (x == y).all()
    assert (x.sum(axis=1) == 10).all()  # each sample is right in one of the two
    assert x[:, 0].mean() == pytest.approx(5, abs=0.3)
    assert x[:, 0].std() == pytest.approx(math.sqrt(10 * 0.25), abs=0.2)


def test_equal_input_gives_equal_output():
    rng = np.random.default_rng(0)
    clean = list(rng.random((4, 60)) < 0.8)
    robust = [row & (rng.random(60) < 0.5) for row in clean]
    first, second = (front_statistics(clean, robust) for _ in range(2))
    assert (first.probabilities, first.low, first.high) == (
        second.probabilities,
        second.low,
        second.high,
    )
    assert first.attained_high == second.attained_high


def test_the_order_of_trials_changes_nothing():
    rng = np.random.default_rng(5)
    clean = list(rng.random((5, 80)) < 0.8)
    robust = [row & (rng.random(80) < 0.5) for row in clean]
    forth, back = front_statistics(clean, robust), front_statistics(clean[::-1], robust[::-1])
    assert forth.probabilities == back.probabilities[::-1]
    assert (forth.hypervolume, forth.bias) == (back.hypervolume, back.bias)


def test_the_bias_of_the_best_of_many_is_taken_off():
    # Twenty equal networks of 0.8 clean and 0.5 robust: the front's true area is 0.4. The observed
    # one lies above it; less its bias it lies nearer, and the interval covers the truth more often
    # than the percentile interval, whose lower end is above it most of the time.
    rng, plain, corrected, covered, percentile = np.random.default_rng(7), [], [], 0, 0
    for run in range(60):
        clean = list(rng.random((20, 250)) < 0.8)
        robust = [row & (rng.random(250) < 0.625) for row in clean]
        found = front_statistics(clean, robust, num_resamples=300, seed=run)
        assert found.bias > 0
        plain.append(found.hypervolume - 0.4)
        corrected.append(found.hypervolume - found.bias - 0.4)
        covered += found.low <= 0.4 <= found.high
        reflected = 2 * found.hypervolume - found.high
        percentile += reflected <= 0.4
    assert np.mean(plain) > 0.04
    assert abs(np.mean(corrected)) < 0.7 * np.mean(plain)
    assert covered > percentile
    assert covered >= 30


def test_the_interval_of_one_trial_covers_its_area():
    # One network: no maximum, hardly any bias, and nominal coverage.
    rng, covered, runs = np.random.default_rng(11), 0, 200
    for run in range(runs):
        clean = rng.random(200) < 0.9
        robust = clean & (rng.random(200) < 0.5)
        found = front_statistics([clean], [robust], num_resamples=300, seed=run)
        assert abs(found.bias) < 0.01
        covered += found.low <= 0.9 * 0.45 <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.04)


def test_the_band_holds_the_front_of_one_network():
    clean, robust = np.arange(400) < 320, np.arange(400) < 200
    found = front_statistics([clean], [robust])
    # 0.5 +- 1.2816 * sqrt(0.25 / 400), where every resample has that clean accuracy.
    assert found.attained_low[0] == pytest.approx(0.5 - 1.2816 * 0.025, abs=4e-3)
    assert found.attained_high[0] == pytest.approx(0.5 + 1.2816 * 0.025, abs=4e-3)
    assert found.attained_low[-1] == 0.0
    assert list(found.attained_high) == sorted(found.attained_high, reverse=True)
    assert found.clean[0] < 0.8 < found.clean[-1]


def test_nothing_to_resample_is_no_statistic():
    assert front_statistics([], []) is None
    assert front_statistics(bools(""), bools("")) is None
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        front_statistics(bools("111", "11"), bools("111", "11"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.00"), (0.0, "0.00"), (0.999, "> 0.99"), (0.001, "< 0.01"), (0.634, "0.63")],
)
def test_probabilities_never_round_to_certainty(value, text):
    assert probability(value) == text


def test_a_study_knows_probabilities_of_feasible_trials(study_store):
    study = load_study(study_store, "demo")
    chances = {t.row.label: study.front_probability(t) for t in study.trials}
    # Of nested samples: at is right on 9 and withstands on 5, sr-2 on 8 and 7. sr-2 leaves the
    # front where samples 5 and 6 are not drawn and 8 is (at is as robust and cleaner), and where
    # only vanilla does it: 2 to 6 and 8 not drawn, 9 drawn.
    off = 0.8**10 - 0.7**10 + 0.4**10 - 0.3**10
    assert chances["sr-2"] == pytest.approx(1 - off, abs=0.02)
    # vanilla, on 10 and 2: 9 not drawn and any of 2 to 4 is, or 2 to 4, 8, 9 not and 5 or 6 is.
    off = 0.9**10 - 0.6**10 + 0.5**10 - 0.3**10
    assert chances["vanilla"] == pytest.approx(1 - off, abs=0.03)
    # sr-1 is as clean as at and never more robust; it ties where sample 4 is not drawn.
    assert chances["sr-1"] < chances["at"]
    # sr-3 breaks a constraint, sr-4 has no verdicts.
    assert math.isnan(chances["sr-3"])
    assert math.isnan(chances["sr-4"])
    frame = trial_frame(study).set_index("label")["front_probability"]
    assert frame["sr-2"] == chances["sr-2"]
    assert math.isnan(frame["sr-3"])


def test_the_trials_table_has_the_probability(study_store):
    table = tables.trials_table(load_study(study_store, "demo"))
    column = table.heads.index("On the front, probability")
    cells = {row[0].text: row[column] for row in table.rows}
    assert cells["sr-2"].text == f"{cells['sr-2'].sort:.2f}"
    assert 0.9 < cells["sr-2"].sort < 0.95
    assert (cells["sr-3"].text, cells["sr-3"].sort) == ("–", "")
    assert table.heads[-1] == "Outcome"
    assert all(len(row) == len(table.heads) for row in table.rows)


def test_an_uncertain_choice_is_said_to_be_one(tmp_path):
    trials = [trial("a", parameters={LAMBDA: 0.1}), trial("b", parameters={LAMBDA: 0.2})]
    write_sweep(tmp_path, "s", trials, num_samples=10)
    # Both are right on all samples; a withstands one sample more, elsewhere.
    for label, robust in (("a", "1111100000"), ("b", "0000001111")):
        outcomes = dict.fromkeys(("clean", "fgsm+triangle"), [1] * 10)
        outcomes["pgd+triangle"] = [int(char) for char in robust]
        write_verdicts(tmp_path, label, "validation", outcomes)
    study = load_study(tmp_path, "s")
    assert study.best.row.label == "a"
    chance = study.front_probability(study.best)
    # a leads or ties where five or more of nine discordant draws, of Binomial(10, 0.9), are its.
    assert chance == pytest.approx(_leads_or_ties(10, 0.5, 0.4), abs=0.03)
    sentence = (
        "The chosen setting is on the Pareto front, but were other validation images of the same "
        f"kind drawn, it would be there with probability {chance:.2f} (2000 paired bootstrap "
        "resamples of 10 images)."
    )
    assert uncertain_front(study) == [sentence]
    assert sentence in caveats(study)


def _leads_or_ties(total, up, down):
    return sum(
        math.comb(total, i)
        * math.comb(total - i, j)
        * up**i
        * down**j
        * (1 - up - down) ** (total - i - j)
        for i in range(total + 1)
        for j in range(total + 1 - i)
        if i >= j
    )


def test_a_certain_choice_needs_no_sentence(tmp_path):
    trials = [trial("vanilla", "vanilla", role="baseline"), trial("a", parameters={LAMBDA: 0.1})]
    write_sweep(tmp_path, "s", trials, num_samples=100)
    write_uniform(tmp_path, "vanilla", 90, 20, total=100)
    write_uniform(tmp_path, "a", 95, 70, total=100)
    study = load_study(tmp_path, "s")
    assert uncertain_front(study) == []
    text = hypervolume_sentence(study).replace("\u00a0", " ")
    assert text.startswith("The validation front dominates 66.5 % of the square")


def test_no_feasible_trial_has_no_statistics(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", feasible=False)])
    write_uniform(tmp_path, "a", 9, 4)
    study = load_study(tmp_path, "s")
    assert study.front_statistics is None
    assert (uncertain_front(study), hypervolume_sentence(study)) == ([], "")
    drawn = front.draw(study)
    assert "band" not in drawn.reading
    assert drawn.data["front_probability"].isna().all()


def test_the_front_figure_shows_how_certain_it_is(study_store):
    study = load_study(study_store, "demo")
    drawn = front.draw(study)
    tips = {tip.split(" ")[0]: tip for tip in drawn.tips.values()}
    assert "on the front with probability 0.9" in tips["sr-2"]
    assert "probability" not in tips["sr-3"]
    assert "The light band" in drawn.reading
    labels = drawn.figure.axes[0].get_legend_handles_labels()[1]
    assert "resampled fronts, 10–90 %" in labels
