# PYTHON_ARGCOMPLETE_OK
"""Train one configuration in this process, no Ray: `python -m pipeline.train --space FILE`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import OVERRIDES, STORE, command_parser, parse, run_command
from pipeline.errors import ConfigError

EXAMPLES = """examples:
  # the space's adversarial training; the last line printed is the checkpoint's path
  python -m pipeline.train --space search_spaces/lambda.yaml --strategy at
  # sparsity regularisation with a lambda of your own
  python -m pipeline.train --space search_spaces/lambda.yaml --strategy sr \\
      --set strategies.sr.sparsity_weight=0.05
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_parser(
        "pipeline.train",
        "Train one strategy of a search space; continues where it was stopped.",
        EXAMPLES,
    )
    result.add_argument("--space", type=Path, required=True, help="YAML file of the search space")
    result.add_argument("--strategy", help="label in the space; its first baseline by default")
    result.add_argument("--store", **STORE)
    result.add_argument("--set", **OVERRIDES)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    return run_command(lambda: _train(options))


def _train(options: argparse.Namespace) -> int:
    """Train, print an epoch a line, and the checkpoint's path at last.

    Raises:
        ConfigError: The space is wrong, or has no such strategy.
    """
    # Imported here: torch takes seconds, and `--help` should take none.
    from pipeline.checkpoints import FILE_NAME
    from pipeline.config import input_spec
    from pipeline.console import Progress, percent
    from pipeline.experiment import train, trial_folder, write_config
    from pipeline.files import open_store
    from pipeline.fit import require_fit
    from pipeline.records import SplitName
    from pipeline.resources import check_device, local_resources
    from pipeline.space_file import located
    from pipeline.stored_data import load_stored
    from pipeline.sweep import read_space
    from pipeline.training.loop import DivergedError

    space = read_space(options.space, options.overrides)
    labels = list(space.strategies)
    label = options.strategy or (space.baselines or labels)[0]
    if label not in space.strategies:
        raise ConfigError(f"--strategy: expected one of {', '.join(labels)}, got '{label}'")
    console = Progress()
    with located(options.space, options.overrides):
        check_device("compute.device", space.compute.device, local_resources()["GPU"])
        dataset = load_stored(space.data, options.store, say=console.line)
        require_fit(space, dataset)
    trial = space.trial(label)
    fingerprint = trial.fingerprint()
    folder = trial_folder(open_store(options.store), fingerprint)
    write_config(folder, trial)
    console.line(f"{label} on {dataset.note}, into {folder}")
    epochs = train(
        trial,
        {
            SplitName.TRAIN: dataset.train,
            SplitName.VALIDATION: dataset.validation,
            SplitName.TEST: dataset.test,
        },
        input_spec(dataset),
        folder,
        fingerprint=fingerprint,
        device=space.compute.device,
        num_threads=space.compute.cpus_per_trial,
        compile_choice=space.compute.compile,
    )
    try:
        for metrics in epochs:
            console.line(
                f"epoch {metrics['epoch']:.0f}/{space.training.epochs}  "
                f"loss {metrics['train_loss']:.4f}  penalty {metrics['train_penalty']:.4f}  "
                f"validation accuracy {percent(metrics['validation_accuracy'])}"
            )
    except DivergedError as error:
        console.line(f"diverged: {error}", "red")
        return 1
    console.plain(str(folder / FILE_NAME))
    return 0


if __name__ == "__main__":
    sys.exit(main())
