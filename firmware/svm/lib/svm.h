#ifndef SVM_H
#define SVM_H

#include "vmcb.h"

/* The host's side: SVM switched on, the world switch, the watchdog, the host's state compared across runs. */

extern uint8_t host_save_area[4096];
extern struct vmcb host; /* FS, GS, LDTR, TR and the SYSENTER registers, by VMSAVE */

/* Let the timer interrupt once, so many ticks of 1.193182 MHz from now; what an earlier alarm has left is taken
 * away. */
void alarm_in(uint16_t ticks);

/* The same, and wait until the interrupt is pending. */
void alarm_now(void);

extern uint32_t alarms, alarm_eip; /* alarms the host has taken since, and where it was */

/* Whether the host's EFLAGS.IF is set at VMRUN: it is unless this is zero. */
extern uint32_t host_interrupts;

extern int host_changed, late_runs; /* runs that changed the host's state, or that the watchdog ended */

#endif
