/* paging: error codes, CR2, accessed and dirty bits, write protection, large and global pages.
 *
 * expect:
 *   PASS read_missing
 *   PASS write_missing
 *   PASS execute_missing
 *   PASS cr2
 *   PASS write_protected
 *   PASS write_protected_without_wp
 *   PASS user_read_missing
 *   PASS user_read_kernel
 *   PASS user_write_kernel
 *   PASS user_write_read_only
 *   PASS user_execute_kernel
 *   PASS user_read
 *   PASS directory_is_read_only
 *   PASS directory_is_kernel
 *   PASS read_sets_accessed
 *   PASS write_sets_dirty
 *   PASS fault_sets_no_dirty
 *   PASS directory_gets_accessed
 *   PASS large_page_maps
 *   PASS large_page_dirty
 *   PASS large_page_without_pse
 *   PASS large_page_reserved
 *   PASS second_page_missing
 *   PASS first_page_untouched
 *   PASS read_modify_write_reports_write
 *   PASS invlpg_forgets
 *   PASS cr3_load_forgets
 *   PASS pge_toggle_forgets_global
 *   PASS walk_of_missing_directory
 * qemu-deviation: large_page_reserved: its processor has PSE-36, where these bits are address bits
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"

#define WINDOW 0x40000000
#define LARGE 0x50000000
#define ALIAS 0x60000000

CODE(read_word, "movl at, %ecx", "movl (%ecx), %eax");
CODE(write_word, "movl at, %ecx; movl $0x12345678, %eax", "movl %eax, (%ecx)");
CODE(increment, "movl at, %ecx", "incl (%ecx)");
CODE(execute, "movl at, %ecx", "jmp *%ecx");

uint32_t at;

static uint32_t *directory;

static void fault(const char *name, void (*code)(void), const void *eip, uint32_t where, uint32_t error)
{
    at = where;
    check_trap(name, code, X86_VEC_PF, error, eip);
}

static void fault_ring3(const char *name, void (*code)(void), const void *eip, uint32_t where, uint32_t error)
{
    at = where;
    check_trap_ring3(name, code, X86_VEC_PF, error, eip);
}

static void map(uint32_t where, uint32_t frame, uint32_t flags)
{
    map_page(directory, where, frame, flags);
    invlpg((void *)where);
}

static void rights(uint32_t frame)
{
    fault("read_missing", read_word, read_word_at, WINDOW, 0);
    fault("write_missing", write_word, write_word_at, WINDOW + 8, X86_PF_W);
    fault("execute_missing", execute, (void *)WINDOW, WINDOW, 0);
    fault("cr2", read_word, read_word_at, WINDOW + 0x234, 0);
    if (read_cr2() != WINDOW + 0x234)
        check_equal("cr2_value", read_cr2(), WINDOW + 0x234);
    map(WINDOW, frame, X86_PTE_P);
    fault("write_protected", write_word, write_word_at, WINDOW, X86_PF_P | X86_PF_W);
    write_cr0(read_cr0() & ~X86_CR0_WP);
    check_runs("write_protected_without_wp", write_word);
    write_cr0(read_cr0() | X86_CR0_WP);
    fault_ring3("user_read_missing", read_word, read_word_at, WINDOW + 0x1000, X86_PF_U);
    fault_ring3("user_read_kernel", read_word, read_word_at, WINDOW, X86_PF_P | X86_PF_U);
    map(WINDOW, frame, X86_PTE_P | X86_PTE_W);
    fault_ring3("user_write_kernel", write_word, write_word_at, WINDOW, X86_PF_P | X86_PF_W | X86_PF_U);
    map(WINDOW, frame, X86_PTE_P | X86_PTE_U);
    fault_ring3("user_write_read_only", write_word, write_word_at, WINDOW, X86_PF_P | X86_PF_W | X86_PF_U);
    map(WINDOW, frame, X86_PTE_P | X86_PTE_W);
    fault_ring3("user_execute_kernel", execute, (void *)WINDOW, WINDOW, X86_PF_P | X86_PF_U);
    map(WINDOW, frame, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    check_runs_ring3("user_read", read_word);
    *directory_entry(directory, WINDOW) &= ~X86_PTE_W;
    invlpg((void *)WINDOW);
    fault("directory_is_read_only", write_word, write_word_at, WINDOW, X86_PF_P | X86_PF_W);
    *directory_entry(directory, WINDOW) = (*directory_entry(directory, WINDOW) | X86_PTE_W) & ~X86_PTE_U;
    invlpg((void *)WINDOW);
    fault_ring3("directory_is_kernel", read_word, read_word_at, WINDOW, X86_PF_P | X86_PF_U);
    *directory_entry(directory, WINDOW) |= X86_PTE_U;
    invlpg((void *)WINDOW);
}

static void accessed_and_dirty(uint32_t frame)
{
    uint32_t *entry = page_entry(directory, WINDOW);

    *directory_entry(directory, WINDOW) &= ~X86_PTE_A;
    map(WINDOW, frame, X86_PTE_P | X86_PTE_W);
    at = WINDOW;
    run_guarded(read_word);
    check_equal("read_sets_accessed", *entry & 0xFFF, X86_PTE_P | X86_PTE_W | X86_PTE_A);
    run_guarded(write_word);
    check_equal("write_sets_dirty", *entry & 0xFFF, X86_PTE_P | X86_PTE_W | X86_PTE_A | X86_PTE_D);
    map(WINDOW, frame, X86_PTE_P);
    run_guarded(write_word);
    check_equal("fault_sets_no_dirty", *entry & X86_PTE_D, 0);
    check("directory_gets_accessed", (*directory_entry(directory, WINDOW) & X86_PTE_A) != 0);
}

static void large_pages(uint32_t frame)
{
    uint32_t base = frame & -LARGE_PAGE_SIZE;

    map_large(directory, LARGE, base, X86_PTE_P | X86_PTE_W);
    invlpg((void *)LARGE);
    at = LARGE + (frame - base);
    *(volatile uint32_t *)frame = 0xCAFE;
    check_equal("large_page_maps", *(volatile uint32_t *)at, 0xCAFE);
    run_guarded(write_word);
    check_equal("large_page_dirty", *directory_entry(directory, LARGE) & (X86_PTE_A | X86_PTE_D),
                X86_PTE_A | X86_PTE_D);
    /* Without PSE the same entry points at a table: page 0 of it is what the base's first word says. */
    uint32_t saved = *(volatile uint32_t *)(frame & -PAGE_SIZE);

    *directory_entry(directory, LARGE) = frame | X86_PTE_P | X86_PTE_W | X86_PTE_PS;
    *(volatile uint32_t *)frame = 0;
    write_cr4(read_cr4() & ~X86_CR4_PSE);
    invlpg((void *)LARGE);
    fault("large_page_without_pse", read_word, read_word_at, LARGE, 0);
    write_cr4(read_cr4() | X86_CR4_PSE);
    *(volatile uint32_t *)frame = saved;
    *directory_entry(directory, LARGE) = base | X86_PTE_P | X86_PTE_W | X86_PTE_PS | 1 << 13;
    invlpg((void *)LARGE);
    fault("large_page_reserved", read_word, read_word_at, LARGE, X86_PF_P | X86_PF_RSVD);
    *directory_entry(directory, LARGE) = 0;
    invlpg((void *)LARGE);
}

static void crossing(uint32_t frame)
{
    map(WINDOW, frame, X86_PTE_P | X86_PTE_W);
    map(WINDOW + 0x1000, 0, 0);
    *(volatile uint32_t *)(frame + 0xFFC) = 0x11223344;
    at = WINDOW + 0xFFE;
    check_trap("second_page_missing", write_word, X86_VEC_PF, X86_PF_W, write_word_at);
    check("first_page_untouched", *(volatile uint32_t *)(frame + 0xFFC) == 0x11223344 && read_cr2() == WINDOW + 0x1000);
    map(WINDOW + 0x1000, frame, X86_PTE_P);
    fault("read_modify_write_reports_write", increment, increment_at, WINDOW + 0x1000, X86_PF_P | X86_PF_W);
}

static void stale(uint32_t frame, uint32_t other)
{
    volatile uint32_t *window = (volatile uint32_t *)ALIAS;

    *(volatile uint32_t *)frame = 1;
    *(volatile uint32_t *)other = 2;
    map_page(directory, ALIAS, frame, X86_PTE_P | X86_PTE_W);
    uint32_t first = *window;

    map_page(directory, ALIAS, other, X86_PTE_P | X86_PTE_W);
    invlpg((void *)ALIAS);
    check_equal("invlpg_forgets", first * 16 + *window, 0x12);
    map_page(directory, ALIAS, frame, X86_PTE_P | X86_PTE_W);
    write_cr3(read_cr3());
    check_equal("cr3_load_forgets", *window, 1);
    write_cr4(read_cr4() | X86_CR4_PGE);
    map(ALIAS, frame, X86_PTE_P | X86_PTE_W | X86_PTE_G);
    first = *window;
    map_page(directory, ALIAS, other, X86_PTE_P | X86_PTE_W | X86_PTE_G);
    write_cr4(read_cr4() & ~X86_CR4_PGE);
    check_equal("pge_toggle_forgets_global", first * 16 + *window, 0x12);
    fault("walk_of_missing_directory", read_word, read_word_at, 0xFFFFFFF0, 0);
}

int main(void)
{
    uint32_t frame = (uint32_t)frame_new(), other = (uint32_t)frame_new();

    guard_init();
    directory = identity_directory(boot.ram_end, 0, X86_PTE_P | X86_PTE_W | X86_PTE_U);
    map_page(directory, WINDOW, 0, 0);
    paging_on(directory);
    rights(frame);
    accessed_and_dirty(frame);
    large_pages(frame);
    crossing(frame);
    stale(frame, other);
    return check_failures();
}
