"""Database and server addresses as they may be shown: without their passwords."""

import re
from pathlib import Path
from urllib.parse import unquote

_PASSWORD = re.compile(r"(?<=://)([^:/?#@]*):(.*)@")
_SETTING = re.compile(r"([?&;][^=&;]*(?:pass|pwd|token|secret|key)[^=&;]*=)([^&;]*)", re.IGNORECASE)


def without_password(url: str) -> str:
    """The address with `***` where a password or a token stands."""
    if "://" not in url and ("@" in url or ":" in url):
        return "***"  # no address, so where a password stands in it is unknown
    return _SETTING.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def redacted(text: str, url: str) -> str:
    """A text, such as an error's, in which neither the address nor its password can be read."""
    text = text.replace(url, without_password(url))
    found = [match.group(2) for match in (*_PASSWORD.finditer(url), *_SETTING.finditer(url))]
    for secret in found:
        for written in {secret, unquote(secret)} - {""}:
            text = text.replace(written, "***")
    return text


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite address; None for other databases and for one in memory."""
    if not re.match(r"sqlite(\+\w+)?:///", url):
        return None
    name = url.partition(":///")[2].partition("?")[0]
    return Path(unquote(name)) if name and name != ":memory:" else None
