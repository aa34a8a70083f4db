"use strict";
// Lets somebody review the rows and cases of a page; what is returned ends that, so that others can take their place.
function review(triage) {
  const ended = new AbortController();
  const find = (selector) => triage.querySelector(selector);
  const browser = find("[data-browser]"), key = `unlikelihood triage ${triage.dataset.triage}`;
  const rows = [...triage.querySelectorAll("tbody tr")], body = find("tbody");
  const [show, sort, search] = ["[data-show]", "[data-sort]", "[data-search]"].map(find);
  const buttons = [...triage.querySelectorAll("[data-verdict]")];
  // A case is a row that has pictures; rows and cases are in the order of their rank until they are sorted.
  const cases = rows.filter((row) => row.dataset.row !== "");
  const thumbs = browser ? [...browser.querySelectorAll("[data-case]")] : [];
  let reviews = new Map(rows.filter((row) => row.dataset.review).map((row) => [row.dataset.name, row.dataset.review]));
  let current = 0;
  try {
    reviews = new Map(JSON.parse(localStorage.getItem(key)) ?? reviews);
  } catch {
    find("[data-kept]").hidden = false;
  }
  const matches = ({ dataset }) =>
    dataset.name.toLowerCase().includes(search.value.toLowerCase()) &&
    (show.value === "" || (show.value === "called" ? dataset.decision === "anomalous" : (dataset.review || "unreviewed") === show.value));
  const paint = () => {
    const count = { normal: 0, anomalous: 0, unsure: 0 };
    for (const row of rows) {
      const said = reviews.get(row.dataset.name) ?? "";
      if (said) count[said] += 1;
      row.dataset.review = said;
      row.querySelector("select").value = said;
      row.hidden = !matches(row);
    }
    thumbs.forEach((thumb, index) => {
      thumb.dataset.review = cases[index].dataset.review;
      thumb.parentElement.hidden = cases[index].hidden;
    });
    const done = count.normal + count.anomalous + count.unsure, seen = rows.filter((row) => !row.hidden).length;
    find("[data-tally]").textContent =
      `${done} of ${rows.length} reviewed: ${count.normal} normal, ${count.anomalous} anomalous, ${count.unsure} unsure` +
      (seen < rows.length ? `; ${seen} shown` : "");
    mark();
  };
  const mark = () => buttons.forEach((button) => {
    button.setAttribute("aria-pressed", cases[current].dataset.review === button.dataset.verdict);
  });
  const list = () => {
    paint();
    if (browser) browser.dispatchEvent(new Event("list"));
  };
  const say = (name, verdict) => {
    if (verdict) reviews.set(name, verdict);
    else reviews.delete(name);
    try {
      localStorage.setItem(key, JSON.stringify([...reviews]));
    } catch {
      find("[data-kept]").hidden = false;
    }
  };
  const judge = (verdict) => {
    const { name, review } = cases[current].dataset;
    if (review === verdict) say(name, "");  // the same again takes it back
    else {
      say(name, verdict);
      browser.dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
    }
    paint();
  };
  const order = () => {
    const by = sort.value === "name"
      ? (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true })
      : (a, b) => (a.dataset.rank - b.dataset.rank) * (sort.value === "rank" ? 1 : -1);
    for (const row of [...rows].sort(by)) {
      body.append(row);
      if (row.dataset.row !== "") thumbs[row.dataset.row].closest("ol").append(thumbs[row.dataset.row].parentElement);
    }
    list();
  };
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  find("[data-export]").addEventListener("click", () => {
    const table = rows.map(({ dataset }) => [dataset.name, dataset.review, dataset.score, dataset.p]);
    const rest = JSON.parse(find("[data-rest]").textContent).map(([name, score, p]) => [name, "", score, p]);
    const lines = [["name", "review", "anomaly_score", "p_value"], ...table, ...rest].map((line) => line.map(cell).join(","));
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" })), download: "reviews.csv",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  show.addEventListener("change", list);
  search.addEventListener("input", list);
  sort.addEventListener("change", order);
  for (const row of rows) {
    const choice = row.querySelector("select");
    choice.hidden = false;
    row.querySelector(".said").hidden = true;
    choice.addEventListener("change", () => { say(row.dataset.name, choice.value); paint(); });
  }
  triage.addEventListener("click", ({ target }) => {
    const open = target.closest("[data-open]"), verdict = target.closest("[data-verdict]");
    if (verdict) judge(verdict.dataset.verdict);
    if (!open) return;
    thumbs[open.dataset.open].click();
    browser.scrollIntoView();
    thumbs[open.dataset.open].focus();
  });
  if (browser) {
    browser.addEventListener("case", ({ detail }) => {
      current = detail;
      mark();
      const box = thumbs[current].closest("ol"), frame = box.getBoundingClientRect(), { top, bottom } = thumbs[current].getBoundingClientRect();
      if (top < frame.top || bottom > frame.bottom) box.scrollTop += top - frame.top - frame.height / 2;
    });
    document.addEventListener("keydown", (event) => {
      const { target } = event, moved = target.matches("input[type=range]");
      const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.altKey || event.ctrlKey || event.metaKey || (target.matches("input, select") && !moved)) return;
      const verdict = { n: "normal", a: "anomalous", u: "unsure" }[pressed], fade = find("[data-fade]");
      if (verdict) judge(verdict);
      else if (pressed === "m" && fade) {
        fade.value = Number(fade.value) ? 0 : 100;
        fade.dispatchEvent(new Event("input"));
      } else if ("jk".includes(pressed) ? moved || !browser.contains(target) : pressed.startsWith("Arrow") && target === document.body) {
        browser.dispatchEvent(new KeyboardEvent("keydown", { key: pressed }));
        if (!pressed.match(/^(j|k|ArrowLeft|ArrowRight)$/)) return;
      } else return;
      event.preventDefault();
    }, { signal: ended.signal });
  }
  find(".desk").hidden = false;
  paint();
  return () => ended.abort();
}
for (const triage of document.querySelectorAll("[data-triage]")) review(triage);
