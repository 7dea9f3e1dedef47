"""fit, validate, test, predict, and what goes before them: data lists, the quickstart."""
