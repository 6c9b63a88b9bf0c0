/* init: runs every other program to its end, one after the other; its status is how many failed. */
#include "user.h"

int main(void)
{
    static const char *const names[] = {"hello", "doors", "forker", "heap", "hog", "sleeper", "crasher"};
    int failed = 0;

    for (uint32_t n = 0; n < ARRAY_SIZE(names); n++) {
        int pid = spawn(names[n]), status = pid < 0 ? pid : status_of(pid);

        say("init: %s ended with status %d", names[n], status);
        failed += status != 0;
    }
    if (spawn("nothing") != E_NO_PROGRAM || status_of(0) != E_NO_CHILD)
        failed++;
    return failed;
}
