# Ablate: what each choice is worth. Targets of their own, not part of `all`:
#
#   snakemake --cores 8 results/figures/{experiment}_ablation_{degree,rank,samples,design}.png
#   snakemake --cores 8 results/figures/{experiment}_ablation_scratch.png


rule ablate_predictor:
    input:
        samples=of_experiment("samples.csv"),
        holdout=of_experiment("holdout.csv"),
    output:
        rows="results/tables/{experiment}_ablation_{ablation}_runs.csv",
        csv="results/tables/{experiment}_ablation_{ablation}.csv",
        md="results/tables/{experiment}_ablation_{ablation}.md",
        pdf="results/figures/{experiment}_ablation_{ablation}.pdf",
        png="results/figures/{experiment}_ablation_{ablation}.png",
    log:
        "results/logs/{experiment}/ablate_predictor/{ablation}.log",
    benchmark:
        "results/benchmarks/{experiment}/ablate_predictor/{ablation}.tsv"
    wildcard_constraints:
        ablation="degree|rank|samples|design",
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together(
            "ablate_predictor",
            **settings("predictor"),
            **figure_settings("ablation"),
            seeds=SEEDS,
            budgets=macs_budgets(),
            epochs=setting("finetune.epochs"),
        ),
    script:
        "../scripts/ablate_predictor.py"


rule train_scratch:
    input:
        pruned=f"{RUN}/samples/{{point}}/pruned.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{RUN}/scratch/{{point}}/model.safetensors",
        metrics=f"{RUN}/scratch/{{point}}/metrics.json",
        history=f"{RUN}/scratch/{{point}}/history.csv",
        provenance=f"{RUN}/scratch/{{point}}/provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/train_scratch/{point}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/train_scratch/{point}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu("dense"),
    params:
        settings=together("train_scratch", own_network=own_network, **recipe("dense")),
    script:
        "../scripts/train_scratch.py"


rule ablate_scratch:
    input:
        pruned=fitted_networks("samples"),
        scratch=fitted_networks("scratch"),
    output:
        csv="results/tables/{experiment}_ablation_scratch.csv",
        summary="results/tables/{experiment}_ablation_scratch.json",
        pdf="results/figures/{experiment}_ablation_scratch.pdf",
        png="results/figures/{experiment}_ablation_scratch.png",
    log:
        "results/logs/{experiment}/ablate_scratch.log",
    benchmark:
        "results/benchmarks/{experiment}/ablate_scratch.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("ablate_scratch", **figure_settings("ablation")),
    script:
        "../scripts/ablate_scratch.py"
