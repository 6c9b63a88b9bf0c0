/* The part of the hosted monitor that runs on the simulated processor: into the guest, out of it, call the part outside.
 *
 * EAX is the VMCB and ESP the place behind the guest's other registers in the frame, at each VMRUN; the hardware brings
 * both back at #VMEXIT. Behind the registers lies the word that says what the monitor wants, see `vmm/monitor/stub.py`,
 * which has this code as bytes. It runs wherever it is put.
 */
#include "gigogne.h"

    .section .text.monitor, "ax"
    .globl monitor_stub
monitor_stub:
    clgi                        /* what comes from outside, comes while a guest runs */
    sti
    jmp monitor_ring
monitor_resume:
    popl %ecx
    popl %edx
    popl %ebx
    popl %ebp
    popl %esi
    popl %edi
    vmrun
    pushl %edi
    pushl %esi
    pushl %ebp
    pushl %ebx
    pushl %edx
    pushl %ecx
monitor_ring:
    movl $0, 24(%esp)
    movw $GIG_PORT_DOORBELL, %dx
    outb %al, %dx
    nop                         /* what follows the OUT at once has its word already when the doorbell rings */
    nop
1:  movl 24(%esp), %edx         /* the caches come to rest meanwhile, before anybody outside changes memory */
    decl %edx
    je monitor_resume
    js 1b
    decl %edx
    jne 2f
    vmload
    jmp monitor_resume
2:  vmsave
    jmp monitor_ring
monitor_stub_end:
