"""The assembler of microprograms: what it lays out, what it refuses and in which words."""
from pathlib import Path

import pytest

from rtl.cpu import microasm
from rtl.cpu.decode_rom import build
from rtl.cpu.microasm import K, Library, MicrocodeError, Y, assemble
from rtl.cpu.microcode import assembled
from rtl.cpu.microcode.listing import listing
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, Mem, Next, Reg, Src, Sys, Uop

DOCS = Path(__file__).parents[3] / "docs"


def library(**programs) -> Library:
    made = Library()
    for name, build_program in programs.items():
        made.program(name)(build_program)
    return made


def test_row_0_jumps_to_the_microcode_rom_and_the_others_follow():
    def three(p):
        p(alu=Alu.MOV, b=K(7), dst=Reg.T0)
        p.label("loop")
        p(alu=Alu.SUB, a=Reg.T0, b=K(1), dst=Reg.T0, next=Next.BR, cond=Cond.NZ, target="loop")
        p(alu=Alu.WRSYS, b=Reg.T0, sys=Sys.SEL, sreg=Aseg.SS)

    made = library(one=lambda p: p(alu=Alu.MOV), three=three)
    made.routine("shared")(lambda p: p(next=Next.JUMP, target="shared"))
    rom = assemble(made)
    assert rom.first("one")["next"] is Next.END
    assert rom.first("three") | {"const": 0} == dict(
        alu=Alu.MOV, b=Src.CONST, const=0, dst=Reg.T0, next=Next.JUMP, target=0)
    assert rom.where == ["three+1", "three+2", "shared+0"]
    assert rom.entry == {"shared": 2}
    assert [(row["next"], row.get("target")) for row in rom.fields] == [(Next.BR, 0), (Next.END, None), (Next.JUMP, 2)]
    assert [rom.constants[row.get("const", 0)] for row in rom.fields] == [1, 0, 0]
    uop = Uop.from_bits(rom.rows[0])
    assert (uop.alu, uop.b, uop.dst, uop.cond, uop.target) == (Alu.SUB, Src.CONST, Reg.T0, Cond.NZ, 0)


def test_deferred_rows_come_last_and_their_end_is_closed():
    def program(p):
        p()
        p.defer(lambda: (p.label("aside"), p(dst=Reg.T1)))
        p(next=Next.BR, cond=Cond.Z, target="aside")
        p(dst=Reg.T0)

    rom = assemble(library(program=program))
    assert [(row.get("dst"), row["next"]) for row in rom.fields] == [
        (None, Next.BR), (Reg.T0, Next.END), (Reg.T1, Next.END)]
    assert rom.fields[0]["target"] == 2


def test_equal_constants_share_a_row_and_numbers_take_none():
    rom = assemble(library(program=lambda p: (p(), p(b=K(5)), p(a=K(5)), p(alu=Alu.FAULT, const=13))))
    assert rom.constants == [0, 5]
    assert rom.fields[-1]["const"] == 13


def test_a_fallback_makes_a_routine_when_it_is_first_wanted():
    made = library(program=lambda p: (p(), p(next=Next.JUMP, target="made.3")))
    made.fallback = lambda name: (lambda p: p(alu=Alu.FAULT, const=int(name[5:]))) if name[:5] == "made." else None
    rom = assemble(made)
    assert rom.entry == {"made.3": 1}


@pytest.mark.parametrize("row, message", [
    (dict(next=Next.JUMP, target="nowhere"), "bad goes to nowhere, which is neither its label nor a routine"),
    (dict(colour=3), "row 1 of bad has a field colour that a micro-operation does not have"),
    (dict(a=K(1), b=K(2)), "row 1 of bad needs two values of const: 1 and 2"),
    (dict(a=Y(Sys.CR0), b=Y(Sys.CR2)), "row 1 of bad needs two values of sys: 0 and 1"),
    (dict(a=K(4), mem=Mem.LOAD, amode=Amode.FLAT), "row 1 of bad would add its constant 4 to the address too"),
    (dict(alu=Alu.FAULT, const=300), "bad+1 has const = 300, which does not fit 8 bits"),
])
def test_rows_that_cannot_be(row, message):
    with pytest.raises(MicrocodeError) as error:
        assemble(library(bad=lambda p: (p(), p(**row))))
    assert str(error.value) == message


@pytest.mark.parametrize("build_program, message", [
    (lambda p: (p(next=Next.BR, cond=Cond.Z, target="x"), p.label("x"), p()),
     "row 0 of bad is in the decode ROM and may not be BR"),
    (lambda p: (p.label("x"), p(), p()), "row 0 of bad is in the decode ROM and may not have a label"),
    (lambda p: (p(), p.label("x"), p.label("x")), "bad has the label x twice"),
    (lambda p: (p(), p.label("x")), "the label x of bad has no row"),
    (lambda p: None, "bad has no rows"),
])
def test_programs_that_cannot_be(build_program, message):
    with pytest.raises(MicrocodeError) as error:
        assemble(library(bad=build_program))
    assert str(error.value) == message


def test_two_programs_of_one_name():
    made = library(twice=lambda p: p())
    with pytest.raises(MicrocodeError, match="^there are two microprograms named twice$"):
        made.routine("twice")(lambda p: p())


def test_full_roms(monkeypatch):
    monkeypatch.setattr(microasm, "ROM_ROWS", 2)
    with pytest.raises(MicrocodeError, match="^the microprograms need 3 rows and the microcode ROM has 2$"):
        assemble(library(big=lambda p: [p() for _ in range(4)]))
    monkeypatch.setattr(microasm, "CONSTANT_ROWS", 2)
    with pytest.raises(MicrocodeError, match="^the constant ROM of 2 rows has no room for 0x8$"):
        assemble(library(many=lambda p: (p(b=K(8)), p(b=K(9)))))


def test_every_form_has_a_first_row_and_the_constants_fit():
    roms = build(assembled())
    assert len(roms.opcodes) == 512
    assert len(assembled().constants) <= microasm.CONSTANT_ROWS


def test_listing_in_the_docs_is_current():
    assert (DOCS / "microcode.md").read_text() == listing(assembled()), (
        "run python -m rtl.cpu.microcode.listing docs/microcode.md")
