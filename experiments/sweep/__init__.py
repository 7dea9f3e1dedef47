"""`lit-inpaint sweep`: trials over a search space, offline and resumable."""
