"""A row of the table that was refused, as a job that fails with its mistakes."""


rule refused_row:
    output:
        f"{RESULTS}/.refused/row_{{number}}",
    log:
        f"{LOGS}/refused_row/{{number}}.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    params:
        mistakes=lambda wildcards: TABLE.row_mistakes[int(wildcards.number)],
    shell:
        "printf '%s\\n' {params.mistakes:q} | tee {log:q} >&2; exit 1"
