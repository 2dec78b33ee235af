# prune3d: prune a trained CNN along depth, width and resolution together, to a budget.
#
# Everything that is written lies in results/:
#
#   {experiment}/data/pictures.safetensors                               picture files, read once
#   {experiment}/seed{seed}/data/{train,selection,test}.safetensors      the images, split
#   {experiment}/seed{seed}/dense/model.safetensors                      the trained network
#                                 metrics.json, provenance.json, history.csv
#                                 structure.json      what can be pruned, and what it costs
#                                 blocks.json         its blocks in the order of removal
#                                 test.json           accuracy on the test images
#                                 latency.csv         milliseconds of pruned networks, where needed
#   {experiment}/seed{seed}/samples/{point}/pruned.safetensors           before fine-tuning
#                                           model.safetensors            after it
#                                           metrics.json, provenance.json, history.csv
#   {experiment}/seed{seed}/samples.csv                                  all fitted samples
#   {experiment}/seed{seed}/holdout.csv                                  those only predicted
#   {experiment}/seed{seed}/predictor/{predictor,validation}.json
#   {experiment}/seed{seed}/budgets/{budget}/predicted.json, tied.csv    best predicted, its equals
#                                   {budget}/candidates.json             networks that are tried
#                                   {budget}/trials/{round}{place}/model.safetensors
#                                                     metrics.json, provenance.json, history.csv
#                                   {budget}/optimum.json, trials.csv    the best of them
#                                   {budget}/{policy}/target.json        what to prune to (rivals)
#                                   {budget}/{policy}/{pruned,model}.safetensors, model.onnx
#                                                     metrics.json, provenance.json, history.csv
#   logs, benchmarks                                                     of each job
#   tables/*.{csv,md,tex}, figures/*.{pdf,png}
#
# {experiment}, {budget} and {policy} are names from the config, {point} is
# d{depth}_w{width}_r{resolution} in percent, and the policy `dwr` is the method itself.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: str(Path(workflow.basedir) / "config/config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/dense.smk"
include: "rules/collect.smk"
include: "rules/predict.smk"
include: "rules/optimize.smk"
include: "rules/final.smk"
include: "rules/compare.smk"
include: "rules/paper.smk"
include: "rules/ablate.smk"


# What a run is for. A rule whose output nothing else needs belongs here.
DELIVERED = [
    "results/tables/policies.csv",
    *(["results/tables/predictors.csv"] if METHOD else []),
    *expand("results/figures/policies.{kind}", kind=["pdf", "png"]),
    *expand(
        "results/figures/{experiment}_{figure}.{kind}",
        experiment=METHOD,
        figure=["dimensions", "predictions"],
        kind=["pdf", "png"],
    ),
    *[
        f"results/figures/{experiment}_seed{SEEDS[0]}_{budget['name']}_surface.{kind}"
        for experiment in METHOD
        for budget in EXPERIMENTS[experiment]["budgets"]
        for kind in ("pdf", "png")
    ],
    *all_final("model.onnx"),
]


include: "rules/resources.smk"


rule all:
    default_target: True
    input:
        DELIVERED,
        "results/tables/resources.csv",
