/* pause: the filter of PAUSE intercepts: so many go by, the next exits; each VMRUN counts anew. APM 15.9, 15.14.4.
 *
 * expect: pause: 10 checks
 */
#include "suite.h"

GUEST(five, "", "pause; five_2: pause; five_3: pause; five_4: pause; five_5: pause");
GUEST(others, "pause; nop; nop; pause; nop; nop", "pause");

extern char five_2[], five_3[], five_4[], five_5[];

static void count(const char *name, uint16_t filter, const void *at)
{
    guest_new(five);
    intercept(SVM_EXIT_PAUSE);
    vmcb.pause_count = filter;
    guest_run();
    if (svm_has(SVM_CPUID_PAUSE_FILTER))
        expect_exit(name, SVM_EXIT_PAUSE, at);
    else
        skip(name);
}

int main(void)
{
    suite_begin();
    expect_intercept("no_filter", five, five_at, SVM_EXIT_PAUSE);
    count("filter_1", 1, five_2);
    count("filter_3", 3, five_4);
    expect_equal("field_is_not_written", vmcb.pause_count, 3);
    if (svm_has(SVM_CPUID_PAUSE_FILTER)) {
        guest_run();
        expect_exit("counts_anew", SVM_EXIT_VMMCALL, five_next);
        guest_new(others);
        intercept(SVM_EXIT_PAUSE);
        vmcb.pause_count = 2;
        guest_run();
        expect_exit("others_do_not_count", SVM_EXIT_PAUSE, others_at);
        guest_new(five);
        intercept(SVM_EXIT_PAUSE);
        vmcb.pause_count = 5;
        guest_run();
        expect_exit("filter_5", SVM_EXIT_VMMCALL, five_next);
        guest_new(five);
        vmcb.pause_count = 1;
        guest_run();
        expect_exit("filter_without_intercept", SVM_EXIT_VMMCALL, five_next);
    } else {
        skip("counts_anew");
        skip("others_do_not_count");
        skip("filter_5");
        skip("filter_without_intercept");
    }
    return suite_end("pause");
}
