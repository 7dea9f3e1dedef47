"""Where completions come from: the one thing in which a network run here differs from images made elsewhere."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from experiments.evaluate.protocol import Protocol as Rules
from experiments.records.record import MethodFacts, hash_of
from experiments.run import Run
from experiments.run.journal import content_of
from lit_inpaint import hub, zoo
from lit_inpaint.backbones import sha256
from lit_inpaint.calls import counted
from lit_inpaint.checkpoints import read_tensors
from lit_inpaint.load import load_method, own_sources
from lit_inpaint.memory import peak_bytes, reset_peak
from lit_inpaint.method import Method, known_change, parameter_counts
from lit_inpaint.plugins import sources, with_file
from lit_inpaint.recipes import is_recipe
from lit_inpaint.sampling import choose, sampler_of
from masks.convention import InpaintingBatch


@dataclass(frozen=True)
class Completion:
    """One batch, completed.

    Args:
        samples: Completions (n, B, 3, H, W) in [-1, 1]; the first of each image is measured, all serve its diversity.
        seconds: Per image; None where it was not measured.
        memory: Peak in bytes; None where it is not known.
        network_calls: Per image; None where it is not known.
        adaptations: What was done to each image that the network cannot take as it is.
        files: Content of a PNG with exactly the pixels of each first sample; None where there is no such file.
        moved: How far the known pixels of each image had moved before they were pasted back, in 8-bit levels, the mean
            over its completions; None for methods that leave them where they are.
    """

    samples: Tensor
    seconds: float | None
    memory: int | None
    network_calls: int | None
    adaptations: list[str | None]
    files: Sequence[bytes | None] = ()
    moved: list[float] | None = None


class RefusedError(ValueError):
    """The method, which is loaded, does not take these images and holes, and will not the next time."""


class Source(Protocol):
    """Completions of the images of a protocol."""

    label: str

    @property
    def diverse(self) -> bool:
        """Whether several completions of one image differ."""

    def identity(self) -> dict[str, str]:
        """What tells its completions from others: kept in the journal, and compared before it is resumed."""

    def open(self, device: torch.device) -> None:
        """Get ready to complete; called once, before anything is measured."""

    def complete(self, batch: InpaintingBatch) -> Completion:
        """Complete a batch, whose tensors are on the device."""

    def described(self) -> MethodFacts:
        """What a record says of its method, as far as it is known."""


@dataclass
class Network:
    """A method run here: a class without weights, a checkpoint, or a commit of a repository of the Hub."""

    method: str
    label: str
    rules: Rules
    weights: Literal["ema", "raw"] = "ema"
    sampler: tuple[str, ...] = ()
    module: Method | None = field(default=None, init=False)

    @property
    def diverse(self) -> bool:
        return self.module is not None and self.module.diverse

    def identity(self) -> dict[str, str]:
        own = self._sampler_sources()
        code = {"sampler_code": hash_of(own)} if own else {}
        return {"method": content_of(self.method), "weights": self.weights} | code

    def _sampler_sources(self) -> dict[str, str]:
        """The code of a sampler that is not ours."""
        return sources([type(sampler_of(self.sampler)).__module__]) if self.sampler else {}

    def open(self, device: torch.device) -> None:
        self.module = load_method(self.method, self.weights, device)
        self.module.told = self.rules.prompts or None
        if self.sampler:
            choose(self.module, self.sampler)

    @torch.no_grad()
    def complete(self, batch: InpaintingBatch) -> Completion:
        assert self.module is not None, "open() comes first"
        device, names = batch.image.device, [str(name) for name in batch.name]
        reset_peak(device)
        self.module.moved = [] if self.module.moves_known else None
        with counted(self.module) as calls:
            start = time.perf_counter()
            try:
                samples = complete(self.module, batch.image, batch.mask, names, self.rules)
            except ValueError as error:
                raise RefusedError(str(error)) from error
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = (time.perf_counter() - start) / len(names)
        memory = peak_bytes(device)
        adaptations = [self.module.adaptation(mask) for mask in batch.mask]
        # A network of fixed size is called for each image, any other for the batch, unless the method says so.
        one_by_one = self.module.one_by_one or any(adaptations)
        if grey := self.module.recoloured(batch.image.shape[1]):
            adaptations = [", ".join(filter(None, (said, grey))) for said in adaptations]
        network_calls = round(calls.count / len(names)) if one_by_one else calls.count
        return Completion(samples, seconds, memory, network_calls, adaptations, moved=self._moved(samples, batch))

    def _moved(self, samples: Tensor, batch: InpaintingBatch) -> list[float] | None:
        assert self.module is not None
        if self.module.moved is None:
            return None
        raw = self.rules.measured == "raw"
        found = [known_change(sample, batch.image, batch.mask) for sample in samples] if raw else self.module.moved
        return torch.stack(found).mean(0).tolist()

    def described(self) -> MethodFacts:
        _, path = with_file(self.method) or ("", Path(self.method))
        about = MethodFacts(name=self.method, label=self.label, weights="none", parameters={})
        about.sources = own_sources(self.method) | self._sampler_sources() or None
        if self.module is not None:
            about.name, about.weights = type(self.module).__name__, self.module.loaded_weights
            about.parameters = parameter_counts(self.module)
        if at := hub.address(self.method):
            about.repository, about.revision = at
            with suppress(ValueError):  # it cannot be read, and the record says why
                about.images_seen = hub.config_of(at).images_seen
        elif (name := zoo.entry(self.method)) is not None:
            about.checkpoint = self.method
            with suppress(ValueError):
                card = zoo.card_of(name)
                about.name, about.seed, about.images_seen = card.method, card.seed, card.images_seen
                about.checkpoint_sha256 = card.file_sha256
        elif is_recipe(path):
            about.name, about.given = about.name if self.module is not None else path.stem, self.method
            if self.module is not None:
                about.settings = self.module.facts()
                about.repository, about.revision = self.module.origin
        elif path.is_file():
            about.checkpoint, about.checkpoint_sha256 = str(path), sha256(path)
            with suppress(Exception):  # a foreign file has none of these
                content = read_tensors(path)
                about.name, about.seed = str(content.get("method", about.name)), content.get("seed")
                states = [s for key, s in content.get("callbacks", {}).items() if key.startswith("Throughput")]
                about.images_seen = int(states[0]["images_seen"]) if states else None
                history = Run(path.parents[1]).history
                if history.facts:
                    about.seed, about.run = history.seed, str(path.parents[1])
        return about


def complete(module: Method, image: Tensor, mask: Tensor, names: list[str], rules: Rules) -> Tensor:
    """Completions (n, B, 3, H, W); the first is what ``validate`` and ``test`` would measure."""
    if rules.measured == "composite":
        if rules.samples > 1:
            return module.sample(image, mask, rules.samples, rules.seed, names)
        return module.complete_unchecked(image, mask, **module.draws(rules.seed, names))[None]
    height, width = image.shape[-2:]
    if not module.takes(height, width) or image.shape[1] != module.channels:
        raise ValueError(f"raw output of {width}x{height} images cannot be measured: the network adapts them.")
    draws = [module.draws(rules.seed, names, number) for number in range(rules.samples)]
    return torch.stack([module.predict(image, mask, **keyed).clamp(-1, 1) for keyed in draws])
