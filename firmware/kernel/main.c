/* kernel: a small time-sharing kernel and its user programs.
 *
 * Paging with 4 MiB global pages for itself and 4 KiB pages for processes, ring 3, INT 80h and SYSENTER, demand-zero
 * and copy-on-write faults, preemption by the timer. Process 1 is `init`, which runs the other programs in turn;
 * when it ends, so does the machine, with its status.
 *
 * iterations: times init is run (default 1)
 * divisor: PIT ticks in a time slice (default 500, about 0.4 ms)
 * console: serial
 * append: console=serial
 * expect:
 *   kernel: up
 *   hello from process 2
 *   init: hello ended with status 0
 *   doors: written through sysenter
 *   doors: 0 differences
 *   doors: 6 of 6 bad calls refused
 *   init: doors ended with status 0
 *   forker: 0 of 5 children wrong, parent's memory its own
 *   init: forker ended with status 0
 *   heap: 0 words dirty, grown 1, too much refused 1, 300 frames deep
 *   init: heap ended with status 0
 *   hog: 3 processes preempted 6 times each, 0 disturbed, all at once
 *   init: hog ended with status 0
 *   sleeper: children ended in the order 321
 *   init: sleeper ended with status 0
 *   kernel: process 25 killed: exception 14 error 5 address 00000000
 *   kernel: process 26 killed: exception 14 error 5 address 00100000
 *   kernel: process 27 killed: exception 14 error 7 address 00100000
 *   kernel: process 28 killed: exception 14 error 7 address 40000000
 *   kernel: process 29 killed: exception 14 error 5 address 00100000
 *   kernel: process 30 killed: exception 14 error 4 address 80000000
 *   kernel: process 31 killed: exception 14 error 6 address bffbeffc
 *   kernel: process 32 killed: exception 0 error 0
 *   kernel: process 33 killed: exception 13 error 0
 *   kernel: process 34 killed: exception 13 error 0
 *   kernel: process 35 killed: exception 13 error 0
 *   kernel: process 36 killed: exception 13 error 0
 *   kernel: process 37 killed: exception 13 error 10
 *   kernel: process 38 killed: exception 13 error 102
 *   kernel: process 39 killed: exception 6 error 0
 *   crasher: 15 crimes, 0 unpunished
 *   init: crasher ended with status 0
 *   kernel: 0 frames leaked, status 0
 */
#include "boot.h"
#include "console.h"
#include "cpu.h"
#include "fault.h"
#include "memory.h"
#include "process.h"
#include "space.h"
#include "syscall.h"
#include "timer.h"
#include "trap.h"

static void tick(struct trap_frame *frame)
{
    ticks++;
    pic_end_of_interrupt(0);
    if ((frame->cs & 3) != 0) {
        current->preemptions++;
        process_yield();
    }
}

int main(void)
{
    uint32_t free_before, rounds = option_number("iterations", 1);
    int status = 0;

    if (!option_is("console", "debugcon"))
        console_init(CONSOLE_SERIAL);
    memory_init();
    space_init();
    fault_init();
    syscall_init();
    set_handler(VEC_IRQ, tick);
    pic_init();
    pit_periodic(option_number("divisor", 500));
    pic_unmask(0);
    printf("kernel: up\n");
    free_before = frames_free();
    while (rounds-- != 0) {
        int pid = process_spawn("init", 0);

        if (pid < 0)
            panic("no init: error %d", pid);
        status |= schedule();
    }
    pic_mask(0);
    printf("kernel: %d frames leaked, status %d\n", (int)(free_before - frames_free()), status);
    return status;
}
