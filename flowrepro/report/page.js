// Filters and sorting of claims; the state is kept in the address, after #. Permalinks name a paper, figure or claim.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const form = document.querySelector(".filters form"), shown = form.querySelector("output");
  const rows = all("tr[data-verdict]"), groups = all("tbody.figure"), articles = all("article");
  const names = ["verdict", "paper", "scale", "kind", "q", "sort"];
  document.documentElement.classList.add("js");
  groups.forEach((group, i) => { group.dataset.place = i; });
  rows.forEach((row, i) => { row.dataset.place = i; row.dataset.text = row.textContent.toLowerCase(); });

  const wanted = () => Object.fromEntries(names.map((name) => [name, form.elements[name].value]));
  const fits = (row, w) =>
    ["verdict", "paper", "scale", "kind"].every((name) => !w[name] || row.dataset[name] === w[name]) &&
    w.q.toLowerCase().split(/\s+/).every((word) => row.dataset.text.includes(word));

  function apply() {
    const w = wanted(), narrowed = names.some((name) => name !== "sort" && w[name]);
    rows.forEach((row) => { row.hidden = !fits(row, w); });
    const left = new Set(rows.filter((row) => !row.hidden).map((row) => row.dataset.figure));
    groups.forEach((group) => { group.hidden = narrowed && !left.has(group.dataset.figure); });
    articles.forEach((article) => { article.hidden = narrowed && !left.has(article.id); });
    all("section.paper").forEach((section) => {
      section.hidden = narrowed && !all("tr[data-verdict]", section).some((row) => !row.hidden);
    });
    sort(w.sort);
    const n = rows.filter((row) => !row.hidden).length;
    shown.textContent = `${n} of ${rows.length} claims`;
  }

  // within a figure, and figures by their most certain claim
  function sort(by) {
    const strength = (row) => Number(row.dataset.strength);
    const order = by === "strength" ? (a, b) => strength(b) - strength(a) || a.dataset.place - b.dataset.place
                                    : (a, b) => a.dataset.place - b.dataset.place;
    groups.forEach((group) => group.append(...all("tr[data-verdict]", group).sort(order)));
    const best = (group) => Math.max(...all("tr[data-verdict]", group).map(strength));
    const placed = by === "strength" ? (a, b) => best(b) - best(a) : (a, b) => a.dataset.place - b.dataset.place;
    all("table.claims").forEach((table) => table.append(...all("tbody.figure", table).sort(placed)));
  }

  function store() {
    const state = new URLSearchParams(Object.entries(wanted()).filter(([, value]) => value)).toString();
    history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
  }

  function read() {
    const hash = decodeURIComponent(location.hash.slice(1)), state = new URLSearchParams(hash.includes("=") ? hash : "");
    names.forEach((name) => { form.elements[name].value = state.get(name) || ""; });
    apply();
    all(".aimed").forEach((row) => row.classList.remove("aimed"));
    const aim = hash && !hash.includes("=") && document.getElementById(hash);
    if (hash.includes("=")) document.getElementById("claims").scrollIntoView();
    if (aim) {
      if (aim.matches("tr")) { aim.classList.add("aimed"); all("details", aim).forEach((d) => { d.open = true; }); }
      if (aim.matches("details")) { aim.open = true; }
      aim.scrollIntoView();
    }
  }

  form.addEventListener("input", () => { apply(); store(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { apply(); store(); }));
  addEventListener("hashchange", read);
  addEventListener("beforeprint", () => all("details:not(.code):not(.data)").forEach((d) => { d.open = true; }));
  read();
})();
