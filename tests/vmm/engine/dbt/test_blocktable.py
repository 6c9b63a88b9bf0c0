"""The block table does not fill up, however much code comes and goes."""

from __future__ import annotations

import pytest

from tests.vmm.engine.dbt.lockstep import BLOCKS
from vmm.engine.dbt import blocktable
from vmm.engine.dbt.translator import Translator
from vmm.memory import PhysicalMemory

#: inc eax; hlt
PROGRAM = bytes.fromhex("40f4")


@pytest.mark.parametrize("alive", [True, False])
def test_the_table_is_cleared(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead entries were never taken out: the look-up in a full table, native or not, went round for ever."""
    cpu = Translator(PhysicalMemory(1 << 20), thresholds=BLOCKS)
    most = 0
    for place in range(0x1000, 0x1000 + 64 * 60, 64):
        # the table is as large as ever, only called full long before
        monkeypatch.setattr(blocktable, "BLOCK_ENTRIES", 16)
        cpu.translations.settle()
        monkeypatch.undo()
        cpu.memory.load_blob(place, PROGRAM)
        cpu.state.eip, cpu.state.halted, cpu.state.gpr[0] = place, False, 7
        cpu.state_changed()
        cpu.run(100)
        assert cpu.state.gpr[0] == 8 and cpu.state.eip == place + 2
        most = max(most, sum(bool(entry.key) for entry in cpu.context.blocks))
        if not alive:
            cpu.memory.load_blob(place, bytes(64))
    assert 4 < most <= 12
    cpu.close()
