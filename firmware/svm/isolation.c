/* isolation: under nested paging a guest changes its CR3, CR0 and CR4 as it likes and reaches nothing but what N_CR3
 * maps; it cannot even see N_CR3. The last paragraph of the course. APM 15.25.2.
 *
 * expect: isolation: 22 checks
 */
#include "nested.h"

#define SECRET 0x5EC2E7

GUEST(change_cr3, "movl %esi, %cr3; movl %cr3, %ebx", "movl 0x40000000, %ecx");
GUEST(mov_from_cr3, "", "movl %cr3, %ebx; movl %cr0, %ecx; movl %cr4, %edx");
GUEST(paging_off_and_on, "movl %cr0, %eax; andl $0x7FFFFFFF, %eax; movl %eax, %cr0; movl (%esi), %ebx; "
                         "orl $0x80000000, %eax; movl %eax, %cr0",
      "movl 0x40000000, %ecx");
GUEST(pse_off, "xorl %eax, %eax; movl %eax, %cr4", "movl (%esi), %ebx");
GUEST(point_cr3, "movl %esi, %cr3", "nop");
GUEST(reach, "", "movl (%esi), %ebx");
GUEST(reach_write, "", "movl %ebx, (%esi)");
GUEST(all_at_once, "movl %cr0, %eax; xorl $0x10000, %eax; movl %eax, %cr0; movl %cr4, %eax; orl $0x80, %eax; "
                   "movl %eax, %cr4; invlpg (%esi); wbinvd; movl %cr3, %eax; movl %eax, %cr3",
      "movl (%esi), %ebx");

static uint32_t *second_tables;
static uint32_t visible, second_visible, secret; /* frames: of the guest's two spaces, and of the host alone */

static void own_registers(void)
{
    nested_new(change_cr3, 1);
    guest.esi = (uint32_t)second_tables;
    guest_run();
    expect_exit("change_cr3", SVM_EXIT_VMMCALL, change_cr3_next);
    expect_equal("sees_its_cr3", guest.ebx, (uint32_t)second_tables);
    expect_equal("new_space", guest.ecx, 0x2222);
    expect_equal("cr3_out", vmcb.cr3, (uint32_t)second_tables);
    expect_equal("n_cr3_is_the_hosts", vmcb.n_cr3, (uint32_t)nested_tables);
    nested_new(mov_from_cr3, 1);
    guest_run();
    expect("sees_its_registers", guest.ebx == (uint32_t)guest_tables &&
                                     guest.ecx == (X86_CR0_PE | X86_CR0_ET | X86_CR0_PG | X86_CR0_WP) &&
                                     guest.edx == X86_CR4_PSE);
    nested_new(paging_off_and_on, 1);
    guest.esi = visible;
    guest_run();
    expect_exit("paging_off_and_on", SVM_EXIT_VMMCALL, paging_off_and_on_next);
    expect("both_modes_translate", guest.ebx == 0x1111 && guest.ecx == 0x1111);
    /* The nested dimension keeps the host's CR4.PSE: a 4 MiB nested page, under a guest that has turned PSE off. */
    map_large(nested_tables, 0x80000000, 8 << 20, NESTED_RW);
    map_page(guest_tables, 0x50000000, 0x80000000 + PAGE_SIZE, NESTED_RW);
    *(volatile uint32_t *)((8 << 20) + PAGE_SIZE) = 0x8888;
    nested_new(pse_off, 1);
    guest.esi = 0x50000000;
    guest_run();
    expect_equal("guest_pse_is_the_guests", guest.ebx, 0x8888);
}

/* With CR3 pointed at the nested tables themselves the guest is where its guest-physical addresses are. */
static void out_of_reach(void)
{
    nested_new(reach, 0);
    guest.esi = secret;
    guest_run();
    expect_equal("secret_read", vmcb.exit_code, SVM_EXIT_NPF);
    expect_equal("secret_address", vmcb.exit_info2, secret);
    nested_new(reach_write, 0);
    guest.esi = secret;
    guest_run();
    expect_equal("secret_write", vmcb.exit_code, SVM_EXIT_NPF);
    map_page(guest_tables, 0x41000000, secret, NESTED_RW);
    nested_new(reach, 1);
    guest.esi = 0x41000000;
    guest_run();
    expect_equal("secret_by_guest_table", vmcb.exit_code, SVM_EXIT_NPF);
    nested_new(all_at_once, 1);
    guest.esi = 0x41000000;
    guest_run();
    expect_equal("secret_after_everything", vmcb.exit_code, SVM_EXIT_NPF);
    nested_new(point_cr3, 1);
    guest.esi = secret;
    guest_run();
    expect_equal("secret_as_tables", vmcb.exit_code, SVM_EXIT_NPF);
    expect("secret_as_tables_kind", vmcb.exit_info1 >> 32 == SVM_NPF_TABLE_HIGH &&
                                        (vmcb.exit_info2 & X86_PTE_FRAME) == secret);
    expect_equal("secret_untouched", *(volatile uint32_t *)secret, SECRET);
    nested_new(reach, 0);
    guest.esi = (uint32_t)nested_tables;
    guest_run();
    expect_equal("nested_tables_read", vmcb.exit_code, SVM_EXIT_NPF);
    nested_new(reach_write, 0);
    guest.esi = (uint32_t)nested_tables;
    guest_run();
    expect_equal("nested_tables_write", vmcb.exit_code, SVM_EXIT_NPF);
}

/* Every 16 MiB of the last GiB of the guest-physical space, which N_CR3 does not map: no access gets through. */
static void sweep(void)
{
    uint32_t through = 0;

    for (uint32_t at = 0xC0000000; at != 0; at += 0x1000000) {
        nested_new(reach_write, 0);
        guest.esi = at;
        guest_run();
        through += vmcb.exit_code != SVM_EXIT_NPF || vmcb.exit_info2 != at;
    }
    expect_equal("sweep", through, 0);
}

int main(void)
{
    nested_begin();
    visible = (uint32_t)frame_new();
    second_visible = (uint32_t)frame_new();
    secret = (uint32_t)frame_new();
    *(volatile uint32_t *)visible = 0x1111;
    *(volatile uint32_t *)second_visible = 0x2222;
    *(volatile uint32_t *)secret = SECRET;
    second_tables = identity_directory(4 << 20, 0, NESTED_RW);
    map_page(guest_tables, 0x40000000, visible, NESTED_RW);
    map_page(second_tables, 0x40000000, second_visible, NESTED_RW);
    map_page(nested_tables, secret, 0, 0);
    map_page(nested_tables, (uint32_t)nested_tables, 0, 0);
    own_registers();
    out_of_reach();
    sweep();
    return suite_end("isolation");
}
