/* sleeper: children that sleep for longer the earlier they were born, so that they end in the other order. */
#include "user.h"

enum { CHILDREN = 3 };

int main(void)
{
    int order = 0, status;

    for (int n = 0; n < CHILDREN; n++) {
        if (fork() == 0) {
            sleep(8 * (CHILDREN - n));
            exit(n + 1);
        }
    }
    for (int n = 0; n < CHILDREN; n++) {
        status = status_of(0);
        order = order * 10 + status;
    }
    say("sleeper: children ended in the order %d", order);
    return order != 321;
}
