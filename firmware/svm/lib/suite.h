#ifndef SUITE_H
#define SUITE_H

#include "check.h"
#include "cpu.h"
#include "guest.h"

/* The suite's checks. Each prints `PASS name`, `FAIL name got X wanted Y` or `SKIP name`. */

/* Serial console, guards, EFER.SVME, VM_HSAVE_PA. Without SVM, print SKIP and end the machine with status 0. */
void suite_begin(void);

/* The last two checks (`host_intact`: every run gave the host back as it was; `in_time`: the watchdog ended none), then
 * the line `name: N checks`. The result is the program's exit value. */
int suite_end(const char *name);

void expect(const char *name, int holds);
void expect_equal(const char *name, uint64_t got, uint64_t wanted);

/* The processor does not announce what the check is about. */
void skip(const char *name);

/* Whether EDX of CPUID leaf 8000000Ah has these bits. */
int svm_has(uint32_t features);

/* The last run ended with this exit code at this guest EIP. */
void expect_exit(const char *name, uint32_t code, const void *eip);

/* The last run ended with VMEXIT_INVALID, and `also` holds. The guest's EIP in the VMCB is nobody's business then. */
void expect_refused(const char *name, int also);

/* As expect_exit, and what EXITINFO1 and EXITINFO2 say. */
void expect_exit_info(const char *name, uint32_t code, const void *eip, uint64_t info1, uint64_t info2);

/* The last run ended at the VMMCALL of the guest's handler for this vector, its frame saying `error` and `eip`. */
void expect_guest_trap(const char *name, uint32_t vector, uint32_t error, const void *eip);

/* EXITINTINFO of the last run. */
void expect_exit_event(const char *name, uint32_t event, uint32_t error);

/* A new guest that runs `code` with the intercept of `exit` set exits with it at `at`. */
void expect_intercept(const char *name, void (*code)(void), const void *at, uint32_t exit);

/* A new guest that runs `code` comes to its VMMCALL at `next`. */
void expect_passes(const char *name, void (*code)(void), const void *next);

/* Two checks of GUEST code: with the intercept it exits at the culprit, without it (`name_alone`) it goes on. */
#define EXPECT_INTERCEPT(name, exit)                                                                                   \
    do {                                                                                                               \
        expect_intercept(#name, name, name##_at, exit);                                                                \
        expect_passes(#name "_alone", name, name##_next);                                                              \
    } while (0)

/* CODE run by the host, in ring 0 or 3, traps at its culprit. */
void expect_host_fault(const char *name, void (*code)(void), const void *at, uint32_t vector, uint32_t error);
void expect_ring3_fault(const char *name, void (*code)(void), const void *at, uint32_t vector, uint32_t error);

#endif
