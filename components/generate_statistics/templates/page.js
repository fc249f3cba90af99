(() => {
  "use strict";
  const by = id => document.getElementById(id);
  const table = by("features"), bodies = [...table.tBodies];
  const search = by("q"), kind = by("kind"), eye = by("eye"), order = by("order");
  const items = bodies.map(body => ({
    body, name: body.querySelector("code").textContent, text: body.rows[0].textContent.toLowerCase(),
    kind: body.dataset.k, eye: "r" in body.dataset,
    e: +body.dataset.e, i: +body.dataset.i, m: -body.dataset.m,
  }));
  const names = new Intl.Collator(undefined, {numeric: true});
  const heads = [...table.tHead.querySelectorAll("th[data-by]")];
  let backwards = false;

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const fits = (!eye.checked || item.eye) && (!kind.value || item.kind === kind.value)
        && words.every(word => item.text.includes(word));
      item.body.hidden = !fits;
      shown += fits;
    }
    by("shown").textContent = `${shown} of ${items.length} features`;
  }

  function sort() {
    const key = order.value;
    const sorted = [...items].sort((a, b) =>
      (key === "n" ? names.compare(a.name, b.name) : a[key] - b[key]) || a.e - b.e);
    if (backwards) sorted.reverse();
    table.append(...sorted.map(item => item.body));
    for (const head of heads) {
      // The most urgent and the most missing come first, which is a falling order.
      const falls = (head.dataset.by !== "n") !== backwards;
      if (head.dataset.by === key) head.setAttribute("aria-sort", falls ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      backwards = order.value === head.dataset.by && !backwards;
      order.value = head.dataset.by;
      sort();
    });
  }
  order.addEventListener("change", () => { backwards = false; sort(); });
  for (const control of [search, kind, eye]) control.addEventListener("input", filter);
  by("all").addEventListener("click", event => {
    const open = event.target.textContent === "Open all";
    for (const item of items) if (!item.body.hidden) item.body.querySelector("details").open = open;
    event.target.textContent = open ? "Close all" : "Open all";
  });

  // The keyboard: / goes to the search, arrows from one feature to the next, Escape empties the search.
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = document.activeElement;
    if (event.key === "/" && !at.matches("input, select")) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && at === search) {
      search.value = "";
      filter();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (at === search || at.matches("summary"))) {
      event.preventDefault();
      const shown = [...table.tBodies].filter(body => !body.hidden).map(body => body.querySelector("summary"));
      const next = shown[shown.indexOf(at) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) next.focus();
      else if (event.key === "ArrowUp") search.focus();
    }
  });
  by("find").hidden = false;
  sort();
  filter();

  const data = by("slice-data");
  if (!data) return;
  const slices = JSON.parse(data.textContent);
  const target = by("slices"), feature = by("slice-feature"), split = by("slice-split"), wanted = by("slice-q");
  const cell = (row, tag, text, number) => {
    const made = document.createElement(tag);
    if (tag === "th") made.scope = row.parentNode === target.tHead ? "col" : "row";
    if (number) made.className = "n";
    made.textContent = text;
    row.append(made);
    return made;
  };
  const draw = (paths, label) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 240 56");
    svg.setAttribute("width", "240");
    svg.setAttribute("height", "56");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    paths.forEach((path, place) => {
      const line = document.createElementNS(space, "path");
      line.setAttribute("d", path);
      line.setAttribute("class", `s${place}`);
      svg.append(line);
    });
    return svg;
  };

  function compare() {
    const own = slices[split ? split.value : Object.keys(slices)[0]];
    const chosen = own.features[feature.value] || own.features[0];
    target.tHead.replaceChildren();
    target.tBodies[0].replaceChildren();
    if (!chosen) return;
    const head = target.tHead.insertRow();
    const drawn = chosen.rows.some(row => row[0]);
    cell(head, "th", "Slice");
    cell(head, "th", "Rows", true);
    if (drawn) cell(head, "th", "Distribution");
    for (const name of ["Missing", ...chosen.heads]) cell(head, "th", name, true);
    const words = wanted.value.toLowerCase();
    own.slices.forEach(([name, rows], place) => {
      if (place && !name.toLowerCase().includes(words)) return;
      const row = target.tBodies[0].insertRow();
      const [path, ...cells] = chosen.rows[place];
      cell(row, "th", name);
      cell(row, "td", rows.toLocaleString("en"), true);
      if (drawn) cell(row, "td", "").append(draw([chosen.rows[0][0], ...(place ? [path] : [])], `Histogram of ${chosen.name} in ${name}`));
      for (const text of cells) cell(row, "td", text, true);
    });
  }

  Object.values(slices)[0].features.forEach((each, place) => feature.add(new Option(each.name, place)));
  for (const control of [feature, split, wanted]) if (control) control.addEventListener("input", compare);
  by("pick").hidden = false;
  target.hidden = false;
  compare();
})();
