# Data: the images of an experiment, split into three files.


rule prepare_data:
    output:
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
        test=f"{RUN}/data/test.safetensors",
    log:
        "results/logs/{experiment}/seed{seed}/prepare_data.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/prepare_data.tsv"
    conda:
        "../envs/torch.yaml"
    params:
        name=setting("data.name"),
        test_fraction=setting("data.test_fraction"),
        selection_fraction=setting("data.selection_fraction"),
    script:
        "../scripts/prepare_data.py"
