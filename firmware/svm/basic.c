/* basic: into a guest and back by VMMCALL: registers, EFLAGS, the state that is saved, what CPUID and the MSRs say.
 *
 * expect: basic: 3 checks
 */
#include "suite.h"

GUEST(nothing, "", "nop");

int main(void)
{
    suite_begin();
    expect_passes("round_trip", nothing, nothing_next);
    return suite_end("basic");
}
