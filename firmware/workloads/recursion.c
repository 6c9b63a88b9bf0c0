/* recursion: Ackermann's function, Fibonacci's and the towers of Hanoi: calls, returns and stack, little else.
 *
 * iterations: rounds (default 2)
 * expect: recursion: checksum 90B4F7D4
 */
#include "boot.h"
#include "console.h"

static uint32_t moves;

static uint32_t NOINLINE ackermann(uint32_t m, uint32_t n)
{
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

static uint32_t NOINLINE fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static void NOINLINE hanoi(uint32_t discs, uint32_t from, uint32_t to, uint32_t spare)
{
    if (discs == 0)
        return;
    hanoi(discs - 1, from, spare, to);
    moves = (moves << 1 | moves >> 31) + from * 4 + to;
    hanoi(discs - 1, spare, to, from);
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 2), sum = 0;

    for (uint32_t n = 0; n < rounds; n++) {
        sum += ackermann(2, 8 + n % 4);
        sum = (sum << 7 | sum >> 25) + fibonacci(14 + n % 2);
        hanoi(9, 0, 1 + n % 2, 2 - n % 2);
        sum ^= moves;
    }
    print_checksum("recursion", sum);
    return 0;
}
