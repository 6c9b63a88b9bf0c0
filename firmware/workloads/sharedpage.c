/* sharedpage: a loop that updates two words beside its own code.
 *
 * Whoever keeps copies of code has to notice writes to it, and can afford to look only at the page. Nothing here changes
 * code, so that what the loop loses against data=apart is the price of looking too coarsely.
 *
 * iterations: thousands of rounds of the loop (default 3)
 * data: where the words lie: page (default) for the same page, line for right behind the code, apart for another page
 * expect: sharedpage: checksum 0044BBB4
 */
#include "boot.h"
#include "console.h"

extern uint32_t words_behind[2], words_on_page[2];

/* words[0] is counted up, words[1] grows by what is left to do; returns their sum. */
uint32_t count_beside(uint32_t *words, uint32_t rounds);

asm(".pushsection .text.count_beside, \"awx\"\n"
    ".balign 4096\n"
    "count_beside:\n"
    "    movl 4(%esp), %edx\n"
    "    movl 8(%esp), %ecx\n"
    "1:\n"
    "    incl (%edx)\n"
    "    movl 4(%edx), %eax\n"
    "    addl %ecx, %eax\n"
    "    movl %eax, 4(%edx)\n"
    "    decl %ecx\n"
    "    jnz 1b\n"
    "    addl (%edx), %eax\n"
    "    ret\n"
    ".balign 4\n"
    "words_behind:\n"
    "    .long 0, 0\n"
    ".balign 2048\n"
    "words_on_page:\n"
    "    .long 0, 0\n"
    ".balign 4096\n"
    ".popsection");

int main(void)
{
    static uint32_t words_apart[2];
    uint32_t *words = option_is("data", "apart") ? words_apart : option_is("data", "line") ? words_behind : words_on_page;

    print_checksum("sharedpage", count_beside(words, 1000 * option_number("iterations", 3)));
    return 0;
}
