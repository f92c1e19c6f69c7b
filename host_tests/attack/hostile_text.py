"""Text that attacks a terminal, the markup of rich and Textual, a web page, or a file system."""

from __future__ import annotations

MARK = "OWNED"  # a control sequence that contains this came from an attacker
OSC_TITLE = f"\x1b]0;{MARK}\x07"
OSC_CLIPBOARD = "\x1b]52;c;T1dORUQ=\x07"  # base64 of MARK
OSC_LINK = f"\x1b]8;;http://{MARK}/\x1b\\click\x1b]8;;\x1b\\"
CLEAR = "\x1b[2J\x1b[H"
C1 = "\x9b31m\x9d0;x\x9c\x90q\x85"
CONTROLS = "".join(chr(code) for code in (*range(1, 32), 127, *range(128, 160)) if code not in (9, 10, 13))
BIDI = "\u202eabc\u2066d\u2069\u200f"
MARKUP = "[/x][bold red][link=http://x]y[/link][@click=app.quit]z[/]"
FORMATS = "%s%n%d{0.__class__}{number}$(touch owned)`touch owned`"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
LONG = "x" * 70000

TERMINAL_TEXTS = (
    OSC_TITLE + OSC_CLIPBOARD + OSC_LINK,
    CLEAR + CONTROLS,
    C1 + BIDI,
    MARKUP + FORMATS,
    SCRIPT + "\r\noverwritten\r\rline\u2028\u2029",
)

# names of files that are no bare names
PATHS = (
    "../outside/config.json",
    "../../etc/passwd",
    "/tmp/owned",
    "..",
    ".",
    "link/config.json",
    "a/../../outside/config.json",
    "..\\outside\\config.json",
    "C:\\owned",
    "CON",
    "aux.txt",
    "name.",
    "a" * 300,
    "\uff0e\uff0e/x",
    "x\ny",
    OSC_TITLE,
)
