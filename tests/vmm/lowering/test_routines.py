"""The machine's routines do the same as Python and as native code, on random machines."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rtl.isa.exceptions import VECTORS_WITH_ERROR_CODE
from rtl.isa.registers import Cr0
from rtl.isa.segments import descriptor
from tests.vmm.lowering.world import DATA, GATES, GDT, IDT, RAM, TASKS, TSS, World, fault_words
from vmm.engine.interrupt import Source
from vmm.faults import Fault, Unsupported

TASK_SELECTOR = 0x28
Draw = Callable[[World, random.Random], tuple[Any, ...]]


def _far(world: World, rng: random.Random) -> tuple[Any, ...]:
    target = world.code(world.state.cpl) if rng.random() < 0.4 else world.selector(rng.choice((GATES, GATES + 1, None)))
    return target, rng.getrandbits(16), rng.choice((16, 32)), rng.getrandbits(32)


def _linear(world: World, rng: random.Random) -> int:
    return rng.randrange(RAM) if rng.random() < 0.8 else rng.getrandbits(32)


def _size(rng: random.Random) -> int:
    return rng.choice((1, 2, 4))


#: Arguments of every routine that is compared.
ROUTINES: dict[str, Draw] = {
    "software_interrupt": lambda w, r: (r.randrange(50), r.getrandbits(32)),
    "icebp": lambda w, r: (r.getrandbits(32),),
    "interrupt_return": lambda w, r: (r.choice((16, 32, 32, 32)), r.getrandbits(32)),
    "load_segment": lambda w, r: (r.choice((0, 2, 3, 4, 5)), w.selector(DATA, r.choice((w.state.cpl, 3)))),
    "sysenter": lambda w, r: (),
    "sysexit": lambda w, r: (),
    "read_control": lambda w, r: (r.choice((0, 2, 3, 4)),),
    "write_control": lambda w, r: (r.choice((0, 2, 3, 4)), r.getrandbits(32) & r.choice((0xFFFF_FFFF, 0x8005_009F))),
    "load_status_word": lambda w, r: (r.getrandbits(16),),
    "invalidate_page": lambda w, r: (r.randrange(6), r.getrandbits(32)),
    "clear_interrupt_flag": lambda w, r: (),
    "set_interrupt_flag": lambda w, r: (),
    "popf": lambda w, r: (r.getrandbits(32), r.choice((16, 32))),
    "clear_task_switched": lambda w, r: (),
    "far_jump": _far,
    "far_call": _far,
    "far_return": lambda w, r: (r.choice((16, 32, 32)), r.choice((0, 0, 4, 8))),
    "load_ldt": lambda w, r: (w.selector(GATES + 2) & ~4,),
    "load_task": lambda w, r: (w.selector(TASKS),),
    "verify": lambda w, r: (w.selector(), r.randrange(2)),
    "access_rights": lambda w, r: (w.selector(),),
    "segment_limit": lambda w, r: (w.selector(),),
    "check_port": lambda w, r: (r.getrandbits(16) if r.random() < 0.2 else r.getrandbits(10), _size(r)),
    "load_gdtr": lambda w, r: (r.getrandbits(32), r.getrandbits(16)),
    "idtr_limit": lambda w, r: (),
    "halt": lambda w, r: (),
    "x87_wait": lambda w, r: (),
    "identify": lambda w, r: (),
    "read_debug": lambda w, r: (r.randrange(8),),
    "load": lambda w, r: (_linear(w, r), _size(r), r.randrange(6)),
    "load_for_write": lambda w, r: (_linear(w, r), _size(r), r.randrange(6)),
    "store": lambda w, r: (_linear(w, r), _size(r), r.getrandbits(8), r.randrange(6)),
    "linear": lambda w, r: (r.randrange(6), _linear(w, r), _size(r), r.randrange(2)),
    "probe": lambda w, r: (r.randrange(6), _linear(w, r), _size(r), r.random() < 0.5),
    "mmu.translate": lambda w, r: (_linear(w, r), r.random() < 0.5, r.random() < 0.5),
}


def signed(value: Any) -> Any:
    return (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)


@pytest.mark.parametrize("routine", ROUTINES)
def test_routine_does_the_same(routine: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        world = World(seed)
        arguments = ROUTINES[routine](world, random.Random(seed))
        native = world.in_native(routine, tuple(int(argument) for argument in arguments))
        if native is None:
            seen["bailed"] += 1
            continue
        python = world.in_python(routine, arguments)
        assert python.result is not Unsupported, seed
        assert native.fault == python.fault, seed
        assert native.image == python.image, seed
        assert native.ram == python.ram, seed
        if python.fault is None and python.result is not None:
            assert native.result[0] == signed(python.result), seed
        seen["faulted" if python.fault else "succeeded"] += 1
    assert seen["bailed"] <= 20, seen
    assert seen["succeeded"] > 5, seen


@pytest.mark.parametrize("source", (Source.EXCEPTION, Source.EXTERNAL))
def test_delivery_does_the_same(source: Source) -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        world = World(seed)
        # with alignment checks a misaligned stack of a handler at CPL 3 is one #AC after the other, without end
        world.state.cr0 &= ~int(Cr0.AM)
        rng = random.Random(seed)
        vector = rng.randrange(15) if source is Source.EXCEPTION else rng.randrange(32, 50)
        has_error = source is Source.EXCEPTION and vector in VECTORS_WITH_ERROR_CODE
        error = rng.getrandbits(16) & ~1 if has_error else None
        fault = Fault(vector, error, rng.getrandbits(32) if vector == 14 else None)
        resume = rng.random() < 0.5
        native = world.in_native("raise_fault", (*fault_words(fault), resume, list(Source).index(source)))
        if native is None:
            seen["bailed"] += 1
            continue
        python = world.in_python("raise_fault", (fault, resume, source))
        assert native.image == python.image, seed
        assert native.ram == python.ram, seed
        vector, error, has_error, *_, delivered = native.result[:6]
        assert ((vector, error if has_error else None) if delivered else None) == python.result, seed
        met_another = python.result is not None and python.result[0] != int(fault.vector)
        seen["shutdown" if python.result is None else "other" if met_another else "first"] += 1
    assert seen["bailed"] < 40 and min(seen["shutdown"], seen["first"], seen["other"]) > 5, seen


@pytest.mark.parametrize("external", (False, True))
def test_taking_an_event_is_what_a_step_does(external: bool) -> None:
    seen: Counter[bool] = Counter()
    for seed in range(60):
        world = World(seed)
        world.state.cr0 &= ~int(Cr0.AM)
        world.state.halted, world.state.repeating, world.state.shadow = seed % 2 == 0, seed % 3 == 0, 1
        fault = Fault(0x21) if external else Fault(14, 4, 0x1234)
        native = world.native()
        state = native.state
        state.fault_vector, state.fault_error, state.fault_cr2 = 14, 4, 0x1234
        state.fault_has_error = state.fault_has_cr2 = True
        before = state.to_dict()
        outcome = native.call("take_interrupt", (0x21,)) if external else native.call("deliver_pending", ())
        if outcome is None:
            assert (state.fault_vector, state.fault_error, state.fault_cr2) == (14, 4, 0x1234)
            after = state.to_dict()
            assert {name for name in before if before[name] != after[name]} <= {"cr2"}, seed
            continue
        python = world.in_python("_deliver", (fault, not external or world.state.repeating,
                                              Source.EXTERNAL if external else Source.EXCEPTION))
        assert outcome.image == python.image and outcome.ram == python.ram, seed
        assert outcome.result[0] == (not outcome.image["shutdown"])
        seen[bool(outcome.result[0])] += 1
    assert seen[True] > 5, seen


def test_a_delivery_that_bails_leaves_the_pending_fault() -> None:
    """Symptom: #PF met #NP on a bad gate, the #DF went through a task gate, and the interpreter delivered #NP."""
    world = World(0)
    world.state.cr0 &= ~(1 << 31)
    absent, task = 0x0E00 << 32, 0x8500 << 32 | TASK_SELECTOR << 16
    for vector, gate in ((14, absent), (11, absent), (8, task)):
        world.put64(IDT + 8 * vector, gate)
    world.put64(GDT + TASK_SELECTOR, descriptor(TSS, 0x67, 0x89, 0))
    native = world.native()
    state = native.state
    state.fault_vector, state.fault_error, state.fault_cr2 = 14, 4, 0x1234
    state.fault_has_error = state.fault_has_cr2 = True
    assert native.call("deliver_pending", ()) is None
    assert (state.fault_vector, state.fault_error, state.fault_cr2, state.fault_has_cr2) == (14, 4, 0x1234, 1)
