"""What a protocol's hash covers: everything that two comparable numbers share."""

from collections.abc import Sequence
from typing import Any

from experiments.records.record import hash_of
from lit_inpaint.metrics import definition

LISTED = 1000  # images: longer lists are stored in a definition as one hash


def define(
    fingerprint: dict[str, Any],
    metrics: Sequence[str],
    measured: str = "composite",
    round_to_8_bits: bool = True,
    samples: int = 1,
    seed: int = 0,
    prompts: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The hashed definition: the data's fingerprint, how images are processed, the metrics, and any prompts."""
    # The mask distribution is stored beside the definition, which holds the masks' bits and must not hold a path.
    data = {key: value for key, value in fingerprint.items() if key != "mask"}
    return {
        **data,
        **{key: shortened(data[key]) for key in ("images", "masks")},
        "pairing": "by image name",
        "measured": measured,
        "rounding": "8 bits" if round_to_8_bits else "none",
        "samples": samples,
        "sample_seed": seed,
        "metrics": {name: definition(name) for name in metrics},
        **({"prompts": shortened(prompts)} if prompts else {}),
    }


def shortened(hashes: dict[str, str]) -> dict[str, Any]:
    """The hashes of files, or their count and one hash of all where they are many."""
    return hashes if len(hashes) <= LISTED else {"count": len(hashes), "sha256": hash_of(hashes)}
