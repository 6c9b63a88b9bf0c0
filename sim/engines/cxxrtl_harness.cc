// Drives a CXXRTL design for sim/engines/cxxrtl.py: the cycle loop, the RAM port, taps, and a list of debug items.

#include <cxxrtl/capi/cxxrtl_capi.cc>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Item {
    const char *name;
    uint32_t type;
    uint32_t width;
    uint32_t lsb_at;
    uint32_t depth;
    uint32_t *curr;
    uint32_t *next;
    void *outline;
};

struct Field {
    const uint32_t *curr;
    uint32_t bytes;
};

struct Tap {
    uint64_t enabled;
    uint64_t count;
    uint64_t capacity;
    uint8_t *buffer;
    const uint32_t *valid;
    uint64_t fields;
    const Field *field;
};

struct Ports {
    uint32_t *clock;
    const uint32_t *stop;
    const uint32_t *en, *addr, *we, *wdata;
    uint32_t *rdata;
    uint32_t *ram;
    uint64_t words;
    Tap *taps;
    uint64_t tap_count;
    uint64_t stopped;
    uint64_t tap_full;
};

struct Design {
    cxxrtl_handle handle;
    std::vector<Item> items;
};

void collect(void *data, const char *name, cxxrtl_object *object, size_t parts) {
    auto *items = static_cast<std::vector<Item> *>(data);
    for (size_t part = 0; part < parts; part++) {
        const cxxrtl_object &o = object[part];
        items->push_back({name, o.type, uint32_t(o.width), uint32_t(o.lsb_at), uint32_t(o.depth), o.curr, o.next,
                          o.outline});
    }
}

bool sample(Tap &tap) {
    if (!tap.enabled || !*tap.valid)
        return false;
    size_t size = 0;
    for (uint64_t i = 0; i < tap.fields; i++)
        size += tap.field[i].bytes;
    uint8_t *record = tap.buffer + size * tap.count++;
    for (uint64_t i = 0; i < tap.fields; i++) {
        std::memcpy(record, tap.field[i].curr, tap.field[i].bytes);
        record += tap.field[i].bytes;
    }
    return tap.count >= tap.capacity;
}

} // namespace

extern "C" {

Design *gigogne_create() {
    auto *design = new Design;
    design->handle = cxxrtl_create(cxxrtl_design_create());
    cxxrtl_enum(design->handle, &design->items, collect);
    return design;
}

void gigogne_destroy(Design *design) {
    cxxrtl_destroy(design->handle);
    delete design;
}

uint64_t gigogne_items(Design *design, const Item **items) {
    *items = design->items.data();
    return design->items.size();
}

void gigogne_settle(Design *design) { cxxrtl_step(design->handle); }

void gigogne_outline(void *outline) { cxxrtl_outline_eval(static_cast<cxxrtl_outline>(outline)); }

uint64_t gigogne_run(Design *design, Ports *ports, uint64_t cycles) {
    for (uint64_t cycle = 1;; cycle++) {
        ports->stopped = ports->stop ? *ports->stop : 0;
        for (uint64_t i = 0; i < ports->tap_count; i++)
            ports->tap_full |= sample(ports->taps[i]);
        uint32_t rdata = 0;
        bool access = ports->en && *ports->en;
        if (access) {
            uint64_t addr = *ports->addr;
            rdata = ~UINT32_C(0);
            if (addr < ports->words) {
                rdata = ports->ram[addr];
                uint32_t mask = 0;
                for (int byte = 0; byte < 4; byte++)
                    mask |= (*ports->we >> byte & 1) * (UINT32_C(255) << 8 * byte);
                ports->ram[addr] = (rdata & ~mask) | (*ports->wdata & mask);
            }
        }
        *ports->clock = 1;
        cxxrtl_step(design->handle);
        if (access && ports->rdata)
            *ports->rdata = rdata;
        *ports->clock = 0;
        cxxrtl_step(design->handle);
        if (ports->stopped || ports->tap_full || cycle >= cycles)
            return cycle;
    }
}
}
