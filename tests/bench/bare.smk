# What the workflow is when nothing but its jobs and files is left: no settings, no functions beyond
# the parents in the sampling tree, no logs, benchmarks, resources or scripts. {run} stands for
# experiment and seed, {final} for budget and policy. tests/bench/scale.py writes its config.
PARENTS = config["parents"]
FIRST = "d100_w100_r100"  # the dense network, fine-tuned but not pruned
POINTS = [FIRST, *PARENTS]
RUNS = config["runs"]
FINALS = config["finals"]
RIVALS = [f for f in FINALS if not f.endswith("dwr")]
R = "results/{run}"


wildcard_constraints:
    run="[^/]+/[^/]+",
    final="[^/]+/[^/]+",


rule all:
    input:
        expand(R + "/budgets/{final}/card", run=RUNS, final=FINALS),
        "results/resources",


rule resources:
    input:
        expand(R + "/budgets/{final}/card", run=RUNS, final=FINALS),
        expand(R + "/budgets/{final}/metrics", run=RUNS, final=FINALS),
        "results/table",
    output:
        "results/resources",
    shell:
        "touch {output}"


rule table:
    input:
        expand(
            R + "/budgets/{final}/{file}",
            run=RUNS,
            final=FINALS,
            file=["metrics", "history", "provenance"],
        ),
        expand(R + "/dense/{file}", run=RUNS, file=["metrics", "test", "blocks", "history", "provenance"]),
        expand(R + "/samples/{point}/provenance", run=RUNS, point=POINTS[:-1]),
        expand(R + "/predictor/validation", run=RUNS),
    output:
        "results/table",
    shell:
        "touch {output}"


rule data:
    output:
        R + "/data/train",
        R + "/data/selection",
        R + "/data/test",
    shell:
        "touch {output}"


rule train:
    input:
        R + "/data/train",
        R + "/data/selection",
    output:
        R + "/dense/model",
        R + "/dense/metrics",
        R + "/dense/history",
        R + "/dense/provenance",
    shell:
        "touch {output}"


rule test:
    input:
        R + "/dense/model",
        R + "/data/test",
    output:
        R + "/dense/test",
    shell:
        "touch {output}"


rule analyze:
    input:
        R + "/dense/model",
    output:
        R + "/dense/structure",
    shell:
        "touch {output}"


rule rank:
    input:
        R + "/dense/model",
        R + "/data/train",
        R + "/data/selection",
    output:
        R + "/dense/blocks",
        R + "/dense/blocks_provenance",
    shell:
        "touch {output}"


rule prune:
    input:
        lambda w: f"results/{w.run}/{PARENTS[w.point]}/model",
        R + "/data/train",
        R + "/data/selection",
    output:
        R + "/samples/{point}/pruned",
        R + "/samples/{point}/pruned_provenance",
    shell:
        "touch {output}"


rule tune:
    input:
        lambda w: (
            f"results/{w.run}/dense/model"
            if w.point == FIRST
            else [
                f"results/{w.run}/samples/{w.point}/{file}"
                for file in ("pruned", "pruned_provenance")
            ]
        ),
        R + "/data/train",
        R + "/data/selection",
    output:
        R + "/samples/{point}/model",
        R + "/samples/{point}/metrics",
        R + "/samples/{point}/history",
        R + "/samples/{point}/provenance",
    shell:
        "touch {output}"


rule collect:
    input:
        [R + f"/samples/{p}/metrics" for p in POINTS[:-1]],
    output:
        R + "/samples_table",
    shell:
        "touch {output}"


rule holdout:
    input:
        [R + f"/samples/{p}/metrics" for p in POINTS[-1:]],
    output:
        R + "/holdout_table",
    shell:
        "touch {output}"


rule fit:
    input:
        R + "/samples_table",
    output:
        R + "/predictor/predictor",
    shell:
        "touch {output}"


rule validate:
    input:
        R + "/samples_table",
        R + "/holdout_table",
        R + "/predictor/predictor",
    output:
        R + "/predictor/validation",
    shell:
        "touch {output}"


rule optimum:
    input:
        R + "/predictor/predictor",
        R + "/samples_table",
        R + "/dense/structure",
        R + "/dense/blocks",
    output:
        R + "/budgets/{budget}/predicted",
    shell:
        "touch {output}"


rule choice:
    input:
        R + "/budgets/{budget}/predicted",
    output:
        R + "/budgets/{budget}/optimum",
    shell:
        "touch {output}"


rule target:
    input:
        R + "/dense/structure",
        R + "/dense/blocks",
    output:
        R + "/budgets/{final}/target",
    shell:
        "touch {output}"


rule prune_final:
    input:
        lambda w: f"results/{w.run}/budgets/"
        + (
            w.final.split("/")[0] + "/optimum"
            if w.final.endswith("dwr")
            else w.final + "/target"
        ),
        R + "/dense/model",
        R + "/data/train",
        R + "/data/selection",
    output:
        R + "/budgets/{final}/pruned",
        R + "/budgets/{final}/pruned_provenance",
    shell:
        "touch {output}"


rule tune_final:
    input:
        R + "/budgets/{final}/pruned",
        R + "/budgets/{final}/pruned_provenance",
        R + "/data/train",
    output:
        R + "/budgets/{final}/model",
        R + "/budgets/{final}/history",
        R + "/budgets/{final}/model_provenance",
    shell:
        "touch {output}"


rule evaluate:
    input:
        R + "/budgets/{final}/model",
        R + "/budgets/{final}/model_provenance",
        R + "/data/selection",
        R + "/data/test",
    output:
        R + "/budgets/{final}/metrics",
        R + "/budgets/{final}/provenance",
    shell:
        "touch {output}"


rule export:
    input:
        R + "/budgets/{final}/model",
    output:
        R + "/budgets/{final}/model.onnx",
        R + "/budgets/{final}/pictures.onnx",
    shell:
        "touch {output}"


rule card:
    input:
        R + "/budgets/{final}/model",
        R + "/budgets/{final}/metrics",
        R + "/budgets/{final}/model.onnx",
        R + "/budgets/{final}/pictures.onnx",
    output:
        R + "/budgets/{final}/card",
    shell:
        "touch {output}"
