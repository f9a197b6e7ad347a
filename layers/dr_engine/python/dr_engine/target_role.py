"""The role that the orchestrator assumes in each account, written from what the modules declare.

`python -m dr_engine.target_role` prints deploy/TargetAccountsAssumeRole.yaml; a test holds the file to it.
"""

import sys
from string import Template

from dr_engine import permissions
from dr_modules.base import modules


def actions() -> list[str]:
    """Every IAM action that any module may need in any phase, and those that resolve references; sorted."""
    return permissions.actions(permissions.needs(modules(), permissions.uses(modules()), references=True))


def render() -> str:
    """The CloudFormation template, YAML."""
    return _TEMPLATE.substitute(actions="\n".join(f"                  - {action}" for action in actions()))


_TEMPLATE = Template("""\
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  DR Orchestrator: the role that the orchestrator assumes in an account to act there. Written by `python -m dr_engine.target_role`.

Parameters:
  OrchestratorRoleArns:
    Type: CommaDelimitedList
    Description: The roles that may assume this one; the output OrchestratorRoleArns of the orchestrator's stack
  RoleName:
    Type: String
    Default: DR-Orchestrator-Execution-Role
    Description: The same as the orchestrator's TargetRoleName
  ExternalId:
    Type: String
    NoEcho: true
    MinLength: 8
    Description: The same as the orchestrator's ExternalId

Resources:
  ExecutionRole:
    Type: AWS::IAM::Role
    Properties:
      RoleName: !Ref RoleName
      MaxSessionDuration: 3600
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: { AWS: !Ref OrchestratorRoleArns }
            Action: sts:AssumeRole
            Condition:
              StringEquals: { sts:ExternalId: !Ref ExternalId }
              StringLike: { sts:RoleSessionName: dr-* }
      Policies:
        - PolicyName: Modules
          # Each session is cut down further, to what one module needs in one phase.
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Sid: WhatTheModulesDeclare
                Effect: Allow
                Action:
$actions
                Resource: "*"

Outputs:
  ExecutionRoleArn:
    Description: The role that the orchestrator assumes
    Value: !GetAtt ExecutionRole.Arn
""")


if __name__ == "__main__":
    sys.stdout.write(render())
