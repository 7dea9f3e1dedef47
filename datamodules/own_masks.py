"""The mask files that belong to the images of a data set."""

from datamodules.files import Files
from masks import MaskFolder, OwnMasks
from masks.files import read_mask
from masks.generator import Mask, MaskGenerator
from masks.own import laws_in


class OwnMaskFiles:
    """One mask file per image, for every generator inside ``mask`` that does not draw: looked up once, before workers
    start.

    >>> from masks import Wide
    >>> bool(OwnMaskFiles(Files(".", []), Wide()))
    False

    Args:
        files: The images.
        mask: Distribution of the holes.
        first: Number of images that are used, if not all are.

    Raises:
        ValueError: Naming the first image without a mask.
    """

    def __init__(self, files: Files, mask: MaskGenerator, first: int | None = None) -> None:
        self.images = files
        self.of: dict[MaskGenerator, Files] = {}
        for law in laws_in(mask):
            if isinstance(law, MaskFolder) and law.pairing != "draw":
                self.of[law] = Files(law.root, law.pairs(files.names(), first))
            elif isinstance(law, OwnMasks):
                if files.masks is None:
                    raise ValueError(
                        f"OwnMasks takes the mask that the data set names for each image, and {files.root} names none. "
                        "Give a list with a column mask (ImageFolder's argument lists), or MaskFolder with "
                        "pairing='name'."
                    )
                self.of[law] = files.masks

    def __bool__(self) -> bool:
        return bool(self.of)

    def path(self, law: MaskGenerator, index: int) -> str:
        return self.of[law].path(index)

    def read(self, law: MaskGenerator, index: int) -> Mask:
        """The mask of image ``index`` at the size of its file.

        Raises:
            ValueError: Naming the file: unreadable, no mask, or without a hole.
        """
        assert isinstance(law, MaskFolder | OwnMasks)
        masks = self.of[law]
        mask = read_mask(masks.path(index), law.white, law.threshold, law.alpha, masks.content(index))
        if not mask.any():
            raise ValueError(
                f"{masks.path(index)}: every pixel is known, so there is nothing to fill. Check the file and the "
                "settings white, threshold and alpha, or remove it."
            )
        return mask
