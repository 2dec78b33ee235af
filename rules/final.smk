# Final: prune the dense network to a policy's target, fine-tune it, judge it once, export it.


rule prune_final:
    input:
        unpack(order_of_removal),
        own=own_file("pruning.channel_criterion", policy_in("dwr", "width")),
        target=final_target,
        dense=f"{RUN}/dense/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        pruned=f"{FINAL}/pruned.safetensors",
        provenance=f"{FINAL}/pruned_provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/prune_final/{budget}_{policy}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/prune_final/{budget}_{policy}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu(),
    params:
        settings=together(
            "prune_final",
            own_network=own_network,
            channel_criterion=setting(
                "pruning.channel_criterion", policy_in("dwr", "width")
            ),
            round_to=setting("pruning.round_to", policy_in("dwr", "width")),
            probe_images=setting("pruning.probe_images"),
        ),
    script:
        "../scripts/prune_final.py"


rule finetune_final:
    input:
        unpack(teacher("final")),
        pruned=f"{FINAL}/pruned.safetensors",
        provenance=f"{FINAL}/pruned_provenance.json",
        train=f"{RUN}/data/train.safetensors",
    output:
        model=f"{FINAL}/model.safetensors",
        history=f"{FINAL}/history.csv",
        provenance=f"{FINAL}/model_provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/finetune_final/{budget}_{policy}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/finetune_final/{budget}_{policy}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu("final"),
    params:
        settings=together("finetune_final", own_network=own_network, **recipe("final")),
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
        "results/logs/{experiment}/seed{seed}/evaluate_final/{budget}_{policy}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/evaluate_final/{budget}_{policy}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu(),
    params:
        settings=together("evaluate_final", own_network=own_network),
    script:
        "../scripts/evaluate_final.py"


rule export_onnx:
    input:
        model=f"{FINAL}/model.safetensors",
    output:
        f"{FINAL}/model.onnx",
    log:
        "results/logs/{experiment}/seed{seed}/export_onnx/{budget}_{policy}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/export_onnx/{budget}_{policy}.tsv"
    group:
        one_submission("experiment", "seed", "budget", "policy")
    conda:
        "../envs/torch.yaml"
    resources:
        **on_cpu(),
    params:
        settings=together("export_onnx", own_network=own_network),
    script:
        "../scripts/export_onnx.py"
