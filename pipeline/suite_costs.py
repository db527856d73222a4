"""What it takes to judge a network: members, blocks and survivors, in seconds of one worker."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.attacks import AttackConfig
from pipeline.config_types import Judge
from pipeline.costs import Rate
from pipeline.evaluation import block_ranges
from pipeline.evaluator import EvaluationJob
from pipeline.metrics.probe import NUM_QUERIES, PLANE
from pipeline.threats import CLEAN, GRADIENTS, MEASURE, PROBE, Member

STEPS_TO_BREAK = 5
"""Steps after which an attack that stops early is taken to have broken what it breaks."""
PROBE_PASSES = NUM_QUERIES + PLANE**2
"""Forward passes of the audit's probe, but for some twenty."""
LENGTHS = ("num_steps", "num_queries", "num_draws")
"""Settings that an attack's cost is proportional to."""
Kind = tuple[str, str, str]
"""Members whose steps cost the same: what a step is, its estimator, and that one's surrogate."""
FORWARD: Kind = ("forward", "", "")
"""A step that asks for logits alone."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """How the samples fare, as shares of all: right without an attack, and after all of them."""

    clean: float
    robust: float


@dataclass(frozen=True, kw_only=True)
class SuiteRates:
    """Measured seconds: a step of each kind, the judges, the pseudo-members."""

    steps: dict[Kind, Rate]
    judges: dict[Judge, Rate]
    pseudo: dict[str, Rate] = field(default_factory=dict)

    def step(self, kind: Kind) -> Rate:
        """Of this kind; where it was not measured, of one that is like it."""
        alike = [rate for other, rate in self.steps.items() if other[1:] == kind[1:]]
        gradients = [rate for other, rate in self.steps.items() if other != FORWARD]
        return self.steps.get(kind) or (alike or gradients or list(self.steps.values()))[0]


def kind(member: Member) -> Kind:
    """What a step of the member's attack costs depends on this; widths and losses cost alike."""
    assert member.attack is not None
    estimator, method = member.estimator, member.attack.method
    if estimator is None:
        return FORWARD
    step = method if method in ("fab", "sda") else "gradient"
    return step, estimator.method, estimator.surrogate if estimator.method == "stbp" else ""


def num_steps(attack: AttackConfig | None) -> int:
    """Steps that a sample takes which no step breaks: gradients, or else forward passes."""
    if attack is None:
        return 0
    forward = getattr(attack, "num_queries", 0) or getattr(attack, "num_draws", 0)
    return attack.gradient_steps or forward * getattr(attack, "num_restarts", 1)


def steps_to_break(attack: AttackConfig) -> float:
    """Steps that a sample takes which the attack breaks in its first run."""
    targeted = attack.method == "fab" or getattr(attack, "loss", "") == "targeted_dlr"
    runs = getattr(attack, "num_restarts", 1) * (attack.num_targets if targeted else 1)  # type: ignore[union-attr]
    whole = num_steps(attack) / runs
    stops = attack.method in ("square", "flip", "sda") or (
        attack.method == "pgd" and attack.iterate == "any"
    )
    return min(STEPS_TO_BREAK, whole) if stops else whole


def shortened(attack: AttackConfig, steps: int) -> AttackConfig:
    """The attack with at most so many steps, one run, one target: to be measured."""
    if attack.method == "sda":  # a round tries more than the one before: not proportional
        return attack
    changes: dict[str, Any] = {
        name: min(getattr(attack, name), steps) for name in LENGTHS if hasattr(attack, name)
    }
    changes |= {name: 1 for name in ("num_restarts", "num_targets") if hasattr(attack, name)}
    return replace(attack, **changes)


def kinds(members: Sequence[Member]) -> list[Member]:
    """One member of each kind, those that take the most steps first."""
    found: dict[Kind, Member] = {}
    steps: dict[Kind, int] = {}
    for member in members:
        if num_steps(member.attack):
            found.setdefault(kind(member), member)
            steps[kind(member)] = steps.get(kind(member), 0) + num_steps(member.attack)
    return sorted(found.values(), key=lambda member: -steps[kind(member)])


def job_seconds(
    job: EvaluationJob, epsilon: float, rates: SuiteRates, fate: Fate, task_s: float = 0.0
) -> tuple[float, float]:
    """Seconds of one worker that a network's evaluation takes, and those of its longest chain.

    Args:
        job: Members, samples and blocks.
        epsilon: Radius of the evaluation: a larger one, a control's, is taken to leave nobody.
        rates: As measured.
        fate: Of the samples; who is broken at all is broken by whoever attacks first.
        task_s: What a task costs besides.
    """
    spent = longest = 0.0
    for start, stop in block_ranges(job.num_samples, job.block_size):
        chain, share = 0.0, fate.clean
        for member in job.members:
            attacked = (share if member.after else fate.clean) * (stop - start)
            own = task_s + member_seconds(member, stop - start, attacked, epsilon, rates, fate)
            spent += own
            if member.after:
                share = min(share, fate.robust)
            if member.after or member.attack_name == CLEAN:
                chain += own
            longest = max(longest, chain, own)
    return spent, longest


def member_seconds(
    member: Member, count: int, attacked: float, epsilon: float, rates: SuiteRates, fate: Fate
) -> float:
    """Seconds of one member on a block of `count` samples, of which it attacks `attacked`."""
    if member.attack_name in (MEASURE, GRADIENTS):
        return rates.pseudo[member.attack_name].seconds(count)
    if member.attack_name == PROBE:
        return PROBE_PASSES * rates.step(FORWARD).seconds(count)
    judge, draws = rates.judges[member.judge], member.judge_draws
    clean_s = draws * judge.seconds(count)
    if member.attack is None:
        return clean_s
    # A random network's block is judged as a whole.
    judged_s = clean_s if draws > 1 else judge.seconds(attacked)
    standing = min(_robust(member, epsilon, fate) * count, attacked)
    first, rate = steps_to_break(member.attack), rates.step(kind(member))
    last = num_steps(member.attack) - first
    steps_s = member.eot_draws * (first * rate.seconds(attacked) + last * rate.seconds(standing))
    return steps_s + judged_s + (0.0 if member.after else clean_s)


def _robust(member: Member, epsilon: float, fate: Fate) -> float:
    """Share of all samples that survive the member."""
    if member.epsilon == 0 or num_steps(member.attack) == 0:
        return fate.clean
    is_control = not member.counted and member.threat.name != "binary" and member.epsilon > epsilon
    return 0.0 if is_control else fate.robust
