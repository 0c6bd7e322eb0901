"""Chromium without a window, driven over a pair of pipes: pages in tests as a reader meets them.

The messages are those of the Chrome DevTools Protocol, JSON texts that end in a zero byte
(``--remote-debugging-pipe``), so that nothing else needs to be installed.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60
WIDE, PHONE = (1200, 900), (400, 800)


def executable():
    """Return Chromium's path, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One Chromium; use it as a context."""

    def __enter__(self):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        reads, self._write = os.pipe()
        self._read, writes = os.pipe()
        os.set_inheritable(reads, True)
        os.set_inheritable(writes, True)
        command = [
            executable(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
            f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        # Chromium reads from its file descriptor 3 and writes to 4.
        script = f'exec "$@" 3<&{reads} 4>&{writes}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events = []
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def open(self, page, size=WIDE, dark=False):
        """Open a file as a page and return it, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, Path(page), size, dark)

    def call(self, method, session=None, **parameters):
        """Send a message and return its answer; keep the events that come before it."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        """Return the next message."""
        until = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, until - time.monotonic()))
            part = os.read(self._read, 1 << 16) if ready else b""
            if not part:
                raise TimeoutError(f"Chromium said nothing for {SECONDS} s, or has ended.")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """A page in a browser."""

    def __init__(self, browser, session, path, size, dark):
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._happened("Page.loadEventFired"):
            browser.events.append(browser.receive())

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def _happened(self, *methods):
        mine = [e for e in self._browser.events if e.get("sessionId") == self._session]
        return [event["params"] for event in mine if event["method"] in methods]

    def run(self, script):
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def press(self, key, code):
        """Press a key on the keyboard."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, **text,
            )  # fmt: skip

    @property
    def complaints(self):
        """What the console says: errors, warnings, exceptions, what the policy refused."""
        self.run("0")  # what was said before this answer has arrived
        return self._happened(
            "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"
        )

    @property
    def requests(self):
        """The addresses that were asked for, those inside the file left out."""
        urls = [event["request"]["url"] for event in self._happened("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith("data:")]

    def screenshot(self, path, whole=True):
        """Write a picture of the page: all of it, or what the window shows."""
        found = self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole, **self._area(whole)
        )
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def _area(self, whole):
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}
