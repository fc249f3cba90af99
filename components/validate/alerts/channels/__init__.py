"""The channels that alerts go to. A new channel is a module here, and its line in `_ALL`."""

from __future__ import annotations

from headwater.components.validate.alerts.channels import (
    email,
    openlineage,
    prometheus,
    pushgateway,
    slack,
    webhook,
)
from headwater.components.validate.alerts.channels.base import Channel

_ALL = (
    webhook.CHANNEL,
    slack.CHANNEL,
    email.CHANNEL,
    prometheus.CHANNEL,
    pushgateway.CHANNEL,
    openlineage.CHANNEL,
)

CHANNELS: dict[str, Channel] = {channel.name: channel for channel in _ALL}
"""By name."""
