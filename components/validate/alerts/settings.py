"""Where alerts go, and from which severity on. Secrets are never among the settings: they name environment
variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.settings import PLACE

_Variable = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Alert(pydantic.BaseModel):
    """One channel.

    Attributes:
      to: `webhook`, `slack`, `email`, `prometheus` (a text file for node exporter's collector), `pushgateway` (the
        same, sent to Prometheus' Pushgateway) or `openlineage`.
      on: the least severity that is sent: `error`, `warning`, or `always`, for which a verdict without findings is sent
        too. `prometheus`, `pushgateway` and `openlineage` tell the state, and are always sent.
      url_env: the variable that holds the address; of `openlineage` by default OPENLINEAGE_URL.
      secret_env: the variable that holds the key of a webhook's signature, or OpenLineage's API key.
      host, port: of the mail server; TLS is used when it offers it.
      sender, recipients: mail addresses.
      user_env, password_env: variables that hold the mail account's name and password; TLS is then demanded.
      path: of the text file; that of `prometheus` ends in `.prom`.
      namespace: of OpenLineage's job.
      timeout: seconds that the channel may take in all, in (0, 60].
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    to: str
    on: Literal["error", "warning", "always"] = "error"
    url_env: _Variable | None = None
    secret_env: _Variable | None = None
    host: str | None = None
    port: Annotated[int, pydantic.Field(ge=1, le=65_535)] | None = None
    sender: str | None = None
    recipients: list[str] | None = None
    user_env: _Variable | None = None
    password_env: _Variable | None = None
    path: Annotated[str, PLACE] | None = None
    namespace: str | None = None
    timeout: Annotated[float, pydantic.Field(gt=0, le=60)] = 10.0

    @pydantic.field_validator("to")
    @classmethod
    def _known(cls, to: str) -> str:
        from headwater.components.validate.alerts.channels import CHANNELS

        if to not in CHANNELS:
            raise ValueError(f"there is no channel {to!r}; the channels are {', '.join(CHANNELS)}")
        return to

    @pydantic.field_validator("*")
    @classmethod
    def _ends(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        from headwater.components.validate.alerts.channels import CHANNELS

        # Where `to` is wrong, that is the error.
        channel = CHANNELS.get(info.data.get("to", ""))
        ending = channel.endings.get(info.field_name or "", "") if channel else ""
        if ending and not str(value).endswith(ending):
            raise ValueError(f"for {info.data['to']} it must end in {ending}")
        return value

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Alert:
        # Channels read these settings, so they are known only when both are loaded.
        from headwater.components.validate.alerts.channels import CHANNELS

        channel = CHANNELS[self.to]
        for key in channel.needed:
            if not getattr(self, key):
                raise ValueError(f"an alert to {self.to} needs the setting {key}")
        known = {*channel.needed, *channel.optional}
        for key in self.model_dump(exclude_none=True):
            if key not in {"to", "on", "timeout"} | known:
                raise ValueError(
                    f"an alert to {self.to} has no setting {key}; its settings are {', '.join(sorted(known))}"
                )
        for address in [self.sender, *(self.recipients or [])]:
            if address is not None and ("@" not in address or any(c.isspace() or ord(c) < 32 for c in address)):
                raise ValueError(f"{address!r} is not an email address")
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env must be given together")
        return self
