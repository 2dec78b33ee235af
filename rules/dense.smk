# Dense: train the network that is to be pruned, and find out what of it can be.


rule train_dense:
    input:
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{RUN}/dense/model.safetensors",
        metrics=f"{RUN}/dense/metrics.json",
        history=f"{RUN}/dense/history.csv",
        provenance=f"{RUN}/dense/provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/train_dense.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/train_dense.tsv"
    conda:
        "../envs/torch.yaml"
    params:
        **recipe("dense"),
        model=setting("model.name"),
    script:
        "../scripts/train_dense.py"


rule evaluate_dense:
    input:
        model=f"{RUN}/dense/model.safetensors",
        test=f"{RUN}/data/test.safetensors",
    output:
        f"{RUN}/dense/test.json",
    log:
        "results/logs/{experiment}/seed{seed}/evaluate_dense.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/evaluate_dense.tsv"
    conda:
        "../envs/torch.yaml"
    script:
        "../scripts/evaluate_dense.py"


rule analyze_dense:
    input:
        model=f"{RUN}/dense/model.safetensors",
    output:
        f"{RUN}/dense/structure.json",
    log:
        "results/logs/{experiment}/seed{seed}/analyze_dense.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/analyze_dense.tsv"
    conda:
        "../envs/torch.yaml"
    script:
        "../scripts/analyze_dense.py"


rule rank_blocks:
    input:
        model=f"{RUN}/dense/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        blocks=f"{RUN}/dense/blocks.json",
        provenance=f"{RUN}/dense/blocks_provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/rank_blocks.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/rank_blocks.tsv"
    conda:
        "../envs/torch.yaml"
    params:
        block_criterion=setting("pruning.block_criterion"),
        probe_images=setting("pruning.probe_images"),
    script:
        "../scripts/rank_blocks.py"
