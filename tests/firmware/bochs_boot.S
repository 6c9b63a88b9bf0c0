/* Boots a flat image from the first disk on a machine that boots from nothing else, as a Multiboot loader would: read
 * it to 1 MiB by the BIOS, enter protected mode, EAX = magic, EBX = information.
 *
 * The two words at `image_chunks` are filled in by whoever makes the disk.
 */
#include "gigogne.h"

#define BUFFER 0x10000
#define CHUNK 0x8000 /* bytes read at a time */

    .code16
    .globl _start
_start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7C00, %sp
    movb %dl, drive
    inb $0x92, %al
    orb $2, %al /* A20 */
    outb %al, $0x92
    /* Data segments of 4 GiB, which stay so in real mode until a far jump says otherwise. */
    lgdt gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $0x10, %bx
    movw %bx, %fs
    movw %bx, %gs
    andb $0xFE, %al
    movl %eax, %cr0
    xorw %ax, %ax
    movw %ax, %fs
    movw %ax, %gs
    movl $GIG_HIGH_MEMORY_START, %edi
next_chunk:
    movw $packet, %si
    movb drive, %dl
    movb $0x42, %ah
    pushl %edi
    int $0x13
    popl %edi
    jc failed
    cli
    movl $BUFFER, %esi
    movl $CHUNK / 4, %ecx
copy:
    movl %fs:(%esi), %eax
    movl %eax, %gs:(%edi)
    addl $4, %esi
    addl $4, %edi
    decl %ecx
    jnz copy
    addl $CHUNK / 512, packet_sector
    decl image_chunks
    jnz next_chunk
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x08, $protected
failed:
    hlt
    jmp failed

    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $GIG_MULTIBOOT_BOOT_MAGIC, %eax
    movl $information, %ebx
    jmp *image_entry

    .balign 8
gdt:
    .quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer:
    .word . - gdt - 1
    .long gdt
packet:
    .word 16, CHUNK / 512, 0, BUFFER / 16
packet_sector:
    .long 1, 0
information:
    .long 1, 639 /* memory sizes only */
    .long 15 << 10
    .space 104 /* the rest of the structure */
drive:
    .byte 0

    .org 500
image_chunks:
    .long 0
image_entry:
    .long 0
    .org 510
    .word 0xAA55
