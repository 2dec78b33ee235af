# Dense: train the network that is to be pruned, and find out what of it can be.


rule analyze_dense:
    input:
        own=own_file("model.name"),
        train=f"{RUN}/data/train.safetensors",
    output:
        f"{RUN}/dense/structure.json",
    log:
        "results/logs/{experiment}/seed{seed}/analyze_dense.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/analyze_dense.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_cpu(),
    params:
        settings=together("analyze_dense", model=setting("model.name")),
    script:
        "../scripts/analyze_dense.py"


rule train_dense:
    input:
        structure=structure_first,
        own=own_file("model.name"),
        checkpoint=checkpoint_file,
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
    resources:
        **on_gpu("dense"),
    params:
        settings=together(
            "train_dense",
            **recipe("dense"),
            **settings("model.sparsity", is_sparse),
            model=setting("model.name"),
        ),
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
    resources:
        **on_gpu(),
    params:
        settings=together("evaluate_dense", own_network=own_network),
    script:
        "../scripts/evaluate_dense.py"


rule rank_blocks:
    input:
        own=own_file("pruning.block_criterion"),
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
    resources:
        **on_gpu(),
    params:
        settings=together(
            "rank_blocks",
            own_network=own_network,
            block_criterion=setting("pruning.block_criterion"),
            probe_images=setting("pruning.probe_images"),
        ),
    script:
        "../scripts/rank_blocks.py"
