"""What a space would run, counted before anything runs."""

from collections.abc import Iterator

from pipeline.config import SpaceConfig, domain_of
from pipeline.files import StorePath
from pipeline.search.points import num_searched
from pipeline.stored_data import load_stored
from pipeline.threats import load_suite, members
from pipeline.training import StrategyConfig


def passes_per_step(strategy: StrategyConfig) -> int:
    """Forward-and-backward passes of one training step.

    One for the loss; a penalty adds the gradient's backward and a second forward and backward,
    counted as two; an attack adds one a step.
    """
    attack = getattr(strategy, "attack", None)
    attack_steps = 0 if attack is None else getattr(strategy, "num_steps", 1)
    if attack in ("fgsm", "mixed"):
        attack_steps = 1
    has_penalty = strategy.method in ("sr", "sr_star", "gr")
    return 1 + attack_steps + (2 if has_penalty else 0)


def describe_plan(space: SpaceConfig, store: StorePath) -> Iterator[str]:
    """Lines for people: trials, passes and samples. Times need a measurement and are not said."""
    dataset = load_stored(space.data, store)
    suite = load_suite(space.evaluation.suite)
    domain = domain_of(dataset)
    all_members = members(
        suite, space.evaluation.epsilon, randomised=space.model.randomised, domain=domain
    )
    wanted = space.evaluation.num_samples or len(dataset.validation)
    judged = min(wanted, len(dataset.validation))
    trials = num_searched(space)
    yield f"{space.name}: {space.description}".rstrip(": ")
    yield f"data        {dataset.note}"
    yield (
        f"samples     {len(dataset.train)} to train, {len(dataset.validation)} to select, "
        f"{len(dataset.test)} to report"
    )
    searched = f", {trials} by {space.search.sampler}" if space.search.strategies else ""
    seeds = f"; what is reported, with {space.seeds} seeds" if space.seeds > 1 else ""
    yield f"trials      {len(space.baselines)} baselines{searched}{seeds}"
    for label in [*space.baselines, *space.search.strategies]:
        passes = passes_per_step(space.strategies[label])
        images = passes * space.training.epochs * len(dataset.train)
        yield f"training    {label}: {images:,} image passes a trial ({passes} a step)"
    steps = sum(
        member.attack.gradient_steps * member.eot_draws
        for member in all_members
        if member.attack is not None
    )
    yield (
        f"evaluation  {suite.name}: {len(all_members)} members, at most {steps * judged:,} image "
        "passes a trial (a pass is forward and backward over all time steps)"
    )
    if space.report.audit is not None:
        asked = members(load_suite(space.report.audit), space.evaluation.epsilon, domain=domain)
        reported = min(space.report.num_samples or len(dataset.test), len(dataset.test))
        audited = min(space.report.audit_samples, reported)
        yield f"audit       {len(asked)} members on {audited} samples, baselines and front"
