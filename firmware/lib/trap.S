/* One entry per vector, all of one size; they make every frame alike and join. */
#include "gigogne.h"
#include "selectors.h"


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
    pushal
    pushl %ds
    pushl %es
    pushl %fs
    pushl %gs
    movl $SEL_KDATA, %eax
    movl %eax, %ds
    movl %eax, %es
    cld
    movl %esp, %eax
    pushl %eax
    call trap_dispatch
    addl $4, %esp
trap_restore:
    popl %gs
    popl %fs
    popl %es
    popl %ds
    popal
    addl $8, %esp
    iretl

    .globl trap_return
trap_return:
    movl 4(%esp), %esp
    jmp trap_restore
