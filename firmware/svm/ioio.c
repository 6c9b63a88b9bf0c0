/* ioio: the I/O permission map, sizes, strings, what EXITINFO1 and 2 say of it, both ends of the map. APM 15.10.
 *
 * expect: ioio: 39 checks
 */
#include "seg.h"
#include "string.h"
#include "suite.h"

GUEST(in_byte, "", "inb $0x80, %al");
GUEST(in_word, "", "inw $0x80, %ax");
GUEST(in_dword, "", "inl $0x80, %eax");
GUEST(out_byte, "", "outb %al, $0x80");
GUEST(out_word, "", "outw %ax, $0x80");
GUEST(out_dword, "", "outl %eax, $0x80");
GUEST(in_dx, "movl $0xABCD, %edx", "inb %dx, %al");
GUEST(out_dx, "movl $0xABCD, %edx", "outb %al, %dx");
GUEST(insb, "movl $0x80, %edx; movl $buffer, %edi", "insb");
GUEST(rep_insd, "movl $0x80, %edx; movl $buffer, %edi; movl $2, %ecx", "rep insl");
GUEST(outsw, "movl $0x80, %edx; movl $buffer, %esi", "outsw");
GUEST(rep_outsb, "movl $0x80, %edx; movl $buffer, %esi; movl $3, %ecx", "rep outsb");
GUEST(outs_fs, "movl $0x80, %edx; movl $buffer, %esi", "fs; outsb");
GUEST(outs_16, "movl $0x80, %edx; xorl %esi, %esi", ".byte 0x67; outsb");
GUEST(last_byte, "movl $0xFFFF, %edx", "outb %al, %dx");
GUEST(last_word, "movl $0xFFFF, %edx", "outw %ax, %dx");
GUEST(last_dword, "movl $0xFFFD, %edx", "outl %eax, %dx");
GUEST(first_byte, "xorl %edx, %edx", "inb %dx, %al");

uint8_t buffer[16];

/* Bits that only an access by a string instruction must give. */
enum { STRING_ONLY = SVM_IOIO_SEGMENT | SVM_IOIO_ADDRESS16 | SVM_IOIO_ADDRESS32 | SVM_IOIO_ADDRESS64 };

static void deny(unsigned port) { iopm[port / 8] |= 1 << port % 8; }
static void allow(unsigned port) { iopm[port / 8] &= ~(1 << port % 8); }

static void run(void (*code)(void))
{
    guest_new(code);
    intercept(SVM_EXIT_IOIO);
    guest_run();
}

/* Port 80h (or the one of `info`) denied: the exit tells everything; allowed: it passes. */
static void both(const char *name, void (*code)(void), const void *at, const void *next, uint32_t info)
{
    deny(info >> 16);
    run(code);
    vmcb.exit_info1 &= ~(uint64_t)STRING_ONLY;
    expect_exit_info(name, SVM_EXIT_IOIO, at, info, (uint32_t)next);
    allow(info >> 16);
}

#define BOTH(name, info) both(#name, name, name##_at, name##_next, info)

static void forms(void)
{
    const uint32_t port = 0x80u << 16, in = SVM_IOIO_INPUT, string = SVM_IOIO_STRING, rep = SVM_IOIO_REP;

    BOTH(in_byte, port | in | SVM_IOIO_SIZE8);
    BOTH(in_word, port | in | SVM_IOIO_SIZE16);
    BOTH(in_dword, port | in | SVM_IOIO_SIZE32);
    BOTH(out_byte, port | SVM_IOIO_SIZE8);
    BOTH(out_word, port | SVM_IOIO_SIZE16);
    BOTH(out_dword, port | SVM_IOIO_SIZE32);
    BOTH(in_dx, 0xABCDu << 16 | in | SVM_IOIO_SIZE8);
    BOTH(out_dx, 0xABCDu << 16 | SVM_IOIO_SIZE8);
    memset(buffer, 0x5A, sizeof buffer);
    BOTH(insb, port | in | string | SVM_IOIO_SIZE8);
    BOTH(rep_insd, port | in | string | rep | SVM_IOIO_SIZE32);
    expect("nothing_read", buffer[0] == 0x5A && guest.ecx == 2 && guest.edi == (uint32_t)buffer);
    BOTH(outsw, port | string | SVM_IOIO_SIZE16);
    BOTH(rep_outsb, port | string | rep | SVM_IOIO_SIZE8);
}

static void address_sizes(void)
{
    deny(0x80);
    run(outsw);
    expect_equal("string_address_32", vmcb.exit_info1 & (SVM_IOIO_ADDRESS16 | SVM_IOIO_ADDRESS32), SVM_IOIO_ADDRESS32);
    run(outs_16);
    expect_equal("string_address_16", vmcb.exit_info1 & (SVM_IOIO_ADDRESS16 | SVM_IOIO_ADDRESS32), SVM_IOIO_ADDRESS16);
    if (svm_has(SVM_CPUID_DECODE_ASSISTS)) {
        enum { SEG_ES = 0, SEG_DS = 3, SEG_FS = 4, SEG_SHIFT = 10 };

        run(outsw);
        expect_equal("outs_segment", (vmcb.exit_info1 & SVM_IOIO_SEGMENT) >> SEG_SHIFT, SEG_DS);
        run(outs_fs);
        expect_equal("outs_segment_override", (vmcb.exit_info1 & SVM_IOIO_SEGMENT) >> SEG_SHIFT, SEG_FS);
        run(insb);
        expect_equal("ins_segment", (vmcb.exit_info1 & SVM_IOIO_SEGMENT) >> SEG_SHIFT, SEG_ES);
    } else {
        skip("outs_segment");
        skip("outs_segment_override");
        skip("ins_segment");
    }
    allow(0x80);
}

static void passes(const char *name, void (*code)(void), const void *next)
{
    run(code);
    expect_exit(name, SVM_EXIT_VMMCALL, next);
}

static void map(void)
{
    passes("allowed", out_byte, out_byte_next);
    passes("allowed_string", rep_outsb, rep_outsb_next);
    expect("allowed_string_is_done", guest.ecx == 0 && guest.esi == (uint32_t)buffer + 3);
    deny(0x7F);
    deny(0x84);
    passes("neighbours_denied", out_dword, out_dword_next);
    allow(0x7F);
    allow(0x84);
    deny(0x83);
    passes("word_needs_two_bits", out_word, out_word_next);
    run(out_dword);
    expect_exit("dword_needs_four_bits", SVM_EXIT_IOIO, out_dword_at);
    allow(0x83);
    deny(0x81);
    passes("byte_needs_one_bit", out_byte, out_byte_next);
    run(in_word);
    expect_exit("word_second_bit", SVM_EXIT_IOIO, in_word_at);
    allow(0x81);
    deny(0x80);
    expect_passes("map_without_intercept", out_byte, out_byte_next);
    allow(0x80);
    deny(0);
    run(first_byte);
    expect_exit("first_port", SVM_EXIT_IOIO, first_byte_at);
    allow(0);
}

/* The last ports: an access that reaches beyond tests the three bits after the map's 64 Ki. */
static void end(void)
{
    deny(0xFFFF);
    run(last_byte);
    expect_exit("last_byte", SVM_EXIT_IOIO, last_byte_at);
    run(last_dword);
    expect_exit("last_dword", SVM_EXIT_IOIO, last_dword_at);
    allow(0xFFFF);
    passes("last_byte_allowed", last_byte, last_byte_next);
    passes("last_word_allowed", last_word, last_word_next);
    deny(0x10000);
    passes("last_byte_ignores_beyond", last_byte, last_byte_next);
    run(last_word);
    expect_exit("last_word_tests_beyond", SVM_EXIT_IOIO, last_word_at);
    run(last_dword);
    expect_exit("last_dword_tests_beyond", SVM_EXIT_IOIO, last_dword_at);
    allow(0x10000);
}

/* The task's own bitmap and IOPL come first. */
static void ring_3(void)
{
    deny(0x80);
    guest_new(out_byte);
    guest_ring3();
    intercept(SVM_EXIT_IOIO);
    guest_run();
    expect_guest_trap("bitmap_first", X86_VEC_GP, 0, out_byte_at);
    guest_new(out_byte);
    guest_ring3();
    intercept(SVM_EXIT_IOIO);
    vmcb.rflags |= 3 << 12;
    guest_run();
    expect_exit("iopl_then_map", SVM_EXIT_IOIO, out_byte_at);
    allow(0x80);
}

int main(void)
{
    suite_begin();
    forms();
    address_sizes();
    map();
    end();
    ring_3();
    return suite_end("ioio");
}
