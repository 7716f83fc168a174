// Keeps a page live: replaces what has changed, never under the user's hands.
(() => {
  'use strict';
  const path = location.pathname, page = path + location.search;
  const doc = document, status = doc.getElementById('live');
  const on = (name, then) => doc.addEventListener(name, then);
  let last, pressed = 0;

  // Open elements and the scroll position survive a form.
  let kept = {};
  try { kept = sessionStorage; } catch (_) {}
  const restore = (within) => {
    for (const one of within.querySelectorAll('details[id]')) {
      const was = kept['open ' + one.id];
      if (was) one.open = was === 'yes';
    }
  };
  restore(doc);
  on('click', (event) => {
    const summary = event.target.closest('summary');
    const one = summary && summary.parentNode;
    if (one) setTimeout(() => { kept['open ' + one.id] = one.open ? 'yes' : 'no'; });
  });
  on('submit', () => { kept.at = path + ' ' + scrollY; });
  const [was, y] = (kept.at || '').split(' ');
  if (was === path) scrollTo(0, Number(y));
  kept.at = '';
  doc.querySelector('.told')?.focus({ preventScroll: true });
  // An outcome is shown once, not at each reload.
  history.replaceState(null, '', page.replace(/[?&]told=.*$/, '') + location.hash);

  on('pointerdown', () => { pressed = 1; });
  const free = () => setTimeout(() => { pressed = 0; }, 300);
  on('pointerup', free);
  on('pointercancel', free);
  // True if a button or a selected text of an element is in use.
  const busy = (element) => {
    const active = doc.activeElement, marked = getSelection();
    return pressed || (element.contains(active) && active.matches('input,button')) ||
      (!marked.isCollapsed && marked.containsNode(element, true));
  };

  // Makes a node like another; what is equal stays, with focus, scroll position and what is open.
  const same = (a, b) => a && a.nodeName === b.nodeName && (a.id || '') === (b.id || '');
  const morph = (old, now) => {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (name !== 'open' && !now.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of now.attributes) {
      if (name !== 'open' && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    fill(old, now);
  };
  const fill = (old, now) => {
    let here = old.firstChild;
    const skip = (end) => {
      while (here !== end) { const gone = here; here = here.nextSibling; gone.remove(); }
    };
    for (const next of [...now.childNodes]) {
      let found = here;
      if (next.id) while (found && !same(found, next)) found = found.nextSibling;
      if (same(found, next)) {
        skip(found);
        here = here.nextSibling;
        morph(found, next);
      } else old.insertBefore(next, here);
    }
    skip(null);
  };

  const waiting = new Map();
  const put = () => {
    for (const [id, html] of waiting) {
      const element = doc.getElementById(id);
      if (element && busy(element)) continue;
      waiting.delete(id);
      if (!element) continue;
      const now = doc.createElement('div');
      now.innerHTML = html;
      restore(now);
      const at = doc.activeElement, had = element.contains(at);
      fill(element, now);
      // The parent element is gone.
      if (had && !at.isConnected) {
        element.tabIndex = -1;
        element.focus({ preventScroll: true });
      }
    }
  };
  setInterval(put, 1000);

  const tell = (words, lost) => {
    if (status.textContent !== words) status.textContent = words;
    status.classList.toggle('lost', lost);
  };
  const seen = () => {
    last = ', last look ' + new Date().toTimeString().slice(0, 8);
    tell('Live', false);
  };
  const source = new EventSource('/live?page=' + encodeURIComponent(page));
  source.onopen = seen;
  source.onmessage = (event) => {
    seen();
    for (const [id, html] of Object.entries(JSON.parse(event.data))) waiting.set(id, html);
    put();
  };
  source.onerror = () => {
    const refused = source.readyState === 2 && !last;
    tell('Not live: ' + (refused ? 'too much is live at one time' : 'connection lost' + (last || '')), true);
    // Refused: the sign-in may have ended.
    if (source.readyState === 2) setTimeout(() => location.reload(), 15000);
  };
  // A page that was left keeps no connection from others.
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
})();
