/* What a program has to say before it ends, on whatever console. */
#include "console.h"

void panic(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf("panic: ");
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    exit(PANIC_STATUS);
}

void print_checksum(const char *name, uint32_t checksum) { printf("%s: checksum %08X\n", name, (unsigned)checksum); }
