/* Into guarded code and back out of its trap. guard_stack points at the registers the C caller expects back. */
#include "gigogne.h"
#include "selectors.h"
#include "vectors.h"

    .section .bss.guard, "aw", @nobits
    .balign 4
    .globl guard_stack
guard_stack:
    .space 4

    .macro save_caller
    pushfl
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, guard_stack
    movl %esp, tss + X86_TSS32_ESP0 /* a trap from ring 3, however it got there, lands below */
    .endm

    .section .text.guard, "ax"
    .globl guard_enter
guard_enter: /* (code) */
    movl 4(%esp), %eax
    save_caller
    call *%eax
    xorl %ecx, %ecx
guard_exit: /* ECX: whether it trapped; the code may have left any data segments behind */
    movl $SEL_KDATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movl guard_stack, %esp
    movl $0, guard_stack
    movl %ecx, %eax
    cld
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    popfl
    ret

    .globl guard_enter_ring3
guard_enter_ring3: /* (code, stack, eflags) */
    movl 4(%esp), %eax
    movl 8(%esp), %ecx
    movl 12(%esp), %edx
    save_caller
    pushl $SEL_UDATA
    pushl %ecx
    pushl %edx
    pushl $SEL_UCODE
    pushl %eax
    movl $SEL_UDATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    iretl

    .globl guard_leave
guard_leave:
    movl $1, %ecx
    jmp guard_exit

    .section .text.ring3, "ax"
    .globl ring3_done
ring3_done:
    int $VEC_RING3_DONE
