"""Files are downloaded once, and completely or not at all."""

import http.server
import threading

import pytest
import torch

from lib.errors import UserError
from lib.learning import downloads

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server, and what it was asked for; torch hub's folder is a temporary one."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if "missing" in self.path:
                return self.send_error(404)
            self.send_response(200)
            short = "short" in self.path
            self.send_header("Content-Length", str(len(CONTENT) * (2 if short else 1)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server, tmp_path, capsys):
    address, asked = server
    path = downloads.fetch(f"{address}/a%20b/file.pth?raw=1")
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "hub" / "checkpoints")
    assert path.name.endswith("_file.pth") and f"{address}/a%20b/file.pth" in capsys.readouterr().out
    assert downloads.fetch(f"{address}/a%20b/file.pth?raw=1") == path and len(asked) == 1
    assert downloads.fetch(f"{address}/c/file.pth") != path  # another file of the same name


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "Not Found"), ("short", "it ended after 1.3 MB of 2.6")]
)
def test_what_cannot_be_downloaded_completely_is_one_line_and_leaves_nothing(server, tmp_path, name, reason):
    address = f"{server[0]}/{name}.pth"
    with pytest.raises(UserError) as error:
        downloads.fetch(address)
    message = str(error.value)
    assert message.startswith(f"network.start={address}") and reason in message and "\n" not in message
    assert "network.start=FILE" in message and not list((tmp_path / "hub" / "checkpoints").iterdir())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/file.pth", "http://[/x", "https://"])
def test_without_a_connection_or_with_a_wrong_address_it_is_one_line(tmp_path, monkeypatch, address):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be downloaded \(.+network\.start=FILE"):
        downloads.fetch(address)


def test_a_full_disk_is_no_failure_of_the_connection(server, monkeypatch):
    def full(_address, part):
        raise OSError(28, "No space left on device", str(part))

    monkeypatch.setattr(downloads, "_download", full)
    with pytest.raises(UserError, match="free some space"):
        downloads.fetch(f"{server[0]}/file.pth")


def test_addresses_and_paths_are_told_from_each_other():
    assert downloads.is_address("https://example.org/w.pth")
    assert not downloads.is_address("weights.pth") and not downloads.is_address("/a/https:/w.pth")
