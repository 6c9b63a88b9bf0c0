#ifndef PROCESS_H
#define PROCESS_H

#include "space.h"
#include "trap.h"

enum { PROCESSES = 24 };

enum process_state { PROCESS_NONE, PROCESS_READY, PROCESS_WAITING, PROCESS_SLEEPING, PROCESS_ENDED };

struct process {
    enum process_state state;
    int pid, parent;
    int status;            /* of an ended process, for its parent */
    uint32_t wake;         /* tick at which a sleeper goes on */
    uint32_t preemptions;
    uint32_t heap_break;   /* end of the heap, in bytes */
    uint32_t kernel_stack; /* a frame */
    uint32_t kernel_esp;   /* where it was when it last gave up the processor */
    struct space space;
};

/* The process that runs; NULL in the scheduler. */
extern struct process *current;

/* Timer ticks since the start. */
extern uint32_t ticks;

/* A new process running a program linked into the image: its pid or a negative error. */
int process_spawn(const char *name, int parent);

/* A copy of the caller, which returns 0 from the same trap: its pid or a negative error. */
int process_fork(const struct trap_frame *frame);

/* Give up the processor; comes back when chosen again. */
void process_yield(void);

void process_exit(int status) __attribute__((noreturn));

/* Wait for a child (0: any) to end: its pid or a negative error. Memory behind `status` was checked. */
int process_wait(int pid, int *status);

void process_sleep(uint32_t how_long);

/* Run processes until none is left; the status of the last. */
int schedule(void);

#endif
