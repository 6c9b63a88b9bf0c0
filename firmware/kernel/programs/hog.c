/* hog: three processes that never give up the processor; only the timer makes them share it. */
#include "user.h"

enum { HOGS = 3, WANTED = 6, STEPS = 500 };

static uint32_t NOINLINE work(void)
{
    uint32_t a = 1, b = 2, c = 3, d = 4;

    for (int n = 0; n < STEPS; n++) {
        a += b ^ (c << 3);
        b = (b << 5 | b >> 27) + d;
        c ^= a * 7;
        d -= c >> 2;
    }
    return a ^ b ^ c ^ d;
}

/* Its status: the ticks when it began and ended, counted from `since`; -1 when its work came out wrong. */
static int hog(int since)
{
    int start = ticks() - since;
    uint32_t right = work();

    while (preemptions() < WANTED)
        if (work() != right)
            return -1;
    return start | (ticks() - since) << 16;
}

int main(void)
{
    int disturbed = 0, latest_start = 0, earliest_end = 0x7FFF, since = ticks();

    for (int n = 0; n < HOGS; n++)
        if (fork() == 0)
            exit(hog(since));
    for (int n = 0; n < HOGS; n++) {
        int status = status_of(0), start = status & 0xFFFF, end = status >> 16;

        disturbed += status < 0;
        latest_start = start > latest_start ? start : latest_start;
        earliest_end = end < earliest_end ? end : earliest_end;
    }
    /* Were they run one after the other, the last would begin after the first's end. */
    int together = latest_start < earliest_end;

    say("hog: %d processes preempted %d times each, %d disturbed, %s", HOGS, WANTED, disturbed,
        together ? "all at once" : "one after the other");
    return disturbed || !together;
}
