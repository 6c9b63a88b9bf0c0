"""Builds the guest images: `python -m firmware.build [--out DIR] [names...]`.

An image is named by its source below `workloads/` (`dhry`), by `tests/` or `svm/` and its source there
(`tests/paging`, `svm/basic`), or `kernel`. Objects and images live under `DIR/cache` by content hash, so that a second
build compiles nothing, and appear under their names by atomic renames, so that
several builds may run at once in one directory.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from firmware.toolchain import LINK_FLAGS, Toolchain, ToolchainError, compile_flags, find_toolchain

HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parent / "build" / "firmware"
_SOURCES = ("*.c", "*.S")
#: What a Linux program takes of the firmware beside the workload itself.
_LINUX_SOURCES = ("linux/start.c", "boot/boot.c", "lib/div64.c", "lib/page.c", "lib/printf.c", "lib/report.c",
                  "lib/string.c")
#: Workloads that write where their code lies.
_WRITES_CODE = ("selfmod", "sharedpage")


class BuildError(Exception):
    """An image could not be built: unknown name, or the compiler's own words."""


@dataclass(frozen=True, slots=True)
class Image:
    """One guest image.

    Members
    -------
    name : str
        Its name, and its path below the output directory without `.elf`.
    sources : tuple[Path, ...]
        What is linked besides the boot code and the library.
    programs : tuple[Path, ...]
        User programs it carries, each linked on its own with the user library.
    """

    name: str
    sources: tuple[Path, ...]
    programs: tuple[Path, ...] = ()


def _sources(folder: Path) -> list[Path]:
    return sorted(path for pattern in _SOURCES for path in folder.glob(pattern))


def images() -> dict[str, Image]:
    """Every image that runs on a processor without SVM, by name."""
    found = {}
    for path in _sources(HERE / "workloads"):
        found[path.stem] = Image(path.stem, (path,))
    for path in _sources(HERE / "tests"):
        found[f"tests/{path.stem}"] = Image(f"tests/{path.stem}", (path,))
    kernel = HERE / "kernel"
    if _sources(kernel):
        found["kernel"] = Image("kernel", tuple(_sources(kernel)), tuple(_sources(kernel / "programs")))
    return found


def svm_images() -> dict[str, Image]:
    """The images of the SVM suite, by name. They say SKIP where the processor has no SVM."""
    library = _sources(HERE / "svm" / "lib")
    return {f"svm/{path.stem}": Image(f"svm/{path.stem}", (path, *library)) for path in _sources(HERE / "svm")}


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()[:32]


def _publish(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class _Builder:
    def __init__(self, toolchain: Toolchain, out: Path) -> None:
        self.toolchain = toolchain
        self.out = out
        self.cache = out / "cache"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.include = self._generate_include()
        headers = [*sorted(HERE.rglob("*.h")), *sorted(self.include.iterdir())]
        self.base = _digest(
            repr((toolchain.command, toolchain.version, compile_flags(toolchain.family), LINK_FLAGS)).encode(),
            *(part for path in headers for part in (path.name.encode(), path.read_bytes())),
        )

    def _generate_include(self) -> Path:
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            command = [sys.executable, "-m", "rtl.isa.emit", "--include", scratch]
            done = subprocess.run(command, cwd=HERE.parent, text=True, capture_output=True)
            if done.returncode != 0:
                raise BuildError(f"cannot generate the includes:\n{done.stderr.strip()}")
            files = {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
        folder = self.cache / f"include-{_digest(*(part for n, d in files.items() for part in (n.encode(), d)))}"
        for name, data in files.items():
            if not (folder / name).exists():
                _publish(folder / name, data)
        return folder

    def _run(self, arguments: list[str], what: str) -> None:
        done = subprocess.run([*self.toolchain.command, *arguments], cwd=HERE, text=True, capture_output=True)
        if done.returncode != 0:
            raise BuildError(f"{what}: {self.toolchain.name} failed:\n{done.stderr.strip()}")

    def _produce(self, path: Path, arguments: list[str], what: str) -> Path:
        """Run the compiler for `path` unless the cache has it."""
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
                product = Path(scratch) / path.name
                self._run([*arguments, "-o", str(product)], what)
                os.replace(product, path)
        return path

    def compile(self, source: Path) -> Path:
        """The object of one source."""
        # Sources of ours go by their path below `firmware/` and generated ones by their name, so that one tree builds
        # the same bytes wherever it and its output lie.
        generated = source.parent == self.cache
        name = source.name if generated else os.path.relpath(source, HERE)
        key = _digest(self.base.encode(), name.encode(), source.read_bytes())
        arguments = [*compile_flags(self.toolchain.family), "-I", str(self.include)]
        for folder in ("boot", "lib", "kernel", "kernel/user", "svm/lib"):
            arguments += ["-I", folder]
        arguments += ["-I", str(self.cache), "-c", str(source) if generated else name]
        return self._produce(self.cache / f"{source.stem}-{key}.o", arguments, name)

    def link(self, name: str, script: Path, objects: Iterable[Path]) -> Path:
        """The image linked from objects."""
        return self._link(name, objects, script.read_bytes(), f"-Wl,-T,{script}")

    def _link(self, name: str, objects: Iterable[Path], layout: bytes, *options: str) -> Path:
        listed = list(objects)
        key = _digest(layout, *(path.name.encode() for path in listed))
        arguments = [*LINK_FLAGS, *options, *(str(path) for path in listed)]
        return self._produce(self.cache / f"{name.replace('/', '-')}-{key}.elf", arguments, name)

    def _programs(self, image: Image) -> Path:
        """An object that holds the user programs of an image and a table of them."""
        library = [self.compile(path) for path in _sources(HERE / "kernel" / "user")]
        script = HERE / "kernel" / "user" / "link.ld"
        lines = ['.section .rodata.programs, "a"', ".balign 4", ".globl programs", "programs:"]
        data = ['.section .rodata.program_images, "a"']
        for path in image.programs:
            linked = self.link(f"user-{path.stem}", script, [self.compile(path), *library])
            lines.append(f"    .long name_{path.stem}, image_{path.stem}, image_{path.stem}_end")
            data += [f'name_{path.stem}: .asciz "{path.stem}"', ".balign 4096", f"image_{path.stem}:"]
            data += [f'    .incbin "{linked.name}"', f"image_{path.stem}_end:"]
        text = "\n".join([*lines, "    .long 0, 0, 0", *data, ""]).encode()
        source = self.cache / f"programs-{_digest(text)}.S"
        if not source.exists():
            _publish(source, text)
        return self.compile(source)

    def build(self, image: Image) -> Path:
        sources = [*_sources(HERE / "boot"), *_sources(HERE / "lib"), *image.sources]
        objects = [self.compile(path) for path in sources]
        if image.programs:
            objects.append(self._programs(image))
        return self._named(f"{image.name}.elf", self.link(image.name, HERE / "boot" / "link.ld", objects))

    def build_linux(self, image: Image) -> Path:
        """The image's program for Linux."""
        objects = [self.compile(path) for path in (*(HERE / name for name in _LINUX_SOURCES), *image.sources)]
        options = ["-Wl,--wrap=paging_on", *(["-Wl,-N"] if image.name in _WRITES_CODE else [])]
        product = self._link(f"linux-{image.name}", objects, repr(options).encode(), *options)
        return self._named(f"linux/{image.name}", product, 0o755)

    def _named(self, name: str, product: Path, mode: int = 0o644) -> Path:
        """The file of that name with the product's bytes."""
        data, path = product.read_bytes(), self.out / name
        if not path.exists() or path.read_bytes() != data:
            _publish(path, data, mode)
        return path


def build(names: Iterable[str] | None = None, out: Path | str = DEFAULT_OUT) -> dict[str, Path]:
    """Build images and say where they are.

    Parameters
    ----------
    names : iterable of str, optional
        Which images; all of them when omitted.
    out : Path
        Where they go, as `<out>/<name>.elf`.

    Raises
    ------
    ToolchainError
        No compiler for 32-bit x86 was found.
    BuildError
        A name is unknown, or the compiler refused something; the message holds its words.
    """
    builder, chosen = _begin(names, out)
    common = [*_sources(HERE / "boot"), *_sources(HERE / "lib")]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(builder.compile, common))
        return dict(zip(chosen, pool.map(builder.build, chosen.values()), strict=True))


def build_linux(names: Iterable[str], out: Path | str = DEFAULT_OUT) -> dict[str, Path]:
    """Workloads as static 32-bit programs for Linux, from the objects their images are made of.

    A program takes its options as one argument, prints what the image prints and exits with the value the image
    exits with. Only workloads that need no ring 0 make programs; paging is the host's.

    Parameters
    ----------
    names : iterable of str
        Which workloads.
    out : Path
        Where they go, as `<out>/linux/<name>`.

    Raises
    ------
    ToolchainError
        No compiler for 32-bit x86 was found.
    BuildError
        A name is unknown, or the compiler refused something; the message holds its words.
    """
    builder, chosen = _begin(names, out)
    return {name: builder.build_linux(image) for name, image in chosen.items()}


def _begin(names: Iterable[str] | None, out: Path | str) -> tuple[_Builder, dict[str, Image]]:
    """A builder into a folder, and the images of those names."""
    known = images() | svm_images()
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise BuildError(f"no image is called {name!r}: the names are {', '.join(sorted(known))}")
    return _Builder(find_toolchain(), Path(out).resolve()), {name: known[name] for name in chosen}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m firmware.build", description="Build the guest images.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="output directory (default: build/firmware)")
    parser.add_argument("--list", action="store_true", help="print the names and build nothing")
    parser.add_argument("names", nargs="*", help="images to build (default: all)")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(sorted(images() | svm_images())))
        return 0
    try:
        built = build(options.names or None, options.out)
    except (ToolchainError, BuildError, OSError) as error:
        print(f"firmware: {error}", file=sys.stderr)
        return 2
    for path in built.values():
        print(os.path.relpath(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
