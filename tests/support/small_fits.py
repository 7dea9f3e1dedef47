"""Words of the command line for fits of two small methods on the same images, masks and validation."""

SMALL_FIT = [
    "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "64",
    "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0", "--data.init_args.eval_repeats", "1",
    "--trainer.check_val_every_n_epoch", "null", "--trainer.accelerator", "cpu", "--trainer.num_sanity_val_steps", "0",
    "--trainer.enable_model_summary", "false", "--trainer.log_every_n_steps", "5",
]  # fmt: skip
METHODS = {
    "DeepFillV2": ["--model.init_args.width", "8", "--model.init_args.discriminator_width", "4"],
    "PartialConv": [
        "--model.init_args.levels", "4", "--model.init_args.width", "4",
        "--model.init_args.perceptual_weight", "0", "--model.init_args.style_weight", "0",
    ],
}  # fmt: skip
TRIAL = [  # of two steps; where the holes are is not said
    "lit-inpaint", "fit", "--model=DeepFillV2", "--model.init_args.width=8", "--model.init_args.discriminator_width=4",
    "--data=SamplePhotos", "--data.init_args.image_size=32", "--data.init_args.num_workers=0",
    "--data.init_args.limit_eval=2", "--trainer.max_steps=2", "--trainer.val_check_interval=1",
    "--trainer.check_val_every_n_epoch=null", "--trainer.accelerator=cpu", "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
