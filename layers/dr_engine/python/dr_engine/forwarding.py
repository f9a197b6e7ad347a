"""The rules that forward AWS's own events from an account and Region to the orchestrator, written from what the modules listen to.

`python -m dr_engine.forwarding` prints deploy/ForwardEvents.yaml; a test holds the file to it.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

from dr_modules.base import NativeEvent, modules

# EventBridge's limit of a pattern, in characters.
LONGEST_PATTERN = 2048
_BUSES = ("First", "Second", "Third")


def native_events() -> list[NativeEvent]:
    """The events that any module listens to, each once, sorted."""
    declared = [event for module in modules().values() for event in module.native_events]
    return sorted({json.dumps(_branch(event)): event for event in declared}.values(), key=lambda one: (one.source, one.detail_type))


def pattern(events: Iterable[NativeEvent]) -> dict[str, Any]:
    """A pattern of EventBridge that matches these events and no others."""
    return {"$or": [_branch(event) for event in events]}


def render() -> str:
    """The CloudFormation template, YAML."""
    branches = [f"          - {json.dumps(_branch(event))}" for event in native_events()]
    rules = "\n".join(_rule(name, branches) for name in _BUSES)
    return _TEMPLATE.substitute(rules=rules)


def _branch(event: NativeEvent) -> Mapping[str, Any]:
    detail = {"detail": event.detail} if event.detail else {}
    return {"source": [event.source], "detail-type": [event.detail_type], **detail}


def _rule(name: str, branches: Iterable[str]) -> str:
    parts = {"name": name, "condition": "" if name == "First" else f"\n    Condition: To{name}", "branches": "\n".join(branches)}
    return _RULE.substitute(parts)


_RULE = Template("""\
  ForwardTo${name}Rule:
    Type: AWS::Events::Rule${condition}
    Properties:
      Description: Events by which the DR Orchestrator notices early what it waits for
      EventPattern:
        $$or:
$branches
      Targets:
        - Id: bus
          Arn: !Ref ${name}BusArn
          RoleArn: !GetAtt ForwardingRole.Arn
          DeadLetterConfig: { Arn: !GetAtt UndeliveredQueue.Arn }
          RetryPolicy: { MaximumEventAgeInSeconds: 120, MaximumRetryAttempts: 185 }
""")

_TEMPLATE = Template("""\
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  DR Orchestrator: forwards events of AWS services to the orchestrator, from one Region of an account that it acts in.
  Written by `python -m dr_engine.forwarding`.

Parameters:
  FirstBusArn:
    Type: String
    AllowedPattern: ^arn:aws[a-z-]*:events:[a-z0-9-]+:\\d{12}:event-bus/.+$$
    Description: The bus to which events go; the output BusArn of the orchestrator's stack
  SecondBusArn:
    Type: String
    Default: ""
    Description: The same of the orchestrator's stack in a second Region; empty for none
  ThirdBusArn:
    Type: String
    Default: ""
    Description: The same of the orchestrator's stack in a third Region; empty for none

Conditions:
  ToSecond: !Not [!Equals [!Ref SecondBusArn, ""]]
  ToThird: !Not [!Equals [!Ref ThirdBusArn, ""]]

Resources:
$rules
  ForwardingRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: { Service: events.amazonaws.com }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: Forward
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Sid: ForwardEvents
                Effect: Allow
                Action: events:PutEvents
                Resource:
                  - !Ref FirstBusArn
                  - !If [ToSecond, !Ref SecondBusArn, !Ref AWS::NoValue]
                  - !If [ToThird, !Ref ThirdBusArn, !Ref AWS::NoValue]

  # What did not arrive. Nothing is to be sent again: the orchestrator has polled meanwhile. It shows that the way is broken, and why.
  UndeliveredQueue:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: 1209600
      SqsManagedSseEnabled: true

  UndeliveredQueuePolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref UndeliveredQueue]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Sid: RulesOfThisStack
            Effect: Allow
            Principal: { Service: events.amazonaws.com }
            Action: sqs:SendMessage
            Resource: !GetAtt UndeliveredQueue.Arn
            Condition:
              ArnLike: { aws:SourceArn: !Sub "arn:$${AWS::Partition}:events:$${AWS::Region}:$${AWS::AccountId}:rule/$${AWS::StackName}-*" }
          - Sid: OnlyOverTls
            Effect: Deny
            Principal: "*"
            Action: sqs:*
            Resource: !GetAtt UndeliveredQueue.Arn
            Condition:
              Bool: { aws:SecureTransport: false }

Outputs:
  UndeliveredQueueUrl:
    Description: Events that could not be forwarded, each with the reason in its attributes
    Value: !Ref UndeliveredQueue
""")


if __name__ == "__main__":
    sys.stdout.write(render())
