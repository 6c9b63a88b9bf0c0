"""What the pipeline is told of instructions."""

from __future__ import annotations

import pytest

from rtl.isa.decoder import DecodeError, decode
from rtl.isa.opcodes import FORMS, OpMap
from tests.vmm.timing.code import COSTS, insns
from vmm.timing.shape import CLASSES, Flow, Shape, shape_of

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)


def shape(text: str) -> Shape:
    return shape_of(next(insns(text)))


def test_every_form_has_a_class_with_a_cost() -> None:
    met = set()
    for form in FORMS:
        for modrm in (value for value in range(256) if value & 7 in (1, 3)):
            if form.has_modrm and not form.accepts(modrm):
                continue
            code = bytes([0x0F] if form.map is OpMap.TWO_BYTE else []) + bytes([form.opcode, modrm]) + bytes([1] * 12)
            for prefix in (b"", b"\x66", b"\xF3"):
                try:
                    insn = decode(prefix + code)
                except DecodeError:
                    continue
                kind = shape_of(insn).kind
                assert kind in COSTS.cycles
                met.add(kind)
            if not form.has_modrm:
                break
    assert set(CLASSES) - met == {"enter"} | {
        name for name in CLASSES if name.startswith("each_")}


@pytest.mark.parametrize(("text", "kind", "flow"), [
    ("01c8", "simple", Flow.NEXT), ("0103", "rmw", Flow.NEXT), ("3903", "simple", Flow.NEXT),
    ("f7f1", "div32", Flow.NEXT), ("66f7f1", "div16", Flow.NEXT), ("f6f1", "div8", Flow.NEXT),
    ("0fafc1", "imul", Flow.NEXT), ("f7e9", "mul", Flow.NEXT), ("8703", "xchg_memory", Flow.NEXT),
    ("7500", "simple", Flow.CONDITIONAL), ("e2fe", "simple", Flow.CONDITIONAL), ("eb00", "simple", Flow.JUMP),
    ("e800000000", "simple", Flow.CALL), ("c3", "simple", Flow.RETURN), ("ffe0", "simple", Flow.INDIRECT),
    ("ff13", "call_memory", Flow.INDIRECT_CALL), ("cf", "iret", Flow.REFETCH), ("f4", "simple", Flow.REFETCH),
    ("f3a5", "rep_movs", Flow.REPEAT), ("a5", "movs", Flow.NEXT), ("fb", "simple", Flow.SYSTEM),
    ("8ed8", "load_segment", Flow.SYSTEM), ("1f", "load_segment", Flow.SYSTEM), ("1e", "simple", Flow.NEXT),
    ("0f22d8", "write_cr3", Flow.REFETCH), ("0f22d0", "simple", Flow.SYSTEM), ("ed", "in32", Flow.SYSTEM),
    ("66ed", "in16", Flow.SYSTEM), ("0f31", "rdtsc", Flow.SYSTEM), ("9c", "simple", Flow.NEXT),
])
def test_class_and_flow(text: str, kind: str, flow: Flow) -> None:
    assert (shape(text).kind, shape(text).flow) == (kind, flow)


def test_registers_of_addresses_and_results() -> None:
    load = shape("8b448b04")                # mov eax, [ebx + ecx*4 + 4]
    assert (load.address, load.full, load.loads, load.stores) == ((EBX, ECX), (EAX,), True, False)
    assert load.place == (EBX, ECX, 2, 4)
    store = shape("894500")                 # mov [ebp], eax
    assert (store.address, store.full, store.loads, store.stores) == ((EBP,), (), False, True)
    lea = shape("8d4304")                   # lea eax, [ebx + 4]
    assert (lea.address, lea.full, lea.loads) == ((EBX,), (EAX,), False)
    assert shape("88e3").part == (EBX,)     # mov bl, ah
    assert shape("6689c3").part == (EBX,)   # mov bx, ax
    assert shape("39c3").full == ()         # cmp ebx, eax
    assert shape("f7e1").full == (EAX, EDX)
    assert shape("a120000000").place == (-1, -1, 0, 0x20)


def test_stack_pointer_moves_in_address_generation() -> None:
    push, pop, leave = shape("53"), shape("5b"), shape("c9")
    assert (push.moves, push.stack, push.stores, push.place) == ((ESP,), -4, True, (ESP, -1, 0, -4))
    assert (pop.moves, pop.stack, pop.loads, pop.full) == ((ESP,), 4, True, (EBX,))
    assert (leave.address, leave.full) == ((EBP,), (EBP,))
    assert shape("c20800").stack == 12


def test_prefixes_count_once_each() -> None:
    assert shape("01c8").prefixes == 0
    assert shape("660103").prefixes == 1
    assert shape("f0640103").prefixes == 2
    assert shape("f3a5").prefixes == 1


def test_direction_of_a_branch() -> None:
    assert shape("75fe").backward and not shape("7502").backward
