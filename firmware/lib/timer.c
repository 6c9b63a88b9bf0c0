/* 8259A and 8254. */
#include "timer.h"

#include "cpu.h"
#include "gigogne.h"

enum {
    PIC_COMMAND = 0,
    PIC_DATA = 1,
    ICW1_INIT_WITH_ICW4 = 0x11,
    ICW3_MASTER_SLAVE_ON_2 = 0x04,
    ICW3_SLAVE_IDENTITY_2 = 0x02,
    ICW4_8086 = 0x01,
    OCW2_END_OF_INTERRUPT = 0x20,
    PIT_CHANNEL_0 = 0,
    PIT_CONTROL = 3,
    PIT_CHANNEL_0_BOTH_BYTES_MODE_2 = 0x34,
};

static uint16_t mask = 0xFFFF;

static void write_mask(void)
{
    outb(GIG_PORT_PIC_MASTER + PIC_DATA, mask);
    outb(GIG_PORT_PIC_SLAVE + PIC_DATA, mask >> 8);
}

void pic_init(void)
{
    outb(GIG_PORT_PIC_MASTER + PIC_COMMAND, ICW1_INIT_WITH_ICW4);
    outb(GIG_PORT_PIC_SLAVE + PIC_COMMAND, ICW1_INIT_WITH_ICW4);
    outb(GIG_PORT_PIC_MASTER + PIC_DATA, VEC_IRQ);
    outb(GIG_PORT_PIC_SLAVE + PIC_DATA, VEC_IRQ + 8);
    outb(GIG_PORT_PIC_MASTER + PIC_DATA, ICW3_MASTER_SLAVE_ON_2);
    outb(GIG_PORT_PIC_SLAVE + PIC_DATA, ICW3_SLAVE_IDENTITY_2);
    outb(GIG_PORT_PIC_MASTER + PIC_DATA, ICW4_8086);
    outb(GIG_PORT_PIC_SLAVE + PIC_DATA, ICW4_8086);
    mask = 0xFFFF & ~(1 << 2); /* the slave's line */
    write_mask();
}

void pic_unmask(unsigned irq)
{
    mask &= ~(1u << irq);
    write_mask();
}

void pic_mask(unsigned irq)
{
    mask |= 1u << irq;
    write_mask();
}

void pic_end_of_interrupt(unsigned irq)
{
    if (irq >= 8)
        outb(GIG_PORT_PIC_SLAVE + PIC_COMMAND, OCW2_END_OF_INTERRUPT);
    outb(GIG_PORT_PIC_MASTER + PIC_COMMAND, OCW2_END_OF_INTERRUPT);
}

void pit_periodic(uint32_t divisor)
{
    outb(GIG_PORT_PIT + PIT_CONTROL, PIT_CHANNEL_0_BOTH_BYTES_MODE_2);
    outb(GIG_PORT_PIT + PIT_CHANNEL_0, divisor);
    outb(GIG_PORT_PIT + PIT_CHANNEL_0, divisor >> 8);
}
