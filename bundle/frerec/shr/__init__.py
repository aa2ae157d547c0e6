"""Statistical high-frequency replacement: reference bank, retrieval, replacement."""
