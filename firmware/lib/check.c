/* Checks and their lines. */
#include "check.h"

#include "console.h"

static int failures;

int check_failures(void) { return failures != 0; }

void check(const char *name, int holds)
{
    printf("%s %s\n", holds ? "PASS" : "FAIL", name);
    failures += !holds;
}

void check_equal(const char *name, uint32_t got, uint32_t wanted)
{
    if (got == wanted) {
        check(name, 1);
        return;
    }
    failures++;
    printf("FAIL %s: got %x, wanted %x\n", name, (unsigned)got, (unsigned)wanted);
}

static void check_frame(const char *name, const struct trap_frame *got, uint32_t vector, uint32_t error,
                        const void *eip)
{
    if (got != NULL && got->vector == vector && got->error == error && got->eip == (uint32_t)eip) {
        check(name, 1);
        return;
    }
    failures++;
    if (got == NULL)
        printf("FAIL %s: no trap\n", name);
    else
        printf("FAIL %s: vector %u error %x at %p, wanted %u, %x, %p\n", name, (unsigned)got->vector,
               (unsigned)got->error, (void *)got->eip, (unsigned)vector, (unsigned)error, eip);
}

void check_trap(const char *name, void (*code)(void), uint32_t vector, uint32_t error, const void *eip)
{
    check_frame(name, run_guarded(code), vector, error, eip);
}

void check_trap_ring3(const char *name, void (*code)(void), uint32_t vector, uint32_t error, const void *eip)
{
    check_frame(name, run_ring3(code), vector, error, eip);
}

static void check_done(const char *name, const struct trap_frame *got)
{
    if (got == NULL || got->vector == VEC_RING3_DONE) {
        check(name, 1);
        return;
    }
    failures++;
    printf("FAIL %s: vector %u error %x at %p\n", name, (unsigned)got->vector, (unsigned)got->error,
           (void *)got->eip);
}

void check_runs(const char *name, void (*code)(void)) { check_done(name, run_guarded(code)); }

void check_runs_ring3(const char *name, void (*code)(void)) { check_done(name, run_ring3(code)); }
