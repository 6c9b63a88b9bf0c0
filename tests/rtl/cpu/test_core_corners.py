"""Corners of single instructions that only the connected processor shows."""

from .board_bench import CODE, LOAD_TABLES, STACK, run, tables


def test_pop_sp_steps_all_of_esp():
    """The step carries into the upper half of ESP, the popped word then replaces the lower one.

    The step used to be dropped when both wrote ESP: the carry was lost.
    """
    assert run("BCFEFF0000", "665C", words={0xFFFC: 0x5678_0000}).esp == 0x0001_5678
    assert run("BC00800000", "5C", words={0x8000: 0x1234_5678}).esp == 0x1234_5678


def test_wait_is_an_instruction():
    """WAIT without CR0.MP and TS does nothing. It used to stop the front end for good."""
    assert run("9B", "B801000000").eax == 1


def test_wait_with_task_switched():
    """#NM: MOV EAX, CR0; OR EAX, MP + TS; MOV CR0, EAX; WAIT."""
    end = run(LOAD_TABLES, "0F20C0", "83C80A", "0F22C0", "9B", words=tables(v7="58"))
    assert end.eax == CODE + 14 + 9


def test_data_breakpoint_far_from_address_zero():
    """DR0 = 2104h, writes of 4 bytes; MOV [2106h], AL: a trap behind it, with DR6.B0.

    The comparator used to forget all but the lowest two bits of DR0.
    """
    end = run(LOAD_TABLES, "BE04210000", "0F23C6", "BE02000D00", "0F23FE", "A206210000", "40", words=tables(v1="58"))
    assert end.eax == CODE + 14 + 21 and end.system("dr6") & 0xF == 1


def test_sixteen_bytes():
    """Fourteen prefixes and UD2: #GP(0), since the sixteenth byte is never looked at."""
    end = run(LOAD_TABLES, "66" * 14 + "0F0B", words=tables(v6="B806000000", v13="B80D000000"))
    assert end.eax == 13 and end.esp == STACK - 16
