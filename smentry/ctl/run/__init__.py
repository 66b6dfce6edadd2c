"""The verb run: the course of a job from its request to its result."""
