"""The spaces of a folder, one sweep after another, in one Ray session."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.adapters.ray_session import connected
from pipeline.command_line import printable
from pipeline.config import SpaceConfig
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.interrupts import STOPPED
from pipeline.space_file import located
from pipeline.sweep_files import SweepFiles
from pipeline.sweep_run import run_sweep


def run_sweeps(
    spaces: Sequence[tuple[Path, SpaceConfig, str]],
    *,
    overrides: Sequence[str],
    store: StorePath,
    resume: bool,
    address: str | None,
    quiet: bool = False,
) -> int:
    """Run or continue a sweep for each space; one that cannot run does not keep the others.

    Networks that several spaces share are trained once: they lie in one store.

    Args:
        spaces: File, what it says, and the sweep's name.
        overrides: `--set` settings that all were read with.
        store: Of all of them.
        resume: Whether sweeps that exist are continued; others begin.
        address: Of a running Ray cluster; None starts one on this machine.
        quiet: Whether only trouble and the reports' paths are printed.

    Returns:
        The highest exit code of all; 130 as soon as one was interrupted.
    """
    codes = [0]
    with connected(address):
        for number, (file, space, name) in enumerate(spaces, 1):
            if not quiet:
                sys.stdout.write(f"\n{number} of {len(spaces)}: {file}\n")
                sys.stdout.flush()
            code = 2
            try:
                with located(file, overrides):
                    code = run_sweep(
                        space,
                        space_file=file,
                        overrides=overrides,
                        store=store,
                        name=name,
                        resume=resume and SweepFiles(store, name).exists(),
                        address=address,
                        quiet=quiet,
                    )
            except ConfigError as error:
                sys.stderr.write(printable(f"{error}\n"))
            if code == STOPPED:
                return code
            codes.append(code)
    if any(space.paper for _, space, _ in spaces) and not quiet:
        place = "" if store == Path("runs") else f" --store {store}"
        sys.stdout.write(
            f"\nbeside the paper's tables and figures: python -m reports.build{place} --paper\n"
        )
    return max(codes)
