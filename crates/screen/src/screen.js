// Connects noVNC, spice-html5 or xterm.js, which are served beside this, with the display or the terminal of a guest.
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
  const Socket = WebSocket;

  const say = (words, bad) => {
    // The message of a guest's node begins in lower case.
    state.textContent = words.charAt(0).toUpperCase() + words.slice(1);
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

  // The codes of a keyboard of a PC (set 1) by the places of its keys, from 1 on, and those after 0xe0.
  const row = (first, names) => names.split(" ").map((name, at) => [name, first + at]);
  const codes = new Map([
    ...row(0x01, "Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace"),
    ...row(0x0f, "Tab KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter"),
    ...row(0x1d, "ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote"),
    ...row(0x2a, "ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight"),
    ...row(0x37, "NumpadMultiply AltLeft Space CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock"),
    ...row(0x47, "Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3"),
    ...row(0x52, "Numpad0 NumpadDecimal"),
    ...row(0x56, "IntlBackslash F11 F12"),
    ["KanaMode", 0x70], ["IntlRo", 0x73], ["Convert", 0x79], ["NonConvert", 0x7b], ["IntlYen", 0x7d],
    ...[
      ["NumpadEnter", 0x1c], ["ControlRight", 0x1d], ["NumpadDivide", 0x35], ["PrintScreen", 0x37], ["AltRight", 0x38],
      ["Home", 0x47], ["ArrowUp", 0x48], ["PageUp", 0x49], ["ArrowLeft", 0x4b], ["ArrowRight", 0x4d], ["End", 0x4f],
      ["ArrowDown", 0x50], ["PageDown", 0x51], ["Insert", 0x52], ["Delete", 0x53], ["MetaLeft", 0x5b],
      ["MetaRight", 0x5c], ["ContextMenu", 0x5d],
    ].map(([name, code]) => [name, (code << 8) | 0xe0]),
  ]);
  const leaves = (event) => event.ctrlKey && event.altKey && event.key === "Home";

  // The keyboard for spice-html5. Its own takes each keyboard for a US one, and shows an alert for other keys.
  const keyboard = (main, signal) => {
    const held = new Set();
    const send = (name, isDown) => {
      const { inputs } = main;
      const code = codes.get(name);
      if (!code || !inputs || inputs.state !== "ready") return;
      held[isDown ? "add" : "delete"](name);
      // SPICE_MSGC_INPUTS_KEY_DOWN or _UP, the bytes behind it, and the code.
      const message = new DataView(new ArrayBuffer(10));
      message.setUint16(0, isDown ? 101 : 102, true);
      message.setUint32(2, 4, true);
      message.setUint32(6, isDown ? code : code | (code > 0xff ? 0x8000 : 0x80), true);
      inputs.ws.send(message.buffer);
    };
    const release = () => [...held].reverse().forEach((name) => send(name, false));
    const typed = (event) => {
      event.stopPropagation();
      const isDown = event.type === "keydown";
      if (isDown && leaves(event)) {
        event.preventDefault();
        keys.focus();
        return;
      }
      if (!codes.has(event.code)) return;
      event.preventDefault();
      send(event.code, isDown);
      // A Mac does not say that the keys beside it are up again.
      if (!isDown && event.code.startsWith("Meta")) release();
    };
    place.addEventListener("keydown", typed, { capture: true, signal });
    place.addEventListener("keyup", typed, { capture: true, signal });
    place.addEventListener("focusout", release, { signal });
    return (names) => {
      names.forEach((name) => send(name, true));
      release();
    };
  };

  // The mouse for spice-html5, which knows nothing of a picture that is scaled, and takes the focus when it comes.
  const mouse = (canvas, signal) => {
    const moved = (event) => {
      const shown = canvas();
      if (!shown) return;
      const box = shown.getBoundingClientRect();
      const scale = Math.max(shown.width / box.width, shown.height / box.height);
      const at = (pointer, begin, length, size) => {
        const inside = (pointer - begin - length / 2) * scale + size / 2;
        return Math.max(0, Math.min(size - 1, Math.floor(inside)));
      };
      const x = at(event.clientX, box.left, box.width, shown.width);
      const y = at(event.clientY, box.top, box.height, shown.height);
      Object.defineProperties(event, { offsetX: { value: x }, offsetY: { value: y } });
    };
    const listen = (type, listener) => place.addEventListener(type, listener, { capture: true, signal });
    listen("mousemove", moved);
    for (const type of ["mouseover", "mouseout"]) listen(type, (event) => event.stopPropagation());
    listen("pointerdown", (event) => {
      if (event.target !== canvas()) return;
      event.target.focus();
      event.target.setPointerCapture(event.pointerId);
    });
  };

  // spice-html5 cuts the zeros in front of a number that it encrypts, and the guest then ends the channel: one of
  // 256. Every channel has such a number, though nobody is asked for a password.
  const pads = ({ RSAKey: { prototype } }) => {
    const encrypt = prototype.doPublic;
    prototype.doPublic = function (number) {
      const digits = encrypt.call(this, number).toString(16);
      return { toString: () => digits.padStart(Math.ceil(this.n.bitLength() / 8) * 2, "0") };
    };
  };
  // The words of SPICE_MSG_NOTIFY if it is an error: behind the time, its severity, and three more fields.
  const noticed = ({ type, data }) => {
    if (type !== 7 || !data || data.byteLength < 24) return "";
    const fields = new DataView(data);
    if (fields.getUint32(8, true) !== 2) return "";
    const length = Math.min(fields.getUint32(20, true), data.byteLength - 24);
    return new TextDecoder().decode(new Uint8Array(data, 24, length));
  };
  const prepares = {
    spice: (library) => import(new URL("thirdparty/rsa.js", new URL(library, location.href))).then(pads),
  };

  // The display of each kind: takes the library and the connection that opens, and returns the functions that send
  // a key, set the focus and remove the display.
  const kinds = {
    screen: ({ default: RFB }, { open, opened, refused }) => {
      const display = new RFB(place, open(new Socket(address.href)), { shared: true });
      display.scaleViewport = true;
      display.focusOnClick = true;
      display.background = "transparent";
      display.addEventListener("connect", opened);
      display.addEventListener("securityfailure", ({ detail }) => refused(detail.reason));
      // Before noVNC hears of it. The guest has got Ctrl and Alt: they are released there.
      const held = [[0xffe3, "ControlLeft"], [0xffe4, "ControlRight"], [0xffe9, "AltLeft"], [0xffea, "AltRight"]];
      const leave = (event) => {
        if (!leaves(event)) return;
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
    spice: ({ SpiceMainConn }, { open, opened, over }) => {
      const ends = new AbortController();
      const { signal } = ends;
      const screen = document.createElement("div");
      screen.className = "spice";
      screen.id = "spice";
      place.append(screen);
      // SPICE opens its connections itself, one for each channel. The end of one of them ends the display, and the
      // library is not told. A server that refuses a channel says why in place of the first message; later it does so
      // in a message of its own (SPICE_MSG_NOTIFY with an error), of which the library only writes to the console.
      window.WebSocket = class extends Socket {
        constructor() {
          super(address.href);
          open(this);
          const first = (event) => {
            const bytes = new Uint8Array(event.data);
            if (String.fromCharCode(...bytes.subarray(0, 4)) === "REDQ") return;
            event.stopImmediatePropagation();
            over(new TextDecoder().decode(bytes).trim());
          };
          this.addEventListener("message", first, { once: true });
          this.addEventListener("open", () => {
            const channel = this.parent;
            const process = channel.process_common_messages;
            channel.process_common_messages = (message) => {
              const words = noticed(message);
              if (words) over(words);
              return process.call(channel, message);
            };
          });
          for (const type of ["close", "error"]) {
            this.addEventListener(type, (event) => event.stopImmediatePropagation());
          }
        }
      };
      const main = new SpiceMainConn({
        uri: address.href,
        screen_id: screen.id,
        password: "",
        onsuccess: opened,
        onerror: (error) => over(error.message),
      });
      const canvas = () => screen.querySelector("canvas");
      const press = keyboard(main, signal);
      mouse(canvas, signal);
      const focus = () => canvas()?.focus();
      const remove = () => {
        ends.abort();
        main.stop();
      };
      return { send: () => press(["ControlLeft", "AltLeft", "Delete"]), focus, remove };
    },
    terminal: ({ Terminal }, { open, opened }) => {
      const socket = open(new Socket(address.href), opened);
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
        // The next poll asks again.
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
    const sockets = [];
    let refusal = "";
    const over = (reason) => {
      if (!watch) return;
      clearInterval(watch);
      watch = 0;
      const wasOpen = (since > 0 || follows > 0) && !refusal;
      if (since > 0 && performance.now() - since > steadyMs) follows = 0;
      if (own === current) ended(own, refusal || reason, wasOpen);
      for (const { socket } of sockets) socket.close();
    };
    let watch = setInterval(() => {
      const isSilent = ({ socket, heard, isWatched }) => {
        const limit = socket.readyState === WebSocket.OPEN ? silentMs : connectMs;
        return isWatched && performance.now() - heard >= limit;
      };
      if (sockets.some(isSilent)) over("The server does not respond.");
    }, 1000);
    // Before the library, which takes no text. A server that refuses says so behind the handshake, and sends nothing
    // before; another one sends a sign of life at once.
    const open = (socket, first = () => {}) => {
      socket.binaryType = "arraybuffer";
      socket.addEventListener("message", first, { once: true });
      const one = { socket, heard: performance.now(), isWatched: true };
      sockets.push(one);
      socket.addEventListener("message", (event) => {
        one.heard = performance.now();
        if (typeof event.data !== "string") return;
        one.isWatched = true;
        event.stopImmediatePropagation();
      });
      // A server of a version before this one sends no sign of life.
      socket.addEventListener("open", () => {
        one.isWatched = false;
      });
      socket.addEventListener("close", ({ reason }) => over(reason));
      return socket;
    };
    const opened = () => {
      if (!watch) return;
      since = performance.now();
      keys.disabled = false;
      say(place.dataset.hint);
      shown.focus();
    };
    const refused = (reason) => {
      refusal = reason;
    };
    shown = kinds[kind](library, { open, opened, refused, over });
  };

  say("Connecting…");
  const { kind, library: main } = place.dataset;
  Promise.all([import(main), prepares[kind]?.(main)]).then(
    ([library]) => {
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
