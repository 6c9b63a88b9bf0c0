#ifndef VECTORS_H
#define VECTORS_H

/* Interrupt vectors of our choosing, for C and assembly. */
#define VEC_IRQ 0x20 /* of IRQ 0; the sixteen lines follow */
#define VEC_SYSCALL 0x80
#define VEC_RING3_DONE 0x81 /* how run_ring3's code comes back */

#endif
