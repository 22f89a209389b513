"""Where the weights come from."""


rule tiny_model:
    output:
        f"{CONFIG['models']}/tiny/model_index.json",
    params:
        version=1,
    log:
        f"{LOGS}/tiny_model.log",
    conda:
        "../../envs/sample.yaml"
    shell:
        "python {SCRIPTS:q}/tiny_model.py --output \"$(dirname {output:q})\" --log {log:q}"
