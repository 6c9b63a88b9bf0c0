#ifndef NESTED_H
#define NESTED_H

#include "page.h"
#include "suite.h"

/* A guest under nested paging: every guest-physical address below 16 MiB is the same system-physical one until a test
 * says otherwise, and above there is nothing. Entries of both dimensions allow all that P, W and U allow. */

enum { NESTED_RW = X86_PTE_P | X86_PTE_W | X86_PTE_U };

extern uint32_t *nested_tables; /* what N_CR3 names */
extern uint32_t *guest_tables;  /* what the guest's CR3 names, at the same address for both */

/* The host's own paging, and both sets of tables. Says SKIP and ends the machine where there is no nested paging. */
void nested_begin(void);

/* guest_new under nested paging, its own paging on or off; everything any TLB knows is forgotten at VMRUN. */
void nested_new(void (*code)(void), int paging);

/* The last run ended with a nested page fault: EXITINFO1 is `error` below bit 32 and `where` above, EXITINFO2
 * `address`. */
void expect_npf(const char *name, const void *eip, uint32_t error, uint32_t where, uint32_t address);

#endif
