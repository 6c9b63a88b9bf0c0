/* The user's library: system calls by INT 80h and one line of formatted output. */
#include "user.h"

void exit(int status)
{
    call_by_int(SYS_EXIT, status, 0);
    __builtin_unreachable();
}

int getpid(void) { return call_by_int(SYS_GETPID, 0, 0); }
int fork(void) { return call_by_int(SYS_FORK, 0, 0); }
void yield(void) { call_by_int(SYS_YIELD, 0, 0); }
void *sbrk(int bytes) { return (void *)call_by_int(SYS_SBRK, bytes, 0); }
int wait(int pid, int *status) { return call_by_int(SYS_WAIT, pid, (uint32_t)status); }
int spawn(const char *name) { return call_by_int(SYS_SPAWN, (uint32_t)name, 0); }
void sleep(uint32_t ticks) { call_by_int(SYS_SLEEP, ticks, 0); }
int preemptions(void) { return call_by_int(SYS_PREEMPTIONS, 0, 0); }
int ticks(void) { return call_by_int(SYS_TICKS, 0, 0); }

int status_of(int pid)
{
    int status = -1, ended = wait(pid, &status);

    return ended < 0 ? ended : status;
}

static char *put_number(char *to, uint32_t value, uint32_t base)
{
    char digits[10];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

void say(const char *format, ...)
{
    char line[160], *to = line;
    va_list arguments;

    va_start(arguments, format);
    for (; *format != 0 && to < line + sizeof line - 12; format++) {
        if (*format != '%') {
            *to++ = *format;
            continue;
        }
        format++;
        if (*format == 's') {
            for (const char *s = va_arg(arguments, const char *); *s != 0 && to < line + sizeof line - 12;)
                *to++ = *s++;
            continue;
        }
        int value = va_arg(arguments, int);

        if (*format == 'd' && value < 0) {
            *to++ = '-';
            value = -value;
        }
        to = put_number(to, value, *format == 'x' ? 16 : 10);
    }
    va_end(arguments);
    *to++ = '\n';
    call_by_int(SYS_WRITE, (uint32_t)line, to - line);
}
