/* devices: the interrupt controllers, the timer, the serial port and the clock as a program meets them.
 *
 * expect:
 *   PASS unclaimed_port_reads_ones
 *   PASS debug_console_identity
 *   PASS pic_mask_reads_back
 *   PASS pic_request_is_not_service
 *   PASS pic_poll
 *   PASS pic_specific_end
 *   PASS pic_lower_priority_waits
 *   PASS pic_higher_priority_nests
 *   PASS pit_latch_holds
 *   PASS pit_status
 *   PASS pit_one_shot_interrupts_once
 *   PASS speaker_channel_runs
 *   PASS uart_scratch
 *   PASS uart_divisor_latch
 *   PASS uart_loopback_modem_lines
 *   PASS uart_loopback_fifo
 *   PASS uart_transmit_interrupt
 *   PASS uart_receive_interrupt
 *   PASS rtc_counts_in_bcd
 *   PASS cmos_keeps_bytes
 */
#include "check.h"
#include "cpu.h"
#include "gigogne.h"
#include "timer.h"

enum {
    PIC_READ_IRR = 0x0A,
    PIC_READ_ISR = 0x0B,
    PIC_POLL = 0x0C,
    PIT_CONTROL = GIG_PORT_PIT + 3,
    UART_IER = GIG_PORT_UART + 1,
    UART_IIR = GIG_PORT_UART + 2,
    UART_LCR = GIG_PORT_UART + 3,
    UART_MCR = GIG_PORT_UART + 4,
    UART_LSR = GIG_PORT_UART + 5,
    UART_MSR = GIG_PORT_UART + 6,
    UART_SCRATCH = GIG_PORT_UART + 7,
    MCR_LOOP = 0x10,
    MCR_OUT2 = 0x08,
    LSR_DATA = 0x01,
    LSR_EMPTY = 0x60,
    PATIENCE = 10000000,
};

static volatile int order, timer_seen, uart_seen;

static uint8_t pic_read(unsigned what)
{
    outb(GIG_PORT_PIC_MASTER, what);
    return inb(GIG_PORT_PIC_MASTER);
}

static int wait_for(volatile int *what)
{
    for (int n = 0; n < PATIENCE; n++)
        if (*what)
            return 1;
    return 0;
}

static int wait_port(uint16_t port, uint8_t bits, uint8_t value)
{
    for (int n = 0; n < PATIENCE; n++)
        if ((inb(port) & bits) == value)
            return 1;
    return 0;
}

static int wait_request(unsigned irq)
{
    outb(GIG_PORT_PIC_MASTER, PIC_READ_IRR);
    return wait_port(GIG_PORT_PIC_MASTER, 1 << irq, 1 << irq);
}

static void pit_start(unsigned channel, unsigned mode, uint32_t count)
{
    outb(PIT_CONTROL, channel << 6 | 0x30 | mode << 1);
    outb(GIG_PORT_PIT + channel, count);
    outb(GIG_PORT_PIT + channel, count >> 8);
}

static uint16_t pit_read(unsigned channel)
{
    uint8_t low = inb(GIG_PORT_PIT + channel);

    return low | inb(GIG_PORT_PIT + channel) << 8;
}

static uint16_t pit_latched(unsigned channel)
{
    outb(PIT_CONTROL, channel << 6);
    return pit_read(channel);
}

/* Let this many ticks pass by channel 2. */
static void pit_wait(uint16_t ticks)
{
    uint16_t start = pit_latched(2);

    for (int n = 0; n < PATIENCE && (uint16_t)(start - pit_latched(2)) < ticks; n++)
        ;
}

static void count(struct trap_frame *frame)
{
    (void)frame;
    timer_seen++;
    pic_end_of_interrupt(GIG_IRQ_PIT);
}

/* The service routines of the priority checks note when they begin and end, and let others in between. */
static void timer_service(struct trap_frame *frame)
{
    (void)frame;
    order = order * 10 + 1;
    sti();
    pit_wait(20);
    cli();
    order = order * 10 + 2;
    pic_end_of_interrupt(GIG_IRQ_PIT);
}

static void uart_service(struct trap_frame *frame)
{
    (void)frame;
    outb(UART_IER, 0);
    order = order * 10 + 3;
    pic_unmask(GIG_IRQ_PIT);
    sti();
    pit_wait(20);
    cli();
    order = order * 10 + 4;
    pic_end_of_interrupt(GIG_IRQ_UART);
    uart_seen = 1;
}

/* Both the timer and the UART wait, then the lines of `open` are unmasked: who is served when. */
static int serve(unsigned open)
{
    pic_mask(GIG_IRQ_PIT);
    pic_mask(GIG_IRQ_UART);
    pit_start(0, 0, 50);
    outb(UART_IER, 2);
    if (!wait_request(GIG_IRQ_PIT) || !wait_request(GIG_IRQ_UART))
        return 0;
    order = uart_seen = 0;
    pic_unmask(GIG_IRQ_UART);
    pic_unmask(open);
    sti();
    wait_for(&uart_seen);
    cli();
    pic_mask(GIG_IRQ_PIT);
    pic_mask(GIG_IRQ_UART);
    return order;
}

static void controllers(void)
{
    check_equal("unclaimed_port_reads_ones", inb(0x3E0) & inb(0x2F7), 0xFF);
    check_equal("debug_console_identity", inb(GIG_PORT_DEBUGCON), GIG_PORT_DEBUGCON);
    outb(GIG_PORT_PIC_MASTER + 1, 0xA5);
    outb(GIG_PORT_PIC_SLAVE + 1, 0x5A);
    check("pic_mask_reads_back", inb(GIG_PORT_PIC_MASTER + 1) == 0xA5 && inb(GIG_PORT_PIC_SLAVE + 1) == 0x5A);
    pic_init();
    pit_start(0, 0, 50);
    check("pic_request_is_not_service", wait_request(GIG_IRQ_PIT) && pic_read(PIC_READ_ISR) == 0);
    pic_unmask(GIG_IRQ_PIT);
    outb(GIG_PORT_PIC_MASTER, PIC_POLL);
    check_equal("pic_poll", inb(GIG_PORT_PIC_MASTER), 0x80 | GIG_IRQ_PIT);
    int service = pic_read(PIC_READ_ISR);

    outb(GIG_PORT_PIC_MASTER, 0x60 | GIG_IRQ_PIT);
    check("pic_specific_end", service == 1 << GIG_IRQ_PIT && pic_read(PIC_READ_ISR) == 0);
    set_handler(VEC_IRQ + GIG_IRQ_PIT, timer_service);
    set_handler(VEC_IRQ + GIG_IRQ_UART, uart_service);
    outb(UART_MCR, MCR_OUT2);
    check_equal("pic_lower_priority_waits", serve(GIG_IRQ_PIT), 1234);
    check_equal("pic_higher_priority_nests", serve(GIG_IRQ_UART), 3124);
}

static void timer(void)
{
    uint16_t held, later;

    pit_start(0, 2, 0xFFFF);
    outb(PIT_CONTROL, 0); /* latch channel 0 */
    pit_wait(50);
    held = pit_read(0);
    later = pit_latched(0);
    check("pit_latch_holds", (uint16_t)(held - later) >= 50);
    outb(PIT_CONTROL, 0xE2); /* read back the status of channel 0 */
    check_equal("pit_status", inb(GIG_PORT_PIT) & 0x3F, 0x34);
    set_handler(VEC_IRQ + GIG_IRQ_PIT, count);
    pic_init();
    timer_seen = 0;
    pit_start(0, 0, 50);
    pic_unmask(GIG_IRQ_PIT);
    sti();
    wait_for(&timer_seen);
    pit_wait(200);
    cli();
    check_equal("pit_one_shot_interrupts_once", timer_seen, 1);
    pit_start(2, 3, 100);
    check("speaker_channel_runs", wait_port(GIG_PORT_SYSTEM_CONTROL_B, 0x20, 0x20) &&
                                      wait_port(GIG_PORT_SYSTEM_CONTROL_B, 0x20, 0));
}

static void uart(void)
{
    int right = 1;

    outb(UART_SCRATCH, 0x5C);
    check_equal("uart_scratch", inb(UART_SCRATCH), 0x5C);
    outb(UART_LCR, 0x83);
    outb(GIG_PORT_UART, 0x03);
    outb(UART_IER, 0x12);
    right = inb(GIG_PORT_UART) == 0x03 && inb(UART_IER) == 0x12;
    outb(GIG_PORT_UART, 1);
    outb(UART_IER, 0);
    outb(UART_LCR, 0x03);
    check("uart_divisor_latch", right && inb(UART_IER) == 0);
    outb(UART_MCR, MCR_LOOP | 0x0F);
    right = (inb(UART_MSR) & 0xF0) == 0xF0;
    outb(UART_MCR, MCR_LOOP);
    right &= (inb(UART_MSR) & 0xF0) == 0;
    check("uart_loopback_modem_lines", right);
    outb(UART_IIR, 0x07); /* FIFOs on and empty */
    for (int n = 0; n < 12; n++)
        outb(GIG_PORT_UART, 'a' + n);
    right = 1;
    for (int n = 0; n < 12; n++)
        right &= wait_port(UART_LSR, LSR_DATA, LSR_DATA) && inb(GIG_PORT_UART) == 'a' + n;
    check("uart_loopback_fifo", right && wait_port(UART_LSR, LSR_EMPTY | LSR_DATA, LSR_EMPTY));
    outb(UART_IIR, 0);
    outb(UART_IER, 2);
    right = (inb(UART_IIR) & 0x0F) == 2;
    check("uart_transmit_interrupt", right && (inb(UART_IIR) & 0x0F) == 1);
    outb(UART_IER, 1);
    outb(GIG_PORT_UART, 'x');
    right = wait_port(UART_IIR, 0x0F, 4) && inb(GIG_PORT_UART) == 'x';
    check("uart_receive_interrupt", right && (inb(UART_IIR) & 0x0F) == 1);
    outb(UART_IER, 0);
    outb(UART_MCR, 0);
}

static uint8_t cmos(uint8_t index)
{
    outb(GIG_PORT_CMOS, index);
    return inb(GIG_PORT_CMOS + 1);
}

static void clock(void)
{
    int right = cmos(0x0D) == 0x80;

    for (int n = 0; n < 10; n++)
        right &= n == 1 || n == 3 || n == 5 || ((cmos(n) & 0x0F) < 10 && cmos(n) >> 4 < 10);
    check("rtc_counts_in_bcd", right && cmos(0) < 0x60 && cmos(4) < 0x24 && cmos(8) <= 0x12);
    outb(GIG_PORT_CMOS, 0x50);
    outb(GIG_PORT_CMOS + 1, 0xC3);
    check_equal("cmos_keeps_bytes", cmos(0x50), 0xC3);
}

int main(void)
{
    guard_init();
    outb(GIG_PORT_SYSTEM_CONTROL_B, 1); /* open the gate of channel 2 */
    pit_start(2, 2, 0);
    controllers();
    timer();
    uart();
    clock();
    return check_failures();
}
