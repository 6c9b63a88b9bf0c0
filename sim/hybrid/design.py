# amaranth: UnusedElaboratable=no
"""The board without processor as the simulation engines want it: commands in, answers out, time in between."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.devboard import DeviceBoard
from rtl.isa.devices import DeviceConfig

from ..engines.cache import digest, source_digest
from ..engines.design import SimDesign

_RTL = Path(__file__).resolve().parents[2] / "rtl"
TIME_BITS = 48


class Do(IntEnum):
    """What a command asks for."""

    READ = 0
    WRITE = 1
    ACK = 2
    RECEIVE = 3


#: ``size`` is the logarithm of the bytes; ``value`` is written, or received. A command is new when ``turn`` changes.
COMMAND = data.StructLayout({"value": 32, "port": 16, "size": 2, "do": 2, "turn": 1})
#: ``value`` is what was read, the vector, or 1 if the received byte was taken; ``sent``, ``debug``, ``exited`` and
#: ``reset`` say what else the command caused. ``intr`` is the processor's line now.
ANSWER = data.StructLayout({"value": 32, "sent_byte": 8, "debug_byte": 8, "exit_value": 8, "sent": 1, "debug": 1,
                            "exited": 1, "reset": 1, "intr": 1})


class Pacer(Elaboratable):
    """Carries out commands, and lets time go by between them.

    Time is processor cycles; clocks are those of the simulated hardware.

    1. A new ``command`` is carried out while time stands still. ``answer`` tells.
    2. Then time goes by to ``until``. It stands still while what has happened is on its way to INTR, so that an
       interrupt is seen at the time of its cause.
    3. With ``skip``, one clock stands for all the cycles up to the next in which a device has something to do; without,
       for one.
    4. ``stop`` ends the run: nothing is left to do, or, with ``watch``, INTR has risen. The hardware has had a clock of
       rest then: what is read next shows all that has happened.
    5. ``now`` is the time.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.board = DeviceBoard(config)
        self.skip = Signal(init=1)
        self.watch = Signal()
        self.stop = Signal()
        self.command = Signal(COMMAND)
        self.answer = Signal(ANSWER)
        self.until = Signal(TIME_BITS)
        self.now = Signal(TIME_BITS)

    def elaborate(self, platform: object) -> Module:
        board, command, answer = self.board, self.command, self.answer
        m = board.elaborate(platform)
        last_turn = Signal()
        pending = Signal()
        begun = Signal()
        left = Signal(TIME_BITS)
        done = Signal()
        rest = Signal(2)
        quiet = Signal()
        access = Signal()
        passing = Signal(TIME_BITS)

        m.d.comb += [
            pending.eq(command.turn != last_turn),
            left.eq(self.until - self.now),
            access.eq((command.do == Do.READ) | (command.do == Do.WRITE)),
            board.io.valid.eq(begun & access),
            board.io.write.eq(command.do == Do.WRITE),
            board.io.port.eq(command.port),
            board.io.size.eq(command.size),
            board.io.wdata.eq(command.value),
            board.ack.eq(begun & (command.do == Do.ACK)),
            board.uart_rx_valid.eq(begun & (command.do == Do.RECEIVE)),
            board.uart_rx_data.eq(command.value),
            done.eq(begun & (~access | board.io.ready)),
            quiet.eq(~pending & (rest == 0) & board.settled),
            self.stop.eq(quiet & ((left == 0) | (self.watch & board.intr))),
            passing.eq(Mux(self.skip, board.until_tick, 1)),
        ]
        with m.If(quiet & ~self.stop):
            m.d.comb += board.elapse.eq(Mux(left < passing, left, passing))
        m.d.sync += self.now.eq(self.now + board.elapse)

        # A gate or a line of the host needs a clock to be seen, and one to act, before the next tick.
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(pending):
            m.d.sync += begun.eq(~done)
            with m.If(~begun):
                m.d.sync += Cat(answer.sent, answer.debug, answer.exited, answer.reset).eq(0)
        with m.If(done):
            m.d.sync += [last_turn.eq(command.turn), rest.eq(3)]
            with m.Switch(command.do):
                with m.Case(Do.READ):
                    m.d.sync += answer.value.eq(board.io.rdata)
                with m.Case(Do.ACK):
                    m.d.sync += answer.value.eq(board.vector)
                with m.Case(Do.RECEIVE):
                    m.d.sync += answer.value.eq(board.uart_rx_ready)
        m.d.sync += answer.intr.eq(board.intr)
        with m.If(board.uart_tx_valid):
            m.d.sync += [answer.sent.eq(1), answer.sent_byte.eq(board.uart_tx_data)]
        with m.If(board.debug_valid):
            m.d.sync += [answer.debug.eq(1), answer.debug_byte.eq(board.debug_data)]
        with m.If(board.exit_valid):
            # The value is in the register one clock later.
            m.d.sync += answer.exited.eq(1)
        m.d.sync += answer.exit_value.eq(board.exit_value)
        with m.If(board.reset_request):
            m.d.sync += answer.reset.eq(1)
        return m


def pacer_design(config: DeviceConfig) -> SimDesign:
    """The devices under a `Pacer`. Registers are below the same names as on the full board: ``isa``."""
    pacer = Pacer(config)
    return SimDesign(
        top=pacer, stop=pacer.stop, inputs={
            "skip": pacer.skip, "watch": pacer.watch, "until": pacer.until, "command": Value.cast(pacer.command)},
        key=digest(source_digest(_RTL), Path(__file__).read_bytes(), repr(config)))
