"""Hole-area buckets: shares of an image that is hole, lower end excluded, upper end included."""

from bisect import bisect_left

Bucket = tuple[float, float]

_LIU: tuple[Bucket, ...] = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))  # Liu et al. 2018
BUCKETS: tuple[Bucket, ...] = ((0.0, 0.01), *_LIU, (0.6, 1.0))
RECORDED: tuple[Bucket, ...] = ((0.0, 0.1), *BUCKETS[2:])  # of a benchmark's records: the smallest holes as one


def bucket(share: float) -> int:
    """Index of the one of :data:`BUCKETS` that holds a hole share; no hole at all counts to the first.

    >>> bucket(0.1), bucket(0.1001), bucket(0.0), bucket(1.0)
    (1, 2, 0, 7)
    """
    return bisect_left([high for _, high in BUCKETS], share)


def inside(share: float, bucket: Bucket) -> bool:
    """
    >>> inside(0.2, (0.1, 0.2)), inside(0.1, (0.1, 0.2))
    (True, False)
    """
    return bucket[0] < share <= bucket[1]


def name_of(bucket: Bucket) -> str:
    """
    >>> name_of((0.1, 0.2))
    '0.1-0.2'
    """
    return f"{bucket[0]:.1f}-{bucket[1]:.1f}"


def bucket_of(name: str) -> Bucket:
    """
    >>> bucket_of("0.1-0.2")
    (0.1, 0.2)
    """
    low, high = map(float, name.split("-"))
    return low, high
