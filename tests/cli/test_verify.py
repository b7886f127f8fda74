"""`path --verify`: the one verb that reads every byte of an artifact."""

from pathlib import Path

from rehearsal import Rehearsal


def test_path_verifies_every_byte_where_it_is_asked_to(rehearsal: Rehearsal) -> None:
    ran = rehearsal.call("run", "--rows", "context-k1", "--branches", "replay", seconds=0.05)
    assert ran.returncode == 0, ran.stderr
    whole = rehearsal.call("path", "index/s0", "--verify")
    assert whole.returncode == 0, whole.stderr
    folder = Path(whole.stdout.strip())
    changed = next(path for path in folder.iterdir() if path.name != "manifest.json" and path.stat().st_size)
    changed.chmod(0o644)
    content = changed.read_bytes()
    changed.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert rehearsal.call("path", "index/s0").returncode == 0
    told = rehearsal.call("path", "index/s0", "--verify")
    assert told.returncode == 1
    assert f"{changed} has sha256" in told.stderr and "Traceback" not in told.stderr
