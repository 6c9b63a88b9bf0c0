/* crasher: every crime is committed by a child; the kernel must kill it, with the right exception, and go on. */
#include "user.h"

#define CRIMES(X)                                                                                                      \
    X(reads_null, 14, "movl 0, %eax")                                                                                  \
    X(reads_kernel, 14, "movl 0x100000, %eax")                                                                         \
    X(writes_kernel, 14, "movl %eax, 0x100000")                                                                        \
    X(writes_text, 14, "movl %eax, 0x40000000")                                                                              \
    X(jumps_to_kernel, 14, "movl $0x100000, %eax; jmp *%eax")                                                          \
    X(reads_a_hole, 14, "movl 0x80000000, %eax")                                                                       \
    X(overflows_the_stack, 14, "1: pushl %eax; jmp 1b")                                                                \
    X(divides_by_zero, 0, "xorl %ecx, %ecx; divl %ecx")                                                                \
    X(stops_interrupts, 13, "cli")                                                                                     \
    X(halts, 13, "hlt")                                                                                                \
    X(touches_a_port, 13, "inb $0x80, %al")                                                                            \
    X(loads_cr3, 13, "movl %eax, %cr3")                                                                                \
    X(loads_kernel_segment, 13, "movl $0x10, %eax; movl %eax, %ds")                                                    \
    X(calls_a_closed_gate, 13, "int $0x20")                                                                            \
    X(is_undefined, 6, "ud2")

#define CRIME(name, vector, code)                                                                                      \
    void name(void);                                                                                                   \
    asm(".pushsection .text.crimes, \"ax\"\n" #name ": " code "\nret\n.popsection");
CRIMES(CRIME)

struct crime {
    const char *name;
    void (*commit)(void);
    int vector;
};

int main(void)
{
#define ROW(name, vector, code) {#name, name, vector},
    static const struct crime crimes[] = {CRIMES(ROW)};
    int unpunished = 0;

    for (uint32_t n = 0; n < ARRAY_SIZE(crimes); n++) {
        int pid = fork();

        if (pid == 0) {
            crimes[n].commit();
            exit(0);
        }
        int status = status_of(pid);

        if (status != KILLED_BY(crimes[n].vector)) {
            say("crasher: a child that %s ended with status %d", crimes[n].name, status);
            unpunished++;
        }
    }
    say("crasher: %d crimes, %d unpunished", (int)ARRAY_SIZE(crimes), unpunished);
    return unpunished;
}
