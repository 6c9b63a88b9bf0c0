"""Compiling while the guest runs: what waits, in what order it is done, and what becomes of it.

Rules:

1. Blocks that have become warm are compiled together, cheaply; then regions, with everything LLVM has.
2. LLVM works without the interpreter lock, in a thread of its own; `background=False` compiles in place instead, and
   then what is compiled when depends on the guest alone.
3. What LLVM refuses stays with the interpreter, and is counted.
"""

from __future__ import annotations

import atexit
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vmm.engine.dbt.codestore import CodeStore
from vmm.engine.dbt.compiler import CompileError, Compiler, Effort
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.pool import Module, Translation, symbols
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.unit import Unit

_BATCH = 48
#: Seconds the guest runs on before the thread that compiles gets the interpreter lock.
_HANDOVER = 5e-5
#: Names are those of all translations there are, also of those that other processes left on disk.
_PROCESS = uuid.uuid4().hex[:16]


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
    first : done before anything else, in the thread that compiles.

    Members
    -------
    region : makes the IR of a translation. warm, regions : units compiled so far.
    failures : units LLVM refused, and `failure` why the last one.
    """

    def __init__(self, compiler: Compiler, store: CodeStore, hot: int, background: bool, first: Callable[[], None]):
        self._compiler = compiler
        self._store = store
        self.region: Callable[..., Region] = Region
        self._hot = hot
        self._first: Callable[[], None] | None = first
        self._warm_jobs: deque[Job] = deque()
        self._hot_jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closed = self._busy = False
        self._names = 0
        self.warm = self.regions = self.failures = 0
        self.failure = ""
        self._thread: threading.Thread | None = None
        if background:
            # a thread that comes back from LLVM waits this long for the interpreter lock, several times per module
            sys.setswitchinterval(_HANDOVER)
            self._thread = threading.Thread(target=self._work, name="translator", daemon=True)
            # the interpreter must not take LLVM down while a thread is in it
            atexit.register(self.close)
            self._thread.start()
        else:
            self._step()

    def submit(self, job: Job) -> None:
        """Compile a unit as soon as possible."""
        job.subject.queued = True
        with self._wake:
            (self._warm_jobs if job.setting.counted else self._hot_jobs).append(job)
            self._wake.notify()
        if self._thread is None:
            while self._step():
                pass

    def settle(self) -> None:
        """Wait until everything submitted is compiled."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or not (self._busy or self._warm_jobs or self._hot_jobs))

    def stop(self) -> None:
        """Start nothing more. What is being compiled goes on being so: see `busy`."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def close(self) -> None:
        """Start nothing more, and wait for what is being compiled."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.close)

    @property
    def busy(self) -> bool:
        """Whether something is being compiled in the background."""
        return self._busy

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._closed or self._first or self._warm_jobs or self._hot_jobs)
                if self._closed:
                    return
                self._busy = True
            self._step()

    def _step(self) -> bool:
        """Do one piece of work; False if there was none."""
        if self._first is not None:
            first, self._first = self._first, None
            first()
            return True
        jobs: list[Job] = []
        with self._wake:
            while self._warm_jobs and len(jobs) < _BATCH:
                jobs.append(self._warm_jobs.popleft())
            if not jobs and self._hot_jobs:
                jobs.append(self._hot_jobs.popleft())
        jobs = [job for job in jobs if job.unit.alive and not self._is_done(job)]
        if jobs:
            self._compile(jobs)
        return bool(jobs or self._warm_jobs or self._hot_jobs)

    def _is_done(self, job: Job) -> bool:
        """Whether a unit that waits to be warm can take what the same code elsewhere has left meanwhile."""
        unit, block = job.unit, job.unit.block
        if job.version is not None or not job.setting.counted:
            return False
        there = any(one.user is None and not one.hot and not one.pages
                    for one in self._store.pool.candidates(unit.mode, block.eip, block.code))
        if there:
            unit.queued = False
        return there

    def _compile(self, jobs: list[Job]) -> None:
        effort = Effort.WARM if jobs[0].setting.counted else Effort.HOT
        recipes = Recipes()
        texts: list[str] = []
        named: list[tuple[Job, str, list[int], tuple[int, ...]]] = []
        names: list[str] = []
        for job in jobs:
            self._names += 1
            name = f"t{_PROCESS}_{self._names}"
            slots: list[int] = []
            head = job.unit.block.eip
            region = self.region(name, job.blocks[head], job.blocks, job.setting, recipes, slots, job.version)
            body = region.text()
            if not region.done[head]:
                job.subject.refused = True
                if job.version is None:
                    self._store.pool.refused.add((job.unit.mode, head, job.blocks[head].code))
                continue
            if job.version is not None:
                texts.append(f"@next_{name} = dso_local global ptr null")
                names.append(f"next_{name}")
            if region.pages:
                texts.append(f"@pages_{name} = dso_local global [{len(region.pages)} x i64] zeroinitializer")
            texts.append(f"@slots_{name} = dso_local global [{max(len(slots), 1)} x ptr] zeroinitializer")
            if job.setting.counted:
                texts.append(f"@count_{name} = dso_local global i32 {self._hot}")
            texts.append(body)
            named.append((job, name, slots, region.pages))
            names += symbols(name, job.setting.counted, bool(region.pages))
        if not named:
            return
        if effort is Effort.HOT:
            texts.append(recipes.functions())
        try:
            compiled = self._compiler.compile("\n".join(texts), effort, names)
        except CompileError as error:
            self._refuse(jobs, str(error))
            return
        module = Module(compiled.object_code, tuple(names), compiled.symbols)
        for job, name, slots, pages in named:
            blocks = tuple(job.blocks.values())
            translation = Translation(job.unit.mode, blocks, effort is Effort.HOT, name, tuple(slots),
                                      job.setting.paging, pages, module)
            if job.version is None:
                self._store.pool.add(translation)
                published = self._store.publish(job.unit, translation, blocks)
            else:
                published = self._store.publish_version(
                    job.unit, job.version, translation, compiled.symbols[f"next_{name}"])
            if published and effort is Effort.WARM:
                self.warm += 1
            elif published:
                self.regions += 1

    def _refuse(self, jobs: list[Job], why: str) -> None:
        """One bad unit spoils its batch: the others get another try, alone."""
        self.failure = why
        if len(jobs) > 1:
            for job in jobs:
                self._compile([job])
            return
        self.failures += 1
        jobs[0].subject.refused = jobs[0].setting.counted
