// Finds keywords by their names, what people call them, and their texts. INDEX and
// PHRASES stand before this.
(() => {
  const box = document.getElementById("search");
  const list = document.getElementById("found");
  const MOST = 20;
  const navigation = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 52.01rem)");
  const unfold = () => { navigation.open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();

  // The same search as `evenkeel manual WORDS`: names before texts, what people call a
  // thing before both, and words that are nowhere replaced by the nearest one.
  const EMPTY = new Set("a an and by for from how in is of on the to with".split(" "));
  const singular = (word) =>
    word.length > 4 && word.endsWith("s") && !word.endsWith("ss") ? word.slice(0, -1) : word;
  const rank = (item, words, least) => {
    const name = item[0].toLowerCase();
    const whole = words.join(" ");
    if (name === whole) return item[0] === box.value.trim() ? 20000 : 10000;
    let sum = name.startsWith(whole) ? 500 : 0;
    let had = 0;
    for (const asked of words) {
      const word = singular(asked);
      if (name.split(/[ \-_.]/).some((part) => singular(part) === word)) sum += 100;
      else if (name.includes(word)) sum += 60;
      else if (item[4].includes(word) || item[1].includes(word)) sum += 10;
      else continue;
      had += 1;
    }
    return had >= least ? sum : 0;
  };
  const search = (words, least) => {
    const meant = PHRASES
      .filter(([phrase]) => phrase.split(" ").every((word) =>
        words.some((asked) => singular(asked) === singular(word))))
      .sort((a, b) => b[0].split(" ").length - a[0].split(" ").length)
      .flatMap(([, names]) => names);
    const pinned = (item) => {
      const at = meant.indexOf(item[0]);
      return at < 0 ? 0 : 5000 - at;
    };
    return INDEX.map((item) => [Math.max(rank(item, words, least), pinned(item)), item])
      .filter(([n]) => n > 0)
      .sort((a, b) => b[0] - a[0] || a[1][0].length - b[1][0].length)
      .slice(0, MOST);
  };
  // Edits (with swapped neighbours) from one word to another, as far as `most`.
  const distance = (a, b, most) => {
    if (Math.abs(a.length - b.length) > most) return most + 1;
    let [before, row] = [[], [...Array(b.length + 1).keys()]];
    for (let i = 1; i <= a.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= b.length; j += 1) {
        const same = a[i - 1] === b[j - 1] ? 0 : 1;
        next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + same);
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
          next[j] = Math.min(next[j], before[j - 2] + 1);
        }
      }
      [before, row] = [row, next];
    }
    return row[b.length];
  };
  let known = null;
  const corrected = (words) => {
    known ??= [
      new Set(PHRASES.flatMap(([phrase]) => phrase.split(" "))),
      new Set(INDEX.flatMap((item) => item[0].toLowerCase().split(/[^a-z0-9]+/))),
      new Set(INDEX.flatMap((item) => item[4].split(/[^a-z0-9]+/))),
    ];
    return words.map((word) => {
      if (word.length < 4 || known[0].has(word) || known[1].has(word)) return word;
      const most = word.length < 5 ? 1 : word.length < 9 ? 2 : 3;
      for (const all of known) {
        let best = [most + 1, word];
        for (const one of all) {
          if (one.length < 4) continue;
          const far = distance(word, one, best[0] - 1);
          if (far < best[0]) best = [far, one];
        }
        if (best[0] <= most) return best[1];
      }
      return word;
    });
  };
  const show = () => {
    let words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length > 1) words = words.filter((word) => !EMPTY.has(word));
    list.replaceChildren();
    list.hidden = words.length === 0;
    if (list.hidden) return;
    let found = search(words, words.length);
    if (found.length === 0) {
      // With slips of the finger corrected; else what has most of the words.
      const better = corrected(words);
      let least = better.length;
      for (; least * 2 >= better.length && found.length === 0; least -= 1) {
        found = search(better, least);
      }
      if (found.length > 0) {
        const line = document.createElement("li");
        line.className = "told";
        const most = least + 1 < better.length ? "most of " : "";
        line.textContent = `nothing for '${words.join(" ")}'; found for ${most}'${better.join(" ")}':`;
        list.append(line);
      }
    }
    for (const [, item] of found) {
      const link = document.createElement("a");
      const name = document.createElement("b");
      const more = document.createElement("small");
      name.textContent = item[0];
      more.textContent = "  " + item[1] + ": " + item[3].replaceAll("`", "");
      link.href = item[2];
      link.append(name, more);
      const line = document.createElement("li");
      line.append(link);
      list.append(line);
    }
    if (found.length === 0) {
      const line = document.createElement("li");
      line.className = "told";
      line.textContent = "nothing found: try one word less";
      list.append(line);
    }
    choose(0);
  };
  const choose = (step) => {
    const links = [...list.querySelectorAll("a")];
    if (links.length === 0) return;
    let at = links.findIndex((link) => link.classList.contains("chosen"));
    links.forEach((link) => link.classList.remove("chosen"));
    at = at < 0 ? 0 : (at + step + links.length) % links.length;
    links[at].classList.add("chosen");
    links[at].scrollIntoView({ block: "nearest" });
  };
  box.addEventListener("input", show);
  box.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const link = list.querySelector("a.chosen");
    if (link) { list.hidden = true; location.href = link.href; }
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { choose(1); event.preventDefault(); }
    if (event.key === "ArrowUp") { choose(-1); event.preventDefault(); }
    if (event.key === "Escape") { box.value = ""; show(); box.blur(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== box) { box.focus(); event.preventDefault(); }
  });
  document.addEventListener("click", (event) => {
    if (!box.form.contains(event.target)) list.hidden = true;
  });
})();
