#ifndef FAULT_H
#define FAULT_H

/* Take the exceptions: page faults are answered or kill, the others kill; in the kernel any of them panics. */
void fault_init(void);

#endif
