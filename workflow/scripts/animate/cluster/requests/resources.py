"""The resources of Snakemake's jobs: what each asks of a cluster, computed from its clip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from animate.cluster.requests import amounts
from animate.cluster.requests.detectors import SETTINGS, Detectors
from animate.cluster.requests.gpus import AUTO, node_count
from animate.cluster.site import Site
from animate.cluster.work import Work
from animate.config.table import Clip

Resources = dict[str, Any]


@dataclass(frozen=True)
class Requests:
    """What the jobs of a run ask for; each method returns resources, for a rule to take over.

    `clips`: those of the table by name; `clip_of`, `work_of`: what a job's wildcards name;
    `auto_gpus`: the GPUs of a clip with `gpus: auto`; `most_mb`: the memory of the largest node, if
    that is known; `detector_bytes`: of the files that a setting of a clip names, by file name;
    `counted`: the resource by which Snakemake counts GPUs. Where nothing is `submitted`, jobs state
    only what Snakemake schedules by: over ten thousand clips it takes minutes to call functions.
    """

    site: Site
    submitted: bool
    counted: str
    detectors: Detectors
    clips: Mapping[str, Clip]
    clip_of: Callable[[Any], Clip]
    work_of: Callable[[Any], Work]
    auto_gpus: Callable[[], int]
    most_mb: Callable[[], int | None]
    detector_bytes: Callable[[str, Clip], Mapping[str, int]]

    def cpu_job(self, stage: str, cpus: int = 1, mb: int = amounts.STAGE_MB) -> Resources:
        """Return the resources of a job without GPU."""

        def runtime(wildcards, attempt):
            if not hasattr(wildcards, "clip"):
                return amounts.fixed_minutes(self.site, attempt)
            return amounts.stage_minutes(stage, self.work_of(wildcards), self.site, attempt)

        def memory(wildcards, attempt):
            return amounts.grown_mb(mb, attempt, self.most_mb())

        if not self.submitted:
            return {"mem_mb": mb}
        asked = {"runtime": runtime, "cpus_per_task": cpus, **self.site.cpu_options}
        return {"mem_mb": self._memory(memory), **asked}

    def gpu_job(self) -> Resources:
        """Return the resources of the sampler: its GPUs, evenly on the fewest nodes."""

        def runtime(wildcards, attempt):
            work, gpus = self.work_of(wildcards), self.gpus_of(wildcards)
            model = self.clip_of(wildcards).model.name
            return amounts.sampling_minutes(work, gpus, self.site, model, attempt)

        def memory(wildcards, attempt):
            gpus, model = self.gpus_of(wildcards), self.clip_of(wildcards).model
            of_node = self._ranks_of_node(gpus), model.name, attempt, self.most_mb()
            if model.posed:
                return amounts.sampling_mb(*of_node)
            work = self.work_of(wildcards)
            keys = amounts.driving_keys_mb(work, gpus, self.site, model.name)
            return amounts.sampling_mb(*of_node, keys // self.nodes(gpus))

        def request(name):
            return self._of_gpus(
                lambda gpus: self.site.gpu_request(self._ranks_of_node(gpus))[name]
            )

        stated = {"mem_mb": self._memory(memory), self.counted: self._of_gpus(int)}
        if not self.submitted:
            return stated
        cpus = self.site.cpus_per_gpu
        return {
            **stated,
            "runtime": runtime,
            "cpus_per_task": self._of_gpus(lambda gpus: cpus * self._ranks_of_node(gpus)),
            "nodes": self._of_gpus(self.nodes),
            # One task a node: torchrun starts the ranks.
            "tasks_per_gpu": 0,
            **{name: request(name) for name in self.site.gpu_request(1)},
            **self.site.gpu_options,
            **self._own_tasks(),
            # A job of several clips has one of these for each in turn.
            **({"samplers": 1} if self.site.clips_per_job > 1 else {}),
        }

    def detector_job(self, stage: str) -> Resources:
        """Return the resources of a stage with a detector, which may have a GPU of its own."""

        def runtime(wildcards, attempt):
            clip, work = self.clip_of(wildcards), self.work_of(wildcards)
            chosen = self.detectors.of_stage(stage, clip), self.detectors.has_own_gpu(stage, clip)
            return amounts.stage_minutes(stage, work, self.site, attempt, *chosen)

        def memory(wildcards, attempt):
            clip = self.clip_of(wildcards)
            name, gpu = (
                self.detectors.of_stage(stage, clip),
                self.detectors.has_own_gpu(stage, clip),
            )
            mb = amounts.detector_mb(name, self.detector_bytes(SETTINGS[stage], clip), gpu)
            return amounts.grown_mb(mb, attempt, self.most_mb())

        def placed(name):
            def of_clip(wildcards):
                gpu = self.detectors.has_own_gpu(stage, self.clip_of(wildcards))
                return (on_gpu if gpu else on_cpu).get(name)

            return of_clip

        if not self.detectors.large:
            return self.cpu_job(stage, cpus=amounts.DETECTOR_CPUS)
        if not self.submitted:
            return {"mem_mb": memory}
        on_cpu = {"cpus_per_task": amounts.DETECTOR_CPUS, **self.site.cpu_options}
        on_gpu = {
            "cpus_per_task": self.site.cpus_per_gpu,
            "nodes": 1,
            "tasks_per_gpu": 0,
            self.counted: 1,
            **self.site.gpu_request(1),
            **self.site.gpu_options,
        }
        names = {**on_cpu, **(on_gpu if self.detectors.on_gpu else {})}
        asked = {"runtime": runtime, **{name: placed(name) for name in names}}
        return {"mem_mb": self._memory(memory), **asked}

    def submission(self, stage: str) -> str | Callable[[Any], str]:
        """Return the group of a stage of the preparation, which is one job of a cluster."""

        def of_clip(wildcards):
            part = self.detectors.submission(stage, self.clip_of(wildcards))
            return f"{part}:{wildcards.clip}:"

        return of_clip if self.detectors.on_gpu else "prepare:{clip}:"

    def gpus_of(self, wildcards: Any) -> int:
        """Return the GPUs that a job's clip is sampled on."""
        return self.gpus_of_clip(self.clip_of(wildcards))

    def gpus_of_clip(self, clip: Clip) -> int:
        """Return the GPUs that a clip is sampled on."""
        return self.auto_gpus() if clip.settings.gpus == AUTO else clip.settings.gpus

    def nodes(self, gpus: int) -> int:
        """Return the nodes that so many GPUs are on."""
        return node_count(gpus, self.site.gpus_per_node)

    def _ranks_of_node(self, gpus: int) -> int:
        return gpus // self.nodes(gpus)

    def _memory(self, mb: Any) -> Any:
        """Return what a job states of its memory, 0 where a cluster must not be asked for any."""
        return mb if self.site.memory or not self.submitted else 0

    def _of_gpus(self, function: Callable[[int], Any]) -> Any:
        """Return a resource that depends on the GPUs, a constant when all clips want as many."""
        wanted = {clip.settings.gpus for clip in self.clips.values()}
        if len(wanted) == 1 and AUTO not in wanted:
            return function(*wanted)
        return lambda wildcards: function(self.gpus_of(wildcards))

    def _own_tasks(self) -> Resources:
        """Return the resources by which a job on several nodes starts its own tasks.

        The plugin would start it on one node of its allocation, with all of its GPUs.
        """
        wanted = {clip.settings.gpus for clip in self.clips.values()} - {AUTO}
        if max(wanted, default=1) <= self.site.gpus_per_node:
            return {}

        def on_several(value):
            return self._of_gpus(lambda gpus: value(gpus) if self.nodes(gpus) > 1 else None)

        return {"mpi": on_several(lambda gpus: "srun"), "tasks": on_several(self.nodes)}
