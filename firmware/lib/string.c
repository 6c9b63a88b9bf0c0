/* Memory and strings. The copies are string instructions: compact, and what a guest of the time would do. */
#include "string.h"

void *memcpy(void *to, const void *from, size_t n)
{
    void *d = to;
    size_t words = n / 4;

    asm volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
    n &= 3;
    asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    if ((uintptr_t)to - (uintptr_t)from >= n)
        return memcpy(to, from, n);
    char *d = (char *)to + n - 1;
    const char *s = (const char *)from + n - 1;

    asm volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    void *d = to;
    size_t words = n / 4;
    uint32_t pattern = (uint8_t)byte * 0x01010101u;

    asm volatile("rep stosl" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
    n &= 3;
    asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(pattern) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n != 0; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != 0)
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n != 0; n--, a++, b++)
        if (*a != *b || *a == 0)
            return (uint8_t)*a - (uint8_t)*b;
    return 0;
}

char *strcpy(char *to, const char *from)
{
    char *d = to;

    while ((*d++ = *from++) != 0)
        ;
    return to;
}

static uint32_t digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    return 255;
}

uint32_t strtoul(const char *s, char **end, int base)
{
    uint32_t value = 0;

    if ((base == 0 || base == 16) && s[0] == '0' && (s[1] | 0x20) == 'x') {
        s += 2;
        base = 16;
    }
    if (base == 0)
        base = 10;
    while (digit_value(*s) < (uint32_t)base)
        value = value * base + digit_value(*s++);
    if (end != NULL)
        *end = (char *)s;
    return value;
}
