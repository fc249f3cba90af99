"""Alerts, sent to real receivers on loopback."""

from __future__ import annotations

import dataclasses
import email
import hashlib
import hmac
import json
import re
import threading
import uuid

import pydantic
import pytest
import receivers
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.alerts import Alert, send_alerts
from headwater.components.validate.alerts.channels import CHANNELS, Channel
from headwater.components.validate.settings import check_settings

NASTY = 'value "<!channel>\\ & <script>"\n\x00Bcc: x@example.org'


def finding(message="3 % of rows", severity="error", feature="fare"):
    return {"split": "train", "feature": feature, "kind": "DRIFT", "severity": severity, "message": message}


def verdict(*findings, uri="gs://root/trips/span=3/version=1/anomalies"):
    findings = findings or (finding(), finding("some", "warning", "miles"))
    measure = {"split": "train", "feature": NASTY, "measure": "PSI", "against": "DRIFT", "set_by": "", "value": 0.125}
    return {
        "blessed": not any(each["severity"] == "error" for each in findings),
        "verdict": "NOT blessed: 1 error",
        "findings": list(findings),
        "checks": [{"name": "drift", "title": "", "skipped": "", "errors": 1, "warnings": 1, "infos": 0}],
        "measures": [measure],
        "uri": uri,
        "dataset": "trips",
        "span": 3,
        "rows": 10,
    }


@pytest.fixture
def web(monkeypatch):
    with receivers.web() as posts:
        monkeypatch.setenv("HOOK", posts.url)
        monkeypatch.setenv("OPENLINEAGE_URL", posts.url)
        monkeypatch.setenv("SECRET", "very secret")
        yield posts


def send(tmp_path, told=None, **alert):
    return send_alerts(told or verdict(), [Alert(**alert)], str(tmp_path / "claims"))[0]


def test_a_webhook_is_signed_and_says_what_was_found(tmp_path, web):
    told = send(tmp_path, to="webhook", on="warning", url_env="HOOK", secret_env="SECRET")
    assert told == {"to": "webhook", "sent": 2, "failed": False, "reason": ""}
    [(path, headers, body)] = web
    at, signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["X-Headwater-Signature"]).groups()
    assert hmac.new(b"very secret", f"{at}.".encode() + body, hashlib.sha256).hexdigest() == signature
    event = json.loads(body)
    assert (
        event["dataset"] == "trips"
        and not event["blessed"]
        and [f["feature"] for f in event["findings"]] == ["fare", "miles"]
    )
    assert headers["Idempotency-Key"]


def test_only_what_is_grave_enough_is_sent(tmp_path, web):
    assert send(tmp_path, to="webhook", url_env="HOOK")["sent"] == 1
    fine = {**verdict(finding(severity="warning")), "verdict": "blessed: 1 warning"}
    assert send(tmp_path / "b", fine, to="webhook", url_env="HOOK")["sent"] == 0 and len(web) == 1
    assert send(tmp_path / "c", fine, to="webhook", on="warning", url_env="HOOK")["sent"] == 1 and len(web) == 2
    nothing = {**verdict(), "findings": [], "blessed": True}
    assert send(tmp_path / "d", nothing, to="webhook", on="warning", url_env="HOOK")["sent"] == 0 and len(web) == 2
    send(tmp_path / "e", nothing, to="webhook", on="always", url_env="HOOK")
    assert len(web) == 3 and json.loads(web[-1][2])["blessed"]


def test_once_per_finding_and_not_once_per_retry(tmp_path, web):
    alert = {"to": "webhook", "url_env": "HOOK"}
    assert [send(tmp_path, **alert)["sent"] for _ in range(3)] == [1, 0, 0] and len(web) == 1
    more = verdict(finding(), finding("another", feature="tip"))
    assert send(tmp_path, more, **alert)["sent"] == 1
    assert [f["feature"] for f in json.loads(web[-1][2])["findings"]] == ["tip"]


def test_many_attempts_at_once_send_once(tmp_path, web):
    told = verdict(*[finding(str(number)) for number in range(10)])
    threads = [
        threading.Thread(target=send, args=(tmp_path, told), kwargs={"to": "webhook", "url_env": "HOOK"})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = [f["message"] for _, _, body in web for f in json.loads(body)["findings"]]
    assert sorted(messages) == sorted({f"error: train/fare: {number}" for number in range(10)})


def test_what_fails_is_tried_again_and_next_time(tmp_path, web, capfd):
    web.answers = [(503, {}), (429, {"Retry-After": "0"})]
    assert send(tmp_path, to="webhook", url_env="HOOK")["sent"] == 1 and len(web) == 3
    web.answers = [(400, {})]
    failed = send(tmp_path / "b", to="webhook", url_env="HOOK")
    assert failed["failed"] and failed["reason"] == "the receiver answered 400" and len(web) == 4
    assert "secret-token" not in "".join(capfd.readouterr())
    assert send(tmp_path / "b", to="webhook", url_env="HOOK")["sent"] == 1
    # Asked to wait longer than there is time, it gives up.
    web.answers = [(429, {"Retry-After": "3600"})]
    assert send(tmp_path / "c", to="webhook", url_env="HOOK", timeout=1.0)["reason"] == "the receiver answered 429"


def test_nobody_there_slow_or_elsewhere(tmp_path, web, monkeypatch, capfd):
    web.delay = 1.0
    slow = send(tmp_path, to="webhook", url_env="HOOK", timeout=0.3)
    assert slow["failed"] and "cannot be reached" in slow["reason"]
    web.delay, web.answers = 0.0, [(302, {"Location": "http://127.0.0.1:1/other"})]
    assert send(tmp_path / "b", to="webhook", url_env="HOOK")["reason"] == "the receiver answered 302"
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/secret-token")
    refused = send(tmp_path / "c", to="webhook", url_env="HOOK", timeout=0.5)
    assert refused["failed"] and "cannot be reached" in refused["reason"]
    monkeypatch.setenv("HOOK", "file:///etc/passwd")
    assert "neither http nor https" in send(tmp_path / "d", to="webhook", url_env="HOOK")["reason"]
    assert "NOT_THERE is not set" in send(tmp_path / "e", to="webhook", url_env="NOT_THERE")["reason"]
    assert "secret-token" not in "".join(capfd.readouterr())


def test_slack_calls_nobody_and_is_bounded(tmp_path, web):
    many = verdict(*[finding(NASTY + str(number) * 200) for number in range(50)])
    assert send(tmp_path, many, to="slack", url_env="HOOK")["sent"] == 50
    event = json.loads(web[0][2])
    text = json.dumps(event)
    assert "<!channel>" not in text and "&lt;!channel&gt;" in text and "and 30 more" in text
    assert all(len(block["text"]["text"]) <= 3000 for block in event["blocks"]) and "\\u0000" not in text


def test_mail_is_received_and_headers_cannot_be_added(tmp_path):
    told = {**verdict(finding(NASTY)), "verdict": f"NOT blessed {NASTY}"}
    with receivers.mail() as (port, messages):
        alert = {
            "to": "email",
            "host": "127.0.0.1",
            "port": port,
            "sender": "a@example.org",
            "recipients": ["b@example.org"],
        }
        assert send(tmp_path, told, **alert)["sent"] == 1
        message = email.message_from_string(messages[0])
        assert message["To"] == "b@example.org" and message["Bcc"] is None and "trips, span 3" in message["Subject"]
        assert "<!channel>" in message.get_payload(decode=True).decode()
        # A password is not sent without TLS, which this server does not offer.
        secret = send(tmp_path / "b", told, **alert, user_env="HOME", password_env="HOME")
        assert secret["failed"] and "no TLS" in secret["reason"] and len(messages) == 1
    gone = send(tmp_path / "c", told, **alert)
    assert gone["failed"] and "did not accept it" in gone["reason"]


def test_prometheus_text_parses_and_is_whole(tmp_path):
    path = tmp_path / "metrics/headwater.prom"
    for _ in range(2):
        assert not send(tmp_path, to="prometheus", path=str(path))["failed"]
    found = {}
    label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line)
            continue
        name, value = re.fullmatch(rf"([a-z_]+\{{{label}(?:,{label})*\}}) (\S+)", line).groups()
        found[name] = float(value)
    assert found['headwater_validation_blessed{dataset="trips"}'] == 0
    assert found['headwater_validation_findings{dataset="trips",severity="warning"}'] == 1
    assert 0.125 in found.values() and [p.name for p in path.parent.iterdir()] == ["headwater.prom"]
    (tmp_path / "file").write_text("")
    assert "cannot be written" in send(tmp_path, to="prometheus", path=str(tmp_path / "file/x.prom"))["reason"]


def test_the_pushgateway_gets_the_same_text_in_a_group_of_the_dataset(tmp_path, web):
    told = {**verdict(), "dataset": "trips of/2026"}
    for _ in range(2):
        assert not send(tmp_path, told, to="pushgateway", url_env="HOOK")["failed"]
    # A state is sent every time.
    assert [path for path, _, _ in web] == ["/hook/secret-token/metrics/job/headwater/dataset/trips%20of%2F2026"] * 2
    _, headers, body = web[0]
    assert headers["Content-Type"] == "text/plain; version=0.0.4" and body.endswith(b"\n")
    assert b'headwater_validation_blessed{dataset="trips of/2026"} 0\n' in body
    with pytest.raises(pydantic.ValidationError, match="needs the setting url_env"):
        Alert(to="pushgateway")


def test_openlineage_has_what_the_standard_asks_for(tmp_path, web, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key")
    for _ in range(2):
        send(tmp_path, to="openlineage", namespace="shop")
    [(path, headers, body)] = web
    event = json.loads(body)
    assert path.endswith("/api/v1/lineage") and headers["Authorization"] == "Bearer key"
    assert event["eventType"] == "FAIL" and {"eventTime", "producer", "schemaURL", "outputs"} <= set(event)
    assert uuid.UUID(event["run"]["runId"]) and event["job"] == {"namespace": "shop", "name": "headwater.validate"}
    facets = event["inputs"][0]["inputFacets"]
    assert all({"_producer", "_schemaURL"} <= set(facet) for facet in facets.values())
    assert facets["dataQualityAssertions"]["assertions"][0] == {
        "assertion": "DRIFT",
        "success": False,
        "column": "fare",
    }
    assert facets["dataQualityMetrics"]["rowCount"] == 10


@pytest.mark.parametrize(
    ("alert", "message"),
    [
        ({"to": "pigeon"}, "config.alerts.0.to"),
        ({"to": "webhook"}, "webhook needs the setting url_env"),
        ({"to": "webhook", "url_env": "https://x"}, "config.alerts.0.url_env"),
        ({"to": "slack", "url_env": "A", "secret_env": "B"}, "an alert to slack has no setting secret_env"),
        ({"to": "email", "host": "h", "sender": "a@b", "recipients": ["a@b\nBcc: c@d"]}, "is not an email address"),
        (
            {"to": "email", "host": "h", "sender": "a@b", "recipients": ["c@d"], "user_env": "U"},
            "must be given together",
        ),
        ({"to": "prometheus", "path": "x.txt"}, "config.alerts.0.path"),
        ({"to": "webhook", "url_env": "A", "timeout": 0}, "config.alerts.0.timeout"),
        ({"to": "webhook", "url": "https://x"}, "there is no such setting; the settings are to, on, url_env"),
    ],
)
def test_what_is_wrong_is_told_before_work(alert, message):
    with pytest.raises(HeadwaterError, match=message):
        check_settings({"alerts": [alert]})


def test_validate_sends_them_after_its_verdict(tmp_path, web):
    first, second = (save_statistics(tmp_path, {"train": orders(seed)}, span=seed) for seed in (1, 2))
    derive_schema(first.folder, str(tmp_path / "s1"))
    curation = {"features": {"kind": {"domain": ["book"]}}}
    schema = derive_schema(second.folder, str(tmp_path / "s2"), curation=curation)
    config = {"alerts": [{"to": "webhook", "url_env": "HOOK"}, {"to": "slack", "url_env": "NOT_THERE"}]}
    for attempt in range(2):
        result = check_statistics(second.folder, schema.folder, str(tmp_path / f"v{attempt}"), config=config)
        assert not result.body["blessed"]
    assert len(web) == 1 and json.loads(web[0][2])["uri"] == result.uri
    assert "HOOK" not in json.dumps(result.manifest)


def test_a_channel_is_a_module_and_a_line(tmp_path, monkeypatch):
    sent = []
    pager = Channel(
        "pager", lambda verdict, findings, alert, key: sent.append((len(findings), key)), needed=("url_env",)
    )
    monkeypatch.setitem(CHANNELS, "pager", pager)
    assert check_settings({"alerts": [{"to": "pager", "url_env": "A"}]}).alerts[0].to == "pager"
    with pytest.raises(HeadwaterError, match="an alert to pager needs the setting url_env"):
        check_settings({"alerts": [{"to": "pager"}]})
    for _ in range(2):
        assert not send(tmp_path, to="pager", on="warning", url_env="A")["failed"]
    assert [count for count, _ in sent] == [2] and sent[0][1]
    # What one channel demands of a setting is not asked of the others.
    monkeypatch.setitem(CHANNELS, "file", dataclasses.replace(pager, name="file", needed=("path",)))
    assert check_settings({"alerts": [{"to": "file", "path": "verdicts.log"}]}).alerts[0].path == "verdicts.log"
    with pytest.raises(HeadwaterError, match=r"alerts.0.path: for prometheus it must end in .prom; given: 'x.txt'"):
        check_settings({"alerts": [{"path": "x.txt", "to": "prometheus"}]})
