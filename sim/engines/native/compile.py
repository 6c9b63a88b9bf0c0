"""LLVM text to machine code, and machine code to callable functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import llvmlite
import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def host() -> str:
    """What compiled code depends on besides its source: LLVM, processor and its features."""
    features = llvm.get_host_cpu_features().flatten()
    return f"llvmlite {llvmlite.__version__} {llvm.llvm_version_info} {llvm.get_host_cpu_name()} {features}"


def _machine(level: int) -> llvm.TargetMachine:
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=level, codemodel="small",
        reloc="pic", jit=False)


def compile_text(text: str, *, level: int = 2) -> bytes:
    """Optimise and generate an object file; ``level`` 0 only generates code quickly."""
    module = llvm.parse_assembly(text)
    machine = _machine(level)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    if level:
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        builder = llvm.create_pass_builder(machine, options)
        passes = llvm.create_new_function_pass_manager()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        passes.add_new_gvn_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)
    return machine.emit_object(module)


class Code:
    """An object file in memory; keeps its functions alive."""

    def __init__(self, image: bytes) -> None:
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_default_triple()
        self._engine = llvm.create_mcjit_compiler(empty, _machine(0))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(image))
        self._engine.finalize_object()

    def function(self, name: str, result: type | None, *arguments: type) -> Callable[..., int]:
        """The function ``name``; it runs without holding Python's interpreter lock."""
        return ctypes.CFUNCTYPE(result, *arguments)(self._engine.get_function_address(name))
