/* Where a boot loader enters: Multiboot 1 at _start (EAX = magic, EBX = information), PVH at pvh_start
 * (EBX = hvm_start_info). Both leave through boot_main(magic, information), which never returns.
 *
 * _start is weak: a test that wants the machine as the loader left it defines its own.
 */
#include "gigogne.h"

#define MULTIBOOT_PAGE_ALIGN_AND_MEMORY 3

    .section .multiboot, "a"
    .balign 4
    .long GIG_MULTIBOOT_HEADER_MAGIC
    .long MULTIBOOT_PAGE_ALIGN_AND_MEMORY
    .long -(GIG_MULTIBOOT_HEADER_MAGIC + MULTIBOOT_PAGE_ALIGN_AND_MEMORY)

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, GIG_PVH_NOTE_TYPE
    .asciz "Xen"
    .long pvh_start

    .section .text.boot, "ax"
    .globl pvh_start
pvh_start:
    movl $GIG_PVH_START_MAGIC, %eax
    jmp boot_common

    .weak _start
_start:
boot_common:
    cld
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    pushl %ebx
    pushl %eax
    call boot_main
    .size _start, . - _start

    .section .bss.stack, "aw", @nobits
    .balign 16
boot_stack:
    .space 16384
    .globl boot_stack_top
boot_stack_top:
