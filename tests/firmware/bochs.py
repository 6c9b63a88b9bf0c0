"""Runs an image under Bochs, which boots from disks only: a boot sector of ours reads it, and the serial port tells."""

import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from firmware.toolchain import LINK_FLAGS, compile_flags, find_toolchain
from rtl.isa import emit
from rtl.isa.platform import HIGH_MEMORY_START

BOCHS = shutil.which("bochs-bin")
SHARE = Path("/usr/share/bochs")
MEMORY = 16

needs_bochs = pytest.mark.skipif(BOCHS is None or not SHARE.exists(), reason="bochs-bin is not installed")

_SECTOR, _CHUNK = 512, 0x8000
_HEADS, _SECTORS = 16, 63
_FIELDS = 500
_CONFIGURATION = """\
romimage: file={share}/BIOS-bochs-latest
vgaromimage: file={share}/VGABIOS-lgpl-latest
megs: {megabytes}
cpu: model=trinity_apu, count=1, ips=50000000, reset_on_triple_fault=0
clock: sync=none, time0=1000
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=flat, path={folder}/disk, cylinders={cylinders}, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev={folder}/serial
display_library: rfb, options="timeout=0"
log: {folder}/log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


def boot_sector(folder: Path) -> bytes:
    """The assembled loader, its fields still empty."""
    toolchain = find_toolchain()
    emit.write(folder, {"gigogne.h": emit.c_header()})
    source, product = Path(__file__).with_name("bochs_boot.S"), folder / "boot.bin"
    options = ["-Wl,-Ttext,0x7c00", "-Wl,--oformat=binary", "-Wl,-e,_start", "-I", str(folder)]
    flags = [*compile_flags(toolchain.family), *LINK_FLAGS]
    subprocess.run([*toolchain.command, *flags, *options, str(source), "-o", str(product)], check=True)
    return product.read_bytes()


def make_disk(image: Path, folder: Path) -> int:
    """Write `folder/disk`, which boots the image. The number of its cylinders."""
    with image.open("rb") as file:
        elf = ELFFile(file)
        loads = list(elf.iter_segments("PT_LOAD"))
        segments = [(load["p_paddr"], load["p_memsz"], load.data()) for load in loads]
        entry = elf["e_entry"]
    flat = bytearray(max(at + size for at, size, _ in segments) - HIGH_MEMORY_START)
    for at, _, data in segments:
        flat[at - HIGH_MEMORY_START : at - HIGH_MEMORY_START + len(data)] = data
    chunks = -(-len(flat) // _CHUNK)
    sector = bytearray(boot_sector(folder))
    struct.pack_into("<II", sector, _FIELDS, chunks, entry)
    whole = bytes(sector) + bytes(flat).ljust(chunks * _CHUNK, b"\0")
    cylinder = _HEADS * _SECTORS * _SECTOR
    cylinders = -(-len(whole) // cylinder)
    (folder / "disk").write_bytes(whole.ljust(cylinders * cylinder, b"\0"))
    return cylinders


def run(image: Path, last: str, seconds: float = 30) -> str:
    """What the image prints on the serial port, up to a line `last`, or until the time is over."""
    assert BOCHS is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serial = folder / "serial"
        text = _CONFIGURATION.format(share=SHARE, megabytes=MEMORY, folder=folder, cylinders=make_disk(image, folder))
        (folder / "bochsrc").write_text(text)
        # Debian's has its debugger built in, which waits for a command.
        (folder / "commands").write_text("continue\n")
        command = [BOCHS, "-q", "-f", str(folder / "bochsrc"), "-rc", str(folder / "commands")]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + seconds
        output = ""
        try:
            while time.monotonic() < deadline and process.poll() is None:
                output = serial.read_text("latin-1").replace("\r", "") if serial.exists() else ""
                if f"{last}\n" in output:
                    break
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        return output
