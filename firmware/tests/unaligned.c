/* unaligned: accesses that straddle words, cache lines and pages, and the alignment check that forbids them.
 *
 * expect:
 *   PASS loads_at_every_offset
 *   PASS stores_at_every_offset
 *   PASS words_at_every_offset
 *   PASS across_pages
 *   PASS across_distant_frames
 *   PASS locked_across_pages
 *   PASS push_across_pages
 *   PASS string_across_pages
 *   PASS fetch_across_pages
 *   PASS alignment_fault
 *   PASS alignment_word_fault
 *   PASS alignment_of_stack
 *   PASS alignment_ok
 *   PASS alignment_ring0_exempt
 *   PASS alignment_needs_am
 * qemu-deviation: alignment_fault: it has no alignment check
 * qemu-deviation: alignment_word_fault: it has no alignment check
 * qemu-deviation: alignment_of_stack: it has no alignment check
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"
#include "string.h"

#define WINDOW 0x40000000

CODE(load_odd, "", "movl bytes+1, %eax");
CODE(load_word_odd, "", "movw bytes+1, %ax");
CODE(load_word_even, "", "movw bytes+2, %ax; movl bytes+4, %eax; movb bytes+3, %al");
CODE(push_odd, "subl $2, %esp", "pushl %eax");

uint8_t bytes[192] __attribute__((aligned(64)));

static void offsets(void)
{
    int loads = 1, stores = 1, words = 1;

    for (uint32_t n = 0; n < sizeof bytes; n++)
        bytes[n] = n * 3;
    for (uint32_t at = 0; at < 68; at++) {
        volatile uint32_t *p = (uint32_t *)(bytes + at);
        uint32_t value = (at * 3 & 0xFF) | ((at + 1) * 3 & 0xFF) << 8 | ((at + 2) * 3 & 0xFF) << 16 |
                         ((at + 3) * 3 & 0xFF) << 24;

        loads &= *p == value;
        words &= *(volatile uint16_t *)p == (uint16_t)value;
        *p = ~value;
        stores &= bytes[at] == (uint8_t)~value && bytes[at + 3] == (uint8_t)(~value >> 24) &&
                  bytes[at + 4] == (uint8_t)((at + 4) * 3);
        *p = value;
    }
    check("loads_at_every_offset", loads);
    check("stores_at_every_offset", stores);
    check("words_at_every_offset", words);
}

static void pages(uint32_t *directory)
{
    uint8_t *first = frame_new(), *second = frame_new(), *window = (uint8_t *)WINDOW;
    uint32_t flags = X86_PTE_P | X86_PTE_W, value;
    int right = 1;

    /* The frames are mapped in the other order, so that nothing contiguous stands in for a real split. */
    map_page(directory, WINDOW, (uint32_t)second, flags);
    map_page(directory, WINDOW + 0x1000, (uint32_t)first, flags);
    for (uint32_t at = 0xFFD; at < 0x1000; at++) {
        *(volatile uint32_t *)(window + at) = 0x44332211;
        right &= second[at] == 0x11 && first[at + 3 - 0x1000] == 0x44;
        right &= *(volatile uint32_t *)(window + at) == 0x44332211;
    }
    check("across_pages", right);
    check("across_distant_frames", first[0] == 0x22 && first[1] == 0x33 && first[2] == 0x44 && second[0xFFD] == 0x11);
    *(volatile uint32_t *)(window + 0xFFE) = 0xFFFFFFFF;
    value = 1;
    asm volatile("lock xaddl %0, %1" : "+r"(value), "+m"(*(uint32_t *)(window + 0xFFE)) : : "cc");
    check("locked_across_pages", value == 0xFFFFFFFF && first[0] == 0 && second[0xFFF] == 0 && second[0xFFD] == 0x11);
    asm volatile("movl %%esp, %%edi; movl %1, %%esp; pushl $0x0A0B0C0D; popl %0; movl %%edi, %%esp"
                 : "=r"(value)
                 : "r"(window + 0x1001)
                 : "edi", "memory");
    check("push_across_pages", value == 0x0A0B0C0D && first[0] == 0x0A && second[0xFFD] == 0x0D);
    memset(window + 0xFF3, 0x66, 0x1A);
    check("string_across_pages", first[0xC] == 0x66 && first[0xD] == 0 && second[0xFF3] == 0x66 && second[0xFF2] == 0);
    memcpy(window + 0xFFD, "\xB8\x78\x56\x34\x12\xC3", 6);
    check_equal("fetch_across_pages", ((uint32_t(*)(void))(window + 0xFFD))(), 0x12345678);
}

int main(void)
{
    const uint32_t ac = X86_EFLAGS_FIXED | X86_EFLAGS_AC;
    const struct trap_frame *frame;

    guard_init();
    offsets();
    uint32_t *directory = identity_directory(boot.ram_end, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);

    paging_on(directory);
    pages(directory);
    write_cr0(read_cr0() | X86_CR0_AM);
    frame = run_ring3_flags(load_odd, ac);
    check("alignment_fault", frame->vector == X86_VEC_AC && frame->error == 0 && frame->eip == (uint32_t)load_odd_at);
    frame = run_ring3_flags(load_word_odd, ac);
    check("alignment_word_fault", frame->vector == X86_VEC_AC && frame->eip == (uint32_t)load_word_odd_at);
    frame = run_ring3_flags(push_odd, ac);
    check("alignment_of_stack", frame->vector == X86_VEC_AC && frame->eip == (uint32_t)push_odd_at);
    check("alignment_ok", run_ring3_flags(load_word_even, ac)->vector == VEC_RING3_DONE);
    write_eflags(ac);
    check("alignment_ring0_exempt", run_guarded(load_odd) == NULL);
    write_cr0(read_cr0() & ~X86_CR0_AM);
    check("alignment_needs_am", run_ring3_flags(load_odd, ac)->vector == VEC_RING3_DONE);
    return check_failures();
}
