"""The board: what each page says, what it is made of, and how much is read for it."""

import json
from datetime import timedelta

import pytest

from dr_core.commands import Command
from dr_core.errors import Problem
from dr_core.items import EXECUTION_SK, ExecutionItem, LayerItem, ResourceItem
from dr_core.mapping import item_of
from dr_core.records import ExecutionStatus
from dr_core.state import Refusal
from dr_core.triggers import Outcome
from dr_people import board_shells
from dr_people.board import MOST_IN_FULL, MOST_LIVE, MOST_RECENT, Board
from dr_people.wellbeing import Sign, Wellbeing
from tests.support.boards import ARN, ATTRIBUTES, DENIED, EVIL, HTML_TAGS, REQUEST_ID, SVG_TAGS, Parsed, board_at, story
from tests.support.control_plane import T0, Cloud, a_layer, a_resource, an_execution
from tests.support.desk import DONE, HOME, ID, Desk, failed


def widget(desk: Desk, **asked: object) -> Parsed:
    answer = board_shells.widget({**asked, "widgetContext": {"theme": "light", "params": {}}}, board_at(desk), ARN)
    assert isinstance(answer, str)
    return Parsed(answer)


def test_the_first_page_says_where_since_when_what_failed_and_what_mends_it(desk: Desk) -> None:
    story(desk)
    shown = widget(desk).text
    assert "1 of 2 executions halted" in shown
    assert "ACTIVATE of storefront in us-west-2" in shown and "layer 1, 0 of 2 done, unplanned" in shown
    assert "2031-03-01 12:11:38Z (2 min 10 s ago)" in shown
    assert f"AccessDenied: {DENIED} (request id {REQUEST_ID})" in shown
    assert f"drctl --stack dr-orchestrator --region us-west-2 retry {ID} 0001-003 --reason 'the cause is mended'" in shown
    assert "nothing goes on without a person" in shown and "stays locked in us-east-1 and us-west-2" in shown
    assert "3 min 45 s so far; no target is set" in shown
    assert "The orchestrator itself: not all is known" in shown and "has had nothing to do" in shown
    assert shown.count(DENIED) == 1, "once is enough"
    halted, pending, ended = (shown.index(word) for word in ("of storefront", "of shop", "erp"))
    assert halted < pending < ended, "what needs a person comes first, what is over last"


def test_a_page_is_made_of_what_cloudwatch_keeps(desk: Desk) -> None:
    story(desk)
    for asked in ({}, {"execution": ID}, {"execution": ID, "resource": "0001-003"}, {"execution": "01X"}, {"execution": "<"}):
        page = widget(desk, **asked)
        assert page.tags <= HTML_TAGS | SVG_TAGS and page.attributes <= ATTRIBUTES, asked
        assert page.open == [], f"{asked}: every tag is closed"
        assert all(link.startswith("https://") and ".console.aws.amazon.com/" in link for link in page.links)
        assert all(json.loads(action).keys() <= {"execution", "resource", "attempt", "application"} for action in page.actions)


def test_names_and_messages_are_text(desk: Desk) -> None:
    story(desk)
    for asked in ({}, {"execution": ID}, {"execution": ID, "resource": "0001-002"}):
        page = widget(desk, **asked)
        assert "script" not in page.tags and "b" not in page.tags
    assert EVIL in widget(desk, execution=ID).text


def test_an_execution_shows_its_layers_its_timeline_and_where_there_is_more(desk: Desk) -> None:
    story(desk)
    page = widget(desk, execution=ID)
    assert "Layer 1 FAILED" in page.text and "Layer 2 PENDING" in page.text
    assert "Timeline of ACTIVATE of storefront" in page.text and "+600.0s Approval Granted" in page.text
    logs, approval = page.links
    assert logs.startswith(
        "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2#logsV2:logs-insights$3FqueryDetail$3D$257E"
    )
    assert ID in logs and "*2Faws*2Flambda*2Fdr-orchestrator-start-resource" in logs
    assert approval.endswith(f"#/v2/executions/details/arn:aws:states:us-west-2:111111111111:execution:approval:{ID}")
    asked = [json.loads(action) for action in page.actions]
    assert {"execution": ID, "resource": "0002-001"} in asked, "each resource can be opened"


def test_a_resource_shows_each_attempt_and_its_calls(desk: Desk) -> None:
    story(desk)
    desk.move(Command("retry", "olga", "mended"))
    desk.begin("0001-003", Outcome("IN_PROGRESS", "1 of 3", 33))
    page = widget(desk, execution=ID, resource="0001-003")
    assert page.text.index("Attempt 2 WAITING") < page.text.index("Attempt 1 RETRIED"), "the newest first"
    assert "autoscaling:UpdateAutoScalingGroup us-west-2" in page.text and "143 ms" in page.text and page.text.count(REQUEST_ID) == 2
    assert "retry" not in page.text.replace("Retried", ""), "it is under way again"
    assert "DesiredCapacity" not in page.text
    first = widget(desk, execution=ID, resource="0001-003", attempt=1).text
    assert "Attempt 2" not in first and '"DesiredCapacity": 3' in first
    assert widget(desk, execution=ID, resource="0001-003").links[-1].endswith(f"/events?Username=dr-{ID}")


def test_what_is_overdue_is_called_stuck(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    desk.approve()
    desk.begin("0001-001", Outcome("IN_PROGRESS"))
    assert "1 execution under way, none has failed" in widget(desk).text
    desk.now += timedelta(minutes=5)
    shown = widget(desk).text
    assert "1 execution overdue" in shown and "Stuck? database is overdue since" in shown


def test_nothing_is_under_way(desk: Desk) -> None:
    shown = widget(desk).text
    assert "Nothing is under way" in shown and "Nothing has ended yet." in shown


def test_an_application_alone(desk: Desk) -> None:
    story(desk)
    shown = widget(desk, application="erp").text
    assert "Nothing is under way of erp" in shown and "History of erp" in shown and "storefront" not in shown
    assert "storefront" in widget(desk, application="any-application", execution="any-execution").text, "what variables hold at first"


def test_a_refused_request_says_what_is_wrong(desk: Desk) -> None:
    problem = Problem("storefront/Activate.json", "1", "<i>api", "action", "no such module", "use ECS")
    assert desk.table.refuse(Refusal("01REFSD", "storefront", desk.now, [str(problem)], {}), HOME, None, [problem], desk.now)
    assert "REFUSED" in widget(desk).text
    shown = widget(desk, execution="01REFSD").text
    assert "resource <i>api, key action: no such module (use ECS)" in shown and "Nothing was touched" in shown


@pytest.mark.parametrize("asked", [{"execution": "no/id"}, {"execution": ID, "resource": "x"}, {"application": "a b"}, {"attempt": 0}])
def test_what_cannot_be_asked_for_is_said(desk: Desk, asked: dict[str, object]) -> None:
    assert f"This is not how one asks for {list(asked)[-1]}" in widget(desk, **asked).text


def test_what_there_is_not(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    assert "There is no execution 01X." in widget(desk, execution="01X").text
    assert "has no resource 0009-001" in widget(desk, execution=ID, resource="0009-001").text


def test_cloudwatch_may_ask_what_the_widget_is(desk: Desk) -> None:
    answer = board_shells.widget({"describe": True}, board_at(desk), ARN)
    assert isinstance(answer, dict) and "application: storefront" in answer["markdown"]


def test_the_theme_is_that_of_the_dashboard(desk: Desk) -> None:
    for theme in ("light", "dark"):
        answer = board_shells.widget({"widgetContext": {"theme": theme}}, board_at(desk), ARN)
        assert f'<div class="dr {theme}">' in answer


def test_over_http_the_same_content_has_links_in_place_of_actions(desk: Desk) -> None:
    story(desk)
    page = Parsed(board_shells.page({"execution": ID}, board_at(desk)).body)
    assert "cwdb-action" not in page.tags and "button" not in page.tags and "script" not in page.tags
    assert f"?execution={ID}&resource=0001-003" in page.links
    assert board_shells.page({"execution": "<"}, board_at(desk)).status == 400
    event = {"requestContext": {"http": {"method": "POST"}}, "queryStringParameters": None}
    assert board_shells.over_url(event, board_at(desk))["statusCode"] == 405


def test_what_is_not_well_is_said(desk: Desk) -> None:
    unwell = Wellbeing((Sign("DeadLetterQueue", False, "3 messages"), Sign("Relay", None, "not known")))
    board = board_at(desk, unwell)
    assert "The orchestrator itself: not well" in Parsed(board_shells.page({}, board).body).text


# --- how much is read ---


def reads(cloud: Cloud, live: int, over: int) -> list[tuple[str, int]]:
    """The reads for the first page, each with its limit, when so many executions live, every tenth of them halted, and so many are over."""
    cloud.empty()
    items: list[ExecutionItem | LayerItem | ResourceItem] = []
    for index in range(live + over):
        halted, lives = index % 10 == 0, index < live
        status = ExecutionStatus.SUCCEEDED if not lives else ExecutionStatus.FAILED if halted else ExecutionStatus.RUNNING
        asked = {"requested_at": T0 + timedelta(seconds=index), "due_at": None, "current_layer": 1}
        one = an_execution(f"01JZZZZZZZZZZZZZZZZZZZ{index:04d}", application=f"a{index}", status=status, **asked)
        items.append(item_of(ExecutionItem, one, f"EXEC#{one.id}", EXECUTION_SK))
        if lives:
            items.append(item_of(LayerItem, a_layer(), f"EXEC#{one.id}", "LAYER#0001"))
            items.append(item_of(ResourceItem, a_resource(), f"EXEC#{one.id}", "RES#0001-001"))
    for model in (ExecutionItem, LayerItem, ResourceItem):
        with model.batch_write() as batch:
            for item in items:
                if isinstance(item, model):
                    batch.save(item)
    cloud.calls.clear()
    board = Board(cloud.table, HOME, "s", "", "drctl", cloud.clock, lambda: Wellbeing(()))
    assert f"{len(range(0, live, 10))} of {live} executions halted" in Parsed(board_shells.page({}, board).body).text
    return [(call.operation, call.parameters.get("Limit", 0)) for call in cloud.calls]


def test_the_reads_of_the_first_page_do_not_depend_on_how_many_executions_there_are(cloud: Cloud) -> None:
    few, many = reads(cloud, 6, 4), reads(cloud, 100, 4900)
    assert few == many and len(many) == 2 + 3 * MOST_IN_FULL, "two lists; of five executions layers, itself, resources"
    assert [limit for _, limit in many if limit] == [MOST_LIVE, MOST_RECENT], "no list is read to its end"
    assert {operation for operation, _ in many} == {"Query", "GetItem"}


def test_what_has_ended_leaves_the_list_of_what_lives(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")])
    assert [one.id for one in desk.table.live(HOME, 10)] == [ID] and desk.table.over(HOME, 10) == []
    desk.approve()
    desk.begin("0001-001", failed("No", "no"))
    (halted,) = desk.table.live(HOME, 10)
    assert (halted.status, halted.current_layer, halted.layers_total) == ("FAILED", 1, 1), "a halted one lives"
    desk.move(Command("retry", "olga", "mended"))
    desk.begin("0001-001", DONE)
    (over,) = desk.table.over(HOME, 10)
    assert desk.table.live(HOME, 10) == [] and (over.status, over.ended_at) == ("SUCCEEDED", desk.now)
    assert desk.table.live("eu-west-1", 10) == [] and desk.table.over("eu-west-1", 10) == []


def test_how_much_of_the_recovery_time_is_left(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL")], rto_seconds=1800)
    desk.approve()
    desk.now += timedelta(minutes=10)
    assert "10 min 0 s of 30 min 0 s, 20 min 0 s left" in widget(desk).text
