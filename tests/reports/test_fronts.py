from reports.fronts import best_above, knee, pareto_front

POINTS = [(0.9, 0.2), (0.8, 0.5), (0.7, 0.6), (0.7, 0.4), (0.6, 0.6)]


def test_front_by_hand():
    assert pareto_front(POINTS) == [2, 1, 0]


def test_equal_points_share_the_front():
    assert pareto_front([(0.5, 0.5), (0.5, 0.5), (0.4, 0.5)]) == [0, 1]


def test_front_of_nothing_and_of_one():
    assert pareto_front([]) == []
    assert pareto_front([(0.1, 0.1)]) == [0]


def test_knee_lies_above_the_chord():
    assert knee(POINTS, pareto_front(POINTS)) == 1


def test_no_knee_on_short_or_hollow_fronts():
    assert knee([(0.0, 1.0), (1.0, 0.0)], [0, 1]) is None
    assert knee([(0.0, 1.0), (0.2, 0.3), (1.0, 0.0)], [0, 1, 2]) is None


def test_best_above_the_floor():
    assert best_above(POINTS, 0.75) == 1
    assert best_above(POINTS, None) == 2  # 0.6 robust twice: the higher clean accuracy wins
    assert best_above(POINTS, 0.95) is None
