"""The reference bank: what it keeps of real images, its file, how it is built."""
