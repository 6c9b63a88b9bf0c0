/* sieve: the primes below 8192 by Eratosthenes' sieve, one byte a number.
 *
 * iterations: sieves (default 3)
 * expect: sieve: 1028 primes
 * expect: sieve: checksum 58ED2DED
 */
#include "boot.h"
#include "console.h"
#include "string.h"

enum { LIMIT = 8192 };

static uint8_t composite[LIMIT];

static uint32_t NOINLINE sieve(uint32_t *sum)
{
    uint32_t count = 0;

    memset(composite, 0, sizeof composite);
    for (uint32_t n = 2; n < LIMIT; n++) {
        if (composite[n])
            continue;
        count++;
        *sum = (*sum << 1 | *sum >> 31) ^ n;
        for (uint32_t multiple = n * n; multiple < LIMIT; multiple += n)
            composite[multiple] = 1;
    }
    return count;
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 3), count = 0, sum = 0;

    for (uint32_t n = 0; n < rounds; n++)
        count = sieve(&sum);
    printf("sieve: %u primes\n", (unsigned)count);
    print_checksum("sieve", sum);
    return 0;
}
