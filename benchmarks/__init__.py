"""Speed, parity and what only a GPU shows. A package, so that no installed one of this name wins."""
