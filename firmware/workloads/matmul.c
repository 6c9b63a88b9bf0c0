/* matmul: products of 24 x 24 integer matrices, each the next one's left factor.
 *
 * iterations: products (default 1)
 * expect: matmul: checksum 4120259A
 */
#include "boot.h"
#include "console.h"

enum { N = 24 };

static uint32_t left[N][N], right[N][N], product[N][N];

static void NOINLINE multiply(void)
{
    for (int y = 0; y < N; y++) {
        for (int x = 0; x < N; x++) {
            uint32_t sum = 0;

            for (int k = 0; k < N; k++)
                sum += left[y][k] * right[k][x];
            product[y][x] = sum;
        }
    }
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 1), sum = 0;

    for (int y = 0; y < N; y++) {
        for (int x = 0; x < N; x++) {
            left[y][x] = y * 7 + x + 1;
            right[y][x] = y ^ (x * 5 + 3);
        }
    }
    for (uint32_t n = 0; n < rounds; n++) {
        multiply();
        for (int y = 0; y < N; y++) {
            for (int x = 0; x < N; x++) {
                sum = (sum << 1 | sum >> 31) + product[y][x];
                left[y][x] = product[y][x] | 1;
            }
        }
    }
    print_checksum("matmul", sum);
    return 0;
}
