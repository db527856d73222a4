"""Whether the store can be written to here, has room, and is the same folder on every node."""

import contextlib
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipeline.files import StorePath, store_path, write_atomically
from pipeline.health.finding import Finding, one_line
from pipeline.health.mounts import network_file_system
from pipeline.object_path import ObjectPath

WARN_BYTES, FAIL_BYTES = 5 * 10**9, 5 * 10**8
QUESTION, ANSWER = "question", "answer-"
Ask = Callable[[str], Mapping[str, str | Exception]]
"""Lets every node answer in a folder; node -> empty, or what went wrong."""


@contextlib.contextmanager
def scratch_folder(store: StorePath) -> Iterator[StorePath]:
    """A new folder in the store; nothing that was not there before is left behind.

    Raises:
        OSError: The store can neither be made nor written to.
    """
    if isinstance(store, ObjectPath):
        place = store / f".doctor-{secrets.token_hex(8)}"
        try:
            yield place
        finally:
            for path in place.glob("*"):
                path.unlink()
        return
    missing = [folder for folder in (store, *store.parents) if not folder.exists()]
    made = None
    try:
        store.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".doctor-", dir=store))
        # Nodes may run under another user of the group.
        made.chmod(0o770)
        yield made
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def check_store(store: StorePath) -> Iterator[Finding]:
    """Findings on the place of all results, on this machine."""
    if isinstance(store, ObjectPath):
        yield from _check_object_store(store)
        store = store.below_runs
    there = store.is_dir()
    try:
        with scratch_folder(store.absolute()) as folder:
            (folder / QUESTION).write_bytes(b"written by the doctor")
            free = shutil.disk_usage(str(folder)).free
    except OSError as error:
        yield Finding.fail(
            "store",
            f"{store} cannot be {'written to' if there else 'made a folder'}: "
            f"{error.strerror or one_line(error)}.",
            "Give another folder with --store, or change the owner or mode of this one.",
        )
        return
    state = "may be written to" if there else "is not there yet, and can be made"
    network = network_file_system(store)
    place = "a local disk" if network is None else f"{network.kind} ({network.point})"
    yield Finding.ok("store", f"{store} {state}, on {place}.")
    yield from check_room(free)


def _check_object_store(store: ObjectPath) -> Iterator[Finding]:
    """Whether objects can be written, read, listed and removed."""
    try:
        with scratch_folder(store) as folder:
            (folder / QUESTION).write_bytes(b"written by the doctor")
            listed = [path.name for path in folder.glob("*")]
            read = (folder / QUESTION).read_bytes()
    except OSError as error:
        yield Finding.fail(
            "store",
            f"{store} cannot be written to and read: {one_line(error)}.",
            "Make the bucket, and set AWS_ENDPOINT_URL, AWS_REGION and credentials for it.",
        )
        return
    if listed != [QUESTION] or read != b"written by the doctor":
        yield Finding.fail(
            "store",
            f"{store} does not list or return what was just written to it.",
            "Use an object store whose reads see every write that was confirmed before.",
        )
    else:
        yield Finding.ok("store", f"{store} may be written to; databases and pages lie in "
                         f"{store.below_runs}.")  # fmt: skip


def check_room(free_bytes: int) -> Iterator[Finding]:
    """Whether a sweep's checkpoints and verdicts fit."""
    found = f"{free_bytes / 1e9:.1f} GB are free in the store."
    remedy = "Free some, or give a store on a larger disk with --store."
    if free_bytes < FAIL_BYTES:
        yield Finding.fail("free space", found, remedy)
    elif free_bytes < WARN_BYTES:
        yield Finding.warn("free space", found, remedy)
    else:
        yield Finding.ok("free space", found)


def answer(folder: str, node: str) -> None:
    """What a node does: read the driver's file, write one of its own beside it.

    Raises:
        OSError: The folder is not there, or may not be written to.
    """
    place = store_path(folder)
    question = (place / QUESTION).read_bytes()
    write_atomically(place / f"{ANSWER}{node}", _reply(question, node))


def _reply(question: bytes, node: str) -> bytes:
    return hashlib.sha256(question + node.encode()).hexdigest().encode()


def check_shared(store: StorePath, ask: Ask) -> Iterator[Finding]:
    """Whether each node sees the driver's files under the same path, and the driver the node's."""
    remedy = (
        "Mount one shared folder at this path on every node and on the driver, and let all of "
        "them write to it."
    )
    if isinstance(store, ObjectPath):
        remedy = "Give every node the endpoint and the credentials that the driver has (AWS_*)."
    with scratch_folder(store.absolute()) as folder:
        question = secrets.token_bytes(32)
        (folder / QUESTION).write_bytes(question)
        for node, problem in ask(str(folder)).items():
            if problem:
                yield Finding.fail(
                    "shared store",
                    f"It cannot answer in {store.absolute()}: {one_line(problem)}.",
                    remedy,
                    node,
                )
                continue
            path = folder / f"{ANSWER}{node}"
            if path.is_file() and path.read_bytes() == _reply(question, node):
                yield Finding.ok("shared store", f"It sees {store.absolute()}.", node)
            else:
                yield Finding.fail(
                    "shared store",
                    f"What it wrote to {store.absolute()} does not show on the driver.",
                    remedy,
                    node,
                )
