"""The contract of the training container: files, names, and what is done before the program. It knows nothing of the init."""
