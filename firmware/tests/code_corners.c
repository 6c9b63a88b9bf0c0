/* code_corners: written code that is hardest to notice, and instructions that end where memory or a segment does.
 *
 * expect:
 *   PASS store_across_lines_into_what_follows
 *   PASS store_into_a_loop_taken_often
 *   PASS push_over_what_follows
 *   PASS rep_over_itself
 *   PASS rep_over_itself_in_single_steps
 *   PASS exchange_with_what_follows
 *   PASS through_an_alias_across_a_page
 *   PASS fifteen_bytes_across_a_page
 *   PASS second_page_missing
 *   PASS second_page_missing_error_address
 *   PASS one_byte_before_the_missing_page
 *   PASS prefixes_up_to_the_missing_page
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"
#include "string.h"

#define WINDOW 0x40000000
#define ALIAS 0x50000000
#define NEXT (WINDOW + 0x1000)

typedef uint32_t (*function)(void);

uint32_t result;
static uint32_t steps;

/* The store ends two bytes into the next line, on the immediate of the instruction right behind it. */
CODE(across_lines, "xorl %ebx, %ebx; movl $0x43434343, %eax; jmp 1f; .balign 32; .fill 23, 1, 0x90",
     "1: movl %eax, 2f; nop; nop; 2: nop; nop; nop; nop; movl %ebx, result; movl $0x90909090, 2b");
/* What a jump goes to is changed right before it, at every turn of a loop that the processor has learnt. */
CODE(taken, "xorl %ebx, %ebx; movl $20, %ecx; movb $0x90, %al",
     "1: xorb $0xD3, %al; movb %al, 2f; jmp 2f; nop; 2: nop; decl %ecx; jnz 1b; movl %ebx, result; movb $0x90, 2b");
/* PUSH writes four INC EBX over the NOPs behind it. */
CODE(push_over, "xorl %ebx, %ebx; movl %esp, %esi; movl $1f+4, %esp",
     "pushl $0x43434343; 1: nop; nop; nop; nop; movl %esi, %esp; movl %ebx, result");
/* The first iteration of REP MOVSB makes INC EBX of its own prefix; what is left runs as INC EBX and one MOVSB. */
CODE(rep_self, "cld; xorl %ebx, %ebx; movl $3f, %esi; movl $1f, %edi; movl $4, %ecx",
     "1: rep movsb; 2: nop; nop; movl %ebx, result; jmp 4f; 3: .byte 0x43, 0x43, 0x43, 0x43; "
     "4: movl $0x9090A4F3, 1b");
CODE(exchange, "xorl %ebx, %ebx; movl $0x43434343, %eax",
     "xchgl %eax, 1f; 1: nop; nop; nop; nop; movl %ebx, result; movl %eax, 1b");

static uint32_t run(void (*code)(void))
{
    result = 0xFFFFFFFF;
    run_guarded(code);
    return result;
}

static void step(struct trap_frame *frame)
{
    steps++;
    (void)frame;
}

static void stepped(void)
{
    asm volatile("pushfl; orl $0x100, (%%esp); popfl" : : : "memory", "cc");
    rep_self();
    asm volatile("pushfl; andl $0xFFFFFEFF, (%%esp); popfl" : : : "memory", "cc");
}

static void put_function(uint8_t *at, uint32_t n)
{
    at[0] = 0xB8;
    memcpy(at + 1, &n, sizeof n);
    at[5] = 0xC3;
}

static uint32_t entry;
static void enter(void) { ((function)entry)(); }

static int fault_at(uint32_t eip, uint32_t address)
{
    const struct trap_frame *frame;

    entry = eip;
    frame = run_guarded(enter);
    return frame && frame->vector == X86_VEC_PF && frame->eip == eip && read_cr2() == address;
}

static void pages(uint32_t *directory)
{
    uint8_t *first = frame_new(), *second = frame_new();
    uint32_t flags = X86_PTE_P | X86_PTE_W;
    static const uint8_t longest[] = {0x66, 0x66, 0x66, 0x2E, 0x2E, 0x2E, 0x3E, 0x67, 0xF2, 0x40};

    map_page(directory, WINDOW, (uint32_t)first, flags);
    map_page(directory, NEXT, (uint32_t)second, flags);
    map_page(directory, ALIAS, (uint32_t)first, flags);
    map_page(directory, ALIAS + 0x1000, (uint32_t)second, flags);

    /* mov dword [ALIAS+FFE+7], imm with the immediate of the next instruction astride the pages */
    uint8_t *at = first + 0xFF2;
    uint32_t where = ALIAS + 0xFF2 + 10 + 1, value = 0x55667788;

    at[0] = 0xC7;
    at[1] = 0x05;
    memcpy(at + 2, &where, 4);
    memcpy(at + 6, &value, 4);
    at[10] = 0xB8;
    at[11] = at[12] = at[13] = 1;
    second[0] = 1;
    second[1] = 0xC3;
    check_equal("through_an_alias_across_a_page", ((function)(WINDOW + 0xFF2))(), value);

    /* ADD EAX, [moffs] with nine prefixes: fifteen bytes, eight on the first page */
    at = first + 0xFF8;
    memset(at - 5, 0x90, 5);
    at[-5] = 0xB8;
    value = 5;
    memcpy(at - 4, &value, 4);
    memset(at, 0x3E, 8);
    memset(second, 0x3E, 1);
    second[1] = 0x03;
    second[2] = 0x05;
    where = (uint32_t)&steps;
    memcpy(second + 3, &where, 4);
    second[7] = 0xC3;
    steps = 37;
    check_equal("fifteen_bytes_across_a_page", ((function)(WINDOW + 0xFF3))(), 42);

    map_page(directory, NEXT, 0, 0);
    invlpg((void *)NEXT);
    put_function(first + 0xFFD, 1);
    check("second_page_missing", fault_at(WINDOW + 0xFFD, NEXT));
    put_function(first + 0xFFB, 1);
    entry = WINDOW + 0xFFB;
    const struct trap_frame *frame = run_guarded(enter);
    check("second_page_missing_error_address", frame && frame->eip == NEXT && read_cr2() == NEXT);
    first[0xFFF] = 0xC3;
    entry = WINDOW + 0xFFF;
    check("one_byte_before_the_missing_page", run_guarded(enter) == NULL);
    memcpy(first + 0x1000 - sizeof longest + 1, longest, sizeof longest - 1);
    check("prefixes_up_to_the_missing_page", fault_at(WINDOW + 0x1000 - sizeof longest + 1, NEXT));
}

int main(void)
{
    uint32_t *directory = identity_directory(boot.ram_end, 1, X86_PTE_P | X86_PTE_W);

    guard_init();
    check_equal("store_across_lines_into_what_follows", run(across_lines), 4);
    check_equal("store_into_a_loop_taken_often", run(taken), 10);
    check_equal("push_over_what_follows", run(push_over), 4);
    check_equal("rep_over_itself", run(rep_self), 1);
    set_handler(X86_VEC_DB, step);
    check_equal("rep_over_itself_in_single_steps", run(stepped), 1);
    check_equal("exchange_with_what_follows", run(exchange), 4);
    paging_on(directory);
    pages(directory);
    return check_failures();
}
