"""Between exceptions and guest mode: what is about to be taken, and what a guest makes of it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.svm import EventType

from .boundary import Source
from .events import Kind

__all__ = ["InterceptSignature"]


class InterceptSignature(wiring.Signature):
    """What `ExceptionUnit` and `GuestMode` tell each other, all within one cycle.

    1. Before an instruction guest mode says what holds interrupts off (``gif``, ``masking``, ``host_if``) and what it
       has to add to them: an event of VMRUN (``inject`` and what it is), a virtual interrupt (``virtual``), INIT that
       leaves the guest (``init_exits``). ``injected`` and ``virtual_taken`` are pulses of their acceptance.
    2. In X the exceptions offer what they would take: an event from ``source`` if ``event``, else a fault, or none.
       Guest mode answers with ``exit``: if it is taken it is a #VMEXIT. With ``asked`` the micro-operation itself asks
       for one, unless a fault goes before what it asks for (``first``). ``combined`` as in `ExitUnit`.
    3. At a world switch ``forget`` (#VMEXIT) drops what pends, ``shadow_set`` makes an interrupt shadow, and
       ``entered`` is 1 until the VMRUN is done.

    Members
    -------
    event : Out(1); source : Out(Source); vector : Out(8); exception : Out(1); error, address : Out(32)
    first, double, fatal, delivering, shadow : Out(1)
    e_vector : Out(8); e_type : Out(EventType); e_has_error : Out(1); e_error : Out(32)
        All of these as `ExitUnit` and `EventUnit` describe them; ``shadow`` as `Boundary` does.
    injected, virtual_taken : Out(1)
    gif, masking, host_if, init_exits : In(1)
    virtual : In(1); virtual_vector : In(8)
    inject : In(1); inject_vector : In(8); inject_kind : In(Kind); inject_type : In(EventType)
    inject_has_error : In(1); inject_error, inject_next : In(32)
    asked, exit, combined, forget, shadow_set, entered : In(1)
    """

    def __init__(self):
        super().__init__({
            "event": Out(1), "source": Out(Source), "vector": Out(8), "exception": Out(1),
            "error": Out(32), "address": Out(32),
            "first": Out(1), "double": Out(1), "fatal": Out(1), "delivering": Out(1), "shadow": Out(1),
            "e_vector": Out(8), "e_type": Out(EventType), "e_has_error": Out(1), "e_error": Out(32),
            "injected": Out(1), "virtual_taken": Out(1),
            "gif": In(1), "masking": In(1), "host_if": In(1), "init_exits": In(1),
            "virtual": In(1), "virtual_vector": In(8),
            "inject": In(1), "inject_vector": In(8), "inject_kind": In(Kind), "inject_type": In(EventType),
            "inject_has_error": In(1), "inject_error": In(32), "inject_next": In(32),
            "asked": In(1), "exit": In(1), "combined": In(1), "forget": In(1), "shadow_set": In(1), "entered": In(1),
        })
