// Connects noVNC, which is served beside this, with the display of a guest.
"use strict";

(() => {
  const place = document.getElementById("screen");
  const state = document.getElementById("screen-state");
  const keys = document.getElementById("screen-keys");
  const again = document.getElementById("screen-again");
  const socket = new URL(place.dataset.socket, location.href);
  const why = socket.href;
  socket.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let display = null;

  const say = (words, bad) => {
    state.textContent = words;
    state.classList.toggle("bad", Boolean(bad));
  };

  const ended = async () => {
    keys.disabled = true;
    display = null;
    let words = "The console does not respond.";
    try {
      words = await (await fetch(why)).text();
    } catch (error) {
      // It says so already.
    }
    say(words, true);
    again.hidden = false;
  };

  const connect = (RFB) => {
    again.hidden = true;
    say("Connecting…");
    place.replaceChildren();
    display = new RFB(place, socket.href, { shared: true });
    display.scaleViewport = true;
    display.focusOnClick = true;
    display.background = "transparent";
    display.addEventListener("connect", () => {
      keys.disabled = false;
      say("Connected. Click into the display to type there.");
      display.focus();
    });
    display.addEventListener("disconnect", ended);
  };

  import("/novnc/core/rfb.js").then(
    ({ default: RFB }) => {
      keys.addEventListener("click", () => display && display.sendCtrlAltDel());
      again.addEventListener("click", () => connect(RFB));
      connect(RFB);
    },
    () => say("noVNC cannot be loaded.", true),
  );
})();
