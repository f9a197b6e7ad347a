"""ministack, with function URLs of AuthType AWS_IAM as AWS serves them. Runs in ministack's own environment, which has none of ours.

ministack verifies the signature and asks the caller's policies for `lambda:InvokeFunctionUrl`; what it leaves out is added here:
the function is told who called (`requestContext.authorizer.iam`), and the caller also needs `lambda:InvokeFunction`, which AWS asks
for since October 2025.

Every call counts as one over TLS, for policies that ask for it: the gateway stands where AWS ends TLS. And whoever sends a mail by SES
needs the right to the identity that it comes from, and not to all of them.

And SQS's StartMessageMoveTask, which ministack lacks: at once, all that is visible. Checked against ministack 1.5.33.

And the replicas of DynamoDB's global tables (global_tables), EventBridge between accounts and Regions (ministack_events), StackSets in a
template (stack_sets), the rights of state machines (state_machines), and authorisations, noted and asked for (authorisations).
"""

import json
import time
import uuid
from typing import Any

import authorisations  # these six stand beside this file, where hypercorn looks
import done_once  # noqa: F401 - it works by being there
import global_tables
import ministack_events
import stack_sets
import state_machines
from ministack import app as server
from ministack.core import iam_actions
from ministack.core.iam_evaluator import resolve_caller_identity
from ministack.core.router import extract_access_key_id
from ministack.services import lambda_svc, ses_v2, sqs

__all__ = ["app"]

_enforce = server._enforce_data_plane
_build_event = lambda_svc._build_function_url_event
_pin_origin = server.pin_request_origin
_ses_v2_resource_arn = iam_actions._ses_v2_resource_arn


def _enforce_both(
    service: str, iam_action: str, headers: Any, query_params: Any, request_id: str, *, service_context: Any = None, **more: Any
) -> Any:
    denied = _enforce(service, iam_action, headers, query_params, request_id, service_context=service_context, **more)
    signed = (service_context or {}).get("lambda:FunctionUrlAuthType") == "AWS_IAM" and extract_access_key_id(headers, query_params)
    if denied or iam_action != "lambda:InvokeFunctionUrl" or not signed:
        return denied
    context = {"lambda:InvokedViaFunctionUrl": "true"}
    return _enforce(service, "lambda:InvokeFunction", headers, query_params, request_id, service_context=context, **more)


def _build_event_with_caller(
    url_id: str, account_id: str, region: str, method: str, path: str, headers: Any, body: Any, query_params: Any, **more: Any
) -> Any:
    event = _build_event(url_id, account_id, region, method, path, headers, body, query_params, **more)
    caller = None if more.get("anonymous") else resolve_caller_identity(extract_access_key_id(headers, query_params))
    if caller is not None:
        event["requestContext"]["accountId"] = caller["accountId"]
        event["requestContext"]["authentication"] = None
        event["requestContext"]["authorizer"] = {
            "iam": {
                "accessKey": caller["accessKey"],
                "accountId": caller["accountId"],
                "callerId": caller["userId"],
                "cognitoIdentity": None,
                "principalOrgId": caller["principalOrgId"],
                "userArn": caller["userArn"],
                "userId": caller["userId"],
            }
        }
    return event


def _start_message_move_task(data: dict[str, Any], _url: str) -> dict[str, Any]:
    """Give the messages of a dead-letter queue back to the queues that they came from, as new ones."""
    arn = data.get("SourceArn", "")
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        raise sqs._Err("ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
    if not any(arn in one["attributes"].get("RedrivePolicy", "") for one in sqs._queues.values()):
        raise sqs._Err("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    now, kept = time.time(), []
    for message in queue["messages"]:
        target = sqs._queue_by_arn(data.get("DestinationArn") or message["sys"].get("DeadLetterQueueSourceArn", ""))
        if target is None or message["visible_at"] > now:
            kept.append(message)
            continue
        new = {"id": str(uuid.uuid4()), "receive_count": 0, "first_receive_at": None, "receipt_handle": None}
        sent = {"sent_at": now, "enqueued_at": now, "visible_at": now}
        properties = {name: value for name, value in message["sys"].items() if name != "DeadLetterQueueSourceArn"}
        target["messages"].append({**message, **new, **sent, "sys": {**properties, "SentTimestamp": str(int(now * 1000))}})
    queue["messages"] = kept
    sqs.esm_wake.set()
    return {"TaskHandle": str(uuid.uuid4())}


def _ses_v2_resource_arn_of_sender(method: str, path: str, body: bytes, region: str, account_id: str) -> str:
    """The identity of a mail's sender: the address if it is verified by itself, else its domain."""
    if method != "POST" or path.rstrip("/") != "/v2/email/outbound-emails":
        return _ses_v2_resource_arn(method, path, body, region, account_id)
    try:
        sender = str(json.loads(body).get("FromEmailAddress", ""))
    except (ValueError, AttributeError):
        return "*"
    address = sender.rpartition("<")[2].rstrip("> ")
    identity = address if address in ses_v2._identities else address.rpartition("@")[2]
    return f"arn:aws:ses:{region}:{account_id}:identity/{identity}" if identity else "*"


ministack_events.install()
stack_sets.install()
state_machines.install()
sqs._HANDLERS["StartMessageMoveTask"] = _start_message_move_task
server._enforce_data_plane = _enforce_both
server.pin_request_origin = lambda source_ip, secure_transport: _pin_origin(source_ip, True)
iam_actions._ses_v2_resource_arn = _ses_v2_resource_arn_of_sender
lambda_svc._build_function_url_event = _build_event_with_caller

app = authorisations.serve(ministack_events.telling(global_tables.install().serve(server.app)))
