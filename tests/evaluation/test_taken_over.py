"""A job that takes items over from finished ones publishes the bytes of one that made all of them at once."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_pool
import numpy as np
import pytest

from workloads.contract.request import Finished, Request
from workloads.data import encode, generate
from workloads.data.latents import Latents
from workloads.data.pool import Pool
from workloads.evaluation import bounds, evaluate, gating, judging
from workloads.evaluation.lossless import decoded, encoded
from workloads.runtime.errors import BadInput

DATA = made_pool.CONTROLS["data"]


def published(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rendering(folder: Path, **changed: Any) -> Request:
    return made_pool.request(folder, "data", {"data": {**DATA, **changed}}, {})


def encoding(folder: Path, pool: Path, **changed: Any) -> Request:
    config = {"data": {**DATA, **changed}, "codec": made_pool.CONTROLS["codec"]}
    return made_pool.request(folder, "latents", config, {"data": pool})


def scenes_of(pool: Path) -> list[str]:
    return [scene for split in ("train", "held_out", "open") for scene in Pool.open(pool).scenes(split)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))


def from_(folder: Path, *items: str, measured: bool = True) -> tuple[Finished, ...]:
    return (Finished(folder=str(folder), items=items, measured=measured),)


@pytest.mark.parametrize("more", [{"open_variants": 3}, {"held_out_scenes": 5}])
def test_a_larger_pool_and_its_latents_have_the_bytes_of_those_made_at_once(
    inputs: Mapping[str, Path], tmp_path: Path, more: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    small = inputs["data"]
    made_pool.run(generate, rendering(tmp_path / "once", **more))
    once = tmp_path / "once/out"
    for path in (small / "scenes").iterdir():  # what a scene is does not depend on how many others there are
        assert (once / "scenes" / path.name).read_bytes() == path.read_bytes()
    grown = replace(rendering(tmp_path / "grown", **more), finished=from_(small, *scenes_of(small)))
    made_pool.run(generate, grown)
    assert published(tmp_path / "grown/out") == published(once)
    made_pool.run(encode, encoding(tmp_path / "latents", once, **more))
    taking = replace(encoding(tmp_path / "taking", once, **more), finished=from_(inputs["latents"], *scenes_of(small)))
    made_pool.run(encode, taking)
    assert published(tmp_path / "taking/out") == published(tmp_path / "latents/out")

    broken = tmp_path / "broken"
    (broken / "scenes").mkdir(parents=True)
    for name in ("pool.json", "captions.txt"):
        (broken / name).write_bytes((small / name).read_bytes())
    for path in (small / "scenes").iterdir():
        content = path.read_bytes()
        if path.stem != "train-0000":
            (broken / "scenes" / path.name).write_bytes(
                content[: len(content) // 2] if "open" in path.stem else content
            )
    again = replace(rendering(tmp_path / "again", **more), finished=from_(broken, *scenes_of(small)))
    made_pool.run(generate, again)
    assert published(tmp_path / "again/out") == published(once)
    said = capfd.readouterr().out
    assert "scene train-0000 is rendered again" in said and "scene open-00-0 is rendered again" in said


def cases(folder: Path) -> list[str]:
    return [one["id"] for one in json.loads((folder / "cases.json").read_text(encoding="utf-8"))]


def test_more_cases_are_those_made_at_once_and_a_video_that_is_not_whole_is_made_again(
    inputs: Mapping[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def asked(name: str, number: int) -> Request:
        request = made_pool.evaluation(tmp_path / name, inputs, "return")
        return replace(request, config={**request.config, "branch": {**request.config["branch"], "cases": number}})

    made_pool.run(evaluate, asked("few", 2))
    made_pool.run(evaluate, asked("once", 4))
    few, once = tmp_path / "few/out", tmp_path / "once/out"
    made_pool.run(evaluate, replace(asked("grown", 4), finished=from_(few, *cases(few))))
    assert published(tmp_path / "grown/out") == published(once)

    for stage, name in ((judging, "judge"), (gating, "camera")):
        for number, source in (("few", few), ("once", once)):
            made_pool.run(stage, made_pool.judgement(tmp_path / f"{name}-{number}", inputs, "return", source))
        taking = made_pool.judgement(tmp_path / f"{name}-grown", inputs, "return", once)
        taking = replace(taking, finished=from_(tmp_path / f"{name}-few/out", *cases(few)))
        made_pool.run(stage, taking)
        assert published(tmp_path / f"{name}-grown/out") == published(tmp_path / f"{name}-once/out")
        (tmp_path / f"{name}-few/out/cases.jsonl").unlink()
        made_pool.run(stage, taking)
        assert published(tmp_path / f"{name}-grown/out") == published(tmp_path / f"{name}-once/out")

    first, second = (few / "frames" / f"{case.replace('/', '_')}.mkv" for case in cases(few))
    first.unlink()
    second.write_bytes(encoded(decoded(second)[:-1]))
    made_pool.run(evaluate, replace(asked("again", 4), finished=from_(few, *cases(few))))
    assert published(tmp_path / "again/out") == published(once)
    said = capfd.readouterr().out
    assert f"{first}: no video of case " in said and f"{second}: not 17 frames; case " in said
    assert said.count("is generated again") == 2


def test_videos_of_an_earlier_version_are_measured_and_taken_over_as_if_they_were_of_this_one(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    new = tmp_path / "new/out"
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "new", inputs, "return"))
    old = shutil.copytree(new, tmp_path / "old")
    for path in (old / "frames").iterdir():
        np.save(path.with_suffix(".npy"), decoded(path), allow_pickle=False)
        path.unlink()
    without_model = {**inputs, "train": tmp_path / "none"}
    taking = made_pool.evaluation(tmp_path / "taking", without_model, "return")
    made_pool.run(evaluate, replace(taking, finished=from_(old, *cases(new))))
    assert published(tmp_path / "taking/out") == published(new)
    for stage in (judging, gating):
        of = {}
        for evaluated in (new, old):
            folder = tmp_path / f"{stage.__name__}-{evaluated.name}"
            made_pool.run(stage, made_pool.judgement(folder, inputs, "return", evaluated))
            of[evaluated] = published(folder / "out")
        assert of[new] == of[old]


def test_a_larger_artifact_is_read_as_if_it_had_the_job_s_own_items_alone(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    asked = made_pool.evaluation(tmp_path / "all", inputs, "return")
    made_pool.run(evaluate, replace(asked, config={**asked.config, "branch": {**asked.config["branch"], "cases": 4}}))
    wanted = cases(tmp_path / "all/out")[1:3]
    scenes = [case.split("/")[1] for case in wanted]
    few = replace(
        made_pool.evaluation(tmp_path / "few", inputs, "return"),
        items=wanted,
        reads={"data": scenes, "latents": scenes},
    )
    made_pool.run(evaluate, few)
    assert cases(tmp_path / "few/out") == wanted
    for path in (tmp_path / "few/out/frames").iterdir():
        assert path.read_bytes() == (tmp_path / "all/out/frames" / path.name).read_bytes()
    judged = made_pool.judgement(tmp_path / "judge", inputs, "return", tmp_path / "all/out")
    made_pool.run(judging, replace(judged, items=wanted, reads={"evaluate": wanted, "data": scenes}))
    assert {line["case"] for line in made_pool.values(tmp_path / "judge/out")} <= set(wanted)


def test_a_bound_takes_nothing_over_and_is_the_same(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    from test_bounds import asked

    made_pool.run(bounds, asked(tmp_path / "once", inputs, "return", ["anchor"]))
    request = asked(tmp_path / "grown", inputs, "return", ["anchor"])
    made_pool.run(bounds, replace(request, finished=from_(tmp_path / "once/out", "worlds/open-00-0/0")))
    assert published(tmp_path / "grown/out") == published(tmp_path / "once/out")


def test_a_scene_that_a_job_has_not_declared_is_refused_by_name(inputs: Mapping[str, Path]) -> None:
    latents, pool = Latents.open(inputs["latents"], ["train-0000"]), Pool.open(inputs["data"], ["train-0000"])
    for reader in (latents, pool):
        assert reader.scenes("train") == ("train-0000",) and reader.scenes("held_out") == ()
        assert len(reader.poses("train-0000")) == len(Pool.open(inputs["data"]).poses("train-0000"))
    assert latents.scenes_digest() != Latents.open(inputs["latents"]).scenes_digest()
    for read in (
        lambda: latents.evidence("held-0001", [0]),
        lambda: latents.text("held-0001", 0),
        lambda: latents.poses("held-0001"),
        lambda: pool.frames("held-0001", [0]),
        lambda: pool.poses("held-0001"),
        lambda: pool.caption("held-0001", 0),
        lambda: pool.world("held-0001"),
    ):
        with pytest.raises(BadInput, match=r"^scene held-0001 of (data|latents) is read by a job whose plan does not"):
            read()
