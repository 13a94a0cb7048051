"""What the server answers, and what it refuses."""

from __future__ import annotations

import json
import socket as sockets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sketchless.benchmarks.draw.engine import Engine
from sketchless.benchmarks.draw.server import Limits
from sketchless.benchmarks.draw.session import Session

from .conftest import PATIENCE, Served, answer, ask

LINE = [[40, 40, 0], [200, 60, 30]]
OTHER = [[60, 200, 60], [220, 210, 90]]


def draw(seq: int, keep: int = 0, strokes: Any = (LINE,)) -> dict[str, Any]:
    return {"type": "draw", "seq": seq, "keep": keep, "strokes": list(strokes)}


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("ms", "seq")}


def test_a_drawing_is_ranked_and_undo_gives_back_what_was(serve: Callable[..., Served], engine: Engine) -> None:
    with serve().socket() as socket:
        first = ask(socket, draw(1))
        assert first["type"] == "ranked"
        assert first["strokes"] == first["at"] == 1
        standing = engine.follow([np.array(LINE)[:, :2]])[0]
        assert [tuple(pair) for pair in first["b1"]] == engine.lists(standing)["b1"]
        assert [tuple(pair) for pair in first["refined"]] == engine.lists(standing)["refined"]
        both = ask(socket, draw(2, 1, [OTHER]))
        assert both["strokes"] == 2
        assert both["b1"] != first["b1"]
        undone = ask(socket, draw(3, 1, []))
        assert without_time(undone) == without_time(first)
        assert without_time(ask(socket, draw(4, 1, [OTHER]))) == without_time(both)
        empty = ask(socket, draw(5, 0, []))
        assert (empty["strokes"], "b1" in empty) == (0, False)


def test_replay_equals_what_was_live_and_the_curve_follows_the_target(serve: Callable[..., Served]) -> None:
    served = serve()
    example = json.loads(served.get("example/1")[1])
    strokes = example["strokes"]
    with served.socket() as socket:
        ask(socket, {"type": "target", "seq": 1, "photo": example["target"]})
        live = [ask(socket, draw(2 + n, n, [stroke])) for n, stroke in enumerate(strokes)]
        shown = [ask(socket, {"type": "show", "seq": 100 + n, "at": n + 1}) for n in range(len(strokes))]
        for before, after in zip(live, shown, strict=True):
            assert before["b1"] == after["b1"]
            assert before["refined"] == after["refined"]
        curve = shown[-1]["target"]
        assert curve["b1"]["rank"] == [step["target"]["b1"]["rank"][-1] for step in live]
        assert curve["refined"]["rank"] == [step["target"]["refined"]["rank"][-1] for step in live]
    with served.socket() as again:  # as a page does after a restart
        ask(again, {"type": "target", "seq": 1, "photo": example["target"]})
        assert without_time(ask(again, draw(2, 0, strokes))) == without_time(shown[-1])


def test_connections_do_not_mix(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.socket() as one, served.socket() as two:
        ask(one, draw(1))
        assert ask(two, draw(1, 0, [OTHER]))["strokes"] == 1
        assert ask(one, draw(2, 1, [OTHER]))["strokes"] == 2
        assert ask(two, draw(2, 1, []))["strokes"] == 1


def test_the_page_and_all_it_needs_comes_from_here(serve: Callable[..., Served], engine: Engine) -> None:
    served = serve()
    for path in ("", "style.css", "draw.js", "icon.svg"):
        status, content = served.get(path)
        assert status == 200
        for far in (b"https://", b"http://"):
            assert far not in content.replace(b"http://www.w3.org", b"")
    world = json.loads(served.get("world.json")[1])
    assert world["names"] == list(engine.names)
    assert json.loads(served.get("examples.json")[1]) == [e.target for e in engine.examples()]
    assert served.get("photo/3")[1][:3] == b"\xff\xd8\xff"  # JPEG


@pytest.mark.parametrize(
    "path",
    [
        *("photo/12", "photo/-1", "photo/1e3", "photo/999999999999999999999", "example/99", "nothing"),
        *("photo/../../etc/passwd", "photo/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "photo/%252e%252e", "photo/%00"),
        *(
            "/etc/passwd",
            "photo//etc/passwd",
            "draw.py",
            "../server.py",
            "photo/" + 5000 * "9",
            "example/" + 5000 * "9",
        ),
    ],
)
def test_nothing_else_is_served(serve: Callable[..., Served], path: str) -> None:
    served = serve()
    with sockets.create_connection(("127.0.0.1", served.port)) as raw:  # urllib would tidy the path up
        raw.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        raw.settimeout(PATIENCE)
        assert raw.recv(100).split()[1] == b"404"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example:8080"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "127.0.0.2"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_pages_of_this_server_may_ask(serve: Callable[..., Served], headers: dict[str, str], status: int) -> None:
    assert serve().get("world.json", **headers)[0] == status


def test_a_socket_from_another_site_is_refused(serve: Callable[..., Served]) -> None:
    served = serve()
    with pytest.raises(InvalidStatus) as refused:
        served.socket(origin="http://evil.example")
    assert refused.value.response.status_code == 403
    with served.socket(origin=f"http://127.0.0.1:{served.port}") as socket:
        assert ask(socket, draw(1))["type"] == "ranked"


def test_a_token_is_wanted_where_others_can_come(serve: Callable[..., Served]) -> None:
    served = serve(token="secret")
    for path in ("", "world.json", "photo/1", "?token=wrong", "?token="):
        assert served.get(path)[0] == 403
    assert served.get("?token=secret", Host="some.machine:80")[0] == 200
    assert served.get("photo/1", Host="some.machine:80", Cookie="a=b; sketchless=secret")[0] == 200
    assert served.get("photo/1", Cookie="sketchless=other")[0] == 403
    with pytest.raises(InvalidStatus):
        served.socket()
    with served.socket(additional_headers={"Cookie": "sketchless=secret"}) as socket:
        assert ask(socket, draw(1))["type"] == "ranked"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_body_is_refused_before_it_is_read(serve: Callable[..., Served], method: str) -> None:
    with sockets.create_connection(("127.0.0.1", serve().port)) as raw:
        head = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        raw.sendall(head.encode() + b"x" * 1000)
        raw.settimeout(PATIENCE)
        assert raw.recv(100).split()[1] == b"405"


NAN = '{"type": "draw", "seq": 1, "keep": 0, "strokes": [[[1, NaN]]]}'


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("no json", "no JSON"),
        ("", "no JSON"),
        ("[1, 2]", "no JSON object"),
        ("[" * 100_000, "nested too deep"),
        (NAN, "no number of JSON"),
        (NAN.replace("NaN", "1e999"), "not finite"),
        (NAN.replace("NaN", "1e30"), "beyond all bounds"),
        (NAN.replace("NaN", "9" * 5000), "no JSON"),
        (NAN.replace("NaN", '"1"'), "a point is"),
        (NAN.replace("NaN", "true"), "a point is"),
        (NAN.replace("[[[1, NaN]]]", "[[]]"), "one point or more"),
        (NAN.replace("[[[1, NaN]]]", "7"), "list of strokes"),
        (NAN.replace("[[[1, NaN]]]", "[[[900, 900]]]"), "outside"),
        (NAN.replace("[[[1, NaN]]]", str([[[1, 2]]] * 10_000)), "254 strokes"),
        (NAN.replace("[[[1, NaN]]]", str([[[1, 2]] * 10_001])), "10,001 points"),
        (NAN.replace("[[[1, NaN]]]", str([[[1, 2]] * 200_000])), "characters"),
        ('{"type": "draw", "seq": 1, "keep": -1, "strokes": []}', "keep=-1"),
        ('{"type": "draw", "seq": 1.5, "keep": 0, "strokes": []}', "seq=1.5"),
        ('{"type": "target", "seq": 1, "photo": 12}', "photo=12"),
        ('{"type": "show", "seq": 1, "at": 1}', "at=1"),
        ('{"type": "explain", "seq": 1, "photo": 1}', "draw something first"),
        ('{"type": "gif", "seq": 1}', "draw something first"),
        ('{"type": "<img onerror=x>", "seq": 1}', "unknown"),
        (b"\x00\xff\x13binary", "reads text"),
    ],
)
def test_nonsense_gets_one_clear_line_and_the_connection_lives(
    serve: Callable[..., Served], message: str | bytes, told: str
) -> None:
    with serve().socket() as socket:
        socket.send(message)
        found = answer(socket)
        assert found["type"] == "error"
        assert told in found["message"]
        assert "\n" not in found["message"]
        assert ask(socket, draw(2))["strokes"] == 1


def test_strokes_that_the_server_lacks_are_asked_for(serve: Callable[..., Served]) -> None:
    with serve().socket() as socket:
        assert ask(socket, draw(1, 3, [LINE]))["type"] == "resend"


def test_a_message_beyond_all_bounds_ends_its_connection_only(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.socket() as socket, served.socket() as other:

        def send_too_much() -> None:
            socket.send("x" * (1 << 22))
            socket.recv(timeout=PATIENCE)

        with pytest.raises(ConnectionClosed) as closed:
            send_too_much()
        # what was on its way when the server hung up may have wiped out its close frame
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
        assert ask(other, draw(1))["type"] == "ranked"


def test_of_a_flood_the_newest_is_answered(serve: Callable[..., Served]) -> None:
    limits = Limits(rate=1e6, burst=1e6)
    with serve(limits).socket() as socket:
        for seq in range(1, 501):
            socket.send(json.dumps(draw(seq, 0, [[[seq % 200 + 1, 30], [100, 200]]])))
        seen = []
        while not seen or seen[-1] < 500:
            seen.append(answer(socket)["seq"])
        assert seen == sorted(set(seen))
        assert len(seen) < 500  # most were dropped, none out of turn


def test_too_many_messages_are_slowed_down_and_it_is_said(serve: Callable[..., Served]) -> None:
    with serve(Limits(rate=100, burst=5)).socket() as socket:
        for seq in range(1, 31):
            socket.send(json.dumps(draw(seq)))
        found = [answer(socket)]
        while found[-1].get("seq") != 30:
            found.append(answer(socket))
        assert any("messages a second" in one.get("message", "") for one in found)


def test_no_more_than_so_many_draw_at_once(serve: Callable[..., Served]) -> None:
    served = serve(Limits(sockets=3))
    with served.socket(), served.socket(), served.socket(), served.socket() as late:
        with pytest.raises(ConnectionClosed) as closed:
            late.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert "try again" in closed.value.rcvd.reason
    for _ in range(5000):  # the place is free as soon as the server has noticed
        with served.socket() as again:
            try:
                assert ask(again, draw(1))["type"] == "ranked"
                break
            except ConnectionClosed:
                time.sleep(0.02)
    else:
        pytest.fail("the places of closed connections stay taken")


def test_a_thousand_connections_leave_the_server_alive(serve: Callable[..., Served]) -> None:
    # Each second one stops in the middle of its request, and keeps its place however slow the machine is.
    served = serve(Limits(sockets=8, connections=64, header_seconds=PATIENCE))
    whole = b"GET /world.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    raw = []
    try:
        for place in range(1000):
            one = sockets.create_connection(("127.0.0.1", served.port), timeout=PATIENCE)
            one.sendall(whole if place % 2 else whole[:-2])
            raw.append(one)
        assert b"503" in raw[-1].recv(100)
    finally:
        for one in raw:
            one.close()
    for _ in range(5000):
        if served.get("world.json")[0] == 200:
            break
        time.sleep(0.02)
    with served.socket() as socket:
        assert ask(socket, draw(1))["type"] == "ranked"


def test_a_slow_request_is_hung_up_on(serve: Callable[..., Served]) -> None:
    with sockets.create_connection(("127.0.0.1", serve(Limits(header_seconds=0.3)).port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow")
        raw.settimeout(PATIENCE)
        assert raw.recv(100) == b""


@pytest.mark.slow
def test_who_does_not_read_is_dropped_and_nobody_waits(serve: Callable[..., Served]) -> None:
    served = serve(Limits(send_seconds=0.5, rate=1e6, burst=1e6))
    deaf = sockets.create_connection(("127.0.0.1", served.port))
    deaf.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2048)
    head = "GET /draw HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    deaf.sendall((head + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    gone = threading.Event()

    def flood() -> None:
        body = json.dumps({"type": "show", "seq": 1, "at": 9}).encode()  # every one gets an error in answer
        message = bytes([0x81, 0x80 | len(body), 0, 0, 0, 0]) + body
        try:
            while True:
                deaf.sendall(message * 200)
        except OSError:
            gone.set()

    threading.Thread(target=flood, daemon=True).start()
    with served.socket() as socket:
        assert ask(socket, draw(1))["type"] == "ranked"
        assert gone.wait(PATIENCE)
        assert ask(socket, draw(2))["type"] == "ranked"
    deaf.close()


def test_a_connection_that_breaks_off_in_a_message_is_forgotten(serve: Callable[..., Served]) -> None:
    served = serve(Limits(sockets=1))
    raw = sockets.create_connection(("127.0.0.1", served.port))
    head = "GET /draw HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    raw.sendall((head + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    assert b"101" in raw.recv(200)
    raw.sendall(bytes([0x81, 0xFE, 0x40, 0]) + b"half")
    raw.close()
    for _ in range(5000):
        with served.socket() as socket:
            try:
                assert ask(socket, draw(1))["type"] == "ranked"
                return
            except ConnectionClosed:
                time.sleep(0.02)
    pytest.fail("its place stays taken")


def test_nobody_waits_for_an_animation(
    serve: Callable[..., Served], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, go_on = threading.Event(), threading.Event()

    def animation(path: Path, *_: Any) -> None:
        going.set()
        assert go_on.wait(PATIENCE)
        path.write_bytes(b"GIF89a")

    monkeypatch.setattr(engine, "animation", animation)
    served = serve()
    with served.socket() as socket, served.socket() as other:
        ask(socket, draw(1))
        socket.send(json.dumps({"type": "gif", "seq": 2}))
        assert going.wait(PATIENCE)
        assert ask(other, draw(1))["type"] == "ranked"
        assert ask(socket, draw(3, 1, [OTHER]))["type"] == "ranked"
        assert "being made already" in ask(socket, {"type": "gif", "seq": 4})["message"]
        go_on.set()
        assert socket.recv(timeout=PATIENCE) == b"GIF89a"


def test_others_have_their_turn_between_the_strokes_of_a_long_message(
    serve: Callable[..., Served], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, asked = threading.Event(), threading.Event()
    take, follow, served = Session.take, engine.follow, serve()
    strokes = [[[x, 9], [x, 99]] for x in range(10, 50)]
    with served.socket() as socket:
        alone = [ask(socket, draw(n, n, [stroke])) for n, stroke in enumerate(strokes)][-1]

    def taken(self: Session, message: dict[str, Any]) -> Any:
        found = take(self, message)
        if message["strokes"] == [OTHER]:
            asked.set()
        return found

    turns = []

    def followed(points: Any, known: Any) -> Any:
        going.set()
        assert asked.wait(PATIENCE)
        turns.append("long" if points[0][0][1] == 9 else "other")
        return follow(points, known)

    monkeypatch.setattr(Session, "take", taken)
    monkeypatch.setattr(engine, "follow", followed)
    with served.socket() as socket, served.socket() as other:
        socket.send(json.dumps(draw(1, 0, strokes)))
        assert going.wait(PATIENCE)
        assert ask(other, draw(1, 0, [OTHER]))["type"] == "ranked"
        assert without_time(answer(socket)) == without_time(alone)
    assert len(turns) == 41
    assert "other" in turns[:-1]  # not when all 40 are done


def test_a_drawing_can_be_had_as_an_animation_and_a_hit_explained(serve: Callable[..., Served]) -> None:
    with serve().socket() as socket:
        ask(socket, draw(1, 0, [LINE, OTHER]))
        socket.send(json.dumps({"type": "gif", "seq": 2}))
        found = socket.recv(timeout=PATIENCE)
        assert isinstance(found, bytes)
        assert found[:6] in (b"GIF87a", b"GIF89a")
        why = ask(socket, {"type": "explain", "seq": 3, "photo": 5})
        assert (why["type"], why["photo"], why["strokes"]) == ("explained", 5, 2)
        assert why["links"]
