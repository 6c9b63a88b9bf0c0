"""What was compiled, on disk, for the next run.

A cache is one folder with two kinds of files: the machine code of the translator itself, and for each guest what was
translated of it. Both carry in their names what they depend on besides: the translator's sources, LLVM, and the host's
processor. What is found of a guest is no more than an offer: a translation is used only where memory has the very bytes
it was made from.

Rules:

1. A file is written under another name and renamed: it appears whole or not at all, whoever else writes or is killed.
2. A file that is damaged, or was written under another name, is as good as none, and is replaced; the first time one
   is met, standard error says so.
3. A folder that cannot be read or written is no error. It is kept below `LIMIT` bytes; what was not written for the
   longest time goes first.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

import rtl.isa
import vmm
from vmm.engine.dbt.frontend import Block, Contents
from vmm.engine.dbt.pool import Module, Translation

LIMIT = 256 << 20
_MAGIC = b"gigogne-translations-2\n"
_HEAD = len(_MAGIC) + 32
_SUFFIX = ".native"
_SOURCES = ("engine", "lowering", "paging", "semantics")


@cache
def host_digest() -> str:
    """Of everything but the guest that machine code depends on. Sources count by name, size and time of change."""
    whole = hashlib.sha256(repr((
        llvmlite.__version__, llvm.llvm_version_info, llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(), sys.version_info[:2])).encode())
    for path in sources():
        found = path.stat()
        whole.update(f"{path}:{found.st_size}:{found.st_mtime_ns}\n".encode())
    return whole.hexdigest()[:16]


def sources() -> list[Path]:
    """The files that machine code depends on: what translates, and what the machine's routines are made from."""
    home = Path(next(iter(vmm.__path__)))
    found = [path for name in _SOURCES for path in sorted((home / name).rglob("*.py"))]
    return [*found, *sorted(home.glob("*.py")), *sorted(Path(next(iter(rtl.isa.__path__))).rglob("*.py"))]


class DiskCache:
    """The cache of one guest.

    Parameters
    ----------
    folder : where the files are. guest : what tells this guest from others, such as a digest of its image.
    """

    def __init__(self, folder: Path, guest: str):
        self.folder = folder
        self._guest = hashlib.sha256(guest.encode()).hexdigest()[:32]
        self._warned = False

    def path(self, kind: str) -> Path:
        """The file of some kind; that of this guest for "guest"."""
        return self.folder / f"{self._guest if kind == 'guest' else kind}-{host_digest()}{_SUFFIX}"

    def get(self, kind: str) -> bytes | None:
        """What was put there, or None."""
        path = self.path(kind)
        try:
            raw = path.read_bytes()
        except IsADirectoryError:
            self._warn(f"'{path}' is a folder, so that nothing is kept there")
            return None
        except OSError:
            return None
        body = raw[_HEAD:]
        if raw[:_HEAD] != _head(path, body):
            self._warn(f"'{path}' is damaged and is made anew")
            return None
        return body

    def _warn(self, sentence: str) -> None:
        if not self._warned:
            print(f"gigogne: {sentence}", file=sys.stderr)
        self._warned = True

    def put(self, kind: str, body: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_head(self.path(kind), body) + body)
                os.replace(temporary, self.path(kind))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._trim()
        except OSError:
            return

    def _trim(self) -> None:
        found = [(path.stat(), path) for path in self.folder.iterdir() if path.suffix in (_SUFFIX, ".tmp")]
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda pair: pair[0].st_mtime):
            if total <= LIMIT:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size


def _head(path: Path, body: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(path.name.encode() + body).digest()


def pack(translations: list[Translation], sink: int | None) -> bytes:
    """Translations as bytes, one of those made from the same code. `sink` is that of their `Setting`."""
    modules: dict[int, int] = {}
    objects: list[tuple[bytes, tuple[str, ...]]] = []
    entries, known = [], set()
    for one in translations:
        code = tuple((block.eip, block.code, block.second is not None, block.contents.code32) for block in one.blocks)
        key = one.mode, one.hot, one.beside, code
        if key in known:
            continue
        known.add(key)
        if id(one.module) not in modules:
            modules[id(one.module)] = len(objects)
            objects.append((one.module.object_code, one.module.names))
        entries.append((modules[id(one.module)], one.mode, one.hot, one.name, one.targets, one.paged, one.pages,
                        one.beside, code))
    return marshal.dumps((sink, objects, entries))


def unpack(body: bytes, sink: int | None) -> list[Translation]:
    """What `pack` was given, not loaded; nothing if it is for another `sink`."""
    made_for, objects, entries = marshal.loads(body)
    if made_for != sink:
        return []
    modules = [Module(code, names) for code, names in objects]
    return [Translation(mode, tuple(_block(*block) for block in code), hot, name, targets, paged, pages, modules[place],
                        beside)
            for place, mode, hot, name, targets, paged, pages, beside, code in entries]


def _block(eip: int, code: bytes, crosses: bool, code32: bool) -> Block:
    return Block(eip, eip & 0xFFF, code, 0 if crosses else None, Contents(eip, code, code32))
