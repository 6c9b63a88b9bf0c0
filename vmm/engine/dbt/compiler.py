"""From IR text to code in memory, through LLVM."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from enum import Enum

import llvmlite.binding as llvm

from vmm.engine.dbt.llvmops import METADATA

_INTRINSICS = "\n".join(
    [f"declare i{bits} @llvm.fsh{way}.i{bits}(i{bits}, i{bits}, i{bits})" for bits in (8, 16, 32) for way in "lr"]
    + [f"declare i{bits} @llvm.ct{end}z.i{bits}(i{bits}, i1)" for bits in (16, 32) for end in "lt"]
    + ["declare i8 @llvm.ctpop.i8(i8)"])


class Effort(Enum):
    """How much work to put into a module.

    Members
    -------
    WARM : of code that runs some. HOT : of code that runs most of the time. PLAIN : of code that is wanted at once,
        runs often and was written so that there is nothing in it to find out: code generation is that of HOT.
    """

    WARM = 0
    PLAIN = 1
    HOT = 2


_CODE_GENERATION = {Effort.WARM: 0, Effort.PLAIN: 2, Effort.HOT: 2}


class CompileError(Exception):
    """LLVM refused a module; the message is its own."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code of one module, as an object file and in memory: the addresses of its symbols."""

    object_code: bytes
    symbols: dict[str, int]


class Compiler:
    """Compiles modules for this host.

    Members
    -------
    seconds : time spent so far. modules : how many were compiled.
    kept : None; a dictionary put there gets the text of each module compiled, by the names of its functions.
    """

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_default_triple()
        self._machines = {
            effort: target.create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(),
                opt=_CODE_GENERATION[effort], reloc="pic", codemodel="small", jit=True)
            for effort in Effort}
        # its own memory manager keeps the parts of a module together, which may not be more than 2 GiB apart
        machine = target.create_target_machine(reloc="pic", codemodel="small", jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
        self.seconds = 0.0
        self.modules = 0
        self.kept: dict[str, str] | None = None

    def compile(self, text: str, effort: Effort, names: list[str]) -> Compiled:
        """Compile a module that defines `names`: functions and variables other modules do not have.

        Raises
        ------
        CompileError
        """
        compiled = self.load(self.emit(text, effort, names), names)
        if self.kept is not None:
            self.kept |= dict.fromkeys(names, text)
        return compiled

    def emit(self, text: str, effort: Effort, names: list[str]) -> bytes:
        """The object file of such a module.

        Raises
        ------
        CompileError
        """
        begin = time.perf_counter()
        try:
            module = llvm.parse_assembly("\n".join((text, _index(names), _INTRINSICS, METADATA)))
            # what is wrong would take the process down with it
            module.verify()
            machine = self._machines[effort]
            self._optimise(module, machine, effort)
            code: bytes = machine.emit_object(module)
        except RuntimeError as error:
            raise CompileError(str(error)) from None
        self.add(time.perf_counter() - begin)
        return code

    def add(self, seconds: float) -> None:
        """A module has been compiled, here or elsewhere."""
        self.modules += 1
        self.seconds += seconds

    def load(self, code: bytes, names: list[str]) -> Compiled:
        """Bring an object file into memory that was made by `compile` with the same names."""
        engine = self._engine
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
        engine.finalize_object()
        # LLVM is asked once: each call of it waits for the interpreter lock anew while the guest runs
        places = (ctypes.c_uint64 * len(names)).from_address(engine.get_global_value_address(f"index_{names[0]}"))
        return Compiled(code, dict(zip(names, places, strict=True)))

    def _optimise(self, module: llvm.ModuleRef, machine: llvm.TargetMachine, effort: Effort) -> None:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
        if effort is Effort.PLAIN:
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
        elif effort is Effort.HOT:
            passes = builder.getModulePassManager()
        passes.run(module, builder)


def _index(names: list[str]) -> str:
    """A table of where things are in memory."""
    return (f"@index_{names[0]} = dso_local global [{len(names)} x ptr] "
            f"[{', '.join(f'ptr @{name}' for name in names)}]")
