"""optuna-dashboard shows a sweep's studies, and the address that `make dashboard` gives it can do
them no harm."""

import json
import re
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import wsgi

from tests.adapters.test_optuna_ledger import drain, open_ledger, told
from tests.tiny import tiny_space


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def dashboard(folder, repository):
    """Asks the dashboard, as the Makefile starts it, of a study of two baselines and a grid."""
    ledger = open_ledger(folder, tiny_space(folder, "baselines=[vanilla, at]"))
    for clean, row in enumerate(drain(ledger)):
        ledger.update(told(row, 0.9 - clean / 10, 0.4))
    address = re.search(
        r"sqlite:///file:(.*)/study.db(\S+?)}", (repository / "Makefile").read_text()
    )
    assert address
    uri = f"sqlite:///file:{folder}/study.db{address[2]}"
    application = wsgi(optuna.storages.RDBStorage(uri))

    def ask(path: str, method: str = "GET"):
        environment = {"PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": BytesIO()}
        setup_testing_defaults(environment)
        status = []
        body = b"".join(application(environment, lambda code, *_: status.append(code)))
        return int(status[0].split()[0]), json.loads(body or b"null")

    return ask


def test_objectives_have_names_and_the_front_is_known(dashboard):
    code, found = dashboard("/api/studies")
    assert code == 200
    studies = {study["study_name"]: study for study in found["study_summaries"]}
    assert studies.keys() == {"s", "s.baselines"}
    code, study = dashboard(f"/api/studies/{studies['s']['study_id']}")
    assert code == 200
    assert study["objective_names"] == ["clean_accuracy", "robust_accuracy"]
    assert [trial["state"] for trial in study["trials"]] == ["Complete", "Complete"]
    assert study["trials"][1]["params"][0]["name"] == "strategy.sparsity_weight"
    assert [trial["number"] for trial in study["best_trials"]] == [0]


def test_the_studies_cannot_be_deleted_or_renamed(dashboard, folder):
    assert dashboard("/api/studies/1", "DELETE")[0] == 500
    assert dashboard("/api/studies/1/rename", "POST")[0] >= 400
    names = optuna.get_all_study_names(f"sqlite:///{folder / 'study.db'}")
    assert sorted(names) == ["s", "s.baselines"]
