/* hog: three processes that never give up the processor; only the timer makes them share it. */
#include "user.h"

enum { HOGS = 3, WANTED = 3, STEPS = 500 };

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

static int hog(void)
{
    uint32_t right = work();

    while (preemptions() < WANTED)
        if (work() != right)
            return 1;
    return 0;
}

int main(void)
{
    int disturbed = 0;

    for (int n = 0; n < HOGS; n++)
        if (fork() == 0)
            exit(hog());
    for (int n = 0; n < HOGS; n++)
        disturbed += status_of(0);
    say("hog: %d processes preempted %d times each, %d disturbed", HOGS, WANTED, disturbed);
    return disturbed;
}
