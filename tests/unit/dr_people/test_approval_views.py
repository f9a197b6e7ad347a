"""What preflight found, in the message that asks for approval and on its page: the verdict first, bounded, and text, never HTML."""

import re
from collections.abc import Sequence
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from dr_core.approvals import respond
from dr_core.links import LinkSigner, LinkToken
from dr_core.phases import Mode, Phase
from dr_core.records import Resource
from dr_core.reports import ResourceReport, data_loss, in_short, read_reports, seconds, verdict
from dr_engine.preflight import Report, document
from dr_people.approval_context import context_of
from dr_people.approval_views import answer, mail
from tests.support.control_plane import ID, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.reports import obstacle, planned, report, warning

SIGNER = LinkSigner("the-secret")
LINK = "https://page.example/?token=x"
EVIL = "<script>alert('\"x\"')</script><img src=x onerror=1>&$title"
FURTHER = {"action": "…", "parameters": {"furtherCalls": 7}, "region": "", "at": "", "sent": False}


def reports_of(resources: Sequence[Resource], *made: Report) -> tuple[ResourceReport, ...]:
    return read_reports(document(resource, one) for resource, one in zip(resources, made, strict=False))


def message(*made: Report, resources: Sequence[Resource] | None = None, **execution: Any) -> list[str]:
    known = resources or [a_resource(1, number) for number in range(1, len(made) + 1)]
    _, text, _ = mail(context_of(an_execution(**execution), an_approval(), known, reports_of(known, *made)), LINK)
    return text.splitlines()


def page(cloud: Cloud, *made: Report, resources: Sequence[Resource] | None = None) -> str:
    known = resources or [a_resource(1, number) for number in range(1, len(made) + 1)]
    assert cloud.table.create(an_execution(), [a_layer(total=len(known))], known, an_approval(), T0)
    cloud.table.keep_preflight(ID, {one.id: document(one, said) for one, said in zip(known, made, strict=False)}, T0)
    token = SIGNER.sign(LinkToken(ID, SHA, T0 + timedelta(hours=1)))
    event = {"requestContext": {"http": {"method": "GET"}}, "queryStringParameters": {"token": token}}
    shown = answer(respond(event, cloud.table, SIGNER, cloud.clock), cloud.table)
    assert shown["statusCode"] == 200
    return str(shown["body"])


class Tags(HTMLParser):
    """The names of all tags and attributes of a page."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


LOW, SLOW = obstacle("NoQuota", "lamp-1 (Lamp): raise it"), warning("Slow", "it is slow")


@pytest.mark.parametrize(
    ("made", "resources", "words"),
    [
        ((report(findings=(LOW, LOW, SLOW)),), 1, "2 errors in the way, 1 warning"),
        ((report(findings=(SLOW,)), report(findings=(SLOW,))), 2, "nothing in the way, 2 warnings"),
        ((report(),), 1, "nothing found in the way"),
        ((), 3, "no preflight came in time: nobody has looked for what stands in the way"),
        ((report(findings=(LOW,)),), 3, "1 error in the way, 0 warnings; 2 of 3 resources not looked at"),
    ],
)
def test_the_verdict_stands_first(cloud: Cloud, made: tuple[Report, ...], resources: int, words: str) -> None:
    known = [a_resource(1, number) for number in range(1, resources + 1)]
    lines = message(*made, resources=known)
    assert lines[2] == f"Preflight:          {words}"
    shown = page(cloud, *made, resources=known)
    facts = re.findall("<dt>(.*?)</dt><dd.*?>(.*?)</dd>", shown)
    assert facts[0] == ("Preflight", words)
    assert verdict(reports_of(known, *made), resources).words() == words


def test_the_most_serious_findings_come_first_and_the_rest_is_counted(cloud: Cloud) -> None:
    many = tuple(warning(f"Slow{number}", "it is slow") for number in range(60))
    made = report(findings=(*many, LOW))
    lines = message(made)
    first = lines.index("Found by preflight:") + 1
    assert lines[first] == "  ERROR   NoQuota: lamp-1 (Lamp): raise it"
    assert lines[first + 1] == "  WARNING lamp-1: Slow0: it is slow"
    assert lines[first + 10] == f"  and 51 more: drctl status {ID}" and LINK in lines[:first]
    shown = page(cloud, made)
    assert shown.index("NoQuota") < shown.index("Slow0") and f"and 11 more: <code>drctl status {ID}</code>" in shown


def test_the_calls_by_name_in_the_mail_and_with_parameters_on_the_page(cloud: Cloud) -> None:
    calls = (planned("rds:FailoverGlobalCluster", Id="g", Allow=True), planned("ecs:UpdateService"), planned("ecs:UpdateService"), FURTHER)
    made = report(calls=calls, irreversible=True, note="further calls depend on the answers", may_also_call=("rds:DeleteX",))
    lines = message(made, report(progress="DONE", irreversible=True))
    first = lines.index("What would be called; nothing has been changed yet:")
    assert lines[first + 1 :] == [
        "  layer 1: lamp-1 (Lamp, account 123456789012)",
        "    IRREVERSIBLE: what this step does cannot be undone",
        "    rds:FailoverGlobalCluster, ecs:UpdateService (2 times), and 7 further calls",
        "    note: further calls depend on the answers",
        "  layer 1: lamp-2 (Lamp, account 123456789012)",
        "    nothing to do",
    ]
    shown = page(cloud, made, report(progress="DONE", irreversible=True))
    assert (
        shown.count('<strong class="bad">irreversible</strong>') == 1
        and "1 step cannot be undone: lamp-1 (Lamp)" in shown
        and "nothing to do" in shown
        and "may also call rds:DeleteX" in shown
    )
    assert "<details><summary>rds:FailoverGlobalCluster, ecs:UpdateService (2 times), and 7 further calls</summary>" in shown
    assert "<li><code>rds:FailoverGlobalCluster</code> us-west-2<br>Id=g, Allow=true</li>" in shown
    assert "<li>and 7 further calls</li>" in shown


def test_of_each_resource_it_is_said_why_nothing_would_be_called(cloud: Cloud) -> None:
    made = (report(progress="IN_PROGRESS", detail="1 of 4"), report(progress=None))
    resources = [a_resource(1, number) for number in range(1, 4)]
    words = ["no call: it is IN_PROGRESS, 1 of 4", "not known: its state could not be observed", "not looked at"]
    assert [line.strip() for line in message(*made, resources=resources)[-6:]][1::2] == words
    shown = page(cloud, *made, resources=resources)
    assert all(f"<div>{said}</div>" in shown for said in words)


def test_the_lag_is_the_estimated_loss(cloud: Cloud) -> None:
    made = (report(lag_seconds=4.24), report(lag_seconds=0.1), report())
    loss = "about 4.2 s of data if it failed over now (lamp-1, 60 s accepted when planned)"
    assert message(*made)[3] == f"Data loss:          {loss}"
    assert f"<dt>Data loss</dt><dd>{loss}</dd>" in page(cloud, *made)
    assert not any("Data loss" in line for line in message(*made, phase=Phase.CLEANUP) + message(report()))


def test_a_loss_in_an_unplanned_run_says_the_same() -> None:
    resource = a_resource()
    execution = an_execution(mode=Mode.UNPLANNED)
    assert (
        data_loss(execution, reports_of([resource], report(lag_seconds=5400.0)), [])
        == "about 90.0 min of data if it failed over now (lamp-1)"
    )


def test_the_message_has_room_for_the_link_whatever_was_found() -> None:
    long = "ü" * 5000
    resources = [a_resource(1, number, name=f"{number}-{'n' * 200}") for number in range(1, 501)]
    made = [report(findings=(obstacle("X", long),) * 5, calls=(planned(f"ecs:{long}"),), note=long) for _ in resources]
    lines = message(*made, resources=resources, requested_by=long, reason=f"{long}\nhttps://evil.example/?token=y")
    text = "\n".join(lines)
    assert LINK in lines and len(text.encode()) <= 20_000
    assert not any(line.startswith("https://evil") for line in lines), "no line of the message is made up in a reason"
    assert lines[-1].startswith("  and ") and lines[-1].endswith(f" more: drctl status {ID}")


def test_the_page_stays_small_and_keeps_its_form(cloud: Cloud) -> None:
    call = planned("ecs:UpdateService", big="<" * 5000)
    resources = [a_resource(1, number) for number in range(1, 101)]
    shown = page(cloud, *[report(calls=(call,) * 60)] * 100, resources=resources)
    assert len(shown.encode()) < 1_100_000 and "<form" in shown and f"more: <code>drctl status {ID}</code>" in shown
    assert "<li>and 10 further calls</li>" in shown


def test_what_preflight_found_is_text_and_never_html(cloud: Cloud) -> None:
    made = report(
        progress=EVIL,
        detail=EVIL,
        findings=(obstacle(EVIL, EVIL), warning(EVIL, EVIL)),
        calls=({**planned(EVIL, **{EVIL: EVIL}), "region": EVIL},),
        may_also_call=(EVIL,),
        note=EVIL,
        irreversible=True,
        lag_seconds=1.0,
    )
    shown = page(cloud, made, resources=[a_resource(name=EVIL, module=EVIL)])
    tags = Tags(shown)
    assert not tags.tags & {"script", "img", "svg", "link", "iframe"}
    assert tags.attributes <= {
        *("lang", "charset", "name", "content", "class", "method", "type", "value", "required", "maxlength"),
        *("for", "id", "rows", "autocomplete", "aria-describedby", "formnovalidate", "spellcheck", "autocapitalize"),
    }
    assert shown.count("&lt;script&gt;alert(&#39;&#34;x&#34;&#39;)&lt;/script&gt;") >= 12


@pytest.mark.parametrize(
    ("length", "words"), [(0.0, "0 s"), (60, "60 s"), (4.24, "4.2 s"), (599.94, "599.9 s"), (600, "10.0 min"), (5400, "90.0 min")]
)
def test_a_length_of_time(length: float, words: str) -> None:
    assert seconds(length) == words


def test_parameters_in_short() -> None:
    assert in_short({"A": "b", "C": [1, {"d": None}], "E": False, "F": "ü"}) == 'A=b, C=[1, {"d": null}], E=false, F=ü'


def test_a_report_of_an_older_version_can_be_read() -> None:
    old = document(a_resource(), report())
    del old["irreversible"]
    (read,) = read_reports([old])
    assert read.irreversible is False
