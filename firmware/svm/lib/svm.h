#ifndef SVM_H
#define SVM_H

#include "vmcb.h"

/* The host's side: SVM switched on, the world switch, the watchdog, the host's state compared across runs. */

extern uint8_t host_save_area[4096];
extern struct vmcb host; /* FS, GS, LDTR, TR and the SYSENTER registers, by VMSAVE */

extern int host_changed, late_runs; /* runs that changed the host's state, or that the watchdog ended */

#endif
