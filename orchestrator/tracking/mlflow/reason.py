"""Errors in one line, without secrets and without MLflow."""

import os

from workloads.runtime.masking import mask, secrets_of

LONGEST = 300


def text_of(error: Exception) -> str:
    """What an error says, in one line and masked: before anything is cut, since half a secret is not recognised."""
    return " ".join(mask(str(error), secrets_of(os.environ)).split())


def short(error: Exception) -> str:
    """Kind and text of an error, cut."""
    return f"{type(error).__name__}: {text_of(error)[:LONGEST]}"
