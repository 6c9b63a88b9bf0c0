#ifndef ABI_H
#define ABI_H

/* What the kernel and its user programs agree on. EAX holds the number and then the result (negative: an error),
 * EBX, ESI and EDI the arguments, so that SYSENTER keeps ECX and EDX for the stack and the return address. */
enum syscall {
    SYS_EXIT,        /* (status) */
    SYS_WRITE,       /* (text, length) -> length */
    SYS_GETPID,      /* () -> pid */
    SYS_FORK,        /* () -> pid of the child, or 0 in the child */
    SYS_YIELD,       /* () */
    SYS_SBRK,        /* (bytes) -> old end of the heap */
    SYS_WAIT,        /* (pid or 0 for any child, &status) -> pid */
    SYS_SPAWN,       /* (name of a program of the image) -> pid */
    SYS_SLEEP,       /* (timer ticks) */
    SYS_PREEMPTIONS, /* () -> how often the timer has interrupted the caller */
    SYS_TICKS,       /* () -> timer ticks since the start */
    SYSCALLS,
};

enum error { E_NO_CHILD = -10, E_NO_MEMORY = -12, E_FAULT = -14, E_NO_PROGRAM = -2, E_NO_CALL = -38 };

/* Status of a process killed by an exception. */
#define KILLED_BY(vector) (128 + (vector))

#define USER_BASE 0x40000000u
#define USER_STACK_TOP 0xBFFFF000u
#define USER_STACK_SIZE 0x40000u

#endif
