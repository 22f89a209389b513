include: "workflow/Snakefile"


# Snakemake forgets the default target of a file that is included.
rule everything:
    default_target: True
    input:
        rules.all.input,
