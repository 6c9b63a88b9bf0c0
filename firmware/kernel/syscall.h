#ifndef SYSCALL_H
#define SYSCALL_H

/* Open INT 80h and SYSENTER. */
void syscall_init(void);

#endif
