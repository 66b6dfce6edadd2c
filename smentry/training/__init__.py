"""What training code imports: a stop that it hears of in time, checkpoints that are whole, and why it failed.

It needs the standard library only, and nothing of the rest of smentry: it works under any init, and under none. What
goes with a framework is a module of its own beside these, and is loaded only by whom imports it.
"""

from smentry.training.checkpoint import checkpoints, latest_checkpoint, save_checkpoint
from smentry.training.failure import report_failure
from smentry.training.stop import GracefulStop, Steps

__all__ = ["GracefulStop", "Steps", "checkpoints", "latest_checkpoint", "report_failure", "save_checkpoint"]
