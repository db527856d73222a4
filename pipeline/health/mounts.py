"""On which file system a path lies, from the kernel's table of mounts."""

import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/proc/mounts")
NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|afs|9p|ceph|lustre|gpfs|beegfs|gfs2|ocfs2|glusterfs|pvfs2|orangefs"
    r"|fuse\.(sshfs|glusterfs\S*|ceph\S*|s3fs|goofys|rclone|juicefs|gcsfuse|weed\S*|mount\S*)"
)
"""File systems over a network: SQLite's locks do not hold there, or not on each of them."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A line of the table."""

    point: str
    kind: str
    """Such as ext4 or nfs4."""


def mount_of(path: Path, table: str) -> Mount | None:
    """The mount that an absolute path lies on; of several at one place, the last one counts.

    Args:
        path: Absolute, without symbolic links.
        table: Text of /proc/mounts.
    """
    best: Mount | None = None
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # The kernel writes blanks in names as \040.
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[1])
        inside = path == Path(point) or Path(point) in path.parents
        if inside and (best is None or len(point) >= len(best.point)):
            best = Mount(point=point, kind=fields[2])
    return best


def network_file_system(path: Path) -> Mount | None:
    """The network file system that a path lies on, or would lie on; None on a local one."""
    if not TABLE.is_file():
        return None
    mount = mount_of(path.absolute().resolve(), TABLE.read_text())
    return mount if mount is not None and NETWORK.fullmatch(mount.kind) else None
