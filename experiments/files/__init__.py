"""User files: atomic writes, reads with clear errors, lookup by name."""
