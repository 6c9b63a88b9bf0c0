#ifndef USER_H
#define USER_H

#include "abi.h"
#include "types.h"

int call_by_int(int number, uint32_t a, uint32_t b);
int call_by_sysenter(int number, uint32_t a, uint32_t b);

void exit(int status) __attribute__((noreturn));
int getpid(void);
int fork(void);
void yield(void);
void *sbrk(int bytes);
int wait(int pid, int *status);
int spawn(const char *name);
void sleep(uint32_t ticks);
int preemptions(void);
int ticks(void);

/* One write per call, so that lines of several processes do not mix. %d, %u, %x, %s. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The status of the child `pid`, or of any when 0, once it has ended; negative errors as they are. */
int status_of(int pid);

int main(void);

#endif
