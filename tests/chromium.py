"""A headless Chromium, spoken to over a pipe in its own DevTools protocol: no driver and no socket between."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no other has an address: the network is out of reach
]
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowUp": 38, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}


class Chromium:
    """One page of one browser; all that the page logs and asks the network for is kept."""

    def __init__(self, profile):
        self._in, theirs_out = os.pipe()
        theirs_in, self._out = os.pipe()
        # It reads from 3 and writes to 4, and only a shell can put them there whatever else is open here.
        place = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash"]
        command = [*place, PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdout=quiet, stderr=quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._count, self._session, self.events = b"", 0, None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(30)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, seconds):
        until = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium did not answer")
            self._buffer += os.read(self._in, 1 << 20)
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, page, width=1280, height=900):
        """Open a file, or an address."""
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive(30)

    def run(self, script):
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def press(self, key, times=1):
        for _ in range(times):
            code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key) or ord(key.upper())}
            self.send("Input.dispatchKeyEvent", type="rawKeyDown", **code)
            self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def turn(self, selector, notches):
        """Turn the wheel over an element, down if positive."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.run(f"((r) => [r.x + r.width / 2, r.y + r.height / 2])({box})")
        for _ in range(abs(notches)):
            delta = 120 if notches > 0 else -120
            self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    @property
    def requested(self):
        """Addresses that were asked for, other than the file itself and what it holds."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("file:", "data:"))]

    @property
    def complaints(self):
        """What the page logged as a warning or an error, or threw."""
        kinds = {
            "Runtime.exceptionThrown": lambda params: True,
            "Runtime.consoleAPICalled": lambda params: params["type"] in ("error", "warning", "assert"),
            "Log.entryAdded": lambda params: params["entry"]["level"] in ("error", "warning"),
        }
        return [e for e in self.events if kinds.get(e["method"], lambda params: False)(e["params"])]

    def close(self):
        self.send("Browser.close") if self._process.poll() is None else None
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)
