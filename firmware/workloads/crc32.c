/* crc32: CRC-32 (IEEE 802.3, reflected) of a pseudo-random buffer, by a table built at start.
 *
 * iterations: passes over 4096 bytes (default 4)
 * expect: crc32: checksum 9A6956D4
 */
#include "boot.h"
#include "console.h"

enum { BUFFER_SIZE = 4096 };

#define POLYNOMIAL 0xEDB88320u

static uint32_t table[256];
static uint8_t buffer[BUFFER_SIZE];

static void make_table(void)
{
    for (uint32_t n = 0; n < ARRAY_SIZE(table); n++) {
        uint32_t c = n;

        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[n] = c;
    }
}

static uint32_t NOINLINE update(uint32_t crc, const uint8_t *data, size_t n)
{
    while (n-- != 0)
        crc = table[(crc ^ *data++) & 0xFF] ^ crc >> 8;
    return crc;
}

int main(void)
{
    uint32_t passes = option_number("iterations", 4), random = 1, crc = ~0u;

    make_table();
    for (int n = 0; n < BUFFER_SIZE; n++) {
        random = random * 1103515245 + 12345;
        buffer[n] = random >> 16;
    }
    for (uint32_t pass = 0; pass < passes; pass++)
        crc = update(crc, buffer, BUFFER_SIZE);
    print_checksum("crc32", ~crc);
    return 0;
}
