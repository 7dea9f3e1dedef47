"""fit, validate, test, predict, the preparation of data lists, and the quickstart."""
