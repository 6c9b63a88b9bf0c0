/* timer: interrupts of the PIT through the PIC, waited for in turn asleep (HLT) and awake (a loop).
 *
 * The checksum tells what was interrupted, not when: it is the same on machines of any speed.
 *
 * iterations: interrupts (default 20)
 * divisor: PIT ticks between them (default 298, about 4 kHz)
 * expect: timer: 20 interrupts
 * expect: timer: checksum AC16606E
 */
#include "timer.h"

#include "boot.h"
#include "console.h"
#include "cpu.h"
#include "trap.h"

static volatile uint32_t ticks;

static void tick(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    pic_end_of_interrupt(0);
}

int main(void)
{
    uint32_t wanted = option_number("iterations", 20), seen = 0, sum = 0;

    set_handler(VEC_IRQ, tick);
    pic_init();
    pit_periodic(option_number("divisor", 298));
    pic_unmask(0);
    while (seen < wanted) {
        if (seen % 2 == 0) {
            cli();
            if (ticks == seen)
                sti_hlt();
        } else {
            sti();
            while (ticks == seen)
                ;
        }
        cli();
        seen++;
        ticks = seen; /* a slow host may deliver two at once */
        sum = (sum << 5 | sum >> 27) + seen;
    }
    pic_mask(0);
    printf("timer: %u interrupts\n", (unsigned)seen);
    print_checksum("timer", sum);
    return 0;
}
