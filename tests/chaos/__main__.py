"""The long form of the chaos suite: `python tests/chaos --kills 200 --seed 7 --folder /tmp/chaos`.

Plays rounds until as many kills were made, a JSON line each on standard output and in
`rounds.jsonl` of the folder; started again with the same folder, it goes on after the last whole
round. At the end it prints the table for docs/explanation/reliability.md, and with `--write` puts it there. A
round that fails keeps its study's folder. Exit code 1 where anything was lost.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import beside  # noqa: F401
from kill_table import kills_of, markdown, write_into
from mlflow_server import MlflowServer
from points import IN_BUCKET, of_part, play_points
from proof import JOBS, Proof, taken, wrongs
from rounds import TWO_RANKS, WEIGHTS, Record, Round
from s3_proxy import faulty
from s3_rounds import S3Round, in_bucket
from s3_servers import Service, credentials, seaweed
from small_study import CHECKOUT, SmallStudy
from two_ranks import TWO_RANK_JOBS, two_rank_study

PAGE = CHECKOUT / "docs" / "explanation" / "reliability.md"
KILLS_A_ROUND = 12
POINTS_FIRST = ("points", "points-two-ranks")
"""The first two rounds: death at every named place in the code."""
KINDS = ("study", "study", "two-ranks", "mlflow-server")
"""Of all rounds after them, in turn."""
S3_KINDS = ("s3-points", "s3-machines", "s3-faults", "s3")
"""With the artifacts in a bucket of a SeaweedFS on loopback: dead at named places, machines lost for good, failing
requests too, or none of these."""
RUN_ALONE = ("lease.claimed", "lease.taken")
"""Points of `echo-matrix run` itself, not of the loop."""


def main() -> int:
    """Play until enough was killed."""
    asked = _arguments()
    folder: Path = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    book = folder / "rounds.jsonl"
    records = [json.loads(line) for line in book.read_text("utf-8").splitlines()] if book.is_file() else []
    until = time.monotonic() + asked.minutes * 60
    references: dict[bool, Proof] = {}
    with contextlib.ExitStack() as held:
        service = _bucket(held) if asked.s3 else None
        while kills_of(records) < asked.kills and time.monotonic() < until:
            number = len(records)
            kind = asked.only or _kind(number, s3=asked.s3)
            two = kind.endswith("two-ranks") or kind == "s3-points"
            if two not in references:
                references[two] = reference(folder / ("reference-2" if two else "reference"), two=two)
            home = folder / f"round-{number}" / "home"
            records.append(_round(home, references[two], asked.seed + number, kind, service, two=two))
            with book.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(records[-1]) + "\n")
            print(json.dumps({"round": number, **records[-1]}), flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.strip()
    table = markdown(records, commit=commit, seed=asked.seed)
    print(table)
    if asked.write:
        write_into(PAGE, table, "make chaos-s3" if asked.s3 else "make chaos")
    return 1 if any(record["problems"] for record in records) else 0


def _kind(number: int, *, s3: bool) -> str:
    """Of the round with this number."""
    if s3:
        return S3_KINDS[number % len(S3_KINDS)]
    return (*POINTS_FIRST, *KINDS)[number if number < 2 else 2 + (number - 2) % len(KINDS)]


def _bucket(held: contextlib.ExitStack) -> Service:
    """A SeaweedFS, and its credentials in the environment, until the end."""
    held.enter_context(credentials())
    return held.enter_context(seaweed(Path(held.enter_context(tempfile.TemporaryDirectory(prefix="chaos-s3-")))))


def reference(home: Path, *, two: bool = False) -> Proof:
    """The results of the undisturbed run, made once a folder."""
    study = two_rank_study(home) if two else SmallStudy(home=home)
    if not (home / "whole").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        done = study.call("run")
        assert done.returncode == 0, done.stdout + done.stderr
        (home / "whole").touch()
    found = wrongs(study, jobs=TWO_RANK_JOBS if two else JOBS)
    assert not found, found
    return taken(study)


def _round(home: Path, proof: Proof, seed: int, kind: str, service: Service | None, *, two: bool) -> dict[str, Any]:
    shutil.rmtree(home.parent, ignore_errors=True)
    study = two_rank_study(home) if two else SmallStudy(home=home)
    jobs = TWO_RANK_JOBS if two else JOBS
    with contextlib.ExitStack() as held:
        proxy = held.enter_context(faulty(service)) if service is not None and kind == "s3-faults" else None
        if service is not None:
            study = in_bucket(study, service, "" if proxy is None else proxy.endpoint)
        if kind == "s3-points":
            record = play_points(study, proof, IN_BUCKET, jobs=jobs, kind=kind)
        elif kind.startswith("s3"):
            moving = kind != "s3"
            record = S3Round(study, proof, seed=seed, kills=KILLS_A_ROUND, machines=moving, proxy=proxy).play(kind)
        elif kind.startswith("points"):
            names = [name for name in of_part("driver", "host", "rank") if not (two and name in RUN_ALONE)]
            record = play_points(study, proof, names, jobs=jobs, kind=kind)
        else:
            record = _killed(held, study, proof, seed, kind, two=two)
    if not record.problems:
        shutil.rmtree(home.parent)
    return {**record.as_json(), "seed": seed}


def _killed(held: contextlib.ExitStack, study: SmallStudy, proof: Proof, seed: int, kind: str, *, two: bool) -> Record:
    """A round with its store in files, and with an MLflow server if its kind says so."""
    server = MlflowServer(study.home / "mlflow") if kind == "mlflow-server" else None
    if server is not None:
        study = replace(study, uri=server.uri)
        held.callback(server.kill)
        server.start()
        server.wait()
    weights, jobs = (TWO_RANKS, TWO_RANK_JOBS) if two else (WEIGHTS, JOBS)
    killed = Round(study, proof, seed=seed, kills=KILLS_A_ROUND, weights=weights, jobs=jobs, server=server)
    return killed.play(kind)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="as many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each next has one more")
    parser.add_argument("--minutes", type=float, default=600.0, help="no new round after so long")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/echo-matrix-chaos"), help="for studies and rounds")
    parser.add_argument("--only", choices=sorted({*POINTS_FIRST, *KINDS, *S3_KINDS}), help="rounds of this kind alone")
    parser.add_argument("--s3", action="store_true", help="with the artifacts in a bucket of a SeaweedFS on loopback")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(CHECKOUT)}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
