"""The tests, as a package: so that its own helpers are found before another package of that name."""
