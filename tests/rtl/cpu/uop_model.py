"""A plain interpreter of micro-operations: what the rows mean, without a pipeline.

Memory, segments and paging are those of the golden model's `Access`; everything else is written from the contract in
`rtl.cpu.uop`, so that a microprogram can be compared with the golden model before the pipeline runs it.
"""
from __future__ import annotations

from rtl.cpu.descriptor_check import Check
from rtl.cpu.hardwired import first_row
from rtl.cpu.microasm import DEFAULTS, NUMBERED
from rtl.cpu.microcode import CPUID_ROM, PROGRAMS, assembled
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, FlagSet, Mem, Next, Reg, Size, Src, Step
from rtl.isa.decoder import decode
from rtl.isa.exceptions import VECTORS_WITH_ERROR_CODE, Combination, combine
from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import Msr
from rtl.isa.opcodes import Rep
from rtl.isa.registers import Eflags
from tests.rtl.cpu.check_model import check_descriptor
from tests.rtl.cpu.uop_system import M32, SystemModel
from vmm.engine.access import span_allowed
from vmm.faults import Fault, VmExit


class Software(Fault):
    """SOFTINT."""

    def __init__(self, vector: int, checked: bool):
        super().__init__(vector)
        self.checked = checked


class UopModel(SystemModel):
    """Executes instructions from their rows. `step` does one instruction, or one REP iteration, or a delivery."""

    def __init__(self, memory, io=None):
        super().__init__(memory, io)
        self.rom = assembled()
        self.t = [0] * 24
        self.branched: int | None = None
        self.flags: int | None = None
        self.rows_done = self.loaded = 0

    # one instruction

    def step(self) -> None:
        state = self.state
        self.writes = []
        self.mark = state.gpr[4]
        self.start = state.eip
        base, self.flags = state.segments[1].base, state.system_flags
        self.delivering = 0
        self.code = bytes(self.memory.read(self.mmu.translate(base + state.eip + k & M32, False, state.cpl == 3), 1)
                          for k in range(15))
        self.insn = insn = decode(self.code, default32=state.segments[1].big)
        self.next = state.eip + insn.length & M32
        self.branched = None
        state.system_flags &= ~int(Eflags.RF)
        form = insn.form
        variant = int(insn.is_memory) if form.has_rm_memory else int(form.rep is not Rep.NONE and insn.rep is not None)
        names = PROGRAMS.get(form.key)
        try:
            self._instruction(form, names, variant)
        except VmExit as reason:
            state.gpr[4], self.active = self.mark, False
            if self.flags is not None:
                state.system_flags = self.flags
            self.exit = reason
            self.run({"next": Next.JUMP, "target": "vmexit"}, None)
            state.eip = self.branched

    def _instruction(self, form, names, variant: int) -> None:
        state = self.state
        try:
            if form.feature == "svm" and form.cpl0 and not state.msrs.get(Msr.EFER, 0):
                raise Fault(6)
            if form.cpl0 and state.cpl or form.iopl and state.cpl > state.iopl:
                raise Fault(13, 0)
            row = self.rom.first(names[variant]) if names and names[variant] else first_row(form, bool(variant))
            self.run(dict(row), None)
        except Fault as fault:
            self.deliver(fault)
        else:
            state.eip = self.next if self.branched is None else self.branched

    def run(self, row: dict, address: int | None) -> None:
        """Rows from `row` on, until the program ends."""
        returns = None
        row = self.rom.resolve(row)
        while True:
            row = {"next": Next.END, **row}
            result, carry = self.execute(DEFAULTS | row)
            self.rows_done += 1
            kind = row["next"]
            if kind is Next.END:
                return
            if kind is Next.ENDREP:
                if self.holds(row, result, carry):
                    self.branched = self.start
                return
            if kind is Next.JUMP:
                address = row["target"]
            elif kind is Next.CALL:
                returns, address = address + 1, row["target"]
            elif kind is Next.RET:
                address = returns
            elif kind in (Next.BR, Next.BRT) and self.holds(row, result, carry):
                address = row["target"]
            else:
                address += 1
            row = self.rom.fields[address]

    def deliver(self, fault: Fault) -> None:
        """Deliver a fault and whatever its delivery leads to."""
        state = self.state
        software = isinstance(fault, Software)
        first = True
        if not software or self.insn.form.operation in ("int3", "into"):
            self.ask_exception(fault)
        while True:
            state.gpr[4] = self.mark
            if not first:
                self.ask_exception(fault)
            if fault.cr2 is not None:
                state.cr2 = fault.cr2
            if not first:
                outcome = combine(None if self.is_interrupt else self.vector, fault.vector)
                if outcome is Combination.SHUTDOWN:
                    if state.svm.guest and state.svm.intercepts_code(ExitCode.SHUTDOWN):
                        raise VmExit(ExitCode.SHUTDOWN)
                    state.shutdown, state.eip = True, self.start
                    return
                if outcome is Combination.DOUBLE_FAULT:
                    fault = Fault(8, 0)
                    self.ask_exception(fault)
                software = False
            self.is_interrupt = software and fault.checked
            self.vector, self.error = fault.vector, fault.error or 0
            self.soft = software and fault.checked
            self.ext = not self.soft
            self.has_error = not software and fault.vector in VECTORS_WITH_ERROR_CODE
            self.rf = not software and fault.vector != 8
            self.eeip = self.next if software else self.start
            self.active, first = True, False
            self.mark = state.gpr[4]
            self.begin_delivery(fault.vector, self.error if self.has_error else None,
                                software and self.insn.form.operation == "int")
            try:
                self.run({"next": Next.JUMP, "target": "event"}, None)
            except Fault as second:
                fault = second
                continue
            state.eip = self.branched
            return

    # operands

    def size(self, size: Size) -> int:
        """In bytes."""
        opsize, adsize = (4, 4) if self.active else (self.insn.opsize, self.insn.adsize)
        return {Size.B: 1, Size.W: 2, Size.D: 4, Size.V: opsize, Size.A: adsize,
                Size.S: 4 if self.state.segments[2].big else 2}[size]

    def register(self, reg: Reg) -> tuple[int, bool]:
        """Row number, and whether the name may be AH..BH."""
        names = {Reg.RM: self.insn.rm, Reg.REG: self.insn.reg, Reg.OPREG: self.insn.form.opcode & 7}
        return (names[reg], True) if reg in names else (int(reg), False)

    def read_register(self, reg: Reg, byte: bool) -> int:
        number, named = self.register(reg)
        if byte and named and number >= 4:
            return self.state.gpr[number - 4] >> 8 & 0xFF
        return self.state.gpr[number] if number < 8 else self.t[number]

    def write_register(self, reg: Reg, value: int, size: int) -> None:
        number, named = self.register(reg)
        shift = 0
        if size == 1 and named and number >= 4:
            number, shift = number - 4, 8
        mask = (1 << 8 * size) - 1 << shift
        file = self.state.gpr if number < 8 else self.t
        file[number] = file[number] & ~mask & M32 | value << shift & mask

    def operand(self, src, row: dict) -> int:
        if src < 32:
            return self.read_register(Reg(src), row["size"] is Size.B)
        insn = self.insn
        return {
            Src.SYS: lambda: self.read_sys(row), Src.IMM: lambda: (insn.imm or 0) & M32, Src.MEM: lambda: self.loaded,
            Src.EIP: lambda: self.start, Src.NEXT: lambda: self.next,
            Src.CONST: lambda: self.rom.constants[row.get("const", 0)], Src.ZERO: lambda: 0,
            Src.IMM2: lambda: insn.imm2 or 0, Src.ADDR: lambda: self.linear_address,
            Src.RM_NUMBER: lambda: insn.rm | 1 << 31,
        }[Src(src)]()

    # A and M

    def address(self, row: dict) -> None:
        amode, width = row.get("amode", Amode.NONE), self.size(row["width"])
        aseg, base_reg = row.get("aseg", Aseg.ES), Reg(row.get("base", 0))
        gpr, insn = self.state.gpr, self.insn
        base = self.read_register(base_reg, False) if amode not in (Amode.NONE, Amode.MODRM) else 0
        constant = self.rom.constants[row.get("const", 0)] if row["alu"] not in NUMBERED else 0
        small_stack = not self.state.segments[2].big
        wrap = False
        if amode is Amode.MODRM:
            base = sum(gpr[r] << s for r, s in ((insn.base, 0), (insn.index, insn.scale)) if r is not None) + insn.disp
            wrap = insn.adsize == 2
        elif amode is Amode.PUSH:
            base, wrap = base - width, small_stack
        elif amode is Amode.POP:
            base, wrap = base + constant, small_stack
        elif amode in (Amode.BASE, Amode.FLAT):
            base, wrap = base + constant, amode is Amode.BASE and self.size(Size.A) == 2
        elif amode is Amode.STACK:
            base, wrap = base + constant, not self.cache(aseg).big
        offset = base & (0xFFFF if wrap else M32)
        lin = aseg in (Aseg.LIN, Aseg.PHYS)
        self.linear_address = offset if lin else offset + self.cache(aseg).base & M32
        mem = row["mem"]
        if mem is not Mem.NONE:
            user = self.state.cpl == 3 and not row.get("supervisor") and not lin
            self.access(mem, aseg, offset, width, user)
        self.stepped = None
        step = row.get("step", Step.NONE)
        if step is not Step.NONE:
            reg, delta = (base_reg, width) if step is Step.STRING else (Reg.ESP, width)
            if step is Step.PUSH or step is Step.STRING and self.state.system_flags & Eflags.DF:
                delta = -width
            half = self.size(Size.A) == 2 if step is Step.STRING else small_stack
            self.stepped = (reg, gpr[reg] + delta, 2 if half else 4)

    def access(self, mem: Mem, aseg: Aseg, offset: int, width: int, user: bool) -> None:
        if aseg is Aseg.PHYS:
            if mem is Mem.LOAD:
                self.loaded = self.memory.read(offset, width)
            return
        if aseg is not Aseg.LIN and not span_allowed(self.cache(aseg), offset, width, mem is not Mem.LOAD):
            ext = int(self.active and self.ext)
            if aseg in self.caches:
                raise Fault(12, self.caches[aseg].selector & 0xFFFC | ext)
            raise Fault(12 if aseg is Aseg.SS or aseg is Aseg.EFF and self.insn.segment == 2 else 13, ext)
        if mem is Mem.LOAD:
            self.loaded = self.read(self.linear_address, width, user)
        elif mem is Mem.RMW:
            self.loaded = self._gather(self.pieces(self.linear_address, width, True, user))
        else:
            self.pieces(self.linear_address, width, True, user)
            self.store_at = (self.linear_address, width, user)

    # X

    def execute(self, row: dict) -> tuple[int, int]:
        """One row; its result cut to its size, and its carry."""
        if row.get("intercept"):
            self.ask(row)
        self.address(row)
        size = self.size(row["size"])
        mask = (1 << 8 * size) - 1
        a, b = self.operand(row["a"], row), self.operand(row["b"], row)
        alu = row["alu"]
        value, carry, overflow = self.compute(alu, a, b, size, row)
        result = value & mask
        if row["mem"] is Mem.STORE:
            self.store(row, value)
        if self.stepped is not None:
            self.write_register(*self.stepped)
        if row["dst"] is not Reg.NONE:
            self.write_register(row["dst"], value, 2 if alu in (Alu.MUL, Alu.DIV) and size == 1 else size)
        adjust = (a ^ b ^ result) & 0x10 if alu in (Alu.ADD, Alu.ADC, Alu.SUB, Alu.SBB) else 0
        self.write_flags(row["flags"], result, size, carry, overflow, adjust)
        return result, carry

    def store(self, row: dict, value: int) -> None:
        if row["aseg"] is Aseg.PHYS:
            width = self.size(row["width"])
            self.memory.write(self.linear_address, width, value & (1 << 8 * width) - 1)
            self.writes.append((self.linear_address, width, value & (1 << 8 * width) - 1))
        else:
            linear, width, user = self.store_at
            self.write(linear, width, value & (1 << 8 * width) - 1, user)

    def compute(self, alu: Alu, a: int, b: int, size: int, row: dict) -> tuple[int, int, int]:
        bits = 8 * size
        mask = (1 << bits) - 1
        am, bm = a & mask, b & mask
        cf = self.state.fc
        if alu in (Alu.ADD, Alu.ADC):
            total = am + bm + (cf if alu is Alu.ADC else 0)
            return total, total >> bits, (am ^ total) & (bm ^ total)
        if alu in (Alu.SUB, Alu.SBB):
            total = am - bm - (cf if alu is Alu.SBB else 0)
            return total, int(total < 0), (am ^ bm) & (am ^ total)
        count = b & 31
        index = b & bits - 1
        simple = {
            Alu.MOV: lambda: b, Alu.AND: lambda: a & b, Alu.OR: lambda: a | b, Alu.XOR: lambda: a ^ b,
            Alu.ZX8: lambda: b & 0xFF, Alu.ZX16: lambda: b & 0xFFFF,
            Alu.SX16: lambda: (b & 0xFFFF ^ 0x8000) - 0x8000 & M32,
            Alu.SHL: lambda: am << count, Alu.SHR: lambda: am >> count,
            Alu.SAR: lambda: ((am ^ 1 << bits - 1) - (1 << bits - 1)) >> count,
            Alu.ROL: lambda: am << count % bits | am >> bits - count % bits,
            Alu.MUL: lambda: am * bm, Alu.BT: lambda: a,
            Alu.BTS: lambda: a | 1 << index, Alu.BTR: lambda: a & ~(1 << index), Alu.BTC: lambda: a ^ 1 << index,
            Alu.ROM: lambda: CPUID_ROM[a], Alu.IN: lambda: self.io.read(a & 0xFFFF, size),
            Alu.LIMIT: lambda: self._limit(a, b),
        }
        if alu in simple:
            value = simple[alu]()
            return value, int(alu in (Alu.BT, Alu.BTS, Alu.BTR, Alu.BTC) and bool(a >> index & 1)), 0
        getattr(self, f"_{alu.name.lower()}")(a, b, size, row)
        return (self._quotient if alu is Alu.DIV else b), 0, 0

    @staticmethod
    def _limit(high: int, low: int) -> int:
        raw = low & 0xFFFF | high & 0xF_0000
        return raw << 12 | 0xFFF if high & 1 << 23 else raw

    def _div(self, a: int, b: int, size: int, row: dict) -> None:
        assert size == 1
        if not b & 0xFF:
            raise Fault(0)
        self._quotient = a // b | a % b << 8

    def _out(self, a: int, b: int, size: int, row: dict) -> None:
        self.io.write(a & 0xFFFF, size, b & (1 << 8 * size) - 1)

    def _jmpi(self, a: int, b: int, size: int, row: dict) -> None:
        self.branched = a & ((1 << 8 * size) - 1)

    def _check(self, a: int, b: int, size: int, row: dict) -> None:
        outcome = check_descriptor(Check(row["const"]), a, b, self.state.cpl, self.ncpl, self.active and self.soft,
                                   self.active and self.ext)
        if outcome is not None:
            raise Fault(*outcome)

    def _fault(self, a: int, b: int, size: int, row: dict) -> None:
        raise Fault(row["const"], a)

    def _softint(self, a: int, b: int, size: int, row: dict) -> None:
        raise Software(a & 0xFF, not b & 1)

    def _halt(self, a: int, b: int, size: int, row: dict) -> None:
        self.state.halted = True

    def _desc(self, a: int, b: int, size: int, row: dict) -> None:
        cache = self.cache(row["sreg"])
        cache.base, cache.limit = b >> 16 | (a & 0xFF) << 16 | a & 0xFF00_0000, self._limit(a, b)
        cache.attributes = a >> 8 & 0xFF | a >> 12 & 0xF00

    def _popf(self, a: int, b: int, size: int, row: dict) -> None:
        self._load_flags(a, size, 0)

    def _iretf(self, a: int, b: int, size: int, row: dict) -> None:
        self._load_flags(a, size, int(Eflags.RF) if size == 4 else 0)

    def _load_flags(self, image: int, size: int, extra: int) -> None:
        state = self.state
        mask = extra | int(Eflags.CF | Eflags.PF | Eflags.AF | Eflags.ZF | Eflags.SF | Eflags.OF | Eflags.TF
                           | Eflags.DF | Eflags.NT)
        if size == 4:
            mask |= int(Eflags.AC | Eflags.ID)
        if state.cpl == 0:
            mask |= int(Eflags.IOPL)
        if state.cpl <= state.iopl:
            mask |= int(Eflags.IF)
        state.eflags = state.eflags & ~mask | image & mask

    def write_flags(self, which: FlagSet, result: int, size: int, carry: int, overflow: int, adjust: int) -> None:
        if which is FlagSet.NONE:
            return
        new = adjust | carry & 1 | (bin(result & 0xFF).count("1") & 1 ^ 1) << 2 | (not result) << 6
        new |= (result >> 8 * size - 1 & 1) << 7 | (overflow >> 8 * size - 1 & 1) << 11
        mask = {FlagSet.ALL: 0x8D5, FlagSet.ZF: 0x40, FlagSet.CF: 1}[which]
        self.state.set_arithmetic_flags(self.state.eflags & ~mask | new & mask)

    def holds(self, row: dict, result: int, carry: int) -> bool:
        cond = row["cond"]
        zf = bool(self.state.eflags & Eflags.ZF)
        more = result != 0 and (cond in (Cond.REP, Cond.REP_GO) or zf == (self.insn.rep == "rep"))
        # the golden model does one iteration at a time: always leave the loop
        return {Cond.Z: result == 0, Cond.NZ: result != 0, Cond.C: bool(carry), Cond.NC: not carry,
                Cond.S: bool(result >> 8 * self.size(row.get("size", Size.D)) - 1),
                Cond.REP: more, Cond.REPZ: more, Cond.REP_GO: False, Cond.REPZ_GO: False}[cond]
