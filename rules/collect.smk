# Collect: prune and fine-tune the networks of the sampling tree, and gather their accuracies.


rule prune_sample:
    input:
        own_file("pruning.block_criterion", prunes("depth")),
        own_file("pruning.channel_criterion", prunes("width")),
        structure=structure_first,
        parent=parent_model,
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        pruned=f"{RUN}/samples/{{point}}/pruned.safetensors",
        provenance=f"{RUN}/samples/{{point}}/pruned_provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/prune_sample/{point}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/prune_sample/{point}.tsv"
    group:
        one_submission("experiment", "seed", "point")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu(),
    params:
        settings=together(
            "prune_sample",
            own_network=own_network,
            block_criterion=setting("pruning.block_criterion", prunes("depth")),
            channel_criterion=setting("pruning.channel_criterion", prunes("width")),
            round_to=setting("pruning.round_to", prunes("width")),
            probe_images=setting("pruning.probe_images"),
            depth=sample_ratio("depth"),
            width=sample_ratio("width"),
            resolution=sample_ratio("resolution"),
        ),
    script:
        "../scripts/prune_sample.py"


rule finetune_sample:
    input:
        unpack(teacher("finetune")),
        pruned=f"{RUN}/samples/{{point}}/pruned.safetensors",
        provenance=f"{RUN}/samples/{{point}}/pruned_provenance.json",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{RUN}/samples/{{point}}/model.safetensors",
        metrics=f"{RUN}/samples/{{point}}/metrics.json",
        history=f"{RUN}/samples/{{point}}/history.csv",
        provenance=f"{RUN}/samples/{{point}}/provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/finetune_sample/{point}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/finetune_sample/{point}.tsv"
    group:
        one_submission("experiment", "seed", "point")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu("finetune"),
    params:
        settings=together(
            "finetune_sample", own_network=own_network, **recipe("finetune")
        ),
    script:
        "../scripts/finetune_sample.py"


rule collect_samples:
    input:
        dense=f"{RUN}/dense/metrics.json",
        samples=sample_metrics("fit"),
    output:
        f"{RUN}/samples.csv",
    log:
        "results/logs/{experiment}/seed{seed}/collect_samples.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/collect_samples.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("collect_samples", samples=sample_names("fit")),
    script:
        "../scripts/collect_samples.py"


rule collect_holdout:
    input:
        samples=sample_metrics("holdout"),
    output:
        f"{RUN}/holdout.csv",
    log:
        "results/logs/{experiment}/seed{seed}/collect_holdout.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/collect_holdout.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("collect_holdout", samples=sample_names("holdout")),
    script:
        "../scripts/collect_holdout.py"
