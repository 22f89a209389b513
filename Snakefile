import sys
from importlib.util import find_spec

from snakemake.utils import min_version

# Table and configuration are read where Snakemake runs, whatever environment the jobs have.
if not find_spec("pandas"):
    sys.exit(
        "Snakemake's own environment lacks pandas: run "
        f"`{sys.executable} -m pip install pandas`, or make one from envs/snakemake.yaml"
    )

min_version("9.27")


# For --sdm apptainer: made from envs/Dockerfile, in the folder where Snakemake runs.
container: "wan-animate.sif"


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/refused.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/timeline.smk"
include: "workflow/rules/pose.smk"
include: "workflow/rules/matte.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/run.smk"
include: "workflow/rules/tools.smk"


rule all:
    default_target: True
    input:
        finished_clips,
        refused_rows,


rule previews:
    input:
        expand(f"{RESULTS}/{{clip}}/preview.png", clip=CLIPS),
        refused_rows,
