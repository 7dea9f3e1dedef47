"""One method's numbers under one protocol: the record that `benchmark` writes and everything else reads."""
