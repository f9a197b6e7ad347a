"""`drctl timeline` and `drctl dashboard`: the picture in the terminal, and the board on this machine."""

import threading
import xml.etree.ElementTree as ET
from datetime import timedelta

import httpx
import pytest

from dr_core.triggers import Outcome
from dr_people.board import Board
from dr_people.gantt import chart
from dr_people.snapshot import read
from drctl.dashboard import make_server
from drctl.timeline import lines
from tests.support.boards import board_at, story
from tests.support.desk import DONE, ID, Desk


def two_layers(desk: Desk) -> None:
    desk.request([("database", "AuroraMySQL"), ("api", "ECS")], [("dns", "R53Record")])
    desk.now += timedelta(seconds=600)
    desk.approve()
    desk.begin("0001-001", Outcome("IN_PROGRESS"))
    desk.begin("0001-002", Outcome("IN_PROGRESS"))
    desk.now += timedelta(seconds=30)
    desk.check("0001-002", DONE)
    desk.now += timedelta(seconds=60)
    desk.check("0001-001", DONE)
    desk.now += timedelta(seconds=10)
    desk.begin("0002-001", DONE)


def test_the_picture_in_the_terminal(desk: Desk) -> None:
    two_layers(desk)
    result = desk.run("timeline", ID)
    assert result.exit_code == 0, result.output
    width = len("ACTIVATE of storefront ")
    drawn = {line[:width].strip(): line[width:] for line in result.stdout.splitlines()}
    assert drawn["ACTIVATE of storefront"].startswith("???") and "---" in drawn["ACTIVATE of storefront"]
    database, api, dns = (drawn[name] for name in ("* database", "api", "* dns"))
    assert database.count("=") == pytest.approx(3 * api.count("="), abs=3)
    assert database.index("=") == api.index("=") and dns.index(".") > database.rindex("=")
    assert database.endswith("1 min 30 s") and api.endswith("30.0 s") and dns.endswith("10.0 s")
    assert "= AWS is at work" in result.stdout and "* critical path" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 160


def test_the_picture_fits_a_terminal_of_eighty_columns(desk: Desk) -> None:
    story(desk, "application-tier-with-a-name-that-nobody-shortened")
    state = desk.table.load(ID)
    assert state
    shown = [line.plain for line in lines(chart(read(desk.table, state, desk.now)), 80)]
    assert max(map(len, shown)) <= 80 and any(line.startswith("    application-tier-with-a-na…") for line in shown)
    signs = shown[shown.index("") + 1 :]
    assert len(signs) == 2 and "! failed, waits for a person" in " ".join(signs), "no sign is torn from its words"


def test_the_picture_as_svg(desk: Desk) -> None:
    two_layers(desk)
    assert ET.fromstring(desk.run("timeline", ID, "-o", "svg").stdout).tag.endswith("svg")


def test_the_board_on_this_machine(desk: Desk, socket_enabled: None) -> None:
    story(desk)
    broken: list[bool] = []

    def board() -> Board:
        if broken:
            raise ConnectionError("no way to AWS")
        return board_at(desk)

    with make_server(board, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as browser:
                first = browser.get("/")
                assert (
                    first.status_code == 200
                    and "workers" in first.text
                    and "default-src 'none'" in first.headers["Content-Security-Policy"]
                )
                assert "Layer 2" in browser.get("/", params={"execution": ID}).text
                assert browser.head("/").text == "" and browser.get("/elsewhere").status_code == 404
                assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421
                assert browser.post("/").status_code == 501
                broken.append(True)
                assert browser.get("/").status_code == 502 and "no way to AWS" in browser.get("/").text
        finally:
            server.shutdown()
