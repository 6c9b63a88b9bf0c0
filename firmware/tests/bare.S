/* bare: the machine as the boot loader left it, before any set-up of ours: no stack, no GDT, no IDT.
 *
 * Thirty instructions, each of which must work before any other program can: a first light for new machines.
 *
 * expect: bare: ok
 */
#include "gigogne.h"

    .section .text.bare, "ax"
    .globl _start
_start:
    cmpl $GIG_MULTIBOOT_BOOT_MAGIC, %eax
    jne 3f
    movl $text, %esi
    cld
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, $GIG_PORT_DEBUGCON
    jmp 1b
2:  xorl %eax, %eax
    outb %al, $GIG_PORT_EXIT
3:  cli
    hlt
    jmp 3b

    .globl main
main:
    jmp 3b

    .section .rodata.bare, "a"
text:
    .asciz "bare: ok\n"
