"""A page in Chromium without a window, driven by its DevTools protocol through pipes."""

import base64
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")


class Chromium:
    """One page; a context manager. `width` and `height` in pixels, `folder` for its profile."""

    def __init__(self, folder: Path, width: int, height: int = 900, dark: bool = False):
        self._folder, self.width, self._height, self._dark = folder, width, height, dark
        self._numbers = itertools.count(1)
        self.errors: list[str] = []

    def __enter__(self) -> "Chromium":
        (theirs, self._out), (self._in, ours) = os.pipe(), os.pipe()
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio"),
            # Without it a page of a file cannot read the pixels of a video beside it.
            "--allow-file-access-from-files",
            *("--remote-debugging-pipe", f"--user-data-dir={self._folder}"),
        ]
        # The pipes must be its third and fourth files.
        shell = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, PROGRAM, *options],
            pass_fds=(theirs, ours),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        self._answers = os.fdopen(self._in, "rb")
        self._rest = b""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        size = {"width": self.width, "height": self._height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=self.width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait()
        self._answers.close()
        os.close(self._out)

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Send one command and return its result; what the page says meanwhile is kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=page.absolute().as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._note(event)

    def run(self, expression: str) -> Any:
        """Return the value of an expression in JavaScript, of a promise what it becomes."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if problem := done.get("exceptionDetails"):
            raise RuntimeError(problem["exception"]["description"])
        return done["result"].get("value")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Write the page as a PNG, the whole of it or what the window shows."""
        shown = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shown["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._answers.read1(65536)
            if not more:
                raise RuntimeError("Chromium has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(event["params"]["exceptionDetails"]["exception"]["description"])
        elif event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            self.errors += [entry["text"]] if entry["level"] == "error" else []
