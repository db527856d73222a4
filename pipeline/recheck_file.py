"""Where the result of judging a network again lies, and whether it is about what is stored now."""

import hashlib
import json
from typing import Any

from pipeline.files import StorePath, write_atomically

FOLDERS = ("verdicts", "evidence")


def recheck_path(store: StorePath, fingerprint: str, split: str) -> StorePath:
    """Its place in the store."""
    return store / "rechecks" / fingerprint / f"{split}.json"


def files_digest(store: StorePath, fingerprint: str, split: str) -> str:
    """SHA-256 of the contents of all verdicts and evidence of a network, hexadecimal."""
    result = hashlib.sha256()
    for kind in FOLDERS:
        for path in block_files(store / kind / fingerprint / split):
            result.update(f"{kind}/{path.name} ".encode())
            result.update(hashlib.sha256(path.read_bytes()).digest())
    return result.hexdigest()


def block_files(folder: StorePath) -> list[StorePath]:
    """The block files of a folder, sorted; none where there is no such folder."""
    found: list[StorePath]
    try:
        found = sorted(folder.glob("*.parquet"), key=str)
    except (OSError, ValueError):
        return []
    return [path for path in found if not path.name.startswith(".")]


def write_recheck(store: StorePath, fingerprint: str, split: str, facts: dict[str, Any]) -> None:
    """Keep what was found, with the digest of what it was found in."""
    told = facts | {"files": files_digest(store, fingerprint, split)}
    text = json.dumps(told, indent=1) + "\n"
    write_atomically(recheck_path(store, fingerprint, split), text.encode())


def recheck_sentence(store: StorePath, fingerprint: str, split: str) -> str:
    """What a report says of it: empty where nothing was judged again."""
    path = recheck_path(store, fingerprint, split)
    if not path.is_file():
        return ""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        breaks, same = int(facts["breaks"]), int(facts["reproduced"])
        problems, files = int(facts["problems"]), facts["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its recheck cannot be read"
    if files != files_digest(store, fingerprint, split):
        return "rechecked before what is stored now was written: run pipeline.recheck again"
    sentence = f"rechecked: {same} of {breaks} breaks reproduce"
    return sentence + (f", {problems} problems found" if problems else "")
