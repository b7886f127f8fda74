"""Differences of this study from the paper (end of section 7 of study.md); every report lists them."""

DIFFERENCES: tuple[tuple[str, str], ...] = (
    ("a", "The paper's 180° loop is read as 90° out and 90° back."),
    ("b", "Neighbouring chunks share their boundary frame: the generated first frame of a chunk is discarded."),
    (
        "c",
        "Evidence is spread evenly in time over the overlapping past, and compact memories are given K = 20 frames "
        "of it, so that they are judged against the longest context.",
    ),
    ("d", "One retrieval rule serves training and evaluation alike."),
    ("e", "Roll and pitch of the camera are checked and then not used."),
    ("f", "The anchor frame is a token in every row, whatever its memory."),
    (
        "g",
        "Compression weights are fixed numbers, act on attention logits, and are applied after pooling where both are "
        "used.",
    ),
    (
        "h",
        "State-space rows write in a pass of their own over clean evidence, and their decays start spread from 1 to "
        "128 frames.",
    ),
    ("i", "The spatial read-out sits in the recurrent blocks."),
    (
        "j",
        "A store that is never read equals the anchor-only row here, by construction. In the paper the two differ by "
        "4.6 dB of replay, which therefore is not the mechanism.",
    ),
    ("k", "K = 1 trains at the common learning rate; the paper's higher one is available as a deviation."),
    ("l", "The paper's flow noise shift of 1.0 has no counterpart; one shift serves training and sampling."),
    ("m", "Guidance and prompts, which the paper leaves open, are written in the matrix."),
    (
        "n",
        "Outside the profile `paper` the backbone is trained from scratch on rendered worlds, not tuned from a large "
        "video model.",
    ),
    ("o", "All backbone weights train, not a part of them."),
    ("p", "Profiles above `laptop` run several seeds, and every interval says over what it runs."),
    (
        "q",
        "The embedded judge compares with the renderer's own truth under object masks; it is not a vision-language "
        "model and its points are not the paper's points.",
    ),
)
