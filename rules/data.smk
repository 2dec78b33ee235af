# Data: pictures read once for all seeds; the images of an experiment, split into three files.


rule read_pictures:
    output:
        PICTURES,
    log:
        "results/logs/{experiment}/read_pictures.log",
    benchmark:
        "results/benchmarks/{experiment}/read_pictures.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_cpu(),
        # No parameter: what was fetched stays as it is when fetching is forbidden again.
        download=may_download,
    params:
        settings=together(
            "read_pictures",
            name=setting("data.name"),
            root=setting("data.root", data_uses("root")),
            side=setting("data.side", data_uses("side")),
            resident_gb=setting("data.resident_gb", data_uses("resident_gb")),
        ),
    script:
        "../scripts/read_pictures.py"


rule prepare_data:
    input:
        unpack(pictures),
    output:
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
        test=f"{RUN}/data/test.safetensors",
    log:
        "results/logs/{experiment}/seed{seed}/prepare_data.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/prepare_data.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_cpu(),
        # No parameter: what was fetched stays as it is when fetching is forbidden again.
        download=may_download,
    params:
        settings=together(
            "prepare_data",
            **settings("data.glyphs", data_uses("glyphs")),
            name=setting("data.name"),
            root=setting("data.root", data_uses("root")),
            side=setting("data.side", data_uses("side")),
            resident_gb=setting("data.resident_gb", data_uses("resident_gb")),
            normalization=setting("data.normalization"),
            test_fraction=setting("data.test_fraction", data_uses("test_fraction")),
            selection_fraction=setting("data.selection_fraction"),
        ),
    script:
        "../scripts/prepare_data.py"
