from lib import console


def test_sizes_and_times_are_for_people():
    assert [console.format_bytes(n) for n in (0, 999, 1000, 45e9, 11.2e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "45.0 GB", "11200.0 TB",
    ]  # fmt: skip
    assert [console.format_seconds(s) for s in (0, 59.94, 59.96, 3599.6, 3660, 90000)] == [
        "0.0 s", "59.9 s", "1 min 00 s", "1 h 00 min", "1 h 01 min", "25 h 00 min",
    ]  # fmt: skip


def test_plain_progress_says_rate_and_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: False)
    with console.Progress(100, "drawing", "samples", done=20) as progress:
        for _ in range(8):
            now[0] += 5.0
            progress.update(10, "loss 0.5")
    lines = capsys.readouterr().out.splitlines()
    # every 10 seconds at most; the rate counts what this run did, not the 20 before it
    assert lines == [
        "  drawing: 50 of 100 samples, 2.0 a second, 25.0 s left, loss 0.5",
        "  drawing: 80 of 100 samples, 2.0 a second, 10.0 s left, loss 0.5",
    ]
