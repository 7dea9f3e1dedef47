"""`lit-inpaint inpaint`: complete a user's own files."""
