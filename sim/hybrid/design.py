# amaranth: UnusedElaboratable=no
"""The board without processor as the simulation engines want it: it takes jobs from a mailbox."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import data

from rtl.devboard import DeviceBoard
from rtl.isa.devices import DeviceConfig
from rtl.isa.platform import REGION

from ..engines.cache import digest, source_digest
from ..engines.design import RamPort, SimDesign

_RTL = Path(__file__).resolve().parents[2] / "rtl"


class Do(IntEnum):
    """What a job asks of the devices."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    ACK = 3
    RECEIVE = 4
    LOAD = 5
    STORE = 6


#: What the host writes to the mailbox. ``size`` is the logarithm of the bytes; ``value`` is written, or received. Of
#: the words of memory-mapped devices, ``port`` says which: bit 12 is that of the local APIC, the others the offset.
JOB = data.StructLayout({"until": 48, "watch": 1, "skip": 1, "unused0": 14,
                         "value": 32, "port": 16, "size": 2, "do": 3, "unused1": 11})
#: What it finds behind that. ``value`` is what was read, the vector, or 1 if the received byte was taken; ``sent``,
#: ``debug``, ``exited`` and ``reset`` say what else came of the command; ``exit_value`` is that of the exit port.
#: ``intr`` is the processor's line, ``nmi`` and ``init`` say that there was one, ``now`` is the low half of the time.
ANSWER = data.StructLayout({"value": 32, "exit_value": 8, "sent_byte": 8, "debug_byte": 8, "sent": 1, "debug": 1,
                            "exited": 1, "reset": 1, "intr": 1, "nmi": 1, "init": 1, "unused": 1, "now": 32})
JOB_WORDS, ANSWER_WORDS = JOB.size // 32, ANSWER.size // 32
_EVENTS = data.StructLayout(
    {"sent_byte": 8, "debug_byte": 8, "sent": 1, "debug": 1, "exited": 1, "reset": 1, "nmi": 1, "init": 1})


class Pacer(Elaboratable):
    """Does the jobs that processor and host have for the devices, and lets time go by between them.

    Time is processor cycles; clocks are those of the simulated hardware. A run of the simulation is one job:

    1. The job is fetched from the mailbox, which is the design's RAM.
    2. Time goes by to ``until``, or, with ``watch``, up to the first cycle in which INTR is high. It stands still while
       what has happened is on its way to INTR, so that an interrupt is seen at the time of its cause.
    3. With ``skip``, one clock stands for all the cycles up to the next in which a device has something to do; without,
       for one.
    4. If ``do`` asks for something, it is done, and takes effect, while time stands still.
    5. The answer is stored in the mailbox, and ``stop`` ends the run.

    Members
    -------
    now : the time.
    at_work : this clock is not one of the mailbox's.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.board = DeviceBoard(config)
        self.stop = Signal()
        self.at_work = Signal()
        self.now = Signal(JOB["until"].width)
        self.en = Signal()
        self.addr = Signal(range(JOB_WORDS + ANSWER_WORDS))
        self.write = Signal(4)
        self.wdata = Signal(32)
        self.rdata = Signal(32)

    def elaborate(self, platform: object) -> Module:
        board = self.board
        m = board.elaborate(platform)
        job = Signal(JOB)
        answer = Signal(ANSWER)
        result = Signal(32)
        events = Signal(_EVENTS)
        left = Signal.like(self.now)
        passing = Signal.like(self.now)
        index = Signal(range(JOB_WORDS + 1))
        time_over = Signal()

        m.d.comb += [
            left.eq(job.until - self.now),
            passing.eq(Mux(job.skip, board.until_tick, 1)),
            time_over.eq((left == 0) | (job.watch & board.intr)),
            board.io.write.eq(job.do == Do.WRITE),
            board.io.port.eq(job.port),
            board.io.size.eq(job.size),
            board.io.wdata.eq(job.value),
            board.mmio.addr.eq(Mux(job.port[12], REGION["LOCAL_APIC"].base, REGION["IO_APIC"].base) | job.port[:12]),
            board.mmio.write.eq(job.do == Do.STORE),
            board.mmio.mask.eq(0xF),
            board.mmio.wdata.eq(job.value),
            board.uart_rx_data.eq(job.value),
            answer.value.eq(result),
            *(answer[name].eq(events[name]) for name, _field in _EVENTS),
            answer.exit_value.eq(board.exit_value),
            answer.intr.eq(board.intr),
            answer.now.eq(self.now),
        ]
        m.d.sync += self.now.eq(self.now + board.elapse)
        with m.If(board.uart_tx_valid):
            m.d.sync += [events.sent.eq(1), events.sent_byte.eq(board.uart_tx_data)]
        with m.If(board.debug_valid):
            m.d.sync += [events.debug.eq(1), events.debug_byte.eq(board.debug_data)]
        with m.If(board.exit_valid):
            m.d.sync += events.exited.eq(1)
        with m.If(board.reset_request):
            m.d.sync += events.reset.eq(1)
        with m.If(board.nmi):
            m.d.sync += events.nmi.eq(1)
        with m.If(board.init):
            m.d.sync += events.init.eq(1)

        with m.FSM():
            with m.State("FETCH"):
                m.d.comb += [self.en.eq(1), self.addr.eq(index)]
                m.d.sync += [
                    job.eq(Cat(job.as_value()[32:], self.rdata)), index.eq(index + 1), events.eq(0),
                ]
                with m.If(index == JOB_WORDS):
                    m.d.sync += index.eq(0)
                    m.next = "TIME"
            with m.State("TIME"):
                m.d.comb += self.at_work.eq(~board.settled | ~time_over)
                with m.If(board.settled):
                    with m.If(~time_over):
                        m.d.comb += board.elapse.eq(Mux(left < passing, left, passing))
                    with m.Else():
                        m.next = "STORE"
                        with m.If(job.do != Do.NOTHING):
                            # What the last tick did gets a clock to be seen.
                            m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += self.at_work.eq(1)
                m.next = "EFFECT"
                with m.Switch(job.do):
                    with m.Case(Do.READ, Do.WRITE):
                        m.d.comb += board.io.valid.eq(1)
                        m.d.sync += result.eq(board.io.rdata)
                        with m.If(~board.io.ready):
                            m.next = "COMMAND"
                    with m.Case(Do.LOAD, Do.STORE):
                        m.d.comb += board.mmio.valid.eq(1)
                        m.d.sync += result.eq(board.mmio.rdata)
                        with m.If(~board.mmio.ready):
                            m.next = "COMMAND"
                    with m.Case(Do.ACK):
                        m.d.comb += board.ack.eq(1)
                        m.d.sync += result.eq(board.vector)
                    with m.Case(Do.RECEIVE):
                        m.d.comb += board.uart_rx_valid.eq(1)
                        m.d.sync += result.eq(board.uart_rx_ready)
            # An answer of the keyboard takes a clock to become an interrupt.
            with m.State("EFFECT"):
                m.d.comb += self.at_work.eq(1)
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += self.at_work.eq(1)
                with m.If(board.settled):
                    m.next = "STORE"
            # Storing and the next fetching are clocks enough for what takes two, such as a gate of the timer.
            with m.State("STORE"):
                m.d.comb += [
                    self.en.eq(1), self.write.eq(0xF), self.addr.eq(JOB_WORDS + index),
                    self.wdata.eq(answer.as_value().word_select(index, 32)),
                ]
                m.d.sync += index.eq(index + 1)
                with m.If(index == ANSWER_WORDS - 1):
                    m.d.comb += self.stop.eq(1)
                    m.d.sync += index.eq(0)
                    m.next = "FETCH"
        return m


def pacer_design(config: DeviceConfig) -> SimDesign:
    """The devices under a `Pacer`. Registers are below the same names as on the full board: ``isa``."""
    pacer = Pacer(config)
    return SimDesign(
        top=pacer, stop=pacer.stop, inputs={"apic_enable": pacer.board.apic_enable},
        key=digest(source_digest(_RTL), Path(__file__).read_bytes(), repr(config)),
        ram=RamPort(pacer.en, pacer.addr, pacer.write, pacer.wdata, pacer.rdata, JOB_WORDS + ANSWER_WORDS))
