"""Launchers, which start a program several times on several hosts: their command lines. It knows names, and no processes."""
