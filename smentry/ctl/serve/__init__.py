"""The verb serve: an endpoint of one container, asked and stopped."""
