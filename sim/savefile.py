"""The state of a computer in a file, for the same or another machine to go on from.

A file holds the architecture's view (processor, devices, memory), which every machine can load, and, when the RTL
wrote it, every register and memory of the netlist as well, with which an engine goes on to the cycle.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .engines import State
from .machine import MachineError
from .stop import ArchState

_FORMAT = "gigogne-state-1"
_MEMORY = "memory:"


@dataclass(frozen=True)
class SavedState:
    """A computer between two instructions, or at any cycle when ``netlist`` is there.

    Members
    -------
    cycle : clocks since the start. cpu : see `ArchState`. devices : values by the names of the hardware's registers.
    ram : memory as the processor sees it, dirty cache lines included.
    design, netlist : key of the design and state of its engine (without RAM, which is then ``netlist_ram``).
    said : console bytes of the guest that the machine which saved has not passed on: `cpu` is a little ahead of it.
    """

    cycle: int
    cpu: ArchState
    devices: dict[str, Any]
    ram: np.ndarray
    design: str | None = None
    netlist: State | None = None
    said: bytes = b""

    def check_ram(self, ram: np.ndarray) -> None:
        """Raise MachineError unless the computer with this RAM can go on from here."""
        if len(self.ram) != len(ram):
            raise MachineError(f"The saved state has {self.ram.nbytes >> 20} MiB of RAM, this computer "
                               f"{ram.nbytes >> 20} MiB")


def write_state_file(path: Path | str, saved: SavedState) -> None:
    """Write the file; it appears whole or not at all."""
    arrays: dict[str, np.ndarray] = {"ram": saved.ram}
    header: dict[str, Any] = {"format": _FORMAT, "cycle": saved.cycle, "cpu": saved.cpu, "devices": saved.devices,
                              "design": saved.design, "said": saved.said.hex()}
    if saved.netlist is not None:
        wide = {}
        for name, rows in saved.netlist["memories"].items():
            if rows.dtype == object:
                wide[name] = [int(row) for row in rows]
            else:
                arrays[_MEMORY + name] = rows
        header["netlist"] = {"cycle": saved.netlist["cycle"], "signals": saved.netlist["signals"], "wide": wide}
        arrays["netlist_ram"] = saved.netlist["ram"]
    arrays["header"] = np.frombuffer(json.dumps(header, default=list).encode(), dtype=np.uint8)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_state_file(path: Path | str) -> SavedState:
    """Read a file back.

    Raises
    ------
    MachineError
        It cannot be read, or is no saved state.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MachineError(f"Cannot read '{path}': {error.strerror}") from None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != _FORMAT:
                raise MachineError(f"'{path}' is a saved state of format '{header['format']}', not '{_FORMAT}'")
            netlist = None
            if "netlist" in header:
                part = header["netlist"]
                memories = {name.removeprefix(_MEMORY): arrays[name] for name in arrays.files
                            if name.startswith(_MEMORY)}
                memories |= {name: np.array(rows, dtype=object) for name, rows in part["wide"].items()}
                netlist = {"cycle": part["cycle"], "signals": part["signals"], "memories": memories,
                           "ram": arrays["netlist_ram"]}
            return SavedState(header["cycle"], header["cpu"], header["devices"], arrays["ram"], header["design"],
                              netlist, bytes.fromhex(header.get("said", "")))
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError, OSError, RuntimeError,
            SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error):
        raise MachineError(f"'{path}' is not a saved state of this computer, or is damaged") from None
