/* virtual_gif: a guest's own GIF holds virtual interrupts and nothing else; STGI and CLGI of the guest change it alone.
 * APM 15.33.2.
 *
 * expect: virtual_gif: 37 checks
 */
#include "suite.h"
#include "svm.h"

GUEST(here, "", "nop");
GUEST(opens, "", "stgi; opens_stop: nop");
GUEST(closes, "", "clgi; sti; nop; nop");
GUEST(turns, "clgi; sti; nop; nop", "stgi; turns_stop: nop");
GUEST(covered, "sti", "stgi; covered_stop: nop");
GUEST(closed, "clgi; sti; nop", "nop");
GUEST(halt, "sti", "hlt");

extern char opens_stop[], turns_stop[], covered_stop[];

enum {
    VECTOR = 0x51,
    IF = X86_EFLAGS_IF,
    IRQ = SVM_VINTR_IRQ | SVM_VINTR_IGNORE_TPR,
    OWN = SVM_VINTR_GIF_ENABLE,
    SET = SVM_VINTR_GIF,
    TAKEN = 0x400, /* for an exit code: the virtual interrupt is delivered */
    NONE = SVM_EXIT_VMMCALL, /* intercepted anyway */
};

/* One guest: VINTR and EFLAGS it starts with, what is intercepted besides, how and where it ends, V_IRQ and V_GIF
 * then. */
struct scene {
    const char *name, *left_name;
    void (*code)(void);
    uint32_t vintr, flags, intercepted, exit;
    const void *eip;
    uint32_t left;
};

#define SCENE(name, ...) {#name, #name "_left", __VA_ARGS__}

static const struct scene scenes[] = {
    SCENE(set, here, IRQ | OWN | SET, IF, NONE, TAKEN, here, SET),
    SCENE(clear, here, IRQ | OWN, IF, NONE, NONE, here_next, SVM_VINTR_IRQ),
    SCENE(not_enabled, here, IRQ, IF, NONE, TAKEN, here, 0),
    SCENE(not_enabled_set, here, IRQ | SET, IF, NONE, TAKEN, here, SET),
    SCENE(stgi, opens, IRQ | OWN, IF, NONE, TAKEN, opens_stop, SET),
    SCENE(stgi_alone, opens, OWN, IF, NONE, NONE, opens_next, SET),
    SCENE(stgi_when_set, opens, OWN | SET, 0, NONE, NONE, opens_next, SET),
    SCENE(stgi_asks_for_if, opens, IRQ | OWN, 0, NONE, NONE, opens_next, SVM_VINTR_IRQ | SET),
    SCENE(stgi_in_a_shadow, covered, IRQ | OWN, 0, NONE, TAKEN, covered_stop, SET),
    SCENE(clgi, closes, IRQ | OWN | SET, 0, NONE, NONE, closes_next, SVM_VINTR_IRQ),
    SCENE(clgi_and_stgi, turns, IRQ | OWN | SET, 0, NONE, TAKEN, turns_stop, SET),
    SCENE(stgi_intercepted, opens, IRQ | OWN, IF, SVM_EXIT_STGI, SVM_EXIT_STGI, opens_at, SVM_VINTR_IRQ),
    SCENE(clgi_intercepted, closes, OWN | SET, IF, SVM_EXIT_CLGI, SVM_EXIT_CLGI, closes_at, SET),
    SCENE(no_window, here, IRQ | OWN, IF, SVM_EXIT_VINTR, NONE, here_next, SVM_VINTR_IRQ),
    SCENE(window, opens, IRQ | OWN, IF, SVM_EXIT_VINTR, SVM_EXIT_VINTR, opens_stop, SVM_VINTR_IRQ | SET),
    SCENE(physical_one, closed, IRQ | OWN | SET, 0, NONE, SVM_EXIT_INTR, closed_at, SVM_VINTR_IRQ),
};

static void prepare(void (*code)(void), uint32_t vintr, uint32_t flags)
{
    guest_new(code);
    vmcb.vintr = vintr;
    vmcb.vintr_vector = VECTOR;
    vmcb.rflags = X86_EFLAGS_FIXED | flags;
    watchdog = 1;
}

static void play(const struct scene *scene)
{
    prepare(scene->code, scene->vintr, scene->flags);
    intercept(scene->intercepted);
    if (scene->exit == SVM_EXIT_INTR) {
        watchdog = 0;
        alarm_now();
    }
    guest_run();
    if (scene->exit == TAKEN)
        expect_guest_trap(scene->name, VECTOR, 0, scene->eip);
    else
        expect_exit(scene->name, scene->exit, scene->eip);
    expect_equal(scene->left_name, vmcb.vintr & (SVM_VINTR_IRQ | SVM_VINTR_GIF), scene->left);
}

static void company(void)
{
    prepare(halt, IRQ | OWN, 0);
    watchdog = 0;
    alarm_in(2000);
    guest_run();
    expect_exit("halt_goes_on", SVM_EXIT_INTR, halt_next);
    prepare(here, OWN, 0);
    vmcb.event = SVM_EVENT_V | SVM_EVENT_TYPE_INTERRUPT | 0x30;
    guest_run();
    expect_guest_trap("injected_event", 0x30, 0, here);
    prepare(here, OWN, 0);
    write_dr0((uint32_t)here_at);
    vmcb.dr7 = X86_DR7_FIXED | 2;
    guest_run();
    expect_guest_trap("breakpoint", X86_VEC_DB, 0, here_at);
    write_dr0(0);
}

int main(void)
{
    static const char *const others[] = {"halt_goes_on", "injected_event", "breakpoint"};

    suite_begin();
    if (svm_has(SVM_CPUID_VIRTUAL_GIF)) {
        for (unsigned n = 0; n < ARRAY_SIZE(scenes); n++)
            play(&scenes[n]);
        company();
    } else {
        for (unsigned n = 0; n < ARRAY_SIZE(scenes); n++) {
            skip(scenes[n].name);
            skip(scenes[n].left_name);
        }
        for (unsigned n = 0; n < ARRAY_SIZE(others); n++)
            skip(others[n]);
    }
    return suite_end("virtual_gif");
}
