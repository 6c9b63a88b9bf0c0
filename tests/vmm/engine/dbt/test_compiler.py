"""Modules in memory."""

from __future__ import annotations

import subprocess
import sys

#: Compilers that load on while a piece of memory of 300 MiB is taken for each, as translators do.
_MANY = '''
import mmap
from vmm.engine.dbt.compiler import Compiler, Effort

TEXT = """@word_{0} = dso_local global i64 {1}
define dso_local i64 @read_{0}() {{
%v = load i64, ptr @word_{0}
ret i64 %v
}}"""
compilers, pieces = [], []
for number in range(16):
    compilers.append(Compiler())
    pieces.append(mmap.mmap(-1, 300 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    for place, compiler in enumerate(compilers):
        name = f"{number}_{place}"
        compiler.compile(TEXT.format(name, number), Effort.WARM, [f"read_{name}", f"word_{name}"])
'''


def test_parts_of_a_module_stay_together() -> None:
    """LLVM ends the process when code cannot reach its data, and on its own puts them wherever there is room."""
    done = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
