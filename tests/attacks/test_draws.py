"""Random numbers of a sample's own: SplitMix64, the same in any batch, dtype and layout."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.attacks import GlobalDraws, SampleDraws

ROUND = 2**64


def splitmix(seed: int) -> Iterator[int]:
    """The published generator (Steele et al., 2014) in plain integers."""
    state = seed % ROUND
    while True:
        state = (state + 0x9E3779B97F4A7C15) % ROUND
        value = state
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % ROUND
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % ROUND
        yield value ^ (value >> 31)


def expected(seed: int, count: int, skipped: int = 0) -> list[float]:
    """The top 24 bits of each number as a fraction."""
    stream = splitmix(seed)
    return [(next(stream) >> 40) / 2**24 for _ in range(skipped + count)][skipped:]


def test_the_reference_gives_the_published_numbers() -> None:
    stream = splitmix(1234567)
    assert [next(stream) for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), st.integers(1, 9))
def test_numbers_are_splitmix64(seeds: list[int], count: int) -> None:
    """Any seed: products wrap around, and a shift brings no sign along."""
    draws = SampleDraws(torch.tensor(seeds), shared_seed=seeds[0])
    like = torch.empty(len(seeds), count, dtype=torch.float64)
    numbers = draws.uniform(like, 0.0, 1.0)
    assert numbers.tolist() == [expected(seed, count) for seed in seeds]
    later = draws.uniform(like, 0.0, 1.0)
    assert later.tolist() == [expected(seed, count, count) for seed in seeds]
    shared = draws.shared(like, [2, 3])
    assert shared.flatten().tolist() == expected(seeds[0], 6, 2 * count)


def test_what_follows_does_not_depend_on_how_much_was_asked_at_once() -> None:
    like = torch.empty(1, 10, dtype=torch.float64)
    at_once = SampleDraws(torch.tensor([5]), 0).uniform(like, 0.0, 1.0)[0]
    draws = SampleDraws(torch.tensor([5]), 0)
    pieces = [draws.uniform(like[:, :size], 0.0, 1.0)[0] for size in (1, 4, 3, 2)]
    assert torch.equal(torch.cat(pieces), at_once)


SEEDS = torch.arange(40) * 7919 - 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_fill_the_half_open_interval(dtype: torch.dtype) -> None:
    like = torch.empty(40, 3, 20, 20, dtype=dtype)
    numbers = SampleDraws(SEEDS, 1).uniform(like, 0.0, 1.0)
    assert (numbers.dtype, numbers.shape) == (dtype, like.shape)
    assert 0.0 <= float(numbers.min()) < 1e-3
    assert 1 - 1e-3 < float(numbers.max()) < 1.0
    # Of 48,000 draws the mean is known to 0.0013 and the variance to 0.00034.
    assert float(numbers.double().mean()) == pytest.approx(1 / 2, abs=0.006)
    assert float(numbers.double().var()) == pytest.approx(1 / 12, abs=0.0015)
    # Neighbours, in the stream and among the samples, know nothing of each other.
    flat = numbers.double().flatten(1) - 0.5
    assert float((flat[:, 1:] * flat[:, :-1]).mean() * 12) == pytest.approx(0, abs=0.025)
    assert float((flat[1:] * flat[:-1]).mean() * 12) == pytest.approx(0, abs=0.025)


def test_every_precision_draws_the_same() -> None:
    shape = (40, 50)
    single, double = (
        SampleDraws(SEEDS, 1).uniform(torch.empty(shape, dtype=dtype), 0.0, 1.0)
        for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(single.double(), double)
    signs = [
        SampleDraws(SEEDS, 1).signs(torch.empty(shape, dtype=dtype))
        for dtype in (torch.float32, torch.float64)
    ]
    assert torch.equal(signs[0].double(), signs[1])


def test_limits_stretch_the_numbers() -> None:
    like = torch.empty(40, 5, dtype=torch.float64)
    plain = SampleDraws(SEEDS, 1).uniform(like, 0.0, 1.0)
    torch.testing.assert_close(SampleDraws(SEEDS, 1).uniform(like, -0.3, 0.1), 0.4 * plain - 0.3)


def test_signs_are_those_of_the_stream() -> None:
    like = torch.empty(40, 500)
    signs = SampleDraws(SEEDS, 1).signs(like)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert float(signs.mean()) == pytest.approx(0, abs=0.03)
    numbers = SampleDraws(SEEDS, 1).uniform(like, 0.0, 1.0)
    assert torch.equal(signs > 0, numbers >= 0.5)


def test_memory_layout_draws_the_same() -> None:
    plain = torch.empty(40, 3, 4, 5)
    expected_numbers = SampleDraws(SEEDS, 1).uniform(plain, 0.0, 1.0)
    for like in (
        plain.to(memory_format=torch.channels_last),
        torch.empty(5, 4, 3, 40).permute(3, 2, 1, 0),
    ):
        assert torch.equal(SampleDraws(SEEDS, 1).uniform(like, 0.0, 1.0), expected_numbers)


@pytest.mark.parametrize("keep", [[1, 3], [3, 1], [False, True, False, True]])
def test_narrowed_streams_go_on_where_they_were(keep: list[int] | list[bool]) -> None:
    seeds, like = SEEDS[:4], torch.empty(4, 6)
    whole, other = SampleDraws(seeds, 9), SampleDraws(seeds, 9)
    whole.uniform(like, 0.0, 1.0)
    other.uniform(like, 0.0, 1.0)
    narrowed = other.narrowed(torch.tensor(keep))
    for _ in range(2):
        torch.testing.assert_close(
            narrowed.uniform(like[:2], 0.0, 1.0),
            whole.uniform(like, 0.0, 1.0)[torch.tensor(keep)],
            rtol=0,
            atol=0,
        )
        assert torch.equal(narrowed.shared(like, [3]), whole.shared(like, [3]))
    # What it was narrowed from has not moved.
    assert torch.equal(
        other.uniform(like, 0.0, 1.0)[torch.tensor(keep)],
        SampleDraws(seeds, 9, counter=6).uniform(like, 0.0, 1.0)[torch.tensor(keep)],
    )


def test_shared_numbers_are_the_same_whoever_is_there() -> None:
    few, many = SampleDraws(SEEDS[:2], 9), SampleDraws(SEEDS, 9)
    like = torch.empty(1, 1)
    assert torch.equal(few.shared(like, [3, 1, 1]), many.shared(like, [3, 1, 1]))
    assert few.shared(like, [3, 1, 1]).shape == (3, 1, 1)
    others = SampleDraws(SEEDS, 10)
    assert not torch.equal(others.shared(like, [3]), SampleDraws(SEEDS, 9).shared(like, [3]))


def test_global_draws_are_torchs_own() -> None:
    like, draws = torch.empty(4, 3), GlobalDraws()
    torch.manual_seed(0)
    drawn = draws.uniform(like, -2.0, 1.0), draws.signs(like), draws.shared(like, [2, 2])
    torch.manual_seed(0)
    assert torch.equal(drawn[0], torch.empty(4, 3).uniform_(-2.0, 1.0))
    assert torch.equal(drawn[1], torch.randn(4, 3).sign())
    assert torch.equal(drawn[2], torch.rand(2, 2))
    assert draws.narrowed(torch.tensor([0])) is draws
