"""The register file against an array of registers."""

import random

from rtl.cpu.regfile import RegisterFile
from rtl.cpu.uop import Reg, Size
from rtl.isa.registers import Gpr
from tests.rtl.simulation import simulate

_M32 = 0xFFFF_FFFF
_TEMPS = [register for register in Reg if Reg.T0 <= register <= Reg.T15]


class _Model:
    """Registers by row number, and the ESP remembered."""

    def __init__(self):
        self.rows = [0] * 24
        self.mark = 0

    def write(self, row, size, high, data):
        if row >= Reg.T0:
            self.rows[row] = data & {Size.B: 0xFF, Size.W: 0xFFFF, Size.D: _M32}[size]
        elif high:
            self.rows[row] = self.rows[row] & ~0xFF00 | (data & 0xFF) << 8
        else:
            mask = {Size.B: 0xFF, Size.W: 0xFFFF, Size.D: _M32}[size]
            self.rows[row] = self.rows[row] & ~mask | data & mask

    def step(self, inputs):
        esp = self.rows[Reg.ESP]
        if inputs["x_step"]:
            mask = 0xFFFF if inputs["x_step_half"] else _M32
            row = inputs["x_step_reg"]
            self.rows[row] = self.rows[row] & ~mask | inputs["x_step_data"] & mask
        if inputs["x_write"]:
            self.write(inputs["x_dst"], inputs["x_size"], inputs["x_high"], inputs["x_data"])
        if inputs["x_restore"]:
            self.rows[Reg.ESP] = self.mark
        if inputs["x_mark"]:
            self.mark = esp


def _run(sequence):
    """Drive inputs cycle by cycle; reads are compared before every edge."""
    dut, model, rng = RegisterFile(), _Model(), random.Random(5)
    idle = dict.fromkeys(("x_write", "x_step", "x_mark", "x_restore", "x_high", "x_step_half"), 0)

    async def bench(ctx):
        for inputs in sequence:
            reads = {"a_base": rng.randrange(24), "a_index": rng.randrange(8), "x_a": rng.randrange(24),
                     "x_b": rng.randrange(24), "x_a_high": rng.getrandbits(1), "x_b_high": rng.getrandbits(1)}
            for name, value in (idle | inputs | reads).items():
                ctx.set(getattr(dut, name), value)
            rows = model.rows
            assert ctx.get(dut.a_base_data) == rows[reads["a_base"]]
            assert ctx.get(dut.a_index_data) == rows[reads["a_index"]]
            for name in ("x_a", "x_b"):
                value = rows[reads[name]]
                expected = value >> 8 & 0xFF if reads[f"{name}_high"] else value
                assert ctx.get(getattr(dut, f"{name}_data")) == expected
            assert [ctx.get(dut.gpr[row]) for row in Gpr] == rows[:8]
            await ctx.tick()
            model.step(idle | inputs)

    simulate(dut, bench)
    return model


def _write(row, data, size=Size.D, **others):
    return {"x_write": 1, "x_dst": row, "x_size": size, "x_data": data} | others


def test_random_traffic():
    rng = random.Random(1)
    sequence = [_write(row, rng.getrandbits(32)) for row in range(24)]
    for _ in range(600):
        row = rng.choice((rng.randrange(8), rng.randrange(8), rng.choice(_TEMPS)))
        size = rng.choice((Size.B, Size.W, Size.D))
        # AH to BH are only ever byte registers of the first four rows.
        high = int(size == Size.B and row < 4 and rng.getrandbits(1))
        restore = int(rng.random() < 0.1)
        active = 0 if restore else 1
        sequence.append({
            "x_write": active & rng.getrandbits(1), "x_dst": row, "x_size": size, "x_high": high,
            "x_data": rng.getrandbits(32), "x_step": active & rng.getrandbits(1),
            "x_step_reg": rng.choice((Reg.ESP, Reg.ESI, row & 7)), "x_step_half": rng.getrandbits(1),
            "x_step_data": rng.getrandbits(32), "x_mark": active & int(rng.random() < 0.2), "x_restore": restore})
    _run([*sequence, {}])


def test_both_writes_of_one_register():
    """POP SP with a 32-bit stack: the step moves all of ESP, the popped word then replaces its lower half."""
    step = {"x_step": 1, "x_step_reg": Reg.ESP, "x_step_data": 0x0001_0000}
    model = _run([_write(Reg.ESP, 0x0000_FFFE), _write(Reg.ESP, 0x1234, Size.W, **step), {}])
    assert model.rows[Reg.ESP] == 0x0001_1234


def test_a_fault_brings_esp_back():
    """The mark is of ESP before the writes of the same cycle: those of the first micro-operation are undone too."""
    model = _run([_write(Reg.ESP, 0x1000), _write(Reg.ESP, 0x0FFC, x_mark=1), _write(Reg.ESP, 0x0FF8),
                  {"x_restore": 1}, {}])
    assert model.rows[Reg.ESP] == 0x1000
