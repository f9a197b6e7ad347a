"""What the stack promises: nothing is lost on the way, nobody may do more than needed, and the names fit together."""

import json
import re
from datetime import timedelta
from typing import Any, get_args

import boto3
import pytest
from cfnlint.decode import decode_str  # type: ignore[import-untyped]
from moto import mock_aws

from dr_core import metrics, target
from dr_core.metrics import Metric
from dr_core.moves import LOST_AFTER
from dr_core.records import DetailType
from dr_core.settings import Name
from dr_core.side_by_side import MOST
from dr_engine.forwarding import native_events
from dr_modules.base import modules
from dr_people import console
from dr_people.board import Asked
from dr_people.notifications import ALL
from tests.support.deployed import functions, queue_function, statements, variables
from tests.support.state_table import TEMPLATE, template

DEAD_ENDS = {"DeadLetterQueue", "UndeliveredQueue"}
# Many messages of one execution come at once: for each of its resources, and for each that has ended.
FANNED_OUT = {"AdvanceQueue", "StartResourceQueue", "CheckQueue"}


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a type, by logical name, with their properties."""
    return {name: one.get("Properties", {}) for name, one in template()["Resources"].items() if one["Type"] == kind}


QUEUES, RULES, LOGS = of_type("AWS::SQS::Queue"), of_type("AWS::Events::Rule"), of_type("AWS::Logs::LogGroup")
TARGETS = [(name, one) for name, rule in RULES.items() for one in rule["Targets"]]


def fed() -> list[tuple[str, str]]:
    """Each queue with the logical name of the function that it feeds."""
    found = []
    for name, one in functions().items():
        for source in one.get("Events", {}).values():
            if source["Type"] == "SQS":
                found.append((source["Properties"]["Queue"].removesuffix(".Arn"), name))
    return found


# --- rules ---


@pytest.mark.parametrize(("name", "aim"), TARGETS, ids=[name for name, _ in TARGETS])
def test_a_rule_feeds_a_queue_and_what_it_cannot_hand_over_is_kept(name: str, aim: dict[str, Any]) -> None:
    queue = aim["Arn"].removesuffix(".Arn")
    assert queue in QUEUES and queue not in DEAD_ENDS and queue_function(queue)
    assert aim["DeadLetterConfig"] == {"Arn": "UndeliveredQueue.Arn"}
    assert aim["RetryPolicy"]["MaximumRetryAttempts"] == 185 and 60 <= aim["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 86400
    assert len(RULES[name]["Targets"]) == 1


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_events_that_exist_and_come_from_here(name: str) -> None:
    pattern = RULES[name]["EventPattern"]
    assert RULES[name]["EventBusName"] == "Bus"
    if name == "NativeEventsRule":  # what accounts forward; `homeRegion` is not theirs to say
        heard = {(event.source, event.detail_type) for event in native_events()}
        assert (set(pattern["source"]), set(pattern["detail-type"])) == ({one for one, _ in heard}, {one for _, one in heard})
        assert pattern.keys() == {"source", "detail-type"}
        return
    if pattern["source"] == ["dr.operator"]:
        assert pattern["detail-type"] in (["Execution Requested"], ["Command Requested"]) and "detail" not in pattern
        return
    kinds = [DetailType(kind) for kind in pattern["detail-type"]]
    assert set(pattern["source"]) >= {kind.source for kind in kinds}
    assert pattern["detail"] == {"homeRegion": ["AWS::Region"]}


def test_accounts_may_put_only_what_modules_listen_to_on_the_bus() -> None:
    policies = of_type("AWS::Events::EventBusPolicy")
    assert set(policies) == {"SpokeAccountsPolicy", "OrganizationPolicy"}
    for name, policy in policies.items():
        condition = dict(policy["Statement"]["Condition"])
        assert policy["Statement"]["Action"] == "events:PutEvents" and policy["Statement"]["Resource"] == "Bus.Arn"
        assert set(condition["ForAllValues:StringEquals"]["events:source"]) == {event.source for event in native_events()}
        assert condition["Null"] == {"events:source": False}, "an event without a source would pass"
        assert template()["Resources"][name]["Condition"] in ("HearAccounts", "HearOrganization"), "nobody by default"
    assert policies["SpokeAccountsPolicy"]["Statement"]["Principal"] == {"AWS": "SpokeAccounts"}
    assert policies["OrganizationPolicy"]["Statement"]["Condition"]["StringEquals"] == {"aws:PrincipalOrgID": "OrganizationId"}


def test_what_wakes_somebody_up_is_brought_to_them() -> None:
    brought = {kind for rule in RULES.values() for kind in rule["EventPattern"]["detail-type"]}
    ends = {"Resource Succeeded", "Resource Failed", "Resource Timed Out", "Resource Skipped"}
    assert brought >= {"Execution Requested", "Approval Requested", "Resource Requested", "Layer Started", "Layer Reopened"} | ends
    assert brought >= {"Approval Granted", "Approval Rejected", "Approval Expired", "Execution Resumed", "Execution Cancelling"}


def test_every_queue_that_a_rule_feeds_lets_it() -> None:
    policy = of_type("AWS::SQS::QueuePolicy")["RuleQueuesPolicy"]
    assert set(policy["Queues"]) == {one["Arn"].removesuffix(".Arn") for _, one in TARGETS} | {"UndeliveredQueue"}
    (statement,) = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"} and statement["Action"] == "sqs:SendMessage"
    assert "aws:SourceArn" in str(statement["Condition"])


# --- outputs ---


@pytest.mark.parametrize("page", ["https://page.example", "https://page.example/", "https://page.example/dr/", "https://page.example/a//b"])
def test_the_redirect_uri_is_the_one_that_the_page_sends_whether_or_not_its_address_ends_with_a_slash(page: str) -> None:
    whole = decode_str(TEMPLATE.read_text())[0]
    names = ("OidcIssuer", "ApprovalPageUrl")
    cut = {
        "Parameters": {name: {"Type": "String"} for name in names},
        "Conditions": {name: whole["Conditions"][name] for name in ("SignIn", "OwnApprovalPage")},
        "Resources": {"Any": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"Redirect": whole["Outputs"]["SignInRedirectUrl"]},
    }
    values = dict(zip(names, ("https://login.example", page), strict=True))
    with mock_aws():
        cloudformation = boto3.client("cloudformation", region_name="us-west-2")
        cloudformation.create_stack(
            StackName="it",
            TemplateBody=json.dumps(cut),
            Parameters=[{"ParameterKey": name, "ParameterValue": values[name]} for name in names],
        )
        (output,) = cloudformation.describe_stacks(StackName="it")["Stacks"][0]["Outputs"]
    assert output["OutputValue"] == f"{page.rstrip('/')}/signed-in"


# --- queues ---


@pytest.mark.parametrize("name", QUEUES)
def test_a_message_is_never_dropped(name: str) -> None:
    queue = QUEUES[name]
    assert queue["MessageRetentionPeriod"] == 14 * 86400 and queue["SqsManagedSseEnabled"] is True
    if name in DEAD_ENDS:
        assert "RedrivePolicy" not in queue
    else:
        assert queue["RedrivePolicy"] == {"deadLetterTargetArn": "DeadLetterQueue.Arn", "maxReceiveCount": 5}


@pytest.mark.parametrize(("queue", "function"), fed(), ids=[queue for queue, _ in fed()])
def test_a_message_stays_hidden_while_its_function_works(queue: str, function: str) -> None:
    timeout = functions()[function].get("Timeout", template()["Globals"]["Function"]["Timeout"])
    assert QUEUES[queue]["VisibilityTimeout"] > timeout
    (source,) = [one["Properties"] for one in functions()[function]["Events"].values()]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] == (MOST if queue in FANNED_OUT else 1)


def test_every_queue_feeds_a_function() -> None:
    assert {queue for queue, _ in fed()} == set(QUEUES) - DEAD_ENDS


@pytest.mark.failure("A poison record on the stream")
def test_the_stream_is_read_from_its_beginning_and_one_bad_record_does_not_stop_it() -> None:
    stream = functions()["PublishChangesFunction"]["Events"]["Stream"]["Properties"]
    assert stream["StartingPosition"] == "TRIM_HORIZON" and stream["BisectBatchOnFunctionError"] is True
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream["DestinationConfig"]["OnFailure"]["Destination"] == "UndeliveredQueue.Arn"
    assert of_type("AWS::DynamoDB::GlobalTable")["StateTable"]["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


# --- in transit and at rest ---


def refuses_plain_text(policy: dict[str, Any], action: str) -> bool:
    """Whether a resource's policy denies everybody everything that does not come over TLS."""
    wanted = {"Effect": "Deny", "Principal": "*", "Action": action, "Condition": {"Bool": {"aws:SecureTransport": False}}}
    return any(wanted.items() <= one.items() for one in policy["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_spoken_to_over_tls_alone(name: str) -> None:
    (policy,) = [one for one in of_type("AWS::SQS::QueuePolicy").values() if name in one["Queues"]]
    assert refuses_plain_text(policy, "sqs:*"), "one policy for each queue: a second one would take the place of the first"


@pytest.mark.parametrize("name", of_type("AWS::S3::Bucket"))
def test_a_bucket_is_private_encrypted_versioned_and_spoken_to_over_tls_alone(name: str) -> None:
    bucket = of_type("AWS::S3::Bucket")[name]
    (policy,) = [one for one in of_type("AWS::S3::BucketPolicy").values() if one["Bucket"] == name]
    assert refuses_plain_text(policy, "s3:*")
    assert policy["PolicyDocument"]["Statement"][0]["Resource"] == [f"{name}.Arn", f"${{{name}.Arn}}/*"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"} and bucket["BucketEncryption"]
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4 and all(bucket["PublicAccessBlockConfiguration"].values())


@pytest.mark.parametrize("name", of_type("AWS::DynamoDB::GlobalTable"))
def test_a_table_is_encrypted_and_can_be_put_back(name: str) -> None:
    table = of_type("AWS::DynamoDB::GlobalTable")[name]
    replicas = [one[1] if isinstance(one, list) else one for one in table["Replicas"]]  # !If [condition, replica, none]
    assert [one["Region"] for one in replicas] == ["AWS::Region", "SecondRegion", "ThirdRegion"]
    assert all(one["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True} for one in replicas)
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}


def test_a_second_control_region_reads_the_stream_of_its_replica_and_makes_no_table() -> None:
    assert template()["Resources"]["StateTable"]["Condition"] == "OwnsState"
    assert template()["Conditions"]["OwnsState"] == ["StateStreamArn", ""]
    stream = functions()["PublishChangesFunction"]["Events"]["Stream"]["Properties"]
    assert stream["Stream"] == ["OwnsState", "StateTable.StreamArn", "StateStreamArn"]
    (known,) = stream["FilterCriteria"]["Filters"]
    assert json.loads(known["Pattern"])["dynamodb"]["NewImage"] == {"home": {"S": ["${AWS::Region}"]}}, "what others wrote comes by too"


# --- functions ---


@pytest.mark.parametrize("name", functions())
def test_what_the_internet_may_call_cannot_use_up_what_an_execution_needs(name: str) -> None:
    one = functions()[name]
    public = one.get("FunctionUrlConfig", {}).get("AuthType") == "NONE"
    assert one.get("ReservedConcurrentExecutions") == (["BoundPublic", "PublicConcurrency", "AWS::NoValue"] if public else None)


@pytest.mark.parametrize("name", functions())
def test_a_schedule_says_how_often_it_tries_and_gives_up(name: str) -> None:
    for source in functions()[name].get("Events", {}).values():
        assert source["Type"] in ("SQS", "DynamoDB", "ScheduleV2"), "nothing else: a rule would call the function without a queue"
        if source["Type"] == "ScheduleV2":
            assert source["Properties"]["DeadLetterConfig"] == {"Arn": "UndeliveredQueue.Arn"}, name
            assert set(source["Properties"]["RetryPolicy"]) == {"MaximumEventAgeInSeconds", "MaximumRetryAttempts"}


@pytest.mark.parametrize("name", functions())
def test_a_function_has_a_log_group_that_forgets(name: str) -> None:
    wanted = f"/aws/lambda/{functions()[name]['FunctionName']}"
    (found,) = [one for one in LOGS.values() if one["LogGroupName"] == wanted]
    assert found["RetentionInDays"] == "LogRetentionDays"
    assert len(LOGS) == len(functions())


@pytest.mark.parametrize("name", functions())
def test_a_function_has_variables_that_are_settings(name: str) -> None:
    names = {one for one in variables(functions()[name]) if not one.startswith("POWERTOOLS_")}
    assert names <= set(get_args(Name))
    assert all(variables(functions()[name]).values()), "none is empty: an empty one counts as missing"


def test_no_setting_is_left_that_nobody_gives() -> None:
    given = {one for function in functions().values() for one in variables(function)}
    assert set(get_args(Name)) - given == {"AWS_REGION"}, "which Lambda itself gives"


@pytest.mark.parametrize("name", functions())
def test_a_function_may_do_only_what_is_written_out(name: str) -> None:
    for statement in statements(functions()[name]):
        assert statement["Effect"] == "Allow" and statement["Sid"]
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert all(re.fullmatch(r"[a-z0-9]+:[A-Z][A-Za-z]+", action) for action in actions)
        if statement["Resource"] == "*":
            assert actions in (["states:SendTaskSuccess"], ["cloudwatch:GetMetricData"]), "they take no resource"


def test_who_hears_of_events_from_outside_can_change_no_execution() -> None:
    rights = {one["Sid"]: one for one in statements(functions()["NoticeChangeFunction"])}
    assert {action for one in rights.values() for action in one["Action"]} == {"dynamodb:Query", "dynamodb:PutItem", "sqs:SendMessage"}
    assert rights["NotTooOften"]["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "NONCE#*"}}
    assert rights["SendChecks"]["Resource"] == ["CheckQueue.Arn"], "and wake up nothing but a check"


def test_only_who_works_in_target_accounts_may_go_there() -> None:
    going = {name for name, one in functions().items() for statement in statements(one) if "sts:AssumeRole" in statement["Action"]}
    assert going == {
        "StartExecutionFunction",
        "AcceptRequestFunction",
        "PreflightExecutionFunction",
        "StartResourceFunction",
        "CheckResourceFunction",
    }
    assert all(name[: -len("Function")] + "FunctionRole.Arn" in str(template()["Outputs"]["OrchestratorRoleArns"]) for name in going)


def test_what_must_outlive_the_stack_does() -> None:
    for name in of_type("AWS::DynamoDB::GlobalTable") | of_type("AWS::S3::Bucket"):
        assert (template()["Resources"][name]["DeletionPolicy"], template()["Resources"][name]["UpdateReplacePolicy"]) == ("Retain",) * 2


# --- time ---


@pytest.mark.failure("An executor stands still beyond its lease")
@pytest.mark.parametrize("name", modules())
def test_a_lease_is_longer_than_the_longest_call(name: str) -> None:
    options: Any = target._CONFIG
    one_try = options.connect_timeout + options.read_timeout
    assert one_try < target._TRY_SECONDS, "a call that starts before calls are held back ends before the lease"
    assert modules()[name].lease_seconds > options.retries["total_max_attempts"] * target._TRY_SECONDS
    assert modules()[name].timeout_seconds > 0


def test_a_lost_wake_up_is_found_after_the_first_one_could_have_come() -> None:
    each = functions()["SweepFunction"]["Events"]["EachMinute"]["Properties"]["ScheduleExpression"]
    assert each == "rate(1 minute)" and timedelta(seconds=30) < LOST_AFTER <= timedelta(minutes=1)


def test_who_fills_its_own_queue_is_not_stopped_as_a_loop_and_no_other_may_loop() -> None:
    """Lambda stops a function that has led to itself through SQS some 16 times; the other ways lead through the table's stream."""
    looping = {name for name, one in functions().items() if one.get("RecursiveLoop") == "Allow"}
    refilling = {name for name, one in functions().items() if "CHECK_QUEUE_URL" in variables(one) and one.get("Events")}
    own = {name for name in refilling if queue_function("CheckQueue") == functions()[name]["CodeUri"].removeprefix("functions/")}
    assert looping == own == {"CheckResourceFunction"}


def test_every_function_is_traced_unless_the_stack_is_told_not_to() -> None:
    assert template()["Globals"]["Function"]["Tracing"] == "Tracing"
    assert template()["Parameters"]["Tracing"]["Default"] == "Active"
    assert not [name for name, one in functions().items() if "Tracing" in one or "Role" in one], "SAM gives the right to each role it makes"


def test_the_rule_of_notifications_passes_what_may_be_told() -> None:
    pattern = template()["Resources"]["WorthTellingRule"]["Properties"]["EventPattern"]
    assert set(pattern["detail-type"]) == {one.value for one in ALL}
    assert set(pattern["source"]) == {one.source for one in ALL}


# --- the dashboard ---


def widgets() -> list[dict[str, Any]]:
    """The widgets of the troubleshooting dashboard."""
    body = json.loads(template()["Resources"]["TroubleshootingDashboard"]["Properties"]["DashboardBody"])
    return list(body["widgets"])


def test_the_dashboard_has_its_known_name_and_shows_the_board_first() -> None:
    assert template()["Parameters"]["DashboardName"]["Default"] == "DR-Orchestrator-Troubleshooting-Dashboard"
    first = widgets()[0]
    assert (first["type"], first["y"], first["width"]) == ("custom", 0, 24)
    assert first["properties"]["endpoint"] == "${ShowDashboardFunction.Arn}" and first["properties"]["updateOn"]["refresh"] is True


def test_a_variable_of_the_dashboard_stands_for_nothing_until_it_is_chosen() -> None:
    body = json.loads(template()["Resources"]["TroubleshootingDashboard"]["Properties"]["DashboardBody"])
    defaults = {one["id"]: one["defaultValue"] for one in body["variables"]}
    assert all(one["pattern"] == one["defaultValue"] and one["type"] == "pattern" for one in body["variables"])
    assert widgets()[0]["properties"]["params"] == defaults
    assert Asked.model_validate(defaults) == Asked()


def test_each_widget_looks_into_this_region_and_overlaps_no_other() -> None:
    taken: set[tuple[int, int]] = set()
    for one in widgets():
        if one["type"] != "custom":
            assert one["properties"]["region"] == "${AWS::Region}", "a dashboard is not of a Region"
        area = {(x, y) for x in range(one["x"], one["x"] + one["width"]) for y in range(one["y"], one["y"] + one["height"])}
        assert not area & taken and all(x < 24 for x, _ in area)
        taken |= area


def shown() -> list[tuple[str, ...]]:
    """The metrics of the widgets: namespace, name, and what the dimensions are and have, with CloudWatch's short forms written out.

    Source: docs.aws.amazon.com, CloudWatch, dashboard body structure: "." is what the metric before has there, "..." all of it so far.
    """
    found: list[tuple[str, ...]] = []
    for one in widgets():
        before: tuple[str, ...] = ()
        for line in one["properties"].get("metrics", []):
            words = tuple(word for word in line if isinstance(word, str))
            if words[0] == "...":
                words = before[: len(before) - len(words) + 1] + words[1:]
            before = tuple(old if new == "." else new for new, old in zip(words, before or words, strict=True))
            found.append(before)
    return found


def test_every_queue_is_on_the_dashboard() -> None:
    queues = {name for name, one in template()["Resources"].items() if one["Type"] == "AWS::SQS::Queue"}
    feeding = {name for name in queues if "RedrivePolicy" in template()["Resources"][name]["Properties"]}
    by_age = {one[3] for one in shown() if one[1] == "ApproximateAgeOfOldestMessage"}
    by_number = {one[3] for one in shown() if one[1] == "ApproximateNumberOfMessagesVisible"}
    assert by_age == {f"${{{name}.QueueName}}" for name in feeding}
    assert by_number == {f"${{{name}.QueueName}}" for name in queues - feeding}


def test_the_dashboard_shows_what_is_measured() -> None:
    own = [one for one in shown() if one[0] == metrics.NAMESPACE]
    assert all(one[1] in set(Metric) and one[2:] == ("service", metrics.SERVICE) for one in own), "the dimensions that every value has"
    wanted = {
        Metric.EXECUTION_DURATION,
        Metric.LAYER_DURATION,
        Metric.RESOURCE_DURATION,
        Metric.EXECUTIONS_HALTED,
        Metric.SWEEPER_REPAIRS,
        Metric.SWEEPS_COMPLETED,
        Metric.RTO_ELAPSED_RATIO,
    }
    assert wanted <= {one[1] for one in own}


def test_the_widgets_look_at_what_there_is() -> None:
    text = json.dumps(widgets())
    named = set(re.findall(r"\$\{(\w+)(?:\.\w+)?\}", text))
    assert named <= set(template()["Resources"])
    groups = set(re.findall(r"/aws/lambda/\$\{AWS::StackName\}-([a-z-]+)'", text)) | set(console.FUNCTIONS)
    assert groups <= {str(one["FunctionName"]).rsplit("}-")[-1] for one in functions().values()}
