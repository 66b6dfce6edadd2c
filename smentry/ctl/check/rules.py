"""All rules, by their code. It knows their texts; what breaks them is known to the checks."""

from __future__ import annotations

from smentry.ctl.check import image_rules, request_rules
from smentry.ctl.check.finding import Rule

RULES: dict[str, Rule] = {rule.code: rule for rule in (*image_rules.RULES, *request_rules.RULES)}
"""SM1xx: a Dockerfile or an image. SM2xx: what only an image shows. SM3xx: a request. SM4xx: a script. SM5xx: smentry.yaml."""
