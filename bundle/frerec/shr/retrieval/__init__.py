"""Which real images of a bank a query is compared with, and whether it is of their kind."""
