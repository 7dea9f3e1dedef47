"""Published programs trained on our data: ``python -m benchmarks.published_training --help``."""
