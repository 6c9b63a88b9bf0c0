/* apic: the local APIC and the I/O APIC as a kernel meets them, and the tables that tell of them.
 *
 * expect:
 *   PASS announced
 *   PASS base
 *   PASS version
 *   PASS virtual_wire_mode
 *   PASS pic_passes_through
 *   PASS task_priority_reads_back
 *   PASS self_interrupt
 *   PASS in_service_until_the_end
 *   PASS task_priority_holds_back
 *   PASS higher_class_nests
 *   PASS logical_destination
 *   PASS broadcast
 *   PASS nmi
 *   PASS timer_counts_down
 *   PASS timer_one_shot
 *   PASS timer_periodic
 *   PASS timer_masked
 *   PASS io_apic_version
 *   PASS io_apic_entry_reads_back
 *   PASS pit_by_io_apic
 *   PASS uart_by_io_apic_level
 *   PASS remote_irr_until_the_end
 *   PASS spurious_vector_reads_back
 *   PASS mp_floating_pointer
 *   PASS mp_configuration
 *   PASS acpi_madt
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "string.h"
#include "timer.h"
#include "trap.h"

enum {
    VEC_LOW = 0x51,
    VEC_SAME = 0x55,
    VEC_HIGH = 0x91,
    VEC_TIMER = 0x61,
    VEC_PIT = 0x71,
    VEC_UART = 0x81,
    FIXED_TO_SELF = 0x40000,
    NMI_TO_ITSELF = 0x4400,
    TO_ALL = 0x80000,
    LOGICAL = 0x800,
    LEVEL = 0x8000,
    MASKED = 0x10000,
    PERIODIC = 0x20000,
    REMOTE_IRR = 0x4000,
    INPUT_PIT = 2,
    INPUT_UART = 4,
    PATIENCE = 10000000,
    UART_IER = GIG_PORT_UART + 1,
    UART_IIR = GIG_PORT_UART + 2,
};

static volatile int order, seen;

static volatile uint32_t *apic(unsigned reg) { return (volatile uint32_t *)(GIG_MEM_LOCAL_APIC + reg); }

static uint32_t io_read(unsigned index)
{
    *(volatile uint32_t *)(GIG_MEM_IO_APIC + X86_IOAPIC_SELECT) = index;
    return *(volatile uint32_t *)(GIG_MEM_IO_APIC + X86_IOAPIC_WINDOW);
}

static void io_write(unsigned index, uint32_t value)
{
    *(volatile uint32_t *)(GIG_MEM_IO_APIC + X86_IOAPIC_SELECT) = index;
    *(volatile uint32_t *)(GIG_MEM_IO_APIC + X86_IOAPIC_WINDOW) = value;
}

static void route(unsigned input, uint32_t entry)
{
    io_write(X86_IOAPIC_ENTRY + 2 * input + 1, 0);
    io_write(X86_IOAPIC_ENTRY + 2 * input, entry);
}

static void end_of_interrupt(void) { *apic(X86_APIC_EOI) = 0; }

static int wait_for(volatile int *what, int count)
{
    for (int n = 0; n < PATIENCE; n++)
        if (*what >= count)
            return 1;
    return 0;
}

static int bit_of(unsigned bank, unsigned vector) { return *apic(bank + vector / 32 * 16) >> vector % 32 & 1; }

static void note(struct trap_frame *frame)
{
    order = order * 16 + (frame->vector >> 4);
    seen++;
    end_of_interrupt();
}

/* Lets a higher class in before it ends. */
static void note_and_open(struct trap_frame *frame)
{
    order = order * 16 + (frame->vector >> 4);
    *apic(X86_APIC_ICR_LOW) = FIXED_TO_SELF | VEC_SAME;
    *apic(X86_APIC_ICR_LOW) = FIXED_TO_SELF | VEC_HIGH;
    sti();
    for (int n = 0; n < 100; n++)
        asm volatile("nop");
    cli();
    order = order * 16 + 0xF;
    end_of_interrupt();
}

static void count(struct trap_frame *frame)
{
    (void)frame;
    seen++;
}

static void from_pic(struct trap_frame *frame)
{
    (void)frame;
    seen++;
    pic_end_of_interrupt(GIG_IRQ_PIT);
}

static void uart_service(struct trap_frame *frame)
{
    (void)frame;
    order = (io_read(X86_IOAPIC_ENTRY + 2 * INPUT_UART) & REMOTE_IRR) != 0;
    outb(UART_IER, 0);
    seen++;
    end_of_interrupt();
}

/* Send `command`; how many interrupts came of it. */
static int interrupts_of(uint32_t command)
{
    seen = 0;
    *apic(X86_APIC_ICR_LOW) = command;
    (void)*apic(X86_APIC_ID); /* a read waits until the write is done, STI does not */
    sti();
    for (int n = 0; n < 100; n++)
        asm volatile("nop");
    cli();
    return seen;
}

static void at_power_on(void)
{
    uint32_t version = *apic(X86_APIC_VERSION);

    check("announced", (cpuid(1).edx & X86_CPUID_APIC) != 0);
    check_equal("base", (uint32_t)rdmsr(X86_MSR_APIC_BASE), GIG_MEM_LOCAL_APIC | 0x900);
    check("version", (version & 0xF0) == 0x10 && (version >> 16 & 0xFF) >= 3);
    check("virtual_wire_mode", (*apic(X86_APIC_SVR) & 0x100) != 0 && (*apic(X86_APIC_LVT_LINT0) & 0x10700) == 0x700
                               && (*apic(X86_APIC_LVT_LINT1) & 0x10700) == 0x400);
    pic_init();
    set_handler(VEC_IRQ + GIG_IRQ_PIT, from_pic);
    seen = 0;
    pit_periodic(100);
    pic_unmask(GIG_IRQ_PIT);
    sti();
    check("pic_passes_through", wait_for(&seen, 2));
    cli();
    pic_mask(GIG_IRQ_PIT);
}

static void priorities(void)
{
    set_handler(VEC_LOW, note);
    set_handler(VEC_SAME, note);
    set_handler(VEC_HIGH, note);
    *apic(X86_APIC_TPR) = 0x35;
    check("task_priority_reads_back", *apic(X86_APIC_TPR) == 0x35 && *apic(X86_APIC_PPR) == 0x35);
    *apic(X86_APIC_TPR) = 0;
    check_equal("self_interrupt", interrupts_of(FIXED_TO_SELF | VEC_LOW), 1);
    *apic(X86_APIC_ICR_LOW) = FIXED_TO_SELF | VEC_LOW;
    check("in_service_until_the_end", bit_of(X86_APIC_IRR, VEC_LOW) && !bit_of(X86_APIC_ISR, VEC_LOW)
                                      && interrupts_of(FIXED_TO_SELF | VEC_LOW) == 1
                                      && !bit_of(X86_APIC_IRR, VEC_LOW) && !bit_of(X86_APIC_ISR, VEC_LOW));
    *apic(X86_APIC_TPR) = 0x50;
    int held = interrupts_of(FIXED_TO_SELF | VEC_LOW) == 0 && bit_of(X86_APIC_IRR, VEC_LOW);
    *apic(X86_APIC_TPR) = 0x40;
    sti();
    check("task_priority_holds_back", wait_for(&seen, 1) && held);
    cli();
    *apic(X86_APIC_TPR) = 0;
    set_handler(VEC_LOW, note_and_open);
    order = 0;
    interrupts_of(FIXED_TO_SELF | VEC_LOW);
    check_equal("higher_class_nests", order, 0x59F5);
    set_handler(VEC_LOW, note);
}

static void destinations(void)
{
    *apic(X86_APIC_DFR) = 0xFFFFFFFF;
    *apic(X86_APIC_LDR) = 0x04000000;
    *apic(X86_APIC_ICR_HIGH) = 0x0C000000;
    int meant = interrupts_of(LOGICAL | VEC_LOW);
    *apic(X86_APIC_ICR_HIGH) = 0x0B000000;
    check("logical_destination", meant == 1 && interrupts_of(LOGICAL | VEC_LOW) == 0);
    check_equal("broadcast", interrupts_of(TO_ALL | VEC_LOW), 1);
    set_handler(X86_VEC_NMI, count);
    *apic(X86_APIC_ICR_HIGH) = *apic(X86_APIC_ID);
    seen = 0;
    *apic(X86_APIC_ICR_LOW) = NMI_TO_ITSELF;
    check("nmi", wait_for(&seen, 1) && seen == 1);
}

static void timer(void)
{
    set_handler(VEC_TIMER, note);
    *apic(X86_APIC_TIMER_DIVIDE) = 0xB;
    *apic(X86_APIC_LVT_TIMER) = MASKED | VEC_TIMER;
    *apic(X86_APIC_TIMER_INITIAL) = 0xFFFFFFFF;
    uint32_t first = *apic(X86_APIC_TIMER_CURRENT);
    for (int n = 0; n < PATIENCE && *apic(X86_APIC_TIMER_CURRENT) == first; n++)
        ;
    check("timer_counts_down", *apic(X86_APIC_TIMER_CURRENT) < first);
    *apic(X86_APIC_LVT_TIMER) = VEC_TIMER;
    seen = 0;
    *apic(X86_APIC_TIMER_INITIAL) = 2000;
    sti();
    int came = wait_for(&seen, 1);
    for (int n = 0; n < 10000; n++)
        asm volatile("nop");
    cli();
    check("timer_one_shot", came && seen == 1 && *apic(X86_APIC_TIMER_CURRENT) == 0);
    *apic(X86_APIC_LVT_TIMER) = PERIODIC | VEC_TIMER;
    seen = 0;
    *apic(X86_APIC_TIMER_INITIAL) = 20000;
    sti();
    check("timer_periodic", wait_for(&seen, 3));
    cli();
    *apic(X86_APIC_LVT_TIMER) = MASKED | PERIODIC | VEC_TIMER;
    sti();
    asm volatile("nop");
    cli();
    seen = 0;
    sti();
    for (int n = 0; n < 30000; n++)
        asm volatile("nop");
    cli();
    check("timer_masked", seen == 0);
    *apic(X86_APIC_TIMER_INITIAL) = 0;
}

static void io_apic(void)
{
    uint32_t version = io_read(X86_IOAPIC_VERSION);

    check("io_apic_version", (version & 0xFF) >= 0x11 && (version >> 16 & 0xFF) == 23);
    io_write(X86_IOAPIC_ENTRY + 2 * 23 + 1, 0xA5000000);
    io_write(X86_IOAPIC_ENTRY + 2 * 23, MASKED | LEVEL | 0x2199);
    check("io_apic_entry_reads_back", io_read(X86_IOAPIC_ENTRY + 2 * 23 + 1) == 0xA5000000
                                      && io_read(X86_IOAPIC_ENTRY + 2 * 23) == (MASKED | LEVEL | 0x2199));
    set_handler(VEC_PIT, note);
    seen = 0;
    route(INPUT_PIT, VEC_PIT);
    sti();
    check("pit_by_io_apic", wait_for(&seen, 3));
    cli();
    route(INPUT_PIT, MASKED);
    /* One more may have come before that. */
    sti();
    asm volatile("nop");
    cli();

    /* The transmitter is empty: its interrupt is a level as long as it is enabled. */
    set_handler(VEC_UART, uart_service);
    seen = 0;
    order = 0;
    route(INPUT_UART, LEVEL | VEC_UART);
    outb(UART_IER, 2);
    sti();
    check("uart_by_io_apic_level", wait_for(&seen, 1));
    cli();
    check("remote_irr_until_the_end", order == 1
                                      && !(io_read(X86_IOAPIC_ENTRY + 2 * INPUT_UART) & REMOTE_IRR));
    route(INPUT_UART, MASKED);
    *apic(X86_APIC_SVR) = 0x1EF;
    check_equal("spurious_vector_reads_back", *apic(X86_APIC_SVR), 0x1EF);
}

static int sums_to_zero(const uint8_t *bytes, unsigned length)
{
    uint8_t total = 0;

    while (length--)
        total += *bytes++;
    return total == 0;
}

/* A structure that begins with `name`, aligned to 16 bytes, between two addresses. */
static const uint8_t *find(const char *name, unsigned length, uint32_t from, uint32_t to)
{
    for (uint32_t at = from; at < to; at += 16)
        if (!memcmp((const void *)at, name, length))
            return (const void *)at;
    return 0;
}

static uint32_t word(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

static const uint8_t *find_table(const uint8_t *rsdp, const char *name)
{
    const uint8_t *rsdt = (const uint8_t *)word(rsdp + 16);

    if (memcmp(rsdt, "RSDT", 4) || !sums_to_zero(rsdt, word(rsdt + 4)))
        return 0;
    for (uint32_t place = 36; place < word(rsdt + 4); place += 4)
        if (!memcmp((const void *)word(rsdt + place), name, 4))
            return (const uint8_t *)word(rsdt + place);
    return 0;
}

static int madt_is_right(const uint8_t *madt)
{
    int processors = 0, controllers = 0, timer = 0;

    if (!madt || !sums_to_zero(madt, word(madt + 4)) || word(madt + 36) != GIG_MEM_LOCAL_APIC)
        return 0;
    for (uint32_t place = 44; place < word(madt + 4); place += madt[place + 1]) {
        const uint8_t *entry = madt + place;

        if (entry[0] == 0 && word(entry + 4) & 1)
            processors++;
        else if (entry[0] == 1 && word(entry + 4) == GIG_MEM_IO_APIC && word(entry + 8) == 0)
            controllers++;
        else if (entry[0] == 2 && entry[3] == 0 && word(entry + 4) == INPUT_PIT)
            timer++;
    }
    return processors == 1 && controllers == 1 && timer == 1;
}

static void tables(void)
{
    const uint8_t *pointer = find("_MP_", 4, 0xF0000, 0x100000);
    const uint8_t *rsdp = find("RSD PTR ", 8, 0xE0000, 0x100000);

    check("mp_floating_pointer", pointer && sums_to_zero(pointer, 16 * pointer[8]));
    const uint8_t *mp = pointer ? (const uint8_t *)word(pointer + 4) : 0;
    check("mp_configuration", mp && !memcmp(mp, "PCMP", 4) && sums_to_zero(mp, mp[4] | mp[5] << 8)
                              && word(mp + 36) == GIG_MEM_LOCAL_APIC);
    check("acpi_madt", rsdp && sums_to_zero(rsdp, 20) && madt_is_right(find_table(rsdp, "APIC")));
}

int main(void)
{
    guard_init();
    at_power_on();
    priorities();
    destinations();
    timer();
    io_apic();
    tables();
    return check_failures();
}
