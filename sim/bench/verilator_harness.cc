// Bare cycle loop around the exported Verilog: RAM and the stop condition, nothing else.
//
// Commands on standard input: "digest N" runs N cycles and prints a digest of what retired in them, "time N" runs N
// cycles and prints the seconds of processor time they took.

#include "Vtop.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

double sc_time_stamp() { return 0; }

static uint64_t digest;

static void mix(uint64_t value) { digest = (digest ^ value) * 0x100000001b3u; }

template <bool WATCH> static void run(Vtop *t, std::vector<uint32_t> &ram, long cycles) {
    for (long i = 0; i < cycles && !t->port_sim_stop; i++) {
        if (WATCH && t->port_tap_retire) {
            mix(t->port_tap_retire_cycle);
            mix(t->port_tap_retire_eip);
            mix(t->port_tap_retire_eax);
        }
        uint32_t rdata = t->port_ram_rdata;
        if (t->port_ram_en) {
            uint32_t addr = t->port_ram_addr;
            rdata = ~0u;
            if (addr < ram.size()) {
                rdata = ram[addr];
                uint32_t mask = 0;
                for (int byte = 0; byte < 4; byte++)
                    mask |= (t->port_ram_we >> byte & 1) * (255u << 8 * byte);
                ram[addr] = (rdata & ~mask) | (t->port_ram_wdata & mask);
            }
        }
        t->clk = 1;
        t->eval();
        t->port_ram_rdata = rdata;
        t->clk = 0;
        t->eval();
    }
}

int main(int, char **) {
    VerilatedContext context;
    Vtop *t = new Vtop(&context);
    std::vector<uint32_t> ram;
    FILE *file = fopen("ram.bin", "rb");
    uint32_t word;
    while (fread(&word, 4, 1, file) == 1)
        ram.push_back(word);
    fclose(file);
#include "setup.inc"
    t->clk = 0;
    t->eval();
    char command[16];
    long cycles;
    while (scanf("%15s %ld", command, &cycles) == 2) {
        if (!strcmp(command, "digest")) {
            digest = 0xcbf29ce484222325u;
            run<true>(t, ram, cycles);
            printf("%llx\n", (unsigned long long)digest);
        } else {
            clock_t start = clock();
            run<false>(t, ram, cycles);
            printf("%.6f\n", double(clock() - start) / CLOCKS_PER_SEC);
        }
        fflush(stdout);
    }
}
