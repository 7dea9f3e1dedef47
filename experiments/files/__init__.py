"""Files of the user: written atomically, read with their errors named, found by name."""
