"""Where the hosts of a job run: the local container engine, or plain processes. It knows nothing of requests."""
