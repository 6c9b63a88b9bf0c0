/* Stack switches, and the SYSENTER entry. */
#include "frame.h"
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
    dispatch_trap
    leave_trap
    popl %edx
    addl $8, %esp
    popl %ecx
    sti
    sysexit
