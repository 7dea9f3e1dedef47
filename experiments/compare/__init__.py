"""`lit-inpaint compare`: records and training curves as one page, Markdown, CSV, LaTeX."""
