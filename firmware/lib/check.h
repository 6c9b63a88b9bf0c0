#ifndef CHECK_H
#define CHECK_H

#include "guard.h"

/* The guest tests' vocabulary: every check prints `PASS name` or `FAIL name: what happened instead`. */

/* A function `name` in assembly: `before`, then at the label name_at the `culprit`, then at name_next RET.
 * It may change any register but ESP when run by run_guarded. */
#define CODE(name, before, culprit)                                                                                    \
    void name(void);                                                                                                   \
    extern char name##_at[], name##_next[];                                                                            \
    asm(".pushsection .text.checks, \"ax\"\n" #name ":\n" before "\n" #name "_at: " culprit "\n" #name "_next: ret\n"     \
        ".popsection")

void check(const char *name, int holds);
void check_equal(const char *name, uint32_t got, uint32_t wanted);

/* `code` must trap with this vector and error code, the saved EIP being `eip`. */
void check_trap(const char *name, void (*code)(void), uint32_t vector, uint32_t error, const void *eip);
void check_trap_ring3(const char *name, void (*code)(void), uint32_t vector, uint32_t error, const void *eip);

/* The same for CODE functions: a fault is reported at the culprit, a trap after it. */
#define CHECK_FAULT(name, vector, error) check_trap(#name, name, vector, error, name##_at)
#define CHECK_TRAP(name, vector, error) check_trap(#name, name, vector, error, name##_next)
#define CHECK_FAULT_RING3(name, vector, error) check_trap_ring3(#name, name, vector, error, name##_at)

/* `code` must run to its end. */
void check_runs(const char *name, void (*code)(void));
void check_runs_ring3(const char *name, void (*code)(void));
#define CHECK_RUNS(name) check_runs(#name, name)

/* The exit value of a test: 0 when every check passed. */
int check_failures(void);

#endif
