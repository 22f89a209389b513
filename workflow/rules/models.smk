"""Where the weights come from."""


rule tiny_model:
    output:
        f"{CONFIG['models']}/tiny/model_index.json",
    log:
        f"{LOGS}/tiny_model.log",
    conda:
        "../../envs/sample.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        version=1,
    shell:
        'python "$SCRIPTS"/tiny_model.py --output {params.folder:q} --log {log:q}'
