/* 64-bit division under the names compilers call, so that no program needs libgcc.
 *
 * A divisor below 2^32 takes two divides, the second on the first one's remainder. A larger one is normalized
 * until it fits 32 bits; the estimated quotient is then at most one too large (Knuth, vol. 2, 4.3.1, theorem B).
 */
#include "types.h"

uint64_t __udivmoddi4(uint64_t n, uint64_t d, uint64_t *rest);
uint64_t __udivdi3(uint64_t n, uint64_t d);
uint64_t __umoddi3(uint64_t n, uint64_t d);
int64_t __divdi3(int64_t n, int64_t d);
int64_t __moddi3(int64_t n, int64_t d);

static uint32_t divide(uint32_t high, uint32_t low, uint32_t by, uint32_t *rest)
{
    uint32_t quotient;

    asm("divl %4" : "=a"(quotient), "=d"(*rest) : "0"(low), "1"(high), "r"(by));
    return quotient;
}

uint64_t __udivmoddi4(uint64_t n, uint64_t d, uint64_t *rest)
{
    uint32_t high = n >> 32, low = (uint32_t)n, by = (uint32_t)d, over = d >> 32;
    uint64_t quotient;

    if (over == 0) {
        uint32_t remainder, top = high / by;
        uint32_t bottom = divide(high % by, low, by, &remainder);

        quotient = ((uint64_t)top << 32) | bottom;
        *rest = remainder;
        return quotient;
    }
    if (d > n) {
        *rest = n;
        return 0;
    }
    int shift = 31;
    uint32_t unused;

    while ((over >> shift) == 0)
        shift--;
    shift++; /* bits of the divisor above 2^32, 1 to 32 */
    uint64_t half = n >> 1;

    quotient = divide(half >> 32, (uint32_t)half, d >> shift, &unused) >> (shift - 1);
    if (quotient != 0)
        quotient--; /* now exact or one too small, so that the product below cannot overflow */
    if (n - quotient * d >= d)
        quotient++;
    *rest = n - quotient * d;
    return quotient;
}

uint64_t __udivdi3(uint64_t n, uint64_t d)
{
    uint64_t rest;

    return __udivmoddi4(n, d, &rest);
}

uint64_t __umoddi3(uint64_t n, uint64_t d)
{
    uint64_t rest;

    __udivmoddi4(n, d, &rest);
    return rest;
}

int64_t __divdi3(int64_t n, int64_t d)
{
    uint64_t a = n < 0 ? -(uint64_t)n : (uint64_t)n, b = d < 0 ? -(uint64_t)d : (uint64_t)d;
    uint64_t quotient = __udivdi3(a, b);

    return (n < 0) != (d < 0) ? -quotient : quotient;
}

int64_t __moddi3(int64_t n, int64_t d)
{
    uint64_t a = n < 0 ? -(uint64_t)n : (uint64_t)n, b = d < 0 ? -(uint64_t)d : (uint64_t)d;
    uint64_t rest = __umoddi3(a, b);

    return n < 0 ? -rest : rest;
}
