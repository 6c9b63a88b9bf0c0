#ifndef SELECTORS_H
#define SELECTORS_H

/* Selectors of our GDT, for C and assembly. SYSENTER wants this order: kernel code, kernel data, user code, data. */
#define SEL_NULL 0x00
#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_UCODE 0x1B
#define SEL_UDATA 0x23
#define SEL_TSS 0x28
#define SEL_FREE 0x30 /* the first of GDT_FREE free slots */

#endif
