/* counters: performance counters in both worlds: references of page walks by dimension, world switches, what guests
 * did. With `walks=exact` on the command line the processor has no walk caches and no nested TLB, and each walk makes
 * the textbook's number of references; else that is the most. APM 13.2, 15.25.1.
 *
 * expect: counters: 19 checks
 */
#include "boot.h"
#include "nested.h"

#define LINEAR 0x40000000
#define GUEST_PHYSICAL 0x80000000

/* What the walker does for one load: references to the guest's tables in EDI, to the nested ones in EBP. No page ends
 * near it. */
#define COUNTED(name, load)                                                                                            \
    GUEST(name,                                                                                                        \
          ".balign 256, 0x90; movl $26, %ecx; rdpmc; movl %eax, %edi; movl $27, %ecx; rdpmc; movl %eax, %ebp;" load    \
          "; movl $26, %ecx; rdpmc; subl %eax, %edi; movl $27, %ecx; rdpmc; subl %eax, %ebp",                          \
          "negl %edi; negl %ebp")

COUNTED(touch, "movl (%esi), %ebx");
COUNTED(touch_again, "nop");
GUEST(work, "movl $100, %ecx; 1: decl %ecx; jnz 1b", "nop");
CODE(probe, "movl $32, %ecx", "rdpmc");

_Static_assert(GIG_EVENT_WALK_REFS_GUEST == 26 && GIG_EVENT_WALK_REFS_NESTED == 27 && GIG_EVENT_VMRUNS == 32,
               "the events in the code above");

static int exact;

static uint64_t rdpmc(uint32_t event)
{
    uint64_t v;

    asm volatile("rdpmc" : "=A"(v) : "c"(event));
    return v;
}

static void expect_count(const char *name, uint32_t got, uint32_t most)
{
    if (exact)
        expect_equal(name, got, most);
    else
        expect(name, got > 0 && got <= most);
}

static void expect_walk(const char *guest_name, const char *nested_name, int guest_large, int host_large)
{
    static uint32_t big;

    if (big == 0)
        big = ((uint32_t)frame_new() | (LARGE_PAGE_SIZE - 1)) + 1;
    *directory_entry(guest_tables, LINEAR) = 0;
    *directory_entry(nested_tables, GUEST_PHYSICAL) = 0;
    (guest_large ? map_large : map_page)(guest_tables, LINEAR, GUEST_PHYSICAL, NESTED_RW);
    (host_large ? map_large : map_page)(nested_tables, GUEST_PHYSICAL, big, NESTED_RW);
    nested_new(touch, 1);
    guest.esi = LINEAR;
    guest_run();
    expect_count(guest_name, guest.edi, guest_large ? 1 : 2);
    expect_count(nested_name, guest.ebp, (guest_large ? 1 : 2) * 2 + (host_large ? 1 : 2));
}

/* The host's own walk, of one dimension. */
static void native(void)
{
    uint32_t *tables = identity_directory(16 << 20, 1, NESTED_RW);
    uint64_t nested = rdpmc(GIG_EVENT_WALK_REFS_NESTED), before;

    map_page(tables, LINEAR, 8 << 20, NESTED_RW);
    map_large(tables, GUEST_PHYSICAL, 8 << 20, NESTED_RW);
    paging_on(tables);
    before = rdpmc(GIG_EVENT_WALK_REFS_GUEST);
    (void)*(volatile uint32_t *)LINEAR;
    expect_count("native_4k", rdpmc(GIG_EVENT_WALK_REFS_GUEST) - before, 2);
    before = rdpmc(GIG_EVENT_WALK_REFS_GUEST);
    (void)*(volatile uint32_t *)GUEST_PHYSICAL;
    expect_count("native_4m", rdpmc(GIG_EVENT_WALK_REFS_GUEST) - before, 1);
    expect_equal("native_walks_are_not_nested", rdpmc(GIG_EVENT_WALK_REFS_NESTED), nested);
}

static void two_dimensional(void)
{
    expect_walk("guest_4k_over_4k", "nested_4k_over_4k", 0, 0);
    expect_walk("guest_4k_over_4m", "nested_4k_over_4m", 0, 1);
    expect_walk("guest_4m_over_4k", "nested_4m_over_4k", 1, 0);
    expect_walk("guest_4m_over_4m", "nested_4m_over_4m", 1, 1);
    nested_new(touch_again, 1);
    guest_run();
    expect("nothing_missed", guest.edi == 0 && guest.ebp == 0);
}

static void statistics(void)
{
    const uint64_t runs = rdpmc(GIG_EVENT_VMRUNS), exits = rdpmc(GIG_EVENT_VMEXITS),
                   instructions = rdpmc(GIG_EVENT_GUEST_INSTRUCTIONS), cycles = rdpmc(GIG_EVENT_GUEST_CYCLES),
                   all = rdpmc(GIG_EVENT_CYCLES);

    guest_new(work);
    guest_run();
    expect_equal("vmruns", rdpmc(GIG_EVENT_VMRUNS) - runs, 1);
    expect_equal("vmexits", rdpmc(GIG_EVENT_VMEXITS) - exits, 1);
    expect_equal("guest_instructions", rdpmc(GIG_EVENT_GUEST_INSTRUCTIONS) - instructions, 202);
    const uint64_t guests = rdpmc(GIG_EVENT_GUEST_CYCLES) - cycles;

    expect("guest_cycles", guests >= 202 && guests < rdpmc(GIG_EVENT_CYCLES) - all);
    guest_new(work);
    vmcb.asid = 0;
    guest_run();
    expect("refused_is_no_vmrun", rdpmc(GIG_EVENT_VMRUNS) - runs == 1);
}

static int has_counters(void)
{
    if (run_guarded(probe) != NULL)
        return 0;
    guest_new(work);
    guest_run();
    return rdpmc(GIG_EVENT_VMRUNS) != 0;
}

int main(void)
{
    static const char *const names[] = {
        "native_4k", "native_4m", "native_walks_are_not_nested", "guest_4k_over_4k", "nested_4k_over_4k",
        "guest_4k_over_4m", "nested_4k_over_4m", "guest_4m_over_4k", "nested_4m_over_4k", "guest_4m_over_4m",
        "nested_4m_over_4m", "nothing_missed", "vmruns", "vmexits", "guest_instructions", "guest_cycles",
        "refused_is_no_vmrun",
    };

    nested_begin();
    if (!has_counters()) {
        for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
            skip(names[n]);
        return suite_end("counters");
    }
    exact = option_is("walks", "exact");
    statistics();
    native();
    two_dimensional();
    return suite_end("counters");
}
