#ifndef BOOT_H
#define BOOT_H

#include "types.h"

/* What the boot loader said, copied out of its memory before anything can overwrite it. */
struct boot_info {
    char command_line[512];
    uint32_t ram_end; /* end of the RAM that holds the image, exclusive; 4 GiB - 4096 at most */
};

extern struct boot_info boot;

/* Linker script symbols. */
extern char image_start[], text_end[], image_end[];

/* Value of "name=value" on the command line, or NULL. Not terminated: it ends at a blank or at NUL. */
const char *option_text(const char *name);

/* True when the command line says "name=value". */
int option_is(const char *name, const char *value);

/* Number given by "name=number" (decimal, or hexadecimal after 0x), or `otherwise`. */
uint32_t option_number(const char *name, uint32_t otherwise);

/* The program: its result is the machine's exit value (0 is success). */
int main(void);

#endif
