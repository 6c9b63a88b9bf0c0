/* Stack switches, and the SYSENTER entry. */
#include "selectors.h"
#include "vectors.h"

#define USER_EFLAGS 0x202 /* SYSENTER saves none; the user's side counts them lost */

    .section .text.switch, "ax"
    .globl switch_stack
switch_stack: /* (&save, load) */
    movl 4(%esp), %eax
    movl 8(%esp), %edx
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, (%eax)
    movl %edx, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    /* SYSENTER_ESP points at the TSS's ESP0, so that a switch of processes need not write the MSR. The frame is the
     * one INT 80h makes; the way out differs. */
    .globl sysenter_entry
sysenter_entry:
    movl (%esp), %esp
    pushl $SEL_UDATA
    pushl %ecx
    pushl $USER_EFLAGS
    pushl $SEL_UCODE
    pushl %edx
    pushl $0
    pushl $VEC_SYSCALL
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
    popl %gs
    popl %fs
    popl %es
    popl %ds
    popal
    addl $8, %esp
    popl %edx
    addl $8, %esp
    popl %ecx
    sti
    sysexit
