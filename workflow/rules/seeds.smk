"""Clips that differ in the seed alone: what is prepared for the first serves the others."""


rule seed_file:
    input:
        f"{RESULTS}/{{row}}/{{file}}",
    output:
        f"{RESULTS}/{{row}}~seed{{seed}}/{{file}}",
    log:
        f"{LOGS}/seed_file/{{row}}~seed{{seed}}.{{file}}.log",
    wildcard_constraints:
        row="[A-Za-z0-9][A-Za-z0-9._-]*",
        seed="[0-9]+",
        file="|".join(map(re.escape, SEEDLESS_FILES)),
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    shell:
        "ln -sfn ../{wildcards.row:q}/{wildcards.file:q} {output:q} 2> {log:q}"
