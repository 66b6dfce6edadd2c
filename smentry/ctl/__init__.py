"""smentryctl, the tool for the developer's machine: what the platform would do. PID 1 never imports it."""
