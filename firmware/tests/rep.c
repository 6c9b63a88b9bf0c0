/* rep: string instructions that fault half-way leave the registers where they stopped, and go on when resumed.
 *
 * expect:
 *   PASS movs_stops_at_missing_page
 *   PASS movs_registers_at_fault
 *   PASS movs_goes_on
 *   PASS stos_downwards_stops
 *   PASS stos_downwards_goes_on
 *   PASS cmps_faults_on_second_operand
 *   PASS scas_stops_before_the_missing_page
 *   PASS lods_last_element
 *   PASS zero_count_touches_nothing
 *   PASS sixteen_bit_count
 *   PASS movs_overlapping_fills
 *   PASS interrupted_by_timer
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"
#include "string.h"
#include "timer.h"

#define WINDOW 0x40000000

CODE(copy, "movl $source, %esi; movl $0x40000FF0, %edi; movl $8, %ecx", "rep movsl");
CODE(fill_down, "std; movl $0x40001007, %edi; movl $16, %ecx; movb $0x5A, %al", "rep stosb");
CODE(compare, "cld; movl $source, %esi; movl $0x40001000, %edi; movl $4, %ecx", "repe cmpsb");
CODE(nothing, "cld; xorl %ecx, %ecx; movl $0x50000000, %edi; xorl %esi, %esi", "rep movsl");

uint32_t source[8] = {1, 2, 3, 4, 5, 6, 7, 8};
uint8_t buffer[64];

static uint32_t *directory;
static int ticks;

static void supply(struct trap_frame *frame)
{
    map_page(directory, read_cr2(), (uint32_t)frame_new(), X86_PTE_P | X86_PTE_W);
    (void)frame;
}

static void tick(struct trap_frame *frame)
{
    ticks++;
    pic_mask(0);
    pic_end_of_interrupt(0);
    frame->eflags &= ~X86_EFLAGS_IF;
}

static void faults(void)
{
    const struct trap_frame *frame;
    uint8_t *window = (uint8_t *)WINDOW;

    check_trap("movs_stops_at_missing_page", copy, X86_VEC_PF, X86_PF_W, copy_at);
    frame = run_guarded(copy);
    check("movs_registers_at_fault", frame->ecx == 4 && frame->esi == (uint32_t)&source[4] &&
                                         frame->edi == WINDOW + 0x1000 && read_cr2() == WINDOW + 0x1000);
    set_handler(X86_VEC_PF, supply);
    check("movs_goes_on", run_guarded(copy) == NULL && memcmp(window + 0xFF0, source, sizeof source) == 0);
    set_handler(X86_VEC_PF, guard_trap);
    map_page(directory, WINDOW, 0, 0);
    invlpg(window);
    frame = run_guarded(fill_down);
    asm volatile("cld");
    check("stos_downwards_stops", frame != NULL && frame->vector == X86_VEC_PF && frame->ecx == 8 &&
                                      frame->edi == WINDOW + 0xFFF);
    set_handler(X86_VEC_PF, supply);
    frame = run_guarded(fill_down);
    asm volatile("cld");
    check("stos_downwards_goes_on", frame == NULL && window[0xFF8] == 0x5A && window[0xFF7] == 0);
    set_handler(X86_VEC_PF, guard_trap);
    map_page(directory, WINDOW + 0x1000, 0, 0);
    invlpg(window + 0x1000);
    frame = run_guarded(compare);
    check("cmps_faults_on_second_operand", frame != NULL && frame->vector == X86_VEC_PF && frame->ecx == 4 &&
                                               frame->esi == (uint32_t)source && read_cr2() == WINDOW + 0x1000);
}

static void counts(void)
{
    const uint8_t *at = (const uint8_t *)WINDOW + 0xFF0;
    uint32_t n = 64, last;

    ((uint8_t *)WINDOW)[0xFFF] = 0x77;
    asm volatile("cld; repne scasb" : "+D"(at), "+c"(n) : "a"(0x77) : "cc", "memory");
    check("scas_stops_before_the_missing_page", n == 48 && (uint32_t)at == WINDOW + 0x1000);
    const uint32_t *from = source;

    n = 3;
    asm volatile("rep lodsl" : "=a"(last), "+S"(from), "+c"(n) : : "memory");
    check("lods_last_element", last == 3 && n == 0);
    check_runs("zero_count_touches_nothing", nothing);
    uint32_t edi = (uint32_t)buffer;

    /* A count in CX ends after three rounds, and leaves the upper half of ECX alone. */
    asm volatile("movl $0x10003, %%ecx\n"
                 "1: movb $9, (%%edi)\n\tincl %%edi\n\taddr16 loop 1b\n\t"
                 "movl %%ecx, %0"
                 : "=r"(n), "+D"(edi)
                 :
                 : "ecx", "memory", "cc");
    check("sixteen_bit_count", n == 0x10000 && edi == (uint32_t)buffer + 3);
    memset(buffer, 0, sizeof buffer);
    buffer[0] = 0xAB;
    uint8_t *d = buffer + 1, *s = buffer;

    n = 20;
    asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    check("movs_overlapping_fills", buffer[20] == 0xAB && buffer[21] == 0);
}

/* A long REP lets the interrupt in, and ends right all the same. */
static void interrupted(void)
{
    uint32_t *area = frame_new(), n;
    int right = 1;

    for (int page = 1; page < 16; page++)
        frame_new();
    set_handler(VEC_IRQ, tick);
    pic_init();
    pit_periodic(200);
    pic_unmask(0);
    for (n = 0; n < 100000 && ticks == 0; n++) {
        uint32_t *d = area, count = 16 * 1024;

        sti();
        asm volatile("rep stosl" : "+D"(d), "+c"(count) : "a"(n) : "memory");
        cli();
        right &= count == 0 && d == area + 16 * 1024 && area[0] == n && d[-1] == n;
    }
    pic_mask(0);
    check("interrupted_by_timer", right && ticks != 0);
}

int main(void)
{
    guard_init();
    directory = identity_directory(boot.ram_end, 1, X86_PTE_P | X86_PTE_W);
    map_page(directory, WINDOW, (uint32_t)frame_new(), X86_PTE_P | X86_PTE_W);
    paging_on(directory);
    faults();
    counts();
    interrupted();
    return check_failures();
}
