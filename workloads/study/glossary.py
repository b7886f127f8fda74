"""Terms of the study that its report explains."""

from collections.abc import Sequence

from reports.spec import Term

GLOSSARY: Sequence[Term] = (
    Term(
        name="replay",
        meaning="A branch: the camera follows a trajectory of the held-out videos, and every frame is "
        "compared with the true one. It asks for following, not for remembering.",
    ),
    Term(
        name="loop",
        meaning="A branch: from a first frame of a held-out video the camera turns away and back; frames on "
        "the way back are compared with those on the way out.",
    ),
    Term(
        name="return",
        meaning="A branch: the camera leaves a place in an unfamiliar world and comes back to it; the end is "
        "compared with the start.",
    ),
    Term(
        name="gated judge",
        also=("judge_gated", "gated"),
        meaning="The judge's total where the camera was measured to leave as commanded, else 0: a camera that"
        " never moved has nothing to remember.",
    ),
    Term(
        name="judge",
        also=("judges",),
        meaning="A score of 0 to 100 of the last frames against the first ones: is the same object there, in "
        "the same place, in the same scene?",
    ),
    Term(
        name="gated, at most",
        also=("judge_gated_most",),
        meaning="The gated judge if every case whose camera could not be measured had left as commanded: an "
        "upper bound.",
    ),
    Term(
        name="camera left",
        also=("camera_left",),
        meaning="The share of cases in which the camera was measured to leave as commanded.",
    ),
    Term(
        name="Turn",
        also=("camera_f",),
        meaning="The turn that the camera was measured to make, as a share of the commanded one; it means "
        "nothing in cases that could not be measured.",
    ),
    Term(
        name="anchor",
        meaning="The first frame of a video, which every row keeps and reads.",
    ),
    Term(
        name="PSNR", meaning="Peak signal-to-noise ratio of two frames, in dB: more is nearer; equal frames have 100."
    ),
    Term(
        name="psnr_truth_last",
        also=("PSNR, truth last", "PSNR to truth"),
        meaning="PSNR of the last frame against the true one, which is known where worlds are rendered.",
    ),
    Term(
        name="psnr_first",
        also=("PSNR, first",),
        meaning="PSNR of the last frame against the video's own first one, which a camera that never moves maximises.",
    ),
    Term(name="SSIM", meaning="Structural similarity of two frames: 1 where they are equal."),
    Term(name="LPIPS", meaning="Distance of two frames in the features of a trained network: 0 where they are equal."),
    Term(
        name="rf_distance",
        meaning="Distance of two frames in the features of a fixed random network, where LPIPS's weights are "
        "not at hand: 0 where they are equal.",
    ),
)
