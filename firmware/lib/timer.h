#ifndef TIMER_H
#define TIMER_H

#include "types.h"
#include "vectors.h"

/* The interrupt controllers and the interval timer. */

/* Initialize both 8259A, vectors VEC_IRQ..., every line masked. */
void pic_init(void);
void pic_unmask(unsigned irq);
void pic_mask(unsigned irq);
void pic_end_of_interrupt(unsigned irq);

/* Channel 0 of the PIT raises IRQ 0 every `divisor` ticks of 1.193182 MHz. */
void pit_periodic(uint32_t divisor);

#endif
