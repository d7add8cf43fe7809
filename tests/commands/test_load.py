"""``edgecnn load`` from the command line, against a server whose behaviour is known."""

from __future__ import annotations

import csv
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgecnn.cli import main
from edgecnn.commands.console import Terminal
from edgecnn.commands.load_tables import print_load
from edgecnn.loadtest.fake import Behaviour, fake_server
from edgecnn.loadtest.summary import LatencyMs, LoadSummary, Rate
from edgecnn.serving.http.tls import server_tls

Serve = Callable[[Behaviour], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server of a behaviour; says its URL."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(fake_server(behaviour)).url


def _load(url: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["load", url, "--warmup", "0", *map(str, arguments)])


@pytest.mark.parametrize("payload", ["jpeg", "uint8", "binary", "json"])
def test_the_table_tells_what_became_of_each_request(serve: Serve, payload: str) -> None:
    behaviour = Behaviour()
    done = _load(serve(behaviour), "--payload", payload, "--requests", 40, "--clients", 2)
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.stdout.splitlines() if "accepted" in line]
    assert " 40 " in row
    assert "p99 " not in done.stdout.partition("intervals")[2], "40 requests do not tell it"
    assert "40 requests in" in done.stdout
    assert f"m: closed loop of 2 clients, {payload} requests of" in done.stderr
    route = "/v1/predict/m" if payload in {"jpeg", "uint8"} else "/v2/models/m/infer"
    assert {path for path, _ in behaviour.bodies} == {f"POST {route}"}


def test_an_open_loop_as_json_csv_and_plot(serve: Serve, tmp_path: Path, image: Callable[..., Path]) -> None:
    url = serve(Behaviour(room=1, delay_s=0.01))
    table, plot = tmp_path / "load.csv", tmp_path / "load.png"
    options = ["--rate", 400, "--duration", 0.5, "--json", "-o", table, "--plot", plot, "--image", image(1)]
    done = _load(url, *options)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "edgecnn.load/1"
    assert (document["rate_per_s"], document["arrivals"], document["model"]) == (400, "poisson", "m")
    assert (document["clients"], document["connections"]) == (None, 512)
    assert document["environment"]["cores"] >= 1
    result = document["result"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result["requests"]
    statuses = [row["status"] for row in rows]
    assert statuses.count("200") == result["accepted"]["count"]
    assert statuses.count("429") == result["refused"]["429"]["count"] > 0
    with Image.open(plot) as picture:
        assert picture.width >= 1000


def test_a_closed_loop_as_json_has_clients_and_no_rate(serve: Serve) -> None:
    document = json.loads(_load(serve(Behaviour()), "--requests", 3, "--clients", 2, "--json").stdout)
    told = {name: document[name] for name in ("clients", "rate_per_s", "arrivals", "connections")}
    assert told == {"clients": 2, "rate_per_s": None, "arrivals": None, "connections": None}


def test_nothing_accepted_is_a_failure(serve: Serve) -> None:
    done = _load(serve(Behaviour(room=0)), "--requests", 10)
    assert done.exit_code == 1
    assert "refused (429)" in done.stdout
    assert "no request was answered with success" in done.stderr


def test_faults_are_told_by_name(serve: Serve) -> None:
    done = _load(serve(Behaviour(hang_up={3, 5})), "--requests", 20)
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.stdout.splitlines() if "connection lost" in line]
    assert " 2 " in row


def test_nobody_there_is_a_failure_that_says_so() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        done = _load(f"http://127.0.0.1:{reserved.getsockname()[1]}", "--requests", 1)
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_a_certificate_is_trusted_where_its_file_is_given(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    behaviour = Behaviour()
    with fake_server(behaviour, server_tls(certificate, key)) as target:
        refused = _load(target.url, "--requests", 1)
        assert refused.exit_code == 1
        assert "--ca FILE" in refused.stderr
        (tmp_path / "nothing.pem").write_text("nothing")
        refused = _load(target.url, "--requests", 1, "--ca", tmp_path / "nothing.pem")
        assert refused.exit_code == 2
        assert "nothing.pem holds no certificate" in refused.stderr
        refused = _load(target.url, "--requests", 1, "--ca", certificate, "--no-verify")
        assert refused.exit_code == 2
        assert "contradict" in refused.stderr
        assert behaviour.served == 0
        for options in (("--ca", certificate), ("--no-verify",)):
            done = _load(target.url, "--requests", 5, "--clients", 2, *options)
            assert done.exit_code == 0, done.output
            assert "5 requests in" in done.stdout
        assert behaviour.served == 10


def test_an_authority_is_for_https(serve: Serve, pair: tuple[Path, Path]) -> None:
    done = _load(serve(Behaviour()), "--requests", 1, "--ca", pair[0])
    assert done.exit_code == 2
    assert "https://127.0.0.1:" in done.stderr


def test_another_machine_needs_a_word() -> None:
    done = _load("http://192.0.2.1:8000", "--requests", 1)
    assert done.exit_code == 2
    assert "--remote" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clients", 2, "--rate", 5], "--clients is a closed loop"),
        (["--rate", 1e6, "--duration", 1e6], "Lower --rate or --duration"),
        (["--requests", 0], "x>=1"),
        (["--payload", "gif"], "'gif' is not one of"),
    ],
)
def test_options_that_make_no_sense_are_refused(serve: Serve, arguments: list[object], said: str) -> None:
    done = _load(serve(Behaviour()), *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_what_cannot_be_written_is_told_before_the_load(serve: Serve, tmp_path: Path) -> None:
    behaviour = Behaviour()
    (tmp_path / "file").write_text("")
    done = _load(serve(behaviour), "--requests", 1, "-o", tmp_path / "file" / "load.csv")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
    assert "another place with -o" in done.stderr
    done = _load(serve(behaviour), "--requests", 1, "--plot", tmp_path)
    assert done.exit_code == 1
    assert "it is a folder. Choose another place with --plot" in " ".join(done.stderr.split())
    done = _load(serve(behaviour), "--requests", 1, "--plot", tmp_path / "load.gif")
    assert done.exit_code == 1
    assert ".png or .svg" in done.stderr
    assert behaviour.served == 0


def test_the_key_is_sent_and_a_file_without_one_is_told(serve: Serve, tmp_path: Path) -> None:
    url = serve(Behaviour())
    (tmp_path / "empty").write_text("\n")
    done = _load(url, "--requests", 1, "--api-key-file", tmp_path / "empty")
    assert done.exit_code == 2
    assert "holds no API key" in done.stderr
    (tmp_path / "key").write_text("secret\n")
    assert _load(url, "--requests", 1, "--api-key-file", tmp_path / "key").exit_code == 0


def test_the_table_has_the_intervals_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("p50", "p90", "p95", "p99", "p99.9")
    accepted = LatencyMs(
        count=40,
        percentiles=dict.fromkeys(names, 2.0),
        ci95={**dict.fromkeys(names), "p50": (1.5, 2.25)},
        max=9.0,
    )
    rate = Rate(per_s=10.0, ci95=None)
    summary = LoadSummary(
        seconds=4.0,
        requests=40,
        answered=rate,
        goodput=rate,
        accepted=accepted,
        refused={},
        faults={},
        late_ms=None,
        client_cpu_ms=0.1,
    )
    print_load(Terminal(), summary)
    assert "Accepted, 95 % intervals in ms: p50 1.50 to 2.25\n" in capsys.readouterr().out
