# Data: pictures read once for all seeds; the images of an experiment, split into three files.
#
# inputs:   the data set's own files, where it has any
# outputs:  {experiment}/data/pictures.safetensors
#           {run}/data/{train,selection,test}.safetensors


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
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
        # No parameter: what was fetched stays as it is when fetching is forbidden again.
        download=of("may_download"),
    params:
        code=digest_of("read_pictures"),
        settings=of("images"),
    script:
        "../scripts/read_pictures.py"


rule prepare_data:
    input:
        pictures=of("pictures"),
    output:
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
        test=f"{RUN}/data/test.safetensors",
    log:
        f"{LOGS}/prepare_data.log",
    benchmark:
        f"{BENCHMARKS}/prepare_data.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
        # No parameter: what was fetched stays as it is when fetching is forbidden again.
        download=of("may_download"),
    params:
        code=digest_of("prepare_data"),
        settings=of("data"),
    script:
        "../scripts/prepare_data.py"
