"""The workloads a translator is measured on, and iterations that any of the peers does in well under a second."""

#: Integer code without traps.
COMPUTE: dict[str, int] = {"dhry": 20_000, "sieve": 100, "matmul": 100, "crc32": 300, "sha256": 300, "quicksort": 100,
                           "recursion": 300, "bytecode": 30, "chase": 8_000}
#: Traps, string instructions, changing code.
SYSTEM: dict[str, int] = {"syscalls": 50_000, "pagefaults": 200, "strings": 20_000, "selfmod": 5_000}
#: Where `sharedpage` keeps its data, from farthest from its code to nearest.
PLACES = ("apart", "page", "line")
PLACES_START = 1_000
