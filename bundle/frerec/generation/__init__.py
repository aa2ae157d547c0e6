"""A compact class-conditional generator, for users who bring no generated images."""
