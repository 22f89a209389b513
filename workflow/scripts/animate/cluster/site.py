"""What one cluster offers: the `cluster:` section of the configuration."""

from dataclasses import dataclass, fields
from typing import Any

from animate.config.schema import load_schema


@dataclass(frozen=True)
class Site:
    """The settings of a site; None leaves a choice to SLURM. See the schema for each one."""

    account: str | None
    partition: str | None
    constraint: str | None
    qos: str | None
    gpu_partition: str | None
    gpu_constraint: str | None
    gpu_model: str | None
    gpu_memory_gb: float
    gpu_speed: float
    gpus_per_node: int
    cpus_per_gpu: int
    max_gpus: int
    max_minutes: int
    min_minutes: int
    warning_seconds: int
    scratch: str | None
    network: str
    check_nodes: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Site":
        """Return the site of a checked configuration, the schema's default where it is silent."""
        properties = load_schema("config")["properties"]["cluster"]["properties"]
        given = config["cluster"]
        return cls(
            **{f.name: given.get(f.name, properties[f.name]["default"]) for f in fields(cls)}
        )

    @property
    def cpu_options(self) -> dict[str, str]:
        """Resources that place a job on the site's CPU nodes."""
        return self._options(self.partition, self.constraint)

    @property
    def gpu_options(self) -> dict[str, str]:
        """Resources that place a job on the site's GPU nodes."""
        placed = self._options(self.gpu_partition or self.partition, self.gpu_constraint)
        return placed | ({"gpu_model": self.gpu_model} if self.gpu_model else {})

    def _options(self, partition: str | None, constraint: str | None) -> dict[str, str]:
        options = {
            "slurm_account": self.account,
            "slurm_partition": partition,
            "constraint": constraint,
            "qos": self.qos,
        }
        return {name: value for name, value in options.items() if value}
