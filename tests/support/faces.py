"""The bits of drawn faces, for this process and for one with other vector units."""

import hashlib

from datamodules.faces import draw, painted

# {size: count}; the odd sizes leave a remainder in every vector loop.
EVEN, ODD = {64: 40, 96: 5}, {1: 5, 7: 20, 16: 20, 37: 20, 100: 5, 256: 2}


def digests() -> list[str]:
    found = []
    for function, sizes in ((draw, EVEN), (draw, ODD), (painted, ODD)):
        sha = hashlib.sha256()
        for size, count in sizes.items():
            for split in range(3):
                for index in range(count):
                    sha.update(function(0, split, index, size).tobytes())
        found.append(sha.hexdigest())
    return found
