/* library: the C library the other programs stand on: 64-bit division, memory and strings, numbers, formatted output.
 *
 * expect:
 *   PASS divide_64
 *   PASS divide_64_edges
 *   PASS divide_64_signed
 *   PASS memory_moves
 *   PASS memory_compares
 *   PASS numbers
 *   PASS strings
 *   [   42][00042][-42][ -42][-0042]
 *   [deadbeef][DEADBEEF][0000beef]
 *   [18446744073709551615][-9223372036854775808][123456789abcdef0]
 *   [text][ text][c][%]
 */
#include "check.h"
#include "console.h"
#include "string.h"

static uint64_t random_state = 1;

static uint64_t random(void)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return random_state ^ random_state >> 29;
}

static int divides(uint64_t n, uint64_t d)
{
    uint64_t q = n / d, r = n % d;

    return r < d && q * d + r == n && (q == 0 || q * d >= d);
}

static void division(void)
{
    static const uint64_t edges[] = {1,          2,           3,           0x7FFFFFFF,        0x80000000,
                                     0xFFFFFFFF, 0x100000000, 0x100000001, 0xFFFFFFFF00000000, 0x8000000000000000,
                                     ~0ull,      ~0ull - 1};
    int right = 1;

    for (int n = 0; n < 500; n++)
        right &= divides(random() >> n % 64, (random() >> n * 7 % 64) | 1);
    check("divide_64", right);
    right = 1;
    for (uint32_t a = 0; a < ARRAY_SIZE(edges); a++)
        for (uint32_t b = 0; b < ARRAY_SIZE(edges); b++)
            right &= divides(edges[a], edges[b]) && divides(0, edges[b]);
    check("divide_64_edges", right);
    volatile int64_t minus = -1000000000007ll, by = -10, plus = 1000000000007ll;

    check("divide_64_signed", minus / 10 == -100000000000ll && minus % 10 == -7 && minus / by == 100000000000ll &&
                                  plus / by == -100000000000ll && plus % by == 7 && minus % by == -7);
}

static void memory(void)
{
    static char a[32] = "0123456789abcdefghijklmnopqrstu", b[32];

    memcpy(b, a, sizeof a);
    memmove(b + 3, b, 11);
    check("memory_moves", memcmp(b, "0120123456789aefgh", 18) == 0);
    memmove(b, b + 3, 11);
    memset(b + 20, '-', 5);
    check("memory_compares", memcmp(b, "0123456789a89aefghij", 20) == 0 && memcmp(b + 20, "-----p", 6) == 0 &&
                                 memcmp("a", "b", 1) < 0 && memcmp("\x80", "\x01", 1) > 0);
}

static void text(void)
{
    char *end, copy[8];

    check("numbers", strtoul("123x", &end, 10) == 123 && *end == 'x' && strtoul("0xFfz", &end, 0) == 255 &&
                         *end == 'z' && strtoul("4294967295", NULL, 0) == 0xFFFFFFFF && strtoul("", NULL, 0) == 0);
    check("strings", strlen("four") == 4 && strcmp("abc", "abd") < 0 && strcmp("a", "a") == 0 &&
                         strncmp("abcd", "abce", 3) == 0 && strcmp(strcpy(copy, "copy"), "copy") == 0);
    printf("[%5d][%05d][%d][%4d][%05d]\n", 42, 42, -42, -42, -42);
    printf("[%x][%X][%08x]\n", 0xDEADBEEF, 0xDEADBEEF, 0xBEEF);
    printf("[%llu][%lld][%llx]\n", ~0ull, (long long)0x8000000000000000ull, 0x123456789ABCDEF0ull);
    printf("[%s][%5s][%c][%%]\n", "text", "text", 'c');
}

int main(void)
{
    division();
    memory();
    text();
    return check_failures();
}
