"use strict";
// Search, filter, sort and fold. Without it the page is complete, only less handy.
(() => {
  const controls = document.querySelector(".controls");
  const [search, choice] = controls.querySelectorAll("input, select");
  const said = controls.querySelector("output");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const folds = all("details");
  const lists = all("[data-searched]").map((list) => ({ list, fold: list.closest("details"), items: null }));
  // Which were open before a search opened those that have something.
  let before = null;

  // The words of rows are read when they are first needed: of 8,000 that takes a moment.
  const itemsOf = (found) => {
    const state = Number(found.list.dataset.searched);
    found.items ??= all("tbody tr", found.list).map((row) => ({
      row,
      words: all("th, td", row).map((cell) => cell.textContent).join(" ").toLowerCase(),
      state: row.cells[state].textContent.trim(),
    }));
    return found.items;
  };

  const look = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = choice.value;
    const looking = words.length > 0 || wanted !== "";
    let shown = 0;
    let total = 0;
    if (looking && !before) before = folds.map((fold) => fold.open);
    for (const found of lists) {
      let here = 0;
      for (const item of itemsOf(found)) {
        const fits = (!wanted || item.state === wanted) && words.every((word) => item.words.includes(word));
        if (item.row.hidden === fits) item.row.hidden = !fits;
        if (fits) here += 1;
      }
      if (looking && found.fold) found.fold.open = here > 0;
      shown += here;
      total += found.items.length;
    }
    if (!looking && before) {
      folds.forEach((fold, index) => { fold.open = before[index]; });
      before = null;
    }
    said.textContent = looking ? `${shown} of ${total} rows of hosts and processes match` : "";
  };

  let timer = 0;
  const lookSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, 150);
  };

  const collator = new Intl.Collator("en", { numeric: true });
  const sort = (head) => {
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    const keyed = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
    // What has no value stands last, whichever way.
    keyed.sort(([one], [other]) => (one === "") - (other === "")
      || (down ? collator.compare(other, one) : collator.compare(one, other)));
    all("th", head.parentNode).forEach((its) => its.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...keyed.map(([, row]) => row));
  };

  for (const { list } of lists) {
    for (const head of all("thead th", list)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(head));
      head.append(button);
    }
  }
  search.addEventListener("input", lookSoon);
  choice.addEventListener("change", look);
  for (const button of all("button", controls)) {
    button.addEventListener("click", () => {
      for (const fold of folds) fold.open = button.value === "unfold";
    });
  }

  // Paper has nothing to click on. What needs nothing would take a hundred sheets.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = folds.filter((fold) => !fold.open && fold.matches(".needy"));
    for (const fold of unfolded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of unfolded) fold.open = false;
    unfolded = [];
  });
  // A page that is loaded again keeps what was typed.
  controls.hidden = false;
  look();
})();
