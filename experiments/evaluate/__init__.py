"""A protocol's images through a method: protocol, measurements, summary, `benchmark`."""
