"""Simulation engines: one protocol, three implementations, the same cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .base import Engine, EngineError, Kind, Mark, RunResult, SignalInfo, State, UnknownSignal, Why
from .design import DesignError, RamPort, SimDesign, Tap

ENGINES = ("native", "pysim", "cxxrtl")


def build(design: SimDesign, engine: str = "native", cache_dir: Path | str | None = None,
          ram: np.ndarray | None = None) -> Engine:
    """Make an engine of the kind named, with its RAM behind ``ram`` (default: a new buffer of zeroes).

    Parameters
    ----------
    cache_dir : folder of compiled designs; default ``$GIGOGNE_CACHE`` or the user's cache folder.

    Raises
    ------
    EngineError
        If there is no such engine, or the engine cannot be built here; the message says what to install.
    """
    if engine == "native":
        from .native import Native

        return Native(design, ram, cache_dir)
    if engine == "pysim":
        from .pysim import PySim

        return PySim(design, ram)
    if engine == "cxxrtl":
        from .cxxrtl import Cxxrtl

        return Cxxrtl(design, ram, cache_dir)
    raise EngineError(f"No engine is named '{engine}'; choose one of {', '.join(ENGINES)}")


__all__ = ["ENGINES", "DesignError", "Engine", "EngineError", "Kind", "Mark", "RamPort", "RunResult", "SignalInfo",
           "SimDesign", "State", "Tap", "UnknownSignal", "Why", "build"]
