# Compare: what the rival policies prune to, and all policies side by side.


rule choose_target:
    input:
        unpack(order_of_removal),
        unpack(latencies),
        structure=f"{RUN}/dense/structure.json",
    output:
        f"{FINAL}/target.json",
    log:
        "results/logs/{experiment}/seed{seed}/choose_target/{budget}_{policy}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/choose_target/{budget}_{policy}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together(
            "choose_target",
            **budget_limits(),
            width_step=setting("lattice.width_step", policy_in("width")),
            side_step=setting("lattice.side_step", policy_in("resolution")),
            round_to=setting("pruning.round_to", policy_in("width")),
        ),
    script:
        "../scripts/choose_target.py"


rule tabulate_policies:
    input:
        final=all_final("metrics.json"),
        provenance=all_final("provenance.json"),
        dense=all_runs("dense/metrics.json"),
        test=all_runs("dense/test.json"),
        search=searches(),
    output:
        runs="results/tables/runs.csv",
        left_out="results/tables/left_out.csv",
        warnings="results/tables/warnings.csv",
        csv=report("results/tables/policies.csv", category="Tables"),
        md="results/tables/policies.md",
        tex="results/tables/policies.tex",
    log:
        "results/logs/tabulate_policies.log",
    benchmark:
        "results/benchmarks/tabulate_policies.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("tabulate_policies"),
    script:
        "../scripts/tabulate_policies.py"


rule plot_policies:
    input:
        table="results/tables/policies.csv",
        warnings="results/tables/warnings.csv",
    output:
        pdf="results/figures/policies.pdf",
        png=report("results/figures/policies.png", category="Figures"),
    log:
        "results/logs/plot_policies.log",
    benchmark:
        "results/benchmarks/plot_policies.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("plot_policies", **figure_settings("policies")),
    script:
        "../scripts/plot_policies.py"
