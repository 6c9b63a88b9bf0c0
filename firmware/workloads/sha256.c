/* sha256: FIPS 180-4 over a message that starts with "abc"; each digest is appended to the next message.
 *
 * iterations: digests after the first (default 8)
 * expect: sha256: abc ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
 * expect: sha256: checksum 649BA3BF
 */
#include "boot.h"
#include "console.h"
#include "string.h"

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t k[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t big_endian(uint32_t x) { return __builtin_bswap32(x); }

static void NOINLINE compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int t = 0; t < 16; t++) {
        uint32_t word;

        memcpy(&word, block + 4 * t, sizeof word);
        w[t] = big_endian(word);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;

        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    for (int n = 0; n < 8; n++)
        v[n] = state[n];
    for (int t = 0; t < 64; t++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[t] + w[t];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));

        for (int n = 7; n > 0; n--)
            v[n] = v[n - 1];
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int n = 0; n < 8; n++)
        state[n] += v[n];
}

static void sha256(const uint8_t *message, uint32_t length, uint32_t state[8])
{
    static const uint32_t initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
    uint8_t tail[128];
    uint32_t whole = length & ~63u, rest = length - whole, padded = rest < 56 ? 64 : 128;
    uint32_t bits = big_endian(length * 8);

    memcpy(state, initial, sizeof initial);
    for (uint32_t at = 0; at < whole; at += 64)
        compress(state, message + at);
    memset(tail, 0, sizeof tail);
    memcpy(tail, message + whole, rest);
    tail[rest] = 0x80;
    memcpy(tail + padded - 4, &bits, sizeof bits);
    for (uint32_t at = 0; at < padded; at += 64)
        compress(state, tail + at);
}

int main(void)
{
    static uint8_t message[3 + 16 * 32] = "abc";
    uint32_t rounds = option_number("iterations", 8), length = 3, state[8];

    sha256(message, length, state);
    printf("sha256: abc ");
    for (int n = 0; n < 8; n++)
        printf("%08x", (unsigned)state[n]);
    printf("\n");
    for (uint32_t n = 0; n < rounds; n++) {
        if (length == sizeof message)
            length = 3;
        for (int word = 0; word < 8; word++, length += 4) {
            uint32_t bytes = big_endian(state[word]);

            memcpy(message + length, &bytes, sizeof bytes);
        }
        sha256(message, length, state);
    }
    print_checksum("sha256", state[0]);
    return 0;
}
