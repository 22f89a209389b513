"""What one cluster offers, as the resources of its jobs."""

from animate.config.configuration import ClusterConfig, Configuration


class Site(ClusterConfig):
    """The `cluster:` section of the configuration; None leaves a choice to SLURM."""

    @classmethod
    def of(cls, config: Configuration) -> "Site":
        """Return the site of a configuration."""
        return cls(**dict(config.cluster))

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
