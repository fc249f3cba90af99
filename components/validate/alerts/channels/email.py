"""Mail by SMTP; a password is only ever sent over TLS."""

from __future__ import annotations

import email.message
import smtplib
import ssl

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict, variable
from headwater.components.validate.alerts.messages import lines, title
from headwater.components.validate.alerts.settings import Alert


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    assert alert.host is not None and alert.recipients is not None, "the settings demand them"
    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = title(verdict), alert.sender, ", ".join(alert.recipients)
    mail.set_content("\n".join([title(verdict), "", *lines(findings), "", str(verdict["uri"]), ""]))
    user = (variable(alert.user_env), variable(alert.password_env)) if alert.user_env and alert.password_env else None
    try:
        with smtplib.SMTP(alert.host, alert.port or 25, timeout=alert.timeout) as server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            elif user:
                raise HeadwaterError("the mail server offers no TLS, and a password is not sent without it")
            if user:
                server.login(*user)
            server.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise HeadwaterError(f"the mail server did not accept it ({type(error).__name__})") from None


CHANNEL = Channel(
    "email",
    send,
    needed=("host", "sender", "recipients"),
    optional=("port", "user_env", "password_env"),
)
