# Collect: prune and fine-tune the networks of the sampling tree, and gather their accuracies.
#
# inputs:   {run}/data/{train,selection}.safetensors
#           {run}/dense/model.safetensors, metrics.json
# outputs:  {run}/samples/{point}/pruned.safetensors, pruned_provenance.json (not of d100_w100_r100)
#           {run}/samples/{point}/model.safetensors, metrics.json, provenance.json, history.csv
#           {run}/samples.csv, holdout.csv


rule prune_sample:
    input:
        own=of("sample_code"),
        structure=of("structure_checked"),
        parent=of("parent"),
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        pruned=f"{SAMPLE}/pruned.safetensors",
        provenance=f"{SAMPLE}/pruned_provenance.json",
    log:
        f"{LOGS}/prune_sample/{{point}}.log",
    benchmark:
        f"{BENCHMARKS}/prune_sample/{{point}}.tsv"
    group:
        one_submission("experiment", "seed", "point")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("prune_sample"),
        settings=of("pruning"),
    script:
        "../scripts/prune_sample.py"


rule finetune_sample:
    input:
        teacher=of("teacher", "finetune"),
        pruned=of("pruned"),
        provenance=of("pruning_provenance"),
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{SAMPLE}/model.safetensors",
        metrics=f"{SAMPLE}/metrics.json",
        history=f"{SAMPLE}/history.csv",
        provenance=f"{SAMPLE}/provenance.json",
    log:
        f"{LOGS}/finetune_sample/{{point}}.log",
    benchmark:
        f"{BENCHMARKS}/finetune_sample/{{point}}.tsv"
    group:
        one_submission("experiment", "seed", "point")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "finetune"),
        mem_mb=of("memory_mb", "finetune"),
    params:
        code=digest_of("finetune_sample"),
        settings=of("training", "finetune"),
    script:
        "../scripts/finetune_sample.py"


rule collect_samples:
    input:
        samples=of("files", "fit"),
    output:
        f"{RUN}/samples.csv",
    log:
        f"{LOGS}/collect_samples.log",
    benchmark:
        f"{BENCHMARKS}/collect_samples.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("collect_samples"),
        settings=of("samples", "fit"),
    script:
        "../scripts/collect_samples.py"


rule collect_holdout:
    input:
        samples=of("files", "holdout"),
    output:
        f"{RUN}/holdout.csv",
    log:
        f"{LOGS}/collect_holdout.log",
    benchmark:
        f"{BENCHMARKS}/collect_holdout.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("collect_holdout"),
        settings=of("samples", "holdout"),
    script:
        "../scripts/collect_holdout.py"
