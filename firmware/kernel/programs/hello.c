/* hello: the smallest program. */
#include "user.h"

int main(void)
{
    say("hello from process %d", getpid());
    return 0;
}
