/* For assembly: a `struct trap_frame` above its vector and error code, which are on the stack. */
#ifndef FRAME_H
#define FRAME_H

#include "selectors.h"

/* Save the registers, and call trap_dispatch with the kernel's segments. */
.macro dispatch_trap
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
.endm

/* Restore the registers, and drop vector and error code. */
.macro leave_trap
    popl %gs
    popl %fs
    popl %es
    popl %ds
    popal
    addl $8, %esp
.endm

#endif
