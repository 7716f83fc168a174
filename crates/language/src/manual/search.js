// Finds keywords by their names, then by their texts. INDEX stands before this.
(() => {
  const box = document.getElementById("search");
  const list = document.getElementById("found");
  const MOST = 20;
  const navigation = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 52.01rem)");
  const unfold = () => { navigation.open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();

  const rank = (item, words) => {
    const name = item[0].toLowerCase();
    const whole = words.join(" ");
    if (name === whole) return 0;
    if (name.startsWith(whole)) return 1;
    if (words.every((word) => name.includes(word))) return 2;
    const text = (item[1] + " " + item[3]).toLowerCase();
    return words.every((word) => name.includes(word) || text.includes(word)) ? 3 : 9;
  };
  const show = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.replaceChildren();
    list.hidden = words.length === 0;
    if (list.hidden) return;
    const found = INDEX.map((item) => [rank(item, words), item])
      .filter(([n]) => n < 9)
      .sort((a, b) => a[0] - b[0] || a[1][0].length - b[1][0].length)
      .slice(0, MOST);
    for (const [, item] of found) {
      const link = document.createElement("a");
      const name = document.createElement("b");
      const more = document.createElement("small");
      name.textContent = item[0];
      more.textContent = "  " + item[1] + ": " + item[3];
      link.href = item[2];
      link.append(name, more);
      const line = document.createElement("li");
      line.append(link);
      list.append(line);
    }
    if (found.length === 0) {
      const line = document.createElement("li");
      line.textContent = "nothing of that name";
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
