"""Names in an S3-compatible object store, with the part of pathlib's interface that we use."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

SCHEME = "s3://"


class StoreUnreachableError(OSError):
    """The object store did not answer, or refused; what is stored is as it was."""


@functools.cache
def _file_system() -> Any:
    """The object store that the environment names, once a process.

    Credentials and place come from the variables that every S3 client reads: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_PROFILE and their like.
    """
    from pyarrow import fs  # not at the top: networks are judged on machines without pyarrow

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        endpoint_override=endpoint, region=region or ("us-east-1" if endpoint else None)
    )


class ObjectPath:
    """`s3://bucket/key`; it holds its name alone, so that it travels to any process.

    An object is replaced as a whole: a reader meets the old one or the new one. There are no
    folders, only names with slashes in them.

    Raises (all methods that ask the store):
        FileNotFoundError: The object is not there.
        StoreUnreachableError: The store does not answer, or does not let us.
    """

    def __init__(self, key: str | PurePosixPath) -> None:
        """Name an object: bucket and key, `bucket/some/key`."""
        self._key = PurePosixPath(key)

    def __truediv__(self, name: str) -> "ObjectPath":
        """The object below this one; the name must be no absolute one."""
        return ObjectPath(self._key / name)

    def __str__(self) -> str:
        return f"{SCHEME}{self._key}"

    def __repr__(self) -> str:
        return f"ObjectPath('{self._key}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and self._key == other._key

    def __lt__(self, other: "ObjectPath") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self._key.name

    @property
    def parent(self) -> "ObjectPath":
        """What the key is below."""
        return ObjectPath(self._key.parent)

    @property
    def below_runs(self) -> Path:
        """The local folder of what cannot lie in an object store: databases, locks, the page."""
        return Path("runs", "s3", self._key)

    def with_name(self, name: str) -> "ObjectPath":
        """The neighbour of that name."""
        return ObjectPath(self._key.with_name(name))

    def absolute(self) -> "ObjectPath":
        """Itself: there is no working folder."""
        return self

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return bool(self._info().is_file)

    def exists(self) -> bool:
        """Whether there is an object of this name, or below it."""
        from pyarrow.fs import FileType

        return bool(self._info().type != FileType.NotFound)

    def modified_ns(self) -> int:
        """When the object was written, in nanoseconds; 0 where it is not there."""
        return int(self._info().mtime_ns or 0)

    def _info(self) -> Any:
        with _told_as_ours(self):
            return _file_system().get_file_info(str(self._key))

    def read_bytes(self, count: int | None = None) -> bytes:
        """The object, or its first bytes."""
        with _told_as_ours(self), _file_system().open_input_stream(str(self._key)) as stream:
            return bytes(stream.read(count))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The object as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Replace the object."""
        with _told_as_ours(self), _file_system().open_output_stream(str(self._key)) as stream:
            stream.write(data)

    def replace(self, target: "ObjectPath") -> None:
        """Rename the object: copied, then removed; not every store knows more than that."""
        target.write_bytes(self.read_bytes())
        self.unlink()

    def unlink(self) -> None:
        """Remove the object."""
        with _told_as_ours(self):
            _file_system().delete_file(str(self._key))

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Objects below this name whose further name matches, `*.parquet` or `*/sweep.json`."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(str(self._key), recursive="/" in pattern, allow_not_found=True)
        depth = len(self._key.parts) + len(PurePosixPath(pattern).parts)
        with _told_as_ours(self):
            found = _file_system().get_file_info(selector)
        for info in found:
            path = PurePosixPath(info.path)
            if info.is_file and len(path.parts) == depth and path.match(pattern):
                yield ObjectPath(path)


class _told_as_ours:  # noqa: N801 - reads as a statement
    """Gives an error of the object store a type and a sentence that name the object."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            reason = str(error).splitlines()[0]
            raise StoreUnreachableError(f"{self._path}: {reason}") from error
