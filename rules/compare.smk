# Compare: what the rival policies prune to, and all policies side by side.
#
# inputs:   {run}/dense/structure.json, blocks.json, latency.csv, metrics.json, test.json
#           {run}/samples.csv, predictor/predictor.json, samples/{point}/provenance.json
#           {run}/budgets/{budget}/optimum.json, {policy}/metrics.json, {policy}/provenance.json
#           {run}/dense/model.safetensors, {run}/data/{train,selection}.safetensors
#           {run}/budgets/{budget}/{policy}/history.csv
# outputs:  {run}/budgets/{budget}/{policy}/target.json of the rivals, target_provenance.json
#           tables/policies.{csv,md,tex}, runs.csv, left_out.csv, warnings.csv, failed.csv
#           tables/claims.{csv,md}, published.{csv,md}, ablations.{csv,md}
#           figures/{policies,ranking,profiles}.{pdf,png}
#           tables/recovery.{csv,md}, figures/{experiment}_recovery.{pdf,png}: part of the report but
#           not of `all`


rule choose_target:
    input:
        rounding=of("target_rounding"),
        blocks=of("target_blocks"),
        latency=of("latencies"),
        samples=of("used_samples"),
        predictor=of("used_predictor"),
        optimum=of("used_optimum"),
        structure=of("target_structure"),
    output:
        f"{FINAL}/target.json",
    log:
        f"{LOGS}/choose_target/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/choose_target/{{budget}}_{{policy}}.tsv"
    wildcard_constraints:
        policy="|".join(CHOOSING),
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("choose_target"),
        settings=of("rival"),
    script:
        "../scripts/choose_target.py"


rule descend_target:
    input:
        rounding=of("rounding"),
        blocks=f"{DENSE}/blocks.json",
        own=of("channel_code"),
        latency=of("latencies"),
        structure=of("structure"),
        dense=f"{DENSE}/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        target=f"{FINAL}/target.json",
        provenance=f"{FINAL}/target_provenance.json",
    log:
        f"{LOGS}/descend_target/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/descend_target/{{budget}}_{{policy}}.tsv"
    wildcard_constraints:
        policy="|".join(JUDGING),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("descend_target"),
        settings=of("descent"),
    script:
        "../scripts/descend_target.py"


rule tabulate_policies:
    input:
        final=PLAN.finals("metrics.json"),
        history=PLAN.finals("history.csv"),
        provenance=PLAN.finals("provenance.json"),
        dense=PLAN.every_run("dense/metrics.json"),
        test=PLAN.every_run("dense/test.json"),
        trained=PLAN.every_run("dense/provenance.json"),
        epochs=PLAN.every_run("dense/history.csv"),
        longer=PLAN.longer("metrics.json"),
        longer_test=PLAN.longer("test.json"),
        longer_provenance=PLAN.longer("provenance.json"),
        longer_history=PLAN.longer("history.csv"),
        samples=PLAN.every_run("samples.csv", method_only=True),
        sampling=PLAN.sampled("provenance.json"),
        blocks=PLAN.rankings("blocks.json"),
        ranking=PLAN.rankings("blocks_provenance.json"),
        optima=PLAN.searched("optimum.json"),
        targets=PLAN.targets(),
        trials=PLAN.searched("trials.csv"),
        trying=PLAN.tried("provenance.json"),
        forecasts=[f"{TABLES}/forecasts.csv"] if PLAN.method else [],
        timed=PLAN.timed("latency.csv"),
    output:
        runs=f"{TABLES}/runs.csv",
        left_out=f"{TABLES}/left_out.csv",
        warnings=f"{TABLES}/warnings.csv",
        failed=f"{TABLES}/failed.csv",
        csv=f"{TABLES}/policies.csv",
        md=f"{TABLES}/policies.md",
        tex=f"{TABLES}/policies.tex",
    log:
        "results/logs/tabulate_policies.log",
    benchmark:
        "results/benchmarks/tabulate_policies.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_policies"),
    script:
        "../scripts/tabulate_policies.py"


rule tabulate_claims:
    input:
        runs=f"{TABLES}/runs.csv",
        left_out=f"{TABLES}/left_out.csv",
        forecasts=[f"{TABLES}/forecasts.csv"] if PLAN.method else [],
        samples=PLAN.ablated("samples"),
        scratch=PLAN.ablated("scratch"),
    output:
        csv=f"{TABLES}/claims.csv",
        md=f"{TABLES}/claims.md",
    log:
        "results/logs/tabulate_claims.log",
    benchmark:
        "results/benchmarks/tabulate_claims.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_claims", "report/claims.yaml"),
    script:
        "../scripts/tabulate_claims.py"


rule tabulate_ablations:
    input:
        runs=f"{TABLES}/runs.csv",
        left_out=f"{TABLES}/left_out.csv",
    output:
        csv=f"{TABLES}/ablations.csv",
        md=f"{TABLES}/ablations.md",
    log:
        "results/logs/tabulate_ablations.log",
    benchmark:
        "results/benchmarks/tabulate_ablations.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_ablations"),
        settings={"compared": PLAN.compared},
    script:
        "../scripts/tabulate_ablations.py"


rule tabulate_published:
    input:
        f"{TABLES}/policies.csv",
    output:
        csv=f"{TABLES}/published.csv",
        md=f"{TABLES}/published.md",
    log:
        "results/logs/tabulate_published.log",
    benchmark:
        "results/benchmarks/tabulate_published.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_published", "report/published.csv"),
        settings={"networks": PLAN.networks},
    script:
        "../scripts/tabulate_published.py"


rule plot_policies:
    input:
        table=f"{TABLES}/policies.csv",
        runs=f"{TABLES}/runs.csv",
        left_out=f"{TABLES}/left_out.csv",
        warnings=f"{TABLES}/warnings.csv",
    output:
        pdf=f"{FIGURES}/policies.pdf",
        png=shown("policies", FIGURE_TITLES, f"{FIGURES}/policies.png"),
        ranking_pdf=f"{FIGURES}/ranking.pdf",
        ranking_png=shown("ranking", FIGURE_TITLES, f"{FIGURES}/ranking.png"),
        profiles_pdf=f"{FIGURES}/profiles.pdf",
        profiles_png=shown("profiles", FIGURE_TITLES, f"{FIGURES}/profiles.png"),
    log:
        "results/logs/plot_policies.log",
    benchmark:
        "results/benchmarks/plot_policies.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_policies"),
        style=STYLES["policies"],
    script:
        "../scripts/plot_policies.py"


rule tabulate_recovery:
    input:
        histories=PLAN.finals("history.csv"),
        metrics=PLAN.finals("metrics.json"),
    output:
        csv=f"{TABLES}/recovery.csv",
        md=f"{TABLES}/recovery.md",
    log:
        "results/logs/tabulate_recovery.log",
    benchmark:
        "results/benchmarks/tabulate_recovery.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_recovery"),
    script:
        "../scripts/tabulate_recovery.py"


rule plot_recovery:
    input:
        f"{TABLES}/recovery.csv",
    output:
        pdf=f"{FIGURES}/{{experiment}}_recovery.pdf",
        png=shown(
            "recovery",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_recovery.png",
            "{experiment}",
        ),
    log:
        "results/logs/{experiment}/plot_recovery.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_recovery.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_recovery"),
        style=STYLES["recovery"],
    script:
        "../scripts/plot_recovery.py"
