"""The computer: processor, memory controller, ISA devices. Creates and connects, nothing else."""

from dataclasses import dataclass, field

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.config import MemoryConfig
from rtl.bus.dram import MemoryController
from rtl.bus.iobridge import IoBridge
from rtl.bus.memory import RamSignature
from rtl.cpu.core import Core, CoreConfig
from rtl.cpu.retire import RetireSignature
from rtl.dev.isa_bus import IsaBus
from rtl.irq.apics import Apics
from rtl.isa.devices import DeviceConfig
from rtl.isa.stop import StopReason

__all__ = ["Board", "BoardConfig"]


@dataclass(frozen=True)
class BoardConfig:
    """Everything that can be chosen about the computer before it is built."""
    core: CoreConfig = field(default_factory=CoreConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    devices: DeviceConfig = field(default_factory=DeviceConfig)
    io_recovery: int = 8


class Board(wiring.Component):
    """A PC with one processor.

    1. ``ram`` is the port of the RAM chips, whose contents are the host's; ``ram_size_words`` says how many there are.
    2. ``stop`` is `StopReason`; EXIT (with ``exit_value``), DOORBELL and RESET are pulses, the others stay.
    3. ``console`` bytes are pulses; the host is always ready. ``rx`` bytes are taken when ``rx_ready``.

    Parameters
    ----------
    config : BoardConfig

    Members
    -------
    ram : Out(RamSignature())
    ram_size_words : In(30)
    stop : Out(StopReason)
    exit_value : Out(8)
    doorbell_enable : In(1)
        A monitor outside listens to the doorbell. Without one its port is like any that no device claims.
    kick : In(1)
        An interrupt request beside those of the controllers, with which a monitor outside gets its processor out of a
        guest. Nothing acknowledges it.
    retire : Out(RetireSignature())
    store_valid, store_paddr, store_paddr_hi, store_size, store_data : Out
    io_valid, io_write, io_port, io_size, io_data : Out
        Every IN and OUT as it completes, with what was read or written.
    load_valid, load_addr, load_data : Out
        Every word read where RAM is not, as it arrives.
    ack_valid, ack_vector : Out
        Every interrupt that the processor acknowledges, whatever its delivery leads to.
    uart_valid, uart_data, debug_valid, debug_data : Out
    rx_valid : In(1); rx_data : In(8); rx_ready : Out(1)
    post_code : Out(8)
    """

    def __init__(self, config: BoardConfig | None = None):
        self.config = config or BoardConfig()
        super().__init__({
            "ram": Out(RamSignature()), "ram_size_words": In(30, init=0x400000),
            "stop": Out(StopReason), "exit_value": Out(8), "doorbell_enable": In(1), "kick": In(1),
            "retire": Out(RetireSignature()),
            "store_valid": Out(1), "store_paddr": Out(32), "store_paddr_hi": Out(32), "store_size": Out(2),
            "store_data": Out(32),
            "io_valid": Out(1), "io_write": Out(1), "io_port": Out(16), "io_size": Out(2), "io_data": Out(32),
            "load_valid": Out(1), "load_addr": Out(32), "load_data": Out(32),
            "ack_valid": Out(1), "ack_vector": Out(8),
            "uart_valid": Out(1), "uart_data": Out(8), "debug_valid": Out(1), "debug_data": Out(8),
            "rx_valid": In(1), "rx_data": In(8), "rx_ready": Out(1), "post_code": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.core = core = Core(config.core)
        m.submodules.memory = memory = MemoryController(config.memory)
        m.submodules.io = io = IoBridge(config.io_recovery)
        m.submodules.isa = isa = IsaBus(config.devices)
        m.submodules.apics = apics = Apics()

        connect(m, core.mem, memory.bus)
        connect(m, memory.ram, flipped(self.ram))
        connect(m, core.io, io.io)
        connect(m, io.bus, isa.bus)
        connect(m, core.retire, flipped(self.retire))
        connect(m, memory.mmio, apics.mmio)
        m.d.comb += [
            core.ram_size_words.eq(self.ram_size_words), memory.ram_size_words.eq(self.ram_size_words),
            apics.irq.eq(isa.lines), apics.pic_intr.eq(isa.intr), isa.ack.eq(apics.pic_ack),
            apics.pic_vector.eq(isa.vector), apics.nmi_in.eq(isa.nmi),
            core.intr.eq(apics.intr | self.kick), apics.ack.eq(core.intack), core.vector.eq(apics.vector),
            core.nmi.eq(apics.nmi),
            core.init.eq(apics.init), apics.enable.eq(core.apic_enable),
            self.uart_valid.eq(isa.uart_tx_valid), self.uart_data.eq(isa.uart_tx_data),
            isa.uart_rx_valid.eq(self.rx_valid), isa.uart_rx_data.eq(self.rx_data),
            self.rx_ready.eq(isa.uart_rx_ready),
            self.debug_valid.eq(isa.debug_valid), self.debug_data.eq(isa.debug_data),
            self.exit_value.eq(isa.exit_value), isa.doorbell_enable.eq(self.doorbell_enable),
            self.post_code.eq(isa.post_code),
            self.io_valid.eq(core.io.valid & core.io.ready), self.io_write.eq(core.io.write),
            self.io_port.eq(core.io.port), self.io_size.eq(core.io.size),
            self.load_valid.eq(apics.mmio.valid & apics.mmio.ready & ~apics.mmio.write),
            self.load_addr.eq(apics.mmio.addr), self.load_data.eq(apics.mmio.rdata),
            self.ack_valid.eq(core.intack), self.ack_vector.eq(apics.vector),
        ]
        for name in ("valid", "paddr", "paddr_hi", "size", "data"):
            m.d.comb += getattr(self, f"store_{name}").eq(getattr(core, f"store_{name}"))
        with m.If(core.io.write):
            m.d.comb += self.io_data.eq(core.io.wdata)
        with m.Else():
            m.d.comb += self.io_data.eq(core.io.rdata)
        with m.If(isa.exit_valid):
            m.d.comb += self.stop.eq(StopReason.EXIT)
        with m.Elif(isa.doorbell_valid):
            m.d.comb += self.stop.eq(StopReason.DOORBELL)
        with m.Elif(core.shutdown):
            m.d.comb += self.stop.eq(StopReason.SHUTDOWN)
        with m.Elif(isa.reset_request | core.reset):
            m.d.comb += self.stop.eq(StopReason.RESET)
        with m.Elif(core.stuck):
            m.d.comb += self.stop.eq(StopReason.STUCK)
        return m
