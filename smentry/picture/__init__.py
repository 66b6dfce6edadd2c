"""The picture of a stop, from its record. A tool: PID 1 itself never imports it."""
