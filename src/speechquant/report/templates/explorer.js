// Utterances word by word. Only what is looked at is built, so that thousands of them stay quick.
(() => {
  "use strict";
  const source = document.getElementById("utterance-data");
  if (!source) return;
  const BATCH = 20, PRINTED = 100, PRINTED_WIDTH = 84;
  const { rows, reference: scored } = JSON.parse(source.textContent);
  const recordings = JSON.parse(document.getElementById("recording-data")?.textContent ?? "{}");
  const [form, list, more, found, search, sort] =
    ["controls", "utterances", "more", "found", "search", "sort"].map((id) => document.getElementById(id));
  rows.forEach((row, at) => { row.at = at; row.delta = row.e[1] - row.e[0]; });

  const tests = {
    all: () => true,
    changed: (row) => "t" in row,
    worse: (row) => row.delta > 0,
    better: (row) => row.delta < 0,
  };
  const order = {
    change: (a, b) => b.delta - a.delta || ("t" in b) - ("t" in a) || a.at - b.at,
    errors: (a, b) => b.e[1] - a.e[1] || a.at - b.at,
    order: (a, b) => a.at - b.at,
    id: (a, b) => (a.i < b.i ? -1 : a.i > b.i ? 1 : 0),
  };
  const haystack = (row) =>
    (row.text ??= [row.i, row.r, ...Object.values(row.f), ...Object.values(row.q), ...(row.t ?? [])].join(" ").toLowerCase());

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  const columns = (row) =>
    row.r.split(" ").map((word, at) => ({ r: word, f: row.f[at] ?? word, q: row.q[at] ?? word }))
      .filter((column) => column.r || column.f || column.q);
  const shown = (word, reference) => (word ? (reference ? word : `+${word}`) : reference ? "–" : "·");
  const kind = (word, reference) => (word === reference ? "" : !reference ? "ins" : !word ? "del" : "sub");
  const spoken = { ins: "too much: ", del: "missing", sub: "wrong: " };

  const cell = (word, reference, changed) => {
    const wrong = kind(word, reference);
    if (!wrong && !changed) return make("td", {}, word);
    const names = ["w", wrong, changed ? "diff" : ""].filter(Boolean).join(" ");
    const text = shown(word, reference);
    const said = word || reference ? spoken[wrong] : "no longer inserted";
    const parts = [said ? make("span", { class: "sr" }, said) : null];
    parts.push(word ? text : make("span", { "aria-hidden": "true" }, text));
    return make("td", {}, make("span", { class: names }, ...parts));
  };

  // Words stand below each other only if no line breaks, so lines are cut at the width of the page.
  const perLine = () => {
    const probe = make("span", { class: "probe", "aria-hidden": "true" }, "0".repeat(50));
    list.append(probe);
    const width = probe.getBoundingClientRect().width / 50;
    probe.remove();
    return Math.max(18, Math.floor(list.clientWidth / width) - 7);
  };
  const lines = (row, room) => {
    const cut = [[]];
    let used = 0;
    for (const column of columns(row)) {
      const width = 1 + Math.max(column.r.length, shown(column.f, column.r).length, shown(column.q, column.r).length);
      if (used + width > room && used) { cut.push([]); used = 0; }
      cut.at(-1).push(column);
      used += width;
    }
    return cut.filter((line) => line.length);
  };
  const table = (line, name) => {
    const names = scored ? [["r", "ref"], ["f", "float"], ["q", "quant"]] : [["f", "float"], ["q", "quant"]];
    const side = ([key, name]) => make("tr", { class: key }, make("th", { scope: "row" }, name),
      ...line.map((c) => (key === "r" ? make("td", {}, c.r) : cell(c[key], c.r, key === "q" && c.q !== c.f))));
    return make("table", { class: "aligned", "aria-label": name }, make("tbody", {}, ...names.map(side)));
  };

  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  const chip = (row) => {
    if (!("t" in row)) return make("span", { class: "chip same" }, "unchanged");
    if (!scored) return make("span", { class: "chip changed" }, `${plural(row.e[1], "word")} differ${row.e[1] === 1 ? "s" : ""}`);
    if (row.delta > 0) return make("span", { class: "chip worse" }, `▲ ${plural(row.delta, "error")} more`);
    if (row.delta < 0) return make("span", { class: "chip better" }, `▼ ${plural(-row.delta, "error")} fewer`);
    return make("span", { class: "chip changed" }, "changed, as many errors");
  };
  const written = (row) => {
    if (!row.t) return null;
    const names = ["reference", "float", "quantized", "naive max"];
    const items = names.flatMap((name, at) =>
      typeof row.t[at] === "string" ? [make("dt", {}, name), make("dd", {}, row.t[at] || "(nothing)")] : []);
    return make("details", {}, make("summary", {}, "As written"), make("dl", { class: "written" }, ...items));
  };
  const article = (row, room) => {
    const words = row.r.split(" ").filter(Boolean).length;
    const count = scored
      ? make("span", { class: "count" }, `errors ${row.e[0]} → ${row.e[1]} of ${plural(words, "word")}`)
      : make("span", { class: "count" }, plural(words, "word"));
    const player = row.i in recordings
      ? make("audio", { controls: "", preload: "none", src: recordings[row.i], "aria-label": `Recording of ${row.i}` })
      : null;
    const text = lines(row, room).map((line) => table(line, `Words of ${row.i}`));
    return make("article", { class: "utterance", "data-id": row.i }, make("h3", {}, row.i, " ", chip(row), " ", count),
      player, text.length ? make("div", { class: "lines" }, ...text) : make("p", { class: "note" }, "(silence)"), written(row));
  };

  let chosen = [], built = 0, room = perLine();
  const add = (upTo) => {
    const end = Math.min(upTo, chosen.length);
    list.append(...chosen.slice(built, end).map((row) => article(row, room)));
    built = end;
    const rest = chosen.length - built;
    more.hidden = rest === 0;
    more.textContent = `Show ${Math.min(BATCH, rest)} more of ${rest.toLocaleString("en")}`;
  };
  const rebuild = (count, width = perLine()) => {
    list.replaceChildren();
    room = width;
    built = 0;
    add(count);
  };
  const update = () => {
    const wanted = search.value.trim().toLowerCase();
    const test = tests[form.elements.filter.value];
    chosen = rows.filter((row) => test(row) && (!wanted || haystack(row).includes(wanted))).sort(order[sort.value]);
    found.textContent = `${chosen.length.toLocaleString("en")} of ${plural(rows.length, "utterance")}`;
    rebuild(BATCH);
  };

  form.elements.filter.value = rows.some(tests.changed) ? "changed" : "all";
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  more.addEventListener("click", () => {
    const first = built;
    add(built + BATCH);
    const next = list.children[first];
    if (next) { next.tabIndex = -1; next.focus({ preventScroll: true }); }
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    rebuild(built);
  });
  let kept = BATCH;
  addEventListener("beforeprint", () => { kept = built; rebuild(Math.max(PRINTED, built), PRINTED_WIDTH); });
  addEventListener("afterprint", () => rebuild(kept));
  update();
})();
