"""Guest mode of the RTL processor: which register of the netlist holds what."""

from __future__ import annotations

from typing import Any

from .engines import Engine

_WORDS = ("cr", "dr", "exception", "misc1", "misc2")
_PAGE_BITS = 12
#: Fields that are one register.
_PLAIN = {"vmcb": "loaded_vmcb", "asid": "loaded_asid", "n_cr3": "loaded_n_cr3", "pause_count": "pause_count",
          "event_next": "loaded_event_next"}
_FLAGS = {"host_if": "host_if", "nested": "loaded_np", "host_pse": "n_pse"}
_PAGES = {"iopm": "loaded_iopm", "msrpm": "loaded_msrpm"}
_M32 = 0xFFFF_FFFF
_EVENT_V = 1 << 31
#: What there is outside guest mode.
HOST: dict[str, Any] = {"guest": False, "gif": True}


def read_svm(engine: Engine) -> dict[str, Any]:
    """The controls of guest mode; outside it GIF alone, for the others mean nothing there."""
    def peek(name: str) -> int:
        return engine.peek(f"core.guestmode.svm.{name}")

    found = {"guest": bool(peek("guest")), "gif": bool(peek("gif"))}
    if not found["guest"]:
        return found
    vintr, event = peek("vintr"), peek("event")
    return found | {name: peek(register) for name, register in _PLAIN.items()} | {
        name: bool(peek(register)) for name, register in _FLAGS.items()} | {
        name: peek(register) << _PAGE_BITS for name, register in _PAGES.items()} | {
        "intercepts": [peek(f"loaded_intercept_{word}") for word in _WORDS],
        "tsc_offset": peek("loaded_tsc_offset") | peek("loaded_tsc_offset_hi") << 32,
        "vintr": vintr & _M32, "vector": vintr >> 32, "event": event if event & _EVENT_V else 0}


def write_svm(engine: Engine, state: dict[str, Any]) -> None:
    """Take over what `read_svm`, or the golden model, gave."""
    def poke(name: str, value: int) -> None:
        engine.poke(f"core.guestmode.svm.{name}", value)

    poke("guest", int(state["guest"]))
    poke("gif", int(state["gif"]))
    if not state["guest"]:
        return
    for name, register in (_PLAIN | _FLAGS).items():
        poke(register, int(state[name]))
    for name, register in _PAGES.items():
        poke(register, state[name] >> _PAGE_BITS)
    for word, value in zip(_WORDS, state["intercepts"], strict=True):
        poke(f"loaded_intercept_{word}", value)
    poke("loaded_tsc_offset", state["tsc_offset"] & _M32)
    poke("loaded_tsc_offset_hi", state["tsc_offset"] >> 32)
    poke("vintr", state["vintr"] | state["vector"] << 32)
    poke("event", state["event"])


def svm_differences(rtl: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Where two processors differ in guest mode, or in GIF."""
    names = sorted(rtl) if rtl["guest"] and reference["guest"] else sorted(HOST)
    return [f"{name}: RTL {_text(rtl[name])}, reference {_text(reference[name])}"
            for name in names if rtl[name] != reference[name]]


def _text(value: Any) -> str:
    return " ".join(f"{word:08X}" for word in value) if isinstance(value, list) else f"{value:X}"
