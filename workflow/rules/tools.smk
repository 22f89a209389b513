"""Targets beside the clips: what they will take, how they stand, and how to go on after Snakemake was killed."""


rule plan:
    log:
        f"{LOGS}/plan.log",
    localrule: True
    conda:
        "../../envs/sample.yaml"
    params:
        config=CONFIG_TEXT,
        auto_gpus=lambda wildcards: gpus_of_auto_clips(),
        in_a_row=clips_in_a_row,
        output=PLAN,
    shell:
        'python "$SCRIPTS"/plan.py --log {log:q} --config {params.config:q}'
        " --auto-gpus {params.auto_gpus} --in-a-row {params.in_a_row} --output {params.output:q}"


rule gallery:
    log:
        f"{LOGS}/gallery.log",
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    params:
        config=CONFIG_TEXT,
        run=RUN_NOTE,
    shell:
        'python "$SCRIPTS"/gallery.py --log {log:q} --config {params.config:q} --run {params.run:q}'


rule recover:
    log:
        f"{LOGS}/recover.log",
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    params:
        note=RUN_NOTE,
    shell:
        'python "$SCRIPTS"/recover.py --log {log:q} --note {params.note:q}'
