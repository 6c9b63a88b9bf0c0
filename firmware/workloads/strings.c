/* strings: REP MOVS, STOS, LODS, SCAS and CMPS in every size, both directions, odd alignments and lengths.
 *
 * iterations: rounds (default 20)
 * expect: strings: checksum 650D941F
 */
#include "boot.h"
#include "console.h"

enum { SIZE = 1024 };

static uint8_t from[SIZE + 8], to[SIZE + 8];

#define MOVE(suffix, d, s, n) asm volatile("rep movs" suffix : "+D"(d), "+S"(s), "+c"(n) : : "memory")
#define STORE(suffix, d, n, v) asm volatile("rep stos" suffix : "+D"(d), "+c"(n) : "a"(v) : "memory")

static uint32_t NOINLINE scan(const uint8_t *at, uint32_t n, uint8_t byte)
{
    asm volatile("repne scasb" : "+D"(at), "+c"(n) : "a"(byte) : "memory", "cc");
    return n;
}

static uint32_t NOINLINE compare(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    asm volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(n) : : "memory", "cc");
    return n;
}

static uint32_t NOINLINE load_all(const uint8_t *at, uint32_t n)
{
    uint32_t last;

    asm volatile("rep lodsl" : "=a"(last), "+S"(at), "+c"(n) : : "memory");
    return last;
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 20), sum = 0;

    for (uint32_t n = 0; n < sizeof from; n++)
        from[n] = n * 37 + (n >> 3);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t skew = round % 4, n;
        uint8_t *d, *s;

        d = to + skew, s = from, n = SIZE / 4;
        MOVE("l", d, s, n);
        d = to + 1, s = from + skew, n = SIZE / 8 - skew;
        MOVE("w", d, s, n);
        d = to + SIZE - 1, s = from + SIZE - 1 - skew, n = SIZE / 4 + skew;
        asm volatile("std" : : : "memory", "cc");
        MOVE("b", d, s, n);
        asm volatile("cld" : : : "memory", "cc");
        d = to + round % 61, n = 40;
        STORE("b", d, n, round);
        d = to + 100 + skew, n = 30;
        STORE("w", d, n, round * 257);
        d = to + 200 + skew, n = 25;
        STORE("l", d, n, round * 0x01010101);
        sum = (sum << 3 | sum >> 29) + scan(to, SIZE, (round * 13) & 0xFF);
        sum = (sum << 3 | sum >> 29) + compare(from + SIZE / 2, to + SIZE / 2, SIZE / 2);
        sum = (sum << 3 | sum >> 29) + load_all(to + skew, 64);
    }
    for (uint32_t n = 0; n < SIZE; n++)
        sum = (sum << 1 | sum >> 31) ^ to[n];
    print_checksum("strings", sum);
    return 0;
}
