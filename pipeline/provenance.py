"""What a stored block says about where it comes from.

Its metadata name its member, checkpoint, data, and the code that decided its rows. That is enough
to say later whether they are still what this code would give, and to compute them anew.
"""

import functools
import hashlib
import json
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationTask
from pipeline.records import Block
from pipeline.source_code import code_hashes
from pipeline.threats import MEASURED, Member

_MEMBER = TypeAdapter(Member)


def recorded(
    task: EvaluationTask, block: Block, *, data: str, checkpoint_sha256: str, source_sha256: str
) -> dict[str, str]:
    """The metadata of a task's block, as far as its provenance goes.

    Args:
        task: What was computed.
        block: Its rows.
        data: `Dataset.content_hash()` of the data; empty where it is not known.
        checkpoint_sha256: Of the victim's file; empty for a network of another origin.
        source_sha256: Of the file of the network that was differentiated; empty without one.
    """
    member = task.member
    method = "" if member.attack is None else member.attack.method
    code = code_hashes(method, measures=member.attack_name in MEASURED)
    return {
        "checkpoint": task.checkpoint,
        "checkpoint_sha256": checkpoint_sha256,
        "source_sha256": source_sha256,
        "data_sha256": data,
        "code": json.dumps(code),
        # A member that attacks survivors depends on whom the one before it left.
        "standing": "" if task.standing is None else mask_hash(task.standing),
        "left": mask_hash(block.columns["robust"]) if "robust" in block.columns else "",
        "seed_hash": member.seed_hash,
        "member_config": _MEMBER.dump_json(member).decode(),
    }


@functools.lru_cache(maxsize=256)
def member_of(text: str, member_hash: str) -> Member:
    """The member that a block's `member_config` describes.

    Raises:
        ConfigError: It describes none, or another one than the block's.
    """
    try:
        member = _MEMBER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"its member_config is no member ({where}: {first['msg']})") from None
    if member.hash != member_hash:
        raise ConfigError(f"its member_config is of member {member.hash}, not of {member_hash}")
    return member


def mask_hash(standing: Iterable[bool]) -> str:
    """Names which of a block's samples stand."""
    return hashlib.sha256(bytes(map(bool, standing))).hexdigest()[:16]
