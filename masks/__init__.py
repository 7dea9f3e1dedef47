"""Mask generators: numpy and OpenCV only, no Lightning."""
