"""What the method promises: known pixels untouched, the hole never seen."""

import torch
from own_method import Residual


def test_what_lies_in_the_hole_changes_nothing_and_known_pixels_stay():
    method, image = Residual(width=4).eval(), torch.rand(1, 3, 24, 40) * 2 - 1
    mask = torch.zeros(1, 1, 24, 40)
    mask[..., 8:16, 10:30] = 1
    completed = method(image, mask)
    torch.testing.assert_close(completed, method(image * (1 - mask), mask))
    torch.testing.assert_close(completed * (1 - mask), image * (1 - mask))
