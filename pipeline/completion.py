# PYTHON_ARGCOMPLETE_OK
"""What makes a shell complete `spikeproof`: `python -m pipeline.completion bash`."""

import argparse
import sys
from collections.abc import Sequence

from pipeline.command_line import command_parser, parse

EXAMPLES = """examples:
  python -m pipeline.completion bash
  python -m pipeline.completion zsh

Put one of these lines into ~/.bashrc, or into ~/.zshrc below `compinit`:
  eval "$(spikeproof completion bash)"
  eval "$(spikeproof completion zsh)"

Then `spikeproof sweep --<TAB>` offers options, and after an option its choices, files, or the
sweeps and networks of the store. The long form, `python -m pipeline.sweep --<TAB>`, is completed
once argcomplete's own command activate-global-python-argcomplete was run.
"""


def parser() -> argparse.ArgumentParser:
    """The command line, with examples in its help."""
    result = command_parser(
        "pipeline.completion",
        "Print what makes a shell complete the words of the command `spikeproof`.",
        EXAMPLES,
    )
    result.add_argument("shell", choices=["bash", "zsh"], help="the shell that shall complete")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    from argcomplete.shell_integration import shellcode

    # No defaults: a shell that offers files where a number is asked for misleads.
    sys.stdout.write(shellcode(["spikeproof"], use_defaults=False, shell=options.shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
