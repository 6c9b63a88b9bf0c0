"""The body of a random program: slots of 32 bytes, each doing one kind of thing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, fields

from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_RW, PTE_US

from ..image import Image, Protocol, Segment
from ..symbols import Symbol, SymbolTable
from . import asm, forms, world
from .asm import EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP
from .world import BODY, DATA, DATA_END, ODD, ODD_END, SLOT, STACK, World

_BASES = (EAX, ECX, EDX, EBX, EBP, ESI, EDI)
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


@dataclass(frozen=True)
class Mix:
    """Weights of the kinds of slots. Kinds that need CPL 0 or CPL 3 count only in bodies of that level."""

    plain: float = 24
    memory: float = 24
    stack: float = 8
    string: float = 8
    branch: float = 12
    indirect: float = 5
    loop: float = 3
    segment: float = 6
    selector: float = 4
    far: float = 4
    software_interrupt: float = 4
    flags: float = 4
    self_modifying: float = 5
    page: float = 4
    odd_page: float = 4
    debug: float = 3
    control: float = 3
    privileged: float = 5
    port: float = 2
    time: float = 1
    anything: float = 5


@dataclass(frozen=True)
class Program:
    """A random program. ``image`` boots; it exits with value 0 when it reaches its end."""

    seed: int
    world: World
    image: Image

    @property
    def ram_bytes(self) -> int:
        return world.RAM


@dataclass
class _Writer:
    rng: random.Random
    world: World
    mix: Mix
    slots: int
    index: int = 0

    @property
    def here(self) -> int:
        return BODY + self.index * SLOT

    def body(self) -> tuple[bytes, list[Symbol]]:
        weights = {item.name: getattr(self.mix, item.name) for item in fields(Mix)}
        for kind in ("anything", "privileged") if not self.world.user else ("control", "page", "debug"):
            weights[kind] = 0
        if not self.world.paging:
            weights["page"] = weights["odd_page"] = 0
        names, chances = list(weights), list(weights.values())
        code, symbols = bytearray(), []
        for index in range(self.slots):
            self.index = index
            kind = self.rng.choices(names, chances)[0]
            maker: Callable[[], bytes] = getattr(self, f"_{kind}")
            text = self._restore_stack() if self.rng.random() < 0.15 else b""
            made = maker_within(maker, SLOT - len(text), text)
            code += self._pad(made)
            symbols.append(Symbol(self.here, SLOT, f"slot{self.index}_{kind}"))
        end = BODY + self.slots * SLOT
        symbols.append(Symbol(end, SLOT, "end"))
        return bytes(code) + bytes([0xCD, world.EXIT_INT]) + b"\x90" * 30, symbols

    def _pad(self, text: bytes) -> bytes:
        left = SLOT - len(text)
        if left > 2 and self.rng.random() < 0.5:
            return text + bytes([0xEB, left - 2]) + b"\xCC" * (left - 2)
        return text + b"\x90" * left

    # -- values

    def _value(self) -> int:
        if self.rng.random() < 0.4:
            return self.rng.choice(_EDGES)
        return self.rng.getrandbits(self.rng.choice((8, 16, 32)))

    def _address(self) -> int:
        """In the data area, often at the end of a line or a page, sometimes through the 4 MiB alias."""
        kind = self.rng.random()
        address = self.rng.randrange(DATA + 256, DATA_END - 512)
        if kind < 0.2:
            address = (address & ~0xFFF) + 0xFFF - self.rng.randrange(8)
        elif kind < 0.4:
            address = (address & ~0x1F) + 0x1F - self.rng.randrange(4)
        if self.world.paging and self.rng.random() < 0.2:
            address += world.ALIAS
        return address

    def _target(self) -> int:
        """A slot further on, near."""
        return BODY + min(self.index + self.rng.randrange(1, 5), self.slots) * SLOT

    def _restore_stack(self) -> bytes:
        return asm.mov(ESP, STACK - self.rng.randrange(0, 64) * 4 - (self.rng.random() < 0.1))

    def _choose(self, table: tuple) -> forms.Form:
        return self.rng.choice(table)

    # -- kinds of slots

    def _plain(self) -> bytes:
        text = b""
        for _ in range(self.rng.randrange(1, 6)):
            if self.rng.random() < 0.3:
                text += asm.mov(self.rng.choice(_BASES), self._value())
            text += forms.encode_register(self.rng, self._choose(forms.REGISTER_FORMS), True)
        return text

    def _memory(self) -> bytes:
        base = self.rng.choice(_BASES)
        text = asm.mov(base, self._address())
        for _ in range(self.rng.randrange(1, 4)):
            text += forms.encode_memory(self.rng, self._choose(forms.MEMORY_FORMS), base, True)
        return text

    def _stack(self) -> bytes:
        return b"".join(forms.encode_register(self.rng, self._choose(forms.STACK_FORMS), True)
                        for _ in range(self.rng.randrange(1, 5)))

    def _string(self) -> bytes:
        text = asm.mov(ECX, self.rng.randrange(0, 20)) + asm.mov(ESI, self._address()) + asm.mov(EDI, self._address())
        text += self.rng.choice((b"", b"\xFC", b"\xFD"))
        return text + forms.encode_string(self.rng, self._choose(forms.STRING_FORMS))

    def _branch(self) -> bytes:
        text = forms.encode_register(self.rng, self._choose(forms.REGISTER_FORMS), True)
        here, target = self.here + len(text), self._target()
        if target - here - 2 < 128 and self.rng.random() < 0.6:
            opcode = self.rng.choice((*range(0x70, 0x80), 0xE0, 0xE1, 0xE2, 0xE3, 0xEB))
            return text + bytes([opcode, target - here - 2])
        if self.rng.random() < 0.6:
            return text + bytes([0x0F, 0x80 + self.rng.randrange(16)]) + asm.imm32(target - here - 6)
        return text + self.rng.choice((asm.jump, asm.call))(here, target)

    def _indirect(self) -> bytes:
        target = self._target()
        kind = self.rng.randrange(4)
        if kind == 0:
            return asm.push(target) + self.rng.choice((b"\xC3", b"\xC2\x04\x00"))
        if kind == 1:
            place = self.rng.randrange(DATA, DATA + 64, 4)
            return asm.mov_at(place, target) + self.rng.choice((b"\xFF\x25", b"\xFF\x15")) + asm.imm32(place)
        register = self.rng.choice(_BASES)
        return asm.mov(register, target) + bytes([0xFF, 0xE0 + register if kind == 2 else 0xD0 + register])

    def _loop(self) -> bytes:
        text = asm.mov(ECX, self.rng.randrange(1, 9))
        inside = b"".join(forms.encode_register(self.rng, form, True) for form in (
            self._choose(_LOOP_FORMS) for _ in range(2)))
        # ECX is saved around what may change it.
        inside = b"\x51" + inside + b"\x59"
        return text + inside + bytes([0xE2, 256 - len(inside) - 2])

    def _segment(self) -> bytes:
        """Load a segment register, use it, perhaps put the flat one back."""
        flat = world.DATA3 | 3 if self.world.user else world.DATA0
        number = self.rng.choice((0, 3, 4, 5, 4, 5))
        text = asm.mov_sreg(number, self.rng.choice(world.SELECTORS))
        base = self.rng.choice(_BASES)
        text += asm.mov(base, self.rng.choice((0, 0xFF0, 0x1FFD, 0x2000, 0x1000, self._value())))
        text += forms.encode_memory(
            self.rng, self._choose(forms.MEMORY_FORMS), base, True, (0x26, 0, 0, 0x3E, 0x64, 0x65)[number])
        if number in (0, 3):
            text += asm.mov_sreg(number, flat)
        return text

    def _selector(self) -> bytes:
        """LAR, LSL, VERR, VERW, ARPL and stores of system registers."""
        text = asm.mov(EAX, self.rng.choice(world.SELECTORS))
        return text + self.rng.choice((
            b"\x0F\x02\xD8", b"\x0F\x03\xD8", b"\x0F\x00\xE0", b"\x0F\x00\xE8", b"\x63\xC3", b"\x0F\x00\xC9",
            b"\x0F\x00\xC1", b"\x0F\x01\xE3", b"\x8C\xDB", b"\x66\x0F\x02\xD8",
            b"\x0F\x01\x05" + asm.imm32(self._address()), b"\x0F\x01\x0D" + asm.imm32(self._address())))

    def _far(self) -> bytes:
        target = self._target()
        kind = self.rng.randrange(6)
        if kind == 0:
            return asm.push(self._value()) + asm.push(self._value()) + asm.far_call(world.GATE | 3, 0)
        if kind == 1:
            return asm.far_call(world.GATE3 | 3, self._value())
        own = world.CODE3 | 3 if self.world.user else world.CODE0
        if kind == 2:
            return self.rng.choice((asm.far_jump, asm.far_call))(own, target)
        if kind == 3:
            return asm.push(own) + asm.push(target) + b"\xCB"
        if kind == 4:
            wrong = self.rng.choice((*world.SELECTORS, world.SHORT_CODE | 3, world.SMALL))
            return self.rng.choice((asm.far_jump, asm.far_call))(wrong, target)
        # IRET to the same level; the flags are those of an ordinary program.
        return asm.push(0x202 if self.world.interrupts else 2) + asm.push(own) + asm.push(target) + b"\xCF"

    def _software_interrupt(self) -> bytes:
        vector = self.rng.choice((world.RETURN_INT, world.RETURN_INT, world.TASK_INT, 3, 4, self.rng.randrange(256)))
        if vector == world.EXIT_INT:
            vector = world.RETURN_INT
        return self.rng.choice((bytes([0xCD, vector]), b"\xCC", b"\xCE", b"\xF1", bytes([0xCD, vector]),
                                b"\x0F\x0B", b"\xDB\xE3", b"\x9B"))

    def _flags(self) -> bytes:
        value = self.rng.getrandbits(22) & 0x2C0DD7 | 2
        if not self.world.user:
            value &= ~0x4000
        if self.rng.random() < 0.7:
            value &= ~0x100
        text = asm.push(value) + self.rng.choice((b"\x9D", b"\x9D", b"\x66\x9D\x58"))
        return text + self.rng.choice((b"", b"\x9C", b"\xFB\x90", b"\xFA", b"\xFC", b"\xF5"))

    def _self_modifying(self) -> bytes:
        """Change the immediate of an instruction of this slot or of the next one, which then runs."""
        if self.rng.random() < 0.5:
            code = asm.mov(EBX, self._value())
            distance = self.rng.randrange(0, 6)
            where = self.here + 7 + distance + self.rng.randrange(1, 5)
            return asm.mov_byte_at(where, self.rng.getrandbits(8)) + b"\x90" * distance + code
        # Only the first bytes: a count of repetitions must not become large.
        where = self.here + SLOT + self.rng.randrange(0, 2)
        return asm.mov_byte_at(where, self.rng.choice((0x90, 0x40, 0x43, 0xF8, 0xF9, 0xCC)))

    def _page(self) -> bytes:
        """CPL 0: change a leaf of the odd pages, drop its translation, use it."""
        page = self.rng.randrange(ODD, ODD_END, 4096)
        entry = world.TABLE + (page >> 12) * 4
        flip = self.rng.choice((PTE_P, PTE_RW, PTE_US, PTE_A, PTE_D, PTE_A | PTE_D, PTE_P | PTE_RW))
        text = asm.xor_at(entry, flip) + asm.invlpg(page)
        return text + self.rng.choice((b"\x8B\x1D", b"\x89\x1D")) + asm.imm32(page + self.rng.randrange(0, 4092))

    def _odd_page(self) -> bytes:
        base = self.rng.choice(_BASES)
        page = self.rng.randrange(ODD, ODD_END, 4096)
        offset = self.rng.choice((0, 4, 0x7FC, 0xFFC, 0xFFD, 0xFFF))
        text = asm.mov(base, page + offset)
        return text + forms.encode_memory(self.rng, self._choose(forms.MEMORY_FORMS), base, True)

    def _debug(self) -> bytes:
        """CPL 0: set a breakpoint on data or on a slot, or clear all of them."""
        if self.rng.random() < 0.4:
            return asm.mov(EAX, 0) + b"\x0F\x23\xF8"
        index = self.rng.randrange(4)
        kind, length = self.rng.choice(((0, 0), (1, 3), (1, 0), (3, 3), (3, 1)))
        address = self._target() if kind == 0 else self.rng.randrange(DATA, DATA_END, 4)
        control = 0x400 | 2 << 2 * index | (kind | length << 2) << 16 + 4 * index
        text = asm.mov(EAX, address) + bytes([0x0F, 0x23, 0xC0 | index << 3])
        text += asm.mov(EAX, control) + b"\x0F\x23\xF8"
        if kind:
            text += b"\x8B\x1D" + asm.imm32(address) if self.rng.random() < 0.5 else b"\x89\x1D" + asm.imm32(address)
        return text

    def _control(self) -> bytes:
        """CPL 0: reads of control and debug registers, harmless writes, cache and TLB maintenance."""
        register = self.rng.choice((EAX, EBX, ECX, EDX))
        number = self.rng.choice((2, 3, 4))
        read = bytes([0x0F, 0x20, 0xC0 | number << 3 | register])
        return self.rng.choice((
            b"\x0F\x20\xC0", read, read + asm.mov_to_control(number, register), b"\x0F\x20\xD8\x0F\x22\xD8",
            b"\x0F\x06", b"\x0F\x09",
            bytes([0x0F, 0x21, 0xC0 | self.rng.randrange(8) << 3 | register]), b"\x0F\x22\xD0", b"\x0F\x01\xE0",
            asm.mov(ECX, self.rng.choice((0x174, 0x175, 0x176, 0x1234))) + b"\x0F\x30",
            asm.mov(ECX, self.rng.choice((0x174, 0x175, 0x176, 0x1B))) + b"\x0F\x32",
            asm.invlpg(self._address())))

    def _privileged(self) -> bytes:
        """CPL 3: what only CPL 0 may do."""
        return forms.encode_any(self.rng, self._choose(forms.PRIVILEGED_FORMS))

    def _port(self) -> bytes:
        port = self.rng.choice((0x80, 0x81, 0x84, 0x87))
        return asm.mov(EDX, port) + self.rng.choice((b"\xEC", b"\xED", b"\xEE", b"\xEF", b"\x66\xEF", b"\x66\xED",
                                                     b"\xE4\x80", b"\xE6\x80"))

    def _time(self) -> bytes:
        return self.rng.choice((b"\x0F\x31", b"\x0F\xA2", asm.mov(EAX, 1) + b"\x0F\xA2", b"\x0F\x33"))

    def _anything(self) -> bytes:
        """CPL 3: any form at all, or plain noise."""
        if self.rng.random() < 0.3:
            return self.rng.randbytes(self.rng.randrange(4, 20))
        return b"".join(forms.encode_any(self.rng, self._choose(_ANY_FORMS)) for _ in range(2))


_LOOP_FORMS = tuple(form for form in forms.REGISTER_FORMS if not form.operation.startswith(("div", "idiv")))
_ANY_FORMS = tuple(form for form in forms.FORMS if form.operation not in ("hlt",))


def maker_within(maker: Callable[[], bytes], room: int, before: bytes) -> bytes:
    """What `maker` makes, behind `before`; again until it fits."""
    while True:
        text = maker()
        if len(text) <= room:
            return before + text


def generate(seed: int, slots: int = 400, mix: Mix | None = None) -> Program:
    """The program of a seed: the same bytes everywhere."""
    rng = random.Random(seed)
    surroundings = World.draw(rng)
    writer = _Writer(rng, surroundings, mix or Mix(), slots)
    body, symbols = writer.body()
    end = BODY + slots * SLOT
    parts = {
        world.ENTRY: surroundings.start(rng, end), world.GDT: surroundings.gdt(), world.IDT: surroundings.idt(),
        world.HANDLERS: surroundings.handlers(end), world.COUNTER: surroundings.rounds.to_bytes(4, "little"),
        BODY: body, DATA: rng.randbytes(DATA_END - DATA), ODD: rng.randbytes(ODD_END - ODD),
        **surroundings.tss(end), **surroundings.tables(rng),
    }
    segments = tuple(Segment(address, data, len(data)) for address, data in sorted(parts.items()))
    symbols += [Symbol(world.ENTRY, 0xF00, "start"), Symbol(world.HANDLERS, 0x1000, "handlers")]
    image = Image(f"random{seed}", Protocol.MULTIBOOT, world.ENTRY, segments, SymbolTable.of(symbols))
    return Program(seed, surroundings, image)
