/* bytecode: a stack machine interpreting the Collatz problem: loads, indirect jumps and their misprediction.
 *
 * iterations: searches below LIMIT (default 1)
 * expect: bytecode: longest 54 from 112 steps
 * expect: bytecode: checksum 000BD7A8
 */
#include "boot.h"
#include "console.h"

enum op {
    PUSH,       /* constant -> */
    LOAD,       /* variable -> */
    STORE,      /* -> variable */
    ADD,
    MULTIPLY,
    HALVE,
    IS_ODD,
    EQUAL,
    GREATER,
    JUMP,       /* to */
    JUMP_FALSE, /* to */
    HALT,
};

enum { LIMIT = 60 };

enum variable { NUMBER, STEPS, START, LAST, BEST, BEST_STEPS, VARIABLES };

static const uint8_t program[] = {
    /* 0: while START <= LAST */
    LOAD, START, LOAD, LAST, GREATER, JUMP_FALSE, 9, HALT, HALT,
    /* 9: NUMBER = START; STEPS = 0 */
    LOAD, START, STORE, NUMBER, PUSH, 0, STORE, STEPS,
    /* 17: while NUMBER != 1 */
    LOAD, NUMBER, PUSH, 1, EQUAL, JUMP_FALSE, 26, JUMP, 55,
    /* 26: STEPS++ */
    LOAD, STEPS, PUSH, 1, ADD, STORE, STEPS,
    /* 33: odd: NUMBER = 3 * NUMBER + 1, else NUMBER / 2 */
    LOAD, NUMBER, IS_ODD, JUMP_FALSE, 48,
    LOAD, NUMBER, PUSH, 3, MULTIPLY, PUSH, 1, ADD, JUMP, 51,
    /* 48 */
    LOAD, NUMBER, HALVE,
    /* 51 */
    STORE, NUMBER, JUMP, 17,
    /* 55: a longer chain than the best? */
    LOAD, STEPS, LOAD, BEST_STEPS, GREATER, JUMP_FALSE, 70,
    LOAD, START, STORE, BEST, LOAD, STEPS, STORE, BEST_STEPS,
    /* 70: START++ */
    LOAD, START, PUSH, 1, ADD, STORE, START, JUMP, 0,
};

static uint32_t variables[VARIABLES];

static uint32_t NOINLINE interpret(void)
{
    uint32_t stack[16], *top = stack, executed = 0;
    const uint8_t *at = program;

    for (;;) {
        executed++;
        switch (*at++) {
        case PUSH:
            *top++ = *at++;
            break;
        case LOAD:
            *top++ = variables[*at++];
            break;
        case STORE:
            variables[*at++] = *--top;
            break;
        case ADD:
            top--;
            top[-1] += *top;
            break;
        case MULTIPLY:
            top--;
            top[-1] *= *top;
            break;
        case HALVE:
            top[-1] >>= 1;
            break;
        case IS_ODD:
            top[-1] &= 1;
            break;
        case EQUAL:
            top--;
            top[-1] = top[-1] == *top;
            break;
        case GREATER:
            top--;
            top[-1] = top[-1] > *top;
            break;
        case JUMP:
            at = program + *at;
            break;
        case JUMP_FALSE:
            at = *--top ? at + 1 : program + *at;
            break;
        case HALT:
            return executed;
        }
    }
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 1), executed = 0;

    for (uint32_t n = 0; n < rounds; n++) {
        variables[START] = 1;
        variables[LAST] = LIMIT;
        executed += interpret();
    }
    printf("bytecode: longest %u from %u steps\n", (unsigned)variables[BEST], (unsigned)variables[BEST_STEPS]);
    print_checksum("bytecode", executed * 31 + variables[BEST_STEPS]);
    return 0;
}
