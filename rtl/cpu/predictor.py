"""Branch prediction: direction of conditional branches, return addresses, indirect targets."""

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["PredictorConfig", "Predictor"]

# Weakly by the static rule: one branch against it is enough to turn the prediction.
UNTRAINED = 1


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the prediction tables, in entries; each a power of two, at least 2."""

    counters: int = 512
    returns: int = 8
    targets: int = 16

    def __post_init__(self) -> None:
        for name, value in (("counters", self.counters), ("returns", self.returns), ("targets", self.targets)):
            if value < 2 or value & (value - 1):
                raise ValueError(f"PredictorConfig.{name} must be a power of two of at least 2, not {value}")


class Predictor(wiring.Component):
    """Predicts, in the decode stage, where a branch goes.

    1. Conditional branches: two-bit saturating counters, looked up by ``d_eip``. A counter says how sure we are that
       the branch does the *opposite* of the static rule (backward taken, forward not taken), so an untrained entry
       predicts by that rule, and branches that share an entry seldom disturb each other.
    2. ``d_counter`` travels with the branch and comes back at execution as ``x_counter``, so that training needs no
       second read of the table. ``x_eip`` and ``x_backward`` are those of the same branch.
    3. Returns: a stack of the last return addresses. ``d_push`` and ``d_pop`` are pulses in the cycle in which the
       CALL or RET leaves decode, never together. ``d_return_eip`` is the address a RET in decode would go to.
    4. ``d_pointer`` is the stack pointer as the instruction in decode leaves it (with ``d_push``/``d_pop`` of this
       cycle). It travels with every instruction; on a flush ``x_restore`` puts back, as ``x_pointer``, the value
       carried by the last instruction that completed. Restoring wins over a push or pop in the same cycle.
    5. Indirect jumps and calls: the last target of the instruction, by ``d_eip``, untagged.
    6. All predictions are guesses; execution must check them all. Nothing here is architectural.

    Parameters
    ----------
    config : PredictorConfig

    Members
    -------
    d_eip : In(32)
        Address (offset in CS) of the first byte of the instruction in decode.
    d_backward : In(1)
        The displacement of the conditional branch in decode is negative.
    d_taken : Out(1)
        The conditional branch in decode is predicted taken.
    d_counter : Out(2)
        To be carried by the branch.
    d_push, d_push_eip, d_pop : In
        Return stack operations.
    d_return_eip : Out(32)
        Predicted target of a RET.
    d_pointer : Out
        Return stack pointer after the instruction in decode.
    d_indirect_eip : Out(32)
        Predicted target of an indirect jump or call.
    x_update, x_eip, x_backward, x_counter, x_taken : In
        A conditional branch completes, and goes ``x_taken``.
    x_indirect, x_target : In
        An indirect jump or call at ``x_eip`` completes, and goes to ``x_target``.
    x_restore, x_pointer : In
        The pipeline is flushed; put the return stack pointer back.
    """

    def __init__(self, config: PredictorConfig | None = None):
        self.config = config or PredictorConfig()
        pointer_width = (self.config.returns - 1).bit_length()
        super().__init__({
            "d_eip": In(32),
            "d_backward": In(1),
            "d_taken": Out(1),
            "d_counter": Out(2),
            "d_push": In(1),
            "d_push_eip": In(32),
            "d_pop": In(1),
            "d_return_eip": Out(32),
            "d_pointer": Out(pointer_width),
            "d_indirect_eip": Out(32),
            "x_update": In(1),
            "x_eip": In(32),
            "x_backward": In(1),
            "x_counter": In(2),
            "x_taken": In(1),
            "x_indirect": In(1),
            "x_target": In(32),
            "x_restore": In(1),
            "x_pointer": In(pointer_width),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.counters = counters = Memory(shape=2, depth=config.counters, init=[UNTRAINED] * config.counters)
        m.submodules.returns = returns = Memory(shape=32, depth=config.returns, init=[])
        m.submodules.targets = targets = Memory(shape=32, depth=config.targets, init=[])

        # No branch is shorter than two bytes: dropping bit 0 doubles the code covered and adds no collision.
        def index(eip, depth):
            return eip[1:depth.bit_length()]

        d_counter_port = counters.read_port(domain="comb")
        x_counter_port = counters.write_port()
        # 0: strongly by the static rule, 3: strongly against it.
        x_against = self.x_taken ^ self.x_backward
        m.d.comb += [
            d_counter_port.addr.eq(index(self.d_eip, config.counters)),
            self.d_counter.eq(d_counter_port.data),
            self.d_taken.eq(d_counter_port.data[1] ^ self.d_backward),
            x_counter_port.addr.eq(index(self.x_eip, config.counters)),
            x_counter_port.data.eq(Mux(x_against, self.x_counter + ~self.x_counter.all(),
                                       self.x_counter - self.x_counter.any())),
            x_counter_port.en.eq(self.x_update),
        ]

        d_top_port = returns.read_port(domain="comb")
        d_push_port = returns.write_port()
        d_top = Signal.like(self.d_pointer)
        m.d.comb += [
            d_top_port.addr.eq(d_top),
            self.d_return_eip.eq(d_top_port.data),
            self.d_pointer.eq(d_top + self.d_push - self.d_pop),
            d_push_port.addr.eq(self.d_pointer),
            d_push_port.data.eq(self.d_push_eip),
            d_push_port.en.eq(self.d_push & ~self.x_restore),
        ]
        with m.If(self.x_restore):
            m.d.sync += d_top.eq(self.x_pointer)
        with m.Elif(self.d_push | self.d_pop):
            m.d.sync += d_top.eq(self.d_pointer)

        d_target_port = targets.read_port(domain="comb")
        x_target_port = targets.write_port()
        m.d.comb += [
            d_target_port.addr.eq(index(self.d_eip, config.targets)),
            self.d_indirect_eip.eq(d_target_port.data),
            x_target_port.addr.eq(index(self.x_eip, config.targets)),
            x_target_port.data.eq(self.x_target),
            x_target_port.en.eq(self.x_indirect),
        ]
        return m
