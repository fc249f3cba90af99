(() => {
  "use strict";
  const by = id => document.getElementById(id);
  const find = by("find");
  if (!find) return;
  const cards = [...document.querySelectorAll("#cards > .card")].map(card => ({
    card, text: card.textContent.toLowerCase(), splits: JSON.parse(card.dataset.splits),
  }));
  const search = by("q"), severity = by("severity"), kind = by("kind"), split = by("split");

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const {card, text, splits} of cards) {
      const fits = (!severity.value || card.dataset.severity === severity.value)
        && (!kind.value || card.dataset.kind === kind.value)
        && (!split || !split.value || splits.includes(split.value))
        && words.every(word => text.includes(word));
      card.hidden = !fits;
      shown += fits;
    }
    by("shown").textContent = `${shown} of ${cards.length} findings`;
  }

  for (const control of [search, severity, kind, split]) if (control) control.addEventListener("input", filter);

  // The keyboard: / goes to the search, j and k from one finding to the next, Escape empties the search.
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = document.activeElement;
    if (event.key === "Escape" && at === search) {
      search.value = "";
      filter();
    } else if (at.matches("input, select")) {
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (event.key === "j" || event.key === "k") {
      const shown = cards.map(each => each.card).filter(card => !card.hidden);
      const next = shown[shown.indexOf(at.closest(".card")) + (event.key === "j" ? 1 : -1)];
      if (next) next.focus();
    }
  });
  find.hidden = false;
  filter();
})();
