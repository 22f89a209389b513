"""What one cluster offers, as the resources of its jobs."""

from animate.config.configuration import ClusterConfig, Configuration
from animate.config.sbatch import plugin_takes, quoted_flags


class Site(ClusterConfig):
    """The `cluster:` section of the configuration; None leaves a choice to SLURM."""

    @classmethod
    def of(cls, config: Configuration) -> "Site":
        """Return the site of a configuration."""
        return cls(**dict(config.cluster))

    @property
    def plugin_asks(self) -> bool:
        """Whether Snakemake's plugin may ask for GPUs, as it does for the resource `gpu`.

        It does so by `--gpus`, and SLURM refuses a job that names a type in one of its flags only.
        """
        return not self.gres and (self.gpu_model is None or plugin_takes(self.gpu_model))

    @property
    def cpu_options(self) -> dict[str, str]:
        """Resources that place a job on the site's CPU nodes."""
        placed = _given(
            slurm_account=self.account,
            slurm_partition=self.partition,
            constraint=self.constraint,
            qos=self.qos,
        )
        return placed | _given(slurm_extra=quoted_flags(self.extra))

    @property
    def gpu_options(self) -> dict[str, str]:
        """Resources that place a job on the site's GPU nodes."""
        return _given(
            slurm_account=self.gpu_account or self.account,
            slurm_partition=self.gpu_partition or self.partition,
            constraint=self.gpu_constraint,
            qos=self.gpu_qos or self.qos,
            gpu_model=self.gpu_model if self.plugin_asks else None,
        )

    def gpu_request(self, gpus: int) -> dict[str, str]:
        """Resources that ask for `gpus` GPUs of each node, and for all else of a job with GPUs."""
        asked = f"{self.gpu_model}:{gpus}" if self.gpu_model else str(gpus)
        flags = [
            "" if self.gres else f"--gpus-per-node={asked}",
            f"--signal=USR1@{self.warning_seconds}" if self.warning_seconds else "",
            quoted_flags(self.extra),
            quoted_flags(self.gpu_extra),
        ]
        extra = " ".join(filter(None, flags))
        return {"slurm_extra": extra} | ({"gres": f"gpu:{asked}"} if self.gres else {})


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value}
