#!/bin/bash
# One machine, all its GPUs; if a process dies, all are started again, three times: RUN=runs/X bash torchrun.sh [ARGUMENTS OF fit]
set -euo pipefail

RUN=${RUN:-runs/deepfillv2_places2} GPUS=${GPUS:-4}
if (($# == 0)); then                   # 4 devices x 4 = the published global batch of 16
    set -- --config deepfillv2/places2 --data.init_args.root "${DATA:-/data/places2}" --data.init_args.batch_size 4
fi
exec torchrun --standalone --max-restarts 3 --nproc-per-node "$GPUS" -m experiments fit "$@" \
    --trainer.default_root_dir "$RUN" --trainer.devices "$GPUS" --ckpt_path auto
