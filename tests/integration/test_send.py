"""`pgbourse send`: documents in files and on standard input, replies on the terminal, the exit status."""

import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgbourse.cli import main
from pgbourse.client.send import SendError, send
from pgbourse.errors import PgbourseError
from tests.integration.client import server_that
from tests.integration.conftest import Gateway, StartGateway

CREATE = b'<?xml version="1.0"?>\n<create><account id="1" balance="10"/><symbol sym="X"/></create>\n'


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "create.xml"
    path.write_bytes(CREATE)
    return path


@pytest.mark.parametrize("reply_framing", ["plain", "length", "mirror"])
@pytest.mark.parametrize("close_after_reply", [False, True])
def test_replies_are_printed_indented(
    start_gateway: StartGateway,
    document: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    reply_framing: str,
    close_after_reply: bool,
) -> None:
    gateway = start_gateway(reply_framing=reply_framing, close_after_reply=close_after_reply)
    order = tmp_path / "order.xml"
    order.write_text('<transactions id="1"><order sym="X" amount="1" limit="2"/></transactions>')
    assert send([document, order], *gateway.address) == 0
    assert capsys.readouterr().out == (
        '<results>\n  <created id="1"/>\n  <created sym="X"/>\n</results>\n'
        '<results>\n  <opened sym="X" amount="1" limit="2" id="1"/>\n</results>\n'
    )


def test_an_error_in_a_reply_is_the_exit_status(
    gateway: Gateway, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send([document], *gateway.address) == 0
    assert send([document], *gateway.address) == 1
    assert '<error id="1">' in capsys.readouterr().out


def test_standard_input_is_sent(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(CREATE)))
    assert send([], *gateway.address) == 0
    assert '<created id="1"/>' in capsys.readouterr().out


def test_an_empty_file_is_not_sent(gateway: Gateway, tmp_path: Path) -> None:
    empty = tmp_path / "empty.xml"
    empty.write_text("\n")
    with pytest.raises(SendError, match=r"empty\.xml holds no document"):
        send([empty], *gateway.address)


def test_valid_documents_are_sent_and_others_keep_all_from_being_sent(
    gateway: Gateway, document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.xml"
    wrong.write_text(
        '<transactions id="1">\n<order sym="X" amount="1" limit="2" tif="ioc"/>\n</transactions>'
    )
    with pytest.raises(SystemExit) as end:
        main(["send", "--validate", "--port", str(gateway.address[1]), str(document), str(wrong)])
    assert end.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "wrong.xml is not valid, and nothing was sent: line 2: " in told.err
    assert send([document], *gateway.address, validates=True) == 0  # it had not been created
    assert '<created id="1"/>' in capsys.readouterr().out


def test_a_server_that_is_not_there_is_named(document: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(PgbourseError, match=f"can't reach a server at 127.0.0.1:{port}"):
        send([document], "127.0.0.1", port)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection without a reply: whether the request was carried out is unknown"),
        (b"<results><created", "is not a reply"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a reply"),
        (b"<results><a></b></results>\n", "is not XML"),
    ],
)
def test_what_is_no_reply_is_told_in_one_line(document: Path, answer: bytes, message: str) -> None:
    with server_that(lambda client: client.sendall(answer)) as address:
        with pytest.raises(PgbourseError, match=message) as failure:
            send([document], *address)
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "S&#252;d &#8364;"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "S&#252;d &#8364;"),
        ({"PYTHONIOENCODING": "latin-1"}, "S\xfcd &#8364;"),
        ({"PYTHONIOENCODING": "utf-8"}, "S\xfcd \u20ac"),
    ],
)
def test_a_reply_that_the_terminal_can_not_show_stays_the_same_xml(
    document: Path, settings: dict[str, str], shown: str
) -> None:
    reply = (
        '<results><error sym="S\xfcd \u20ac">no such symbol: S\xfcd \u20ac \x9b</error></results>\n'.encode()
    )
    with server_that(lambda client: client.sendall(reply)) as (host, port):
        result = subprocess.run(
            [sys.executable, "-m", "pgbourse.cli", "send", "--host", host, "--port", str(port), document],
            env=os.environ | settings,
            capture_output=True,
            check=False,
        )
    encoding = settings.get("PYTHONIOENCODING", "ascii")
    assert result.stderr == b""
    assert result.returncode == 1  # of the error in the reply
    expected = f'<results>\n  <error sym="{shown}">no such symbol: {shown} &#155;</error>\n</results>\n'
    assert result.stdout.decode(encoding) == expected


def test_two_documents_in_one_file_are_told_and_not_sent(gateway: Gateway, tmp_path: Path) -> None:
    both = tmp_path / "both.xml"
    for between in (b"", b"\n", b"\n<?xml version='1.0'?>\n"):
        both.write_bytes(CREATE + between + b'<create><symbol sym="Y"/></create>')
        told = r"both\.xml holds more than one document, and nothing of it was sent: one document a file"
        with pytest.raises(SendError, match=told):
            send([both], *gateway.address)
    # Whatever else is wrong with a document, the server says.
    both.write_bytes(b'<create><account id="1" balance="10"/></create><!-- the end')
    assert send([both], *gateway.address) == 1


def test_a_reply_is_waited_for_no_longer_than_asked(document: Path) -> None:
    waited = threading.Event()
    with server_that(lambda _: waited.wait(60)) as (host, port):
        with pytest.raises(PgbourseError, match=r"no reply within 0\.2 seconds: whether .* is unknown"):
            send([document], host, port, timeout=0.2)
        waited.set()


def test_replies_are_compared_with_those_expected(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `generate` writes them, in a shell that knows nothing but *.xml."""
    folder = tmp_path / "documents"
    options = ["--accounts", "3", "--symbols", "2", "--orders", "3", "--mix", "order=5,query=2,cancel=2"]
    with pytest.raises(SystemExit) as end:
        main(["generate", "20", str(folder), *options])
    assert not end.value.code
    assert f"pgbourse send --expect {folder}/expected {folder}/*.xml" in capsys.readouterr().out
    files = sorted(folder.glob("*.xml"))
    assert send(files[:10], *gateway.address, expected=folder / "expected") == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "10 of 10 replies are as expected\n")
    wrong = folder / "expected" / files[10].name
    right = wrong.read_text()
    wrong.write_text(right.replace("<results>", "<results><extra/>"))
    assert send(files[10:], *gateway.address, expected=folder / "expected") == 1
    told = capsys.readouterr()
    assert told.err == "9 of 10 replies are as expected\n"
    assert told.out.splitlines()[:2] == [f"--- {wrong}", "+++ the reply"]
    assert "-  <extra/>" in told.out.splitlines()


def test_what_comes_on_standard_input_has_no_expected_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["send", "--expect", str(tmp_path)])
    assert end.value.code == 2
    assert "--expect needs files" in capsys.readouterr().err
