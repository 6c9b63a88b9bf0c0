"""One counter of the 8254."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.devices import PitMode

__all__ = ["PitChannel"]


def _minus(value, step, bcd):
    """`value` less `step` (1 or 2), in binary or in decimal digits."""
    digits, borrow = [], None
    for position in range(4):
        digit = value.word_select(position, 4)
        amount = step if borrow is None else borrow
        short = digit < amount
        digits.append((digit - amount + Mux(short, 10, 0))[0:4])
        borrow = short
    return Mux(bcd, Cat(*digits), (value - step)[0:16])


class PitChannel(wiring.Component):
    """Counter with its control word, count register, output latch and status latch, in all six modes.

    1. ``tick`` is one clock of the counter: its falling edge in the datasheet's waveforms.
    2. A control word or count written in a cycle of ``tick`` takes effect after that tick.
    3. A gate that rises starts or restarts modes 1, 2, 3 and 5 at the next tick; a gate that falls raises the output of
       modes 2 and 3 at once. Modes 0, 2, 3 and 4 count only while it is high.
    4. A count of two bytes is loaded as a whole. Counts of 1 in modes 2 and 3, and decimal counts with digits above 9,
       have no defined waveform, as in the datasheet.

    Intel 8254 datasheet (order number 231164).

    Parameters
    ----------
    control : int
        Control word (bits 5-0) at power-on.
    count : int or None
        Count that runs at power-on, None for a counter that waits to be programmed.

    Members
    -------
    tick, gate : ``In(1)``, ``In(1)``
        Clock strobe and gate.
    out : ``Out(1)``
        Output of the counter.
    data : ``In(8)``
        Byte of the strobes below.
    write_control, write_count : ``In(1)``, ``In(1)``
        Load a control word, load the next byte of a count.
    latch_count, latch_status : ``In(1)``, ``In(1)``
        Latch for the next reads, unless it is latched already.
    read : ``In(1)``
        The byte at ``value`` is read.
    value : ``Out(8)``
        The byte that a read gives.
    """

    def __init__(self, control, count):
        self._control = control
        self._count = count
        super().__init__({
            "tick": In(1),
            "gate": In(1),
            "out": Out(1, init=PitMode.of(control) != PitMode.TERMINAL_COUNT),
            "data": In(8),
            "write_control": In(1),
            "write_count": In(1),
            "latch_count": In(1),
            "latch_status": In(1),
            "read": In(1),
            "value": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        started = self._count is not None
        control = Signal(6, init=self._control)
        cr = Signal(16, init=self._count or 0)
        ce = Signal(16, init=self._count or 0)
        ol = Signal(16)
        status = Signal(8)
        write_low = Signal(8)
        write_high_next = Signal()
        read_high_next = Signal()
        count_latched = Signal()
        status_latched = Signal()
        null_count = Signal(init=not started)
        armed = Signal(init=started)  # a count has been written since the control word
        running = Signal(init=started)  # it has been loaded
        load = Signal()
        trigger = Signal()
        done = Signal()
        odd = Signal()
        last_gate = Signal(init=1)

        bcd = control[0]
        both_bytes = control[4:6].all()
        is_mode = [Signal(name=f"is_{mode.name.lower()}") for mode in PitMode]
        for mode in PitMode:
            bits = control[1:4]
            m.d.comb += is_mode[mode].eq((bits[0:2] == mode) if mode & 2 else (bits == mode))
        is_periodic = is_mode[PitMode.RATE] | is_mode[PitMode.SQUARE]
        is_triggered = is_mode[PitMode.ONE_SHOT] | is_mode[PitMode.HARDWARE_STROBE]
        is_strobe = is_mode[PitMode.SOFTWARE_STROBE] | is_mode[PitMode.HARDWARE_STROBE]

        # Counting.
        start_value = Signal(16)
        less = Signal(16)
        expire = Signal()
        m.d.comb += [
            start_value.eq(Cat(cr[0] & ~is_mode[PitMode.SQUARE], cr[1:])),
            less.eq(_minus(ce, Mux(is_mode[PitMode.SQUARE], 2, 1), bcd)),
        ]
        with m.If(is_mode[PitMode.SQUARE]):
            # The high half of an odd count is one tick longer: it ends at 0 and not on the way to it.
            m.d.comb += expire.eq(Mux(odd & self.out, ce == 0, ce == 2))
        with m.Else():
            m.d.comb += expire.eq(is_mode[PitMode.RATE] & (ce == 1))

        # Reads.
        with m.If(status_latched):
            m.d.comb += self.value.eq(status)
        with m.Else():
            read_high = Mux(both_bytes, read_high_next, control[5])
            m.d.comb += self.value.eq(Mux(count_latched, ol, ce).word_select(read_high, 8))
        busy = Signal()
        # Nothing changes in other cycles; saying so spares a simulator the whole channel.
        m.d.comb += busy.eq(self.tick | self.write_control | self.write_count | self.read | self.latch_count
                            | self.latch_status | (self.gate ^ last_gate))
        with m.If(busy):
            with m.If(self.tick & (load | (trigger & armed))):
                m.d.sync += [
                    ce.eq(start_value), odd.eq(cr[0]), null_count.eq(0), load.eq(0), trigger.eq(0), running.eq(1),
                    done.eq(0), self.out.eq(~(is_mode[PitMode.TERMINAL_COUNT] | is_mode[PitMode.ONE_SHOT])),
                ]
            with m.Elif(self.tick & running):
                with m.If(is_strobe):
                    m.d.sync += self.out.eq(1)
                with m.If(self.gate | is_triggered):
                    m.d.sync += ce.eq(less)
                    with m.If(expire):
                        m.d.sync += [
                            ce.eq(start_value), odd.eq(cr[0]), null_count.eq(0),
                            self.out.eq(is_mode[PitMode.RATE] | ~self.out),
                        ]
                    with m.Elif(is_mode[PitMode.RATE]):
                        m.d.sync += self.out.eq(less != 1)
                    with m.Elif((less == 0) & ~done & ~is_periodic):
                        m.d.sync += [done.eq(1), self.out.eq(~is_strobe)]
            m.d.sync += last_gate.eq(self.gate)
            with m.If(self.gate & ~last_gate & armed & (is_periodic | is_triggered)):
                m.d.sync += trigger.eq(1)
            with m.If(~self.gate & last_gate & is_periodic):
                m.d.sync += self.out.eq(1)

            with m.If(self.read):
                with m.If(status_latched):
                    m.d.sync += status_latched.eq(0)
                with m.Else():
                    m.d.sync += read_high_next.eq(both_bytes & ~read_high_next)
                    with m.If(~both_bytes | read_high_next):
                        m.d.sync += count_latched.eq(0)
            with m.If(self.latch_count & ~count_latched):
                m.d.sync += [count_latched.eq(1), ol.eq(ce)]
            with m.If(self.latch_status & ~status_latched):
                m.d.sync += [status_latched.eq(1), status.eq(Cat(control, null_count, self.out))]

            # Writes.
            with m.If(self.write_count):
                with m.If(both_bytes & ~write_high_next):
                    m.d.sync += [write_low.eq(self.data), write_high_next.eq(1)]
                    with m.If(is_mode[PitMode.TERMINAL_COUNT]):
                        m.d.sync += [running.eq(0), load.eq(0), self.out.eq(0)]
                with m.Else():
                    m.d.sync += [
                        write_high_next.eq(0),
                        cr.eq(Cat(Mux(both_bytes, write_low, Mux(control[4], self.data, 0)),
                                  Mux(control[5], self.data, 0))),
                        null_count.eq(1), armed.eq(1),
                    ]
                    with m.If(~is_triggered & ~(is_periodic & running)):
                        m.d.sync += load.eq(1)
                    with m.If(is_mode[PitMode.TERMINAL_COUNT]):
                        m.d.sync += [self.out.eq(0), running.eq(0)]
            with m.If(self.write_control):
                m.d.sync += [
                    control.eq(self.data), cr.eq(0), null_count.eq(1), write_high_next.eq(0), read_high_next.eq(0),
                    count_latched.eq(0), status_latched.eq(0), armed.eq(0), running.eq(0), load.eq(0), trigger.eq(0),
                    done.eq(0), self.out.eq(self.data[1:4] != PitMode.TERMINAL_COUNT),
                ]
        return m
