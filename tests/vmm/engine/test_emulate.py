"""The emulated computer: stops, interrupts from devices, and that the way a run is cut does not matter."""


import pytest

from rtl.isa.retire import RetireCause
from tests.vmm.engine.machine import CODE, HANDLERS, RAM
from tests.vmm.engine.machine import computer as empty
from tests.vmm.engine.machine import machine as bare
from vmm.engine.emulate import EmulatedMachine, StopInfo, StopReason

pytestmark = pytest.mark.usefixtures("engine")


def computer(code: str) -> EmulatedMachine:
    """A computer with the tables of `machine`, about to run `code`."""
    template = bare(code)
    result = empty(RAM)
    result.memory.load_blob(0, template.memory.blob(0, RAM))
    result.cpu.state.load_dict(template.state.to_dict())
    result.cpu.state_changed()
    return result


# 8259: vectors 20h on, all masked but IRQ 0; 8254: channel 0, mode 2, 200 ticks
TIMER = ("b011 e620 b020 e621 b004 e621 b001 e621 b0fe e621 "
         "b034 e643 b0c8 e640 b000 e640 ")
#: INC EBP; end of interrupt; IRET
HANDLER = bytes.fromhex("45 50 b020 e620 58 cf")


def with_timer(code: str) -> EmulatedMachine:
    result = computer(TIMER + code)
    result.memory.load_blob(HANDLERS + 0x20, HANDLER)
    return result


def test_guest_exit_has_its_value() -> None:
    machine = computer("b02a e6f4 90 f4")
    assert machine.run(100) == StopInfo(StopReason.GUEST_EXIT, 0x2A)
    assert machine.cpu.state.eip == CODE + 4


def test_halt_with_interrupts_off_is_the_end() -> None:
    machine = computer("fa f4")
    assert machine.run(100) == StopInfo(StopReason.HALT_FOREVER)
    assert machine.cpu.state.instructions == 2


def test_halt_with_nothing_to_wake_it_is_the_end() -> None:
    assert computer("fb f4").run(100).reason is StopReason.HALT_FOREVER


def test_triple_fault() -> None:
    machine = computer("0f0b")
    machine.cpu.state.idtr_limit = 0
    assert machine.run(100) == StopInfo(StopReason.SHUTDOWN)


def test_reset_request() -> None:
    assert computer("b0fe e664 ebfe").run(100) == StopInfo(StopReason.RESET)


def test_limit_is_exact() -> None:
    machine = computer("ebfe")
    for total in (1, 10, 1000, 70_000):
        assert machine.run(total - machine.cpu.state.instructions).reason is StopReason.LIMIT
        assert machine.cpu.state.instructions == total


def test_timer_interrupts_a_loop_and_wakes_a_halt() -> None:
    machine = with_timer("fb ebfe")
    machine.run(400_000)
    ticks = machine.platform.cycles / 28 / 200
    assert abs(machine.cpu.state.gpr[5] - ticks) <= 1
    machine = with_timer("fb f4 f4 fa f4")
    assert machine.run(10_000).reason is StopReason.HALT_FOREVER
    assert machine.cpu.state.gpr[5] == 2 and machine.platform.cycles > 2 * 5600


@pytest.mark.parametrize("slice_", [1, 7, 1000])
def test_cutting_a_run_changes_nothing(slice_: int, engine: str) -> None:
    """The same instructions, interrupts and times, whether run at once, in slices, or step by step."""
    total = 40_000 if slice_ > 1 or engine == "interpreter" else 12_000
    program = "b9 00200000 bf 00c00000 fb 01c8 ab 83e704 81cf 00c00000 e440 00c3 e2ee fa f4"
    whole = with_timer(program)
    whole.run(total)
    cut = with_timer(program)
    if slice_ == 1:
        while cut.cpu.state.instructions < total:
            assert cut.step().cause in (RetireCause.INSTRUCTION, RetireCause.INTERRUPT)
    else:
        while cut.cpu.state.instructions < total:
            cut.run(min(slice_, total - cut.cpu.state.instructions))
    assert whole.cpu.state.gpr[5] >= total // 6000
    cut.run(0)
    assert cut.cpu.state.to_dict() == whole.cpu.state.to_dict()
    assert cut.platform.cycles == whole.platform.cycles
    assert cut.memory.blob(0, RAM) == whole.memory.blob(0, RAM)


def test_a_saved_machine_goes_on_elsewhere() -> None:
    """Processor, devices and RAM in the middle of a timer period."""
    program = "fb 01c8 40 e440 00c3 ebf7"
    whole = with_timer(program)
    whole.run(50_000)
    first = with_timer(program)
    first.run(20_000)
    image = first.save()
    second = empty(RAM)
    second.memory.load_blob(0, first.memory.blob(0, RAM))
    second.load(image)
    second.run(30_000)
    assert second.save() == whole.save() and whole.cpu.state.gpr[5] > 5
    assert second.memory.blob(0, RAM) == whole.memory.blob(0, RAM)


def test_time_stamp_counter_is_virtual_time() -> None:
    machine = computer("0f31 90 90 0f31 f4")
    machine.run(10)
    assert machine.cpu.state.gpr[0] == 3
