/* One entry per vector, all of one size; they make every frame alike and join. */
#include "frame.h"
#include "gigogne.h"

    .section .text.trap, "ax"
    .globl trap_stubs
    .balign 16
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector >= 32 || ((X86_VECTORS_WITH_ERROR_CODE >> vector) & 1) == 0
    pushl $0
    .endif
    .byte 0x68
    .long vector
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    dispatch_trap
trap_restore:
    leave_trap
    iretl

    .globl trap_return
trap_return:
    movl 4(%esp), %esp
    jmp trap_restore
