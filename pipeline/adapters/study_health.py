"""What the doctor asks of Optuna's database."""

from collections.abc import Iterator
from pathlib import Path

import optuna

from pipeline.adapters.optuna_ledger import BESIDE
from pipeline.adapters.study_database import STUDY_URI, study_database
from pipeline.health.addresses import redacted, sqlite_file, without_password
from pipeline.health.databases import check_database, table_names
from pipeline.health.finding import Finding, Status, one_line

NAME = "study database"


def check_study_database(store: Path) -> Iterator[Finding]:
    """Whether the studies can be read, and written where that can be told by looking."""
    url = study_database(store)
    findings = list(check_database(NAME, url, STUDY_URI))
    file = sqlite_file(url)
    there = file is None or file.exists()
    if not there or any(finding.status is Status.FAIL for finding in findings):
        yield from findings
        return
    try:
        found = ["no study yet"]
        if "studies" in table_names(url):
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            storage = optuna.storages.RDBStorage(url, skip_table_creation=True)
            found = [study.study_name for study in storage.get_all_studies()]
    except Exception as error:  # an older layout, a right that is missing, another database
        yield Finding.fail(
            NAME,
            f"Optuna cannot read {without_password(url)}: {redacted(one_line(error), url)}.",
            f"Run `optuna storage upgrade` if an older Optuna made it; else correct {STUDY_URI}.",
        )
        return
    names = sorted(name for name in found if not name.endswith(BESIDE))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    for finding in findings:
        yield Finding.ok(NAME, f"{finding.found} Sweeps: {shown or 'none'}.")
