"""Compiled designs on disk, by content hash.

An entry is one file, written under a temporary name and renamed, so that a reader sees all of it or nothing even when
builders run at the same time or are killed. An entry that does not match its own digest is treated as absent.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

_MAGIC = b"gigogne-cache-1\n"
_DIGEST = hashlib.sha256().digest_size


def default_dir() -> Path:
    """``$GIGOGNE_CACHE``, else ``gigogne`` in the user's cache folder."""
    own = os.environ.get("GIGOGNE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gigogne"


def digest(*parts: str | bytes) -> str:
    """Hash of a sequence of texts; the boundaries between them count."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.hexdigest()


def source_digest(*folders: Path) -> str:
    """Hash of every Python file under ``folders``, names included."""
    parts: list[bytes] = []
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts += [str(path.relative_to(folder)).encode(), path.read_bytes()]
    return digest(*parts)


class Cache:
    """Entries in one folder; ``None`` as the folder means the default one."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = default_dir() if folder is None else Path(folder)

    def path(self, key: str, kind: str) -> Path:
        return self.folder / f"{key}.{kind}"

    def get(self, key: str, kind: str) -> bytes | None:
        """The entry's content, or None if there is none or it is damaged."""
        try:
            raw = self.path(key, kind).read_bytes()
        except OSError:
            return None
        start = len(_MAGIC) + _DIGEST
        body = raw[start:]
        if raw[:len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != raw[len(_MAGIC):start]:
            return None
        return body

    def put(self, key: str, kind: str, body: bytes) -> None:
        """Store an entry; a folder that cannot be written is no error, the next build just starts cold."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=f"{key[:16]}-", suffix=".tmp")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            os.replace(name, self.path(key, kind))
        except OSError:
            Path(name).unlink(missing_ok=True)
