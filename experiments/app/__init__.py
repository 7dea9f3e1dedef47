"""`lit-inpaint app`: a web page to paint holes and compare methods."""
