"""Machine code from LLVM IR, and calls of it from Python."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

_ROOM = 64


class Library:
    """The entry points of a module.

    Parameters
    ----------
    text : LLVM IR.
    speed : optimisation level, 0 to 3.
    """

    def __init__(self, text: str, speed: int = 2):
        module = llvm.parse_assembly(text)
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=speed, reloc="pic")
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=speed)
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._result = (ctypes.c_int64 * _ROOM)()

    def address(self, symbol: str) -> int:
        """Where an entry point is.

        Raises
        ------
        KeyError
            There is none of this name.
        """
        address: int = self._engine.get_function_address(symbol)
        if not address:
            raise KeyError(symbol)
        return address

    def call(self, symbol: str, context: ctypes.Structure, *arguments: int) -> tuple[int, list[int]]:
        """Call an entry point: its status, and words of which the first are its result."""
        kinds = [ctypes.c_void_p, *(ctypes.c_int64 for _ in arguments), ctypes.c_void_p]
        function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(self.address(symbol))
        status: int = function(ctypes.addressof(context), *arguments, ctypes.addressof(self._result))
        return status, list(self._result)
