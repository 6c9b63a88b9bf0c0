"""The few encodings the fixed parts of a random program need. SDM vol. 2."""

from __future__ import annotations

import struct

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)


def imm32(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFF_FFFF)


def mov(register: int, value: int) -> bytes:
    return bytes([0xB8 + register]) + imm32(value)


def mov_byte_at(address: int, value: int) -> bytes:
    """MOV byte [address], imm8."""
    return b"\xC6\x05" + imm32(address) + bytes([value])


def mov_at(address: int, value: int) -> bytes:
    """MOV dword [address], imm32."""
    return b"\xC7\x05" + imm32(address) + imm32(value)


def xor_at(address: int, value: int) -> bytes:
    """XOR dword [address], imm32."""
    return b"\x81\x35" + imm32(address) + imm32(value)


def out(port: int, value: int) -> bytes:
    """MOV AL, imm8; OUT imm8, AL."""
    return bytes([0xB0, value, 0xE6, port])


def push(value: int) -> bytes:
    return b"\x68" + imm32(value)


def jump(here: int, target: int) -> bytes:
    """JMP rel32 at `here`."""
    return b"\xE9" + imm32(target - here - 5)


def call(here: int, target: int) -> bytes:
    return b"\xE8" + imm32(target - here - 5)


def far_jump(selector: int, offset: int) -> bytes:
    return b"\xEA" + imm32(offset) + struct.pack("<H", selector)


def far_call(selector: int, offset: int) -> bytes:
    return b"\x9A" + imm32(offset) + struct.pack("<H", selector)


def mov_sreg(segment: int, selector: int) -> bytes:
    """MOV EAX, selector; MOV Sreg, AX."""
    return mov(EAX, selector) + bytes([0x8E, 0xC0 | segment << 3])


def mov_to_control(number: int, register: int) -> bytes:
    return bytes([0x0F, 0x22, 0xC0 | number << 3 | register])


def invlpg(address: int) -> bytes:
    return b"\x0F\x01\x3D" + imm32(address)
