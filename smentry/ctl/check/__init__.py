"""The verb check: what would go wrong on the platform, found before."""
