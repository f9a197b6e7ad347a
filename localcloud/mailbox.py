"""A mailbox of the local cloud: an SQS queue that is subscribed to a topic."""

import json

from localcloud.cloud import STANDBY_REGION, LocalCloud


def subscribed(cloud: LocalCloud, topic_arn: str, name: str, region: str = STANDBY_REGION) -> str:
    """Make the queue `<name>-mailbox`, which the topic alone may fill. Gives its URL."""
    sqs = cloud.client("sqs", region)
    url: str = sqs.create_queue(QueueName=f"{name}-mailbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [allow | {"Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    cloud.client("sns", region).subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)
    return url
