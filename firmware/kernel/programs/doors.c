/* doors: INT 80h and SYSENTER answer alike, keep registers, and refuse what is wrong. */
#include "user.h"

int main(void)
{
    static const char through[] = "doors: written through sysenter\n";
    static const char constant[4];
    int differences = 0;

    for (int n = 0; n < 50; n++) {
        differences += call_by_int(SYS_GETPID, 0, 0) != call_by_sysenter(SYS_GETPID, 0, 0);
        differences += call_by_int(SYS_YIELD, n, n) != call_by_sysenter(SYS_YIELD, n, n);
    }
    call_by_sysenter(SYS_WRITE, (uint32_t)through, sizeof through - 1);
    say("doors: %d differences", differences);
    int refused = call_by_int(SYSCALLS, 0, 0) == E_NO_CALL && call_by_sysenter(-1, 0, 0) == E_NO_CALL;
    /* Kernel memory, an unmapped hole, and a range that wraps around. */
    refused += call_by_sysenter(SYS_WRITE, 0x100000, 16) == E_FAULT;
    refused += call_by_int(SYS_WRITE, USER_STACK_TOP - 8, 16) == E_FAULT;
    refused += call_by_int(SYS_WRITE, USER_BASE, 0xF0000000) == E_FAULT;
    refused += call_by_int(SYS_WAIT, 0, (uint32_t)constant) == E_FAULT;
    refused += call_by_int(SYS_SPAWN, USER_STACK_TOP, 0) == E_FAULT;
    say("doors: %d of 6 bad calls refused", refused);
    return differences != 0 || refused != 6;
}
