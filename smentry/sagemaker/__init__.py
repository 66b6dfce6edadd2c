"""The contract of the training container: files and names. It knows nothing of processes."""
