/* The boot code's place when a workload is a Linux program: command line from the first argument, console on
 * standard output, exit status as the machine's exit value, RAM from the program's own memory.
 *
 * Options, printf, strings and page tables are the firmware's own objects. Linked with --wrap=paging_on: the tables
 * are made but nothing is asked of the processor, which translates by tables of its own.
 */
#include "boot.h"
#include "console.h"
#include "page.h"
#include "string.h"

enum { SYS_EXIT = 1, SYS_WRITE = 4, STDOUT = 1, LINE = 128 };

char image_end[4 << 20] PAGE_ALIGNED;

static char line[LINE];
static int used;

static int system_call(int number, uint32_t a, uint32_t b, uint32_t c)
{
    int result;

    asm volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

static void flush(void)
{
    system_call(SYS_WRITE, STDOUT, (uint32_t)line, used);
    used = 0;
}

void putchar(char c)
{
    line[used++] = c;
    if (c == '\n' || used == LINE)
        flush();
}

void exit(int value)
{
    flush();
    for (;;)
        system_call(SYS_EXIT, value, 0, 0);
}

void __wrap_paging_on(uint32_t *directory);

void __wrap_paging_on(uint32_t *directory) { (void)directory; }

void linux_main(int count, char **arguments) __attribute__((noreturn));

void linux_main(int count, char **arguments)
{
    if (count > 1 && strlen(arguments[1]) < sizeof boot.command_line)
        strcpy(boot.command_line, arguments[1]);
    boot.ram_end = (uint32_t)image_end + sizeof image_end;
    exit(main());
}

asm(".pushsection .text._start, \"ax\"\n"
    ".globl _start\n"
    "_start:\n"
    "    movl (%esp), %eax\n"
    "    leal 4(%esp), %edx\n"
    "    andl $-16, %esp\n"
    "    subl $8, %esp\n"
    "    pushl %edx\n"
    "    pushl %eax\n"
    "    call linux_main\n"
    ".popsection");
