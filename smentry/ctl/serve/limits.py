"""What hosting promises and asks of a container. Facts only."""

from __future__ import annotations

# "Custom Inference Code with Hosting Services", SageMaker AI Developer Guide.
PORT = 8080
PING_SECONDS = 2.0
"""For an answer to /ping."""
STARTUP_SECONDS = 8 * 60.0
"""Until /ping answers 200; ContainerStartupHealthCheckTimeoutInSeconds of a production variant changes it (60 to 3600)."""
ANSWER_SECONDS = 60.0
"""For an answer to /invocations."""
STOP_SECONDS = 30.0
"""From SIGTERM to SIGKILL."""

BODY_BYTES = 25 << 20
"""Of a request, and of an answer: "payload sizes up to 25 MB", Model Hosting FAQs."""
