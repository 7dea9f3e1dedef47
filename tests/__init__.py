"""One folder a floor, helpers in support/. A package: torch-fidelity installs one of this name, which would win."""
