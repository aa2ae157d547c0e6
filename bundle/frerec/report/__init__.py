"""What the reports of audit and study have in common."""
