/* io_bitmap: which ports ring 3 may touch: IOPL, the bitmap of the TSS, wide accesses, a bitmap cut short.
 *
 * expect:
 *   PASS no_bitmap
 *   PASS iopl_allows_all
 *   PASS bit_clear_allows
 *   PASS bit_set_denies
 *   PASS word_needs_two_bits
 *   PASS dword_needs_four_bits
 *   PASS word_across_bytes
 *   PASS beyond_limit_denied
 *   PASS last_port_has_a_byte_after
 *   PASS last_port_without_byte_after
 *   PASS string_output_checked
 *   PASS ring0_needs_none
 */
#include "check.h"
#include "gigogne.h"
#include "seg.h"

enum { BITMAP_BYTES = 32 }; /* ports 0 to FFh */

CODE(out_80, "", "outb %al, $0x80");
CODE(out_word_80, "", "outw %ax, $0x80");
CODE(out_dword_80, "", "outl %eax, $0x80");
CODE(out_word_87, "", "outw %ax, $0x87");
CODE(out_100, "movl $0x100, %edx", "outb %al, %dx");
CODE(in_ff, "movl $0xFF, %edx", "inb %dx, %al");
CODE(outs_80, "movl $0x80, %edx; movl $bitmap, %esi", "outsb");

struct {
    struct tss tss;
    uint8_t bits[BITMAP_BYTES + 1];
} __attribute__((packed, aligned(128))) wide;
char bitmap[4];

static void deny(unsigned port) { wide.bits[port / 8] |= 1 << port % 8; }

static void load_tss(uint32_t limit)
{
    set_descriptor(SEL_TSS, descriptor((uint32_t)&wide, limit, ACC_TSS32, 0));
    asm volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* The guard writes ESP0 of the usual TSS, not of this one, which gets a stack of its own. */
static uint32_t inner_stack[256];

static void fault(const char *name, void (*code)(void), const void *eip)
{
    check_trap_ring3(name, code, X86_VEC_GP, 0, eip);
}

int main(void)
{
    const uint32_t whole = sizeof wide.tss + sizeof wide.bits - 1;

    guard_init();
    fault("no_bitmap", out_80, out_80_at);
    check("iopl_allows_all", run_ring3_flags(out_80, 0x3002)->vector == VEC_RING3_DONE);
    wide.tss = tss;
    wide.tss.io_base = sizeof wide.tss;
    wide.bits[BITMAP_BYTES] = 0xFF;
    wide.tss.esp0 = (uint32_t)(inner_stack + ARRAY_SIZE(inner_stack));
    load_tss(whole);
    check_runs_ring3("bit_clear_allows", out_80);
    deny(0x80);
    fault("bit_set_denies", out_80, out_80_at);
    wide.bits[0x80 / 8] = 0;
    deny(0x81);
    fault("word_needs_two_bits", out_word_80, out_word_80_at);
    wide.bits[0x80 / 8] = 0;
    deny(0x83);
    fault("dword_needs_four_bits", out_dword_80, out_dword_80_at);
    wide.bits[0x80 / 8] = 0;
    deny(0x88);
    fault("word_across_bytes", out_word_87, out_word_87_at);
    fault("beyond_limit_denied", out_100, out_100_at);
    check_runs_ring3("last_port_has_a_byte_after", in_ff);
    load_tss(whole - 1);
    fault("last_port_without_byte_after", in_ff, in_ff_at);
    load_tss(whole);
    deny(0x80);
    fault("string_output_checked", outs_80, outs_80_at);
    check_runs("ring0_needs_none", out_80);
    return check_failures();
}
