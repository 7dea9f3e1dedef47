"""Train a published program on drawn faces at 64 px, for as long as a method of the study table1, and complete a kit.

    lit-inpaint protocol export table1_64 --masks wide half --out kit
    python -m benchmarks.published_training kit completions --public DIR --seconds 1200
    lit-inpaint benchmark table1_64 --masks wide half --methods Published=outputs:completions --out results

naoto0804/pytorch-inpainting-with-partial-conv: its network cut to the five levels that 64 px take, its loss, rate and
batch in the order of train.py; holes are LaMa's training masks.
"""

import argparse
import importlib
import time
from itertools import chain, count
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.optim import Adam

from benchmarks.published import checkout
from datamodules import DrawnFaces
from experiments.files.write import write_png
from lit_inpaint.backbones import features_state
from masks import LaMaTraining
from masks.convention import composite, from_levels, to_levels

LEVELS, BATCH, RATE, SIZE = 5, 16, 2e-4, 64


def vgg16(pretrained: bool = True) -> torch.nn.Module:
    vgg = torchvision.models.vgg
    network: torch.nn.Module = vgg.VGG(vgg.make_layers(vgg.cfgs["D"]))
    network.get_submodule("features").load_state_dict(features_state("vgg16"))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kit", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--public", type=Path, required=True, help="folder of the checkouts (benchmarks/public.md)")
    parser.add_argument("--seconds", type=float, default=1200, help="of one core")
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    checkout(a.public, "naoto0804/pytorch-inpainting-with-partial-conv", "places2.py")
    options = importlib.import_module("opt")
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (options.MEAN, options.STD))
    with mock.patch("torchvision.models.vgg16", vgg16):
        net, loss = importlib.import_module("net"), importlib.import_module("loss")
        criterion = loss.InpaintingLoss(net.VGG16FeatureExtractor())
    model = net.PConvUNet(layer_size=LEVELS)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], RATE)
    data = DrawnFaces(mask=LaMaTraining(), image_size=SIZE, batch_size=BATCH, num_workers=0)
    data.setup("fit")
    model.train()  # returns nothing there
    begin, steps = time.process_time(), 0
    for batch in chain.from_iterable(data.train_dataloader() for _ in count()):
        truth, known = ((batch.image + 1) / 2 - mean) / std, (1 - batch.mask).expand(-1, 3, -1, -1).contiguous()
        output, _ = model(truth * known, known)
        found = criterion(truth * known, known, output, truth)
        optimizer.zero_grad()
        sum(weight * found[name] for name, weight in options.LAMBDA_DICT.items()).backward()
        optimizer.step()
        steps += 1
        if time.process_time() - begin >= a.seconds:
            break
    print(f"{steps} steps of {BATCH} images in {time.process_time() - begin:.0f} s of one core", flush=True)
    model.eval()
    for path in sorted(a.kit.glob("*/images/**/*.png")):
        name = path.relative_to(a.kit).parts
        image = from_levels(torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None])
        hole = torch.from_numpy(np.asarray(Image.open(a.kit / name[0] / "masks" / Path(*name[2:]))) > 127)[None, None]
        known = (~hole).float().expand(-1, 3, -1, -1)
        with torch.no_grad():
            output, _ = model(((image + 1) / 2 - mean) / std * known, known)
        filled = composite((2 * (output * std + mean) - 1).clamp(-1, 1), image, hole.float())
        pixels = to_levels(filled)[0].permute(1, 2, 0).to(torch.uint8).numpy()
        write_png(pixels, a.out / name[0], Path(*name[2:]).as_posix())


if __name__ == "__main__":
    main()
