"""What a container finds under /opt/ml: where data comes from, and how it is laid out for each host. It starts no container."""
