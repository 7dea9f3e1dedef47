"""The help of fit, validate, test and predict on one screen, without torch; everything else goes to `cli`."""

import sys

from lit_inpaint.options import loading

DOES = {
    "fit": "Train a method. The run folder gets configuration, checkpoints, curves and pictures; a run that is\n"
    "stopped prints the command that resumes it.",
    "validate": "Evaluate a checkpoint on the validation images, with the metrics of training.",
    "test": "Evaluate a checkpoint on the test images, with the metrics of training. `benchmark` compares methods.",
    "predict": "Complete the test images of a data set as PNGs.",
}
_EXAMPLES = {
    "fit": """\
  lit-inpaint fit --config quickstart
  lit-inpaint fit --config deepfillv2/places2 --data.root photos --trainer.devices 4 --trainer.precision bf16-mixed
  lit-inpaint fit --config runs/places/config.yaml --ckpt_path auto --trainer.max_steps 200000""",
    "validate": "  lit-inpaint validate --config runs/places/config.yaml --ckpt_path runs/places/checkpoints/last.ckpt",
    "test": "  lit-inpaint test --config runs/places/config.yaml --ckpt_path runs/places/checkpoints/last.ckpt",
    "predict": "  lit-inpaint predict --config runs/places/config.yaml --ckpt_path runs/places/checkpoints/last.ckpt",
}
METRICS = """
Metrics
  --val_metrics '[fid]'     metrics that each validation logs beside PSNR, SSIM and L1, to stop or choose checkpoints by
"""
FITTING = """\
  --init_from CHECKPOINT    start from these weights (or zoo:NAME); the model and its arguments come with them
  --init_strict false       take the weights that fit by name and shape, and say which do not
  --allow-changes           resume with another global batch (the rest of the epoch is dealt anew), learning rate or
                            schedule (the optimisers keep their state)
"""
TEXT = """\
usage: lit-inpaint {command} [--config NAME] [--model NAME] [--data NAME] [--KEY VALUE]...

{does}

What and on what
  --config NAME             a YAML, or one of `lit-inpaint configs list`; may be repeated, the later one wins
  --model NAME              a method or a stage of one; --model.KEY VALUE sets an argument of it
  --data NAME               a data set; --data.KEY VALUE sets an argument of it, --data.mask NAME the law of its masks
  --trainer.KEY VALUE       a setting of Lightning's Trainer: max_steps, devices, precision, default_root_dir, ...
  --seed_everything N       default: 0

Weights
  --ckpt_path PATH          a checkpoint; `auto`: the newest of the run folder, if there is one
{fitting}  --weights ema|raw         the averaged weights, if the checkpoint has them, or the raw ones (default: ema)
{metrics}
Every setting, with its default and its meaning
  lit-inpaint {command} --model.help NAME      arguments of a method (also: `lit-inpaint methods NAME`)
  lit-inpaint {command} --data.help NAME       arguments of a data set
  lit-inpaint {command} --config NAME --print_config

Examples
{examples}

Methods, data sets and masks of one's own are named package.module.Name; --import MODULE makes them known by name.
"""


def help_text(command: str) -> str:
    fitting = FITTING if command == "fit" else ""
    metrics = METRICS if command in ("fit", "validate") else ""
    parts = {"does": DOES[command], "fitting": fitting, "metrics": metrics, "examples": _EXAMPLES[command]}
    return TEXT.format(command=command, **parts)


def main(argv: list[str]) -> int:
    """``argv`` begins with the command."""
    if {"-h", "--help"} & set(argv):
        print(help_text(argv[0]), end="")
        return 0
    with loading(argv[0]):
        from experiments.train import cli

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
