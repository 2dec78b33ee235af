# Dense: train the network that is to be pruned, and find out what of it can be.
#
# inputs:   {run}/data/{train,selection,test}.safetensors
# outputs:  {experiment}/rounding.json
#           {run}/dense/model.safetensors, metrics.json, provenance.json, history.csv
#           {run}/dense/structure.json, structure_kept.json, blocks.json, blocks_provenance.json, test.json
#           {run}/dense/longer/model.safetensors, metrics.json, provenance.json, history.csv, test.json


rule analyze_dense:
    input:
        own=of("model_code"),
        train=f"{RUN}/data/train.safetensors",
    output:
        f"{DENSE}/structure.json",
    log:
        f"{LOGS}/analyze_dense.log",
    benchmark:
        f"{BENCHMARKS}/analyze_dense.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("analyze_dense"),
        settings=of("architecture"),
    script:
        "../scripts/analyze_dense.py"


use rule analyze_dense as analyze_kept with:
    output:
        f"{DENSE}/structure_kept.json",
    log:
        f"{LOGS}/analyze_kept.log",
    benchmark:
        f"{BENCHMARKS}/analyze_kept.tsv"
    params:
        code=digest_of("analyze_dense"),
        settings=of("kept"),


rule measure_rounding:
    input:
        own=of("model_code"),
        train=of("train_images"),
    output:
        ROUNDING,
    log:
        "results/logs/{experiment}/measure_rounding.log",
    benchmark:
        "results/benchmarks/{experiment}/measure_rounding.tsv"
    conda:
        "../envs/torch.yaml"
    threads: of("timing_threads")
    resources:
        runtime=of("timing_minutes", "multiples"),
        mem_mb=of("memory_mb", "once"),
        gpu=of("times_on_gpu"),
    params:
        code=digest_of("measure_rounding"),
        settings=of("rounded"),
    script:
        "../scripts/measure_rounding.py"


rule train_dense:
    input:
        structure=of("structure_first"),
        own=of("model_code"),
        checkpoint=of("checkpoint"),
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{DENSE}/model.safetensors",
        metrics=f"{DENSE}/metrics.json",
        history=f"{DENSE}/history.csv",
        provenance=f"{DENSE}/provenance.json",
    log:
        f"{LOGS}/train_dense.log",
    benchmark:
        f"{BENCHMARKS}/train_dense.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "dense"),
        mem_mb=of("memory_mb", "dense"),
    params:
        code=digest_of("train_dense"),
        settings=of("dense_training"),
    script:
        "../scripts/train_dense.py"


rule evaluate_dense:
    input:
        model=f"{DENSE}/model.safetensors",
        test=f"{RUN}/data/test.safetensors",
    output:
        f"{DENSE}/test.json",
    log:
        f"{LOGS}/evaluate_dense.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_dense.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("evaluate_dense"),
        settings=of("network"),
    script:
        "../scripts/evaluate_dense.py"


rule finetune_dense:
    input:
        teacher=of("teacher", "final"),
        model=f"{DENSE}/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{LONGER}/model.safetensors",
        metrics=f"{LONGER}/metrics.json",
        history=f"{LONGER}/history.csv",
        provenance=f"{LONGER}/provenance.json",
    log:
        f"{LOGS}/finetune_dense.log",
    benchmark:
        f"{BENCHMARKS}/finetune_dense.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "final"),
        mem_mb=of("memory_mb", "final"),
    params:
        code=digest_of("finetune_dense"),
        settings=of("training", "final"),
    script:
        "../scripts/finetune_dense.py"


use rule evaluate_dense as evaluate_longer with:
    input:
        model=f"{LONGER}/model.safetensors",
        test=f"{RUN}/data/test.safetensors",
    output:
        f"{LONGER}/test.json",
    log:
        f"{LOGS}/evaluate_longer.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_longer.tsv"


rule rank_blocks:
    input:
        own=of("block_code"),
        model=f"{DENSE}/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        blocks=f"{DENSE}/blocks.json",
        provenance=f"{DENSE}/blocks_provenance.json",
    log:
        f"{LOGS}/rank_blocks.log",
    benchmark:
        f"{BENCHMARKS}/rank_blocks.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("rank_blocks"),
        settings=of("ranking"),
    script:
        "../scripts/rank_blocks.py"
