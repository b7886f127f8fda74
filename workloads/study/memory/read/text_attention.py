"""Read `text`: stored tokens beside the text, in every block. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import ReadSpec


@dataclass(frozen=True, kw_only=True)
class TextSpec(ReadSpec):
    """Keys and values of text attention; no parameter is added."""

    name: ClassVar[str] = "text"
    computation: ClassVar[str] = "workloads.memory.read.text_attention:ReadBesideText"
    stored: ClassVar[bool] = True

    def beside_text(self, stored: int) -> int:
        """All of them."""
        return stored
