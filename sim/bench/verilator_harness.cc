// Bare cycle loop around the exported Verilog: RAM and the stop condition, nothing else. Prints seconds of CPU time.

#include "Vtop.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

double sc_time_stamp() { return 0; }

static void run(Vtop *t, std::vector<uint32_t> &ram, long cycles) {
    for (long i = 0; i < cycles && !t->port_sim_stop; i++) {
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

int main(int, char **argv) {
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
    run(t, ram, atol(argv[1]));
    clock_t start = clock();
    run(t, ram, atol(argv[2]));
    printf("%.6f\n", double(clock() - start) / CLOCKS_PER_SEC);
}
