"""`lit-inpaint compare`: show records and training curves as one page, Markdown, CSV, LaTeX."""
