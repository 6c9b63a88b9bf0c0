"""A guest on Unicorn: ``python -m sim.bench.unicorn_guest IMAGE [OPTIONS]``.

Unicorn is a processor and memory without a computer around it: the debug console and the exit port are answered here,
and a guest that needs more, a trap or another device, ends with one sentence and status 2. Otherwise the status is the
value the guest wrote to the exit port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import unicorn
from unicorn import x86_const as x86

from rtl.isa.platform import PORT
from sim.image import Image

RAM_BYTES = 64 << 20


class Computer:
    """RAM, a processor, and two ports.

    Members
    -------
    output : what the guest has printed. exit_value : what it wrote to the exit port, None until it does.
    """

    def __init__(self, image: Image, command_line: str) -> None:
        self.output = bytearray()
        self.exit_value: int | None = None
        ram = np.zeros(RAM_BYTES // 4, dtype=np.uint32)
        boot = image.place(ram, command_line, ())
        self.entry = boot.eip
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
        self.uc.mem_map(0, RAM_BYTES)
        self.uc.mem_write(0, ram.tobytes())
        self.uc.reg_write(x86.UC_X86_REG_EAX, boot.eax)
        self.uc.reg_write(x86.UC_X86_REG_EBX, boot.ebx)
        self.uc.hook_add(unicorn.UC_HOOK_INSN, self._out, None, 1, 0, x86.UC_X86_INS_OUT)

    def _out(self, uc: Any, port: int, _size: int, value: int, _data: object) -> None:
        if port == PORT["DEBUGCON"].base:
            self.output.append(value & 0xFF)
        elif port == PORT["EXIT"].base:
            self.exit_value = value
            uc.emu_stop()

    def run(self) -> None:
        """Run to the exit. Raises unicorn.UcError."""
        self.uc.emu_start(self.entry, 1 << 32)


def main() -> None:
    computer = Computer(Image.load(Path(sys.argv[1])), " ".join(sys.argv[2:]))
    problem = ""
    try:
        computer.run()
    except unicorn.UcError as error:
        problem = str(error)
    sys.stdout.write(computer.output.decode("latin-1"))
    if computer.exit_value is None:
        print(f"Unicorn does not run this guest: {problem or 'it stopped before the end'}", file=sys.stderr)
        sys.exit(2)
    sys.exit(computer.exit_value)


if __name__ == "__main__":
    main()
