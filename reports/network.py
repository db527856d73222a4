"""One network of a sweep, taken along: which one, and what its reader should know of it."""

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import __version__
from pipeline.command_line import printable
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.records import SplitName
from pipeline.stale import CHECKPOINT
from reports import store
from reports.facts import facts, suite_note
from reports.fronts import best_above
from reports.known_data import Data
from reports.parameters import section
from reports.rendering import ENVIRONMENT
from reports.robustbench import find_trial
from reports.study import Study, TrialResult
from reports.unions import Accuracy
from reports.wording import ABSENT, METHOD_NAMES, NBSP, interval, percent, radius, setting

if TYPE_CHECKING:
    from pipeline.standalone import Exported

CHOSEN = ""
"""In place of a label: the network that the sweep's report calls the chosen one."""


def export_network(root: StorePath, studies: list[Study], name: str, out: Path) -> tuple[Path, str]:
    """Write a network as a folder that needs PyTorch alone.

    Args:
        root: The store.
        studies: Its sweeps that may have the network.
        name: Label or fingerprint; `CHOSEN` leaves the choice to the one sweep.
        out: Where its folder is made.

    Returns:
        The folder, and a sentence that says which network it is and why.

    Raises:
        ConfigError: There is no such network, its checkpoint is not what it should be, or nothing
            can be written.
    """
    study, trial, why = pick(studies, name)
    row = trial.row
    folder = out / f"network-{store.checked_name(row.label, 'label of a network')}"
    # Imported here: it loads torch, which nothing else of a report needs.
    from pipeline.standalone import write_standalone

    checkpoint = root / "trials" / row.fingerprint / CHECKPOINT
    exported = write_standalone(checkpoint, row.fingerprint, folder)
    (folder / "README.md").write_text(
        card(root, study, trial, exported, why) + "\n", encoding="utf-8"
    )
    return folder, f"{row.label} of sweep {study.name}: {why}"


def pick(studies: list[Study], name: str) -> tuple[Study, TrialResult, str]:
    """The network asked for, or the chosen one, with the reason.

    The chosen network is the searched one of the highest robust accuracy on validation images, of
    those above the space's floor whose audit did not fail. Where nothing was searched, the same
    holds for baselines.

    Raises:
        ConfigError: There is none.
    """
    if name != CHOSEN:
        study, trial = find_trial(studies, name, "--network")
        return study, trial, "asked for by name"
    if len(studies) > 1:
        raise ConfigError(
            "--network: several sweeps have a network of highest robust accuracy each; name one, "
            "--network LABEL, or give one --sweep"
        )
    (study,) = studies
    kind, best = "searched", study.best
    if best is None and not any(trial.row.role == "searched" for trial in study.judged):
        kind, best = "reported", _best_baseline(study)
    robust = best.robust(SplitName.VALIDATION) if best else None
    if best is None or robust is None:
        labels = ", ".join(trial.row.label for trial in study.trials if trial.complete)
        raise ConfigError(
            f"--network: sweep {study.name} has no network to choose: none with all its validation "
            "verdicts, above the floor, and believed by its audit; name one, --network LABEL, of "
            f"{labels or 'none yet'}"
        )
    floor = "" if study.floor is None else f", with at least {percent(study.floor)} clean"
    audit = f"audit {best.audit.status}" if best.audit else "not audited"
    why = (
        f"the {kind} network of the highest robust accuracy on validation images, "
        f"{percent(robust.value)} (n={robust.total}){floor}; {audit}"
    )
    return study, best, why.replace(NBSP, " ")


def _best_baseline(study: Study) -> TrialResult | None:
    trials = [trial for trial in study.judged if trial.row.feasible and trial.believed]
    points = [trial.point(SplitName.VALIDATION) or (0.0, 0.0) for trial in trials]
    index = best_above(points, study.floor)
    return None if index is None else trials[index]


def card(root: StorePath, study: Study, trial: TrialResult, exported: "Exported", why: str) -> str:
    """The folder's README.md, which says what is known of the network and how."""
    row, model, neuron = trial.row, exported.config, exported.config.neuron
    known, searched = dict(facts(study)), setting(trial, study.parameters)
    table = {
        "Network": f"{model.architecture}, {exported.num_parameters:,} parameters, "
        f"T = {model.num_timesteps} time steps, {_encoding(exported)}",
        "Neurons": f"integrate-and-fire, leak {neuron.leak:g}, threshold {neuron.threshold:g}, "
        f"reset to 0; trained through the surrogate {neuron.surrogate}, width "
        f"{neuron.estimator.gamma:g}",
        "Input": f"{exported.images}, float32; {_first_layer(exported)}",
        "Output": f"logits, (B, {exported.spec.num_classes})",
        "Data": known["Data"],
        "Trained by": f"{METHOD_NAMES.get(row.method, row.method)}"
        f"{searched and f', {searched}'}: {_settings(section(row.config, 'strategy'))}",
        "Training": f"{_settings(section(row.config, 'training'))}; network of epoch "
        f"{exported.epoch}; seed {row.config.get('seed', ABSENT)}",
        **_judged(root, study, trial, known["Attacker"]),
        "Origin": f"sweep {study.name}, trial {row.label}, network {row.fingerprint}, "
        f"Spikeproof {__version__}",
    }
    # Markdown: no entities in the text; `_cell` has taken the markup out of what is not ours.
    template = ENVIRONMENT.overlay(autoescape=False).get_template("network.md.j2")
    return template.render(
        label=row.label,
        sweep=study.name,
        why=why,
        believed=trial.believed,
        classes=list(exported.classes),
        table=[(name, _cell(text)) for name, text in table.items()],
    )


def _encoding(exported: "Exported") -> str:
    if exported.spec.frames:
        return f"event frames ({exported.config.input})"
    return "Poisson coding: answers are random draws" if exported.config.randomised else (
        "direct coding"
    )  # fmt: skip


def _first_layer(exported: "Exported") -> str:
    spec = exported.spec
    if spec.frames:
        return {
            "counts": "counts are used as they are",
            "scaled": f"the first layer divides by {spec.scale:g} and cuts at 1",
            "binary": "the first layer makes of counts an event or none",
        }[exported.config.input]
    plain = spec.mean is None or not any(spec.mean) and {*(spec.std or ())} == {1.0}
    if plain or exported.config.randomised:
        return "used as they are"
    mean, std = (", ".join(f"{value:.4f}" for value in values or ()) for values in
                 (spec.mean, spec.std))  # fmt: skip
    return f"the first layer normalises them (mean {mean}; deviation {std}): do not do so before"


def _judged(root: StorePath, study: Study, trial: TrialResult, attacker: str) -> dict[str, str]:
    """Accuracies, attacker and audit, of test images where there are verdicts, else validation."""
    split = SplitName.TEST if trial.point(SplitName.TEST) else SplitName.VALIDATION
    clean, robust = trial.clean(split), trial.robust(split)
    if clean is None or robust is None:
        return {"Accuracy": "not judged, or not completely"}
    rows = store.read_rows(root, trial.row.fingerprint, split)
    judges = {str(value) for value in rows["judge"]} - {""}
    chosen_on = "" if split == SplitName.TEST else ", which also chose among networks"
    found = {
        "Clean accuracy": f"{_accuracy(clean)} on {split} images{chosen_on}",
        "Robust accuracy": f"{_accuracy(robust)} on the same, suite "
        f"{suite_note(study.suites[split])}, radius {radius(study.facts.get('epsilon'))}",
        "Attacker": attacker,
        "Trust audit": _audit(trial),
    }
    if judges == {"exact"}:
        found["Judge"] = (
            "exact sums of integers, the same on any machine; `model(images)` rounds, and may "
            "differ in a sample"
        )
    stale = dict.fromkeys(trial.stale.get(split, {}).values())
    if stale:
        found["Stale"] = f"{'; '.join(stale)}: judge it again before you quote these numbers"
    return found


def _accuracy(accuracy: Accuracy) -> str:
    return (
        f"{percent(accuracy.value)} (95 % interval {interval(*accuracy.interval)}, "
        f"n={accuracy.total})"
    )


def _audit(trial: TrialResult) -> str:
    audit = trial.audit
    if audit is None:
        return "none: whether the robust accuracy can be believed was not checked"
    doubts = [f"{check.name}: {check.sentence}" for check in audit.checks
              if check.status in ("WARN", "FAIL")]  # fmt: skip
    left = f"{percent(audit.robust_accuracy)} withstand all that it tried (n={audit.num_samples})"
    return "; ".join([f"{audit.status}, {left}", *doubts])


def _settings(values: dict[str, Any]) -> str:
    """Settings as JSON: whatever their names and values hold, they are text."""
    shown = {key: value for key, value in values.items() if key not in Data.PLACES}
    return json.dumps(shown)[1:-1] or ABSENT


def _cell(text: str) -> str:
    """The text within one cell of a table; markup in it is shown, not obeyed."""
    return html.escape(printable(" ".join(text.split())), quote=False).replace("|", "\\|")
