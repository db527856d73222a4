"""A scale shrinks any space; what else is set wins over it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.sweep import main, read_space, space_files
from pipeline.threats import load_suite
from reports.paper_tables import ARCHITECTURES
from reports.paper_values import FILES, printed

REPOSITORY = Path(__file__).parents[1]
PAPER = REPOSITORY / "search_spaces" / "paper"
SPACES = space_files(PAPER)
FIGURES = ("fig1", "fig3", "fig4", "fig5", "fig6")


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", SPACES, ids=named)
def test_every_space_of_the_paper_shrinks_to_digits(path):
    space, tiny = read_space(path, []), read_space(path, ["scale=tiny"])
    events = hasattr(space.data, "frames")
    assert tiny.data.dataset == ("digits_events" if events else "digits")
    assert tiny.model.architecture == "small"
    assert tiny.training.epochs < 10
    assert tiny.report.num_samples == 64
    assert tiny.sweep_name == f"{space.name}-tiny"
    # What is shown stays what it was.
    assert tiny.strategies == space.strategies
    assert tiny.report.suite == space.report.suite
    assert tiny.paper == space.paper


@pytest.mark.parametrize(
    "order", [("scale=tiny", "training.epochs=2"), ("training.epochs=2", "scale=tiny")]
)
def test_other_settings_win_over_the_scale(order):
    assert read_space(SPACES[0], order).training.epochs == 2


def test_a_scale_of_ones_own(tmp_path):
    mine = tmp_path / "half.yaml"
    mine.write_text("training: {epochs: 100}\n")
    space = read_space(SPACES[0], [f"scale={mine}"])
    assert (space.training.epochs, space.training.batch_size) == (100, 64)
    assert space.data.dataset == "cifar100"
    assert space.sweep_name.endswith("-half")


def test_an_unknown_scale_names_those_there_are():
    with pytest.raises(ConfigError, match="no such scale; write one of tiny"):
        read_space(SPACES[0], ["scale=tini"])


def test_a_mistake_in_a_scale_is_found(tmp_path):
    mine = tmp_path / "wrong.yaml"
    mine.write_text("training: {epoch: 100}\n")
    with pytest.raises(ConfigError, match=r"training\.epoch"):
        read_space(SPACES[0], [f"scale={mine}"])


def test_every_table_and_figure_has_its_spaces():
    places = {read_space(path, []).paper for path in SPACES}
    wanted = set()
    for table in FILES:
        for _, row in printed(table).iterrows():
            wanted.add(f"{table}/{row['dataset']}/{row['architecture']}")
    assert wanted <= places
    assert {place.partition("/")[0] for place in places} == {*FILES, *FIGURES}


@pytest.mark.parametrize("path", SPACES, ids=named)
def test_spaces_are_as_the_paper_ran_them(path):
    space = read_space(path, [])
    kind, data, network = space.paper.split("/")
    assert (path.parent.name, path.stem) == (kind, f"{data}_{network}")
    assert (space.data.dataset, space.model.architecture) == (data, ARCHITECTURES[network])
    folder = REPOSITORY / "reports" / "paper"
    settings = pd.read_csv(folder / "table5_training_settings.csv").set_index("datasets")
    row = settings.loc["cifar10_dvs" if kind == "table2" else "cifar10;cifar100"]
    training = space.training
    assert space.model.num_timesteps == row["timesteps"]
    assert training.epochs == (3 if kind == "table7" else row["epochs"])
    assert training.learning_rate == row["initial_lr"]
    assert training.batch_size == row["batch_size"]
    assert training.weight_decay == row["weight_decay"]
    assert training.momentum == row["momentum"]
    weights = pd.read_csv(folder / "table5_lambda.csv").set_index("dataset")
    for strategy in space.strategies.values():
        if strategy.method in ("sr", "sr_star"):
            assert strategy.sparsity_weight == weights.loc[data, strategy.method]
            assert strategy.finite_difference_step == row["h"]
            assert strategy.penalty == "squared"
        if strategy.method in ("at", "sr_star") and kind == "table2":
            assert (strategy.attack, strategy.epsilon) == ("fgsm", 2 / 255)
            assert strategy.threat == "clamped"
        elif strategy.method in ("at", "sr_star"):
            assert (strategy.num_steps, strategy.epsilon) == (5, 2 / 255)
            assert strategy.step_size == row["pgd_step"]
    suite = load_suite(space.report.suite)
    radius = {"table4": 0.1, "fig1": 32 / 255}.get(kind, 8 / 255)
    assert suite.epsilon == pytest.approx(radius)


def test_a_name_for_several_sweeps_is_refused(capsys):
    assert main(["--space", str(PAPER / "table1"), "--name", "x"]) == 2
    assert "a folder holds several sweeps" in capsys.readouterr().err


def test_a_folder_without_spaces(tmp_path, capsys):
    assert main(["--space", str(tmp_path)]) == 2
    assert "holds no .yaml file" in capsys.readouterr().err


def test_a_scale_in_a_file_is_refused_where_it_stands(tmp_path):
    """It would name the sweep and shrink nothing."""
    path = tmp_path / "space.yaml"
    path.write_text(SPACES[0].read_text() + "scale: tiny\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(ConfigError, match=rf"space\.yaml:{line}:1 .*--set scale=tiny"):
        read_space(path, [])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("report.sources=[at]", "expected the label of a baseline, got 'at'"),
        ("report.suite=quick", "no stage with access: transfer; remove the sources"),
        ("report.suite=transfer", "attacks through other networks alone"),
        ("baselines=[]", "nothing would be trained"),
        ("paper=table1/digits/small", "expected table or figure, data set and architecture"),
    ],
)
def test_settings_that_do_not_fit_a_table(setting, told):
    path = PAPER / "table1" / "cifar10_vgg11.yaml"
    more = ["baselines=[vanilla]"] if "sources" in setting else []
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_space(path, [*more, setting])
