"""The files of serve/: they parse, agree with each other, and name only what the server has."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from edgecnn.serving.metrics import ServerMetrics
from edgecnn.serving.openapi import openapi_document
from edgecnn.serving_config import ModelSettings, ServerSettings, decode_serving_config

yaml: Any = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "serve"

HTTP, GRPC = 8000, 8001
USER = 10001

_HEALTH = ("/v2/health/live", "/v2/health/ready")


def _text(name: str) -> str:
    return (SERVE / name).read_text(encoding="utf-8")


def _documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(_text(name)))


def test_every_file_parses_and_is_described() -> None:
    described = _text("README.md")
    for path in SERVE.rglob("*"):
        if path.is_dir():
            continue
        if path.suffix in {".yaml", ".yml"}:
            assert all(_documents(str(path.relative_to(SERVE))))
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text())
        top = path.relative_to(SERVE).parts[0]
        assert top == "README.md" or f"`{top}" in described, f"serve/README.md does not tell of {top}"


# The server's settings


@pytest.mark.parametrize("name", ["server.toml", "container.toml"])
def test_settings_are_read_by_the_server(name: str) -> None:
    config = decode_serving_config(_text(name), origin=name)
    assert (config.server.port, config.server.grpc_port) == (HTTP, GRPC)
    assert config.server.host == ("127.0.0.1" if name == "server.toml" else "0.0.0.0")


def test_the_example_has_every_setting() -> None:
    text = _text("server.toml")
    named = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))
    measured = {"sha256", "call_ms", "images_per_s", "spec"}
    settings = {each.name for kind in (ServerSettings, ModelSettings) for each in fields(kind)}
    assert named == settings - measured


def test_what_the_example_comments_out_is_valid() -> None:
    uncommented = re.sub(r"^# (?=\w+ = |\[)", "", _text("server.toml"), flags=re.MULTILINE)
    config = decode_serving_config(uncommented, origin="server.toml")
    assert config.server.api_keys == "/etc/edgecnn/api-keys"
    assert config.model[0].instances == 2
    assert config.repository is not None


# The image


def _instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), continuation lines joined."""
    joined = re.sub(r"\\\n", " ", _text("Dockerfile"))
    lines = [line.strip() for line in joined.splitlines()]
    return [
        (word, rest) for word, _, rest in (line.partition(" ") for line in lines if line[:1] not in ("", "#"))
    ]


def _last(instruction: str) -> str:
    return [rest for word, rest in _instructions() if word == instruction][-1]


def _copied() -> list[str]:
    sources = []
    for word, rest in _instructions():
        if word == "COPY" and "--from" not in rest:
            sources += rest.split()[:-1]
    return sources


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = re.findall(r"^!(\S+)$", _text("Dockerfile.dockerignore"), re.MULTILINE)
    assert sorted(_copied()) == sorted(sent)
    for source in _copied():
        assert (ROOT / source).exists()


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    assert _last("USER") == f"{USER}:{USER}"
    users = [index for index, (word, _) in enumerate(_instructions()) if word == "USER"]
    assert users[-1] > max(
        index for index, (word, _) in enumerate(_instructions()) if word in ("RUN", "COPY")
    )


def test_the_health_check_asks_a_route_with_python_alone() -> None:
    command = json.loads(_last("HEALTHCHECK").partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    imported = [
        node.names[0].name for node in ast.walk(ast.parse(command[2])) if isinstance(node, ast.Import)
    ]
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", command[2])
    assert url == (str(HTTP), "/v2/health/ready")
    assert url[1] in openapi_document("1", [])["paths"]


def test_the_image_starts_the_server_with_options_that_it_has() -> None:
    from edgecnn.commands.serve import serve_command

    known = {option for parameter in serve_command.params for option in parameter.opts}
    assert json.loads(_last("ENTRYPOINT")) == ["edgecnn", "serve"]
    kserve = _documents("kserve.yaml")[0]["spec"]["containers"][0]["args"]
    for arguments in (json.loads(_last("CMD")), kserve):
        assert {word for word in arguments if word.startswith("--")} <= known
    assert f"serve/container.toml {json.loads(_last('CMD'))[1]}" in [rest for _, rest in _instructions()]


def test_extras_that_the_image_installs_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r'"\.\[(.+?)\]"', _text("Dockerfile"))
    for extra in installed.split(","):
        assert extra == "${RUNTIME}" or extra in extras
    assert {"cpu", "gpu"} <= set(extras)


# Ports, probes and users


def test_ports_agree() -> None:
    assert _last("EXPOSE") == f"{HTTP} {GRPC}"
    services = yaml.safe_load(_text("compose.yaml"))["services"]
    assert services["edgecnn"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in (HTTP, GRPC)]
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])
    (scrape,) = yaml.safe_load(_text("prometheus.yml"))["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"edgecnn:{HTTP}"]}]
    assert scrape["metrics_path"] in openapi_document("1", [])["paths"]
    deployment, service, _ = _documents("kubernetes.yaml")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "http": HTTP,
        "grpc": GRPC,
    }
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == {
        "http": HTTP,
        "grpc": GRPC,
    }
    runtime = _documents("kserve.yaml")[0]["spec"]["containers"][0]
    assert runtime["ports"][0]["containerPort"] == HTTP == runtime["readinessProbe"]["httpGet"]["port"]


def test_probes_ask_routes() -> None:
    container = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in _HEALTH
        assert container[probe]["httpGet"]["port"] == "http"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_pods_have_the_images_user_and_whole_cores() -> None:
    pod = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == USER
    (container,) = pod["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"].isdigit()
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_stopping_leaves_time_to_drain() -> None:
    drain_s = ServerSettings().drain_s
    pod = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    grace = yaml.safe_load(_text("compose.yaml"))["services"]["edgecnn"]["stop_grace_period"]
    (unit,) = re.findall(r"^TimeoutStopSec=(\d+)$", _text("edgecnn.service"), re.MULTILINE)
    assert min(pod["terminationGracePeriodSeconds"] - 5, int(grace.removesuffix("s")), int(unit)) > drain_s


def test_files_that_compose_mounts_exist() -> None:
    compose = yaml.safe_load(_text("compose.yaml"))
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            assert source.startswith("${MODELS") or source in compose["volumes"] or (SERVE / source).exists()
    build = compose["services"]["edgecnn"]["build"]
    assert (SERVE / build["context"] / build["dockerfile"]).samefile(SERVE / "Dockerfile")


# What is watched


def _series() -> dict[str, set[str]]:
    """Series that Prometheus gets -> the labels that they have, from the metrics themselves."""
    found: dict[str, set[str]] = {}
    for metric in vars(ServerMetrics()).values():
        described = getattr(metric, "describe", None)
        if described is None or not hasattr(metric, "_labelnames"):
            continue
        labels, (family,) = set(metric._labelnames), described()
        ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[
            family.type
        ]
        for end in ends:
            found[family.name + end] = labels | ({"le"} if end == "_bucket" else set())
    return found


def _expressions() -> list[str]:
    dashboard = json.loads(_text("grafana/dashboard.json"))
    variables = [each["query"]["query"] for each in dashboard["templating"]["list"]]
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load(_text("alerts.yml"))["groups"][0]["rules"]
    return [*variables, *panels, *(rule["expr"] for rule in rules)]


def test_dashboard_and_alerts_ask_for_series_and_labels_that_exist() -> None:
    series = _series()
    assert len(series) > 15
    for expression in _expressions():
        for name, selector in re.findall(r"\b(edgecnn_\w+)(?:{(.*?)})?", expression):
            assert name in series, f"no metric {name}: {expression}"
            for label in re.findall(r"(\w+)[=!]", selector):
                assert label in series[name], f"{name} has no label {label}"


def test_alerts_name_outcomes_and_reasons_that_the_server_counts() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "edgecnn" / "serving").glob("*.py"))
    for expression in _expressions():
        for values in re.findall(r"(?:outcome|reason)!?=~?\"([\w|]+)\"", expression):
            for value in values.split("|"):
                assert f'"{value}"' in sources


def test_expressions_are_balanced() -> None:
    for expression in _expressions():
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), expression


def test_the_dashboard_has_its_data_source_and_its_panels_do_not_overlap() -> None:
    dashboard = json.loads(_text("grafana/dashboard.json"))
    source = yaml.safe_load(_text("grafana/provisioning/datasources/prometheus.yaml"))["datasources"][0]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


# The unit


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is here."""
    path = tmp_path / "edgecnn.service"
    path.write_text(_text("edgecnn.service").replace("/opt/edgecnn/bin/edgecnn", sys.executable))
    return path


def _systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_knows_every_option_of_the_unit(unit: Path) -> None:
    done = _systemd_analyze("verify", str(unit))
    assert (done.returncode, [line for line in done.stderr.splitlines() if "edgecnn" in line]) == (0, [])


def test_systemd_finds_the_unit_hardened(unit: Path) -> None:
    done = _systemd_analyze("security", "--offline=yes", "--threshold=20", str(unit))
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_starts_what_the_readme_installs() -> None:
    (command,) = re.findall(r"^ExecStart=(.+)$", _text("edgecnn.service"), re.MULTILINE)
    program, *arguments = command.split()
    assert arguments == ["serve", "--config", "/etc/edgecnn/server.toml"]
    assert str(Path(program).parents[1]) in _text("README.md")
    assert arguments[-1] in _text("README.md")
