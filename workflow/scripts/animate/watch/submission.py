"""A job whose submission to SLURM fails is a job that failed, for the reason that SLURM gave.

Snakemake's SLURM plugin submits in a thread of its own and looks at no error there but sbatch's
exit code, so a run would wait for ever for a job that was never submitted: delete `run_job` here
once every failed submission is a failed job, as asked for in
https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/320. Why a group of jobs
failed, Snakemake says nowhere: the reason is added to what it tells loggers.
"""

import time

from animate.cluster.submit import PAUSES, is_busy


def fail_unsubmitted_jobs() -> None:
    """Have the plugin report what goes wrong before or after sbatch, and of groups too."""
    from snakemake_executor_plugin_slurm import Executor
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    submit, report = Executor.run_job, Executor.report_job_error

    def run_job(executor, job):
        for pause in (*PAUSES, None):
            try:
                return submit(executor, job)
            except Exception as error:
                # Only what it asks before sbatch, such as for the account, ends here as busy.
                if pause is None or not is_busy(str(error)):
                    said = f"not submitted: {error}"
                    return executor.report_job_error(SubmittedJobInfo(job), msg=said)
            time.sleep(pause)

    def report_job_error(executor, job_info, msg=None, **details):
        if msg and job_info.job.is_group():
            details["said"] = msg
        report(executor, job_info, msg, **details)

    Executor.run_job, Executor.report_job_error = run_job, report_job_error
