# SPDX-License-Identifier: GPL-2.0-only
"""Headless Chromium, driven over a pipe by its DevTools protocol: opens one of our pages, and
reports everything that is wrong with it.

Messages are JSON and end in a zero byte; Chromium reads them from file descriptor 3 and answers on
4. No port is opened and nothing is fetched: Chromium resolves no host name.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from base import process, say

PROGRAMS = ("chromium-headless-shell", "chromium")
PATIENCE = 60

# The pages are our own files, so no sandbox is needed. It would need rights that root in a
# container does not have.
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--no-first-run", "--disable-extensions", "--disable-sync",
             "--disable-background-networking", "--disable-component-update",
             "--disable-default-apps", "--host-resolver-rules=MAP * ~NOTFOUND",
             "--remote-debugging-pipe")

# Faults that a reader would notice, found in the real layout. All text must have a contrast of 4.5
# to its background (WCAG 2.1, AA), words of a drawing must stay inside it and not overlap, nothing
# may be wider than the window, and screen readers must get a text for each drawing and a heading
# for each cell.
EXAMINE = """
(() => {
  const bad = [], wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) bad.push(`${wide} px wide in a window of ${innerWidth} px`);
  const parse = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const rgb = parse(getComputedStyle(e).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0.5) return rgb;
    }
    return [255, 255, 255];
  };
  const name = text => JSON.stringify(text.trim().slice(0, 40));
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].filter(n => n.nodeType == 3)
      .map(n => n.data).join('').trim();
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) bad.push(`contrast ${contrast.toFixed(1)} of ${name(text)}`);
  }
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const words = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim())
      .map(t => [t.textContent, t.getBoundingClientRect()]);
    words.forEach(([text, box], i) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 ||
          box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        bad.push(`${name(text)} is cut off`);
      for (const [other, o] of words.slice(i + 1))
        if (Math.min(box.right, o.right) - Math.max(box.left, o.left) > 1 &&
            Math.min(box.bottom, o.bottom) - Math.max(box.top, o.top) > 2)
          bad.push(`${name(text)} lies over ${name(other)}`);
    });
    const size = Math.min(...[...svg.querySelectorAll('text')].map(t =>
      parseFloat(getComputedStyle(t).fontSize) * svg.getScreenCTM().a));
    if (size < 8) bad.push(`words of ${size.toFixed(1)} px in a drawing`);
  }
  for (const svg of document.querySelectorAll('svg:not(svg svg)')) {
    const told = svg.closest('[role=img][aria-label]');
    if (!told || !told.getAttribute('aria-label').trim()) bad.push('a drawing without words');
  }
  for (const cell of document.querySelectorAll('th:not([scope])'))
    bad.push(`${name(cell.textContent)} heads nothing`);
  const heads = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => +h.tagName[1]);
  if (heads[0] != 1 || heads.some((depth, i) => i && (depth == 1 || depth > heads[i - 1] + 1)))
    bad.push(`headings of depth ${heads}`);
  if (!document.documentElement.lang || !document.title) bad.push('no language or no title');
  return bad;
})()
"""


class BrowserError(say.LabError):
    """Chromium is missing, or did not do what it was asked."""


def program():
    """The browser of this machine, or None."""
    return next(filter(None, (shutil.which(name, path=process.ENVIRONMENT["PATH"])
                              for name in PROGRAMS)), None)


class Browser:
    """One Chromium with one tab, which ends with its `with`."""

    def __init__(self):
        self.number, self.received, self.session, self.events = 0, b"", None, []
        self.profile = self.child = self.pipes = None

    def __enter__(self):
        path = program()
        if not path:
            raise BrowserError("no Chromium (package chromium-headless-shell)")
        self.profile = tempfile.TemporaryDirectory(prefix="mdma-browser-",
                                                   ignore_cleanup_errors=True)
        try:
            self._start(path)
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target,
                                     flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, path):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def descriptors():
            process.die_with_parent()
            # Copy both first: one of them may already be number 3 or 4.
            one, other = os.dup(to_read), os.dup(from_write)
            os.dup2(one, 3)
            os.dup2(other, 4)

        argv = [path, *ARGUMENTS, f"--user-data-dir={self.profile.name}", "about:blank"]
        home = dict(process.ENVIRONMENT, HOME=self.profile.name)
        with open(Path(self.profile.name) / "stderr", "wb") as log:
            self.child = process.start(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=home, close_fds=False, preexec_fn=descriptors)
        os.close(to_read)
        os.close(from_write)
        self.pipes = (from_read, to_write)

    def __exit__(self, *_):
        with contextlib.suppress(BrowserError, OSError):
            if self.session:
                self.session = None
                self.call("Browser.close")
                self.child.wait(PATIENCE)
        for pipe in self.pipes or ():
            os.close(pipe)
        if self.child:
            process.stop(self.child)
        self.profile.cleanup()

    # --- the protocol --------------------------------------------------------

    def call(self, method, **parameters):
        """Send a command and return its answer; keep the events in between."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.pipes[1], json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") != self.number:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error'].get('message')}")
            else:
                return answer["result"]

    def _receive(self, deadline, what):
        while b"\0" not in self.received:
            ready, _, _ = select.select(self.pipes[:1], [], [],
                                        max(0, deadline - time.monotonic()))
            block = os.read(self.pipes[0], 1 << 20) if ready else b""
            if not block:
                log = (Path(self.profile.name) / "stderr").read_text(errors="replace")
                raise BrowserError(f"Chromium {'ended' if ready else 'is silent'} at {what}: "
                                   f"{log.strip()[-300:]}")
            self.received += block
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def _wait(self, method):
        """Wait until an event was seen since the last open()."""
        deadline = time.monotonic() + PATIENCE
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._receive(deadline, method))

    # --- a page --------------------------------------------------------------

    def open(self, path, width=1100, height=900, dark=False):
        """Load a file in a window of this size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if width < 600 else 1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events = []
        answer = self.call("Page.navigate", url=Path(path).resolve().as_uri())
        if answer.get("errorText"):
            raise BrowserError(f"{path}: {answer['errorText']}")
        self._wait("Page.loadEventFired")
        # Wait for scripts that run right after loading, and for Chromium's messages.
        self.evaluate("new Promise(done => setTimeout(done, 50))")

    def evaluate(self, expression):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"in the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def complaints(self):
        """Errors and warnings of the console, and requests to a network."""
        found = []
        for event in self.events:
            values = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = values["exceptionDetails"]
                found.append("exception: " + details.get("exception", {}).get(
                    "description", details["text"]))
            elif event.get("method") == "Runtime.consoleAPICalled" \
                    and values["type"] in ("error", "warning", "assert"):
                found.append(f"console.{values['type']}: " + " ".join(
                    str(one.get("value", one.get("description"))) for one in values["args"]))
            elif event.get("method") == "Log.entryAdded" \
                    and values["entry"]["level"] in ("error", "warning"):
                found.append(f"{values['entry']['source']}: {values['entry']['text']}")
            elif event.get("method") == "Network.requestWillBeSent" \
                    and not values["request"]["url"].startswith(("file:", "data:")):
                found.append(f"network: {values['request']['url']}")
        return found

    def faults(self):
        """What is wrong with the layout, the words and the colours of the open page."""
        return self.evaluate(EXAMINE)

    def text(self):
        """The visible text."""
        return self.evaluate("document.body.innerText")

    def screenshot(self, path, whole=True):
        """A picture of the whole page, or of what the window shows."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(answer["data"]))
