/* caching: memory that the caches may not keep, caches off, and aliases of both kinds show the same bytes.
 *
 * expect:
 *   PASS uncached_page_sees_a_cached_write
 *   PASS cached_page_sees_an_uncached_write
 *   PASS uncached_code_runs
 *   PASS uncached_code_changed_by_a_cached_write
 *   PASS text_window
 *   PASS misaligned_into_the_text_window
 *   PASS caches_off
 *   PASS code_written_with_caches_off
 *   PASS caches_on_again
 *   PASS wbinvd_loses_nothing
 *   PASS nobody_answers_memory
 *   PASS nobody_answers_a_port
 * qemu-deviation: nobody_answers_memory: it reads zeros where no device is
 */
#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "page.h"
#include "string.h"

#define CACHED 0x40000000
#define UNCACHED 0x40001000
#define TEXT 0xB8000

typedef uint32_t (*function)(void);

static volatile uint32_t *const cached = (uint32_t *)CACHED, *const uncached = (uint32_t *)UNCACHED;
static uint32_t lines[64];

/* mov eax, n; ret */
static void put_function(volatile uint8_t *at, uint32_t n)
{
    at[0] = 0xB8;
    for (int i = 0; i < 4; i++)
        at[1 + i] = n >> 8 * i;
    at[5] = 0xC3;
}

static uint32_t call(uint32_t at) { return ((function)at)(); }

static void aliases(void)
{
    int good = 1;
    uint32_t before;

    for (uint32_t i = 0; i < 64; i++) {
        cached[i] = i * 0x01010101;
        good &= uncached[i] == i * 0x01010101;
    }
    check("uncached_page_sees_a_cached_write", good);
    good = 1;
    for (uint32_t i = 0; i < 1024; i += 7) {
        uint32_t old = cached[i];

        uncached[i] = old + 5;
        *((volatile uint8_t *)UNCACHED + 4 * i + 3) = 0x77;
        good &= cached[i] == ((old + 5) & 0xFFFFFF) + 0x77000000;
    }
    check("cached_page_sees_an_uncached_write", good);
    put_function((uint8_t *)cached + 0x1E, 0x1234);
    before = call(UNCACHED + 0x1E);
    check_equal("uncached_code_runs", before, 0x1234);
    put_function((uint8_t *)cached + 0x1E, 0x5678);
    check_equal("uncached_code_changed_by_a_cached_write", call(UNCACHED + 0x1E), 0x5678);
}

static void text(void)
{
    int good = 1;

    for (int i = 0; i < 80; i++)
        ((volatile uint16_t *)TEXT)[i] = 0x0700 + i;
    for (int i = 0; i < 80; i++)
        good &= ((volatile uint16_t *)TEXT)[i] == 0x0700 + i;
    check("text_window", good);
    *(volatile uint32_t *)(TEXT + 0x1FFE) = 0xA1B2C3D4;
    *(volatile uint32_t *)(TEXT - 2) = 0x11223344; /* the last word of the window before, the first of this one */
    check_equal("misaligned_into_the_text_window",
                (*(volatile uint32_t *)(TEXT + 0x1FFE) ^ 0xA1B2C3D4) + *(volatile uint16_t *)TEXT, 0x1122);
}

static void off(void)
{
    int good = 1;

    for (uint32_t i = 0; i < 64; i++)
        lines[i] = i;
    write_cr0(read_cr0() | X86_CR0_CD);
    for (uint32_t i = 0; i < 64; i++) {
        good &= lines[i] == i;
        lines[i] += 100;
    }
    check("caches_off", good);
    put_function((uint8_t *)cached + 0x3C, 21);
    good = call(CACHED + 0x3C) == 21;
    put_function((uint8_t *)cached + 0x3C, 22);
    check("code_written_with_caches_off", good && call(CACHED + 0x3C) == 22);
    asm volatile("wbinvd" : : : "memory");
    for (uint32_t i = 0; i < 64; i++)
        lines[i] += 1000;
    write_cr0(read_cr0() & ~X86_CR0_CD);
    good = call(CACHED + 0x3C) == 22;
    for (uint32_t i = 0; i < 64; i++)
        good &= lines[i] == i + 1100;
    check("caches_on_again", good);
    for (uint32_t i = 0; i < 64; i++)
        lines[i] ^= 0xFFFF0000;
    asm volatile("wbinvd" : : : "memory");
    good = 1;
    for (uint32_t i = 0; i < 64; i++)
        good &= lines[i] == ((i + 1100) ^ 0xFFFF0000);
    check("wbinvd_loses_nothing", good);
}

int main(void)
{
    uint32_t *directory = identity_directory(boot.ram_end, 0, X86_PTE_P | X86_PTE_W);
    uint32_t frame = (uint32_t)frame_new(), nobody = 0xD0000000;

    guard_init();
    map_page(directory, CACHED, frame, X86_PTE_P | X86_PTE_W);
    map_page(directory, UNCACHED, frame, X86_PTE_P | X86_PTE_W | X86_PTE_PCD);
    map_page(directory, nobody, nobody, X86_PTE_P | X86_PTE_W);
    paging_on(directory);
    aliases();
    text();
    off();
    *(volatile uint32_t *)nobody = 0;
    check_equal("nobody_answers_memory", *(volatile uint32_t *)nobody & *(volatile uint32_t *)(nobody + 0x7FD),
                0xFFFFFFFF);
    check_equal("nobody_answers_a_port", inl(0x6A0) & inb(0x2FF), 0xFF);
    return check_failures();
}
