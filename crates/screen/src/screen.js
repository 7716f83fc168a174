// Connects noVNC or xterm.js, which are served beside this, with the display or the terminal of a guest.
"use strict";

(() => {
  const place = document.getElementById("screen");
  const state = document.getElementById("screen-state");
  const keys = document.getElementById("screen-keys");
  const again = document.getElementById("screen-again");
  const address = new URL(place.dataset.socket, location.href);
  const why = address.href;
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  // The longest message that the server takes is longer.
  const pieceBytes = 1 << 16;
  let shown = null;

  const say = (words, bad) => {
    state.textContent = words;
    state.classList.toggle("bad", Boolean(bad));
  };

  const colours = {
    light: {
      foreground: "#1b2026", background: "#ffffff", cursor: "#1b2026", cursorAccent: "#ffffff",
      selection: "rgba(31, 99, 176, .3)", black: "#1b2026", red: "#bd1f26", green: "#19743a", yellow: "#8a5800",
      blue: "#1f63b0", magenta: "#87378f", cyan: "#0b6a76", white: "#dfe3e8", brightBlack: "#59626d",
      brightRed: "#d0342c", brightGreen: "#1f8a46", brightYellow: "#a06a00", brightBlue: "#2f78cf",
      brightMagenta: "#a04aa8", brightCyan: "#0e808e", brightWhite: "#ffffff",
    },
    dark: {
      foreground: "#e3e7ec", background: "#171c22", cursor: "#e3e7ec", cursorAccent: "#171c22",
      selection: "rgba(118, 179, 245, .35)", black: "#2b323b", red: "#ff8078", green: "#56c47a", yellow: "#e0ab45",
      blue: "#5b9be6", magenta: "#d08fd8", cyan: "#4fc1cf", white: "#d5dae0", brightBlack: "#7d8793",
      brightRed: "#ffa39d", brightGreen: "#7fdc9d", brightYellow: "#f0c674", brightBlue: "#8fbcf2",
      brightMagenta: "#e2b3e8", brightCyan: "#83d9e4", brightWhite: "#ffffff",
    },
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (scheme.matches ? colours.dark : colours.light);

  // The columns and rows that there is room for. The guest does not hear of them: a serial line has no size.
  const fit = (terminal) => {
    const cells = place.querySelector(".xterm-screen").getBoundingClientRect();
    const viewport = place.querySelector(".xterm-viewport");
    if (!cells.width || !cells.height) return;
    const bar = viewport.offsetWidth - viewport.clientWidth;
    const style = getComputedStyle(terminal.element);
    const inner = (size, ...sides) => sides.reduce((left, side) => left - parseFloat(style[side]), size);
    const width = inner(place.clientWidth - bar, "paddingLeft", "paddingRight");
    const height = inner(place.clientHeight, "paddingTop", "paddingBottom");
    const columns = Math.max(2, Math.floor((width * terminal.cols) / cells.width));
    const rows = Math.max(1, Math.floor((height * terminal.rows) / cells.height));
    if (columns !== terminal.cols || rows !== terminal.rows) terminal.resize(columns, rows);
  };

  // What draws each kind: it takes the library and a connection that opens, and returns how the key is sent,
  // how it gets the focus, and how it is removed.
  const kinds = {
    screen: ({ default: RFB }, socket, opened, refused) => {
      const display = new RFB(place, socket, { shared: true });
      display.scaleViewport = true;
      display.focusOnClick = true;
      display.background = "transparent";
      display.addEventListener("connect", opened);
      display.addEventListener("securityfailure", ({ detail }) => refused(detail.reason));
      // Before noVNC hears of it. The guest has got Ctrl and Alt: they are released there.
      const held = [[0xffe3, "ControlLeft"], [0xffe4, "ControlRight"], [0xffe9, "AltLeft"], [0xffea, "AltRight"]];
      const leave = (event) => {
        if (!event.ctrlKey || !event.altKey || event.key !== "Home") return;
        event.preventDefault();
        event.stopPropagation();
        for (const [key, code] of held) display.sendKey(key, code, false);
        keys.focus();
      };
      place.addEventListener("keydown", leave, true);
      const focus = () => display.focus();
      const remove = () => place.removeEventListener("keydown", leave, true);
      return { send: () => display.sendCtrlAltDel(), focus, remove };
    },
    terminal: ({ Terminal }, socket, opened) => {
      const terminal = new Terminal({
        // The one for elements writes style sheets into the page, which its policy forbids.
        rendererType: "canvas",
        screenReaderMode: true,
        cursorBlink: false,
        fontFamily: 'ui-monospace, "SFMono-Regular", Menlo, Consolas, "Liberation Mono", monospace',
        fontSize: 14,
        scrollback: 5000,
        theme: theme(),
      });
      terminal.open(place);
      terminal.textarea.setAttribute("aria-label", `${place.getAttribute("aria-label")}. Ctrl-] leaves it.`);
      const decoder = new TextDecoder();
      const encoder = new TextEncoder();
      const send = (text) => {
        const bytes = encoder.encode(text);
        for (let at = 0; at < bytes.length && socket.readyState === WebSocket.OPEN; at += pieceBytes) {
          socket.send(bytes.subarray(at, at + pieceBytes));
        }
      };
      terminal.attachCustomKeyEventHandler((event) => {
        const isKey = (key) => event.ctrlKey && !event.altKey && (event.key || "").toLowerCase() === key;
        if (event.type === "keydown" && event.ctrlKey && event.key === "]") {
          event.preventDefault();
          keys.focus();
          return false;
        }
        if (event.type === "keydown" && event.shiftKey && isKey("c") && terminal.hasSelection()) {
          event.preventDefault();
          document.execCommand("copy");
          return false;
        }
        return true;
      });
      terminal.on("data", send);
      socket.addEventListener("message", ({ data }) => {
        terminal.write(decoder.decode(data, { stream: true }));
      });
      socket.addEventListener("open", opened);
      const sizes = new ResizeObserver(() => fit(terminal));
      sizes.observe(place);
      const recolour = () => terminal.setOption("theme", theme());
      scheme.addEventListener("change", recolour);
      const remove = () => {
        sizes.disconnect();
        scheme.removeEventListener("change", recolour);
        terminal.dispose();
      };
      return { send: () => send("\x1d"), focus: () => terminal.focus(), remove };
    },
  };

  // A program that is upgraded is back in a moment; a guest that moves, or whose node is lost, in a while.
  const pauseMs = 1000;
  const triesAtFirst = 5;
  const triesAfter = 60;
  // The page connects again by itself: after ever longer pauses where that ends soon each time.
  const pauseMaxMs = 30000;
  const steadyMs = 60000;
  let follows = 0;
  // The server sends a sign of life every two seconds. Without, a node that is gone looks like a guest that
  // shows nothing new.
  const silentMs = 10000;
  const connectMs = 30000;
  const askMs = 5000;
  // The connection that counts: those before it are of no interest any more.
  let current = 0;
  const ended = async (own, reason, wasOpen) => {
    keys.disabled = true;
    for (let left = wasOpen ? triesAfter : triesAtFirst; left > 0; left -= 1) {
      let words = "The server does not respond.";
      let status = 0;
      try {
        const response = await fetch(why, { signal: AbortSignal.timeout(askMs) });
        words = await response.text();
        status = response.status;
      } catch (error) {
        // It is asked again.
      }
      if (own !== current) return;
      // Nothing is known against a connection: what ended the last one says more.
      if (status === 200 && reason) words = reason;
      say(words, true);
      const mayChange = status === 0 || (wasOpen && (status === 200 || status === 409 || status >= 500));
      if (!mayChange) break;
      again.hidden = !wasOpen;
      const pause = status === 200 ? Math.min(pauseMs * 2 ** follows, pauseMaxMs) : pauseMs;
      await new Promise((done) => setTimeout(done, pause));
      if (own !== current) return;
      if (status === 200) {
        follows += 1;
        next();
        return;
      }
    }
    again.hidden = false;
  };

  let next = () => {};
  const connect = (library) => {
    current += 1;
    const own = current;
    let since = 0;
    again.hidden = true;
    say("Connecting…");
    if (shown) shown.remove();
    place.replaceChildren();
    const socket = new WebSocket(address.href);
    socket.binaryType = "arraybuffer";
    let refusal = "";
    let heard = performance.now();
    let isWatched = true;
    // Before the library, which takes no text.
    socket.addEventListener("message", (event) => {
      heard = performance.now();
      if (typeof event.data !== "string") return;
      isWatched = true;
      event.stopImmediatePropagation();
    });
    // A server of a version before this one sends no sign of life.
    socket.addEventListener("open", () => {
      isWatched = false;
    });
    const over = (reason) => {
      if (!watch) return;
      clearInterval(watch);
      watch = 0;
      const wasOpen = (since > 0 || follows > 0) && !refusal;
      if (since > 0 && performance.now() - since > steadyMs) follows = 0;
      if (own === current) ended(own, refusal || reason, wasOpen);
    };
    let watch = setInterval(() => {
      const limit = socket.readyState === WebSocket.OPEN ? silentMs : connectMs;
      if (!isWatched || performance.now() - heard < limit) return;
      over("The server does not respond.");
      socket.close();
    }, 1000);
    socket.addEventListener("close", ({ reason }) => over(reason));
    const opened = () => {
      since = performance.now();
      keys.disabled = false;
      say(place.dataset.hint);
      shown.focus();
    };
    const refused = (reason) => {
      refusal = reason;
    };
    shown = kinds[place.dataset.kind](library, socket, opened, refused);
  };

  say("Connecting…");
  import(place.dataset.library).then(
    (library) => {
      keys.addEventListener("click", () => {
        shown.send();
        shown.focus();
      });
      next = () => connect(library);
      again.addEventListener("click", () => {
        follows = 0;
        next();
      });
      next();
    },
    () => say("What draws it cannot be loaded.", true),
  );
})();
