"""What the compose files and the image promise, as far as it shows without an engine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "compose.yaml", *sorted((ROOT / "docker").glob("compose.*.yaml"))]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
ONE_SHOT = {"init", "sweep"}
DEFAULT = re.compile(r"\$\{\w+(?::?-([^}]*)|:?\?[^}]*)?\}")


def with_defaults(text):
    """The text with each variable replaced by its default."""
    return DEFAULT.sub(lambda match: match[1] or "", text)


def services(path):
    return yaml.safe_load(path.read_text())["services"]


BASE = services(FILES[0])
ALL = [
    pytest.param(name, service, id=f"{path.name}:{name}")
    for path in FILES
    for name, service in services(path).items()
]
WHOLE = [
    pytest.param(name, service, id=name)
    for path in (ROOT / "compose.yaml", ROOT / "docker" / "compose.worker.yaml")
    for name, service in services(path).items()
]


def test_overrides_name_services_there_are():
    for path in FILES:
        if path.name not in ("compose.yaml", "compose.worker.yaml"):
            assert set(services(path)) <= set(BASE), path.name


@pytest.mark.parametrize(("name", "service"), ALL)
def test_ports_are_published_on_the_loopback_address(name, service):
    for port in service.get("ports", []):
        assert with_defaults(port).startswith("127.0.0.1:")


@pytest.mark.parametrize(("name", "service"), WHOLE)
def test_a_service_has_a_health_check_or_runs_once(name, service):
    assert ("healthcheck" in service) != (name in ONE_SHOT)
    assert ("restart" in service) != (name in ONE_SHOT)


@pytest.mark.parametrize(("name", "service"), WHOLE)
def test_a_service_may_do_little(name, service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name not in ("init", "postgres"):
        assert "cap_add" not in service
        assert with_defaults(service["user"]) == "1000:1000"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_secrets_are_named_by_file_alone(path):
    for service in services(path).values():
        for key, value in service.get("environment", {}).items():
            text = str(value)
            if re.search("PASSWORD|TOKEN|SECRET|KEY", key):
                assert key.endswith(("_FILE", "_PATH"))
                assert text.startswith("/run/secrets/")
            assert not re.search(r"://[^/@]*:[^/@]*@", text), "a password in an address"


@pytest.mark.parametrize("name", ["ray-head", "ray-worker", "sweep"])
def test_the_object_store_fits_into_shared_memory(name):
    service = BASE[name]
    shared = int(with_defaults(service["shm_size"]).removesuffix("gb")) * 10**9
    assert int(with_defaults(service["environment"]["OBJECT_STORE_BYTES"])) < shared


@pytest.mark.parametrize(("name", "service"), WHOLE)
def test_ray_is_never_without_its_token(name, service):
    if name in ("ray-head", "ray-worker", "sweep"):
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN_PATH"].startswith("/run/secrets/")


def test_the_image_pins_its_base_and_runs_without_root():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(":3.11-slim-bookworm" in base or base == "dependencies" for base in bases)
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["1000:1000"]
    # What is copied from the context must not be ignored.
    ignored = (ROOT / ".dockerignore").read_text()
    for name in ("entrypoint.sh", "services.py"):
        assert f"docker/{name}" in DOCKERFILE
        assert f"!docker/{name}" in ignored


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("path", sorted((ROOT / "docker").glob("*.sh")), ids=lambda p: p.name)
def test_scripts_parse(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111


def test_documented_variables_are_those_of_the_compose_files():
    used = {name for path in FILES for name in re.findall(r"\$\{(\w+)", path.read_text())}
    text = (ROOT / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))
    assert documented == used
