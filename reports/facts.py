"""What was run, on what: the facts of a sweep in the reader's words."""

from typing import Any

from pipeline.records import Outcome
from reports.study import Study
from reports.unions import Suite
from reports.wording import ABSENT, duration, percent, radius

_SMALL = 10_000
"""Training images below which a study is called small."""


def facts(study: Study) -> list[tuple[str, str]]:
    """What the first screen says about data, network, attacker, search and machine."""
    return [
        ("Data", _data(study.facts)),
        ("Network", str(study.facts.get("model_note") or ABSENT)),
        ("Attacker", _attacker(study)),
        ("Searched", _searched(study)),
        ("Epoch judged", _judged_epoch(study)),
        *_judge(study),
        ("Machine", _machine(study.facts)),
    ]


def labels(study: Study) -> list[str]:
    """Short marks beside the title: state of the sweep, scale of the study."""
    marks = [] if study.facts.get("complete") is True else ["not finished"]
    environment = study.facts.get("environment") or {}
    if str(environment.get("device") or "").startswith("cpu"):
        marks.append("CPU")
    num_train = study.facts.get("num_train")
    if isinstance(num_train, int) and num_train < _SMALL:
        marks.append("small data")
    return marks


def scale_note(study: Study) -> str:
    """What a small study can and cannot show; empty for a large one."""
    if "small data" not in labels(study):
        return ""
    return (
        f"This is a study on small data ({study.facts.get('num_train')} training images). It shows "
        "how the methods compare here and that the pipeline works; it neither confirms nor refutes "
        "the paper's numbers, which belong to CIFAR-sized data and far larger networks."
    )


def state_note(study: Study) -> str:
    """How far an unfinished sweep got; empty for a finished one."""
    if study.facts.get("complete") is True:
        return ""
    done = sum(trial.row.outcome is Outcome.COMPLETE for trial in study.trials)
    return (
        f"This sweep has not finished: {done} of the {len(study.trials)} trials asked so far are "
        "complete. Everything below is preliminary."
    )


def environment(study: Study) -> list[tuple[str, str]]:
    """Versions, machine and times, as recorded."""
    known = study.facts.get("environment") or {}
    keys = ("revision", "device", "precision", "cpu", "num_cpus", "gpus", "platform")
    tools = ("python", "torch", "ray", "optuna", "mlflow")
    rows = [(key.replace("_", " "), _text(known.get(key))) for key in (*keys, *tools)]
    phases = study.facts.get("phases") or {}
    rows += [
        ("started", _text(study.facts.get("started"))),
        ("finished", _text(study.facts.get("finished"))),
        ("wall time", duration(study.facts.get("wall_s"))),
        ("training, summed", duration(phases.get("training_s"))),
        ("evaluation, summed", duration(phases.get("evaluation_s"))),
        ("seed", _text(study.facts.get("seed"))),
        ("sampler", _text(study.facts.get("sampler"))),
        ("space file", _text(study.facts.get("space_file"))),
        ("overrides", _text(study.facts.get("overrides")) or "none"),
    ]
    return rows


def suite_note(suite: Suite) -> str:
    """Name, size and sample count of an ensemble."""
    if not suite.members:
        return ABSENT
    count = ABSENT if suite.num_samples is None else f"{suite.num_samples} images"
    attacks = len(suite.members)
    return f"{suite.name}: {attacks} {'attack' if attacks == 1 else 'attacks'}, {count}"


def _judge(study: Study) -> list[tuple[str, str]]:
    """Who judged the test images, and what judging them again found; empty for older sweeps."""
    told = [f"{trial.row.label} {trial.recheck}" for trial in study.trials if trial.recheck]
    exact = (study.facts.get("report_suite") or {}).get("judge") == "exact"
    if not exact and not told:
        return []
    how = (
        "Exact sums of integers judge the test images: the verdicts are the same, bit for bit, on "
        "any machine."
        if exact
        else "The network's own forward pass judges the test images, in fp32."
    )
    again = "; ".join(told) if told else "not rechecked (python -m pipeline.recheck)"
    return [("Judge", f"{how} {again[0].upper()}{again[1:]}.")]


def _data(known: dict[str, Any]) -> str:
    sizes = [known.get(f"num_{split}") for split in ("train", "validation", "test")]
    text = str(known.get("data_note") or "Data " + ABSENT)
    if any(size is not None for size in sizes):
        train, validation, test = ("?" if size is None else str(size) for size in sizes)
        text += f"; {train} training, {validation} validation and {test} test images"
    if known.get("num_classes"):
        text += f", {known['num_classes']} classes"
    return text


_MAY = {
    "pixels": "change every pixel by at most {} of its range",
    "counts": "change every count by at most {} events, none below 0",
    "clamped": "change every count by at most {} events; all counts are then cut at 1",
    "scaled": "change every count by at most {} of the training set's largest",
    "binary": "turn over so many entries of frames of an event or none as each attack's name says",
}
"""By threat model."""


def _attacker(study: Study) -> str:
    selection, report = (suite_note(suite) for suite in study.suites.values())
    threat = (study.facts.get("report_suite") or {}).get("threat", "pixels")
    may = _MAY.get(str(threat), _MAY["pixels"]).format(f"ε = {radius(study.facts.get('epsilon'))}")
    return (
        f"Knows the network (white box) and may {may}. "
        f"Selection, validation: {selection}. Report, test: {report}."
    )


def _searched(study: Study) -> str:
    parts = [f"{parameter.symbol}: {parameter.extent}" for parameter in study.parameters]
    searched = sum(trial.row.role == "searched" for trial in study.trials)
    text = "; ".join(parts) or "no parameter recorded"
    counts = [(searched, "searched trial"), (len(study.baselines), "baseline")]
    told = " and ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)
    seeds = study.facts.get("seeds") or 1
    told += f", {seeds} seeds each of what is reported" if seeds > 1 else ""
    floor = f"; clean accuracy of at least {percent(study.floor)}" if study.floor else ""
    return f"{text}{floor}. {told}, sampler {study.facts.get('sampler') or ABSENT}."


_EPOCHS = {
    "last": "the last one of every training",
    "best_validation": "the one of the best clean accuracy on the validation images",
    "best_test": "the one of the best clean accuracy on the test images, as in the paper's code: "
    "chosen on the images it is reported on, which flatters clean accuracy",
}


def _judged_epoch(study: Study) -> str:
    """How the epoch whose network is judged was chosen."""
    configs = [trial.row.config.get("training") or {} for trial in study.trials]
    chosen = dict.fromkeys(str(config.get("selection") or "last") for config in configs)
    return "; ".join(_EPOCHS.get(name, name) for name in chosen) or ABSENT


def _machine(known: dict[str, Any]) -> str:
    machine = known.get("environment") or {}
    gpus = machine.get("gpus") or []
    hardware = ", ".join(map(str, gpus)) if gpus else str(machine.get("cpu") or ABSENT)
    cores = f", {machine['num_cpus']} CPU cores" if machine.get("num_cpus") else ""
    wall = duration(known.get("wall_s"))
    return f"{hardware}{cores}; wall time {wall}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return ABSENT if value is None or value == "" else str(value)
