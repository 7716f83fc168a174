// Checks a configuration while it is typed, and marks what is found at its line.
(() => {
  'use strict';
  const doc = document, by = (id) => doc.getElementById(id);
  const form = by('edit'), text = by('text'), gutter = by('gutter'), marks = by('marks');
  const found = by('findings'), manual = by('manual');
  const first = text.value;
  let timer, running, again, lines = 0, left = false;

  const lineHeight = () => parseFloat(getComputedStyle(text).lineHeight);
  // Columns of a line up to a byte of it; a tab reaches to the next eighth.
  const columns = (line, bytes) => {
    let at = 0, width = 0;
    for (const c of line) {
      if (at >= bytes) break;
      const code = c.codePointAt(0);
      at += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      width = c === '\t' ? width - (width % 8) + 8 : width + 1;
    }
    return width;
  };
  const scroll = () => {
    gutter.scrollTop = text.scrollTop;
    for (const one of marks.children) {
      one.style.transform = 'translate(' + -text.scrollLeft + 'px,' + -text.scrollTop + 'px)';
    }
  };
  const mark = () => {
    const all = text.value.split('\n'), height = lineHeight(), padding = parseFloat(getComputedStyle(text).paddingTop);
    const of = new Map();
    marks.replaceChildren();
    for (const one of found.querySelectorAll('li[data-line]')) {
      const { line, column, end, words } = one.dataset, at = Number(line) - 1;
      if (at >= all.length || of.has(at)) continue;
      const kind = one.classList.contains('bad') ? 'bad' : 'busy';
      of.set(at, kind);
      const put = (name, from, content) => {
        const span = doc.createElement('span');
        span.className = name + ' ' + kind;
        span.textContent = content;
        span.style.top = padding + at * height + 'px';
        span.style.left = 'calc(' + padding + 'px + ' + from + 'ch)';
        marks.append(span);
      };
      const from = columns(all[at], Number(column || 1) - 1);
      const to = end ? columns(all[at], Number(end) - 1) : from + 1;
      put('under', from, ' '.repeat(Math.max(1, to - from)));
      put('words', columns(all[at], Infinity), words);
    }
    gutter.replaceChildren(...all.map((_, at) => {
      const span = doc.createElement('span');
      span.textContent = at + 1 + '\n';
      if (of.has(at)) span.className = of.get(at);
      return span;
    }));
    lines = all.length;
    scroll();
  };

  const check = async () => {
    if (running) { again = true; return; }
    running = true;
    try {
      const body = new URLSearchParams(new FormData(form));
      const response = await fetch('/config/check', { method: 'POST', body, redirect: 'error' });
      const html = await response.text();
      if (response.ok) found.innerHTML = html;
      else if (response.status === 401) location.reload();
      mark();
    } catch (_) {
      // The next change tries again.
    }
    running = false;
    if (again) { again = false; later(); }
  };
  const later = () => { clearTimeout(timer); timer = setTimeout(check, 400); };

  // The manual of the line with the cursor.
  let asked = '', wait;
  const explain = async () => {
    const before = text.value.slice(0, text.selectionStart), all = text.value.split('\n');
    const at = before.split('\n').length - 1;
    const line = (all[at] || '').trim().slice(0, 200);
    let section = '';
    for (let i = at; i >= 0 && !section; i--) {
      if (/^[a-z]/.test(all[i])) section = all[i].split(/\s/)[0];
    }
    const query = '?' + new URLSearchParams({ section, line });
    if (query === asked) return;
    asked = query;
    try {
      const response = await fetch('/config/manual' + query, { redirect: 'error' });
      if (response.ok && query === asked) manual.innerHTML = await response.text();
    } catch (_) {}
  };
  doc.addEventListener('selectionchange', () => {
    if (doc.activeElement !== text) return;
    clearTimeout(wait);
    wait = setTimeout(explain, 250);
  });

  text.addEventListener('input', () => {
    if (text.value.split('\n').length !== lines) mark();
    later();
  });
  text.addEventListener('scroll', scroll);
  found.addEventListener('click', (event) => {
    const link = event.target.closest('a.n');
    if (!link) return;
    event.preventDefault();
    const at = Number(link.closest('li').dataset.line) - 1;
    const start = text.value.split('\n').slice(0, at).join('\n').length + (at ? 1 : 0);
    text.focus();
    text.setSelectionRange(start, start + (text.value.split('\n')[at] || '').length);
    text.scrollTop = Math.max(0, at * lineHeight() - text.clientHeight / 3);
  });
  form.addEventListener('submit', () => { left = true; });
  addEventListener('beforeunload', (event) => {
    if (!left && text.value !== first) event.preventDefault();
  });
  mark();
  check();
})();
