/* Into a guest and back, and the gates of the guest's own IDT. */
#include "gigogne.h"

    .section .text.svm, "ax"

/* int svm_switch(struct vmcb *vmcb, struct guest_registers *registers, struct vmcb *host)
 *
 * The hardware keeps EAX, ESP, EIP and EFLAGS of both worlds, VMLOAD and VMSAVE the segments it does not; the other
 * registers are ours to change over. Interrupts are on in the host while the guest runs (unless
 * host_interrupts is zero), held back by GIF around it.
 */
    .globl svm_switch
svm_switch:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushfl
    clgi
    cmpl $0, host_interrupts
    je 1f
    sti
1:  movl 32(%esp), %eax
    vmsave
    movl 24(%esp), %eax
    vmload
    movl 28(%esp), %edi
    movl 0(%edi), %ebx
    movl 4(%edi), %ecx
    movl 8(%edi), %edx
    movl 12(%edi), %esi
    movl 20(%edi), %ebp
    movl 16(%edi), %edi
    vmrun
    vmsave
    pushl %edi
    movl 32(%esp), %edi
    movl %ebx, 0(%edi)
    movl %ecx, 4(%edi)
    movl %edx, 8(%edi)
    movl %esi, 12(%edi)
    movl %ebp, 20(%edi)
    popl %ebx
    movl %ebx, 16(%edi)
    movl 32(%esp), %eax
    vmload
    stgi
    .globl svm_switch_open
svm_switch_open: /* whatever GIF held back comes here */
    nop
    cli
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

/* One entry per vector of the guest's IDT, sixteen bytes apart: push the vector, call the host. */
    .globl guest_trap_entries, guest_trap_at
    .balign 16
guest_trap_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .byte 0x68
    .long vector
    jmp guest_trap_at
    .set vector, vector + 1
    .endr

guest_trap_at:
    vmmcall

/* Back from it, the host having taken vector and error code off the stack. */
    .globl guest_trap_return
guest_trap_return:
    iretl
