#ifndef CONSOLE_H
#define CONSOLE_H

#include "types.h"

enum console { CONSOLE_DEBUGCON, CONSOLE_SERIAL };

void console_init(enum console which);
void putchar(char c);

/* %d %u %x %X %c %s %p %%, with a width, a leading 0 and the length ll. */
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vprintf(const char *format, va_list arguments);

/* Stop the machine; its exit status is (value << 1) | 1 under QEMU. */
void exit(int value) __attribute__((noreturn));

/* Print "panic: ..." and exit with PANIC_STATUS. */
enum { PANIC_STATUS = 63 };
void panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The last line of a workload: "name: checksum XXXXXXXX". */
void print_checksum(const char *name, uint32_t checksum);

#endif
