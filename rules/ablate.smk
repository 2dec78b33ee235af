# Ablate: what each choice is worth. Part of `all` where `ablations` names them, else targets:
#
#   snakemake --cores 8 results/figures/{experiment}_ablation_{degree,rank,samples,design}.png
#   snakemake --cores 8 results/figures/{experiment}_ablation_scratch.png
#
# inputs:   {run}/samples.csv, holdout.csv, predictor/predictor.json
#           {run}/samples/{point}/pruned.safetensors, metrics.json
#           {run}/data/{train,selection}.safetensors
# outputs:  {run}/scratch/{point}/model.safetensors, metrics.json, provenance.json, history.csv
#           tables/{experiment}_ablation_*, figures/{experiment}_ablation_*


rule ablate_predictor:
    input:
        samples=of("every_seed", "samples.csv"),
        holdout=of("every_seed", "holdout.csv"),
        predictor=of("every_seed", "predictor/predictor.json"),
    output:
        rows=f"{TABLES}/{{experiment}}_ablation_{{ablation}}_runs.csv",
        csv=f"{TABLES}/{{experiment}}_ablation_{{ablation}}.csv",
        md=f"{TABLES}/{{experiment}}_ablation_{{ablation}}.md",
        pdf=f"{FIGURES}/{{experiment}}_ablation_{{ablation}}.pdf",
        png=shown(
            "ablation",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_ablation_{{ablation}}.png",
            "{experiment}, {ablation}",
        ),
    log:
        "results/logs/{experiment}/ablate_predictor/{ablation}.log",
    benchmark:
        "results/benchmarks/{experiment}/ablate_predictor/{ablation}.tsv"
    wildcard_constraints:
        ablation="degree|rank|samples|design",
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("ablate_predictor"),
        settings=of("ablation"),
        style=STYLES["ablation"],
    script:
        "../scripts/ablate_predictor.py"


rule train_scratch:
    input:
        pruned=f"{SAMPLE}/pruned.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{SCRATCH}/model.safetensors",
        metrics=f"{SCRATCH}/metrics.json",
        history=f"{SCRATCH}/history.csv",
        provenance=f"{SCRATCH}/provenance.json",
    log:
        f"{LOGS}/train_scratch/{{point}}.log",
    benchmark:
        f"{BENCHMARKS}/train_scratch/{{point}}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "dense"),
        mem_mb=of("memory_mb", "dense"),
    params:
        code=digest_of("train_scratch"),
        settings=of("training", "dense"),
    script:
        "../scripts/train_scratch.py"


rule ablate_scratch:
    input:
        pruned=of("fitted", "sample"),
        scratch=of("fitted", "scratch"),
    output:
        csv=f"{TABLES}/{{experiment}}_ablation_scratch.csv",
        md=f"{TABLES}/{{experiment}}_ablation_scratch.md",
        summary=f"{TABLES}/{{experiment}}_ablation_scratch.json",
        pdf=f"{FIGURES}/{{experiment}}_ablation_scratch.pdf",
        png=shown(
            "ablation",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_ablation_scratch.png",
            "{experiment}, scratch",
        ),
    log:
        "results/logs/{experiment}/ablate_scratch.log",
    benchmark:
        "results/benchmarks/{experiment}/ablate_scratch.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("ablate_scratch"),
        style=STYLES["ablation"],
    script:
        "../scripts/ablate_scratch.py"
