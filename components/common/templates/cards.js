  // Findings are filtered, and walked through by keys: / goes to the search, j and k to the next one, Escape empties the search.
  (() => {
    const by = id => document.getElementById(id);
    const find = by("find");
    if (!find || !by("cards")) return;
    const cards = [...document.querySelectorAll("#cards > .card")].map(card => ({
      card, text: card.textContent.toLowerCase(), splits: JSON.parse(card.dataset.splits),
    }));
    const search = by("q"), severity = by("severity"), kind = by("kind"), split = by("split"), subject = by("subject");
    const is = (control, value) => !control || !control.value || control.value === value;

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const {card, text, splits} of cards) {
        const fits = is(severity, card.dataset.severity) && is(kind, card.dataset.kind) && is(subject, card.dataset.subject)
          && (!split || !split.value || !splits.length || splits.includes(split.value))
          && words.every(word => text.includes(word));
        card.hidden = !fits;
        shown += fits;
      }
      by("shown").textContent = `${shown} of ${cards.length} findings`;
    }

    for (const control of [search, severity, kind, split, subject]) if (control) control.addEventListener("input", filter);
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
  // Commands get a button that copies them; where the clipboard is refused, as in a sandboxed frame, the text is selected.
  for (const code of document.querySelectorAll("code.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      let done = false;
      try {
        await navigator.clipboard.writeText(code.textContent);
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
        try { done = document.execCommand("copy"); } catch { done = false; }
      }
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
    });
    code.after(" ", button);
  }
