#ifndef STRING_H
#define STRING_H

#include "types.h"

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strcpy(char *to, const char *from);

/* Base 10, 16, or 0 for "decimal, or hexadecimal after 0x". Stops at the first character that is no digit. */
uint32_t strtoul(const char *s, char **end, int base);

#endif
