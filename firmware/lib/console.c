/* The console: the debug port when output should cost one instruction a character, the UART when it should be real. */
#include "console.h"

#include "cpu.h"
#include "gigogne.h"

enum {
    UART_DATA = 0,
    UART_DIVISOR_LOW = 0,
    UART_DIVISOR_HIGH = 1,
    UART_INTERRUPT_ENABLE = 1,
    UART_FIFO_CONTROL = 2,
    UART_LINE_CONTROL = 3,
    UART_MODEM_CONTROL = 4,
    UART_LINE_STATUS = 5,
    UART_8N1 = 0x03,
    UART_DIVISOR_ACCESS = 0x80,
    UART_FIFO_ENABLE_AND_CLEAR = 0x07,
    UART_DTR_RTS = 0x03,
    UART_TRANSMITTER_EMPTY = 0x20,
};

static enum console selected;

void console_init(enum console which)
{
    selected = which;
    if (which != CONSOLE_SERIAL)
        return;
    outb(GIG_PORT_UART + UART_INTERRUPT_ENABLE, 0);
    outb(GIG_PORT_UART + UART_LINE_CONTROL, UART_DIVISOR_ACCESS);
    outb(GIG_PORT_UART + UART_DIVISOR_LOW, 1);
    outb(GIG_PORT_UART + UART_DIVISOR_HIGH, 0);
    outb(GIG_PORT_UART + UART_LINE_CONTROL, UART_8N1);
    outb(GIG_PORT_UART + UART_FIFO_CONTROL, UART_FIFO_ENABLE_AND_CLEAR);
    outb(GIG_PORT_UART + UART_MODEM_CONTROL, UART_DTR_RTS);
}

void putchar(char c)
{
    if (selected == CONSOLE_SERIAL) {
        while ((inb(GIG_PORT_UART + UART_LINE_STATUS) & UART_TRANSMITTER_EMPTY) == 0)
            ;
        outb(GIG_PORT_UART + UART_DATA, c);
    } else {
        outb(GIG_PORT_DEBUGCON, c);
    }
}

void exit(int value)
{
    if (selected == CONSOLE_SERIAL) {
        /* The last character is still in the shift register. */
        while ((inb(GIG_PORT_UART + UART_LINE_STATUS) & (UART_TRANSMITTER_EMPTY << 1)) == 0)
            ;
    }
    outb(GIG_PORT_EXIT, value);
    for (;;)
        asm volatile("cli; hlt");
}
