/* quicksort: a pseudo-random array sorted in place (median of three, insertion sort for short runs).
 *
 * iterations: arrays of 1024 words (default 2)
 * expect: quicksort: sorted
 * expect: quicksort: checksum C5AED927
 */
#include "boot.h"
#include "console.h"

enum { LENGTH = 1024, SHORT_RUN = 8 };

static uint32_t array[LENGTH];

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;

    *a = *b;
    *b = t;
}

static void NOINLINE insertion_sort(uint32_t *first, uint32_t *last)
{
    for (uint32_t *at = first + 1; at <= last; at++) {
        uint32_t value = *at, *hole = at;

        while (hole > first && hole[-1] > value) {
            *hole = hole[-1];
            hole--;
        }
        *hole = value;
    }
}

static void NOINLINE sort(uint32_t *first, uint32_t *last)
{
    while (last - first >= SHORT_RUN) {
        uint32_t *middle = first + (last - first) / 2, *low = first, *high = last, pivot;

        if (*middle < *first)
            swap(middle, first);
        if (*last < *first)
            swap(last, first);
        if (*last < *middle)
            swap(last, middle);
        pivot = *middle;
        while (low <= high) {
            while (*low < pivot)
                low++;
            while (*high > pivot)
                high--;
            if (low <= high)
                swap(low++, high--);
        }
        /* Recursion on the shorter side bounds the stack. */
        if (high - first < last - low) {
            sort(first, high);
            first = low;
        } else {
            sort(low, last);
            last = high;
        }
    }
    insertion_sort(first, last);
}

int main(void)
{
    uint32_t rounds = option_number("iterations", 2), random = 12345, sum = 0;
    int sorted = 1;

    for (uint32_t n = 0; n < rounds; n++) {
        for (int at = 0; at < LENGTH; at++) {
            random = random * 1664525 + 1013904223;
            array[at] = random;
        }
        sort(array, array + LENGTH - 1);
        for (int at = 0; at < LENGTH; at++) {
            sorted &= at == 0 || array[at - 1] <= array[at];
            sum = (sum << 1 | sum >> 31) ^ array[at];
        }
    }
    printf("quicksort: %s\n", sorted ? "sorted" : "NOT sorted");
    print_checksum("quicksort", sum);
    return !sorted;
}
