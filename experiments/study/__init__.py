"""``lit-inpaint study``: methods x seeds x masks as a Snakemake workflow of our own commands."""
