"""PyTorch: a stop that all ranks agree on, and a run that goes on where it was. It launches nothing and knows no model."""

from smentry.training.pytorch.agreement import AgreedSteps, AgreedStop
from smentry.training.pytorch.state import TrainingState
from smentry.training.pytorch.workers import keep_workers

__all__ = ["AgreedSteps", "AgreedStop", "TrainingState", "keep_workers"]
