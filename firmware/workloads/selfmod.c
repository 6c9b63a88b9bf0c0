/* selfmod: code that rewrites an instruction and runs it at once, and code generated into a buffer, then replaced.
 *
 * iterations: rewrites of each kind (default 300)
 * expect: selfmod: checksum 95CE0620
 */
#include "boot.h"
#include "console.h"

typedef uint32_t (*function)(uint32_t);

static uint8_t buffer[64] __attribute__((aligned(64)));

/* Adds `n` through an immediate it has just stored: the next instruction but one is the one changed. */
static uint32_t NOINLINE add_patched(uint32_t value, uint32_t n)
{
    asm volatile("movl %1, 2f+1\n"
                 "1:\tjmp 2f\n"
                 "2:\taddl $0x11223344, %0"
                 : "+a"(value)
                 : "r"(n)
                 : "memory", "cc");
    return value;
}

/* The same without any jump between: processors since the P6 notice, and so must this one. */
static uint32_t NOINLINE add_straight(uint32_t value, uint32_t n)
{
    asm volatile("movl %1, 3f+1\n"
                 "3:\taddl $0x11223344, %0"
                 : "+a"(value)
                 : "r"(n)
                 : "memory", "cc");
    return value;
}

/* mov eax, [esp+4]; operation eax, n; ret */
static function NOINLINE generate(uint8_t operation, uint32_t n)
{
    uint8_t *at = buffer;

    *at++ = 0x8B, *at++ = 0x44, *at++ = 0x24, *at++ = 0x04;
    *at++ = operation;
    for (int byte = 0; byte < 4; byte++)
        *at++ = n >> (8 * byte);
    *at++ = 0xC3;
    return (function)(uint32_t)buffer;
}

int main(void)
{
    static const uint8_t operations[] = {0x05, 0x2D, 0x35, 0x0D, 0x25}; /* add, sub, xor, or, and: eAX, imm32 */
    uint32_t rounds = option_number("iterations", 300), sum = 1;

    for (uint32_t n = 0; n < rounds; n++) {
        sum = add_patched(sum, n * 3);
        sum = (sum << 5 | sum >> 27) ^ add_straight(sum, n * 5);
        sum = (sum << 3 | sum >> 29) + generate(operations[n % sizeof operations], n * 0x01000193)(sum);
    }
    print_checksum("selfmod", sum);
    return 0;
}
