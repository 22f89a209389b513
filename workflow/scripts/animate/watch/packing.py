"""Jobs that Snakemake schedules one by one, and that are submitted together, one after the other.

Snakemake's own groups begin once all of their jobs can, and fail and are tried again as a whole.
So jobs are put together here when they are submitted, and taken apart when the submission ends:
each is then finished, or failed, or was not begun and is submitted again with others.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake.iocontainers import ResourceList
from snakemake.jobs import GroupJob, Job
from snakemake.scheduling.job_scheduler import JobScheduler

# Submissions that are considered of a kind each time: clips may be ten thousand.
AT_ONCE = 50
Signature = tuple[int, int, int] | None


@dataclass(frozen=True)
class Packing:
    """Which jobs are submitted together.

    `alike`: what jobs have in common that may be, None for a job that is submitted alone.
    `place`: where a job stands among those like it. `most`: jobs of a submission. `minutes`: the
    time limit of jobs in their attempt; together they have at most `longest`.
    """

    alike: Callable[[Job], str | None]
    place: Callable[[Job], int]
    most: float
    minutes: Callable[[Sequence[Job], int], int]
    longest: float

    def install(self, scheduler: type[JobScheduler] = JobScheduler) -> None:
        """Have Snakemake's scheduler submit jobs so."""
        open_jobs, finish_jobs = scheduler.open_jobs.fget, scheduler._finish_jobs
        run = scheduler.run

        def packed(self_: JobScheduler) -> list[Job | GroupJob]:
            ready = open_jobs(self_)
            # What runs here needs no submission.
            return ready if self_.workflow.local_exec else list(self.packed(ready, self_))

        def take_apart(self_: JobScheduler) -> None:
            for pack in [job for job in self_._tofinish if isinstance(job, Pack)]:
                self_._tofinish.remove(pack)
                self_._tofinish += _part(pack, self_)
            for pack in [job for job in self_._toerror if isinstance(job, Pack)]:
                self_._toerror.remove(pack)
                members = _part(pack, self_)
                self_._tofinish += [job for job in members if job in pack.finished]
                self_._toerror += [job for job in members if job in pack.failed]
                for job in pack.not_begun:
                    self_.running.remove(job)
                    self_._free_resources(job)
                    self_.workflow.dag._ready_jobs.add(job)
            finish_jobs(self_)

        def register(self_: JobScheduler, jobs: list[Job | GroupJob], executor=None) -> None:
            members = {job for pack in jobs if isinstance(pack, Pack) for job in pack.jobs}
            if members:
                self_.workflow.dag.register_running(members)
            run(self_, jobs, executor)

        scheduler.open_jobs, scheduler._finish_jobs = property(packed), take_apart
        scheduler.run = register

    def packed(
        self, ready: Sequence[Job | GroupJob], scheduler: JobScheduler
    ) -> Iterator[Job | GroupJob]:
        """Yield the jobs that can be submitted now, those that are alike together.

        Too few of them wait while others may become ready before any of them has run.
        """
        kinds: dict[str, list[Job]] = {}
        for job in ready:
            kind = None if job.is_group() else self.alike(job)
            if kind is None:
                yield job
            else:
                kinds.setdefault(kind, []).append(job)
        for kind, jobs in kinds.items():
            ranked = sorted(jobs, key=self.place)
            some = ranked[: int(min(self.most * AT_ONCE, len(ranked)))]
            *full, last = self.shares(some)
            few = len(last) < self.most and len(some) == len(ranked)
            if not few or not self._others_come(kind, set(jobs), scheduler):
                full.append(last)
            for share in full:
                yield share[0] if len(share) == 1 else Pack(share, self.minutes)

    def shares(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """Return the jobs of each submission."""
        found: list[list[Job]] = []
        left = list(jobs)

        def lasts(count: int) -> int:
            return self.minutes(left[:count], _attempt(left[:count]))

        while left:
            counts = range(2, int(min(self.most, len(left))) + 1)
            count = 1 + bisect_right(counts, self.longest, key=lasts)
            found.append(left[:count])
            left = left[count:]
        return found

    def _others_come(self, kind: str, ready: set[Job], scheduler: JobScheduler) -> bool:
        """Tell whether a job of a kind may become ready without any job like it."""
        dag = scheduler.workflow.dag
        failed = _singly(scheduler.failed)
        over = failed | _singly(scheduler.running) | ready

        def can_come(job: Job) -> bool:
            """Whether what a job waits for can be made, and waits for no such job itself."""
            left, seen = [job], set()
            while left:
                for needed in dag.dependencies[left.pop()]:
                    if needed in seen or dag.finished(needed) or not dag.needrun(needed):
                        continue
                    if needed in failed or self.alike(needed) is not None:
                        return False
                    seen.add(needed)
                    left.append(needed)
            return True

        return any(
            self.alike(job) == kind and can_come(job)
            for job in dag.needrun_jobs()
            if job not in over and not dag.finished(job)
        )


def go_on_after_failures(scheduler: type[JobScheduler] = JobScheduler) -> None:
    """Have Snakemake's scheduler start the other jobs of a submission after one has failed."""
    schedule = scheduler.schedule

    def going_on(self_: JobScheduler) -> bool:
        self_.keepgoing = True
        return schedule(self_)

    scheduler.schedule = going_on


class Pack(GroupJob):
    """Jobs that are submitted together; each asks for what all of them need, one at a time."""

    def __init__(self, jobs: Sequence[Job], minutes: Callable[[Sequence[Job], int], int]):
        dag = jobs[0].dag
        super().__init__(
            f"{jobs[0].rule.name}:{jobs[0].wildcards_dict.get('clip', '')}:",
            frozenset(jobs),
            dag.workflow.global_resources,
        )
        self._toposorted = [list(jobs)]
        # Not the setter, which would set that of each job.
        self._attempt = _attempt(jobs)
        self._minutes = minutes
        self._before = {job: _signatures(job) for job in jobs}
        self._ended: dict[Job, bool | None] | None = None

    @property
    def resources(self) -> ResourceList:
        """Those of one job, with time for all."""
        if self._resources is None:
            (jobs,) = self.toposorted
            asked = [dict(job.resources.items()) for job in jobs]
            memory = max((values.get("mem_mb", 0) for values in asked), default=0)
            self._resources = asked[0] | {"runtime": self._minutes(jobs, self.attempt)}
            if "mem_mb" in asked[0]:
                self._resources |= {"mem_mb": memory}
        return ResourceList(fromdict=self._resources)

    @property
    def finished(self) -> list[Job]:
        """Those of the jobs that have all of their outputs."""
        return [job for job, ended in self._how().items() if ended]

    @property
    def failed(self) -> list[Job]:
        """Those that were begun and are not finished; all when none was begun."""
        return [job for job, ended in self._how().items() if ended is False]

    @property
    def not_begun(self) -> list[Job]:
        """The others, which the submission had no time for."""
        return [job for job, ended in self._how().items() if ended is None]

    def _how(self) -> dict[Job, bool | None]:
        """Return of each job whether it is finished, None when it was not begun."""
        if self._ended is None:
            ended = {job: self._ended_of(job) for job in self.jobs}
            if all(how is None for how in ended.values()) or self.dag.workflow.remote_exec:
                ended = {job: bool(how) for job, how in ended.items()}
            self._ended = ended
        return self._ended

    def _ended_of(self, job: Job) -> bool | None:
        now = _signatures(job)
        if all(new is None or new == old for new, old in zip(now, self._before[job], strict=True)):
            return None
        # Other processes remove the marks, so those that are known here are old.
        known = self.dag.workflow.persistence
        known._clear_cache()
        marked = known._filter_incomplete_keys([known._get_key(file) for file in job.output])
        return not marked and all(Path(file).exists() for file in job.output)

    def log_info(self) -> None:
        """Tell loggers of each job."""
        for job in self:
            job.log_info()

    def log_error(self, msg: str | None = None, **details) -> None:
        """Tell loggers which jobs failed."""
        for job in self.failed:
            job.log_error(msg, **details)


def _attempt(jobs: Sequence[Job]) -> int:
    return max(job.attempt for job in jobs)


def _singly(jobs: Iterable[Job | GroupJob]) -> set[Job]:
    return {job for one in jobs for job in (one.jobs if one.is_group() else [one])}


def _signatures(job: Job) -> list[Signature]:
    """Return what tells later whether each log file of a job was written, None for an empty one."""
    found: list[Signature] = []
    for log in job.log:
        try:
            state = Path(log).stat()
        except FileNotFoundError:
            found.append(None)
        else:
            signature = state.st_ino, state.st_size, state.st_mtime_ns
            found.append(signature if state.st_size else None)
    return found


def _part(pack: Pack, scheduler: JobScheduler) -> list[Job]:
    """Have the scheduler see a pack's jobs run, each with resources of its own."""
    scheduler.running.remove(pack)
    scheduler.workflow.dag._running.discard(pack)
    scheduler._free_resources(pack)
    jobs = list(pack)
    scheduler.running.update(jobs)
    scheduler.update_available_resources(jobs)
    return jobs
