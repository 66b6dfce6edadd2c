"""The init. It knows processes and signals, and nothing of SageMaker."""
