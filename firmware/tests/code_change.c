/* code_change: code that is written and then run: the next instruction, another page, through another address, by REP.
 *
 * expect:
 *   PASS next_instruction
 *   PASS next_byte
 *   PASS behind_a_jump
 *   PASS loop_changes_itself
 *   PASS through_an_alias
 *   PASS instruction_across_pages
 *   PASS remapped_code_page
 *   PASS rep_overwrites_what_follows
 *   PASS write_by_call
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"
#include "string.h"

#define WINDOW 0x40000000

CODE(next_instruction, "movl $7, %eax", "movl %eax, 1f+1; 1: movl $1, %ebx; movl %ebx, result");
CODE(next_byte, "xorl %ebx, %ebx", "movb $0x43, 1f; 1: nop; movl %ebx, result; movb $0x90, 1b");
CODE(behind_a_jump, "xorl %ebx, %ebx", "movb $0x43, 2f; jmp 1f; 1: nop; 2: nop; movl %ebx, result; movb $0x90, 2b");
CODE(loop_changes_itself, "xorl %ebx, %ebx; movl $10, %ecx",
     "1: addl $1, %ebx; incl 1b+2; decl %ecx; jnz 1b; movl %ebx, result; movb $1, 1b+2");
/* REP STOSB turns the INC EBX behind it into NOPs. */
CODE(rep_overwrites, "cld; xorl %ebx, %ebx; movl $1f, %edi; movl $4, %ecx; movb $0x90, %al",
     "rep stosb; 1: incl %ebx; incl %ebx; incl %ebx; incl %ebx; movl %ebx, result");
/* CALL pushes its return address over the instruction it calls: MOV EBX, imm32 gets another immediate. */
CODE(write_by_call, "movl %esp, %esi; movl $2f+5, %esp", "call 2f; 1: movl %esi, %esp; movl %ebx, result; ret; "
     "2: movl $0x11111111, %ebx; jmp 1b");

uint32_t result;

typedef uint32_t (*function)(void);

/* mov eax, n; ret */
static void put_function(uint8_t *at, uint32_t n)
{
    at[0] = 0xB8;
    memcpy(at + 1, &n, sizeof n);
    at[5] = 0xC3;
}

static uint32_t run(void (*code)(void))
{
    result = 0xFFFFFFFF;
    run_guarded(code);
    return result;
}

static void pages(uint32_t *directory)
{
    uint8_t *frame = frame_new(), *other = frame_new();
    uint32_t flags = X86_PTE_P | X86_PTE_W, before, after;
    function window = (function)WINDOW, across = (function)(WINDOW + 0xFFE);

    put_function(frame, 1);
    put_function(other, 2);
    map_page(directory, WINDOW, (uint32_t)frame, flags);
    map_page(directory, WINDOW + 0x1000, (uint32_t)other, flags);
    before = window();
    put_function(frame, 3); /* through the identity mapping */
    check_equal("through_an_alias", before * 16 + window(), 0x13);
    put_function((uint8_t *)across, 0x11223344);
    before = across();
    other[0] = 0x99; /* the immediate's third byte lies on the second page */
    after = across();
    check("instruction_across_pages", before == 0x11223344 && (after & 0xFF) == 0x44 && after != before);
    put_function(frame, 4);
    put_function(other, 5);
    before = window();
    map_page(directory, WINDOW, (uint32_t)other, flags);
    invlpg((void *)WINDOW);
    check_equal("remapped_code_page", before * 16 + window(), 0x45);
}

int main(void)
{
    uint32_t *directory = identity_directory(boot.ram_end, 1, X86_PTE_P | X86_PTE_W);

    guard_init();
    check_equal("next_instruction", run(next_instruction), 7);
    check_equal("next_byte", run(next_byte), 1);
    check_equal("behind_a_jump", run(behind_a_jump), 1);
    check_equal("loop_changes_itself", run(loop_changes_itself), 55);
    paging_on(directory);
    pages(directory);
    check_equal("rep_overwrites_what_follows", run(rep_overwrites), 0);
    check_equal("write_by_call", run(write_by_call), (uint32_t)write_by_call_at + 5);
    return check_failures();
}
