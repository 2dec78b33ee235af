# Final: prune the dense network to a policy's target, fine-tune it, judge it once, and make of its
# folder one that stands alone.
#
# inputs:   {run}/data/{train,selection,test}.safetensors
#           {run}/dense/model.safetensors, blocks.json
#           {run}/budgets/{budget}/optimum.json, or {policy}/target.json of a rival
#           {run}/latency.csv, where cards tell it
# outputs:  {run}/budgets/{budget}/{policy}/steps/{step}/model.safetensors, history.csv, provenance.json,
#             where it is pruned in several steps
#           {run}/budgets/{budget}/{policy}/pruned.safetensors, pruned_provenance.json
#           {run}/budgets/{budget}/{policy}/model.safetensors, model_provenance.json, history.csv
#           {run}/budgets/{budget}/{policy}/metrics.json, provenance.json
#           {run}/budgets/{budget}/{policy}/model.onnx, pictures.onnx, README.md
#           {run}/budgets/{budget}/{policy}/model.pt2, where it is asked for


rule step_final:
    input:
        rounding=of("rounding"),
        blocks=of("removal_order"),
        own=of("channel_code"),
        target=of("target"),
        origin=of("origin"),
        provenance=of("origin_provenance"),
        teacher=of("final_teacher"),
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{STEP}/model.safetensors",
        history=f"{STEP}/history.csv",
        provenance=f"{STEP}/provenance.json",
    log:
        f"{LOGS}/step_final/{{budget}}_{{policy}}_{{step}}.log",
    benchmark:
        f"{BENCHMARKS}/step_final/{{budget}}_{{policy}}_{{step}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("final_minutes"),
        mem_mb=of("memory_mb", "final"),
    params:
        code=digest_of("step_final"),
        settings=of("step"),
    script:
        "../scripts/step_final.py"


rule prune_final:
    input:
        rounding=of("rounding"),
        blocks=of("removal_order"),
        own=of("channel_code"),
        target=of("target"),
        origin=of("origin"),
        provenance=of("origin_provenance"),
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        pruned=f"{FINAL}/pruned.safetensors",
        provenance=f"{FINAL}/pruned_provenance.json",
    log:
        f"{LOGS}/prune_final/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/prune_final/{{budget}}_{{policy}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("prune_final"),
        settings=of("final_pruning"),
    script:
        "../scripts/prune_final.py"


rule finetune_final:
    input:
        teacher=of("final_teacher"),
        finetuned=of("finetuned"),
        pruned=f"{FINAL}/pruned.safetensors",
        provenance=f"{FINAL}/pruned_provenance.json",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{FINAL}/model.safetensors",
        history=f"{FINAL}/history.csv",
        provenance=f"{FINAL}/model_provenance.json",
    log:
        f"{LOGS}/finetune_final/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/finetune_final/{{budget}}_{{policy}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("final_minutes"),
        mem_mb=of("memory_mb", "final"),
    params:
        code=digest_of("finetune_final"),
        settings=of("final_training"),
    script:
        "../scripts/finetune_final.py"


rule evaluate_final:
    input:
        model=f"{FINAL}/model.safetensors",
        provenance=f"{FINAL}/model_provenance.json",
        selection=f"{RUN}/data/selection.safetensors",
        test=f"{RUN}/data/test.safetensors",
    output:
        metrics=f"{FINAL}/metrics.json",
        provenance=f"{FINAL}/provenance.json",
    log:
        f"{LOGS}/evaluate_final/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_final/{{budget}}_{{policy}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("evaluate_final"),
        settings=of("network"),
    script:
        "../scripts/evaluate_final.py"


rule export_program:
    input:
        model=f"{FINAL}/model.safetensors",
    output:
        f"{FINAL}/model.pt2",
    log:
        f"{LOGS}/export_program/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/export_program/{{budget}}_{{policy}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("export_program"),
        settings=of("network"),
    script:
        "../scripts/export_program.py"


rule export_onnx:
    input:
        model=f"{FINAL}/model.safetensors",
    output:
        onnx=f"{FINAL}/model.onnx",
        pictures=f"{FINAL}/pictures.onnx",
    log:
        f"{LOGS}/export_onnx/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/export_onnx/{{budget}}_{{policy}}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("export_onnx"),
        settings=of("network"),
    script:
        "../scripts/export_onnx.py"


rule write_card:
    input:
        timed=of("timed"),
        program=of("program"),
        model=f"{FINAL}/model.safetensors",
        metrics=f"{FINAL}/metrics.json",
        onnx=f"{FINAL}/model.onnx",
        pictures=f"{FINAL}/pictures.onnx",
    output:
        f"{FINAL}/README.md",
    log:
        f"{LOGS}/write_card/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/write_card/{{budget}}_{{policy}}.tsv"
    conda:
        "../envs/torch.yaml"
    params:
        code=digest_of("write_card"),
        settings=of("carded"),
    script:
        "../scripts/write_card.py"
