"""The workloads a translator is measured on, and about how many iterations QEMU does of each in a second."""

#: Integer code without traps.
COMPUTE: dict[str, int] = {"dhry": 1_600_000, "sieve": 22_000, "matmul": 24_000, "crc32": 50_000, "sha256": 48_000,
                           "quicksort": 12_000, "recursion": 36_000, "bytecode": 3_400, "chase": 560_000}
#: Traps, string instructions, changing code.
SYSTEM: dict[str, int] = {"syscalls": 1_500_000, "pagefaults": 4_000, "strings": 420_000, "selfmod": 34_000}
#: Where `sharedpage` keeps its data, from farthest from its code to nearest.
PLACES: dict[str, int] = {"apart": 200_000, "page": 3_700, "line": 3_700}
