"""Where the weights come from: pinned, fetched once, verified, and linked into model folders."""


rule small_model:
    output:
        f"{MODELS}/{{model}}/model_index.json",
    log:
        f"{LOGS}/small_model/{{model}}.log",
    wildcard_constraints:
        model="|".join(SMALL_MODELS),
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("small_model"),
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        weights=model_content,
        version=1,
    shell:
        'python "$SCRIPTS"/small_model.py {wildcards.model} --output {params.folder:q} --log {log:q}'


# Other pins and parts are brought in by restore_weights, which runs nothing again by itself.
rule download_diffusers:
    output:
        sources=f"{MODELS}/{{model}}/sources.json",
        index=f"{MODELS}/{{model}}/model_index.json",
    log:
        f"{LOGS}/download/{{model}}.log",
    wildcard_constraints:
        model=one_of("diffusers", EDITOR),
    localrule: LOGIN_NODE_DOWNLOADS
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("download"),
    params:
        options=MODEL_OPTIONS,
        needs=needs_of_model,
        force=force_option,
        version=1,
    shell:
        'python "$SCRIPTS"/download_model.py {params.options} {params.force}'
        " --needs {params.needs:q} --log {log:q}"


use rule download_diffusers as download_files with:
    output:
        sources=f"{MODELS}/{{model}}/sources.json",
    wildcard_constraints:
        model=one_of("files", ONE_FILE),


# Other contents mean another conversion, and so other samples.
use rule download_diffusers as download_original with:
    output:
        sources=f"{MODELS}/{{model}}/sources.json",
    wildcard_constraints:
        model=one_of("original"),
    params:
        options=MODEL_OPTIONS,
        needs=needs_of_model,
        force=force_option,
        weights=converted_content,
        version=1,


rule convert:
    input:
        f"{MODELS}/{{model}}/sources.json",
    output:
        f"{MODELS}/{{model}}/model_index.json",
    log:
        f"{LOGS}/convert/{{model}}.log",
    wildcard_constraints:
        model=one_of("original"),
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("convert", mb=amounts.CONVERT_MB),
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        version=1,
    shell:
        'python "$SCRIPTS"/convert_checkpoint.py --input {params.folder:q}/original'
        " --output {params.folder:q} --log {log:q}"


# Other weights are copied anew; none are that are stored in the sampler's types.
rule prepare:
    input:
        index_of_wildcard,
    output:
        PREPARED,
    log:
        f"{LOGS}/prepare/{{model}}{{precision}}.log",
    wildcard_constraints:
        model=models_used(),
        precision=r"(\.fp8)?",
    conda:
        "../../envs/sample.yaml"
    threads: 4
    resources:
        **cpu_job("prepare", cpus=4, mb=amounts.PREPARE_MB),
    params:
        model=lambda wildcards, input: os.path.dirname(input[0]),
        precision=lambda wildcards: wildcards.precision.strip(".") or "bf16",
        weights=transformer_content,
        version=1,
    shell:
        'python "$SCRIPTS"/prepare_model.py --model {params.model:q} --precision {params.precision}'
        " --output {output:q} --log {log:q}"


rule download:
    input:
        [folder_anchor(name) for name in {*MODELS_USED, *NEEDED_PARTS}],
    log:
        f"{LOGS}/download.log",
    localrule: True
    conda:
        "../../envs/sample.yaml"
    params:
        options=MODEL_OPTIONS,
        needs=NEEDS,
    shell:
        'python "$SCRIPTS"/download_model.py {params.options} --needs {params.needs:q} --log {log:q}'


rule verify_models:
    log:
        f"{LOGS}/verify_models.log",
    localrule: True
    conda:
        "../../envs/sample.yaml"
    params:
        options=MODEL_OPTIONS,
        needs=NEEDS,
    shell:
        'python "$SCRIPTS"/verify_models.py {params.options} --needs {params.needs:q} --log {log:q}'


rule update_models:
    log:
        f"{LOGS}/update_models.log",
    localrule: True
    conda:
        "../../envs/sample.yaml"
    params:
        options=MODEL_OPTIONS,
        needs=NEEDS,
    shell:
        'python "$SCRIPTS"/update_models.py {params.options} --needs {params.needs:q} --log {log:q}'


rule models_status:
    log:
        f"{LOGS}/models_status.log",
    localrule: True
    conda:
        "../../envs/sample.yaml"
    params:
        options=MODEL_OPTIONS,
        needs=NEEDS,
    shell:
        'python "$SCRIPTS"/models_status.py {params.options} --needs {params.needs:q} --log {log:q}'
