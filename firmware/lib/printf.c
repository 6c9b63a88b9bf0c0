/* Formatted output, the subset console.h names. */
#include "console.h"
#include "string.h"

static void print_number(uint64_t value, unsigned base, const char *digits, char sign, int width, char fill)
{
    char text[24];
    int n = 0;

    do {
        text[n++] = digits[value % base];
        value /= base;
    } while (value != 0);
    if (sign && fill == '0')
        putchar(sign);
    for (int pad = width - n - (sign != 0); pad > 0; pad--)
        putchar(fill);
    if (sign && fill != '0')
        putchar(sign);
    while (n > 0)
        putchar(text[--n]);
}

static void print_text(const char *s, int width)
{
    for (int pad = width - (int)strlen(s); pad > 0; pad--)
        putchar(' ');
    while (*s != 0)
        putchar(*s++);
}

void vprintf(const char *format, va_list arguments)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

    for (; *format != 0; format++) {
        if (*format != '%') {
            putchar(*format);
            continue;
        }
        char fill = ' ';
        int width = 0, longs = 0;

        format++;
        if (*format == '0')
            fill = *format++;
        while (*format >= '0' && *format <= '9')
            width = width * 10 + *format++ - '0';
        while (*format == 'l') {
            longs++;
            format++;
        }
        switch (*format) {
        case 'd': {
            int64_t v = longs > 1 ? va_arg(arguments, int64_t) : va_arg(arguments, int32_t);

            print_number(v < 0 ? -(uint64_t)v : (uint64_t)v, 10, lower, v < 0 ? '-' : 0, width, fill);
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            uint64_t v = longs > 1 ? va_arg(arguments, uint64_t) : va_arg(arguments, uint32_t);

            print_number(v, *format == 'u' ? 10 : 16, *format == 'X' ? upper : lower, 0, width, fill);
            break;
        }
        case 'p':
            print_number(va_arg(arguments, uint32_t), 16, lower, 0, 8, '0');
            break;
        case 's':
            print_text(va_arg(arguments, const char *), width);
            break;
        case 'c':
            putchar(va_arg(arguments, int));
            break;
        default:
            putchar(*format);
            break;
        }
    }
}

void printf(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}
