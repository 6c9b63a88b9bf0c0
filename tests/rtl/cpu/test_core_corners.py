"""Corners of single instructions that only the connected processor shows."""

from .board_bench import CODE, LOAD_TABLES, STACK, run, tables

_NMI_PENDING, _NMI_BLOCKED = (f"core.exceptions.boundary.nmi_{name}" for name in ("pending", "blocked"))


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


def test_breakpoint_of_a_load_of_ss_waits_for_the_handler_of_int():
    """DR0 = 2104h, accesses of 4 bytes; MOV SS, [2104h]; INT 21h: the trap comes before the handler's first
    instruction (SDM vol. 3A, 6.8.3). INT used to forget it."""
    end = run(LOAD_TABLES, "BE04210000", "0F23C6", "BE02000F00", "0F23FE", "8E1504210000", "CD21",
              words=tables(v1="58", v33="40") | {0x2104: 16, 0x4010: 0x0000FFFF, 0x4014: 0x00CF9300})
    assert end.eax == 0x6040 and end.system("dr6") & 0xF == 1


def test_no_instruction_breakpoint_behind_a_load_of_ss():
    """DR0 at the instruction behind MOV SS, DR1 at the one after that: only the second stops."""
    code = (LOAD_TABLES, "B810000000", "BE28100000", "0F23C6", "46", "0F23CE", "BE05000000", "0F23FE", "8ED0", "40",
            "40")
    place = CODE + len(bytes.fromhex("".join(code))) - 2
    patched = "".join(code).replace("BE28100000", "BE" + place.to_bytes(4, "little").hex())
    end = run(patched, words=tables(v1="58") | {0x4010: 0x0000FFFF, 0x4014: 0x00CF9300})
    assert end.eax == place + 1 and end.system("dr6") & 0xF == 2


def test_data_breakpoint_on_the_frame_of_an_exception():
    """DR0 at the lowest word of the frame of #UD: the delivery writes it, the trap comes in the handler."""
    low = STACK - 12
    end = run(LOAD_TABLES, "BE" + low.to_bytes(4, "little").hex(), "0F23C6", "BE02000F00", "0F23FE", "0F0B",
              words=tables(v1="58", v6="40"))
    assert end.eax == 0x6040 and end.system("dr6") & 0xF == 1


def test_instruction_breakpoint_comes_before_the_walk_of_its_instruction():
    """Paging on, DR0 at MOV [20000h], EAX: the handler finds A and D of that page clear.

    The store used to be translated first, and an uncached load read, on behalf of an instruction that never began.
    """
    table, directory = 0xA000, 0xB000
    pages = {table + 4 * number: number << 12 | 3 for number in range(64)}
    before = LOAD_TABLES + "B800B00000" "0F22D8" "0F20C0" "0D00000080" "0F22C0" "BE02040000" "0F23FE"
    place = CODE + len(before) // 2 + 8
    code = before.replace("BE02040000", "BE" + place.to_bytes(4, "little").hex() + "0F23C6" "BE02040000")
    end = run(code, "A300000200", words=tables(v1="A180A00000") | pages | {directory: table | 3})
    assert end.eax == 0x20003 and end.system("dr6") & 0xF == 1


def test_nmi_goes_before_the_next_instruction():
    """With interrupts off, through gate 2; the handler's HLT is not left again. POP EAX gives the place it came at."""
    end = run("40", words=tables(v2="58"), pokes={
        _NMI_PENDING: 1, "core.sysregs.idt_base": 0x3000, "core.sysregs.idt_limit": 0x7FF,
        "core.sysregs.gdt_base": 0x4000, "core.sysregs.gdt_limit": 0xFF})
    assert end.eax == CODE and end.esp == STACK - 8
    assert end.engine.peek(_NMI_BLOCKED) and not end.engine.peek(_NMI_PENDING)


def test_iret_lets_nmis_in_even_if_it_faults():
    """SDM vol. 3A, 6.7.1. The null selector on the stack is #GP(0); in its handler an NMI is taken that has waited."""
    end = run("6A00" "6A00" "6A00" "CF", words=tables(v13="90", v2="58"), pokes={
        _NMI_PENDING: 1, _NMI_BLOCKED: 1, "core.sysregs.idt_base": 0x3000,
        "core.sysregs.idt_limit": 0x7FF, "core.sysregs.gdt_base": 0x4000, "core.sysregs.gdt_limit": 0xFF})
    assert end.esp == STACK - 12 - 16 - 8 and end.engine.peek(_NMI_BLOCKED)
