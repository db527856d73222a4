"""What the services of compose.yaml wait for, and how the sweep begins or goes on.

services.py database NAME         wait for PostgreSQL; make the database if there is none
services.py url URL [--once]      wait until the address answers; or ask once
services.py sweep [ARGUMENTS]     pipeline.sweep with them, or with those in SWEEP_ARGS;
                                  continued where the study exists
"""

import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

WAIT_S = 300.0


def wait(what: str, works: Callable[[], bool], *, limit_s: float = WAIT_S) -> None:
    """Ask each second until it works; exits after `limit_s`."""
    started = time.monotonic()
    asked = 0
    while not works():
        asked += 1
        if time.monotonic() - started > limit_s:
            sys.exit(f"gave up waiting for {what}")
        if asked % 15 == 0:
            sys.stderr.write(f"waiting for {what}\n")
        time.sleep(1)


def database(name: str) -> None:
    """Wait for PostgreSQL, and make the database `name` if there is none."""
    import psycopg2

    host, user = os.environ["POSTGRES_HOST"], os.environ["POSTGRES_USER"]

    def works() -> bool:
        try:
            connection = psycopg2.connect(host=host, user=user, dbname="postgres")
        except psycopg2.OperationalError as error:
            if "authentication failed" in str(error):
                sys.exit(
                    f"PostgreSQL: {error}the volume database-secret holds another password than "
                    "the one the volume database was made with: one of them was removed alone"
                )
            return False
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(f'create database "{name}"')
        connection.close()
        return True

    wait(f"PostgreSQL at {host}", works)


def answers(url: str) -> bool:
    """Whether a GET of the address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def sweep(arguments: list[str]) -> int:
    """Begin the sweep, or continue it where its study exists and is not complete."""
    import optuna

    from pipeline import sweep as command
    from pipeline.adapters.study_database import study_database
    from pipeline.command_line import run_command
    from pipeline.sweep_files import SweepFiles

    arguments = [
        *("--space", os.environ["SPACE"], "--store", "/store", "--address", "auto"),
        *(arguments or shlex.split(os.environ.get("SWEEP_ARGS", ""))),
    ]
    options = command.parser().parse_args(arguments)
    name, going_on = "", []

    def look() -> int:
        nonlocal name
        overrides = list(options.overrides)
        if options.trials is not None:
            overrides.append(f"search.num_trials={options.trials}")
        if options.seed is not None:
            overrides.append(f"seed={options.seed}")
        space = command.read_space(options.space, overrides)
        name = space.name if options.name is None else options.name
        storage = study_database(options.store)
        exists = name in optuna.get_all_study_names(storage)
        if exists and not options.resume and not SweepFiles(options.store, name).is_complete(space):
            going_on.append("--resume")
        return 0

    code = run_command(look)
    if code == 0:
        code = command.main([*arguments, *going_on])
    page = options.store / "reports" / name / "index.html"
    if code in (0, 1) and page.is_file():
        host_store = os.environ.get("STORE_ON_HOST", str(options.store))
        sys.stdout.write(f"on the host: {host_store}/reports/{name}/index.html\n")
        sys.stdout.write(f"MLflow on the host: {os.environ.get('MLFLOW_ON_HOST', '')}\n")
    return code


def main() -> int:
    """The command; returns its exit code."""
    role, *arguments = sys.argv[1:]
    if role == "database":
        database(arguments[0])
    elif role == "url" and "--once" in arguments:
        return 0 if answers(arguments[0]) else 1
    elif role == "url":
        wait(arguments[0], lambda: answers(arguments[0]))
    elif role == "sweep":
        try:
            return sweep(arguments)
        finally:
            # Else the cluster would believe for a minute that this node is still there, and keep
            # the next driver waiting for it.
            subprocess.run(["ray", "stop"], stdout=subprocess.DEVNULL, check=False)
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
