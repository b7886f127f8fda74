"""Free share: what is free of a host, now or later. Pure."""

from dataclasses import dataclass
from typing import Protocol


class Needed(Protocol):
    """What is taken of one host."""

    @property
    def cpus(self) -> int:
        """Processors."""
        ...

    @property
    def devices(self) -> int:
        """Accelerators."""
        ...

    @property
    def memory_gib(self) -> float:
        """Main memory, GiB."""
        ...


@dataclass
class FreeShare:
    """Cpus, devices and GiB that are free; below 0 where more is promised than there is."""

    cpus: int
    devices: int
    memory_gib: float

    def holds(self, need: Needed) -> bool:
        """Whether there is room for it."""
        return self.cpus >= need.cpus and self.devices >= need.devices and self.memory_gib >= need.memory_gib

    def take(self, need: Needed) -> None:
        """Count what is free no more."""
        self.cpus -= need.cpus
        self.devices -= need.devices
        self.memory_gib -= need.memory_gib

    def add(self, share: Needed) -> None:
        """Count what becomes free."""
        self.cpus += share.cpus
        self.devices += share.devices
        self.memory_gib += share.memory_gib
