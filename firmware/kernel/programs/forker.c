/* forker: copy-on-write. What a child writes no one else sees, what nobody writes all share. */
#include "user.h"

enum { CHILDREN = 5, WORDS = 4096 };

static volatile uint32_t table[WORDS];

static uint32_t sum(void)
{
    uint32_t total = 0;

    for (int n = 0; n < WORDS; n++)
        total += table[n];
    return total;
}

static int child(int number)
{
    for (int n = number; n < WORDS; n += 7) {
        table[n] = number * 1000;
        if (n % 512 < 7)
            yield();
    }
    /* A grandchild inherits the copy and writes on top of it. */
    int pid = fork();

    if (pid == 0) {
        table[number] = 5;
        return table[number + 7] == (uint32_t)number * 1000 ? number : 99;
    }
    int inherited = status_of(pid);

    return table[number] == (uint32_t)number * 1000 && inherited == number ? number : 98;
}

int main(void)
{
    int pids[CHILDREN], wrong = 0;

    for (int n = 0; n < WORDS; n++)
        table[n] = n;
    uint32_t before = sum();

    for (int n = 0; n < CHILDREN; n++) {
        pids[n] = fork();
        if (pids[n] == 0)
            exit(child(n));
        table[0] = n; /* the parent writes too, between forks */
    }
    for (int n = 0; n < CHILDREN; n++)
        wrong += status_of(pids[n]) != n;
    table[0] = 0;
    say("forker: %d of %d children wrong, parent's memory %s", wrong, CHILDREN,
        sum() == before ? "its own" : "overwritten");
    return wrong != 0 || sum() != before;
}
