# amaranth: UnusedElaboratable=no
"""The board as the simulation engines want it."""

from __future__ import annotations

from pathlib import Path

from amaranth.hdl import Elaboratable, Module, Signal, Value

from rtl.board import Board, BoardConfig

from .engines.cache import digest, source_digest
from .engines.design import RamPort, SimDesign, Tap

_RTL = Path(__file__).resolve().parent.parent / "rtl"

RETIRE, STORE, IO, LOAD, ACK, SERIAL, DEBUG = "retire", "store", "io", "load", "ack", "serial", "debug"
GPR_FIELDS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")


class _Clocked(Elaboratable):
    """The board, with a cycle counter beside it for the records of the taps."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.cycle = Signal(48, name="cycle")

    def elaborate(self, platform: object) -> Module:
        m = self.board.elaborate(platform)
        m.d.sync += self.cycle.eq(self.cycle + 1)
        return m


def board_design(config: BoardConfig | None = None) -> SimDesign:
    """The computer with its taps. Every record of a tap has the cycle it was sampled in.

    Taps: ``retire`` (one record per completed instruction, REP iteration or delivery), ``store`` (each store as it
    commits), ``io`` (each IN and OUT), ``load`` (each word read where RAM is not), ``ack`` (each interrupt
    acknowledged), ``serial`` and ``debug`` (console bytes).
    """
    config = config or BoardConfig()
    board = Board(config)
    top = _Clocked(board)
    retire = board.retire
    cycle = ("cycle", top.cycle)
    taps = (
        Tap(RETIRE, retire.valid, (
            cycle, ("cause", Value.cast(retire.cause)), ("eip", retire.eip), ("next_eip", retire.next_eip),
            ("length", retire.length), ("vector", retire.vector), ("error", retire.error), ("cpl", retire.cpl),
            ("eflags", Value.cast(retire.eflags)),
            *((name, retire.gpr[index]) for index, name in enumerate(GPR_FIELDS)))),
        Tap(STORE, board.store_valid, (
            cycle, ("paddr", board.store_paddr), ("paddr_hi", board.store_paddr_hi), ("size", board.store_size),
            ("data", board.store_data))),
        Tap(IO, board.io_valid, (
            cycle, ("write", board.io_write), ("port", board.io_port), ("size", board.io_size),
            ("data", board.io_data))),
        Tap(LOAD, board.load_valid, (cycle, ("addr", board.load_addr), ("data", board.load_data))),
        Tap(ACK, board.ack_valid, (cycle, ("vector", board.ack_vector))),
        Tap(SERIAL, board.uart_valid, (cycle, ("data", board.uart_data))),
        Tap(DEBUG, board.debug_valid, (cycle, ("data", board.debug_data))),
    )
    ram = board.ram
    return SimDesign(
        top=top,
        ram=RamPort(ram.en, ram.addr, ram.we, ram.wdata, ram.rdata),
        stop=Value.cast(board.stop),
        taps=taps,
        inputs={"ram_size_words": board.ram_size_words, "kick": board.kick,
                "doorbell_enable": board.doorbell_enable,
                "rx_valid": board.rx_valid, "rx_data": board.rx_data},
        key=digest(source_digest(_RTL), Path(__file__).read_bytes(), repr(config)),
    )
