"""What tests of the board share: a board on a desk's table, a story with a failure in it, and what CloudWatch would leave of a widget."""

from datetime import timedelta
from html.parser import HTMLParser

from dr_core.calls import Call
from dr_core.triggers import Outcome
from dr_people.board import Board
from dr_people.wellbeing import Sign, Wellbeing
from tests.support.desk import DONE, HOME, ID, STACK, Desk, failed

MACHINE = f"arn:aws:states:{HOME}:111111111111:stateMachine:approval"
ARN = f"arn:aws:lambda:{HOME}:111111111111:function:dr-orchestrator-show-dashboard"
REQUEST_ID = "7c0e4d5a-9f53-4a5b-8d1e-2f60b7a1c9e8"
DENIED = "User: <b onclick=alert(1)>dr-1</b> is not authorized to perform autoscaling:UpdateAutoScalingGroup"
EVIL = "<script>alert('name')</script>"
WELL = Wellbeing((Sign("DeadLetterQueue", True, "empty"), Sign("Relay", None, "has had nothing to do for 15 min")))
# What CloudWatch keeps of a widget for certain: plain HTML, style, its own action, and SVG's plain shapes. No script, no iframe, no use.
HTML_TAGS = {"style", "div", "section", "nav", "h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "table", "tr", "th", "td"}
HTML_TAGS |= {"a", "button", "code", "pre", "span", "strong", "details", "summary", "cwdb-action"}
SVG_TAGS = {"svg", "g", "title", "desc", "rect", "line", "text"}
ATTRIBUTES = {"class", "aria-label", "aria-labelledby", "scope", "type", "id", "role", "viewbox", "xmlns"}
ATTRIBUTES |= {"x", "y", "x1", "x2", "y1", "y2", "width", "height", "fill", "stroke", "text-anchor", "font-weight"}
ATTRIBUTES |= {"href", "target", "rel", "action", "display", "endpoint"}


def board_at(desk: Desk, wellbeing: Wellbeing = WELL) -> Board:
    """The board as the function makes it."""
    command = f"drctl --stack {STACK} --region {HOME}"
    return Board(desk.table, HOME, STACK, MACHINE, command, lambda: desk.now, lambda: wellbeing)


def story(desk: Desk, name: str = EVIL, message: str = DENIED) -> None:
    """One execution that is over, one that waits for approval, and one that is halted: of three resources one failed at its first call.

    `name` of a resource, and `message` of AWS's refusal: by default such as would do harm if they were markup.
    """
    desk.request([("database", "AuroraMySQL")], execution_id=f"{ID[:-1]}A", application="erp")
    desk.approve()
    _after(desk, 3).begin("0001-001", DONE)
    desk.request([("database", "AuroraMySQL")], execution_id=f"{ID[:-1]}B", application="shop")
    desk.request([("database-failover", "AuroraMySQL"), (name, "ECS"), ("workers", "AutoScaling")], [("dns", "R53Record")])
    _after(desk, 600).approve()
    _after(desk, 5).begin("0001-001", Outcome("IN_PROGRESS", "1 of 2 instances available", 50))
    desk.begin("0001-002", Outcome("IN_PROGRESS", "2 of 4 tasks run", 50))
    desk.begin("0001-003", failed("AccessDenied", message, REQUEST_ID))
    action, parameters = "autoscaling:UpdateAutoScalingGroup", {"AutoScalingGroupName": "workers", "DesiredCapacity": 3}
    call = Call(action, HOME, parameters, "2031-03-01T12:10:08.000Z", True, REQUEST_ID, 143, "AccessDenied", message)
    desk.table.keep_calls(ID, "0001-003", 1, [call], desk.now)
    _after(desk, 30).check("0001-002", DONE)
    _after(desk, 60).check("0001-001", DONE)
    _after(desk, 130)


def _after(desk: Desk, seconds: float) -> Desk:
    desk.now += timedelta(seconds=seconds)
    return desk


class Parsed(HTMLParser):
    """A page taken apart: its tags, its attributes, its text, and what a cwdb-action would send."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.actions: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in ("rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "cwdb-action" in self.open:
            self.actions.append(data)
        elif "style" not in self.open:
            self.text += data
