"""What a stranger's page, a rebound name or a broken client may send: refused or served, nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")

from leopart.viewer.serve import PageServer
from run_folders import make_run

HIDDEN = "nobody-may-read-this"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a page, and its OUT."""
    tmp_path = tmp_path_factory.mktemp("run")
    out = make_run(tmp_path, names=("<script>alert(1)<script>.jpg",))
    (tmp_path / "secret.txt").write_text(HIDDEN)
    server = PageServer(out)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.address.rstrip("/"), out
    finally:
        server.close()
        thread.join(20)
        assert not thread.is_alive()


def token(address: str) -> str:
    found = re.search('name="token" content="([^"]+)"', httpx.get(address + "/").text)
    assert found
    return found[1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_host_name_is_refused(served):
    address, _ = served
    for host in (
        "evil.example",
        "evil.example:80",
        address.removeprefix("http://") + ".evil.example",
        "127.0.0.1:1",
    ):
        answer = httpx.get(address + "/api/run", headers={"host": host})
        assert answer.status_code == 421, host
        assert "photo" not in answer.text


def test_localhost_is_the_same_machine(served):
    address, _ = served
    port = address.rpartition(":")[2]
    assert httpx.get(address + "/api/run", headers={"host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_another_origin_is_refused(served, headers):
    address, _ = served
    assert httpx.get(address + "/api/run", headers=headers).status_code == 403
    headers = headers | {"x-leopart-token": token(address)}
    assert httpx.post(address + "/api/save", headers=headers, json={"version": 0}).status_code == 403


@pytest.mark.parametrize("given", ["", "wrong", "ü"])
def test_a_change_without_the_pages_token_is_refused(served, given):
    address, out = served
    before = files_of(out)
    headers = {"x-leopart-token": given.encode()} if given else {}
    change = {"version": 0, "action": "ignore", "ids": "parts:1"}
    for path in ("/api/change", "/api/save", "/api/export", "/api/download", "/api/split"):
        assert httpx.post(address + path, headers=headers, json=change).status_code == 403
    assert not (out / ".view" / "draft.yaml").exists()
    assert {name: before[name] for name in before} == {name: files_of(out)[name] for name in before}


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/%2e%2e/secret.txt",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/photo/thumb/../../../secret.txt",
        "/photo/..%2f..%2f..%2fsecret.txt/0",
        "/mask/..%2f..%2fsecret.txt/0",
        "/photo/thumb/-1",
        "/photo/thumb/99999999999999999999999999",
        "/patch/99/0",
        "/patch/1/99",
        "/api/order?by=area&part=-1",
        "/api/order?by=area&part=²",
        "/../secret.txt",
        "/download/../../secret.txt",
        "/download/coco",
        "/download/%00",
        "http://evil.example/",
        "/\x00",
    ],
)
def test_a_path_leads_nowhere(served, path):
    address, _ = served
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500 or (status == 200 and path.startswith("http:"))
    assert HIDDEN.encode() not in answer
    assert b"root:" not in answer
    assert b"Traceback" not in answer


def test_a_mask_that_is_a_link_out_of_the_folder_is_not_shown(served):
    address, out = served
    outside = out.parent / "outside.png"
    mask = out / "parts" / "mask0001.png"
    mask.rename(outside)
    mask.symlink_to(outside)
    answer = httpx.get(address + "/mask/screen/1")
    mask.unlink()
    outside.rename(mask)
    assert answer.status_code == 422
    assert "leads out of" in answer.json()["error"]


def test_a_cache_that_is_a_link_out_of_the_folder_is_not_written(tmp_path):
    out = make_run(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (out / ".view").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="leads out of the folder"):
        PageServer(out)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_large_body_is_refused_whether_its_length_is_told_or_not(served):
    address, _ = served
    headers = {"x-leopart-token": token(address)}
    large = b"x" * 10_000_000

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    for content in (large, pieces()):
        with suppress(httpx.TransportError):  # the server may hang up before it was all sent
            assert httpx.post(address + "/api/change", headers=headers, content=content).status_code == 413
    assert httpx.get(address + "/api/progress").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": "0", "action": "undo"}',
        b'{"version": 0}',
        b'{"version": 0, "action": "name"}',
        b'{"version": 0, "action": "name", "ids": "parts:1", "name": ""}',
        b'{"version": 0, "action": "name", "ids": "parts:1", "name": "a\\nb"}',
        b'{"version": 0, "action": "name", "ids": "parts:1", "name": "\\ud800"}',
        b'{"version": 0, "action": "name", "ids": "parts:77", "name": "x"}',
        b'{"version": 0, "action": "name", "ids": "parts:1-9999999999", "name": "x"}',
        b'{"version": 0, "action": "recolour", "name": "object 1", "colour": "red"}',
        b'{"version": 0, "action": "merge", "name": "x", "first": "object 1", "second": 5}',
        b'{"version": 0, "action": "__class__"}',
        b'{"version": 7, "action": "undo"}',
    ],
)
def test_a_broken_request_is_refused_in_a_sentence_and_changes_nothing(served, body):
    address, _ = served
    before = httpx.get(address + "/api/labels").json()
    answer = httpx.post(address + "/api/change", headers={"x-leopart-token": token(address)}, content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert "Traceback" not in answer.text
    assert httpx.get(address + "/api/labels").json() == before


@pytest.mark.parametrize("path", ["/api/export", "/api/download"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": null}',
        b'{"format": ["csv"]}',
        b'{"format": "../../secret"}',
        b'{"format": "csv/../../.."}',
        b'{"format": "onnx"}',
        b'{"format": "csv\\u0000"}',
        b'{"format": "<script>", "what": "parts"}',
    ],
)
def test_a_format_that_there_is_not_is_neither_written_nor_read(served, path, body):
    address, out = served
    before = files_of(out)
    answer = httpx.post(address + path, headers={"x-leopart-token": token(address)}, content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert files_of(out).keys() == before.keys()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"version": 0}',
        b'{"version": 0, "part": "1", "into": 2}',
        b'{"version": 0, "part": 1}',
        b'{"version": 0, "part": true, "into": true}',
        b'{"version": 0, "part": 1, "into": 1000000000}',
        b'{"version": 0, "back": true}',
        b'{"version": 9, "part": 1, "into": 2}',
    ],
)
def test_a_split_that_is_not_one_is_refused_and_writes_nothing(served, body):
    address, out = served
    before = files_of(out)
    answer = httpx.post(address + "/api/split", headers={"x-leopart-token": token(address)}, content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert files_of(out) == before


def test_an_export_is_fetched_with_a_ticket_alone(served):
    address, _ = served
    headers = {"x-leopart-token": token(address)}
    assert httpx.post(address + "/api/export", headers=headers, json={"format": "csv"}).status_code == 200
    while httpx.get(address + "/api/progress").json()["writing"]["running"]:
        time.sleep(0.05)
    ticket = httpx.post(address + "/api/download", headers=headers, json={"format": "csv"}).json()["address"]
    answer = httpx.get(address + ticket)
    assert answer.headers["content-disposition"] == 'attachment; filename="leopart-csv.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "areas.csv" in archive.namelist()
    assert httpx.get(address + ticket, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert httpx.get(address + ticket[:-1]).status_code == 404


def test_two_hundred_requests_at_once_are_all_served(served):
    address, _ = served
    with httpx.Client(limits=httpx.Limits(max_connections=200), timeout=60) as client:
        paths = [f"/{kind}/thumb/{i % 6}" for i in range(100) for kind in ("photo", "mask")]
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda path: client.get(address + path).status_code, paths))
    assert answers == [200] * 200


def test_every_answer_has_a_strict_policy(served):
    address, _ = served
    for path in ("/", "/page/main.js", "/api/run", "/photo/thumb/0", "/nothing"):
        headers = httpx.get(address + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_what_is_open_to_the_network_needs_the_token(tmp_path):
    server = PageServer(make_run(tmp_path), "0.0.0.0")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        secret = server.address.rpartition("=")[2]
        address = f"http://127.0.0.1:{server.address.split('/')[2].rpartition(':')[2]}"
        assert len(secret) >= 32
        for path in ("/", "/api/run", "/photo/thumb/0", "/?token=", "/?token=x", "/api/run?token=" + secret):
            assert httpx.get(address + path).status_code == 403, path
        with httpx.Client() as client:
            assert client.get(f"{address}/?token={secret}", follow_redirects=True).status_code == 200
            assert client.get(address + "/api/run").status_code == 200
            assert client.get(address + "/api/run", headers={"host": "evil.example"}).status_code == 421
    finally:
        server.close()
        thread.join(20)


def test_names_reach_the_page_as_data(served):
    address, _ = served
    assert "<script>alert" in httpx.get(address + "/api/run").json()["photos"][0][0]
    assert "alert" not in httpx.get(address + "/").text
    assert httpx.get(address + "/api/run").headers["content-type"] == "application/json"
    assert json.loads(httpx.get(address + "/api/labels").text)["version"] == 0
    assert os.sep not in httpx.get(address + "/api/run").json()["folder"]
