/* Where a user program begins and ends, and the two doors to the kernel. */
    .section .text.start, "ax"
    .globl _start
_start:
    call main
    pushl %eax
    call exit

    .globl call_by_int
call_by_int: /* (number, a, b) */
    pushl %ebx
    pushl %esi
    movl 12(%esp), %eax
    movl 16(%esp), %ebx
    movl 20(%esp), %esi
    int $0x80
    popl %esi
    popl %ebx
    ret

    .globl call_by_sysenter
call_by_sysenter: /* (number, a, b) */
    pushl %ebx
    pushl %esi
    movl 12(%esp), %eax
    movl 16(%esp), %ebx
    movl 20(%esp), %esi
    movl %esp, %ecx
    movl $1f, %edx
    sysenter
1:  popl %esi
    popl %ebx
    ret
