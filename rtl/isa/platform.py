"""The computer's map: clocks, I/O ports, memory, interrupt lines, boot protocols."""

import enum
from dataclasses import dataclass

#: The processor clock is a multiple of the timer's, so that dividers are exact: 33.409096 MHz.
PIT_HZ = 1_193_182
CPU_CLOCKS_PER_PIT_TICK = 28
CPU_HZ = PIT_HZ * CPU_CLOCKS_PER_PIT_TICK
#: The crystal of the 16550; its baud clock is this over 16 over the divisor.
UART_HZ = 1_843_200
RTC_HZ = 32_768


class Irq(enum.IntEnum):
    """Lines of the interrupt controllers."""
    PIT = 0
    KEYBOARD = 1
    CASCADE = 2
    UART = 4
    RTC = 8
    ATA = 14


ISA_LINES = 16


@dataclass(frozen=True, slots=True)
class PortRange:
    """I/O ports of one device. `present` is false for devices the map reserves and the computer does not have yet."""
    name: str
    base: int
    size: int
    irq: Irq | None
    text: str
    present: bool = True

    @property
    def end(self) -> int:
        """First port after the range."""
        return self.base + self.size


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """Physical addresses with a meaning. RAM starts at 0 and fills what is not listed up to its size."""
    name: str
    base: int
    size: int
    text: str
    present: bool = True

    @property
    def end(self) -> int:
        """First address after the range."""
        return self.base + self.size


#: In order of base. Ports not listed, and those of devices not present, read as all ones and ignore writes.
PORTS: tuple[PortRange, ...] = (
    PortRange("PIC_MASTER", 0x20, 2, None, "8259A, master"),
    PortRange("PIT", 0x40, 4, Irq.PIT, "8254 timer"),
    PortRange("I8042_DATA", 0x60, 1, Irq.KEYBOARD, "keyboard controller, data"),
    PortRange("SYSTEM_CONTROL_B", 0x61, 1, None, "timer 2 gate and output, speaker"),
    PortRange("I8042_COMMAND", 0x64, 1, None, "keyboard controller, command and status"),
    PortRange("CMOS", 0x70, 2, Irq.RTC, "real-time clock and CMOS RAM, NMI mask"),
    PortRange("POST", 0x80, 1, None, "POST code"),
    PortRange("SYSTEM_CONTROL_A", 0x92, 1, None, "A20 and fast reset"),
    PortRange("PIC_SLAVE", 0xA0, 2, None, "8259A, slave"),
    PortRange("DEBUGCON", 0xE9, 1, None, "debug console: bytes written come out, reads give E9h"),
    PortRange("EXIT", 0xF4, 4, None, "isa-debug-exit: writing v ends the run with v; QEMU's status is (v << 1) | 1"),
    PortRange("ATA", 0x1F0, 8, Irq.ATA, "disk task file", present=False),
    PortRange("VGA_CRTC", 0x3D4, 2, None, "CRT controller index and data, read back"),
    PortRange("VGA_STATUS", 0x3DA, 1, None, "input status 1, with a retrace bit that toggles"),
    PortRange("ATA_CONTROL", 0x3F6, 1, None, "disk control", present=False),
    PortRange("UART", 0x3F8, 8, Irq.UART, "16550, first serial port"),
    PortRange("ELCR", 0x4D0, 2, None, "edge/level control of the 8259A pair"),
    PortRange("DOORBELL", 0x600, 4, None, "doorbell: writing calls the virtual machine monitor, if there is one"),
    PortRange("PCI_ADDRESS", 0xCF8, 4, None, "PCI configuration address", present=False),
    PortRange("PCI_DATA", 0xCFC, 4, None, "PCI configuration data", present=False),
)

MEMORY: tuple[MemoryRange, ...] = (
    MemoryRange("VGA_HOLE", 0x000A_0000, 0x1_8000, "graphics window, reads and writes as RAM, not cached"),
    MemoryRange("VGA_TEXT", 0x000B_8000, 0x8000, "text memory, reads and writes as RAM"),
    MemoryRange("ROM_HOLE", 0x000C_0000, 0x4_0000, "RAM for tables placed by the loader; no firmware"),
    MemoryRange("IO_APIC", 0xFEC0_0000, 0x1000, "I/O APIC"),
    MemoryRange("IOMMU", 0xFED8_0000, 0x4000, "IOMMU, AMD-Vi registers", present=False),
    MemoryRange("LOCAL_APIC", 0xFEE0_0000, 0x1000, "local APIC"),
)

PORT: dict[str, PortRange] = {port.name: port for port in PORTS}
REGION: dict[str, MemoryRange] = {region.name: region for region in MEMORY}

#: End of conventional memory and start of extended memory.
LOW_MEMORY_END = 0x000A_0000
HIGH_MEMORY_START = 0x0010_0000

# Multiboot 1, https://www.gnu.org/software/grub/manual/multiboot/multiboot.html
MULTIBOOT_HEADER_MAGIC = 0x1BAD_B002
MULTIBOOT_BOOT_MAGIC = 0x2BAD_B002
#: The header lies, aligned on 4 bytes, within this many bytes of the file.
MULTIBOOT_SEARCH = 8192

# PVH: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h
PVH_START_MAGIC = 0x336E_C578
PVH_NOTE_NAME = "Xen"
PVH_NOTE_TYPE = 18
