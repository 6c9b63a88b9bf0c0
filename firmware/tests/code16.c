/* code16: 16-bit code and stack segments in protected mode: operand and address sizes, IP and SP that wrap.
 *
 * expect:
 *   PASS operands_are_words
 *   PASS prefix_gives_dwords
 *   PASS addresses_wrap_at_64k
 *   PASS prefix_gives_32_bit_addresses
 *   PASS modrm_16_forms
 *   PASS push_is_two_bytes
 *   PASS near_call_wraps_ip
 *   PASS sp_wraps
 *   PASS esp_upper_half_kept
 *   PASS stack_size_is_ss_not_cs
 *   PASS enter_leave_16
 *   PASS loop_counts_cx
 *   PASS string_uses_si_di
 *   PASS fault_pushes_32_bits
 *   PASS far_return_to_32
 */
#include "check.h"
#include "gigogne.h"
#include "seg.h"

enum {
    CODE_16 = SEL_FREE,       /* the image seen from 0, 16-bit */
    STACK_16 = SEL_FREE + 8,  /* 64 KiB of `room` */
    IMAGE = 0x100000,
};

_Static_assert(SEL_FREE == 0x30, "the selectors below are those of the free slots");

/* Into 16-bit code and back. The data segments stay flat; FS covers `room`; ECX, EDX, ESI, EDI go into `result`. */
#define CODE16(name, text)                                                                                             \
    CODE(name, "movl $0x38, %eax; movl %eax, %fs; xorl %ebx, %ebx; movl %esp, %ebp",                                   \
         "ljmp $0x30, $" #name "_16-0x100000; " #name "_32: movl %ebp, %esp;"                                         \
         "movl %ecx, result; movl %edx, result+4; movl %esi, result+8; movl %edi, result+12");                         \
    asm(".pushsection .text.checks, \"ax\"\n.code16\n" #name "_16: " text "\nljmpl $8, $" #name "_32\n.code32\n"        \
        ".popsection")

CODE16(words, "movl $0x11112222, %eax; movw $0x3333, %ax; movl %eax, %ecx; incw %cx");
CODE16(prefix, "movl $0x12345678, %ecx");
CODE16(wrap_address, "movw $0xFFFE, %bx; movw $4, %si; movw %fs:(%bx,%si), %cx");
CODE16(wide_address, "movl $room+2, %ebx; movw (%ebx), %cx");
CODE16(forms, "movw $0x100, %bx; movw $0x10, %di; movw $0x20, %si; movw %fs:8(%bx,%di), %cx; addw %fs:0x200(%si), %cx;"
              "addw %fs:0x300, %cx");
CODE16(push_size, "movl %esp, %ecx; pushw %ax; subl %esp, %ecx; pushl %eax; pushw %fs; movl %esp, %edx;"
                  "subl %ebp, %edx; negl %edx");
CODE16(loops, "movl $0x10004, %ecx; 1: incw %bx; loop 1b; movl %ebx, %edx");
CODE16(strings, "movl $0x10008, %esi; movl $0x20100, %edi; movl $0x30002, %ecx; cld; pushw %ds; pushw %es;"
                "pushw %fs; popw %ds; pushw %fs; popw %es; rep movsw; popw %es; popw %ds");
CODE16(undefined, "undefined_here: ud2");
CODE(undefined_in_16, "", "ljmp $0x30, $undefined_16-0x100000");

/* A 16-bit stack from 32-bit code: the size of the stack is SS's. */
CODE(wrap_sp, "movl %esp, %ebp; movl $0x38, %eax; movl $0xABCD0000, %ecx; movl %eax, %ss; movl %ecx, %esp",
     "pushl $0x55667788; movl %esp, %edx; movl $0x10, %eax; movl %eax, %ss; movl %ebp, %esp; movl %edx, result");
CODE(enter_16, "movl %esp, %edi; movl $0x38, %eax; movl %eax, %ss; movl $0x12340200, %esp; movl $0x5678ABCD, %ebp",
     "enter $16, $0; movl %ebp, %ecx; movl %esp, %edx; leave; movl %esp, %esi; movl $0x10, %eax; movl %eax, %ss;"
     "movl %edi, %esp; movl %ecx, result; movl %edx, result+4; movl %esi, result+8; movl %ebp, result+12");
/* A near call at the end of the first 64 KiB of a 16-bit segment: room holds the code. */
CODE(wrap_ip, "movl %esp, %ebp", "ljmp $0x40, $0xFFFD; wrap_ip_back: movl %ebp, %esp");

extern char undefined_here[], wrap_ip_back[];
uint32_t result[4];
uint8_t room[0x10000] __attribute__((aligned(4096)));

static void set(uint32_t at, uint16_t value) { *(volatile uint16_t *)(room + at) = value; }

static uint16_t low(void) { return result[0]; }

static void sizes(void)
{
    set(2, 0xBEEF);
    set(0x118, 0x1000);
    set(0x220, 0x0200);
    set(0x300, 0x0030);
    run_guarded(words);
    check_equal("operands_are_words", result[0], 0x11113334);
    run_guarded(prefix);
    check_equal("prefix_gives_dwords", result[0], 0x12345678);
    run_guarded(wrap_address);
    check_equal("addresses_wrap_at_64k", low(), 0xBEEF);
    run_guarded(wide_address);
    check_equal("prefix_gives_32_bit_addresses", low(), 0xBEEF);
    run_guarded(forms);
    check_equal("modrm_16_forms", low(), 0x1230);
    run_guarded(push_size);
    check("push_is_two_bytes", result[0] == 2 && result[1] == 8);
}

static void wraps(void)
{
    /* call rel16 at FFFDh pushes 0; its target, 100h, is reached by wrapping: pop AX, then far to wrap_ip_back. */
    static const uint8_t call[3] = {0xE8, 0x00, 0x01};
    uint8_t *at = room + 0x100;
    uint32_t back = (uint32_t)wrap_ip_back;

    for (int n = 0; n < 3; n++)
        room[0xFFFD + n] = call[n];
    *at++ = 0x58;
    *at++ = 0x66, *at++ = 0xEA;
    *(volatile uint32_t *)at = back;
    *(volatile uint16_t *)(at + 4) = SEL_KCODE;
    set_descriptor(SEL_FREE + 16, descriptor((uint32_t)room, 0xFFFF, ACC_CODE, SEG_16));
    check_runs("near_call_wraps_ip", wrap_ip);
    run_guarded(wrap_sp);
    check("sp_wraps", room[0xFFFC] == 0x88 && room[0xFFFF] == 0x55);
    check_equal("esp_upper_half_kept", result[0], 0xABCDFFFC);
    check("stack_size_is_ss_not_cs", room[0xFFFD] == 0x77);
    run_guarded(enter_16);
    check("enter_leave_16", (uint16_t)result[0] == 0x01FC && result[1] == 0x123401EC && result[2] == 0x12340200 &&
                                result[3] == 0x5678ABCD);
}

int main(void)
{
    const struct trap_frame *frame;

    guard_init();
    set_descriptor(CODE_16, descriptor(IMAGE, 0xFFFF, ACC_CODE, SEG_16));
    set_descriptor(STACK_16, descriptor((uint32_t)room, 0xFFFF, ACC_DATA, SEG_16));
    sizes();
    wraps();
    run_guarded(loops);
    check("loop_counts_cx", result[0] == 0x10000 && (uint16_t)result[1] == 4);
    set(8, 0x1111);
    set(10, 0x2222);
    run_guarded(strings);
    check("string_uses_si_di", result[2] == 0x1000C && result[3] == 0x20104 && result[0] == 0x30000 &&
                                   room[0x102] == 0x22);
    frame = run_guarded(undefined_in_16);
    check("fault_pushes_32_bits", frame->vector == X86_VEC_UD && frame->cs == CODE_16 &&
                                      frame->eip == (uint32_t)undefined_here - IMAGE);
    check_runs("far_return_to_32", words);
    return check_failures();
}
