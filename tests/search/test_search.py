import pytest

from models.config import FieldError
from pipeline.search.front import pareto_front
from pipeline.search.space import ParameterConfig, grid

MAX2 = ["maximize", "maximize"]


def test_front_by_hand():
    points = [(0.9, 0.1), (0.8, 0.5), (0.7, 0.4), (0.6, 0.9), (0.9, 0.1)]
    assert pareto_front(points, MAX2) == [0, 1, 3, 4]
    assert pareto_front(points, ["minimize", "maximize"]) == [3]
    assert pareto_front([], MAX2) == []
    assert pareto_front([(0.3,), (0.5,)], ["maximize"]) == [1]


def test_grid_is_the_product_with_the_last_parameter_fastest():
    parameters = {
        "a": ParameterConfig(values=[1, 2]),
        "b": ParameterConfig(low=0.0, high=0.2, step=0.1),
    }
    points = [(point["a"], round(point["b"], 9)) for point in grid(parameters)]
    assert points == [(1, 0.0), (1, 0.1), (1, 0.2), (2, 0.0), (2, 0.1), (2, 0.2)]


def test_a_step_that_meets_high_up_to_rounding_includes_it():
    assert len(ParameterConfig(low=0.0, high=0.008, step=0.001).points()) == 9
    assert ParameterConfig(low=1, high=4, step=1, integer=True).points() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "low"),
        ({"low": 0.1}, "high"),
        ({"low": 0.2, "high": 0.1}, "high"),
        ({"low": 0.0, "high": 0.1, "log": True}, "low"),
        ({"low": 0.1, "high": 0.2, "log": True, "step": 0.1}, "step"),
        ({"low": 0.1, "high": 0.2, "step": 0}, "step"),
        ({"low": 0.5, "high": 2.0, "integer": True}, "integer"),
        ({"values": []}, "values"),
        ({"values": [1, 1]}, "values"),
        ({"values": [1], "low": 0.0}, "values"),
    ],
)
def test_a_parameter_that_makes_no_sense_names_its_field(settings, field):
    with pytest.raises(FieldError) as caught:
        ParameterConfig(**settings)
    assert caught.value.field == field


def test_a_continuous_range_is_no_grid():
    with pytest.raises(FieldError, match="step"):
        ParameterConfig(low=0.1, high=0.2).points()
