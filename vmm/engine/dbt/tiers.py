"""Compiling while the guest runs: what waits, in what order it is done, and what becomes of it.

Rules:

1. Blocks that have become warm are compiled together, cheaply, those first that the guest has met most; regions one by
   one, with everything LLVM has.
2. The machine's own routines are compiled with little effort, since they are wanted at once, and then with all of it.
3. Each of the three is done by a process of its own, and a thread here that waits for it. Where processes cannot be
   copied the threads compile themselves. `background=False` compiles in place instead, and then what is compiled when
   depends on the guest alone.
4. What LLVM refuses stays with the interpreter, and is counted; so does what brings a process to its end.
"""

from __future__ import annotations

import atexit
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from vmm.engine.dbt.codestore import CodeStore
from vmm.engine.dbt.compiler import Compiled, CompileError, Compiler, Effort
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.pool import Module, Translation
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.unit import Unit
from vmm.engine.dbt.workshop import Stopped, Workshop
from vmm.engine.dbt.writing import Built, Maker, Order, build, build_text, names_of, renamed, write, write_text

_BATCH = 32
#: Seconds the guest runs on before a thread that has something to publish gets the interpreter lock.
_HANDOVER = 5e-5
#: By how much blocks go before regions where there are not enough processors for all.
_PATIENCE = 3
#: Names are those of all translations there are, also of those that other processes left on disk.
_PROCESS = uuid.uuid4().hex[:16]

#: Compiles IR that a function gives, defining these names; gives the object file and where things are, by name.
TextBuilder = Callable[[Callable[[], str], list[str], Effort], Compiled]


@dataclass(frozen=True, slots=True)
class Job:
    """A unit to compile: with these blocks, of which its own is one; or a version of it."""

    unit: Unit
    blocks: dict[int, Block]
    setting: Setting
    version: Version | None = None

    @property
    def subject(self) -> Unit | Version:
        return self.unit if self.version is None else self.version


class Tiers:
    """The compile queue of one processor.

    Parameters
    ----------
    hot : executions after which a warm block asks for a region.
    routines : has the machine's own routines compiled, with the effort it is told, and puts them in their places.

    Members
    -------
    region : makes the IR of a translation. after_routines : what is compiled cannot do without the routines.
    warm, regions : units compiled so far.
    failures : units LLVM refused, and `failure` why the last one.
    """

    def __init__(self, compiler: Compiler, store: CodeStore, hot: int, background: bool,
                 routines: Callable[[TextBuilder, Effort], None]):
        self._compiler = compiler
        self._store = store
        self.region: Maker = Region
        self.after_routines = False
        self._hot = hot
        self._workshops = {Effort.WARM: Workshop(compiler), Effort.HOT: Workshop(compiler, _PATIENCE)}
        self._jobs: dict[Effort, list[Job]] = {effort: [] for effort in self._workshops}
        self._routines = Workshop(compiler)
        # efforts the routines are to be compiled with yet
        self._awaited = [Effort.WARM, Effort.HOT] if background else [Effort.HOT]
        self._text = ""
        self._wake = threading.Condition()
        # where there is no process: LLVM is asked by one thread at a time
        self._alone = threading.Lock()
        self._closed = False
        self._busy: set[Effort] = set()
        self._names = 0
        self.warm = self.regions = self.failures = 0
        self.failure = ""
        self._threads: list[threading.Thread] = []
        if background:
            # a thread that comes back from LLVM waits this long for the interpreter lock, several times per module
            sys.setswitchinterval(_HANDOVER)
            works = [partial(self._provide, routines), *(partial(self._work, effort) for effort in self._workshops)]
            self._threads = [threading.Thread(target=work, name="translator", daemon=True) for work in works]
            # the interpreter must not take LLVM down while a thread is in it
            atexit.register(self.close)
            for thread in self._threads:
                thread.start()
        else:
            self._provide(routines)

    def submit(self, job: Job) -> None:
        """Compile a unit as soon as possible."""
        effort = Effort.WARM if job.setting.counted else Effort.HOT
        job.subject.queued = True
        if self._threads:
            self._workshops[effort].open()
        with self._wake:
            self._jobs[effort].append(job)
            self._wake.notify_all()
        if not self._threads:
            while self._step(Effort.WARM) or self._step(Effort.HOT):
                pass

    def settle(self) -> None:
        """Wait until everything submitted is compiled."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or not (self._busy or self._awaited or any(self._jobs.values())))

    def stop(self) -> None:
        """Start nothing more. What threads are compiling goes on being so: see `busy`."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for workshop in (self._routines, *self._workshops.values()):
            workshop.stop()

    def close(self) -> None:
        """Start nothing more, and wait for what cannot be stopped."""
        self.stop()
        for thread in self._threads:
            thread.join()
        for workshop in (self._routines, *self._workshops.values()):
            workshop.close()
        if self._threads:
            atexit.unregister(self.close)

    @property
    def busy(self) -> bool:
        """Whether something is being compiled in this process."""
        return self._alone.locked()

    def _work(self, effort: Effort) -> None:
        while True:
            with self._wake:
                self._busy.discard(effort)
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._closed or self._waits(effort))
                if self._closed:
                    return
                self._busy.add(effort)
            try:
                self._step(effort)
            except Stopped:
                if self._closed:
                    return

    def _waits(self, effort: Effort) -> bool:
        return bool(self._jobs[effort]) and not (self.after_routines and Effort.WARM in self._awaited)

    def _step(self, effort: Effort) -> bool:
        """Do one piece of work; False if there was none."""
        with self._wake:
            queue = self._jobs[effort]
            if not queue:
                return False
            queue.sort(key=lambda job: job.subject.seen, reverse=True)
            size = _BATCH if effort is Effort.WARM else 1
            jobs, queue[:] = queue[:size], queue[size:]
        jobs = [job for job in jobs if job.unit.alive and not self._is_done(job)]
        if jobs:
            self._compile(jobs)
        return True

    def _is_done(self, job: Job) -> bool:
        """Whether a unit that waits to be warm can take what the same code elsewhere has left meanwhile."""
        unit, block = job.unit, job.unit.block
        if job.version is not None or not job.setting.counted:
            return False
        there = any(one.user is None and not one.hot and not one.pages and one.blocks[0].behind == block.behind
                    for one in self._store.pool.candidates(unit.mode, block.eip, block.code))
        if there:
            unit.queued = False
        return there

    def _compile(self, jobs: list[Job]) -> None:
        named: dict[str, Job] = {}
        for job in jobs:
            self._names += 1
            named[f"t{_PROCESS}_{job.setting.counted:d}{self._names}"] = job
        orders = [Order(name, job.unit.block.eip, job.blocks, job.setting, job.version) for name, job in named.items()]
        effort = Effort.WARM if jobs[0].setting.counted else Effort.HOT
        try:
            built, symbols = self._build(orders, effort)
        except CompileError as error:
            self._refuse(jobs, str(error))
            return
        except Exception as error:
            if self._closed or not self._threads:
                raise
            self._refuse(jobs, self._reason(error, self._workshops[effort]))
            return
        module = Module(built.object_code, tuple(built.names), symbols)
        for name, job in named.items():
            part = built.parts.get(name)
            if part is None:
                job.subject.refused = True
                if job.version is None:
                    block = job.blocks[job.unit.block.eip]
                    self._store.pool.refused.add((job.unit.mode, block.eip, block.code))
                continue
            blocks, is_warm = tuple(job.blocks.values()), job.setting.counted
            translation = Translation(
                job.unit.mode, blocks, not is_warm, name, part.targets, job.setting.paging, part.pages, module,
                job.setting.beside)
            if job.version is None:
                self._store.pool.add(translation)
                published = self._store.publish(job.unit, translation, blocks)
            else:
                published = self._store.publish_version(
                    job.unit, job.version, translation, symbols[f"next_{name}"])
            if published and is_warm:
                self.warm += 1
            elif published:
                self.regions += 1

    def _build(self, orders: list[Order], effort: Effort) -> tuple[Built, dict[str, int]]:
        """What orders come to, and where it is in memory."""
        workshop = self._workshops[effort]
        if workshop.is_open:
            built = workshop.do(build, orders, self.region, self._hot)
            self._compiler.add(built.seconds)
            with self._alone:
                loaded = self._compiler.load(built.object_code, built.names).symbols if built.parts else {}
            return built, loaded
        module = write(orders, self.region, self._hot)
        if not module.parts:
            return Built([], {}, b"", 0.0), {}
        with self._alone:
            compiled = self._compiler.compile(module.text, effort, module.names)
        return Built(module.names, module.parts, compiled.object_code, 0.0), compiled.symbols

    def _provide(self, routines: Callable[[TextBuilder, Effort], None]) -> None:
        """Have the routines compiled."""
        try:
            while self._awaited:
                routines(self._build_text, self._awaited[0])
                with self._wake:
                    del self._awaited[0]
                    self._wake.notify_all()
        except Exception as error:
            if not self._threads:
                raise
            if not self._closed:
                self.failures += 1
                self.failure = self._reason(error, self._routines)
            with self._wake:
                # the machine does without
                self._closed = self._closed or self.after_routines and Effort.WARM in self._awaited
                self._awaited.clear()
                self._wake.notify_all()
        self._routines.stop()
        self._text = ""

    def _build_text(self, text: Callable[[], str], names: list[str], effort: Effort) -> Compiled:
        workshop, wanted = self._routines, names_of(names, effort)
        is_elsewhere = bool(self._threads) and workshop.open()
        if not self._text:
            self._text = workshop.do(write_text, text) if is_elsewhere else text()
        renamed_text = renamed(self._text, names, effort)
        if is_elsewhere:
            code = workshop.do(build_text, renamed_text, wanted, effort)
            self._compiler.add(0.0)
            with self._alone:
                compiled = self._compiler.load(code, wanted)
        else:
            with self._alone:
                compiled = self._compiler.compile(renamed_text, effort, wanted)
        places = {name: compiled.symbols[there] for name, there in zip(names, wanted, strict=True)}
        return Compiled(compiled.object_code, places)

    def _reason(self, error: Exception, workshop: Workshop) -> str:
        """What to say of a failure; a process that has ended has a successor then."""
        if not isinstance(error, Stopped):
            return repr(error)
        workshop.renew()
        return "the process that compiles has come to its end"

    def _refuse(self, jobs: list[Job], why: str) -> None:
        """One bad unit spoils its batch: the others get another try, alone."""
        self.failure = why
        if len(jobs) > 1:
            for job in jobs:
                self._compile([job])
            return
        self.failures += 1
        jobs[0].subject.refused = jobs[0].setting.counted
