"""8259A interrupt controllers, single and as the pair of a PC."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import ELCR_WRITABLE, PIC_CASCADE_LINE, PIC_FIRMWARE_BASE, UNCLAIMED, PicOcw2
from rtl.isa.platform import Irq

__all__ = ["Pic8259", "PicPair"]


class Pic8259(wiring.Component):
    """One 8259A with an edge/level register of its own.

    1. An edge-triggered request is a line that went high and stayed high; if it falls before the acknowledge the
       request is gone. A level-triggered request is a line that is high.
    2. ``intr``, ``level``, ``cascade`` and ``vector`` are functions of registers only. A line takes one cycle to get
       to them.
    3. In a cycle of ``ack`` the request ``level`` goes in service (or straight out of it with automatic EOI) at the
       clock edge. If there is no request any more, ``level`` is 7 and nothing goes in service: a spurious interrupt.
    4. ``intr`` is low in the cycle after an acknowledge, as it is between the two INTA pulses of the chip: the master
       sees an edge for the next request of a slave even with automatic EOI.
    5. The 8080 mode, the buffered mode and the M/S bit of ICW4 do not exist on a PC and are ignored: a vector is ICW2
       bits 7-3 with the level in bits 2-0.
    6. ICW1 also clears the in-service register, as every PC chip set does.

    Intel 8259A datasheet (order number 231468); 82371SB datasheet for the edge/level register.

    Parameters
    ----------
    base : int
        Vector base at power-on, when firmware would have programmed the chip; every line is masked then.
    cascade : int
        ICW3 at power-on.
    lines : int
        Lines that are high at power-on, so that they make no request then.

    Members
    -------
    bus : ``In(RegisterPort(1))``
        Registers.
    elcr : ``In(8)``
        Lines that are level-triggered whatever ICW1 says.
    irq : ``In(8)``
        Interrupt request lines, in this clock domain.
    intr : ``Out(1)``
        There is a request to acknowledge.
    level : ``Out(3)``
        The line whose turn it is, or 7.
    cascade : ``Out(1)``
        ``level`` is the line of a slave, which gives the vector.
    slave_id : ``Out(3)``
        ICW3 of a slave: the master's line that it answers for.
    vector : ``Out(8)``
        Vector of ``level``.
    ack : ``In(1)``
        The processor takes the vector in this cycle.
    settled : ``Out(1)``
        With lines that stay as they are and no access, ``intr`` stays as it is.
    """

    def __init__(self, base, cascade, lines=0):
        self._base = base
        self._cascade = cascade
        self._lines = lines
        super().__init__({
            "bus": In(RegisterPort(1)),
            "elcr": In(8),
            "irq": In(8),
            "intr": Out(1),
            "level": Out(3),
            "cascade": Out(1),
            "slave_id": Out(3),
            "vector": Out(8),
            "ack": In(1),
            "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.bus

        line = Signal(8, init=self._lines)
        latch = Signal(8)
        isr = Signal(8)
        imr = Signal(8, init=0xFF)
        icw2 = Signal(5, init=self._base >> 3)
        icw3 = Signal(8, init=self._cascade)
        icw_state = Signal(2)  # 0 ready, or the number of the control word that comes next
        single = Signal()
        need_icw4 = Signal()
        level_mode = Signal()
        auto_eoi = Signal()
        nested = Signal()
        lowest = Signal(3, init=7)
        rotate_aeoi = Signal()
        special_mask = Signal()
        acknowledged = Signal()
        poll = Signal()
        read_isr = Signal()

        irr = Signal(8)
        level_lines = Signal(8)
        m.d.comb += [
            level_lines.eq(self.elcr | level_mode.replicate(8)),
            irr.eq(Mux(level_lines.all(), line, (latch & ~level_lines) | (line & level_lines))),
        ]

        # Priorities are resolved with the registers rotated so that bit 0 is the highest.
        pending = Signal(8)
        top = Signal(3)
        requests = Signal(8)
        service = Signal(8)
        first_service = Signal(8)
        slaves = Signal(8)
        allowed = Signal(8)
        has_request = Signal()

        def rotated(value):
            return Cat(value, value).bit_select(top, 8)

        m.d.comb += [
            pending.eq(irr & ~imr),
            top.eq(lowest + 1),
            service.eq(rotated(isr & ~(imr & special_mask.replicate(8)))),
            self.level.eq(7),
            self.slave_id.eq(icw3[0:3]),
            self.vector.eq(Cat(self.level, icw2)),
        ]
        # Nearly always there is nothing to resolve; saying so spares a simulator the work.
        with m.If(pending.any()):
            m.d.comb += [
                requests.eq(rotated(pending)),
                first_service.eq(service & -service),
                # In the special fully nested mode a slave may interrupt its own service routine.
                slaves.eq(Mux(nested, rotated(icw3), 0)),
                allowed.eq(requests & ((first_service - 1) | (first_service & slaves))),
                has_request.eq(allowed.any()),
                self.intr.eq(has_request & ~acknowledged),
                self.cascade.eq(has_request & ~single & icw3.bit_select(self.level, 1)),
            ]
            for bit in reversed(range(8)):
                with m.If(allowed[bit]):
                    m.d.comb += self.level.eq(bit + top)

        # Lines and acknowledge.
        poll_ack = Signal()
        acked = Signal(8)
        m.d.comb += poll_ack.eq(bus.r_stb & poll)
        with m.If((self.ack | poll_ack) & has_request):
            m.d.comb += acked.eq(1 << self.level)
            with m.If(~auto_eoi):
                m.d.sync += isr.eq(isr | acked)
            with m.Elif(rotate_aeoi):
                m.d.sync += lowest.eq(self.level)
        m.d.comb += self.settled.eq((line == self.irq) & ~acknowledged)
        m.d.sync += [
            line.eq(self.irq),
            acknowledged.eq(self.ack | poll_ack),
            latch.eq((latch | (self.irq & ~line)) & self.irq & ~acked),
        ]

        with m.If(poll):
            m.d.comb += bus.r_data.eq(Mux(has_request, Cat(self.level, C(0, 4), C(1, 1)), 0))
        with m.Elif(bus.addr):
            m.d.comb += bus.r_data.eq(imr)
        with m.Else():
            m.d.comb += bus.r_data.eq(Mux(read_isr, isr, irr))
        with m.If(poll_ack):
            m.d.sync += poll.eq(0)

        # OCW2. A non-specific EOI ends the service of highest priority which the special mask does not hide.
        operation = bus.w_data[5:8]
        eoi = Signal(8)
        eoi_level = Signal(3)
        service_distance = Signal(3)
        for bit in reversed(range(8)):
            with m.If(service[bit]):
                m.d.comb += service_distance.eq(bit)
        with m.If(operation[1]):
            m.d.comb += [eoi_level.eq(bus.w_data[0:3]), eoi.eq(1 << eoi_level)]
        with m.Else():
            m.d.comb += [eoi_level.eq(service_distance + top), eoi.eq(Mux(service.any(), 1 << eoi_level, 0))]

        with m.If(bus.w_stb & ~bus.addr):
            with m.If(bus.w_data[4]):
                m.d.sync += [
                    icw_state.eq(2), single.eq(bus.w_data[1]), need_icw4.eq(bus.w_data[0]),
                    level_mode.eq(bus.w_data[3]), latch.eq(0), isr.eq(0), imr.eq(0), icw3.eq(0), lowest.eq(7),
                    auto_eoi.eq(0), nested.eq(0), rotate_aeoi.eq(0), special_mask.eq(0), poll.eq(0), read_isr.eq(0),
                ]
            with m.Elif(bus.w_data[3]):
                with m.If(bus.w_data[6]):
                    m.d.sync += special_mask.eq(bus.w_data[5])
                m.d.sync += poll.eq(bus.w_data[2])
                with m.If(bus.w_data[1] & ~bus.w_data[2]):
                    m.d.sync += read_isr.eq(bus.w_data[0])
            with m.Else():
                with m.If(operation[0]):
                    m.d.sync += isr.eq(isr & ~eoi)
                with m.Switch(operation):
                    with m.Case(PicOcw2.ROTATE_AEOI_CLEAR):
                        m.d.sync += rotate_aeoi.eq(0)
                    with m.Case(PicOcw2.ROTATE_AEOI_SET):
                        m.d.sync += rotate_aeoi.eq(1)
                    with m.Case(PicOcw2.SET_PRIORITY):
                        m.d.sync += lowest.eq(bus.w_data[0:3])
                    with m.Case(PicOcw2.ROTATE_EOI, PicOcw2.ROTATE_SPECIFIC_EOI):
                        with m.If(eoi.any()):
                            m.d.sync += lowest.eq(eoi_level)
        with m.If(bus.w_stb & bus.addr):
            with m.Switch(icw_state):
                with m.Case(0):
                    m.d.sync += imr.eq(bus.w_data)
                with m.Case(2):
                    m.d.sync += [icw2.eq(bus.w_data[3:8]), icw_state.eq(Mux(single, need_icw4, 3))]
                with m.Case(3):
                    m.d.sync += [icw3.eq(bus.w_data), icw_state.eq(need_icw4)]
                with m.Case(1):  # ICW4
                    m.d.sync += [auto_eoi.eq(bus.w_data[1]), nested.eq(bus.w_data[4]), icw_state.eq(0)]
        return m


class PicPair(wiring.Component):
    """The two 8259As of a PC, the slave on IR2 of the master, and their edge/level registers 4D0h and 4D1h.

    The processor raises ``ack`` for one cycle and takes ``vector`` in that cycle. ``ack`` without ``intr`` is allowed
    and gives a spurious vector. A cascaded request which no slave answers for reads the floating bus: FFh.

    Members
    -------
    master, slave, elcr : ``In(RegisterPort(1))``
        Registers of each.
    irq : ``In(16)``
        Interrupt request lines; line 2 is the cascade and is not connected.
    intr, ack, vector : ``Out(1)``, ``In(1)``, ``Out(8)``
        To the processor.
    settled : ``Out(1)``
        No change of a line is on its way to ``intr``.
    """

    master: In(RegisterPort(1))
    slave: In(RegisterPort(1))
    elcr: In(RegisterPort(1))
    irq: In(16)
    intr: Out(1)
    ack: In(1)
    vector: Out(8)
    settled: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.chip0 = master = Pic8259(PIC_FIRMWARE_BASE[0], 1 << PIC_CASCADE_LINE, 1 << Irq.PIT)
        m.submodules.chip1 = slave = Pic8259(PIC_FIRMWARE_BASE[1], PIC_CASCADE_LINE)
        wiring.connect(m, wiring.flipped(self.master), master.bus)
        wiring.connect(m, wiring.flipped(self.slave), slave.bus)

        elcr = [Signal(8, name=f"elcr{chip}") for chip in range(2)]
        m.d.comb += [
            master.irq.eq(Cat(self.irq[0:2], slave.intr, self.irq[3:8])),
            slave.irq.eq(self.irq[8:16]),
            master.elcr.eq(elcr[0]),
            slave.elcr.eq(elcr[1]),
            self.elcr.r_data.eq(Mux(self.elcr.addr, elcr[1], elcr[0])),
        ]
        for chip in range(2):
            with m.If(self.elcr.w_stb & (self.elcr.addr == chip)):
                m.d.sync += elcr[chip].eq(self.elcr.w_data & ELCR_WRITABLE[chip])

        slave_selected = Signal()
        m.d.comb += [
            slave_selected.eq(master.cascade & (slave.slave_id == master.level)),
            self.intr.eq(master.intr),
            self.settled.eq(master.settled & slave.settled),
            master.ack.eq(self.ack),
            slave.ack.eq(self.ack & slave_selected),
        ]
        with m.If(~master.cascade):
            m.d.comb += self.vector.eq(master.vector)
        with m.Elif(slave_selected):
            m.d.comb += self.vector.eq(slave.vector)
        with m.Else():
            m.d.comb += self.vector.eq(UNCLAIMED)
        return m
