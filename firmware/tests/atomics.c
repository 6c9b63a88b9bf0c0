/* atomics: XCHG, XADD, CMPXCHG and CMPXCHG8B, with and without LOCK.
 *
 * expect:
 *   PASS xchg_memory
 *   PASS xchg_bytes
 *   PASS xadd_sum
 *   PASS xadd_old
 *   PASS xadd_same_register
 *   PASS cmpxchg_equal
 *   PASS cmpxchg_differs
 *   PASS cmpxchg_byte
 *   PASS cmpxchg8b_equal
 *   PASS cmpxchg8b_differs
 *   PASS cmpxchg8b_keeps_flags
 *   PASS cmpxchg8b_register
 *   PASS lock_bts
 *   PASS lock_btr_far_bit
 *   PASS lock_not_neg
 *   PASS lock_add_carry
 *   PASS lock_cmp
 */
#include "check.h"
#include "gigogne.h"

CODE(cmpxchg8b_register, "", ".byte 0x0F, 0xC7, 0xC8");
CODE(lock_cmp, "", ".byte 0xF0, 0x39, 0x00");

static volatile uint32_t word;
static volatile uint64_t pair;

static uint32_t flags(void)
{
    uint32_t v;

    asm volatile("pushfl; popl %0" : "=r"(v));
    return v;
}

static int compare_exchange(uint32_t *accumulator, uint32_t with)
{
    uint8_t equal;

    asm volatile("lock cmpxchgl %3, %1; sete %2"
                 : "+a"(*accumulator), "+m"(word), "=q"(equal)
                 : "r"(with)
                 : "memory", "cc");
    return equal;
}

static int compare_exchange_pair(uint64_t *expected, uint64_t with)
{
    uint8_t equal;

    asm volatile("lock cmpxchg8b %1; sete %2"
                 : "+A"(*expected), "+m"(pair), "=q"(equal)
                 : "b"((uint32_t)with), "c"((uint32_t)(with >> 32))
                 : "memory", "cc");
    return equal;
}

int main(void)
{
    uint32_t a, b;
    uint64_t p;
    uint8_t low = 0x12, high = 0x34;

    guard_init();
    word = 5, a = 7;
    asm volatile("xchgl %0, %1" : "+r"(a), "+m"(word));
    check("xchg_memory", a == 5 && word == 7);
    asm volatile("xchgb %0, %1" : "+q"(low), "+m"(high));
    check("xchg_bytes", low == 0x34 && high == 0x12);
    word = 0xFFFFFFFF, a = 2;
    asm volatile("lock xaddl %0, %1" : "+r"(a), "+m"(word) : : "cc");
    b = flags();
    check_equal("xadd_sum", word, 1);
    check_equal("xadd_old", a, 0xFFFFFFFF);
    a = 21;
    asm volatile("xaddl %0, %0" : "+r"(a) : : "cc");
    check_equal("xadd_same_register", a, 42);
    word = 9, a = 9;
    b = compare_exchange(&a, 100);
    check("cmpxchg_equal", b && word == 100 && a == 9);
    a = 9;
    b = compare_exchange(&a, 200);
    check("cmpxchg_differs", !b && word == 100 && a == 100);
    word = 0x11223344, a = 0xFFFFFF44;
    asm volatile("cmpxchgb %b2, %1" : "+a"(a), "+m"(word) : "q"(0x99) : "cc");
    check("cmpxchg_byte", word == 0x11223399 && a == 0xFFFFFF44);
    pair = p = 0x0123456789ABCDEFull;
    b = compare_exchange_pair(&p, 0x1111111122222222ull);
    check("cmpxchg8b_equal", b && pair == 0x1111111122222222ull);
    p = 0x1111111122222223ull;
    b = compare_exchange_pair(&p, 0);
    check("cmpxchg8b_differs", !b && pair == 0x1111111122222222ull && p == pair);
    asm volatile("movl $-1, %%eax; addl $1, %%eax; movl $1, %%edx; lock cmpxchg8b %1; pushfl; popl %0"
                 : "=r"(a), "+m"(pair)
                 :
                 : "eax", "edx", "cc", "memory");
    /* Only ZF changes: the carry, auxiliary carry and parity of the addition stay. */
    check_equal("cmpxchg8b_keeps_flags", a & 0x8D5, X86_EFLAGS_CF | X86_EFLAGS_AF | X86_EFLAGS_PF);
    CHECK_FAULT(cmpxchg8b_register, X86_VEC_UD, 0);
    word = 0;
    asm volatile("lock btsl $31, %1; sbbl %0, %0; lock btsl $31, %1; adcl $0, %0" : "=&r"(a), "+m"(word) : : "cc");
    check("lock_bts", word == 0x80000000 && a == 1);
    static volatile uint32_t bits[4] = {~0u, ~0u, ~0u, ~0u};

    asm volatile("lock btrl %1, %0" : "+m"(bits[2]) : "r"(-40) : "memory", "cc");
    check("lock_btr_far_bit", bits[0] == ~(1u << 24) && bits[1] == ~0u && bits[2] == ~0u);
    word = 5;
    asm volatile("lock notl %0; lock negl %0" : "+m"(word) : : "cc");
    check_equal("lock_not_neg", word, 6);
    word = 0xFFFFFFFF, a = 0;
    asm volatile("lock addl $1, %1; adcl $0, %0; lock adcl $0, %1" : "+r"(a), "+m"(word) : : "cc");
    check("lock_add_carry", word == 0 && a == 1);
    CHECK_FAULT(lock_cmp, X86_VEC_UD, 0);
    return check_failures();
}
