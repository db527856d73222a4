"""One network in the form of RobustBench's model_info files, with what is known of it."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.records import SplitName
from reports import store
from reports.parameters import section
from reports.single import attacks_of, epsilon_of
from reports.study import Study, TrialResult
from reports.unions import Suite
from reports.wording import radius

_SPLIT = SplitName.TEST


_MOST_LABELS = 30


def find_trial(
    studies: list[Study], name: str, option: str = "--model"
) -> tuple[Study, TrialResult]:
    """The trial of this label or fingerprint, which an option of the command line names.

    Raises:
        ConfigError: There is none, or several networks bear the label.
    """
    found = [
        (study, trial)
        for study in studies
        for trial in study.trials
        if name in (trial.row.label, trial.row.fingerprint)
    ]
    if not found:
        labels = dict.fromkeys(trial.row.label for study in studies for trial in study.trials)
        more = ", ..." if len(labels) > _MOST_LABELS else ""
        raise ConfigError(
            f"{option} {name}: no trial of these sweeps has that label or fingerprint; write one "
            f"of {', '.join([*labels][:_MOST_LABELS]) or 'none'}{more}"
        )
    if len({trial.row.fingerprint for _, trial in found}) > 1:
        listed = ", ".join(f"{trial.row.fingerprint} of {study.name}" for study, trial in found)
        raise ConfigError(
            f"{option} {name}: several networks bear that label; give one of {listed}"
        )
    return found[0]


def model_info(root: StorePath, study: Study, trial: TrialResult) -> dict[str, Any]:
    """The fields of a model_info file; null where nothing is known.

    `autoattack_acc` stays null: what was run here is not RobustBench's AutoAttack. The robust
    accuracy stands in `external`, where RobustBench keeps evaluations by other attacks.

    Raises:
        ConfigError: The network has no complete set of test verdicts.
    """
    clean, robust, suite = trial.clean(_SPLIT), trial.robust(_SPLIT), study.suites[_SPLIT]
    if clean is None or robust is None or not suite.members:
        raise ConfigError(
            f"--model {trial.row.label}: it has no complete set of test verdicts in {study.name}; "
            "judge it on the test split first"
        )
    rows = store.read_rows(root, trial.row.fingerprint, _SPLIT)
    attacks = attacks_of(rows, suite)
    epsilon = epsilon_of(rows, attacks)
    epsilon = study.facts.get("epsilon") if epsilon is None else epsilon
    model, data = (section(trial.row.config, name) for name in ("model", "data"))
    low, high = (100 * end for end in robust.interval)
    return {
        "link": None,
        "name": None,
        "authors": None,
        "additional_data": False,
        "number_forward_passes": None if model.get("encoding") == "poisson" else 1,
        "dataset": data.get("dataset"),
        "venue": None,
        "architecture": _architecture(model),
        "eps": None if epsilon is None else radius(epsilon),
        "clean_acc": f"{100 * clean.value:.2f}",
        "reported": None,
        "autoattack_acc": None,
        "external": f"{100 * robust.value:.2f}",
        "footnote": (
            f"Not AutoAttack: the union of {_count(suite)} (suite {suite.name}) on "
            f"{robust.total} test images; 95 % interval {low:.2f} to {high:.2f}. An upper bound. "
            "The clean accuracy is of the same images."
        ),
        "unreliable": None if trial.audit is None else not trial.believed,
        "spikeproof": {
            "study": study.name,
            "label": trial.row.label,
            "fingerprint": trial.row.fingerprint,
            "method": trial.row.method,
            "threat_model": "Linf",
            "split": str(_SPLIT),
            "num_samples": robust.total,
            "clean_interval": [f"{100 * end:.2f}" for end in clean.interval],
            "external_interval": [f"{low:.2f}", f"{high:.2f}"],
            "suite": suite.name,
            "order": "survivors" if suite.survivors_only else "all",
            "members": [
                {"member": name, "hash": code, "acc": _percent(trial, name)}
                for name, code in sorted(attacks)
            ],
            "audit": trial.audit.status if trial.audit else None,
            "data_hash": study.facts.get("data_hash"),
            "stale": "; ".join(dict.fromkeys(trial.stale.get(_SPLIT, {}).values())) or None,
            **_facts(rows),
        },
    }


def _architecture(model: dict[str, Any]) -> str | None:
    name, steps = model.get("architecture"), model.get("num_timesteps")
    if not name:
        return None
    return f"{name}, spiking" + (f", {steps} time steps" if steps else "")


def _count(suite: Suite) -> str:
    count = len(suite.members)
    return f"{count} {'attack' if count == 1 else 'attacks'} through chosen surrogate gradients"


def _percent(trial: TrialResult, member: str) -> str | None:
    result = trial.splits[_SPLIT]
    accuracy = result.member(member) if result else None
    return None if accuracy is None else f"{100 * accuracy.value:.2f}"


def _facts(rows: Any) -> dict[str, str | None]:
    return {
        name: "; ".join(sorted({str(value) for value in rows[name]} - {""})) or None
        for name in store.BLOCK_FACTS
    }
