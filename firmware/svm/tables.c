/* tables: intercepts of reads and writes of GDTR, IDTR, LDTR and TR. APM 15.9.
 *
 * expect: tables: 22 checks
 */
#include "seg.h"
#include "suite.h"

GUEST(sgdt, "", "sgdt pointer");
GUEST(sidt, "", "sidt pointer");
GUEST(lgdt, "sgdt pointer", "lgdt pointer");
GUEST(lidt, "sidt pointer", "lidt pointer");
GUEST(sldt, "", "sldt %eax");
GUEST(str, "", "str %eax");
GUEST(sldt_memory, "", "sldt pointer");
GUEST(lldt, "xorl %eax, %eax", "lldt %ax");
GUEST(ltr, "movl $0x30, %eax", "ltr %ax");

uint16_t pointer[3];

static struct tss fresh_tss;

int main(void)
{
    suite_begin();
    EXPECT_INTERCEPT(sgdt, SVM_EXIT_GDTR_READ);
    EXPECT_INTERCEPT(sidt, SVM_EXIT_IDTR_READ);
    EXPECT_INTERCEPT(lgdt, SVM_EXIT_GDTR_WRITE);
    EXPECT_INTERCEPT(lidt, SVM_EXIT_IDTR_WRITE);
    EXPECT_INTERCEPT(sldt, SVM_EXIT_LDTR_READ);
    EXPECT_INTERCEPT(sldt_memory, SVM_EXIT_LDTR_READ);
    EXPECT_INTERCEPT(str, SVM_EXIT_TR_READ);
    EXPECT_INTERCEPT(lldt, SVM_EXIT_LDTR_WRITE);
    set_descriptor(SEL_FREE, descriptor((uint32_t)&fresh_tss, sizeof fresh_tss - 1, ACC_TSS32, 0));
    expect_intercept("ltr", ltr, ltr_at, SVM_EXIT_TR_WRITE);
    expect_equal("intercepted_ltr_marks_nothing", gdt[SEL_FREE / 8] >> 41 & 1, 0);
    expect_passes("ltr_alone", ltr, ltr_next);
    expect_equal("ltr_marks_busy", gdt[SEL_FREE / 8] >> 41 & 1, 1);
    return suite_end("tables");
}
