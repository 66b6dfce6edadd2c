"""smentry: PID 1 of machine-learning training containers."""

__version__ = "0.1.0"
