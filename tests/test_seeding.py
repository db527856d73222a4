import torch

from pipeline.fingerprint import canonical, fingerprint
from pipeline.seeding import derive, seeded


def test_seeds_follow_what_they_are_for():
    assert derive(0, "epoch", 1) == derive(0, "epoch", 1)
    assert derive(0, "epoch", 1) != derive(0, "epoch", 11)
    assert derive("a", "b") != derive("ab")
    assert 0 <= derive(0) < 2**63
    # Pinned: a change would silently change every stored result's seed.
    assert derive(0, "f00d", "test", "abc", 128) == 7216219122280441866


def test_a_seeded_block_is_repeatable_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(0, "x"):
        first = torch.rand(3)
    with seeded(0, "x"):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_content_has_equal_fingerprints():
    assert canonical({"b": (1, 2.5), "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert len(fingerprint("x")) == 16
