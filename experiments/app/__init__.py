"""`lit-inpaint app`: a page on which one paints the hole and compares methods."""
