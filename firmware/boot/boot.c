/* From the loader's tables to main(): command line, amount of RAM, segments, trap gates, console. */
#include "boot.h"

#include "console.h"
#include "gigogne.h"
#include "seg.h"
#include "string.h"
#include "trap.h"

struct boot_info boot;

enum {
    MULTIBOOT_HAS_MEMORY = 1 << 0,
    MULTIBOOT_HAS_COMMAND_LINE = 1 << 2,
    MULTIBOOT_HAS_MAP = 1 << 6,
    MAP_TYPE_RAM = 1,
};

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
    uint32_t modules_count, modules_address;
    uint32_t symbols[4];
    uint32_t map_length, map_address;
};

struct multiboot_map_entry {
    uint32_t size; /* of what follows this field */
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

struct hvm_start_info {
    uint32_t magic, version, flags, modules_count;
    uint64_t modules_address, command_line, rsdp;
    uint64_t map_address; /* since version 1 */
    uint32_t map_count, reserved;
};

struct hvm_map_entry {
    uint64_t base, length;
    uint32_t type, reserved;
};

static void consider_range(uint64_t base, uint64_t length, uint32_t type)
{
    uint64_t last_page = 0xFFFFF000u, end = base + length;

    if (type != MAP_TYPE_RAM || base > (uint32_t)image_start || end <= (uint32_t)image_start)
        return;
    boot.ram_end = end > last_page ? (uint32_t)last_page : (uint32_t)end;
}

static void copy_command_line(const char *line)
{
    size_t n = 0;

    while (n + 1 < sizeof boot.command_line && line[n] != 0) {
        boot.command_line[n] = line[n];
        n++;
    }
    boot.command_line[n] = 0;
}

static void read_multiboot(const struct multiboot_info *info)
{
    if (info->flags & MULTIBOOT_HAS_COMMAND_LINE)
        copy_command_line((const char *)info->command_line);
    if (info->flags & MULTIBOOT_HAS_MEMORY)
        boot.ram_end = 0x100000 + info->mem_upper * 1024;
    if (info->flags & MULTIBOOT_HAS_MAP) {
        uint32_t at = info->map_address, end = at + info->map_length;

        while (at < end) {
            const struct multiboot_map_entry *entry = (const void *)at;

            consider_range(entry->base, entry->length, entry->type);
            at += entry->size + sizeof entry->size;
        }
    }
}

static void read_pvh(const struct hvm_start_info *info)
{
    if (info->command_line != 0)
        copy_command_line((const char *)(uint32_t)info->command_line);
    if (info->version >= 1) {
        const struct hvm_map_entry *entry = (const void *)(uint32_t)info->map_address;

        for (uint32_t n = 0; n < info->map_count; n++)
            consider_range(entry[n].base, entry[n].length, entry[n].type);
    }
}

const char *option_text(const char *name)
{
    const char *at = boot.command_line;
    size_t length = strlen(name);

    while (*at != 0) {
        if (strncmp(at, name, length) == 0 && at[length] == '=')
            return at + length + 1;
        while (*at != 0 && *at != ' ')
            at++;
        while (*at == ' ')
            at++;
    }
    return NULL;
}

int option_is(const char *name, const char *value)
{
    const char *text = option_text(name);
    size_t length = strlen(value);

    return text != NULL && strncmp(text, value, length) == 0 && (text[length] == 0 || text[length] == ' ');
}

uint32_t option_number(const char *name, uint32_t otherwise)
{
    const char *text = option_text(name);

    return text == NULL ? otherwise : strtoul(text, NULL, 0);
}

void boot_main(uint32_t magic, const void *information) __attribute__((noreturn));

void boot_main(uint32_t magic, const void *information)
{
    boot.ram_end = 0x400000;
    if (magic == GIG_MULTIBOOT_BOOT_MAGIC)
        read_multiboot(information);
    else if (magic == GIG_PVH_START_MAGIC)
        read_pvh(information);
    seg_init();
    trap_init();
    console_init(option_is("console", "serial") ? CONSOLE_SERIAL : CONSOLE_DEBUGCON);
    exit(main());
}
