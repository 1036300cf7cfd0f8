"""Where servers listen: nobody from outside without a token, and refusals that say what to do."""

import socket
import subprocess
import sys

import pytest

from diptych.base import serving
from diptych.base.serving import ServeError


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_needs_no_token(host):
    assert serving.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example", "127.1"])
def test_any_other_host_is_refused_without_a_token(host):
    with pytest.raises(ServeError, match=r"lets others in.*--token-env.*127\.0\.0\.1"):
        serving.listen(host, 0, "")


def test_a_token_opens_any_host():
    with serving.listen("0.0.0.0", 0, "secret") as listener:
        assert listener.getsockname()[1]


def test_the_socket_listens():
    with serving.listen("127.0.0.1", 0, "") as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port):
    with pytest.raises(ServeError, match=f"port {port}: .*take another --port"):
        serving.listen("127.0.0.1", port, "")


def test_a_port_that_is_taken_is_refused():
    with serving.listen("127.0.0.1", 0, "") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServeError, match=r"in use.*take another --port"):
            serving.listen("127.0.0.1", port, "")


def test_a_token_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("A_TOKEN", " secret\n")
    monkeypatch.setenv("A_BLANK", " ")
    assert serving.read_token("A_TOKEN") == "secret"
    assert serving.read_token("") == ""
    for name in ("A_BLANK", "NOT_SET_ANYWHERE"):
        with pytest.raises(ServeError, match=f"{name} is not set; export it"):
            serving.read_token(name)


@pytest.mark.parametrize(("descriptors", "limits"), [(256, "96 192"), (1024, "384 768")])
def test_connections_leave_a_process_some_of_its_descriptors(descriptors, limits):
    resource = pytest.importorskip("resource", reason="Windows limits no descriptors")
    code = f"""if True:
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))
        from diptych.base import guarded_http
        print(guarded_http.PER_CLIENT, guarded_http.IN_ALL)
    """
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < descriptors:
        pytest.skip(f"this machine gives no process {descriptors} descriptors")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == limits.split()
