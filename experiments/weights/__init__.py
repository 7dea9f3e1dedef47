"""Checkpoints in and out: `import-weights`, `assemble`, `export`."""
