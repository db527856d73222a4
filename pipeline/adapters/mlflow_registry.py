"""Data as MLflow data sets, and the networks worth finding again as versions of an MLflow model.

A version points at the folder with checkpoint and configuration that its trial's run holds: there
is no second copy, and nothing that would have to be unpickled.
"""

import json
from collections.abc import Callable, Sequence

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.records import BASELINE_ALIAS, NetworkVersion, UsedData

NETWORK = "network"
"""Folder of a run's artifacts that holds checkpoint and configuration."""


def dataset_input(used: UsedData) -> DatasetInput:
    """MLflow's form of a split; the context says what it was used for."""
    image = {"dtype": used.dtype, "shape": [-1, *used.sample_shape]}
    label = {"dtype": "int64", "shape": [-1]}
    spec = {
        "features": json.dumps([{"type": "tensor", "tensor-spec": image}]),
        "targets": json.dumps([{"type": "tensor", "tensor-spec": label}]),
    }
    profile = {
        "samples": sum(used.class_counts),
        "sample_shape": list(used.sample_shape),
        "classes": len(used.class_counts),
        "samples_per_class": list(used.class_counts),
    }
    dataset = Dataset(
        name=used.name,
        digest=used.digest,
        source_type="code",
        source=json.dumps({"tags": {"note": used.note}}),
        schema=json.dumps({"mlflow_tensorspec": spec}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", used.context)])


def register(
    client: MlflowClient,
    name: str,
    description: str,
    networks: Sequence[NetworkVersion],
    run: Callable[[str], str],
) -> None:
    """Make each network a version of the model `name`, and have the aliases point at them.

    A network's run has one version, which is found again: registering twice changes nothing. An
    alias of ours that no network claims any more goes; other aliases are the users' own.

    Args:
        client: Of the server.
        name: Of the registered model; made if there is none.
        description: Of the model, Markdown.
        networks: To be registered, in the order of their versions.
        run: Finds the id of a network's run by its fingerprint; empty where it has none.
    """
    model = _model(client, name)
    if model.description != description:
        client.update_registered_model(name, description)
    claimed: dict[str, str] = {}
    for network in networks:
        run_id = run(network.fingerprint)
        if run_id:
            version = _version(client, name, run_id, network)
            claimed |= dict.fromkeys(network.aliases, version)
    for alias in model.aliases:
        ours = alias in ("chosen", "knee") or alias.startswith(BASELINE_ALIAS)
        if ours and alias not in claimed:
            client.delete_registered_model_alias(name, alias)
    for alias, version in claimed.items():
        client.set_registered_model_alias(name, alias, version)


def _model(client: MlflowClient, name: str) -> RegisteredModel:
    """Made, or found: a server with a log-in does not tell an ordinary user that there is none."""
    try:
        return client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_registered_model(name)


def _version(client: MlflowClient, name: str, run: str, network: NetworkVersion) -> str:
    """The number of the run's version, with the network's tags and description as of now."""
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if not found:
        made = client.create_model_version(
            name,
            f"runs:/{run}/{NETWORK}",
            run,
            tags=network.tags,
            description=network.description,
            await_creation_for=0,
        )
        return str(made.version)
    version = min(found, key=lambda one: int(one.version))
    for key, value in network.tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, version.version, key, value)
    if version.description != network.description:
        client.update_model_version(name, version.version, network.description)
    return str(version.version)
