"""The roles that the orchestrator assumes in each account, written from what the modules declare.

`python -m dr_engine.target_role` prints deploy/TargetAccountsAssumeRole.yaml; a test holds the file to it.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Final

from dr_core.phases import Phase
from dr_core.references import REFERENCE_ACTIONS
from dr_core.target import CLEANUP_SUFFIX
from dr_engine import permissions
from dr_modules.base import modules

# Actions that AWS lets nobody narrow to resources; a contract test holds this against AWS's reference of actions.
WITHOUT_RESOURCES: Final = frozenset(
    {
        "application-autoscaling:DescribeScalableTargets",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLaunchConfigurations",
        "cloudformation:ListExports",
        "cloudwatch:GetMetricData",
        "cloudwatch:ListMetrics",
        "drs:DescribeJobs",
        "drs:DescribeRecoveryInstances",
        "drs:DescribeSourceServers",
        "drs:ListTagsForResource",
        "ec2:DescribeAccountAttributes",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcs",
        "ecs:DescribeTaskDefinition",
        "elasticloadbalancing:DescribeLoadBalancers",
        "rds:DescribeAccountAttributes",
        "rds:DescribeOrderableDBInstanceOptions",
        "s3:ListAllMyBuckets",
        "ssm:GetCommandInvocation",
        "ssm:ListCommands",
    }
)
# ARNs beyond or instead of what a service has in the account, in any Region; AWS is the partition.
_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "ec2": ("ec2:*:ACCOUNT:*", "ec2:*::image/*", "ec2:*::snapshot/*"),
    "iam": ("iam::ACCOUNT:role/*",),
    "kms": ("kms:*:*:key/*",),  # whose own policies say who may use them; organisations have keys in an account of their own
    "route53": ("route53:::hostedzone/*", "route53:::change/*"),
    "s3": ("s3:::*",),
    "ssm": ("ssm:*:ACCOUNT:*", "ssm:*::document/*", "ec2:*:ACCOUNT:instance/*"),
}
_PASSED_TO: Final = ("directoryservice.rds.amazonaws.com", "ec2.amazonaws.com", "monitoring.rds.amazonaws.com", "rds.amazonaws.com")
_CONDITIONS: Final[Mapping[str, str]] = {
    "iam:PassRole": f"StringEquals: {{ iam:PassedToService: [{', '.join(_PASSED_TO)}] }}",
    "kms:CreateGrant": "Bool: { kms:GrantIsForAWSResource: true }",
    "s3": "StringEquals: { aws:ResourceAccount: !Ref AWS::AccountId }",
}


def actions(phases: Iterable[Phase] = Phase) -> list[str]:
    """Every IAM action that any module may need in these phases, and those that resolve references; sorted."""
    used = {use for phase in phases for use in permissions.uses(modules(), phase)}
    return sorted({*permissions.actions(permissions.needs(modules(), used, references=True)), *REFERENCE_ACTIONS})


def statements(allowed: Iterable[str]) -> dict[str, list[str]]:
    """The actions by the statement that allows them, by its Sid: one for each service, for conditions, and for what takes no resource."""
    found: dict[str, list[str]] = {}
    for action in allowed:
        service, _, name = action.partition(":")
        sid = "WithoutResources" if action in WITHOUT_RESOURCES else name if action in _CONDITIONS else _words(service)
        found.setdefault(sid, []).append(action)
    return dict(sorted(found.items()))


def _words(service: str) -> str:
    return "".join(part.capitalize() for part in service.split("-"))


def _statement(sid: str, allowed: list[str]) -> str:
    service = allowed[0].partition(":")[0]
    forms = ("*",) if sid == "WithoutResources" else _RESOURCES.get(service, (f"{service}:*:ACCOUNT:*",))
    lines = [f"- Sid: {sid}", "  Effect: Allow", "  Action:", *(f"    - {action}" for action in allowed)]
    if forms == ("*",):
        lines.append('  Resource: "*" # these actions take no resource')
    else:
        arns = ("arn:${AWS::Partition}:" + form.replace("ACCOUNT", "${AWS::AccountId}") for form in forms)
        lines += ["  Resource:", *(f'    - !Sub "{arn}"' for arn in arns)]
    condition = _CONDITIONS.get(allowed[0]) or (_CONDITIONS.get(service) if sid != "WithoutResources" else None)
    if condition:
        lines += ["  Condition:", f"    {condition}"]
    return "\n".join(" " * 14 + line for line in lines)


def _role(name: str, suffix: str, description: str, phases: Sequence[Phase]) -> str:
    allowed = "\n".join(_statement(sid, group) for sid, group in statements(actions(phases)).items())
    written = ", ".join(phase.value for phase in phases)
    return _ROLE.substitute(
        name=name,
        role_name=f"!Sub ${{RoleName}}{suffix}" if suffix else "!Ref RoleName",
        description=description,
        phases=written,
        statements=allowed,
    )


def render() -> str:
    """The CloudFormation template, YAML."""
    others = [phase for phase in Phase if phase is not Phase.CLEANUP]
    roles = (
        _role("ExecutionRole", "", "What DR Orchestrator assumes here to bring an application up", others),
        _role("CleanupRole", CLEANUP_SUFFIX, "What DR Orchestrator assumes here to clear away the side that was left", [Phase.CLEANUP]),
    )
    return _TEMPLATE.substitute(roles="\n".join(roles))


_ROLE = Template("""\
  $name:
    Type: AWS::IAM::Role
    Properties:
      RoleName: $role_name
      Description: $description
      MaxSessionDuration: 3600
      PermissionsBoundary: !If [HasBoundary, !Ref PermissionsBoundaryArn, !Ref AWS::NoValue]
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Sid: TheOrchestratorAlone
            Effect: Allow
            Principal: { AWS: !Ref OrchestratorRoleArns }
            Action: sts:AssumeRole
            Condition:
              StringEquals:
                sts:ExternalId: !Ref ExternalId
                aws:PrincipalOrgID: !If [InOrganization, !Ref OrganizationId, !Ref AWS::NoValue]
                aws:RequestTag/dr-phase: [$phases]
              StringLike:
                sts:RoleSessionName: dr-*
                aws:RequestTag/dr-application: "?*"
                aws:RequestTag/dr-execution: "?*"
          - Sid: WhatASessionIsFor
            Effect: Allow
            Principal: { AWS: !Ref OrchestratorRoleArns }
            Action: sts:TagSession
            Condition:
              StringEquals: { aws:RequestTag/dr-phase: [$phases] }
              ForAllValues:StringEquals: { aws:TagKeys: [dr-application, dr-execution, dr-phase] }
      Policies:
        - PolicyName: Modules
          # Each session is cut down further, to what one module needs in one phase.
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
$statements
""")

_TEMPLATE = Template("""\
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  DR Orchestrator: the roles that the orchestrator assumes in an account to act there. Written by `python -m dr_engine.target_role`.

Parameters:
  OrchestratorRoleArns:
    Type: CommaDelimitedList
    Description: The roles that may assume these; the output OrchestratorRoleArns of the orchestrator's stack
  RoleName:
    Type: String
    Default: DR-Orchestrator-Execution-Role
    MaxLength: 56
    Description: The same as the orchestrator's TargetRoleName; the role of CLEANUP has -Cleanup behind it
  ExternalId:
    Type: String
    NoEcho: true
    MinLength: 8
    Description: The same as the orchestrator's ExternalId
  OrganizationId:
    Type: String
    Default: ""
    AllowedPattern: ^$$|^o-[a-z0-9]{10,32}$$
    Description: The organization, such as o-a1b2c3d4e5, that the orchestrator's account must be in; empty for no such condition
  PermissionsBoundaryArn:
    Type: String
    Default: ""
    Description: The managed policy that bounds the roles, where the account asks for one; empty for none

Conditions:
  InOrganization: !Not [!Equals [!Ref OrganizationId, ""]]
  HasBoundary: !Not [!Equals [!Ref PermissionsBoundaryArn, ""]]

Resources:
$roles
Outputs:
  ExecutionRoleArn:
    Description: The role that the orchestrator assumes for INSTANTIATE, ACTIVATE and REPLICATE
    Value: !GetAtt ExecutionRole.Arn
  CleanupRoleArn:
    Description: The role that the orchestrator assumes for CLEANUP
    Value: !GetAtt CleanupRole.Arn
""")


if __name__ == "__main__":
    sys.stdout.write(render())
