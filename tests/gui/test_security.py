from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from drawn_inputs import write_lif
from fringemap.gui.server import STATIC
from gui_server import OURS, Asker, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

SMALL = 1 << 20


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    around = tmp_path_factory.mktemp("around")
    folder = around / "frames"
    (folder / "inner").mkdir(parents=True)
    write_lif(folder / "a.mrc")
    write_lif(folder / "inner" / "b.mrc")
    write_lif(around / "secret.mrc")
    (folder / "link.mrc").symlink_to(around / "secret.mrc")
    (folder / "way_out").symlink_to(around, target_is_directory=True)
    (folder / "round").symlink_to(folder / "round")
    with serving(folder) as asked:
        asked.guard._largest_upload = SMALL
        yield asked


def alive(asker: Asker) -> bool:
    return asker.get("input", name="a.mrc").status == 200


@pytest.mark.parametrize(
    "name",
    [
        "../secret.mrc",
        "inner/../../secret.mrc",
        "/etc/passwd",
        "..",
        "..\\secret.mrc",
        "link.mrc",
        "way_out/secret.mrc",
        "way_out",
        "round",
        ".fringemap/session.json",
        "a.mrc\0.png",
        "%2e%2e/secret.mrc",
        "~/.ssh/id_rsa",
        "x" * 5000,
    ],
)
@pytest.mark.parametrize(
    "path", ["folder", "input", "thumbnail", "frame", "spectrum", "profile", "result", "export/data"]
)
def test_no_name_leads_out_of_the_folder(asker: Asker, path: str, name: str) -> None:
    reply = asker.get(path, name=name)
    assert reply.status == 404
    assert str(asker.folder.parent) not in reply.body.decode()


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/../x"]
)
def test_no_address_leads_out_of_the_static_files(asker: Asker, path: str) -> None:
    assert asker.raw("GET", path).status in (400, 404)


def test_links_that_lead_out_are_not_listed(asker: Asker) -> None:
    listed = [entry["title"] for entry in asker.get("folder", name="").json()["entries"]]
    assert listed == ["inner", "a.mrc"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "", "[::2]"])
def test_a_foreign_host_is_refused(asker: Asker, host: str) -> None:
    assert asker.raw("GET", "/", headers={"Host": host}).status == 421
    assert alive(asker)


@pytest.mark.parametrize("host", ["localhost:9999", "127.0.0.1:80", "[::1]:1234", "LOCALHOST"])
def test_the_end_of_a_tunnel_is_this_machine(asker: Asker, host: str) -> None:
    assert asker.raw("GET", "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_foreign_origin_is_refused(asker: Asker, origin: str) -> None:
    assert asker.get("folder", headers={"Origin": origin}).status == 403
    given = {**OURS, "Origin": origin}
    assert asker.raw("POST", "/api/scale", b'{"name": "a.mrc", "pixel_size_nm": 9}', given).status == 403
    assert asker.session.given_scale("a.mrc") is None


def test_what_another_page_embeds_is_refused_but_a_link_to_the_page_works(asker: Asker) -> None:
    assert asker.get("thumbnail", headers={"Sec-Fetch-Site": "cross-site"}, name="a.mrc").status == 403
    assert asker.raw("GET", "/", headers={"Sec-Fetch-Site": "cross-site"}).status == 200


def test_a_change_without_our_header_is_refused(asker: Asker) -> None:
    assert asker.raw("POST", "/api/scale", b'{"name": "a.mrc", "pixel_size_nm": 9}').status == 403
    assert asker.session.given_scale("a.mrc") is None


def test_a_websocket_is_refused(asker: Asker) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    for path in ("/", "/ws", "/socket.io/"):
        reply = asker.raw("GET", path, headers={**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        assert reply.status != 101
    assert alive(asker)


def test_an_upload_that_declares_five_gigabytes_is_refused_before_it_is_read(asker: Asker) -> None:
    asker.guard._largest_upload = 4 << 30
    try:
        with socket.create_connection(("127.0.0.1", asker.port), timeout=10) as line:
            head = f"POST /api/upload?name=big.mrc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {5 << 30}\r\n"
            line.sendall(head.encode() + b"X-Fringemap: 1\r\n\r\nxxxx")
            assert b" 413 " in line.recv(100)
    finally:
        asker.guard._largest_upload = SMALL
    assert alive(asker)
    assert not (asker.folder / "uploads").exists()


def test_an_upload_that_never_ends_is_cut_off_and_leaves_nothing(asker: Asker) -> None:
    def without_end() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * (SMALL // 10)

    try:
        reply = asker.raw("POST", "/api/upload?name=big.mrc", without_end(), OURS)
        assert reply.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # cut off while it was sending
    assert alive(asker)
    assert not list((asker.folder / "uploads").iterdir())


@pytest.mark.parametrize("length", ["-1", "ten", "1e3"])
def test_a_length_that_makes_no_sense_is_refused(asker: Asker, length: str) -> None:
    reply = asker.raw("POST", "/api/scale", b"", {**OURS, "Content-Length": length})
    assert reply.status in (400, 413)
    assert alive(asker)


@pytest.mark.parametrize(
    "name", ["note.txt", "page.html", "x.mrc", "noise.png", "../../up.dm4", ".hidden.mrc", "<b>.tif"]
)
def test_what_is_no_image_is_not_kept(asker: Asker, name: str, rng: np.random.Generator) -> None:
    reply = asker.post("upload", rng.bytes(5000), name=name)
    assert reply.status == 422
    assert reply.json()["error"]
    assert not list(asker.folder.rglob("*up.dm4"))
    assert alive(asker)


def test_an_image_is_kept_under_a_name_that_any_disk_takes(asker: Asker, tmp_path: Path) -> None:
    content = write_lif(tmp_path / "lif.mrc").read_bytes()
    reply = asker.post("upload", content, name='../../<img src=x onerror="alert(1)">/ü λ?.mrc')
    assert reply.json()["name"] == "uploads/ü λ_.mrc"
    again = asker.post("upload", content, name="ü λ_.mrc")
    assert again.json()["name"] == "uploads/ü λ_-2.mrc"
    for path in (asker.folder / "uploads").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff\xfe", b'"x"', b'{"name": 3}', b'{"name": null, "frame": "x"}']
)
@pytest.mark.parametrize("path", ["scale", "runs", "run", "correct", "calibrate"])
def test_nonsense_is_answered_with_a_sentence(asker: Asker, path: str, body: bytes) -> None:
    reply = asker.post(path, body)
    assert reply.status in (404, 422)
    assert len(reply.json()["error"]) > 10


def test_the_page_may_load_nothing_from_elsewhere(asker: Asker) -> None:
    rules = asker.raw("GET", "/").headers["content-security-policy"]
    assert "default-src 'self'" in rules
    assert "unsafe-eval" not in rules
    assert "script-src" not in rules
    for path in STATIC.rglob("*.*"):
        found = re.findall(r"https?://[^\s\"'`)<]+", path.read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_page_never_parses_text_as_markup() -> None:
    for path in STATIC.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, path.name


def test_other_machines_need_the_token(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.mrc")
    with serving(tmp_path, hosts=("127.0.0.1", "station"), token="secret") as asker:
        assert asker.get("folder").status == 401
        assert asker.get("folder", token="guess").status == 401
        assert asker.get("folder", headers={"Authorization": "Bearer secret"}).status == 200
        welcome = asker.raw("GET", "/?token=secret", headers={"Host": "station:80"})
        assert welcome.status == 200
        cookie = welcome.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert asker.get("folder", headers={"Cookie": cookie.split(";")[0]}).status == 200
        assert asker.get("folder", headers={"Cookie": "fringemap_token=x"}).status == 401
