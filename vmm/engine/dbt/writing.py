"""From blocks of the guest to a module of IR: what the two tiers of compiled code have to say to LLVM.

Nothing here knows of the machine that runs: orders and what is written for them can go to another process and back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmm.engine.dbt.compiler import Compiler, Effort
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.pool import symbols
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting

#: Makes the IR of a translation; takes what `Region` does.
Maker = Callable[..., Region]


@dataclass(frozen=True, slots=True)
class Order:
    """A translation to be made, with a name of its own: these blocks, entered at `head`; or a version of one."""

    name: str
    head: int
    blocks: dict[int, Block]
    setting: Setting
    version: Version | None


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a translation in a module: targets of its chain slots, and `Region.pages`."""

    targets: tuple[int, ...]
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of IR.

    Members
    -------
    names : what it defines for others. parts : its translations by name; those native code cannot begin are not there.
    """

    text: str
    effort: Effort
    names: list[str]
    parts: dict[str, Part]


@dataclass(frozen=True, slots=True)
class Built:
    """A module compiled, but not in memory. `seconds` is what LLVM took; there is no code without parts."""

    names: list[str]
    parts: dict[str, Part]
    object_code: bytes
    seconds: float


def write(orders: Sequence[Order], make: Maker, hot: int) -> Module:
    """The IR for orders of one tier; `hot` is where the counters of warm code begin."""
    effort = Effort.WARM if orders[0].setting.counted else Effort.HOT
    recipes = Recipes()
    texts: list[str] = []
    names: list[str] = []
    parts: dict[str, Part] = {}
    for order in orders:
        name, counted = order.name, order.setting.counted
        slots: list[int] = []
        region = make(name, order.blocks[order.head], order.blocks, order.setting, recipes, slots, order.version)
        body = region.text()
        if not region.done[order.head]:
            continue
        if order.version is not None:
            texts.append(f"@next_{name} = dso_local global ptr null")
            names.append(f"next_{name}")
        if region.pages:
            texts.append(f"@pages_{name} = dso_local global [{len(region.pages)} x i64] zeroinitializer")
        texts.append(f"@slots_{name} = dso_local global [{max(len(slots), 1)} x ptr] zeroinitializer")
        if counted:
            texts.append(f"@count_{name} = dso_local global i32 {hot}")
        texts.append(body)
        names += symbols(name, counted, bool(region.pages))
        parts[name] = Part(tuple(slots), region.pages)
    if parts and effort is Effort.HOT:
        texts.append(recipes.functions())
    return Module("\n".join(texts), effort, names, parts)


def build(compiler: Compiler, orders: Sequence[Order], make: Maker, hot: int) -> Built:
    """`write`, and compile that.

    Raises
    ------
    CompileError
    """
    module = write(orders, make, hot)
    before = compiler.seconds
    code = compiler.emit(module.text, module.effort, module.names) if module.parts else b""
    return Built(module.names, module.parts, code, compiler.seconds - before)


def write_text(_compiler: Compiler, text: Callable[[], str]) -> str:
    """IR that a function gives."""
    return text()


def build_text(compiler: Compiler, text: str, names: list[str], effort: Effort) -> bytes:
    """Compile IR that defines these names.

    Raises
    ------
    CompileError
    """
    return compiler.emit(text, effort, names)


def names_of(names: list[str], effort: Effort) -> list[str]:
    """What the same code is called when it is compiled with little effort first and with all of it later."""
    return [f"{name}_warm" for name in names] if effort is Effort.WARM else names


def renamed(text: str, names: list[str], effort: Effort) -> str:
    if effort is Effort.HOT:
        return text
    return re.sub(rf"@({'|'.join(names)})\b", r"@\1_warm", text)
