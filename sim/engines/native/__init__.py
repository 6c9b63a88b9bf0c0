"""Engine that compiles a design's netlist to machine code with LLVM, in process."""

from .engine import Native

__all__ = ["Native"]
