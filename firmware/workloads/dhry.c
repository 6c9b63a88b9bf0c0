/* dhry: an integer mix in the spirit of Dhrystone (record copies, string compares, calls, array and enumeration work).
 *
 * Statement mix and shape follow what Weicker's paper measured (CACM 27:10, 1984): about half assignments, a third
 * control statements, a sixth calls. The code is not his, so its speed is not in Dhrystones.
 *
 * iterations: rounds (default 500)
 * expect: dhry: checksum 9CA08593
 */
#include "boot.h"
#include "console.h"
#include "string.h"

enum colour { RED, GREEN, BLUE, WHITE, BLACK };

struct item {
    struct item *next;
    enum colour colour;
    int weight;
    int price;
    char label[32];
};

enum { WIDTH = 16, HEIGHT = 24 };

static struct item first, second;
static int row[WIDTH], grid[HEIGHT][WIDTH];
static char last_initial;
static int quarrel;

static enum colour NOINLINE mix(enum colour a, enum colour b)
{
    enum colour local = a;

    return local == b ? WHITE : BLUE;
}

static int NOINLINE brighter(enum colour a) { return a == BLUE; }

static void NOINLINE add_weight(int a, int b, int *result) { *result = b + a + 2; }

static int NOINLINE compare_labels(const char *a, const char *b)
{
    int at = 1;
    char initial = 'A';

    while (at <= 1) {
        if (mix(a[at], b[at + 1]) == BLUE) {
            initial = 'A';
            at++;
        } else {
            at += 2;
        }
    }
    if (initial >= 'W' && initial < 'Z')
        at = 7;
    if (initial == 'R')
        return 1;
    if (strcmp(a, b) > 0) {
        at += 7;
        quarrel = at;
        return 1;
    }
    return 0;
}

static void NOINLINE repaint(enum colour from, enum colour *to)
{
    *to = from;
    if (!brighter(from))
        *to = BLACK;
    switch (from) {
    case RED:
        *to = RED;
        break;
    case GREEN:
        *to = quarrel > 100 ? RED : BLACK;
        break;
    case BLUE:
        *to = GREEN;
        break;
    case WHITE:
        break;
    case BLACK:
        *to = BLUE;
        break;
    }
}

static void NOINLINE fill(int *line, int (*table)[WIDTH], int at, int value)
{
    int local = at + 5;

    line[local % WIDTH] = value;
    line[(local + 1) % WIDTH] = line[local % WIDTH];
    line[(local + 14) % WIDTH] = local;
    for (int n = local; n <= local + 1; n++)
        table[local][n % WIDTH] = local;
    table[local][(local - 1) % WIDTH]++;
    table[(local + 7) % HEIGHT][local % WIDTH] = line[local % WIDTH];
    quarrel = 5;
}

static void NOINLINE follow(struct item **to)
{
    if (first.next != NULL)
        *to = first.next;
    add_weight(10, quarrel, &first.weight);
}

static void NOINLINE exchange(struct item *item)
{
    struct item *next = item->next;

    *next = first;
    item->weight = 5;
    next->weight = item->weight;
    next->next = item->next;
    follow(&next->next);
    if (next->colour == RED) {
        next->price = 6;
        repaint(item->colour, &next->colour);
        next->next = first.next;
        add_weight(next->price, 10, &next->price);
    } else {
        *item = *item->next;
    }
}

static void NOINLINE initials(void)
{
    int same = last_initial == 'A';

    last_initial = same ? 'B' : 'A';
    quarrel |= same;
}

static uint32_t rotate_in(uint32_t sum, uint32_t value) { return (sum << 5 | sum >> 27) + value; }

int main(void)
{
    uint32_t rounds = option_number("iterations", 500), sum = 0;
    char one[32], two[32];

    first.next = &second;
    first.colour = RED;
    first.weight = 40;
    strcpy(first.label, "NESTED DOLLS, OUTERMOST ONE");
    strcpy(one, "NESTED DOLLS, THE FIRST ONE");
    for (uint32_t n = 0; n < rounds; n++) {
        int a = 2, b = 3, c = 0;
        enum colour colour = GREEN;

        initials();
        strcpy(two, "NESTED DOLLS, THE SECOND ONE");
        two[27] = 'A' + n % 26;
        if (!compare_labels(one, two))
            colour = BLUE;
        while (a < b) {
            c = 5 * a - b;
            add_weight(a, b, &c);
            a++;
        }
        fill(row, grid, n % 12, c);
        exchange(&first);
        for (char initial = 'A'; initial <= last_initial; initial++) {
            if (colour == mix(initial, 'C')) {
                repaint(RED, &colour);
                b = n;
            }
        }
        b = b * a;
        a = b / (c | 1);
        b = 7 * (b - c) - a;
        sum = rotate_in(sum, a ^ b);
        sum = rotate_in(sum, colour + second.price + quarrel);
    }
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            sum = rotate_in(sum, grid[y][x] + row[x]);
    print_checksum("dhry", sum);
    return 0;
}
