/* selectors: LAR, LSL, VERR, VERW and ARPL: what a program may learn of segments without touching them.
 *
 * expect:
 *   PASS lar_code
 *   PASS lar_tss
 *   PASS lar_call_gate
 *   PASS lar_null
 *   PASS lar_beyond_table
 *   PASS lar_interrupt_gate
 *   PASS lar_16
 *   PASS lar_ring3_of_kernel
 *   PASS lsl_pages
 *   PASS lsl_bytes
 *   PASS lsl_tss
 *   PASS lsl_gate_invalid
 *   PASS verr_code
 *   PASS verr_execute_only
 *   PASS verr_system
 *   PASS verr_conforming_ring3
 *   PASS verw_data
 *   PASS verw_code
 *   PASS verw_read_only
 *   PASS verr_ring3_of_kernel
 *   PASS arpl_raises
 *   PASS arpl_keeps
 * qemu-deviation: lar_code: it does not set the accessed bit of a code segment it loads
 */
#include "check.h"
#include "gigogne.h"
#include "seg.h"

enum slot {
    SMALL = SEL_FREE,             /* 16-bit read-only data of 123h bytes */
    GATE = SEL_FREE + 8,
    EXECUTE_ONLY = SEL_FREE + 16,
    CONFORMING = SEL_FREE + 24,
    INTERRUPT = SEL_FREE + 32,
};

static volatile uint32_t result, valid;

static uint32_t load_rights(uint32_t selector)
{
    uint32_t v = 0x5555;

    asm volatile("larl %2, %0; setz %b1; movzbl %b1, %1" : "+r"(v), "=q"(valid) : "r"(selector) : "cc");
    return v;
}

static uint32_t load_limit(uint32_t selector)
{
    uint32_t v = 0x5555;

    asm volatile("lsll %2, %0; setz %b1; movzbl %b1, %1" : "+r"(v), "=q"(valid) : "r"(selector) : "cc");
    return v;
}

static int may_read(uint16_t selector)
{
    uint8_t ok;

    asm volatile("verr %1; setz %0" : "=q"(ok) : "r"(selector) : "cc");
    return ok;
}

static int may_write(uint16_t selector)
{
    uint8_t ok;

    asm volatile("verw %1; setz %0" : "=q"(ok) : "r"(selector) : "cc");
    return ok;
}

static void lar_in_ring3(void) { result = load_rights(SEL_KDATA); }
static void verr_in_ring3(void) { result = may_read(SEL_KDATA); }
static void verr_conforming(void) { result = may_read(CONFORMING | 3); }

int main(void)
{
    uint32_t v;
    uint16_t a, b;

    guard_init();
    set_descriptor(SMALL, descriptor(0, 0x123, ACC_DATA & ~X86_TYPE_WRITABLE, SEG_16));
    set_descriptor(GATE, gate(SEL_KCODE, 0x1000, ACC_CALL_GATE32, 0));
    set_descriptor(EXECUTE_ONLY, descriptor(0, 0xFFFFF, ACC_CODE & ~X86_TYPE_READABLE, SEG_FLAT));
    set_descriptor(CONFORMING, descriptor(0, 0xFFFFF, ACC_CODE | X86_TYPE_CONFORMING, SEG_FLAT));
    set_descriptor(INTERRUPT, gate(SEL_KCODE, 0x1000, ACC_INTERRUPT_GATE32, 0));
    v = load_rights(SEL_KCODE);
    check_equal("lar_code", v & 0xF0FF00, 0xC09B00);
    check_equal("lar_tss", load_rights(SEL_TSS) & 0xFF00, (ACC_TSS32 | 2) << 8);
    check_equal("lar_call_gate", load_rights(GATE) & 0xFF00, ACC_CALL_GATE32 << 8);
    v = load_rights(0);
    check("lar_null", !valid && v == 0x5555);
    v = load_rights(GDT_ENTRIES * 8);
    check("lar_beyond_table", !valid && v == 0x5555);
    v = load_rights(INTERRUPT);
    check("lar_interrupt_gate", !valid && v == 0x5555);
    v = 0x77775555;
    asm volatile("larw %w1, %w0" : "+r"(v) : "r"(SEL_KDATA) : "cc");
    check_equal("lar_16", v, 0x77779300);
    run_ring3(lar_in_ring3);
    check("lar_ring3_of_kernel", !valid && result == 0x5555);
    check_equal("lsl_pages", load_limit(SEL_KDATA), 0xFFFFFFFF);
    check_equal("lsl_bytes", load_limit(SMALL), 0x123);
    check_equal("lsl_tss", load_limit(SEL_TSS), X86_TSS32_SIZE - 1);
    v = load_limit(GATE);
    check("lsl_gate_invalid", !valid && v == 0x5555);
    check("verr_code", may_read(SEL_KCODE));
    check("verr_execute_only", !may_read(EXECUTE_ONLY));
    check("verr_system", !may_read(SEL_TSS));
    run_ring3(verr_conforming);
    check_equal("verr_conforming_ring3", result, 1);
    check("verw_data", may_write(SEL_KDATA));
    check("verw_code", !may_write(SEL_KCODE));
    check("verw_read_only", !may_write(SMALL));
    run_ring3(verr_in_ring3);
    check_equal("verr_ring3_of_kernel", result, 0);
    a = 0x10, b = 0x1B;
    asm volatile("arpl %w2, %w0; setz %b1; movzbl %b1, %1" : "+r"(a), "=q"(v) : "r"(b) : "cc");
    check("arpl_raises", a == 0x13 && v == 1);
    a = 0x13, b = 0x08;
    asm volatile("arpl %w2, %w0; setz %b1; movzbl %b1, %1" : "+r"(a), "=q"(v) : "r"(b) : "cc");
    check("arpl_keeps", a == 0x13 && v == 0);
    return check_failures();
}
