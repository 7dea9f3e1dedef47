"""`lit-inpaint vote`: ask people which completion looks more real."""
