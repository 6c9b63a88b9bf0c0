/* boundaries: timer interrupts at odd intervals fall between all instructions of a program, and change nothing in it.
 *
 * The program repeats strings, loads SS, turns interrupts off and on, changes its own code, divides, calls far and
 * steps; its sum must be what it is without interrupts.
 *
 * expect:
 *   PASS interrupts_came
 *   PASS same_sum
 *   PASS same_sum_in_ring_3
 *   PASS single_steps_between_interrupts
 * qemu-deviation: interrupts_came: its timer follows the host's clock, which the program may outrun
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "string.h"
#include "timer.h"

#define ROUNDS 60

static volatile uint32_t ticks, steps;
static uint32_t next_divisor;
uint8_t source[96], target[96];
uint32_t sum;

/* ESI, EDI, EBX... are the guard's to save; EDX gathers the sum. */
CODE(program, "pushal; xorl %edx, %edx; movl $6, %ebp",
     "1: cld; movl $source, %esi; movl $target, %edi; movl $40, %ecx; rep movsb; "
     "movl $target, %edi; movl $24, %ecx; movl %edx, %eax; rep stosl; "
     "movl $source+95, %esi; std; movl $30, %ecx; rep lodsb; cld; addl %eax, %edx; "
     "movl %ss, %eax; movl %eax, %ss; addl %esp, %edx; subl %esp, %edx; pushl %ss; popl %ss; "
     "incb 2f+1; 2: movb $1, %al; movzbl %al, %eax; addl %eax, %edx; decb 2b+1; "
     "movl %edx, %eax; pushl %edx; xorl %edx, %edx; movl $77, %ecx; divl %ecx; addl %edx, (%esp); popl %edx; "
     "pushfl; popfl; movl $target, %edi; movl $24, %ecx; movl $0xFFFFFFFF, %eax; repne scasl; adcl %ecx, %edx; "
     "pushl %cs; call 4f; jmp 5f; 4: lret; 5: "
     "xchgl %edx, sum; lock xaddl %edx, sum; rorl $5, %edx; addl sum, %edx; movl $0, sum; "
     "enter $16, $1; leave; decl %ebp; jnz 1b; movl %edx, sum; popal");

static void tick(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    next_divisor = next_divisor % 97 + 12;
    outb(GIG_PORT_PIT, next_divisor);
    outb(GIG_PORT_PIT, 0);
    pic_end_of_interrupt(0);
}

static void step(struct trap_frame *frame)
{
    (void)frame;
    steps++;
}

static void stepped(void)
{
    asm volatile("pushfl; orl $0x100, (%%esp); popfl" : : : "memory", "cc");
    program();
    asm volatile("pushfl; andl $0xFFFFFEFF, (%%esp); popfl" : : : "memory", "cc");
}

static uint32_t sum_of(void (*code)(void))
{
    sum = 0;
    memset(target, 0, sizeof target);
    code();
    return sum;
}

static void in_ring3(void) { run_ring3_flags(program, 0x202); }

static int same(void (*code)(void), uint32_t wanted)
{
    int good = 1;

    for (int round = 0; round < ROUNDS; round++) {
        sti();
        good &= sum_of(code) == wanted;
        cli();
    }
    return good;
}

int main(void)
{
    uint32_t quiet, alone;
    int good;

    for (unsigned i = 0; i < sizeof source; i++)
        source[i] = 7 * i + 3;
    guard_init();
    quiet = sum_of(program);
    set_handler(X86_VEC_DB, step);
    good = sum_of(stepped) == quiet;
    alone = steps;
    set_handler(VEC_IRQ, tick);
    pit_periodic(33);
    pic_unmask(0);
    good &= same(program, quiet);
    check("interrupts_came", ticks > ROUNDS / 4);
    check("same_sum", good);
    check("same_sum_in_ring_3", same(in_ring3, quiet));
    steps = 0;
    sti();
    good = sum_of(stepped) == quiet;
    cli();
    check("single_steps_between_interrupts", good && steps == alone);
    pic_mask(0);
    return check_failures();
}
