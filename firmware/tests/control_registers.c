/* control_registers: values that no processor takes: PG without PE, NW without CD, reserved bits of CR4.
 *
 * expect:
 *   PASS pg_without_pe
 *   PASS nw_without_cd
 *   PASS cr4_reserved
 *   PASS nothing_has_changed
 * qemu-skip: it takes PG without PE and leaves protected mode for good, and hangs on reserved bits of CR4
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"

CODE(pg_without_pe, "movl $0x80000010, %eax", "movl %eax, %cr0");
CODE(nw_without_cd, "movl %cr0, %eax; orl $0x20000000, %eax; andl $~0x40000000, %eax", "movl %eax, %cr0");
CODE(cr4_reserved, "movl $0x80000000, %eax", "movl %eax, %cr4");

int main(void)
{
    uint32_t before = read_cr0();

    guard_init();
    CHECK_FAULT(pg_without_pe, X86_VEC_GP, 0);
    CHECK_FAULT(nw_without_cd, X86_VEC_GP, 0);
    CHECK_FAULT(cr4_reserved, X86_VEC_GP, 0);
    check("nothing_has_changed", read_cr0() == before && read_cr4() == 0);
    return check_failures();
}
