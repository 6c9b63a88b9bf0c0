/* SVM switched on, guests run, the host watched. */
#include "svm.h"

#include "boot.h"
#include "console.h"
#include "suite.h"
#include "seg.h"
#include "string.h"
#include "timer.h"

enum {
    PIT_CONTROL = 3,
    PIT_ONE_SHOT_BOTH_BYTES = 0x30,
    READ_REQUESTS = 0x0A, /* of the PIC */
    EXTENDED_MAX = 0x80000000,
    EXTENDED_FEATURES = 0x80000001,
};

uint8_t host_save_area[4096] PAGE_ALIGNED;
int watchdog = 1;
int host_changed, late_runs;

struct vmcb host;
static int interrupted;

uint32_t host_interrupts = 1, alarms, alarm_eip;

int svm_switch(struct vmcb *vmcb, struct guest_registers *registers, struct vmcb *host_vmcb);

static void on_timer(struct trap_frame *frame)
{
    alarms++;
    alarm_eip = frame->eip;
    interrupted = 1;
    pic_end_of_interrupt(0);
}

int svm_has(uint32_t features) { return (cpuid(SVM_CPUID_LEAF).edx & features) == features; }

void suite_begin(void)
{
    console_init(option_is("console", "debugcon") ? CONSOLE_DEBUGCON : CONSOLE_SERIAL);
    if (cpuid(EXTENDED_MAX).eax < SVM_CPUID_LEAF || (cpuid(EXTENDED_FEATURES).ecx & X86_CPUID_ECX_SVM) == 0) {
        printf("SKIP no SVM\n");
        exit(0);
    }
    guard_init();
    wrmsr(X86_MSR_EFER, rdmsr(X86_MSR_EFER) | X86_EFER_SVME);
    wrmsr(X86_MSR_VM_HSAVE_PA, (uint32_t)host_save_area);
    asm volatile("vmsave" : : "a"(&host) : "memory");
    set_handler(VEC_IRQ, on_timer);
    pic_unmask(0);
}

static void count_down(uint16_t ticks)
{
    outb(GIG_PORT_PIT + PIT_CONTROL, PIT_ONE_SHOT_BOTH_BYTES);
    outb(GIG_PORT_PIT, ticks);
    outb(GIG_PORT_PIT, ticks >> 8);
}

void alarm_in(uint16_t ticks)
{
    /* A long count first: the new one must not end while interrupts are on here. */
    count_down(0xFFFF);
    sti();
    asm volatile("nop");
    cli();
    interrupted = 0;
    alarms = 0;
    count_down(ticks);
}

void alarm_now(void)
{
    alarm_in(20);
    do
        outb(GIG_PORT_PIC_MASTER, READ_REQUESTS);
    while ((inb(GIG_PORT_PIC_MASTER) & 1) == 0);
}

/* What #VMEXIT, or VMLOAD after it, must give back. */
struct host_state {
    uint32_t cr0, cr3, cr4, eflags, dr7;
    uint64_t efer;
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) gdtr, idtr;
    uint16_t segments[8];
};

static void look(struct host_state *at)
{
    memset(at, 0, sizeof *at);
    at->cr0 = read_cr0();
    at->cr3 = read_cr3();
    at->cr4 = read_cr4();
    at->eflags = read_eflags() & ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF |
                                   X86_EFLAGS_OF);
    at->dr7 = X86_DR7_FIXED;
    at->efer = rdmsr(X86_MSR_EFER);
    asm volatile("sgdt %0" : "=m"(at->gdtr));
    asm volatile("sidt %0" : "=m"(at->idtr));
    asm volatile("movw %%cs, %0; movw %%ds, %1; movw %%es, %2; movw %%ss, %3\n\t"
                 "movw %%fs, %4; movw %%gs, %5; str %6; sldt %7"
                 : "=m"(at->segments[0]), "=m"(at->segments[1]), "=m"(at->segments[2]), "=m"(at->segments[3]),
                   "=m"(at->segments[4]), "=m"(at->segments[5]), "=m"(at->segments[6]), "=m"(at->segments[7]));
}

uint32_t guest_run(void)
{
    struct host_state before, after;

    if (watchdog)
        alarm_in(0xFFFF);
    look(&before);
    svm_switch(&vmcb, &guest, &host);
    look(&after);
    after.dr7 = read_dr7();
    if (memcmp(&before, &after, sizeof before) != 0)
        host_changed++;
    if (watchdog && interrupted)
        late_runs++;
    return (uint32_t)vmcb.exit_code;
}
