"""Suites: which members they mean, what names those, and what a wrong file is told."""

from pathlib import Path

import pytest

from models import GradientEstimator
from pipeline import audit
from pipeline.attacks import Domain, FGSMConfig, NoiseConfig, PGDConfig, SquareConfig
from pipeline.errors import ConfigError
from pipeline.sweep import read_space
from pipeline.threats import (
    CLEAN,
    DEFAULT_EOT_DRAWS,
    SUITES,
    Member,
    Source,
    Stage,
    SuiteConfig,
    load_suite,
    measure_member,
    members,
    probe_member,
)
from tests.tiny import SPACE, write_space
from tests.victims import RGA, TRIANGLE

SHIPPED = sorted(path.stem for path in SUITES.glob("*.yaml"))
SOURCES = (
    Source(label="near", fingerprint="aaaa", checkpoint="here/near"),
    Source(label="far", fingerprint="bbbb", checkpoint="here/far"),
)
SIGMOID, OWN = GradientEstimator(surrogate="sigmoid"), GradientEstimator(method="own")
RANDOM_ONLY = {"eot-1", "eot-5"}

SUITE = """
name: mine
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
oracles: [{surrogate: triangle}]
then:
  - attacks:
      square: {method: square}
  - attacks:
      pgd: {method: pgd}
    oracles: [{method: rga}]
"""


def suite(*then: Stage, **changes: object) -> SuiteConfig:
    first = {"attacks": {"fgsm": FGSMConfig()}, "oracles": [TRIANGLE]}
    return SuiteConfig(**({"name": "s", "epsilon": 0.1, "then": list(then)} | first | changes))


def stage(oracle: GradientEstimator = TRIANGLE, **changes: object) -> Stage:
    return Stage(**({"attacks": {"pgd": PGDConfig()}, "oracles": [oracle]} | changes))


def names(rows: tuple[Member, ...]) -> list[str]:
    return [row.name for row in rows]


def by_name(rows: tuple[Member, ...]) -> dict[str, Member]:
    return {row.name: row for row in rows}


def test_stages_follow_each_other_with_their_own_attacks_and_oracles() -> None:
    later = stage(RGA, attacks={"pgd": PGDConfig(), "square": SquareConfig()})
    assert names(members(suite(later, stage(SIGMOID, attacks={"fgsm": FGSMConfig()})))) == [
        "clean",
        "fgsm+triangle",
        "pgd+rga",
        "square+none",
        "fgsm+sigmoid",
    ]


def test_an_attack_of_two_stages_through_one_oracle_is_one_member() -> None:
    again = stage(TRIANGLE, attacks={"fgsm": FGSMConfig(), "square": SquareConfig()})
    assert names(members(suite(again, again))) == ["clean", "fgsm+triangle", "square+none"]


@pytest.mark.parametrize("written", [1.0, None])
def test_a_default_width_may_be_written_or_not(written: float | None) -> None:
    named = GradientEstimator(surrogate="triangle", width=written)
    rows = members(suite(stage(named, attacks={"fgsm": FGSMConfig()})))
    assert names(rows) == ["clean", "fgsm+triangle"]
    assert rows == members(suite())
    other = GradientEstimator(surrogate="triangle", width=1.5)
    assert len(members(suite(stage(other, attacks={"fgsm": FGSMConfig()})))) == 3


def test_a_larger_radius_makes_a_control_and_no_member_of_the_union() -> None:
    attacks = {"pgd": PGDConfig(), "still": PGDConfig(epsilon=0.0), "all": PGDConfig(epsilon=1.0)}
    for factor, radius, counted in ((4, 0.4, False), (1, 0.1, True), (0.5, 0.05, True)):
        rows = by_name(members(suite(stage(attacks=attacks, epsilon_factor=factor))))
        assert rows["pgd+triangle"].epsilon == pytest.approx(radius)
        assert rows["pgd+triangle"].counted is counted
        # A radius of its own is not multiplied; above the evaluation's it does not count either.
        assert (rows["still+triangle"].epsilon, rows["still+triangle"].counted) == (0.0, True)
        assert (rows["all+triangle"].epsilon, rows["all+triangle"].counted) == (1.0, False)
    assert not measure_member(0.1).counted
    assert not probe_member(0.1).counted


def test_no_radius_exceeds_the_range_of_a_pixel() -> None:
    rows = by_name(members(suite(stage(epsilon_factor=8)), 0.3))
    assert (rows["pgd+triangle"].epsilon, rows["pgd+triangle"].counted) == (1.0, False)
    assert by_name(members(suite(stage(epsilon_factor=1)), 1.0))["pgd+triangle"].counted


@pytest.mark.parametrize("epsilon", [8 / 255, 0.1, 0.3, 1 / 3])
def test_the_evaluations_own_radius_counts_however_it_was_computed(epsilon: float) -> None:
    attack = PGDConfig(epsilon=epsilon * 3 / 3)
    rows = by_name(members(suite(stage(attacks={"pgd": attack})), epsilon))
    assert rows["pgd+triangle"].counted


@pytest.mark.parametrize("sources", [(), SOURCES], ids=["alone", "sources"])
@pytest.mark.parametrize("randomised", [False, True], ids=["deterministic", "random"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_member_has_a_name_and_a_hash_of_its_own(
    name: str, randomised: bool, sources: tuple[Source, ...]
) -> None:
    shipped = load_suite(name)
    threats = {stage.threat for stage in (shipped, *shipped.then)} - {None, "pixels"}
    domain = Domain(frames=bool(threats), scale=5.0)
    rows = members(shipped, randomised=randomised, sources=sources, domain=domain)
    assert rows[0].name == CLEAN
    assert len(set(names(rows))) == len(rows)
    assert len({row.hash for row in rows}) == len(rows)
    assert len({row.seed_hash for row in rows}) == len(rows)
    assert {row.judge_draws > 1 for row in rows} == {randomised}
    assert any(row.source is not None for row in rows) <= bool(sources)


def test_survivors_are_chained_and_keep_the_random_numbers_they_would_have_had() -> None:
    then = (stage(RGA), stage(SIGMOID), stage(epsilon_factor=4, attacks={"far": PGDConfig()}))
    alone = members(suite(*then))
    chained = members(suite(*then, order="survivors"))
    assert names(chained) == names(alone)
    assert [row.seed_hash for row in chained] == [row.seed_hash for row in alone]
    same = [row.hash == other.hash for row, other in zip(chained, alone, strict=True)]
    # Clean comes first and attacks nobody; a control is asked about all samples.
    assert same == [True, False, False, False, True]
    assert [bool(row.after) for row in chained] == [False, True, True, True, False]
    assert len({row.after for row in chained if row.after}) == 3


def test_a_member_is_another_one_after_other_members() -> None:
    first = by_name(members(suite(stage(RGA), stage(SIGMOID), order="survivors")))
    second = by_name(members(suite(stage(SIGMOID), stage(RGA), order="survivors")))
    assert first["pgd+rga"].hash != second["pgd+rga"].hash
    assert first["pgd+rga"].seed_hash == second["pgd+rga"].seed_hash
    assert first["fgsm+triangle"].hash == second["fgsm+triangle"].hash


def test_a_control_in_between_does_not_change_the_chain() -> None:
    control = stage(epsilon_factor=4, attacks={"far": PGDConfig()})
    without = by_name(members(suite(stage(RGA), order="survivors")))
    rows = by_name(members(suite(control, stage(RGA), order="survivors")))
    assert rows["pgd+rga"] == without["pgd+rga"]


def test_transfer_needs_sources_and_names_them() -> None:
    wanted = suite(stage(access="transfer"), stage(RGA))
    assert names(members(wanted)) == ["clean", "fgsm+triangle", "pgd+rga"]
    rows = members(wanted, sources=SOURCES)
    assert names(rows)[2:] == ["pgd+triangle@near", "pgd+triangle@far", "pgd+rga"]
    assert [row.source for row in rows[2:]] == [*SOURCES, None]


def test_a_source_is_known_by_its_weights_not_by_its_place_or_label() -> None:
    wanted, moved = suite(stage(access="transfer")), Source(
        label="again", fingerprint="aaaa", checkpoint="there/again"
    )  # fmt: skip
    hashes = [members(wanted, sources=[source])[2].hash for source in (*SOURCES, moved)]
    assert hashes[0] == hashes[2] != hashes[1]
    white = by_name(members(suite(stage())))["pgd+triangle"]
    assert white.hash not in hashes


def test_random_search_on_sources_is_one_member_a_source() -> None:
    rows = members(
        suite(stage(access="transfer", attacks={"square": SquareConfig()})), sources=SOURCES
    )
    assert names(rows)[2:] == ["square+none@near", "square+none@far"]


def test_only_random_networks_take_several_draws() -> None:
    wanted = suite(stage(eot_draws=3), stage(RGA), judge_draws=7)
    assert {(row.eot_draws, row.judge_draws) for row in members(wanted)} == {(1, 1)}
    rows = by_name(members(wanted, randomised=True))
    assert rows["pgd+triangle"].eot_draws == 3
    assert rows["fgsm+triangle"].eot_draws == rows["pgd+rga"].eot_draws == DEFAULT_EOT_DRAWS
    assert {row.judge_draws for row in rows.values()} == {7}
    rows = by_name(members(suite(stage(eot_draws=3), stage(RGA), eot_draws=20), randomised=True))
    assert [rows[f"pgd+{oracle}"].eot_draws for oracle in ("triangle", "rga")] == [3, 20]


def test_what_a_network_cannot_have_is_replaced_and_not_run_twice() -> None:
    wanted = suite(stage(RGA), stage(SIGMOID))
    assert names(members(wanted, available=lambda _: OWN)) == ["clean", "fgsm+own", "pgd+own"]
    assert names(members(wanted, available=lambda e: None if e == RGA else e))[2] == "pgd+none"


def test_the_victim_does_not_decide_what_a_source_is_differentiated_by() -> None:
    wanted = suite(stage(RGA, access="transfer"))
    rows = members(wanted, sources=SOURCES[:1], available=lambda _: OWN)
    assert names(rows) == ["clean", "fgsm+own", "pgd+rga@near"]


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(written(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


def test_the_suite_of_these_tests_is_right(tmp_path: Path) -> None:
    rows = members(load_suite(written(tmp_path, SUITE)))
    assert names(rows) == ["clean", "fgsm+triangle", "square+none", "pgd+rga"]


def test_two_attacks_of_one_name_are_told_where(tmp_path: Path) -> None:
    error = complaint(tmp_path, SUITE.replace("square: {method: square}", "fgsm: {method: noise}"))
    assert error.startswith("mine.yaml:9:7 ")
    assert "then.0.attacks.fgsm" in error
    assert "another attack of this name" in error


@pytest.mark.parametrize("change", ["epsilon_factor: 2", "eot_draws: 1"])
def test_one_name_at_another_radius_or_number_of_draws_is_another_attack(
    tmp_path: Path, change: str
) -> None:
    again = SUITE.replace("pgd: {method: pgd}", "fgsm: {method: fgsm}")
    assert len(members(load_suite(written(tmp_path, again)))) == 4
    error = complaint(
        tmp_path, again.replace("    oracles: [{m", f"    {change}\n    oracles: [{{m")
    )
    assert error.startswith("mine.yaml:11:7 ")


def test_a_gradient_needs_an_oracle_and_is_told_where(tmp_path: Path) -> None:
    error = complaint(tmp_path, SUITE.replace("oracles: [{surrogate: triangle}]\n", ""))
    assert error.startswith("mine.yaml:2:1 ")
    assert "oracles: expected at least one oracle, such as {surrogate: triangle}" in error
    error = complaint(tmp_path, SUITE.replace("    oracles: [{method: rga}]\n", ""))
    assert error.startswith("mine.yaml:10:5 ")
    assert "then.1.oracles" in error


def test_random_search_needs_no_oracle() -> None:
    rows = members(suite(attacks={"noise": NoiseConfig(), "square": SquareConfig()}, oracles=[]))
    assert names(rows) == ["clean", "noise+none", "square+none"]


@pytest.mark.parametrize("field", ["oracle", "epsilon_faktor", "acces"])
def test_a_stage_has_no_other_keys(tmp_path: Path, field: str) -> None:
    text = SUITE.replace("    oracles: [{m", f"    {field}: 3\n    oracles: [{{m")
    error = complaint(tmp_path, text)
    assert error.startswith("mine.yaml:12:5 ")
    assert "unknown key" in error


@pytest.mark.parametrize("randomised", [False, True])
def test_the_audit_suite_has_every_attack_that_the_checks_ask_for(randomised: bool) -> None:
    rows = members(load_suite("audit"), randomised=randomised, sources=SOURCES)
    wanted = set(audit.ATTACKS) if randomised else set(audit.ATTACKS) - RANDOM_ONLY
    assert {row.attack_name for row in rows} - {CLEAN} == wanted


def test_only_a_random_network_is_attacked_with_fewer_draws() -> None:
    """Members that differ in draws alone are one where there is nothing to draw."""
    rows = [row for row in members(load_suite("audit"), randomised=True)
            if row.attack_name in {"pgd10", *RANDOM_ONLY} and row.oracle_name == "own"]  # fmt: skip
    assert {row.attack_name: row.eot_draws for row in rows} == {
        "pgd10": 20,
        "eot-1": 1,
        "eot-5": 5,
    }
    assert len({str(row.attack) for row in rows}) == 1


def meanings(name: str) -> set[tuple[str, str, float]]:
    """Attack, estimator and radius of a suite's members, whatever they are called."""
    return {(str(r.attack), r.oracle_name, r.epsilon) for r in members(load_suite(name), 0.1)}


@pytest.mark.parametrize("smaller", ["paper", "paper_fig3", "paper_table6"])
def test_the_strong_suite_holds_the_papers(smaller: str) -> None:
    assert meanings(smaller) <= meanings("strong")
    assert len(meanings("strong")) > len(meanings(smaller))


@pytest.mark.parametrize("place", ["evaluation.suite", "report.suite", "report.audit"])
@pytest.mark.parametrize("name", ["transfer", "transfer_paper"])
def test_a_sweep_refuses_a_suite_of_transfer_alone(tmp_path: Path, place: str, name: str) -> None:
    section, key = place.split(".")
    space = write_space(tmp_path, SPACE)
    with pytest.raises(ConfigError) as caught:
        read_space(space, [f"{section}.{key}={name}"])
    assert place in str(caught.value)
    assert f"'{name}' attacks through other networks alone" in str(caught.value)
    assert "pipeline.evaluate --source" in str(caught.value)


def test_a_sweep_takes_a_suite_with_some_transfer(tmp_path: Path) -> None:
    space = read_space(write_space(tmp_path, SPACE), ["report.suite=strong", "report.audit=audit"])
    assert (space.report.suite, space.report.audit) == ("strong", "audit")
