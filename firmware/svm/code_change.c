/* code_change: code of a guest changed between two runs by the host, by the guest itself, under another address; the
 * processor runs the new one. APM 15.5.1.
 *
 * expect: code_change: 10 checks
 */
#include "nested.h"
#include "string.h"

#define ALIAS 0x80000000

GUEST(constant, "", "movl $0x11111111, %ebx");
GUEST(patches_itself, "movl $0x33333333, constant_at + 1", "jmp constant");
GUEST(patches_alias, "movl $constant_at + 1, %edi; andl $0xFFF, %edi; movl $0x55555555, 0x80000000(%edi)",
      "jmp constant");

static void set_constant(uint32_t value) { memcpy(constant_at + 1, &value, sizeof value); }

static void runs(const char *name, uint32_t wanted)
{
    guest_run();
    expect(name, vmcb.exit_code == SVM_EXIT_VMMCALL && guest.ebx == wanted);
}

int main(void)
{
    nested_begin();
    guest_new(constant);
    runs("as_written", 0x11111111);
    set_constant(0x22222222);
    guest_goto(constant);
    runs("changed_by_host", 0x22222222);
    for (uint32_t n = 0; n < 3; n++) {
        set_constant(0xA0 + n);
        guest_goto(constant);
        guest_run();
    }
    expect_equal("changed_again_and_again", guest.ebx, 0xA2);
    guest_new(patches_itself);
    runs("changed_by_guest", 0x33333333);
    nested_new(constant, 1);
    set_constant(0x44444444);
    runs("changed_by_host_nested", 0x44444444);
    map_page(nested_tables, ALIAS, (uint32_t)constant_at & X86_PTE_FRAME, NESTED_RW);
    map_page(guest_tables, ALIAS, ALIAS, NESTED_RW);
    nested_new(patches_alias, 1);
    runs("changed_under_another_address", 0x55555555);
    /* Another frame under the same guest-physical address is other code. */
    uint8_t *copy = frame_new();

    memcpy(copy, (void *)((uint32_t)constant & X86_PTE_FRAME), PAGE_SIZE);
    set_constant(0x66666666);
    map_page(nested_tables, (uint32_t)constant & X86_PTE_FRAME, (uint32_t)copy, NESTED_RW);
    nested_new(constant, 1);
    runs("another_frame", 0x55555555);
    map_page(nested_tables, (uint32_t)constant & X86_PTE_FRAME, (uint32_t)constant & X86_PTE_FRAME, NESTED_RW);
    nested_new(constant, 1);
    runs("first_frame_again", 0x66666666);
    return suite_end("code_change");
}
