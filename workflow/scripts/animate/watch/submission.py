"""A job whose submission to SLURM fails is a job that failed.

Snakemake's SLURM plugin submits in a thread of its own and looks at no error there but sbatch's
exit code, so a run would wait for ever for a job that was never submitted. Delete this file once
every failed submission is a failed job, as asked for in
https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/320
"""


def fail_unsubmitted_jobs() -> None:
    """Have the plugin report what goes wrong before or after sbatch."""
    from snakemake_executor_plugin_slurm import Executor
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    submit = Executor.run_job

    def run_job(executor, job):
        try:
            submit(executor, job)
        except Exception as error:
            executor.report_job_error(SubmittedJobInfo(job), msg=f"not submitted: {error}")

    Executor.run_job = run_job
