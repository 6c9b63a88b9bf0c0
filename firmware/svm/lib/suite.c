/* Checks of the suite and their lines. */
#include "suite.h"

#include "console.h"
#include "svm.h"

static int checks, failures;

extern char guest_trap_at[];

void expect(const char *name, int holds)
{
    checks++;
    failures += !holds;
    printf("%s %s\n", holds ? "PASS" : "FAIL", name);
}

void expect_equal(const char *name, uint64_t got, uint64_t wanted)
{
    if (got == wanted) {
        expect(name, 1);
        return;
    }
    checks++;
    failures++;
    printf("FAIL %s got %llx wanted %llx\n", name, got, wanted);
}

void skip(const char *name)
{
    checks++;
    printf("SKIP %s\n", name);
}

/* A failure about the last run, which is told whole. */
static void fail_run(const char *name)
{
    checks++;
    failures++;
    printf("FAIL %s got exit %llx at %p info %llx %llx event %x %x", name, vmcb.exit_code, (void *)(uint32_t)vmcb.rip,
           vmcb.exit_info1, vmcb.exit_info2, (unsigned)vmcb.exit_event, (unsigned)vmcb.exit_event_error);
    const struct guest_trap *trap = guest_trapped();

    if (trap != NULL)
        printf(" (vector %u error %x at %p)", (unsigned)trap->vector, (unsigned)trap->error, (void *)trap->eip);
    printf(" wanted ");
}

static int exited(uint32_t code, const void *eip) { return vmcb.exit_code == code && vmcb.rip == (uint32_t)eip; }

void expect_refused(const char *name, int also)
{
    if ((uint32_t)vmcb.exit_code == SVM_EXIT_INVALID && also) {
        expect(name, 1);
        return;
    }
    fail_run(name);
    printf("exit %x\n", (unsigned)SVM_EXIT_INVALID);
}

void expect_exit(const char *name, uint32_t code, const void *eip)
{
    if (exited(code, eip)) {
        expect(name, 1);
        return;
    }
    fail_run(name);
    printf("exit %x at %p\n", (unsigned)code, eip);
}

void expect_exit_info(const char *name, uint32_t code, const void *eip, uint64_t info1, uint64_t info2)
{
    if (exited(code, eip) && vmcb.exit_info1 == info1 && vmcb.exit_info2 == info2) {
        expect(name, 1);
        return;
    }
    fail_run(name);
    printf("exit %x at %p info %llx %llx\n", (unsigned)code, eip, info1, info2);
}

void expect_guest_trap(const char *name, uint32_t vector, uint32_t error, const void *eip)
{
    const struct guest_trap *trap = guest_trapped();

    if (trap != NULL && trap->vector == vector && trap->error == error && trap->eip == (uint32_t)eip) {
        expect(name, 1);
        return;
    }
    fail_run(name);
    printf("vector %u error %x at %p\n", (unsigned)vector, (unsigned)error, eip);
}

void expect_exit_event(const char *name, uint32_t event, uint32_t error)
{
    if (vmcb.exit_event == event && (vmcb.exit_event_error == error || (event & SVM_EVENT_EV) == 0)) {
        expect(name, 1);
        return;
    }
    fail_run(name);
    printf("event %x %x\n", (unsigned)event, (unsigned)error);
}

void expect_intercept(const char *name, void (*code)(void), const void *at, uint32_t exit)
{
    guest_new(code);
    intercept(exit);
    guest_run();
    expect_exit(name, exit, at);
}

void expect_passes(const char *name, void (*code)(void), const void *next)
{
    guest_new(code);
    guest_run();
    expect_exit(name, SVM_EXIT_VMMCALL, next);
}

static void expect_frame(const char *name, const struct trap_frame *got, const void *at, uint32_t vector,
                         uint32_t error)
{
    if (got != NULL && got->vector == vector && got->error == error && got->eip == (uint32_t)at) {
        expect(name, 1);
        return;
    }
    checks++;
    failures++;
    if (got == NULL)
        printf("FAIL %s got no trap wanted vector %u\n", name, (unsigned)vector);
    else
        printf("FAIL %s got vector %u error %x at %p wanted %u %x at %p\n", name, (unsigned)got->vector,
               (unsigned)got->error, (void *)got->eip, (unsigned)vector, (unsigned)error, at);
}

void expect_host_fault(const char *name, void (*code)(void), const void *at, uint32_t vector, uint32_t error)
{
    expect_frame(name, run_guarded(code), at, vector, error);
}

void expect_ring3_fault(const char *name, void (*code)(void), const void *at, uint32_t vector, uint32_t error)
{
    expect_frame(name, run_ring3(code), at, vector, error);
}

int suite_end(const char *name)
{
    expect_equal("host_intact", host_changed, 0);
    expect_equal("in_time", late_runs, 0);
    printf("%s: %d checks\n", name, checks);
    return failures != 0;
}
