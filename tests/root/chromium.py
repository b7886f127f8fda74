"""A headless Chromium that a test drives: sizes, media, keys, pictures and PDF, over its DevTools protocol.

The protocol (https://chromedevtools.github.io/devtools-protocol) runs through a pair of pipes: no port is opened,
no package needed. Chromium runs as root here and needs `--no-sandbox`; it looks at nothing but this machine.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
ANSWERS_S = 60.0
KEYS: Mapping[str, tuple[int, str]] = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
"""Key -> its code on Windows, which the protocol asks for, and what it types."""


class Page:
    """One tab."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._calls, self._rest = read, write, 0, b""
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command of the protocol; events are passed over."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._calls:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium has ended"
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(one)
        return found

    def open(self, address: str) -> None:
        """Load a page, and wait until it and its pictures are there."""
        assert "errorText" not in self.call("Page.navigate", url=address)
        self.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")

    def wait_for(self, condition: str) -> None:
        """Until a script's value is true."""
        until = time.monotonic() + ANSWERS_S
        while not self.evaluate(condition):
            assert time.monotonic() < until, f"never so: {condition}"
            time.sleep(0.02)

    def evaluate(self, script: str) -> Any:
        """The value of a script, a promise's too, as JSON holds it. The page's own policy does not bind it."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def each(self, selector: str, expression: str) -> list[Any]:
        """The value of an expression for each element, which it names `one`."""
        found: list[Any] = self.evaluate(f"[...document.querySelectorAll({selector!r})].map(one => {expression})")
        return found

    def size(self, width: int, height: int = 900) -> None:
        """The size of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def media(self, kind: str = "screen", scheme: str = "light") -> None:
        """Screen or print, light or dark; nothing moves."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        listed = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=kind, features=listed)

    def press(self, key: str, modifiers: int = 0) -> None:
        """One key, down and up; `modifiers`: 8 is Shift."""
        code, text = KEYS[key]
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path) -> None:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it is printed, of the size that its style asks for."""
        printed = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(printed["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """One tab of a new browser; `profile`: a folder that does not exist yet."""
    assert CHROMIUM is not None, "`make test-root` installs Debian's chromium"
    (its_read, write), (read, its_write) = os.pipe(), os.pipe()
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    # Chromium reads from descriptor 3 and writes to 4.
    wired = ["bash", "-c", f'exec "$@" 3<&{its_read} 4>&{its_write}', "bash", *command]
    with subprocess.Popen(
        wired, pass_fds=(its_read, its_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(its_read)
        os.close(its_write)
        try:
            yield Page(read, write)
        finally:
            os.close(write)
            os.close(read)
            os.killpg(process.pid, signal.SIGKILL)
